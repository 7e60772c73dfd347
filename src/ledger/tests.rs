use std::fs;

use jiff::Timestamp;

use super::lock::LockError;
use super::*;
use crate::model::{EngineKind, ImageIdentity, ImageSource, Platform, Policy};
use crate::plan::rollout::{Progress, Rollout, Step};
use crate::update::port::Ledger as _;
use crate::update::report::{Outcome, OutcomeKind};

fn image(seed: &str) -> ImageIdentity {
    let digest = Digest::of(seed.as_bytes());
    ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
}

fn flight(reference: &str) -> InFlight {
    let rollout = Rollout {
        source: ImageSource { reference: reference.parse().unwrap(), authfile: None },
        engine: EngineKind::Native,
        policy: Policy::Registry,
        new: image("new"),
        moves_tag: true,
        settled: vec![],
        steps: vec![Step {
            unit: "a.service".parse().unwrap(),
            containers: vec!["a".into()],
            old: image("old"),
            along: vec![],
            led: false,
            after: vec![],
            forward_only: false,
        }],
    };
    InFlight {
        progress: Progress::start(&rollout),
        rollout,
        started: Timestamp::UNIX_EPOCH,
        trigger: "manual".into(),
        rollback: vec![true],
        dependents: Default::default(),
        boot: String::new(),
        pass: None,
        undoes: None,
        logs: Default::default(),
    }
}

fn entry(detail: &str) -> Entry {
    Entry {
        ended: Timestamp::UNIX_EPOCH,
        trigger: "manual".into(),
        pass: None,
        engine: None,
        outcome: Outcome {
            unit: "a.service".parse().unwrap(),
            reference: "quay.io/a:1".parse().unwrap(),
            old: Digest::of(b"old"),
            new: Digest::of(b"new"),
            result: OutcomeKind::Updated,
            detail: detail.into(),
            elapsed_ms: 12,
        },
        logs: vec![],
    }
}

#[test]
fn an_empty_host_reads_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(&dir.path().join("ledger"));
    assert!(ledger.history(10, |_| true).unwrap().entries.is_empty());
    assert!(ledger.in_flight().unwrap().is_empty());
    assert_eq!(ledger.quarantine().unwrap(), Quarantine::default());
    assert!(!dir.path().join("ledger").exists(), "reading makes nothing");
}

#[test]
fn a_rollout_is_kept_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(dir.path());
    let (first, second) = (flight("quay.io/a:1"), flight("quay.io/b:1"));
    ledger.save_rollout(&first).unwrap();
    ledger.save_rollout(&second).unwrap();
    ledger.save_rollout(&second).unwrap();
    assert_eq!(ledger.in_flight().unwrap().len(), 2);
    ledger.end_rollout(&first).unwrap();
    ledger.end_rollout(&first).unwrap();
    assert_eq!(ledger.in_flight().unwrap(), [second]);
}

#[test]
fn the_history_survives_a_torn_line() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(dir.path());
    ledger.append(&entry("one")).unwrap();
    let path = dir.path().join("history.jsonl");
    let mut text = fs::read(&path).unwrap();
    text.extend_from_slice(b"{\"ended\":\"20");
    fs::write(&path, text).unwrap();
    ledger.append(&entry("two")).unwrap();
    let history = ledger.history(10, |_| true).unwrap();
    assert_eq!(history.entries, [entry("one"), entry("two")]);
    assert_eq!(ledger.history(1, |_| true).unwrap().entries, [entry("two")]);
    let [damaged] = &history.damaged[..] else { panic!("{history:?}") };
    let said = crate::model::failure::chain(damaged);
    assert!(said.contains("history.jsonl:2 is damaged: delete the line"), "{said}");
}

#[test]
fn a_damaged_quarantine_is_an_error_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("quarantine.json"), "[{").unwrap();
    let failure = port::Ledger::quarantine(&Ledger::new(dir.path())).unwrap_err();
    assert!(failure.message.contains("quarantine.json is damaged"), "{failure}");
}

#[test]
fn a_quarantine_can_be_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(dir.path());
    for repository in ["quay.io/a", "quay.io/b"] {
        ledger
            .add_to_quarantine(Quarantined {
                repository: repository.into(),
                manifest: Digest::of(b"bad"),
                since: Timestamp::UNIX_EPOCH,
                unit: "a.service".parse().unwrap(),
                cause: "crashed".into(),
            })
            .unwrap();
    }
    let gone = ledger.clear_quarantine(|held| held.repository == "quay.io/a").unwrap();
    assert_eq!(gone.len(), 1);
    assert_eq!(ledger.quarantine().unwrap().iter().count(), 1);
}

#[test]
fn a_write_that_fails_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(dir.path());
    ledger.save_memory(&Memory::default()).unwrap();
    ledger.save_rollout(&flight("quay.io/a:1")).unwrap();
    // A directory in the place of the file that is written aside makes the write fail.
    let file = ledger.rollout_file(&flight("quay.io/a:1"));
    fs::create_dir(file.with_file_name(".new")).unwrap();
    assert!(ledger.save_rollout(&flight("quay.io/a:1")).is_err());
    assert_eq!(ledger.in_flight().unwrap().len(), 1);
}

#[test]
fn the_second_pass_is_told_who_holds_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let held = PassLock::try_acquire(dir.path(), "updaterd").unwrap();
    match PassLock::try_acquire(dir.path(), "updaterctl") {
        Err(LockError::Held(holder)) => {
            assert_eq!((holder.pid, &*holder.program), (std::process::id(), "updaterd"));
        }
        other => panic!("{other:?}"),
    }
    drop(held);
    PassLock::try_acquire(dir.path(), "updaterctl").unwrap();
}
