use proptest::prelude::*;

use super::*;
use crate::plan::Hold;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn unit() -> UnitName {
    "app.service".parse().unwrap()
}

/// What keeps the unit from an image that is known since the epoch.
fn found(gates: &Gates, now: i64) -> Vec<Gate> {
    gates.of(&unit(), &"quay.io/app:1".parse().unwrap(), &Digest::of(b"new"), at(now))
}

fn ruled(rules: UnitRules) -> Gates {
    let image = crate::model::ImageIdentity {
        target: Digest::of(b"new"),
        manifest: Digest::of(b"new"),
        platform: crate::model::Platform::host(),
    };
    let mut gates = Gates::default();
    gates.seen.note(&"quay.io/app:1".parse().unwrap(), &[&image], at(0));
    gates.rules.insert(unit(), rules);
    gates
}

fn held(until: Option<i64>) -> Hold {
    Hold { since: at(0), until: until.map(at), reason: "the fair".into() }
}

#[test]
fn without_rules_nothing_is_in_the_way() {
    assert_eq!(found(&Gates::default(), 0), []);
    assert_eq!(found(&ruled(UnitRules::default()), 0), []);
    assert_eq!(found(&ruled(UnitRules::default()), -10), [], "the clock was set back");
}

#[test]
fn all_of_it_is_told_what_lasts_longest_first() {
    let daily = |text: &str| (text.parse::<Window>().unwrap(), Some(TimeZone::UTC));
    let mut gates = ruled(UnitRules {
        mode: Mode::Approve,
        windows: vec![daily("02:00 for 1h"), daily("01:00 for 30m")],
        cooldown: Duration::from_secs(7200),
    });
    gates.holds.set(unit(), held(Some(60)));
    let all = found(&gates, 10);
    assert_eq!(
        describe(&all),
        "nobody has approved it, too young until 1970-01-01T02:00:00Z, its window opens at \
         1970-01-01T01:00:00Z, held until 1970-01-01T00:01:00Z (the fair)"
    );
    assert_eq!((until(&all), allow_pulls(&all)), (None, true));
    gates.approvals.add(Approval { unit: unit(), manifest: Digest::of(b"new"), at: at(0) });
    assert_eq!(until(&found(&gates, 10)), Some(at(7200)));
    // The hold is over, a window is open, and it is old enough.
    assert_eq!(found(&gates, 7200 + 5), []);
    assert_eq!(found(&gates, 3 * 3600), [Gate::Window { opens: Some(at(25 * 3600)) }]);
}

#[test]
fn a_window_without_its_zone_never_opens() {
    let window = ("00:00 Mars/Base for 24h".parse().unwrap(), None);
    let gates = ruled(UnitRules { windows: vec![window], ..UnitRules::default() });
    assert_eq!(found(&gates, 10), [Gate::Window { opens: None }]);
}

#[test]
fn a_named_unit_waits_for_the_end_of_a_hold_only() {
    let mut gates = ruled(UnitRules {
        mode: Mode::Manual,
        windows: vec![("1999-01-01 for 1h".parse().unwrap(), Some(TimeZone::UTC))],
        cooldown: Duration::from_secs(7200),
    });
    assert_eq!(found(&gates, 10).len(), 3);
    assert!(!allow_pulls(&found(&gates, 10)));
    gates.named.insert(unit());
    assert_eq!(found(&gates, 10), []);
    gates.holds.set(unit(), held(None));
    assert!(matches!(found(&gates, 10)[..], [Gate::Hold { until: None, .. }]));
}

proptest! {
    /// Whatever is added, nothing comes earlier; and as time goes by, only windows close again.
    #[test]
    fn a_rule_more_never_lets_more_happen(
        cooldown in 0_u64..100,
        hold in proptest::option::of(0_i64..100),
        approve in any::<bool>(),
        now in 0_i64..100,
    ) {
        let fewer = ruled(UnitRules {
            cooldown: Duration::from_secs(cooldown),
            ..UnitRules::default()
        });
        let mut more = fewer.clone();
        if approve && let Some(rules) = more.rules.get_mut(&unit()) {
            rules.mode = Mode::Approve;
        }
        if hold.is_some() {
            more.holds.set(unit(), held(hold));
        }
        let end = |gates: &Gates| {
            let found = found(gates, now);
            if found.is_empty() { Some(at(now)) } else { until(&found) }
        };
        let (fewer, more) = (end(&fewer), end(&more));
        prop_assert!(more.is_none() || more >= fewer);
        prop_assert_eq!(more.is_none(), approve);
    }
}
