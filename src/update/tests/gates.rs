//! What keeps units from images that are there for them.

use super::*;
use crate::model::{Mode, Window};
use crate::plan::{Approval, Gate, Hold, Reason};
use crate::update::port::Clock as _;

const APP: &str = "quay.io/app:1";

/// With rules for single units.
fn ruled<'a>(host: &'a Host, units: &[(&str, Rules)]) -> Updater<&'a Host> {
    let mut updater = updater(host);
    for (name, rules) in units {
        let own = UnitOptions { rules: rules.clone(), ..UnitOptions::default() };
        updater.options.units.insert(unit(name), own);
    }
    updater
}

fn mode(mode: Mode) -> Rules {
    Rules { mode: Some(mode), ..Rules::default() }
}

fn update(updater: &Updater<&Host>) -> Report {
    run(updater.update(&[], Trigger::Schedule)).unwrap()
}

fn hold(host: &Host, name: &str) {
    let hold = Hold { since: host.now(), until: None, reason: "the fair".into() };
    host.holds.borrow_mut().set(unit(name), hold);
}

/// Why the units of a report are left alone: each with its unit.
fn waits(report: &Report) -> Vec<(String, bool)> {
    let skipped = report.skipped.iter();
    let waits = skipped.filter_map(|skipped| match &skipped.reason {
        Reason::Gated { staged, .. } => Some((skipped.unit.as_ref()?.to_string(), *staged)),
        _ => None,
    });
    waits.collect()
}

#[test]
fn a_held_unit_stays_as_it_is_and_its_image_is_there_when_the_hold_ends() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    hold(&host, "a.service");
    let report = pass(&host);
    assert_eq!(results(&report), [OutcomeKind::Updated], "the other one is not held");
    assert_eq!(waits(&report), [("a.service".to_owned(), true)]);
    assert_eq!(host.image_of("a.service"), Some(image("old").manifest));
    assert_eq!(host.tags.borrow()[&reference(APP)], image("old"), "a restart brings the old one");
    // A person who names it does not get round that.
    let named = run(updater(&host).update(&[unit("a.service")], Trigger::Manual)).unwrap();
    assert_eq!((results(&named), waits(&named).len()), (vec![], 1));
    host.holds.borrow_mut().end(host.now(), |_| true);
    assert_eq!(results(&pass(&host)), [OutcomeKind::Updated]);
    assert_eq!(host.tags.borrow()[&reference(APP)], image("new"));
}

#[test]
fn where_there_is_only_a_tag_a_hold_on_one_holds_all_that_follow_it() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    host.kind.set(Some(EngineKind::Podman));
    hold(&host, "b.service");
    let report = pass(&host);
    assert_eq!((results(&report), waits(&report).len()), (vec![], 1));
    let a = report.skipped.iter().find(|it| it.unit == Some(unit("a.service"))).unwrap();
    assert!(matches!(&a.reason, Reason::WaitsForUnit { why, .. } if why.contains("the fair")));
    // Also where only the other one is asked for.
    let named = run(updater(&host).update(&[unit("a.service")], Trigger::Manual)).unwrap();
    assert_eq!((results(&named), host.restarts.get()), (vec![], 0));
    assert_eq!(host.tags.borrow()[&reference(APP)], image("old"));
}

#[test]
fn a_group_waits_for_the_one_that_is_held() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::Good);
    hold(&host, "b.service");
    let mut updater = updater(&host);
    for name in ["a.service", "b.service"] {
        let own = UnitOptions { group: "web".parse().ok(), ..UnitOptions::default() };
        updater.options.units.insert(unit(name), own);
    }
    let report = update(&updater);
    assert_eq!((results(&report), host.restarts.get()), (vec![], 0));
    let a = report.skipped.iter().find(|it| it.unit == Some(unit("a.service"))).unwrap();
    assert!(matches!(&a.reason, Reason::GroupWaits { .. }), "{:?}", a.reason);
}

#[test]
fn a_hold_that_comes_while_images_are_pulled_counts() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    host.held_while_staging.set(Some("a.service"));
    let report = pass(&host);
    assert_eq!((results(&report), waits(&report)), (vec![], vec![("a.service".to_owned(), true)]));
    assert_eq!(host.restarts.get(), 0);
    assert!(host.flights.borrow().is_empty() && host.history.borrow().is_empty());
    assert!(host.bindings.borrow().is_empty());
}

#[test]
fn a_window_that_closes_while_images_are_pulled_counts() {
    let window: Window = "1970-01-01 00:00 UTC for 1h".parse().unwrap();
    let rules = Rules { windows: Some(vec![window]), ..Rules::default() };
    for (pull, ends) in [(3590, vec![OutcomeKind::Updated]), (3610, vec![])] {
        let host = Host::with(&["a.service"], Behaviour::Good);
        host.stage_time.set(Duration::from_secs(pull));
        let report = update(&ruled(&host, &[("a.service", rules.clone())]));
        // Once it has begun it comes to its end, ten seconds later.
        assert_eq!(results(&report), ends, "{pull}");
    }
}

