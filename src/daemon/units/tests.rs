use jiff::Timestamp;

use super::*;
use crate::model::{
    Digest, EngineKind, Failure, FailureKind, ImageIdentity, ImageSource, Platform,
};
use crate::plan::Backoff;
use crate::update::Outcome;

fn image(name: &[u8]) -> ImageIdentity {
    ImageIdentity {
        target: Digest::of(name),
        manifest: Digest::of(name),
        platform: Platform::host(),
    }
}

fn container(unit: Option<&str>, label: &str, reference: &str) -> Container {
    Container {
        id: "a".repeat(64).parse().unwrap(),
        name: unit.unwrap_or("stray").trim_end_matches(".service").into(),
        engine: EngineKind::Native,
        claimed: None,
        digests: vec![],
        unit: unit.map(|unit| unit.parse().unwrap()),
        guest_of: None,
        group: None,
        policy: Policy::from_label(label),
        source: ImageSource { reference: reference.parse().unwrap(), authfile: None },
        image: image(b"v1"),
        created: Timestamp::UNIX_EPOCH,
    }
}

fn ended(result: OutcomeKind) -> Entry {
    Entry {
        logs: vec![],
        ended: Timestamp::UNIX_EPOCH,
        trigger: "schedule".into(),
        pass: None,
        engine: None,
        outcome: Outcome {
            unit: "app.service".parse().unwrap(),
            reference: "registry.example/app:1".parse().unwrap(),
            old: image(b"v1").manifest,
            new: image(b"v2").manifest,
            result,
            detail: "it crashed".into(),
            restored: false,
            elapsed_ms: 1,
        },
    }
}

fn of(containers: &[Container], history: &[Entry], memory: &Memory) -> Vec<Standing> {
    let known = Known {
        memory,
        gates: &Gates::default(),
        now: Timestamp::UNIX_EPOCH,
        hosts: &Hosts::default(),
        in_flight: &[],
        probations: &[],
        history,
    };
    statuses(containers, &known).iter().map(|status| status.standing).collect()
}

fn app() -> Container {
    container(Some("app.service"), "registry", "registry.example/app:1")
}

#[test]
fn the_label_and_the_unit_come_first() {
    let pinned = format!("registry.example/db@{}", Digest::of(b"db"));
    let containers = [
        container(None, "registry", "registry.example/x:1"),
        container(Some("d.service"), "disabled", "registry.example/x:1"),
        container(Some("c.service"), "always", "registry.example/x:1"),
        container(Some("b.service"), "registry", &pinned),
        container(Some("a.service"), "local", "registry.example/x:1"),
    ];
    let found = of(&containers, &[], &Memory::default());
    assert_eq!(
        found,
        [
            Standing::Followed,
            Standing::Pinned,
            Standing::InvalidPolicy,
            Standing::Disabled,
            Standing::NoUnit,
        ]
    );
}

#[test]
fn a_rollback_counts_while_the_old_image_runs() {
    let history = [ended(OutcomeKind::RolledBack)];
    assert_eq!(of(&[app()], &history, &Memory::default()), [Standing::RolledBack]);
    let moved_on = Container { image: image(b"v3"), ..app() };
    assert_eq!(of(&[moved_on], &history, &Memory::default()), [Standing::Followed]);
}

#[test]
fn only_the_newest_end_counts() {
    let history = [ended(OutcomeKind::Updated), ended(OutcomeKind::NeedsOperator)];
    assert_eq!(of(&[app()], &history, &Memory::default()), [Standing::Followed]);
    assert_eq!(of(&[app()], &history[1..], &Memory::default()), [Standing::NeedsOperator]);
}

#[test]
fn a_container_newer_than_the_trouble_is_a_mended_one() {
    let history = [ended(OutcomeKind::NeedsOperator)];
    let mended = Container { created: Timestamp::from_second(1).unwrap(), ..app() };
    assert_eq!(of(&[mended], &history, &Memory::default()), [Standing::Followed]);
}

