use std::fs;

use jiff::Timestamp;

use super::lock::LockError;
use super::*;
use crate::disk::fault;
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
        with: vec![],
        steps: vec![Step::alone("a.service".parse().unwrap(), vec!["a".into()], image("old"))],
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
        at_work: Default::default(),
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
            restored: false,
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

/// Where the files of a ledger lie that has one of each kind.
fn filled() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(dir.path());
    ledger.append(&entry("one")).unwrap();
    ledger.append(&entry("two")).unwrap();
    ledger.add_to_quarantine(held("quay.io/a")).unwrap();
    ledger.save_rollout(&flight("quay.io/a:1")).unwrap();
    let mut memory = Memory::default();
    memory.learn(&"quay.io/a:1".parse().unwrap(), image("new"));
    ledger.save_memory(&memory).unwrap();
    (dir, ledger)
}

fn held(repository: &str) -> Quarantined {
    Quarantined {
        repository: repository.into(),
        manifest: Digest::of(b"bad"),
        since: Timestamp::UNIX_EPOCH,
        unit: "a.service".parse().unwrap(),
        cause: "crashed".into(),
        beside: vec![],
    }
}

fn details(ledger: &Ledger) -> Vec<String> {
    let entries = ledger.history(10, |_| true).unwrap().entries;
    entries.into_iter().map(|entry| entry.outcome.detail).collect()
}

#[test]
fn a_line_that_did_not_come_to_its_end_was_never_there() {
    let (dir, ledger) = filled();
    let path = dir.path().join("history.jsonl");
    let whole = fs::read(&path).unwrap();
    for torn in ["{\"schema\":2,\"su", "\0\0\0\0"] {
        fs::write(&path, [&whole, torn.as_bytes()].concat()).unwrap();
        assert_eq!(details(&ledger), ["one", "two"]);
        assert_eq!(ledger.mend().unwrap(), [""; 0], "a power cut is no damage");
        ledger.append(&entry(torn)).unwrap();
        assert_eq!(details(&ledger), ["one", "two", torn]);
    }
    fs::write(&path, "{").unwrap();
    ledger.mend().unwrap();
    assert_eq!(details(&ledger), [""; 0]);
    assert_eq!(ledger.set_aside(), Vec::<PathBuf>::new());
}

#[test]
fn the_newest_entries_are_the_last() {
    let (_dir, ledger) = filled();
    let last = ledger.history(1, |_| true).unwrap();
    assert_eq!((last.entries, last.damaged.len()), (vec![entry("two")], 0));
    let asked = ledger.history(1, |entry| entry.outcome.detail == "one").unwrap();
    assert_eq!(asked.entries, [entry("one")]);
}

#[test]
fn the_same_end_is_written_down_once() {
    let (_dir, ledger) = filled();
    let mut first = entry("one");
    first.pass = Some(Timestamp::UNIX_EPOCH);
    let mut again = first.clone();
    again.ended = Timestamp::from_second(60).unwrap();
    again.outcome.elapsed_ms = 60_012;
    ledger.append(&first).unwrap();
    ledger.append(&again).unwrap();
    assert_eq!(ledger.history(10, |_| true).unwrap().entries.last(), Some(&first));
    again.outcome.result = OutcomeKind::RolledBack;
    ledger.append(&again).unwrap();
    assert_eq!(details(&ledger), ["one", "two", "one", "one"]);
}

#[test]
fn however_much_a_pass_wrote_its_ends_are_written_down_once() {
    let (dir, ledger) = filled();
    let ends = |pass: i64, second: i64, count: usize| {
        (0..count).map(move |number| {
            let mut entry = entry("");
            entry.ended = Timestamp::from_second(second).unwrap();
            entry.pass = Some(Timestamp::from_second(pass).unwrap());
            entry.outcome.unit = format!("{pass}-{number}.service").parse().unwrap();
            entry
        })
    };
    let append = |entry: Entry| ledger.append(&entry).unwrap();
    ends(100, 101, 10).for_each(append);
    // Of a rollout that began before, and ended in between.
    ends(50, 102, 1).for_each(append);
    let before = ledger.history(100, |_| true).unwrap().entries.len();
    assert_eq!(before, 13);
    assert!(history::files(dir.path()).iter().all(|path| path.exists()), "they are in both files");
    ends(100, 200, 10).chain(ends(50, 200, 1)).for_each(append);
    assert_eq!(ledger.history(100, |_| true).unwrap().entries.len(), before);
    ends(200, 200, 1).for_each(append);
    assert_eq!(ledger.history(100, |_| true).unwrap().entries.len(), before + 1);
}

/// A disk that is full in the middle of a line, and then is not: what was said to be written is there.
#[test]
fn an_entry_that_could_not_be_written_costs_no_other() {
    for is_new in [true, false] {
        for failed in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let ledger = Ledger::new(dir.path());
            let mut expected = vec![];
            if !is_new {
                ledger.append(&entry("before")).unwrap();
                expected.push("before");
            }
            fault::fail_after(failed);
            let written = ledger.append(&entry("during")).is_ok();
            fault::cut_after(None);
            if written {
                assert!(failed >= 3, "only {failed} steps");
                break;
            }
            ledger.append(&entry("after")).unwrap();
            expected.push("after");
            assert_eq!(details(&ledger), expected, "failed at step {failed}");
            assert_eq!(ledger.damage().unwrap(), [""; 0], "failed at step {failed}");
        }
    }
}

