//! Rollouts side by side, and units that stop with others.

use super::*;
use crate::plan::Followers;
use crate::update::port::Clock as _;

/// Units with an image of their own each, called as they are; each has a new one that does this.
pub(super) fn distinct(units: &[(&str, Behaviour)]) -> Host {
    let host = Host::default();
    for (name, behaviour) in units {
        let own = reference(&format!("quay.io/{name}:1"));
        let new = image(&format!("new {name}"));
        host.tags.borrow_mut().insert(own.clone(), image("old"));
        host.remote.borrow_mut().insert(own.clone(), Ok(new.clone()));
        host.behaviours.borrow_mut().insert(new.manifest, *behaviour);
        let unit = unit(&format!("{name}.service"));
        host.references.borrow_mut().insert(unit.clone(), own);
        host.begin(&unit);
    }
    host.job_time.set(Duration::from_secs(5));
    host
}

fn result(report: &Report, name: &str) -> OutcomeKind {
    let outcome = report.outcomes.iter().find(|outcome| outcome.unit == unit(name));
    outcome.unwrap_or_else(|| panic!("{name} has no outcome: {report:?}")).result
}

#[test]
fn strangers_are_restarted_side_by_side_but_not_too_many() {
    let names: Vec<String> = (0..10).map(|n| format!("u{n}")).collect();
    let units: Vec<_> = names.iter().map(|name| (name.as_str(), Behaviour::Good)).collect();
    let host = distinct(&units);
    let before = host.monotonic();
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::Updated; 10]);
    assert_eq!(host.most_jobs.get(), 4, "max_parallel");
    // Three times four jobs of five seconds, and a settle time: who settles has no place.
    let took = host.monotonic() - before;
    assert!(took < Duration::from_secs(27), "{took:?}");
}

#[test]
fn a_client_is_restarted_after_its_database_was_verified() {
    let host = distinct(&[("app", Behaviour::Good), ("db", Behaviour::Good)]);
    host.needs("db.service", &["app.service"]);
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::Updated, OutcomeKind::Updated]);
    assert_eq!(*host.restarted.borrow(), ["db.service", "app.service"]);
    let kinds = host.kinds();
    let at = |kind, nth: usize| {
        kinds.iter().enumerate().filter(|(_, k)| **k == kind).nth(nth).unwrap().0
    };
    assert!(at(EventKind::Updated, 0) < at(EventKind::Restarting, 1), "{kinds:?}");
}

#[test]
fn a_client_is_left_alone_where_its_database_failed() {
    let host = distinct(&[("app", Behaviour::Good), ("db", Behaviour::CrashLoops)]);
    host.needs("db.service", &["app.service"]);
    let report = pass(&host);
    assert_eq!(result(&report, "db.service"), OutcomeKind::RolledBack);
    assert_eq!(result(&report, "app.service"), OutcomeKind::NotReached);
    assert_eq!(host.image_of("app.service"), Some(image("old").manifest));
    let detail = &report.outcomes[0].detail;
    assert!(detail.contains("db.service, which it needs"), "{detail}");
    assert_eq!(host.quarantine.borrow().iter().count(), 1);
    // The bad image is not tried again; what does not need it goes on.
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::Updated]);
}

#[test]
fn who_comes_after_another_without_needing_it_goes_on() {
    let host = distinct(&[("app", Behaviour::Good), ("db", Behaviour::CrashLoops)]);
    let later = vec!["app.service".to_owned()];
    let followers = Followers { later, dependents: vec![] };
    host.graph.borrow_mut().insert("db.service".to_owned(), followers);
    let report = pass(&host);
    assert_eq!(result(&report, "db.service"), OutcomeKind::RolledBack);
    assert_eq!(result(&report, "app.service"), OutcomeKind::Updated);
}

#[test]
fn one_that_fails_does_not_disturb_strangers() {
    let host = distinct(&[("a", Behaviour::NeverReady), ("b", Behaviour::Good)]);
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::RolledBack, OutcomeKind::Updated]);
}

#[test]
fn a_shutdown_stops_those_that_have_not_begun() {
    let units: Vec<(String, _)> = (0..9).map(|n| (format!("u{n}"), Behaviour::Good)).collect();
    let mut units: Vec<_> = units.iter().map(|(name, does)| (name.as_str(), *does)).collect();
    units[0].1 = Behaviour::ShuttingDown;
    let host = distinct(&units);
    host.job_time.set(Duration::ZERO);
    let report = pass(&host);
    assert_eq!(result(&report, "u0.service"), OutcomeKind::Suspended);
    assert!(report.outcomes.len() < 9, "{report:?}");
    let flights = host.flights.borrow().len();
    assert_eq!(flights, 1, "the one that was under way goes on later");
}

#[test]
fn a_dependent_that_died_with_a_bad_image_runs_again_after_the_rollback() {
    for bad in [Behaviour::NeverReady, Behaviour::Exits(1), Behaviour::CrashLoops] {
        let host = Host::with(&["db.service"], bad);
        host.plain("web.service");
        host.needs("db.service", &["web.service"]);
        assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack], "{bad:?}");
        assert_eq!(host.active("web.service"), "active", "{bad:?}");
        assert_eq!(host.quarantine.borrow().iter().count(), 1);
    }
}