#[test]
fn a_unit_that_lost_its_container_is_shown() {
    let memory = Memory::default();
    let gone = |history: &[Entry], containers: &[Container]| {
        statuses(
            containers,
            &Known {
                memory: &memory,
                gates: &Gates::default(),
                now: Timestamp::UNIX_EPOCH,
                hosts: &Hosts::default(),
                in_flight: &[],
                probations: &[],
                history,
            },
        )
    };
    for result in [OutcomeKind::NeedsOperator, OutcomeKind::Failed] {
        let [status] = &gone(&[ended(result), ended(OutcomeKind::Updated)], &[])[..] else {
            panic!("one row for {result}");
        };
        assert_eq!(status.unit, "app.service".parse().ok());
        assert_eq!((&status.running, status.standing), (&None, Standing::NeedsOperator));
        assert_eq!(status.detail, "it crashed");
    }
    for result in [OutcomeKind::Updated, OutcomeKind::RolledBack, OutcomeKind::Stopped] {
        assert_eq!(gone(&[ended(result), ended(OutcomeKind::NeedsOperator)], &[]), []);
    }
    let mut restored = ended(OutcomeKind::NeedsOperator);
    restored.outcome.restored = true;
    assert_eq!(gone(&[restored], &[]), [], "its update did not leave it so");
    let elsewhere = Container {
        created: Timestamp::from_second(1).unwrap(),
        ..container(Some("app.service"), "registry", "registry.example/app:2")
    };
    let found = gone(&[ended(OutcomeKind::NeedsOperator)], &[elsewhere]);
    assert!(matches!(&found[..], [one] if one.running.is_some()), "it runs another image now");
}

#[test]
fn a_status_reads_what_it_writes() {
    let known = Known {
        memory: &Memory::default(),
        gates: &Gates::default(),
        now: Timestamp::UNIX_EPOCH,
        hosts: &Hosts::default(),
        in_flight: &[],
        probations: &[],
        history: &[ended(OutcomeKind::NeedsOperator)],
    };
    for containers in [vec![], vec![app()]] {
        let found = statuses(&containers, &known);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Vec<UnitStatus>>(&text).unwrap(), found);
    }
}

#[test]
fn a_failing_check_says_why() {
    let mut memory = Memory::default();
    let failure = Failure::new(FailureKind::Unreachable, "no route to host");
    let backoff =
        Backoff::after(None, failure, Timestamp::UNIX_EPOCH, std::time::Duration::MAX, 0.5);
    memory.failed(&app().source, backoff);
    let known = Known {
        memory: &memory,
        gates: &Gates::default(),
        now: Timestamp::UNIX_EPOCH,
        hosts: &Hosts::default(),
        in_flight: &[],
        probations: &[],
        history: &[],
    };
    let found = statuses(&[app()], &known);
    assert_eq!(found[0].standing, Standing::CheckFailing);
    assert_eq!(found[0].detail, "no route to host");
}

#[test]
fn a_unit_on_probation_is_shown_at_work_and_at_rest() {
    let held = Probation {
        unit: "app.service".parse().unwrap(),
        engine: app().engine,
        source: app().source,
        old: image(b"v0"),
        new: image(b"v1"),
        moves_tag: true,
        in_company: false,
        beside: vec![],
        rollback: true,
        forward_only: false,
        since: Timestamp::UNIX_EPOCH,
        after: "before".into(),
        trigger: "manual".into(),
        pass: None,
        state: probation::State::Waiting { run: None },
    };
    let (memory, probations) = (Memory::default(), [held]);
    let known = Known {
        memory: &memory,
        gates: &Gates::default(),
        now: Timestamp::UNIX_EPOCH,
        hosts: &Hosts::default(),
        in_flight: &[],
        probations: &probations,
        history: &[],
    };
    let [at_work] = &statuses(&[app()], &known)[..] else { panic!("one row") };
    let [at_rest] = &statuses(&[], &known)[..] else { panic!("one row") };
    assert_eq!(
        (at_work.standing, at_rest.standing),
        (Standing::OnProbation, Standing::OnProbation)
    );
    assert!(at_work.running.is_some() && at_rest.running.is_none());
    assert!(at_rest.detail.contains("comes back"), "{at_rest:?}");
    assert_eq!((waiting(&[app()], &known), waiting(&[], &known).len()), (vec![], 1));
}
