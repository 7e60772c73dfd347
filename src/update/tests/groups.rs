//! Units that go together, forward and back.

use super::together::distinct;
use super::*;
use crate::plan::Reason;

const BOTH: [&str; 2] = ["app.service", "db.service"];

/// A client and its database, each with a new image that does so.
fn pair(app: Behaviour, db: Behaviour) -> Host {
    let host = distinct(&[("app", app), ("db", db)]);
    host.needs("db.service", &["app.service"]);
    host
}

fn grouped<'a>(host: &'a Host, units: &[&str]) -> Updater<&'a Host> {
    let mut updater = updater(host);
    for name in units {
        let own = UnitOptions { group: "web".parse().ok(), ..UnitOptions::default() };
        updater.options.units.insert(unit(name), own);
    }
    updater
}

fn pass_of(host: &Host, units: &[&str]) -> Report {
    run(grouped(host, units).update(&[], Trigger::Schedule)).unwrap()
}

fn result(report: &Report, name: &str) -> OutcomeKind {
    report.outcomes.iter().find(|outcome| outcome.unit == unit(name)).unwrap().result
}

/// Each unit runs its new image, or its old one; what stands for it says the same.
fn assert_all(host: &Host, units: &[&str], new: bool, context: &str) {
    for name in units {
        let stem = name.trim_end_matches(".service");
        let expected = if new { image(&format!("new {stem}")) } else { image("old") };
        assert_eq!(host.active(name), "active", "{name}: {context}");
        assert_eq!(host.image_of(name), Some(expected.manifest.clone()), "{name}: {context}");
        let tag = reference(&format!("quay.io/{stem}:1"));
        assert_eq!(host.tags.borrow()[&tag], expected, "{name}: {context}");
    }
    assert!(host.bindings.borrow().is_empty() && host.flights.borrow().is_empty(), "{context}");
}

#[test]
fn a_client_and_its_database_are_restarted_once_each_and_both_are_new() {
    for engine in [EngineKind::Native, EngineKind::Podman] {
        let host = pair(Behaviour::Good, Behaviour::Good);
        host.kind.set(Some(engine));
        let report = pass_of(&host, &BOTH);
        assert_eq!(results(&report), [OutcomeKind::Updated; 2], "{report:?}");
        assert_eq!(*host.restarted.borrow(), ["db.service"], "{engine}");
        assert_eq!(*host.carried.borrow(), ["app.service"], "{engine}");
        assert_all(&host, &BOTH, true, "both are good");
        let events = host.events.borrow();
        let told = events.iter().filter(|event| event.kind == EventKind::Restarting);
        let details: Vec<_> = told.map(|event| event.detail.as_str()).collect();
        assert!(details.contains(&"together with db.service (group web)"), "{details:?}");
    }
}

#[test]
fn strangers_in_a_group_are_restarted_side_by_side() {
    let host = distinct(&[("a", Behaviour::Good), ("b", Behaviour::Good)]);
    let report = pass_of(&host, &["a.service", "b.service"]);
    assert_eq!(results(&report), [OutcomeKind::Updated; 2]);
    assert_eq!((host.restarts.get(), host.most_jobs.get()), (2, 2));
}

#[test]
fn one_that_fails_takes_its_group_back_and_the_same_images_are_not_tried_again() {
    let bad =
        [Behaviour::CrashLoops, Behaviour::NeverReady, Behaviour::Exits(1), Behaviour::Unhealthy];
    for engine in [EngineKind::Native, EngineKind::Podman] {
        for (bad, of_client) in bad.iter().flat_map(|bad| [(*bad, true), (*bad, false)]) {
            let context = format!("{engine}, {bad:?}, of the client: {of_client}");
            let (app, db) = if of_client { (bad, Behaviour::Good) } else { (Behaviour::Good, bad) };
            let host = pair(app, db);
            host.kind.set(Some(engine));
            let report = pass_of(&host, &BOTH);
            assert_eq!(results(&report), [OutcomeKind::RolledBack; 2], "{context}: {report:?}");
            assert_all(&host, &BOTH, false, &context);
            let culprit = if of_client { "app.service" } else { "db.service" };
            let quarantine = host.quarantine.borrow().clone();
            let held: Vec<_> = quarantine.iter().map(|held| held.unit.as_str()).collect();
            assert_eq!(held, [culprit], "{context}");
            assert!(quarantine.iter().all(|held| held.beside.len() == 1 && held.beside[0].new));
            let details =
                report.outcomes.iter().filter(|it| it.detail.contains("which it goes with"));
            assert_eq!(details.count(), 1, "{report:?}");

            let restarts = host.restarts.get();
            let report = pass_of(&host, &BOTH);
            assert!(report.outcomes.is_empty(), "{context}");
            let held = |it: &&crate::plan::decide::Skipped| {
                matches!(it.reason, Reason::FailedTogether { .. })
            };
            assert_eq!(report.skipped.iter().filter(held).count(), 2, "{context}: {report:?}");
            assert_eq!(host.restarts.get(), restarts);
        }
    }
}

