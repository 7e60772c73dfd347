//! The pass against a host in memory. The same stories run against a real systemd in
//! `tests/system`; here are those that need a fault at an exact point.

mod by_hand;
mod fake;
mod forgotten;
mod gates;
mod groups;
mod hindered;
mod never;
mod next_run;
mod registries;
mod retain;
mod side_by_side;
mod together;

use std::time::Duration;

use fake::{Behaviour, Host, image, reference};

use super::*;
use crate::model::{
    Digest, EngineKind, Failure, FailureKind, ImageIdentity, ImageSource, Rollback, Rules, UnitName,
};
use crate::plan::retention::Limits;
use crate::update::port::Clock;

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

fn updater(host: &Host) -> Updater<&Host> {
    Updater::new(
        host,
        Options {
            checks_in_flight: 16,
            pull_reserve: 10,
            max_parallel: 4,
            settle: Duration::from_secs(10),
            rollback: Rollback::Back,
            backoff_max: Duration::from_secs(3600),
            quarantine_expiry: None,
            rules: Rules::default(),
            retention: Limits { keep: 2, budget: 0, at_once: 10 },
            units: Default::default(),
        },
    )
}

fn pass(host: &Host) -> Report {
    run(updater(host).update(&[], Trigger::Schedule)).unwrap()
}

fn results(report: &Report) -> Vec<OutcomeKind> {
    report.outcomes.iter().map(|outcome| outcome.result).collect()
}

fn unit(name: &str) -> UnitName {
    name.parse().unwrap()
}

#[test]
fn a_good_image_reaches_every_unit_and_then_the_tag() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::Updated, OutcomeKind::Updated]);
    assert_eq!(host.image_of("b.service"), Some(image("new").manifest));
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("new"));
    assert!(host.bindings.borrow().is_empty(), "bindings end with the rollout");
    assert!(host.flights.borrow().is_empty());
    assert_eq!(host.history.borrow().len(), 2);
    assert_eq!(host.restarts.get(), 2);
    assert_eq!((host.heads.get(), host.gets.get()), (1, 1));
}

#[test]
fn nothing_to_do_costs_one_head() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    pass(&host);
    let heads = host.heads.get();
    let report = pass(&host);
    assert!(report.outcomes.is_empty());
    assert_eq!(host.heads.get(), heads + 1);
    assert_eq!((host.gets.get(), host.restarts.get()), (1, 2));
}

#[test]
fn a_failing_canary_is_put_back_and_quarantined_and_never_tried_again() {
    for bad in
        [Behaviour::CrashLoops, Behaviour::NeverReady, Behaviour::Exits(1), Behaviour::Exits(0)]
    {
        let host = Host::with(&["a.service", "b.service"], bad);
        let report = pass(&host);
        assert_eq!(results(&report), [OutcomeKind::RolledBack, OutcomeKind::NotReached], "{bad:?}");
        assert_eq!(host.active("a.service"), "active");
        assert_eq!(host.image_of("a.service"), Some(image("old").manifest));
        assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("old"));
        assert!(host.bindings.borrow().is_empty());
        assert_eq!(host.quarantine.borrow().iter().count(), 1, "{bad:?}");
        let restarts = host.restarts.get();
        assert!(pass(&host).outcomes.is_empty());
        assert_eq!(host.restarts.get(), restarts);
    }
}

#[test]
fn a_unit_its_operator_stops_is_not_started_again() {
    for how in [Behaviour::StoppedByOperator, Behaviour::JobCanceled, Behaviour::StopsSlowly] {
        let host = Host::with(&["a.service"], how);
        assert_eq!(results(&pass(&host)), [OutcomeKind::Stopped], "{how:?}");
        let active = host.active("a.service");
        assert!(matches!(active, "inactive" | "deactivating"), "{how:?}: {active}");
        assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("old"));
        assert!(host.bindings.borrow().is_empty(), "{how:?}");
        assert_eq!(host.quarantine.borrow().iter().count(), 0);
    }
}

