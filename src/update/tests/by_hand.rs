//! Going back by hand, against a host in memory.

use super::together::distinct;
use super::*;
use crate::model::Digest;
use crate::plan::Reason;
use crate::update::port::JobError;

fn history(host: &Host) -> Vec<Entry> {
    host.history.borrow().iter().rev().cloned().collect()
}

fn back(host: &Host, units: &[&str], to: Option<&str>) -> Result<Report, Failure> {
    let units: Vec<UnitName> = units.iter().map(|name| unit(name)).collect();
    run(updater(host).roll_back(&units, to, || Ok(history(host))))
}

fn held(host: &Host) -> Vec<Digest> {
    host.quarantine.borrow().iter().map(|held| held.manifest.clone()).collect()
}

fn refused(host: &Host, units: &[&str], to: Option<&str>) -> String {
    back(host, units, to).unwrap_err().message
}

#[test]
fn a_unit_goes_back_and_the_next_check_does_not_bring_it_again() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    pass(&host);
    let asked = (host.heads.get(), host.gets.get());
    assert_eq!(results(&back(&host, &["a.service"], None).unwrap()), [OutcomeKind::Reverted]);
    assert_eq!(host.image_of("a.service"), Some(image("old").manifest));
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("old"));
    assert_eq!(held(&host), [image("new").manifest]);
    assert_eq!((host.heads.get(), host.gets.get()), asked, "no registry is asked");
    assert_eq!(host.stocktakings.get(), 2, "after each of both");
    let report = pass(&host);
    assert!(matches!(report.skipped[0].reason, Reason::Quarantined { .. }), "{report:?}");
    assert_eq!(host.image_of("a.service"), Some(image("old").manifest));

    let again = refused(&host, &["a.service"], None);
    assert!(again.contains("rolled back already"), "{again}");
    assert!(again.contains(&image("new").manifest.short()), "{again}");
    host.quarantine.borrow_mut().clear(|_| true);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
    assert_eq!(results(&back(&host, &["a.service"], None).unwrap()), [OutcomeKind::Reverted]);
}

#[test]
fn an_old_image_that_fails_now_gives_way_to_what_ran() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    pass(&host);
    host.behaviours.borrow_mut().insert(image("old").manifest, Behaviour::CrashLoops);
    let report = back(&host, &["a.service"], None).unwrap();
    assert_eq!(results(&report), [OutcomeKind::RolledBack]);
    assert_eq!(host.image_of("a.service"), Some(image("new").manifest));
    assert_eq!(host.active("a.service"), "active");
    assert_eq!(held(&host), [image("old").manifest], "what failed, and not what runs");
    // It may be tried again.
    host.behaviours.borrow_mut().clear();
    assert_eq!(results(&back(&host, &["a.service"], None).unwrap()), [OutcomeKind::Reverted]);
}

#[test]
fn a_unit_that_died_of_its_image_is_started_and_one_that_was_stopped_is_not() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    pass(&host);
    let down = |active, on_request| {
        let mut units = host.units.borrow_mut();
        let unit = units.get_mut(&unit("a.service")).unwrap();
        (unit.active, unit.on_request, unit.image) = (active, on_request, None);
    };
    down("failed", false);
    assert_eq!(results(&back(&host, &["a.service"], None).unwrap()), [OutcomeKind::Reverted]);
    assert_eq!(host.active("a.service"), "active");

    host.quarantine.borrow_mut().clear(|_| true);
    pass(&host);
    down("inactive", true);
    let report = back(&host, &["a.service"], None).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Deferred], "{report:?}");
    assert_eq!(host.active("a.service"), "inactive");
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("old"));
    assert_eq!(held(&host), [image("new").manifest]);
}

#[test]
fn a_sibling_stays_where_it_is_unless_there_is_only_the_tag() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    pass(&host);
    assert_eq!(results(&back(&host, &["a.service"], None).unwrap()), [OutcomeKind::Reverted]);
    assert_eq!(host.image_of("b.service"), Some(image("new").manifest));
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("new"));
    assert_eq!(host.bindings.borrow().len(), 1);

    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    host.kind.set(Some(EngineKind::Podman));
    pass(&host);
    let report = back(&host, &["a.service"], None).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Reverted, OutcomeKind::Reverted]);
    assert_eq!(host.image_of("b.service"), Some(image("old").manifest));
    assert!(report.warnings[0].starts_with("b.service goes back as well"), "{report:?}");
}

