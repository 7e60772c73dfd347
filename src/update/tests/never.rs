//! Units whose data migrates forward.

use super::*;

fn never(host: &Host, units: &[&str]) -> Report {
    let mut updater = updater(host);
    for name in units {
        let own = UnitOptions { rollback: Some(Rollback::Never), ..UnitOptions::default() };
        updater.options.units.insert(unit(name), own);
    }
    run(updater.update(&[], Trigger::Schedule)).unwrap()
}

#[test]
fn it_is_stopped_on_the_new_image_and_the_next_one_is_not_tried() {
    let host = Host::with(&["a.service", "b.service"], Behaviour::CrashLoops);
    let report = never(&host, &["a.service", "b.service"]);
    assert_eq!(results(&report), [OutcomeKind::NeedsOperator, OutcomeKind::NotReached]);
    let detail = &report.outcomes[0].detail;
    assert!(detail.contains("systemd restarted it") && detail.contains("is stopped"), "{detail}");
    assert_eq!((host.active("a.service"), host.active("b.service")), ("inactive", "active"));
    assert_eq!(host.image_of("b.service"), Some(image("old").manifest));
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("old"));
    let bound = host.bindings.borrow().values().cloned().collect::<Vec<_>>();
    assert_eq!(bound, [image("new")], "its next start gets what its data may need");
    assert_eq!(host.quarantine.borrow().iter().count(), 1);
    assert!(never(&host, &["a.service", "b.service"]).outcomes.is_empty());
    assert_eq!(host.active("b.service"), "active");
}

#[test]
fn others_go_back_without_it() {
    let host = Host::with(&["a.service", "b.service", "c.service"], Behaviour::Good);
    host.own_behaviours.borrow_mut().insert(unit("c.service"), Behaviour::CrashLoops);
    let report = never(&host, &["a.service"]);
    let expected = [OutcomeKind::Updated, OutcomeKind::RolledBack, OutcomeKind::RolledBack];
    assert_eq!(results(&report), expected);
    assert_eq!(host.image_of("a.service"), Some(image("new").manifest));
    assert_eq!(host.image_of("b.service"), Some(image("old").manifest));
}

#[test]
fn a_tag_takes_all_along() {
    let host = Host::with(&["a.service", "b.service", "c.service"], Behaviour::Good);
    host.kind.set(Some(EngineKind::Podman));
    host.own_behaviours.borrow_mut().insert(unit("c.service"), Behaviour::CrashLoops);
    let report = never(&host, &["a.service"]);
    let expected = [OutcomeKind::Updated, OutcomeKind::Updated, OutcomeKind::NeedsOperator];
    assert_eq!(results(&report), expected);
    assert_eq!(host.active("c.service"), "inactive");
    assert_eq!(host.tags.borrow()[&reference("quay.io/app:1")], image("new"));
}

#[test]
fn a_caller_cannot_ask_for_what_its_data_may_not_survive() {
    let host = Host::with(&["a.service"], Behaviour::Good);
    for (asked, expected) in [(true, Rollback::Never), (false, Rollback::Leave)] {
        let mut options = updater(&host).options;
        options.rollback = Rollback::Never;
        options.ask_for_rollback(asked);
        assert_eq!(options.rollback, expected);
    }
}

#[test]
fn a_power_cut_anywhere_never_leads_back_to_the_old_image() {
    for bad in [Behaviour::Good, Behaviour::CrashLoops] {
        for cut in 0..40 {
            let host = Host::with(&["a.service"], bad);
            host.writes_left.set(Some(cut));
            never(&host, &["a.service"]);
            host.reboot();
            never(&host, &["a.service"]);
            let (context, ran) = (format!("{bad:?}, cut at {cut}"), host.image_of("a.service"));
            assert!(host.flights.borrow().is_empty(), "{context}");
            assert_ne!(ran, Some(image("old").manifest), "{context}");
            if bad == Behaviour::Good {
                assert_eq!(ran, Some(image("new").manifest), "{context}");
            }
        }
    }
}