/// It would not even let go of the half.
#[test]
fn half_a_line_takes_no_other_with_it() {
    let (dir, ledger) = filled();
    let path = dir.path().join("history.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    ledger.append(&entry("three")).unwrap();
    assert_eq!(details(&ledger), ["one", "three"]);
    assert_eq!(ledger.mend().unwrap().len(), 1);
    assert_eq!(details(&ledger), ["one", "three"]);
}

/// A byte of a file, in its middle.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_damaged_is_set_aside_and_said_and_the_rest_goes_on() {
    for name in ["quarantine.json", "checks.json", "history.jsonl", "rollouts"] {
        let (dir, ledger) = filled();
        let path = match name {
            "rollouts" => ledger.rollout_file(&flight("quay.io/a:1")),
            name => dir.path().join(name),
        };
        damage(&path);
        let damaged = fs::read(&path).unwrap();
        let [told] = &ledger.damage().unwrap()[..] else { panic!("{name}") };
        assert!(told.contains("the next pass sets it aside"), "{told}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "looking changes nothing");
        // Whoever only reads goes on without it.
        let flights = ledger.in_flight().unwrap().len();
        assert_eq!(flights, usize::from(name != "rollouts"), "{name}");
        assert_eq!(
            ledger.quarantine().unwrap().iter().count(),
            usize::from(name != "quarantine.json")
        );
        ledger.memory().unwrap();
        let written = ledger.add_to_quarantine(held("quay.io/b"));
        assert_eq!(written.is_err(), name == "quarantine.json", "{name}: what is damaged stays");

        let [told] = &ledger.mend().unwrap()[..] else { panic!("{name}") };
        let [aside] = &ledger.set_aside()[..] else { panic!("{name}") };
        assert!(told.contains(&*aside.to_string_lossy()), "{told}");
        assert!(told.contains("damaged"), "{told}");
        assert_eq!(fs::read(aside).unwrap(), damaged);
        assert_eq!(ledger.damage().unwrap(), [""; 0]);
        assert_eq!(ledger.mend().unwrap(), [""; 0]);
        let left = if name == "history.jsonl" { 1 } else { 2 };
        assert_eq!(details(&ledger).len(), left, "{name}: one bad line costs no other");
        ledger.add_to_quarantine(held("quay.io/b")).unwrap();
        ledger.append(&entry("three")).unwrap();
        ledger.save_rollout(&flight("quay.io/a:1")).unwrap();
    }
}

#[test]
fn not_all_that_was_ever_damaged_stays() {
    let (dir, ledger) = filled();
    for _ in 0..12 {
        fs::write(dir.path().join("checks.json"), "?").unwrap();
        assert_eq!(ledger.mend().unwrap().len(), 1);
    }
    assert_eq!(ledger.set_aside().len(), 8);
}

#[test]
fn what_a_newer_version_wrote_is_refused_and_left_alone() {
    for name in ["quarantine.json", "checks.json", "history.jsonl", "rollouts/a.json"] {
        let (dir, ledger) = filled();
        let path = dir.path().join(name);
        let newer = "{\"schema\":3,\"in\":\"other words\"}\n";
        fs::write(&path, newer).unwrap();
        // Something else is damaged as well.
        fs::write(ledger.rollout_file(&flight("quay.io/a:1")), "?").unwrap();
        let failure = port::Ledger::mend(&ledger).unwrap_err();
        let told = "was written by a newer version of updaterd (schema 3, and this one knows 2)";
        assert!(failure.message.contains(told) && failure.message.contains(name), "{failure}");
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
        assert_eq!(ledger.set_aside(), Vec::<PathBuf>::new());
        let writes = [
            ledger.add_to_quarantine(held("quay.io/b")).is_err(),
            ledger.save_memory(&Memory::default()).is_err(),
            ledger.history(1, |_| true).is_err(),
            ledger.in_flight().is_err(),
        ];
        assert_eq!(writes.iter().filter(|refused| **refused).count(), 1, "{name}");
    }
}

/// Of the same schema, with a checksum that is right: a file that is whole is not set aside.
#[test]
fn what_another_version_wrote_is_refused_and_left_alone() {
    let flight = serde_json::to_value(flight("quay.io/a:1")).unwrap();
    let with = |place: &str| {
        let mut flight = flight.clone();
        flight.pointer_mut(place).unwrap()["partner"] = "of a later version".into();
        flight
    };
    let mut misread = flight.clone();
    misread["progress"]["state"]["state"] = "of a later version".into();
    let in_flight = ["", "/rollout", "/rollout/steps/0", "/progress"].map(with);
    let in_flight = in_flight.into_iter().chain([misread]).map(|flight| ("rollouts", flight));
    let others = ["quarantine.json", "checks.json", "history.jsonl"].map(|name| (name, 1.into()));
    for (name, content) in in_flight.chain(others) {
        let (dir, ledger) = filled();
        let path = match name {
            "rollouts" => ledger.rollout_file(&self::flight("quay.io/a:1")),
            name => dir.path().join(name),
        };
        let written = [&*seal::seal(&content).unwrap(), b"\n"].concat();
        fs::write(&path, &written).unwrap();
        let failure = port::Ledger::mend(&ledger).unwrap_err();
        let told =
            "was written by another version of updaterd, and says what this one does not know";
        assert!(failure.message.contains(told), "{content}: {failure}");
        assert!(failure.message.contains(&*path.to_string_lossy()), "{failure}");
        assert_eq!(fs::read(&path).unwrap(), written);
        assert_eq!(ledger.set_aside(), Vec::<PathBuf>::new());
        assert_eq!(ledger.in_flight().is_err(), name == "rollouts", "{content}");
        assert_eq!(ledger.quarantine().is_err(), name == "quarantine.json");
    }
}

#[test]
fn what_an_older_version_wrote_is_read_and_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(dir.path());
    let flight = flight("quay.io/a:1");
    fs::create_dir(dir.path().join("rollouts")).unwrap();
    fs::write(
        dir.path().join("quarantine.json"),
        serde_json::to_string(&[held("quay.io/a")]).unwrap(),
    )
    .unwrap();
    fs::write(ledger.rollout_file(&flight), serde_json::to_string(&flight).unwrap()).unwrap();
    fs::write(
        dir.path().join("history.jsonl"),
        serde_json::to_string(&entry("old")).unwrap() + "\n",
    )
    .unwrap();
    assert_eq!(ledger.mend().unwrap(), [""; 0]);
    assert_eq!(ledger.in_flight().unwrap(), std::slice::from_ref(&flight));
    assert_eq!(ledger.quarantine().unwrap().iter().count(), 1);
    for path in [dir.path().join("quarantine.json"), ledger.rollout_file(&flight)] {
        assert!(fs::read_to_string(path).unwrap().starts_with("{\"schema\":2,"));
    }
    ledger.append(&entry("new")).unwrap();
    assert_eq!(details(&ledger), ["old", "new"]);
}