#[test]
fn a_dependent_that_its_operator_stops_meanwhile_stays_stopped() {
    for how in [Behaviour::Good, Behaviour::CrashLoops] {
        let host = Host::with(&["db.service"], how);
        host.plain("web.service");
        host.needs("db.service", &["web.service"]);
        host.stopped_beside.set(Some("web.service"));
        pass(&host);
        let expected = match how {
            Behaviour::Good => "inactive",
            // Who stopped it cannot be told where the unit itself went down.
            _ => "active",
        };
        assert_eq!(host.active("web.service"), expected, "{how:?}");
    }
}

#[test]
fn a_dependent_that_was_not_running_is_not_started() {
    let host = Host::with(&["db.service"], Behaviour::NeverReady);
    host.plain("web.service");
    host.stop("web.service");
    host.needs("db.service", &["web.service"]);
    pass(&host);
    assert_eq!(host.active("web.service"), "inactive");
}

#[test]
fn a_dependent_that_cannot_live_with_the_new_image_fails_the_update() {
    let host = Host::with(&["db.service"], Behaviour::Good);
    host.plain("web.service");
    host.needs("db.service", &["web.service"]);
    host.allergic.borrow_mut().insert("web.service".to_owned());
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::RolledBack]);
    assert!(report.outcomes[0].detail.contains("web.service, which ran before"), "{report:?}");
    assert_eq!(host.active("web.service"), "active");
    assert_eq!(host.quarantine.borrow().iter().count(), 1);
}

#[test]
fn a_dependent_that_is_restarted_again_and_again_fails_the_update() {
    let host = Host::with(&["db.service"], Behaviour::Good);
    host.plain("web.service");
    host.needs("db.service", &["web.service"]);
    host.restless.borrow_mut().insert("web.service".to_owned());
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::RolledBack]);
    assert!(report.outcomes[0].detail.contains("again and again"), "{report:?}");
}

#[test]
fn a_dependent_that_was_restless_before_says_nothing() {
    let host = Host::with(&["db.service"], Behaviour::Good);
    host.plain("web.service");
    host.needs("db.service", &["web.service"]);
    host.restless.borrow_mut().insert("web.service".to_owned());
    host.crashed("web.service");
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
}

#[test]
fn a_dependent_that_ends_by_itself_is_not_run_again() {
    let host = Host::with(&["db.service"], Behaviour::Good);
    host.plain("backup.service");
    host.needs("db.service", &["backup.service"]);
    host.oneshots.borrow_mut().insert("backup.service".to_owned());
    host.allergic.borrow_mut().insert("backup.service".to_owned());
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
    assert_eq!(host.active("backup.service"), "inactive");
}

#[test]
fn dependents_run_again_where_the_way_back_does_not_verify() {
    let host = Host::with(&["db.service"], Behaviour::NeverReady);
    host.behaviours.borrow_mut().insert(image("old").manifest, Behaviour::NeverHealthy);
    host.plain("web.service");
    host.needs("db.service", &["web.service"]);
    assert_eq!(results(&pass(&host)), [OutcomeKind::NeedsOperator]);
    assert_eq!((host.active("db.service"), host.active("web.service")), ("active", "active"));
}

#[test]
fn an_image_that_could_not_be_pulled_is_told_beside_a_database_that_failed() {
    let host = distinct(&[("app", Behaviour::Good), ("db", Behaviour::CrashLoops)]);
    host.needs("db.service", &["app.service"]);
    let failure = Failure::new(FailureKind::Unauthorized, "401");
    host.unpullable.borrow_mut().insert(reference("quay.io/app:1"), failure);
    let report = pass(&host);
    assert_eq!(result(&report, "app.service"), OutcomeKind::Failed);
}

#[test]
fn a_dependent_that_systemd_forgot_runs_again_unless_the_host_was_booted() {
    /// A process that ends at a write, at which `web.service` is down.
    fn cut() -> Host {
        let cut = |writes: u32| {
            let host = Host::with(&["db.service"], Behaviour::NeverReady);
            host.plain("web.service");
            host.needs("db.service", &["web.service"]);
            host.forgotten.set(true);
            host.writes_left.set(Some(writes));
            let _ = run(updater(&host).update(&[], Trigger::Schedule));
            host.writes_left.set(None);
            host
        };
        (0..40).map(cut).find(|host| host.active("web.service") == "inactive").unwrap()
    }
    for (booted, enabled) in [(false, false), (true, false), (true, true)] {
        let host = cut();
        host.boots.set(u32::from(booted));
        host.enabled.set(enabled);
        run(updater(&host).recover()).unwrap();
        let expected = if booted && !enabled { "inactive" } else { "active" };
        assert_eq!(host.active("web.service"), expected, "booted: {booted}, enabled: {enabled}");
    }
}

#[test]
fn a_power_cut_anywhere_leaves_dependents_running() {
    for bad in [Behaviour::Good, Behaviour::NeverReady, Behaviour::CrashLoops] {
        for (writes, boots) in (0..40).flat_map(|writes| [(writes, false), (writes, true)]) {
            let host = Host::with(&["db.service"], bad);
            host.plain("web.service");
            host.enabled.set(true);
            host.needs("db.service", &["web.service"]);
            host.writes_left.set(Some(writes));
            let _ = run(updater(&host).update(&[], Trigger::Schedule));
            match boots {
                true => host.reboot(),
                false => host.go_on_without_it(),
            }
            run(updater(&host).recover()).unwrap();
            let at = format!("{bad:?}, cut at {writes}, booted: {boots}");
            assert_eq!(host.active("web.service"), "active", "{at}");
            assert!(host.flights.borrow().is_empty(), "{at}");
        }
    }
}