#[test]
fn a_shutdown_suspends_and_the_next_start_goes_on() {
    let host = Host::with(&["a.service"], Behaviour::ShuttingDown);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Suspended]);
    assert_eq!(host.flights.borrow().len(), 1);
    host.behaviours.borrow_mut().clear();
    host.reboot();
    let report = run(updater(&host).recover()).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Updated]);
    assert!(host.kinds().contains(&EventKind::Resumed));
    assert!(host.flights.borrow().is_empty());
}

/// Also where it was under way already when an earlier process of the service ended.
#[test]
fn a_start_may_take_as_long_as_its_operator_gives_it() {
    for limit in [20, 120] {
        for taken_up in [false, true] {
            let host = Host::with(&["a.service"], Behaviour::ShuttingDown);
            if taken_up {
                assert_eq!(results(&pass(&host)), [OutcomeKind::Suspended]);
                host.units.borrow_mut().values_mut().for_each(|unit| unit.active = "activating");
            }
            host.behaviours.borrow_mut().insert(image("new").manifest, Behaviour::StartsForEver);
            let mut updater = updater(&host);
            let start_timeout = Some(Duration::from_secs(limit));
            let own = UnitOptions { start_timeout, ..UnitOptions::default() };
            updater.options.units.insert(unit("a.service"), own);
            let report = run(updater.update(&[], Trigger::Schedule)).unwrap();
            assert_eq!(results(&report), [OutcomeKind::RolledBack], "{report:?}");
            let detail = &report.outcomes[0].detail;
            let told = detail.contains("still starting after 20 s (start_timeout)");
            assert_eq!(told, limit == 20, "taken up: {taken_up}: {detail}");
            assert_eq!(host.image_of("a.service"), Some(image("old").manifest));
        }
    }
}

#[test]
fn while_the_host_shuts_down_a_stop_is_nobodys_doing() {
    let host = Host::with(&["a.service"], Behaviour::StoppedByOperator);
    host.shutting_down.set(true);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Suspended]);
    assert_eq!(host.flights.borrow().len(), 1);
    assert_eq!(host.quarantine.borrow().iter().count(), 0);
}

#[test]
fn after_a_boot_a_unit_may_wait_for_its_start() {
    for cut in 3..8 {
        let host = Host::with(&["a.service"], Behaviour::Good);
        host.writes_left.set(Some(cut));
        pass(&host);
        host.reboot_without_network();
        let report = run(updater(&host).recover()).unwrap();
        assert!(!report.has(OutcomeKind::RolledBack), "cut at {cut}: {report:?}");
        assert!(!report.has(OutcomeKind::Stopped), "cut at {cut}: {report:?}");
        assert_eq!(host.quarantine.borrow().iter().count(), 0, "cut at {cut}");
        assert!(host.flights.borrow().is_empty());
    }
}

#[test]
fn automatic_restarts_of_the_old_image_are_not_held_against_the_new_one() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    host.units.borrow_mut().values_mut().for_each(|unit| unit.restarts = 3);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
}

#[test]
fn what_is_started_anew_for_ever_is_not_taken_for_settled() {
    let host = Host::with(&["a.service"], Behaviour::StartedAnewForEver);
    assert_eq!(results(&pass(&host)), [OutcomeKind::NeedsOperator]);
}

#[test]
fn an_unhealthy_container_is_no_update() {
    for (behaviour, told) in [
        (Behaviour::Unhealthy, "3 health checks failed in a row"),
        (Behaviour::NeverHealthy, "no health check of the container has passed 30 s"),
    ] {
        let host = Host::with(&["a.service"], behaviour);
        let report = pass(&host);
        assert_eq!(results(&report), [OutcomeKind::RolledBack]);
        assert!(report.outcomes[0].detail.contains(told), "{report:?}");
        assert_eq!(host.quarantine.borrow().iter().count(), 1);
    }
}

#[test]
fn a_container_that_is_healthy_in_its_own_time_is_waited_for() {
    let host = Host::with(&["a.service"], Behaviour::SlowlyHealthy);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
}

