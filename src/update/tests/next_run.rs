//! Units that do not stay active: what they are given is verified by how their next run ends.

use super::*;
use crate::plan::Reason;
use crate::plan::probation::Probation;
use crate::update::port::RunTold;

const JOB: &str = "job.service";

/// A job at work on the old image, which the new one was given to for its next run.
fn given(kind: EngineKind) -> Host {
    let host = Host::with(&[JOB], Behaviour::Good);
    host.kind.set(Some(kind));
    host.transient.set(true);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Deferred]);
    host
}

fn tag(host: &Host) -> Digest {
    host.tags.borrow()[&reference("quay.io/app:1")].manifest.clone()
}

fn probation(host: &Host) -> Probation {
    let all = host.probations.borrow();
    let [only] = &all[..] else { panic!("{all:?}") };
    only.clone()
}

/// Nothing waits any more, and nothing is left of it.
fn over(host: &Host) {
    assert!(host.probations.borrow().is_empty() && host.bindings.borrow().is_empty());
    assert!(host.flights.borrow().is_empty());
    assert_eq!(results(&pass(host)), []);
}

#[test]
fn it_is_not_cut_off_and_waits() {
    let host = given(EngineKind::Native);
    assert_eq!((host.restarts.get(), host.active(JOB)), (0, "active"));
    assert_eq!(host.next_image(JOB), image("new").manifest);
    assert_eq!(tag(&host), image("old").manifest, "the tag stands for what was verified");
    assert_eq!((probation(&host).old, probation(&host).new), (image("old"), image("new")));
    let report = pass(&host);
    assert!(matches!(report.skipped[0].reason, Reason::OnProbation { .. }), "{report:?}");
    assert_eq!((results(&report).len(), host.history.borrow().len()), (0, 1));
}

#[test]
fn a_run_that_ends_well_is_the_proof() {
    for kind in [EngineKind::Native, EngineKind::Podman] {
        let host = given(kind);
        host.next_run(JOB, 0);
        assert_eq!(results(&pass(&host)), [OutcomeKind::Updated], "{kind}");
        assert_eq!(tag(&host), image("new").manifest);
        assert_eq!(host.quarantine.borrow().iter().count(), 0);
        over(&host);
    }
}

#[test]
fn a_run_that_fails_goes_back_and_is_not_tried_again() {
    for kind in [EngineKind::Native, EngineKind::Podman] {
        let host = given(kind);
        host.next_run(JOB, 1);
        assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack], "{kind}");
        assert_eq!((tag(&host), host.next_image(JOB)), (image("old").manifest, tag(&host)));
        assert_eq!(host.quarantine.borrow().iter().count(), 1);
        let last = host.history.borrow().last().cloned().unwrap();
        assert!(
            last.outcome.detail.contains("next run failed") && last.logs.len() == 1,
            "{last:?}"
        );
        assert!(host.kinds().ends_with(&[EventKind::Quarantined, EventKind::RolledBack]));
        assert_eq!(host.restarts.get(), 1, "nobody starts it for that");
        over(&host);
    }
}

/// The tag is all that the job and the service have.
#[test]
fn what_others_run_by_the_same_tag_is_left_to_an_operator() {
    let host = given(EngineKind::Podman);
    host.references.borrow_mut().insert(unit("web.service"), reference("quay.io/app:1"));
    host.begin(&unit("web.service"));
    host.next_run(JOB, 1);
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::NeedsOperator]);
    assert!(report.outcomes[0].detail.contains("\"updaterctl rollback job.service\""));
    assert_eq!(tag(&host), image("new").manifest);
    assert_eq!(host.quarantine.borrow().iter().count(), 0);
}

#[test]
fn a_service_that_verified_it_keeps_it_where_there_are_bindings() {
    let host = given(EngineKind::Native);
    host.tags.borrow_mut().insert(reference("quay.io/app:1"), image("new"));
    host.next_run(JOB, 1);
    assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack]);
    assert_eq!(tag(&host), image("new").manifest);
    assert_eq!(host.next_image(JOB), image("old").manifest);
}

#[test]
fn what_is_not_the_images_doing_is_put_off() {
    let host = given(EngineKind::Native);
    host.next_run(JOB, 125);
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::NeedsOperator]);
    assert!(report.outcomes[0].restored);
    assert_eq!(host.next_image(JOB), image("old").manifest);
    assert_eq!(host.quarantine.borrow().iter().count(), 0);
    host.begin(&unit(JOB));
    assert!(matches!(pass(&host).skipped[0].reason, Reason::PutOff { .. }));
}

fn told(invocation: &str, result: &str, stop_asked: bool) -> RunTold {
    let result = Some(result.to_owned());
    RunTold { invocation: invocation.into(), result, status: None, stop_asked }
}

fn tell(host: &Host, runs: Vec<RunTold>) {
    host.told.borrow_mut().insert(unit(JOB), runs);
}

