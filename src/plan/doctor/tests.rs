use jiff::Timestamp;

use super::*;
use crate::model::{Digest, Failure, FailureKind, ImageIdentity, Platform, Reference};
use crate::plan::Sharing;
use crate::plan::decide::Skipped;

fn reference() -> Reference {
    "quay.io/app:1".parse().unwrap()
}

fn skipped(unit: &str, reason: Reason) -> Skipped {
    let digest = Digest::of(b"app");
    Skipped {
        unit: unit.parse().ok(),
        container: "app".into(),
        reference: reference(),
        image: ImageIdentity {
            target: digest.clone(),
            manifest: digest,
            platform: Platform::host(),
        },
        reason,
    }
}

fn plan(skipped: Vec<Skipped>) -> Plan {
    Plan {
        made_at: Timestamp::UNIX_EPOCH,
        rollouts: vec![],
        skipped,
        problems: vec![],
        warnings: vec![],
        asking: vec![],
        staging: vec![],
    }
}

fn unit(name: &str, enabled: bool, active: bool) -> UnitFile {
    UnitFile { name: name.into(), enabled, active }
}

/// A host that nothing is wrong with.
fn well() -> Facts {
    Facts {
        scope: Scope::System,
        plan: Ok(plan(vec![skipped("app.service", Reason::UpToDate)])),
        strays: vec![],
        down: vec![],
        units: Ok(vec![unit(SERVICE, true, true), unit(PODMANS_TIMER, false, false)]),
        by_timer: false,
        podman: true,
        missing: vec![],
        lingerless: None,
        volatile: vec![],
        ledger: vec![],
        set_aside: vec![],
        disks: vec![Disk {
            path: "/var/lib/updaterd".into(),
            free: 50 << 30,
            size: 100 << 30,
            reserve: 256 << 20,
            engine: EngineKind::Native,
        }],
        budgets: vec![],
    }
}

#[test]
fn what_the_configuration_wants_of_the_disk_and_cannot_have_is_told() {
    let mut facts = well();
    facts.disks[0].reserve = 60 << 30;
    let budget = |budget, needed| Budget { engine: EngineKind::Native, budget, needed };
    facts.budgets = vec![budget(0, 5 << 30), budget(5 << 30, 5 << 30), budget(5 << 30, 6 << 30)];
    let found = findings(&facts);
    let told: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("less than min_free, 61440 MiB: pulls are refused"), "{told:?}");
    assert!(told[1].contains("take 6144 MiB, and disk_budget is 5120 MiB"), "{told:?}");
}

#[test]
fn a_host_that_is_well_has_no_findings() {
    assert_eq!(findings(&well()), []);
    // A large disk may be fuller, and Podman's timer does its work where we do not.
    let mut facts = well();
    facts.disks[0].free = 3 << 30;
    facts.podman = false;
    facts.units = Ok(vec![unit(SERVICE, true, true), unit(PODMANS_TIMER, true, true)]);
    assert_eq!(findings(&facts), []);
}

#[test]
fn each_finding_has_a_command() {
    let quarantined = Reason::Quarantined {
        manifest: Digest::of(b"bad"),
        since: Timestamp::UNIX_EPOCH,
        cause: "the service died".into(),
    };
    let failure = Failure::new(FailureKind::Unreachable, "no route");
    let mut seen = plan(vec![
        skipped("pinned.service", Reason::Pinned),
        skipped("bad.service", quarantined),
        skipped("odd.service", Reason::InvalidPolicy { message: "no policy \"x\"".into() }),
        skipped("far.service", Reason::CheckFailed { failure: failure.clone() }),
        skipped("", Reason::NoUnit { claimed: None }),
    ]);
    seen.problems.push(failure);
    seen.warnings.push(Sharer {
        container: "beside".into(),
        engine: EngineKind::Podman,
        reference: reference(),
        kind: Sharing::Unlabelled,
    });
    let mut facts = Facts {
        scope: Scope::User,
        plan: Ok(seen),
        strays: vec![("alone".into(), EngineKind::Podman), ("own".into(), EngineKind::Native)],
        down: vec![("down.service".parse().unwrap(), "it crashed".into())],
        units: Ok(vec![unit(SERVICE, false, true), unit(PODMANS_TIMER, true, false)]),
        missing: vec![(Helper::Pasta, "web.service".into())],
        lingerless: Some("ann".into()),
        ledger: vec!["/ledger/checks.json is damaged (it is no JSON)".into()],
        set_aside: vec!["/ledger/quarantine.json.damaged-20261126T200000Z".into()],
        volatile: vec![Volatile {
            file: "/run/user/7/containers/auth.json".into(),
            reader: Reader::Everybody,
            registries: vec!["quay.io".into(), "ghcr.io".into()],
            lasting: "/home/ann/.config/containers/auth.json".into(),
            is_there: false,
        }],
        ..well()
    };
    facts.disks[0].free = 300 << 20;
    let all: String = findings(&facts).iter().map(|finding| format!("{finding}\n")).collect();
    insta::assert_snapshot!("findings", all);
}

#[test]
fn who_names_a_volatile_file_has_to_name_another() {
    let found = |reader, is_there| {
        let volatile = Volatile {
            file: "/run/app.json".into(),
            reader,
            registries: vec!["quay.io".into()],
            lasting: "/root/.config/containers/app.json".into(),
            is_there,
        };
        let facts = Facts { volatile: vec![volatile], ..well() };
        let [found] = &findings(&facts)[..] else { panic!("one finding") };
        (found.what.clone(), found.mend.clone())
    };
    let copy = "install -D -m 600 /run/app.json /root/.config/containers/app.json";
    let (what, mend) = found(Reader::Units(vec!["a.service".into(), "b.service".into()]), false);
    assert_eq!(mend, format!("{copy} && systemctl edit --full a.service b.service"));
    assert_eq!(
        what,
        "credentials for quay.io are in /run/app.json only, which a.service, b.service names, and \
         are gone after the next boot"
    );
    let (what, mend) = found(Reader::Service, false);
    assert_eq!(mend, format!("{copy} && systemctl edit updaterd.service"));
    assert!(what.contains("REGISTRY_AUTH_FILE of updaterd.service"), "{what}");
    let (_, mend) = found(Reader::Caller, true);
    let login = "updater-launch login --authfile /root/.config/containers/app.json quay.io";
    let set = "export REGISTRY_AUTH_FILE=/root/.config/containers/app.json";
    assert_eq!(mend, format!("{login} && {set}"));
}

#[test]
fn what_cannot_be_asked_is_a_finding() {
    let facts =
        Facts { plan: Err("the ledger is damaged".into()), units: Err("no bus".into()), ..well() };
    let kinds: Vec<Kind> = findings(&facts).iter().map(|finding| finding.finding).collect();
    assert_eq!(kinds, [Kind::NotAsked, Kind::NotAsked]);
}

#[test]
fn the_timer_checks_where_it_is_to() {
    let mut facts = Facts { by_timer: true, ..well() };
    let found = findings(&facts);
    assert!(found[0].mend.contains("enable --now updaterd-check.timer"), "{found:?}");
    facts.units = Ok(vec![unit(TIMER, true, true)]);
    assert_eq!(findings(&facts), []);
}