#[test]
fn what_cannot_be_done_is_refused_and_nothing_is_touched() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    let never = refused(&host, &["a.service"], None);
    assert!(never.contains("no update is recorded"), "{never}");
    let unknown = refused(&host, &["z.service"], None);
    assert!(unknown.contains("unit z.service runs no container"), "{unknown}");
    pass(&host);
    let restarts = host.restarts.get();
    let missing = refused(&host, &["a.service"], Some("beef"));
    assert!(missing.contains(&image("old").manifest.short()), "{missing}");
    let ambiguous = refused(&host, &["a.service"], Some("sha256:"));
    assert!(ambiguous.contains("several images"), "{ambiguous}");
    let there = refused(&host, &["a.service"], Some(&image("new").manifest.short()));
    assert!(there.contains("already"), "{there}");
    refused(&host, &["a.service", "z.service"], None);
    assert_eq!(host.restarts.get(), restarts);
    let named = image("old").manifest.to_string();
    let report = back(&host, &["a.service"], Some(&named)).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Reverted]);
}

#[test]
fn a_power_cut_anywhere_ends_back_or_where_it_was() {
    for kind in [EngineKind::Native, EngineKind::Podman] {
        for writes in 0.. {
            let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
            host.kind.set(Some(kind));
            pass(&host);
            host.writes_left.set(Some(writes));
            let cut = back(&host, &["a.service", "b.service"], None);
            let through = host.writes_left.get() > Some(0);
            host.reboot();
            run(updater(&host).recover()).unwrap();
            assert!(host.flights.borrow().is_empty(), "{kind} {writes}");
            let all = ["a.service", "b.service"].map(|unit| host.image_of(unit).unwrap());
            let tag = host.tags.borrow()[&reference("quay.io/app:1")].manifest.clone();
            let went = all[0] == image("old").manifest;
            assert_eq!(all, [tag.clone(), tag], "{kind} {writes}: {cut:?}");
            assert_eq!(held(&host).contains(&image("new").manifest), went, "{kind} {writes}");
            if through {
                assert!(went && writes > 8, "{kind} {writes}");
                break;
            }
        }
    }
}

/// Two units that were updated, and another update of the first that a crash has cut.
fn cut_beside() -> Host {
    let host = distinct(&[("a", Behaviour::Good), ("b", Behaviour::Good)]);
    pass(&host);
    host.remote.borrow_mut().insert(reference("quay.io/a:1"), Ok(image("newer")));
    host.writes_left.set(Some(4));
    pass(&host);
    host.writes_left.set(None);
    assert_eq!(host.flights.borrow().len(), 1);
    host.restarted.borrow_mut().clear();
    host
}

#[test]
fn while_the_host_shuts_down_nobody_goes_back() {
    let host = cut_beside();
    host.shutting_down.set(true);
    *host.refusal.borrow_mut() = Some(JobError::ShuttingDown("poweroff".into()));
    let report = back(&host, &["b.service"], None).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Suspended]);
    assert!(report.problems[0].message.contains("no unit was rolled back"), "{report:?}");
    assert_eq!(host.flights.borrow().len(), 1, "{report:?}");
    assert_eq!(host.image_of("b.service"), Some(image("new b").manifest));
}

#[test]
fn a_refusal_does_not_cost_the_end_of_what_was_in_flight() {
    let host = cut_beside();
    let report = back(&host, &["z.service"], None).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Updated]);
    assert!(report.problems[0].message.contains("z.service"), "{report:?}");
}

#[test]
fn a_service_that_stops_begins_nothing_and_still_brings_back_what_failed() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    pass(&host);
    let restarts = host.restarts.get();
    host.winding_down.set(true);
    assert_eq!(results(&back(&host, &["a.service"], None).unwrap()), [OutcomeKind::Suspended]);
    assert_eq!(host.restarts.get(), restarts);
    host.winding_down.set(false);
    assert_eq!(results(&run(updater(&host).recover()).unwrap()), [OutcomeKind::Reverted]);

    let mut came_back = 0;
    for writes in 0..12 {
        let host = Host::with(&["a.service"], Behaviour::Good);
        pass(&host);
        host.behaviours.borrow_mut().insert(image("old").manifest, Behaviour::CrashLoops);
        host.writes_left.set(Some(writes));
        // Cut short, it may end in any way.
        let _ = back(&host, &["a.service"], None);
        host.writes_left.set(None);
        host.winding_down.set(true);
        let restarts = host.restarts.get();
        let report = run(updater(&host).recover()).unwrap();
        if host.restarts.get() > restarts {
            assert_eq!(results(&report), [OutcomeKind::RolledBack], "{writes}");
            assert_eq!(host.image_of("a.service"), Some(image("new").manifest), "{writes}");
            came_back += 1;
        }
    }
    assert!(came_back > 0);
}
