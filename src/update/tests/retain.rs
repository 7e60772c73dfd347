//! What becomes of images at the end of a pass, against a host in memory.

use super::*;
use crate::update::port::{JobError, Pin, Pulled, Shelf, Stored};

/// An image that an earlier pass brought, and that nobody needs.
fn leftover(seed: &str) -> Stored {
    let ImageIdentity { target, manifest, .. } = image(seed);
    Stored {
        id: manifest.clone(),
        digests: vec![target, manifest.clone()],
        pulled: Some(Pulled {
            reference: reference("quay.io/app:1"),
            manifest,
            wanted: jiff::Timestamp::from_second(-3600).unwrap(),
        }),
        held: false,
        parts: vec![],
    }
}

fn keeping(host: &Host, images: &[&str]) {
    host.stock.borrow_mut().images.extend(images.iter().map(|seed| leftover(seed)));
}

fn removed(host: &Host) -> Vec<Digest> {
    host.cleared.borrow().clone()
}

#[test]
fn what_nobody_needs_goes_at_the_end_of_a_pass() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    keeping(&host, &["one", "two", "three"]);
    let mut updater = updater(&host);
    updater.options.retention.at_once = 2;
    let pass = || run(updater.update(&[], Trigger::Schedule)).unwrap();
    assert_eq!(results(&pass()), [OutcomeKind::Updated]);
    assert_eq!(removed(&host).len(), 2);
    let events = host.kinds();
    let last = |kind| events.iter().rposition(|event| *event == kind).unwrap();
    assert!(last(EventKind::Removed) > last(EventKind::Updated), "{events:?}");
    pass();
    pass();
    assert_eq!(removed(&host).len(), 3, "the rest, in a pass that has nothing to update");
}

#[test]
fn what_is_under_way_stays() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    keeping(&host, &["old", "new", "other"]);
    *host.refusal.borrow_mut() = Some(JobError::ServiceStopping);
    pass(&host);
    assert_eq!(host.stocktakings.get(), 0, "nothing is looked at while the service stops");
    *host.refusal.borrow_mut() = None;
    *host.tag_failure.borrow_mut() = Some(Failure::new(FailureKind::Local, "no"));
    pass(&host);
    assert!(!host.flights.borrow().is_empty());
    assert_eq!(removed(&host), [image("other").manifest]);
}

#[test]
fn what_is_on_probation_stays_and_what_stands_by() {
    let host = Host::with(&["job.service"], Behaviour::Good);
    host.transient.set(true);
    keeping(&host, &["old", "new", "other"]);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Deferred]);
    assert_eq!(removed(&host), [image("other").manifest]);
}

#[test]
fn a_failure_costs_nothing_else_and_is_told() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    keeping(&host, &["one"]);
    *host.clear_failure.borrow_mut() = Some(Failure::new(FailureKind::Local, "read-only"));
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::Updated]);
    assert_eq!(report.problems, []);
    let [warning] = &report.warnings[..] else { panic!("{report:?}") };
    assert!(warning.ends_with("still there: read-only"), "{warning}");
    assert!(host.kinds().contains(&EventKind::Problem));
    *host.clear_failure.borrow_mut() = None;
    pass(&host);
    assert_eq!(removed(&host).len(), 1);
}

#[test]
fn what_a_unit_ran_goes_a_month_after_its_file() {
    let host = Host::with(&["a.service", "removed.service", "stopped.service"], Behaviour::Good);
    keeping(&host, &["one", "two"]);
    for (name, seed) in [("removed.service", "one"), ("stopped.service", "two")] {
        let pins = vec![Pin { name: seed.into(), image: image(seed).manifest }];
        host.stock.borrow_mut().shelves.push(Shelf { unit: Some(unit(name)), pins });
        let mut units = host.units.borrow_mut();
        let stopped = units.get_mut(&unit(name)).unwrap();
        (stopped.image, stopped.active) = (None, "inactive");
    }
    host.gone.borrow_mut().insert(unit("removed.service"));
    let later = |days: u64| {
        let asleep = Duration::from_secs(days * 24 * 60 * 60);
        run(Clock::sleep(&host, asleep));
        pass(&host);
    };
    later(0);
    later(20);
    host.gone.borrow_mut().clear();
    later(1);
    host.gone.borrow_mut().insert(unit("removed.service"));
    later(1);
    later(20);
    assert_eq!(removed(&host), [], "it came back in between");
    later(11);
    assert_eq!(removed(&host), [image("one").manifest]);
}