#[test]
fn what_could_not_be_begun_is_left_as_it_is() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    let refusal = Failure::new(FailureKind::Local, "the unit is masked");
    *host.refusal.borrow_mut() = Some(port::JobError::Refused(refusal));
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::Failed, OutcomeKind::NotReached]);
    assert!(report.outcomes[0].detail.contains("masked"), "{report:?}");
    assert_eq!((host.restarts.get(), host.active("a.service")), (0, "active"));
    assert!(host.bindings.borrow().is_empty() && host.flights.borrow().is_empty());
    assert!(host.quarantine.borrow().iter().next().is_none());
}

#[test]
fn a_bus_that_goes_away_suspends() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    *host.refusal.borrow_mut() = Some(port::JobError::Lost("connection closed".to_owned()));
    assert_eq!(results(&pass(&host)), [OutcomeKind::Suspended]);
    *host.refusal.borrow_mut() = None;
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
}

#[test]
fn a_tag_that_cannot_be_moved_is_moved_at_the_next_pass() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    *host.tag_failure.borrow_mut() = Some(Failure::new(FailureKind::StorageFull, "full"));
    assert_eq!(results(&pass(&host)), [OutcomeKind::Suspended]);
    assert_eq!(host.image_of("a.service"), Some(image("new").manifest));
    assert_eq!(results(&pass(&host)), [OutcomeKind::Suspended], "and nothing is begun anew");
    *host.tag_failure.borrow_mut() = None;
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("new"));
    assert_eq!(host.restarts.get(), 1);
}

#[test]
fn a_quarantine_that_cannot_be_written_is_written_at_the_next_pass() {
    let host = Host::with(&["a.service"], Behaviour::CrashLoops);
    *host.quarantine_failure.borrow_mut() = Some(Failure::new(FailureKind::StorageFull, "full"));
    assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack]);
    assert_eq!(host.flights.borrow().len(), 1);
    let restarts = host.restarts.get();
    *host.quarantine_failure.borrow_mut() = None;
    assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack]);
    assert_eq!(host.quarantine.borrow().iter().count(), 1);
    assert_eq!((host.history.borrow().len(), host.restarts.get()), (1, restarts));
    let origins: Vec<_> =
        host.events.borrow().iter().filter_map(|event| event.origin.clone()).collect();
    assert_eq!(origins.len(), 2, "it ended twice");
    assert_eq!(origins[0], origins[1], "and that can be told");
}

#[test]
fn an_index_that_cannot_be_read_is_asked_for_once_and_then_backed_off_from() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    *host.identify_failure.borrow_mut() = Some(Failure::new(FailureKind::Unreachable, "502"));
    pass(&host);
    assert_eq!((host.heads.get(), host.gets.get()), (1, 1));
    pass(&host);
    assert_eq!((host.heads.get(), host.gets.get()), (1, 1));
}

#[test]
fn a_pull_that_takes_the_process_down_is_backed_off_from() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
    let source = ImageSource { reference: reference("quay.io/app:1"), authfile: None };
    let meanwhile = host.memory_while_staging.borrow();
    assert!(meanwhile.backoff(&source).is_some(), "what a process that dies leaves behind");
    assert!(host.memory.borrow().backoff(&source).is_none());
}

#[test]
fn each_unit_says_for_itself_whether_it_goes_back() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::CrashLoops);
    let mut updater = updater(&host);
    let own = UnitOptions { rollback: Some(Rollback::Leave), ..UnitOptions::default() };
    updater.options.units.insert(unit("b.service"), own);
    let report = run(updater.update(&[], Trigger::Schedule)).unwrap();
    assert_eq!(results(&report), [OutcomeKind::RolledBack, OutcomeKind::NotReached]);
}

#[test]
fn one_source_that_fails_leaves_the_others_alone() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    let other = reference("down.example/app:1");
    host.references.borrow_mut().insert(unit("b.service"), other.clone());
    host.tags.borrow_mut().insert(other.clone(), image("other"));
    let down = Failure::new(FailureKind::Unreachable, "no route to host");
    host.remote.borrow_mut().insert(other, Err(down));
    host.reboot();
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::Updated]);
    assert!(report.skipped.iter().any(|skipped| skipped.reason.is_error()));
    assert!(host.kinds().contains(&EventKind::CheckFailed));

    let heads = host.heads.get();
    pass(&host);
    assert_eq!(host.heads.get(), heads + 1, "the dead one is backed off from");
}