/// Either may be to blame. Without their group each is tried alone, and then it is known.
#[test]
fn a_group_that_fails_condemns_none_of_its_images() {
    use OutcomeKind::{NotReached, RolledBack, Updated};
    let bad = Behaviour::CrashLoops;
    for (app, db, alone) in [
        (bad, Behaviour::Good, [Updated, RolledBack]),
        (Behaviour::Good, bad, [RolledBack, NotReached]),
    ] {
        let host = pair(app, db);
        assert_eq!(results(&pass_of(&host, &BOTH)), [RolledBack; 2]);
        let held = |name: &str| {
            let (tag, new) =
                (reference(&format!("quay.io/{name}:1")), image(&format!("new {name}")));
            host.quarantine.borrow().find(&tag, &new.manifest).is_some()
        };
        assert!(!held("app") && !held("db"), "{app:?} {db:?}");
        let report = pass(&host);
        assert_eq!([result(&report, "db.service"), result(&report, "app.service")], alone);
        assert_eq!([held("db"), held("app")], [db == bad, app == bad]);
    }
}

#[test]
fn another_image_of_one_of_them_is_another_chance_for_all() {
    let host = pair(Behaviour::CrashLoops, Behaviour::Good);
    pass_of(&host, &BOTH);
    let mended = image("new app mended");
    host.remote.borrow_mut().insert(reference("quay.io/app:1"), Ok(mended.clone()));
    let report = pass_of(&host, &BOTH);
    assert_eq!(results(&report), [OutcomeKind::Updated; 2]);
    assert_eq!(host.image_of("app.service"), Some(mended.manifest));
    assert_eq!(host.image_of("db.service"), Some(image("new db").manifest));
}

/// A client that was pushed before the database that it needs.
#[test]
fn who_failed_alone_is_tried_again_with_the_other_and_is_good_then() {
    let host = pair(Behaviour::CrashLoops, Behaviour::Good);
    let db = reference("quay.io/db:1");
    let new = host.remote.borrow_mut().insert(db.clone(), Ok(image("old"))).unwrap();
    assert_eq!(results(&pass_of(&host, &BOTH)), [OutcomeKind::RolledBack]);
    assert_eq!(results(&pass_of(&host, &BOTH)), []);
    assert_eq!(results(&pass(&host)), [], "without the group it is quarantined as well");
    host.remote.borrow_mut().insert(db, new);
    host.behaviours.borrow_mut().insert(image("new app").manifest, Behaviour::Good);
    assert_eq!(results(&pass_of(&host, &BOTH)), [OutcomeKind::Updated; 2]);
    assert_all(&host, &BOTH, true, "both are new");
    assert_eq!(host.quarantine.borrow().iter().count(), 0, "it is proven good");
}

#[test]
fn what_cannot_be_pulled_holds_its_group_up() {
    let host = pair(Behaviour::Good, Behaviour::Good);
    let failure = Failure::new(FailureKind::Unauthorized, "401");
    host.unpullable.borrow_mut().insert(reference("quay.io/app:1"), failure);
    let report = pass_of(&host, &BOTH);
    assert_eq!(results(&report), [OutcomeKind::Failed; 2], "{report:?}");
    assert_eq!(host.restarts.get(), 0);
    host.unpullable.borrow_mut().clear();
    let report = pass_of(&host, &BOTH);
    let waits = |it: &&crate::plan::decide::Skipped| matches!(it.reason, Reason::GroupWaits { .. });
    assert_eq!(report.skipped.iter().filter(waits).count(), 1, "{report:?}");
}

#[test]
fn a_group_may_be_larger_than_what_is_restarted_at_once() {
    let names: Vec<String> = (0..9).map(|n| format!("u{n}")).collect();
    let units: Vec<_> = names.iter().map(|name| (name.as_str(), Behaviour::Good)).collect();
    let host = distinct(&units);
    let units: Vec<String> = names.iter().map(|name| format!("{name}.service")).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    let report = pass_of(&host, &units);
    assert_eq!(results(&report), [OutcomeKind::Updated; 9]);
    assert_all(&host, &units, true, "all go together");
}