#[test]
fn the_history_does_not_grow_for_ever() {
    let (dir, ledger) = filled();
    for number in 0..200 {
        ledger.append(&entry(&number.to_string())).unwrap();
    }
    let size: u64 =
        history::files(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(size < 3 * history::ROTATE_AT, "{size}");
    let newest: Vec<String> = (190..200).map(|number| number.to_string()).collect();
    assert_eq!(details(&ledger), newest);
}

/// What a ledger says, for comparison.
fn all(ledger: &Ledger) -> (Vec<String>, Vec<InFlight>, Vec<String>, Memory) {
    let quarantine = ledger.quarantine().unwrap();
    let held = quarantine.iter().map(|held| held.repository.clone()).collect();
    (details(ledger), ledger.in_flight().unwrap(), held, ledger.memory().unwrap())
}

/// The power is cut at each step of each write in turn: what was said to be written is there then,
/// what was being written is there whole or not at all, and nothing is damaged.
#[test]
fn a_power_cut_at_any_step_costs_nothing_that_was_written() {
    type Write = fn(&Ledger) -> Result<(), Failure>;
    let learn = |ledger: &Ledger| {
        let mut memory = Memory::default();
        memory.learn(&"quay.io/a:1".parse().unwrap(), image("new"));
        ledger.save_memory(&memory)
    };
    let writes: [Write; 8] = [
        |ledger| ledger.save_rollout(&flight("quay.io/a:1")),
        |ledger| ledger.append(&entry(&"x".repeat(5000))),
        // The file is turned over now.
        |ledger| ledger.append(&entry("after")),
        |ledger| ledger.add_to_quarantine(held("quay.io/a")),
        |ledger| ledger.add_to_quarantine(held("quay.io/b")),
        learn,
        |ledger| ledger.end_rollout(&flight("quay.io/a:1")),
        |ledger| ledger.append(&entry("last")),
    ];
    let whole = tempfile::tempdir().unwrap();
    let whole = Ledger::new(whole.path());
    let mut states = vec![all(&whole)];
    for write in writes {
        write(&whole).unwrap();
        states.push(all(&whole));
    }
    for cut in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path());
        fault::cut_after(Some(cut));
        let done = writes.iter().take_while(|write| write(&ledger).is_ok()).count();
        fault::cut_after(None);
        assert_eq!(ledger.mend().unwrap(), [""; 0], "cut at step {cut}");
        let found = all(&ledger);
        let may_be = &states[done..states.len().min(done + 2)];
        assert!(may_be.contains(&found), "cut at step {cut}, in write {done}: {found:?}");
        if done == writes.len() {
            assert!(cut > 30, "only {cut} steps");
            return;
        }
    }
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
                beside: vec![],
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