#[test]
fn an_image_is_known_for_a_while_before_a_unit_gets_it() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    let cooldown = Some(Duration::from_secs(3600));
    let updater = ruled(&host, &[("a.service", Rules { cooldown, ..Rules::default() })]);
    assert_eq!(waits(&update(&updater)).len(), 1);
    run(host.sleep(Duration::from_secs(3000)));
    assert_eq!(waits(&update(&updater)).len(), 1);
    // Another one begins anew.
    host.remote.borrow_mut().insert(reference(APP), Ok(image("newer")));
    host.behaviours.borrow_mut().insert(image("newer").manifest, Behaviour::Good);
    update(&updater);
    run(host.sleep(Duration::from_secs(3000)));
    assert_eq!(waits(&update(&updater)).len(), 1);
    run(host.sleep(Duration::from_secs(1000)));
    assert_eq!(results(&update(&updater)), [OutcomeKind::Updated]);
    assert_eq!(host.image_of("a.service"), Some(image("newer").manifest));
}

#[test]
fn modes_say_how_far_it_goes_by_itself() {
    for (word, pulled, told) in [
        (Mode::Approve, true, true),
        (Mode::Download, true, true),
        (Mode::Notify, false, true),
        (Mode::Manual, false, false),
    ] {
        let host = Host::with(&["a.service"], Behaviour::Good);
        let updater = ruled(&host, &[("a.service", mode(word))]);
        let report = update(&updater);
        assert_eq!(waits(&report), [("a.service".to_owned(), pulled)], "{word}");
        assert_eq!(host.staged.borrow().contains(&image("new").manifest), pulled, "{word}");
        update(&updater);
        let kinds = host.kinds();
        let tellings = kinds.iter().filter(|kind| **kind == EventKind::UpdateAvailable).count();
        assert_eq!(tellings, usize::from(told), "{word}: once, or not at all");
        // A person who asks for everything has not named it.
        let all = run(updater.update(&[], Trigger::Manual)).unwrap();
        assert_eq!(results(&all), [], "{word}");
        let named = run(updater.update(&[unit("a.service")], Trigger::Manual)).unwrap();
        assert_eq!(results(&named), [OutcomeKind::Updated], "{word}");
    }
}

#[test]
fn an_approval_is_for_one_image() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    let updater = ruled(&host, &[("a.service", mode(Mode::Approve))]);
    let approve = |seed: &str| {
        let manifest = image(seed).manifest;
        let approval = Approval { unit: unit("a.service"), manifest, at: host.now() };
        host.approvals.borrow_mut().add(approval);
    };
    approve("new");
    host.remote.borrow_mut().insert(reference(APP), Ok(image("newer")));
    host.behaviours.borrow_mut().insert(image("newer").manifest, Behaviour::Good);
    let report = update(&updater);
    let Reason::Gated { gates, .. } = &report.skipped[0].reason else { panic!("{report:?}") };
    assert_eq!(gates[..], [Gate::Approval]);
    approve("newer");
    assert_eq!(results(&update(&updater)), [OutcomeKind::Updated]);
}

#[test]
fn what_waits_stays_in_storage_also_after_a_pass_over_others() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    let updater = ruled(&host, &[("a.service", mode(Mode::Approve))]);
    update(&updater);
    let awaited =
        |host: &Host| -> Vec<_> { host.memory.borrow().seen.awaited().cloned().collect() };
    assert_eq!(awaited(&host), [image("new")]);
    host.approvals.borrow_mut().add(Approval {
        unit: unit("a.service"),
        manifest: image("new").manifest,
        at: host.now(),
    });
    update(&updater);
    update(&updater);
    assert_eq!(awaited(&host), [], "all run it");
    // What failed is kept for nobody.
    let host = Host::with(&["a.service"], Behaviour::CrashLoops);
    assert_eq!(results(&pass(&host)), [OutcomeKind::RolledBack]);
    pass(&host);
    assert_eq!(awaited(&host), []);
}

#[test]
fn what_cannot_be_pulled_ahead_is_said_and_backed_off_from() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    let updater = ruled(&host, &[("a.service", mode(Mode::Download))]);
    let failure = Failure::new(FailureKind::Unreachable, "the line is cut");
    host.unpullable.borrow_mut().insert(reference(APP), failure.clone());
    let report = update(&updater);
    assert_eq!(waits(&report), [("a.service".to_owned(), false)]);
    assert_eq!(report.problems, [failure]);
    let again = update(&updater);
    assert!(matches!(again.skipped[0].reason, Reason::CoolingDown { .. }), "{again:?}");
}