#[test]
fn who_was_stopped_meanwhile_stays_so_and_the_others_go_on() {
    let host = pair(Behaviour::StoppedByOperator, Behaviour::Good);
    let report = pass_of(&host, &BOTH);
    assert_eq!(result(&report, "app.service"), OutcomeKind::Stopped);
    assert_eq!(result(&report, "db.service"), OutcomeKind::Updated);
    assert_eq!(host.active("app.service"), "inactive");
}

#[test]
fn who_follows_a_group_on_its_image_comes_after_it_and_takes_it_back() {
    for bad in [None, Some(Behaviour::CrashLoops)] {
        let host = pair(Behaviour::Good, Behaviour::Good);
        host.references.borrow_mut().insert(unit("other.service"), reference("quay.io/app:1"));
        host.begin(&unit("other.service"));
        host.own_behaviours.borrow_mut().extend(bad.map(|bad| (unit("other.service"), bad)));
        let report = pass_of(&host, &BOTH);
        let expected = if bad.is_some() { OutcomeKind::RolledBack } else { OutcomeKind::Updated };
        assert_eq!(results(&report), [expected; 3], "{report:?}");
        let restarted = host.restarted.borrow();
        assert_eq!(restarted[..2], ["db.service", "other.service"]);
        assert_all(&host, &BOTH, bad.is_none(), "with the other one");
        let all = host.quarantine.borrow().iter().all(|held| held.beside.is_empty());
        assert!(all, "it is of no group");
    }
}

/// Its data migrates forward: it has no part in the way back of the others.
#[test]
fn who_never_goes_back_keeps_the_new_image_where_its_group_goes_back() {
    let host = pair(Behaviour::CrashLoops, Behaviour::Good);
    let mut updater = grouped(&host, &BOTH);
    updater.options.units.entry(unit("db.service")).or_default().rollback = Some(Rollback::Never);
    let report = run(updater.update(&[], Trigger::Schedule)).unwrap();
    assert_eq!(result(&report, "app.service"), OutcomeKind::RolledBack);
    assert_eq!(result(&report, "db.service"), OutcomeKind::Updated);
    assert_eq!(host.image_of("db.service"), Some(image("new db").manifest));
}

/// It went down with the database, and comes up with it.
#[test]
fn a_client_that_never_goes_back_runs_its_new_image_where_its_database_goes_back() {
    for bad in [Behaviour::CrashLoops, Behaviour::NeverReady, Behaviour::Exits(1)] {
        let host = pair(Behaviour::Good, bad);
        let mut updater = grouped(&host, &BOTH);
        let own = updater.options.units.entry(unit("app.service")).or_default();
        own.rollback = Some(Rollback::Never);
        let report = run(updater.update(&[], Trigger::Schedule)).unwrap();
        assert_eq!(result(&report, "db.service"), OutcomeKind::RolledBack, "{bad:?}: {report:?}");
        assert_eq!(host.image_of("db.service"), Some(image("old").manifest), "{bad:?}");
        assert_eq!(host.image_of("app.service"), Some(image("new app").manifest), "{report:?}");
        assert_eq!(result(&report, "app.service"), OutcomeKind::Updated, "{bad:?}: {report:?}");
    }
}

#[test]
fn a_unit_that_is_asked_for_brings_its_group() {
    let host = pair(Behaviour::Good, Behaviour::Good);
    let updater = grouped(&host, &BOTH);
    let report = run(updater.update(&[unit("app.service")], Trigger::Manual)).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Updated; 2]);
}

/// After a cut at each durable write in turn, both run their new images or both their old ones.
#[test]
fn a_cut_anywhere_leaves_all_of_a_group_new_or_all_old() {
    let bad = [Behaviour::Good, Behaviour::CrashLoops, Behaviour::NeverReady];
    for engine in [EngineKind::Native, EngineKind::Podman] {
        for (bad, of_client) in bad.iter().flat_map(|bad| [(*bad, true), (*bad, false)]) {
            for (cut, booted) in (0..60).flat_map(|cut| [(cut, true), (cut, false)]) {
                let context = format!(
                    "{engine}, {bad:?}, of the client: {of_client}, cut at {cut}, booted: {booted}"
                );
                let (app, db) =
                    if of_client { (bad, Behaviour::Good) } else { (Behaviour::Good, bad) };
                let host = pair(app, db);
                host.kind.set(Some(engine));
                host.writes_left.set(Some(cut));
                let _ = run(grouped(&host, &BOTH).update(&[], Trigger::Schedule));
                match booted {
                    true => host.reboot(),
                    false => host.writes_left.set(None),
                }
                run(grouped(&host, &BOTH).recover()).unwrap();
                let new = host.image_of("db.service") != Some(image("old").manifest);
                assert_all(&host, &BOTH, new, &context);
                assert!(!new || bad == Behaviour::Good, "{context}");
            }
        }
    }
}