#[test]
fn a_full_disk_touches_nothing_and_is_backed_off_from() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    let full = Failure::new(FailureKind::StorageFull, "no space left on device");
    *host.stage_failure.borrow_mut() = Some(full);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Failed]);
    assert_eq!(host.restarts.get(), 0);
    assert!(pass(&host).outcomes.is_empty(), "backed off");
    *host.stage_failure.borrow_mut() = None;
    let report = run(updater(&host).update(&[], Trigger::Manual)).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Updated], "a person need not wait");
}

#[test]
fn a_check_changes_nothing() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    host.writes_left.set(Some(0));
    let plan = run(updater(&host).check(&[])).unwrap().plan;
    assert_eq!(plan.rollouts.len(), 1);
    assert_eq!(host.restarts.get(), 0);
    assert!(host.staged.borrow().is_empty() && host.events.borrow().is_empty());
}

#[test]
fn a_unit_that_is_not_ours_is_refused_by_name() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    let failure = run(updater(&host).update(&[unit("x.service")], Trigger::Manual)).unwrap_err();
    assert!(failure.message.contains("x.service"), "{failure}");
    assert_eq!(host.restarts.get(), 0);
}

#[test]
fn a_selected_unit_leaves_its_siblings_and_the_tag() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    let app = reference("quay.io/app:1");
    run(updater(&host).update(&[unit("b.service")], Trigger::Manual)).unwrap();
    assert_eq!(host.image_of("a.service"), Some(image("old").manifest));
    assert_eq!(host.image_of("b.service"), Some(image("new").manifest));
    assert_eq!(host.tags.borrow()[&app], image("old"));
    assert_eq!(host.bindings.borrow().len(), 1);
    pass(&host);
    assert_eq!(host.tags.borrow()[&app], image("new"));
    assert!(host.bindings.borrow().is_empty());
}

#[test]
fn without_rollback_a_failure_stays_where_it_is() {
    let host = Host::with(&["a.service"], Behaviour::CrashLoops);
    let mut updater = updater(&host);
    updater.options.rollback = Rollback::Leave;
    let report = run(updater.update(&[], Trigger::Schedule)).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Failed]);
    assert_eq!(host.image_of("a.service"), Some(image("new").manifest));
}

/// The power is cut at each durable write in turn; after the boot, recovery must leave every unit
/// running, on the new image everywhere or on the old one everywhere, with no rollout in flight.
#[test]
fn a_power_cut_anywhere_ends_committed_or_rolled_back() {
    let behaviours = [Behaviour::Good, Behaviour::CrashLoops, Behaviour::NeverReady];
    for engine in [EngineKind::Native, EngineKind::Podman] {
        for behaviour in behaviours {
            (0..60).for_each(|cut| cut_the_power(engine, behaviour, cut));
        }
    }
}

fn cut_the_power(engine: EngineKind, behaviour: Behaviour, cut: u32) {
    let host = Host::with(&["a.service", "b.service"], behaviour);
    host.kind.set(Some(engine));
    host.writes_left.set(Some(cut));
    let survived = {
        let report = pass(&host);
        host.writes_left.get() != Some(0) && !report.has(OutcomeKind::Suspended)
    };
    host.reboot();
    run(updater(&host).recover()).unwrap();
    let (a, b) = (host.image_of("a.service"), host.image_of("b.service"));
    let context = format!("{engine}, {behaviour:?}, cut at write {cut}: {a:?} {b:?}");
    assert_eq!(host.active("a.service"), "active", "{context}");
    assert_eq!(host.active("b.service"), "active", "{context}");
    assert!(host.flights.borrow().is_empty(), "{context}");
    assert_eq!(a, b, "one tag, one truth: {context}");
    let good = behaviour == Behaviour::Good;
    if !good {
        assert_eq!(a, Some(image("old").manifest), "{context}");
    }
    if survived {
        assert_eq!(a == Some(image("new").manifest), good, "{context}");
    }
}

