//! Units that systemd has forgotten when the next process takes up what an earlier one began.

use super::*;
use crate::plan::rollout::{Mark, Phase};
use crate::update::port::InFlight;

/// A host on which the service dies after so many effects, and the host goes on.
fn died_after(effects: u32, new: Behaviour) -> Host {
    let host = Host::with(&["a.service"], new);
    host.forgotten.set(true);
    host.writes_left.set(Some(effects));
    let _ = run(updater(&host).update(&[], Trigger::Schedule));
    host.go_on_without_it();
    host
}

#[test]
fn a_unit_that_went_down_while_nobody_looked_is_not_left_so() {
    use Behaviour::{CrashLoops, Exits, NeverReady};
    for bad in [NeverReady, Exits(0), Exits(1), CrashLoops] {
        for effects in 0..40 {
            let host = died_after(effects, bad);
            // It lives on meanwhile.
            run(host.sleep(Duration::from_secs(5)));
            let report = run(updater(&host).recover()).unwrap();
            assert_eq!(host.active("a.service"), "active", "{bad:?} after {effects}: {report:?}");
            assert_eq!(host.image_of("a.service"), Some(image("old").manifest), "{bad:?}");
            assert!(!report.has(OutcomeKind::Stopped), "{bad:?} after {effects}: {report:?}");
            assert!(host.flights.borrow().is_empty());
        }
    }
}

/// A unit may take its time to end: what its `ExecStopPost=` does is waited for by its restart.
#[test]
fn a_unit_that_is_just_going_down_is_not_left_so() {
    for effects in 0..20 {
        let host = died_after(effects, Behaviour::Good);
        for unit in host.units.borrow_mut().values_mut() {
            (unit.active, unit.image) = ("deactivating", None);
        }
        // What goes down when it has verified is none of the update's business.
        let open =
            |mark: &Mark| matches!(mark, Mark::Moving { phase } if *phase != Phase::Reviving);
        let moving = |flight: &InFlight| flight.progress.marks.iter().any(open);
        let concerns = host.flights.borrow().iter().any(moving);
        let report = run(updater(&host).recover()).unwrap();
        if concerns {
            assert_eq!(host.active("a.service"), "active", "after {effects}: {report:?}");
        }
    }
}

/// Also where the next start dies as well, between two of its effects.
#[test]
fn two_deaths_leave_no_unit_down() {
    for bad in [Behaviour::NeverReady, Behaviour::Exits(1)] {
        for (first, second) in (0..20).flat_map(|first| (0..20).map(move |second| (first, second)))
        {
            let host = died_after(first, bad);
            run(host.sleep(Duration::from_secs(5)));
            host.writes_left.set(Some(second));
            let _ = run(updater(&host).recover());
            host.go_on_without_it();
            run(updater(&host).recover()).unwrap();
            assert_eq!(host.active("a.service"), "active", "{bad:?} after {first} and {second}");
        }
    }
}

#[test]
fn a_unit_that_its_operator_stopped_meanwhile_stays_stopped() {
    for new in [Behaviour::Good, Behaviour::Unhealthy] {
        for effects in 0..40 {
            let host = died_after(effects, new);
            host.stop("a.service");
            let report = run(updater(&host).recover()).unwrap();
            assert_eq!(host.active("a.service"), "inactive", "after {effects}: {report:?}");
        }
    }
}

#[test]
fn who_stopped_it_is_told_by_the_journal_alone() {
    let stopped = |unreadable| {
        let host = (3..40).map(|effects| died_after(effects, Behaviour::Good));
        let host = host.into_iter().find(|host| !host.flights.borrow().is_empty()).unwrap();
        host.stop("a.service");
        host.journal_failure.set(unreadable);
        run(updater(&host).recover()).unwrap();
        host.active("a.service")
    };
    assert_eq!(stopped(None), "inactive");
    assert_eq!(stopped(Some("no journal")), "active", "in doubt it ran before, and runs again");
}

/// systemd restarts nothing that is down, and says that this is done.
#[test]
fn a_unit_that_crashes_just_before_its_restart_is_started() {
    for (new, expected) in [(Behaviour::Good, "new"), (Behaviour::Exits(1), "old")] {
        let host = Host::with(&["a.service"], new);
        host.forgotten.set(true);
        host.crashes_at_reset.set(true);
        let report = run(updater(&host).update(&[], Trigger::Schedule)).unwrap();
        assert_eq!(host.active("a.service"), "active", "{report:?}");
        assert_eq!(host.image_of("a.service"), Some(image(expected).manifest), "{report:?}");
    }
}