#[test]
fn a_run_that_somebody_stopped_proves_nothing() {
    let host = given(EngineKind::Native);
    host.next_run(JOB, 143);
    assert_eq!(results(&pass(&host)), [], "by whom is not known");
    host.next_run(JOB, 1);
    tell(&host, vec![told("3", "exit-code", true)]);
    assert_eq!(results(&pass(&host)), [], "by a job, as the journal has it");
    host.next_run(JOB, 0);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
}

#[test]
fn runs_between_two_looks_are_told_by_the_journal() {
    let host = given(EngineKind::Native);
    host.next_run(JOB, 1);
    host.next_run(JOB, 0);
    tell(&host, vec![told("2", "exit-code", false), told("3", "success", false)]);
    assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack], "the first one decides");
}

#[test]
fn a_journal_that_cannot_be_read_leaves_the_last_run() {
    let host = given(EngineKind::Native);
    host.next_run(JOB, 0);
    host.journal_failure.set(Some("no permission"));
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
}

#[test]
fn a_newer_image_takes_its_place_and_what_was_verified_last_stands_by() {
    let host = given(EngineKind::Native);
    host.begin(&unit(JOB));
    assert_eq!(host.image_of(JOB), Some(image("new").manifest));
    host.remote.borrow_mut().insert(reference("quay.io/app:1"), Ok(image("newer")));
    assert_eq!(results(&pass(&host)), [OutcomeKind::Deferred]);
    assert_eq!((probation(&host).old, probation(&host).new), (image("old"), image("newer")));
    host.next_run(JOB, 1);
    assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack]);
    assert_eq!(host.next_image(JOB), image("old").manifest);
    over(&host);
}

#[test]
fn an_operator_who_goes_back_or_pulls_another_image_ends_it() {
    let host = given(EngineKind::Native);
    let history = host.history.borrow().clone();
    let back = updater(&host);
    let report = run(back.roll_back(&[unit(JOB)], None, || Ok(history))).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Deferred], "{report:?}");
    assert_eq!(host.next_image(JOB), image("old").manifest);
    assert!(host.probations.borrow().is_empty());

    let host = given(EngineKind::Podman);
    host.tags.borrow_mut().insert(reference("quay.io/app:1"), image("other"));
    host.next_run(JOB, 1);
    assert_eq!(results(&pass(&host)), []);
    assert_eq!(tag(&host), image("other").manifest, "that is what he wants");
    assert!(host.probations.borrow().is_empty());
}

#[test]
fn a_unit_that_is_gone_leaves_what_was_verified() {
    let host = given(EngineKind::Podman);
    host.next_run(JOB, 0);
    host.gone.borrow_mut().insert(unit(JOB));
    assert_eq!(results(&pass(&host)), [OutcomeKind::NotReached]);
    assert_eq!(tag(&host), image("old").manifest);
    over(&host);
}

#[test]
fn without_a_way_back_the_image_stays() {
    for (rollback, result, held) in [
        (Rollback::Never, OutcomeKind::NeedsOperator, 1),
        (Rollback::Leave, OutcomeKind::Failed, 0),
    ] {
        let host = Host::with(&[JOB], Behaviour::Good);
        host.transient.set(true);
        let updater = updater(&host);
        let options = Options { rollback, ..updater.options().clone() };
        let updater = Updater::new(*updater.world(), options);
        let pass = || run(updater.update(&[], Trigger::Schedule)).unwrap();
        assert_eq!(results(&pass()), [OutcomeKind::Deferred]);
        host.next_run(JOB, 1);
        assert_eq!(results(&pass()), [result]);
        assert_eq!(host.next_image(JOB), image("new").manifest);
        assert_eq!(host.quarantine.borrow().iter().count(), held);
        assert!(host.probations.borrow().is_empty());
    }
}

/// Killed at each durable write, of the update and of its end: what was verified comes back once.
#[test]
fn a_kill_anywhere_ends_with_what_was_verified() {
    let mut whole = 0;
    for cut in 0..60 {
        for kind in [EngineKind::Native, EngineKind::Podman] {
            let host = Host::with(&[JOB], Behaviour::Good);
            host.kind.set(Some(kind));
            host.transient.set(true);
            host.writes_left.set(Some(cut));
            let first = run(updater(&host).update(&[], Trigger::Schedule));
            host.next_run(JOB, 1);
            let _ = run(updater(&host).recover());
            whole += u32::from(host.writes_left.get() != Some(0));
            host.writes_left.set(None);
            pass(&host);
            // What ran meanwhile may have had either image: it is not what is waited for then.
            host.next_run(JOB, 1);
            pass(&host);
            assert!(host.flights.borrow().is_empty(), "{kind} {cut}: {first:?}");
            let waits = !host.probations.borrow().is_empty();
            assert!(!waits, "{kind} {cut}: {:?}", host.probations.borrow());
            assert_eq!(tag(&host), image("old").manifest, "{kind} {cut}");
            assert_eq!(host.next_image(JOB), image("old").manifest, "{kind} {cut}");
        }
    }
    assert!(whole > 0, "some were not cut");
}
