//! The units of one image: a canary, and then the others side by side.

use super::*;
use crate::plan::rollout::{Mark, Phase};
use crate::update::port::Clock as _;

const NAMES: [&str; 6] =
    ["a.service", "b.service", "c.service", "d.service", "e.service", "f.service"];

/// Six units of one image; the new one does `bad` in one of them.
fn with_one(bad: Option<(&str, Behaviour)>) -> Host {
    let host = Host::with(&NAMES, Behaviour::Good);
    let bad = bad.map(|(name, behaviour)| (unit(name), behaviour));
    host.own_behaviours.borrow_mut().extend(bad);
    host.job_time.set(Duration::from_secs(1));
    host
}

/// How often each unit was restarted.
fn restarts(host: &Host) -> Vec<usize> {
    let restarted = host.restarted.borrow();
    NAMES.iter().map(|name| restarted.iter().filter(|unit| unit == name).count()).collect()
}

fn assert_all_old(host: &Host) {
    for name in NAMES {
        assert_eq!(host.image_of(name), Some(image("old").manifest), "{name}");
        assert_eq!(host.active(name), "active", "{name}");
    }
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("old"));
    assert!(host.bindings.borrow().is_empty() && host.flights.borrow().is_empty());
}

#[test]
fn all_units_of_an_image_take_two_settle_times() {
    let host = with_one(None);
    let before = host.monotonic();
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated; 6]);
    let took = host.monotonic() - before;
    // A canary, and two times four jobs of a second.
    assert!(took < Duration::from_secs(2 * 10 + 5), "{took:?}");
    assert_eq!(host.most_jobs.get(), 4, "max_parallel");
    assert_eq!(restarts(&host), [1; 6]);
    let kinds = host.kinds();
    let nth = |kind, nth: usize| {
        kinds.iter().enumerate().filter(|(_, k)| **k == kind).nth(nth).unwrap().0
    };
    assert!(nth(EventKind::Verifying, 0) < nth(EventKind::Restarting, 1), "the canary was alone");
}

#[test]
fn units_of_an_image_that_need_each_other_go_one_after_the_other() {
    let host = with_one(None);
    host.needs("f.service", &["b.service"]);
    let before = host.monotonic();
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated; 6]);
    let took = host.monotonic() - before;
    assert!((30..45).contains(&took.as_secs()), "{took:?}");
    let restarted = host.restarted.borrow();
    let at = |name: &str| restarted.iter().position(|unit| unit == name).unwrap();
    assert!(at("f.service") < at("b.service"), "{restarted:?}");
}

#[test]
fn a_later_unit_that_fails_takes_all_back_that_were_moved() {
    for bad in [Behaviour::CrashLoops, Behaviour::NeverReady, Behaviour::Exits(1)] {
        for engine in [EngineKind::Native, EngineKind::Podman] {
            let host = with_one(Some(("d.service", bad)));
            host.kind.set(Some(engine));
            let report = pass(&host);
            let context = format!("{engine}, {bad:?}: {report:?}");
            assert!(
                results(&report)[..4].iter().all(|it| *it == OutcomeKind::RolledBack),
                "{context}"
            );
            assert_all_old(&host);
            assert_eq!(host.quarantine.borrow().iter().count(), 1, "{context}");
            assert!(restarts(&host).iter().all(|times| [0, 2].contains(times)), "{context}");
        }
    }
}

#[test]
fn two_that_fail_at_once_are_both_put_back() {
    let host = with_one(Some(("c.service", Behaviour::NeverReady)));
    host.own_behaviours.borrow_mut().insert(unit("d.service"), Behaviour::NeverReady);
    pass(&host);
    assert_all_old(&host);
    assert_eq!(host.quarantine.borrow().iter().count(), 1);
}

#[test]
fn without_rollback_only_the_one_that_fails_is_left() {
    let host = with_one(Some(("c.service", Behaviour::CrashLoops)));
    let mut updater = updater(&host);
    updater.options.rollback = Rollback::Leave;
    let report = run(updater.update(&[], Trigger::Schedule)).unwrap();
    for outcome in &report.outcomes {
        let expected: &[OutcomeKind] = match outcome.unit.as_str() {
            "c.service" => &[OutcomeKind::Failed],
            // Those that were under way beside it go on; what was not begun is not.
            "f.service" => &[OutcomeKind::Updated, OutcomeKind::NotReached],
            _ => &[OutcomeKind::Updated],
        };
        assert!(expected.contains(&outcome.result), "{report:?}");
    }
}

/// One at a time is restarted, and watched beside the next: whose turn comes when the service stops.
#[test]
fn who_is_under_way_is_seen_to_when_the_service_stops() {
    let with = |second| {
        let host = with_one(Some(("b.service", second)));
        host.own_behaviours.borrow_mut().insert(unit("c.service"), Behaviour::ServiceStopping);
        host
    };
    let pass = |host: &Host| {
        let mut updater = updater(host);
        updater.options.max_parallel = 1;
        run(updater.update(&[], Trigger::Schedule)).unwrap()
    };
    for bad in [Behaviour::CrashLoops, Behaviour::Exits(1), Behaviour::Unhealthy] {
        let host = with(bad);
        let report = pass(&host);
        assert!(
            results(&report)[..3].iter().all(|it| *it == OutcomeKind::RolledBack),
            "{report:?}"
        );
        assert_all_old(&host);
    }
    let host = with(Behaviour::Good);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Suspended; 6]);
    let marks = host.flights.borrow()[0].progress.marks.clone();
    let verified = Mark::Moving { phase: Phase::Reviving };
    assert_eq!(marks[..2], [Mark::Updated, verified], "watched to the end");
    assert_eq!(marks[3], Mark::Untouched, "nothing more is begun");
    host.own_behaviours.borrow_mut().clear();
    let report = run(updater(&host).recover()).unwrap();
    assert_eq!(results(&report), [OutcomeKind::Updated; 6], "{report:?}");
}

#[test]
fn a_power_cut_anywhere_among_several_ends_committed_or_rolled_back() {
    for engine in [EngineKind::Native, EngineKind::Podman] {
        for bad in [None, Some(Behaviour::CrashLoops), Some(Behaviour::NeverReady)] {
            for boots in [true, false] {
                for cut in 0..90 {
                    cut_the_power(engine, bad, boots, cut);
                }
            }
        }
    }
}

fn cut_the_power(engine: EngineKind, bad: Option<Behaviour>, boots: bool, cut: u32) {
    let host = with_one(bad.map(|bad| ("d.service", bad)));
    host.kind.set(Some(engine));
    host.writes_left.set(Some(cut));
    pass(&host);
    match boots {
        true => host.reboot(),
        // The process ended, the host did not.
        false => host.writes_left.set(None),
    }
    run(updater(&host).recover()).unwrap();
    let images: Vec<_> = NAMES.iter().map(|name| host.image_of(name)).collect();
    let context = format!("{engine}, {bad:?}, boot: {boots}, cut at write {cut}: {images:?}");
    for name in NAMES {
        assert_eq!(host.active(name), "active", "{name}: {context}");
    }
    assert!(host.flights.borrow().is_empty(), "{context}");
    assert!(images.iter().all(|image| image == &images[0]), "one tag, one truth: {context}");
    if bad.is_some() {
        assert_eq!(images[0], Some(image("old").manifest), "{context}");
    }
}