/// Podman has only the tag, and a unit may start by itself while it stands for what fails.
#[test]
fn without_bindings_the_tag_moves_and_who_took_it_goes_back() {
    let host = Host::with(&["a.service", "b.service", "c.service"], Behaviour::CrashLoops);
    host.kind.set(Some(EngineKind::Podman));
    host.restarts_beside.set(Some("b.service"));
    let report = pass(&host);
    let [first, others @ ..] = &results(&report)[..] else { panic!("{report:?}") };
    assert_eq!(first, &OutcomeKind::RolledBack);
    assert_eq!(others, [OutcomeKind::NotReached, OutcomeKind::NotReached]);
    for unit in ["a.service", "b.service", "c.service"] {
        assert_eq!(host.image_of(unit), Some(image("old").manifest), "{unit}");
    }
    assert!(host.bindings.borrow().is_empty());
    assert_eq!(host.kept.borrow().values().next(), Some(&image("old")), "it can be put back");
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("old"));
}

#[test]
fn without_bindings_a_stopped_unit_does_not_hold_the_tag_back() {
    let host = Host::with(&["a.service"], Behaviour::StoppedByOperator);
    host.kind.set(Some(EngineKind::Podman));
    assert_eq!(results(&pass(&host)), [OutcomeKind::Stopped]);
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("old"), "nobody verified it");
}

fn probed(host: &Host, own: UnitOptions) -> Report {
    let mut updater = updater(host);
    let probe = Some(crate::model::Probe::Tcp("127.0.0.1:80".into()));
    let own = UnitOptions { probe, ..own };
    updater.options.units.insert(unit("a.service"), own);
    run(updater.update(&[], Trigger::Schedule)).unwrap()
}

#[test]
fn a_program_that_runs_and_does_not_answer_is_rolled_back() {
    let host = Host::with(&["a.service"], Behaviour::Deadlocked);
    let report = probed(&host, UnitOptions::default());
    assert_eq!(results(&report), [OutcomeKind::RolledBack]);
    let detail = &report.outcomes[0].detail;
    assert!(detail.contains("the probe tcp://127.0.0.1:80 did not pass: no answer"), "{detail}");
    assert_eq!(host.quarantine.borrow().iter().count(), 1);
    // Nobody asks those that have no probe.
    let host = Host::with(&["a.service"], Behaviour::Deadlocked);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
}

#[test]
fn a_program_may_take_its_time_to_answer() {
    let host = Host::with(&["a.service"], Behaviour::AnswersLate);
    assert_eq!(results(&probed(&host, UnitOptions::default())), [OutcomeKind::Updated]);
    let host = Host::with(&["a.service"], Behaviour::AnswersLate);
    let probe_timeout = Some(Duration::from_secs(10));
    let report = probed(&host, UnitOptions { probe_timeout, ..UnitOptions::default() });
    assert_eq!(results(&report), [OutcomeKind::RolledBack]);
}

#[test]
fn health_counts_unless_the_unit_is_not_to_be_judged_by_it() {
    for (health, expected) in [(None, OutcomeKind::RolledBack), (Some(false), OutcomeKind::Updated)]
    {
        let host = Host::with(&["a.service"], Behaviour::Unhealthy);
        let mut updater = updater(&host);
        let own = UnitOptions { health, ..UnitOptions::default() };
        updater.options.units.insert(unit("a.service"), own);
        let report = run(updater.update(&[], Trigger::Schedule)).unwrap();
        assert_eq!(results(&report), [expected], "{health:?}");
    }
}

fn said(entry: &Entry) -> Vec<&str> {
    entry.logs.iter().flat_map(|log| &log.lines).map(String::as_str).collect()
}

