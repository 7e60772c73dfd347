//! What keeps an image from its units without being its doing.

use super::*;
use crate::plan::Reason;

const INNOCENT: [Behaviour; 4] = [
    Behaviour::Exits(125),
    Behaviour::StartLimit,
    Behaviour::StartedAnewForEver,
    Behaviour::NeedsWhatFails,
];

fn by_person(host: &Host) -> Report {
    run(updater(host).update(&[], Trigger::Manual)).unwrap()
}

fn wait(host: &Host, minutes: u64) {
    run(host.sleep(Duration::from_secs(minutes * 60)));
}

#[test]
fn it_proves_nothing_against_the_image_and_is_for_an_operator() {
    for innocent in INNOCENT {
        let host = Host::with(&["a.service"], innocent);
        let report = pass(&host);
        assert_eq!(results(&report), [OutcomeKind::NeedsOperator], "{innocent:?}");
        let outcome = &report.outcomes[0];
        assert!(outcome.restored && outcome.detail.contains("\"updaterctl update a.service\""));
        assert_eq!(host.image_of("a.service"), Some(image("old").manifest));
        assert_eq!(host.quarantine.borrow().iter().count(), 0);
        assert_eq!(host.kinds().last(), Some(&EventKind::TakenBack));
        assert_eq!(host.history.borrow()[0].outcome, *outcome);
    }
}

#[test]
fn it_is_tried_again_later_and_later_and_at_once_for_a_person() {
    let host = Host::with(&["a.service"], Behaviour::StartLimit);
    assert_eq!(results(&pass(&host)), [OutcomeKind::NeedsOperator]);
    let restarts = host.restarts.get();
    wait(&host, 58);
    let skipped = pass(&host).skipped;
    assert!(matches!(skipped[0].reason, Reason::PutOff { .. }), "{skipped:?}");
    assert_eq!(host.restarts.get(), restarts, "nothing is restarted for it");
    wait(&host, 2);
    assert_eq!(results(&pass(&host)), [OutcomeKind::NeedsOperator]);
    assert_eq!(results(&by_person(&host)), [OutcomeKind::NeedsOperator]);
    host.behaviours.borrow_mut().clear();
    assert_eq!(results(&pass(&host)), []);
    assert_eq!(results(&by_person(&host)), [OutcomeKind::Updated]);
    assert_eq!(host.memory.borrow().put_offs, Default::default());
}

#[test]
fn another_image_does_not_wait_for_it() {
    let host = Host::with(&["a.service"], Behaviour::StartLimit);
    pass(&host);
    host.remote.borrow_mut().insert(reference("quay.io/app:1"), Ok(image("newer")));
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
}

/// All that went back for it wait for the same operator.
#[test]
fn those_that_go_back_with_it_are_no_proof_either() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    host.own_behaviours.borrow_mut().insert(unit("b.service"), Behaviour::StartLimit);
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::NeedsOperator; 2]);
    assert!(report.outcomes.iter().all(|outcome| outcome.restored));
}

#[test]
fn where_the_old_image_failed_as_well_nothing_is_restored() {
    let host = Host::with(&["a.service"], Behaviour::StartLimit);
    host.behaviours.borrow_mut().insert(image("old").manifest, Behaviour::Exits(1));
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::NeedsOperator]);
    assert!(!report.outcomes[0].restored);
    assert_eq!(host.kinds().last(), Some(&EventKind::NeedsOperator));
}

/// Whoever connects to its socket has it started again; the journal has how it ended.
#[test]
fn a_service_that_dies_and_is_started_by_others_is_its_images_doing() {
    let host = Host::with(&["a.service"], Behaviour::StartedAnewForEver);
    let run = |stop_asked| port::RunTold {
        invocation: "2".into(),
        result: Some("exit-code".into()),
        status: Some(1),
        stop_asked,
    };
    host.told.borrow_mut().insert(unit("a.service"), vec![run(true)]);
    assert_eq!(results(&pass(&host)), [OutcomeKind::NeedsOperator], "somebody restarts it");
    let host = Host::with(&["a.service"], Behaviour::StartedAnewForEver);
    host.told.borrow_mut().insert(unit("a.service"), vec![run(false)]);
    assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack]);
    assert_eq!(host.quarantine.borrow().iter().count(), 1);
}