/// The unit ran once before, in run 1.
#[test]
fn what_a_unit_said_last_is_kept_where_it_failed() {
    for (bad, runs) in [
        (Behaviour::NeverReady, &["said in run 2"][..]),
        // systemd had started it again by the time of the verdict.
        (Behaviour::CrashLoops, &["said in run 2", "said in run 4"]),
    ] {
        let host = Host::with(&["a.service", "b.service"], bad);
        pass(&host);
        let history = host.history.borrow();
        let [first, second] = &history[..] else { panic!("{history:?}") };
        assert_eq!((said(first), second.logs.len()), (runs.to_vec(), 0), "{bad:?}");
        assert_eq!(first.logs[0].unit, "a.service");
    }
    let host = Host::with(&["a.service"], Behaviour::Good);
    pass(&host);
    assert!(host.history.borrow()[0].logs.is_empty());
}

#[test]
fn what_the_old_image_said_is_kept_where_that_failed_too() {
    let host = Host::with(&["a.service"], Behaviour::NeverReady);
    host.behaviours.borrow_mut().insert(image("old").manifest, Behaviour::Exits(1));
    assert_eq!(results(&pass(&host)), [OutcomeKind::NeedsOperator]);
    assert_eq!(said(&host.history.borrow()[0]), ["said in run 2", "said in run 3"]);
}

#[test]
fn a_journal_that_cannot_be_read_is_said_and_holds_nothing_up() {
    let host = Host::with(&["a.service"], Behaviour::NeverReady);
    host.journal_failure.set(Some("no permission"));
    assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack]);
    let logs = &host.history.borrow()[0].logs;
    assert_eq!((logs[0].lines.len(), logs[0].missing.as_str()), (0, "no permission"));
}

/// Another index with the same image in it, as a re-push makes one.
fn pushed_again(seed: &str) -> ImageIdentity {
    ImageIdentity { target: Digest::of(b"re-pushed"), ..image(seed) }
}

#[test]
fn a_bad_image_stays_out_whatever_happens_to_its_tag() {
    let host = Host::with(&["a.service"], Behaviour::CrashLoops);
    let app = reference("quay.io/app:1");
    let push = |image| drop(host.remote.borrow_mut().insert(app.clone(), Ok(image)));
    assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack]);
    push(pushed_again("new"));
    assert_eq!(results(&pass(&host)), [], "another index leads to the same image");
    push(image("good"));
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated], "the tag has gone elsewhere");
    for back in [image("new"), pushed_again("new")] {
        push(back);
        assert_eq!(results(&pass(&host)), [], "the tag has come back");
    }
    assert_eq!(host.image_of("a.service"), Some(image("good").manifest));
}

#[test]
fn a_bad_image_is_bad_for_all_units_of_its_repository() {
    let host = Host::with(&["a.service"], Behaviour::CrashLoops);
    pass(&host);
    let other = reference("quay.io/app:latest");
    host.references.borrow_mut().insert(unit("b.service"), other.clone());
    host.tags.borrow_mut().insert(other.clone(), image("old"));
    host.remote.borrow_mut().insert(other, Ok(image("new")));
    host.begin(&unit("b.service"));
    assert_eq!(results(&pass(&host)), []);
    assert_eq!(host.restarts.get(), 0);
}

#[test]
fn a_quarantine_ends_after_its_time_and_begins_anew() {
    let host = Host::with(&["a.service"], Behaviour::CrashLoops);
    let mut updater = updater(&host);
    updater.options.quarantine_expiry = Some(Duration::from_secs(3600));
    let pass = || run(updater.update(&[], Trigger::Schedule)).unwrap();
    let since = || host.quarantine.borrow().iter().map(|held| held.since).collect::<Vec<_>>();
    assert_eq!(results(&pass()), [OutcomeKind::RolledBack]);
    let first = since();
    run(Clock::sleep(&host, Duration::from_secs(3000)));
    assert_eq!(results(&pass()), []);
    run(Clock::sleep(&host, Duration::from_secs(1000)));
    assert_eq!(results(&pass()), [OutcomeKind::RolledBack]);
    assert!(since().len() == 1 && since() > first, "{first:?}, {:?}", since());
    assert_eq!(results(&pass()), []);
}
