use super::*;
use crate::ctl::access::Service;
use crate::ctl::exit;
use crate::ctl::remote::Properties;
use crate::daemon::api::{Checked, RegistryState, RegistryStatus, Running, Standing, UnitStatus};
use crate::model::{
    Digest, EngineKind, Failure, FailureKind, ImageIdentity, ImageSource, Platform, Policy,
};
use crate::plan::decide::Skipped;
use crate::plan::registries::LastFailure;
use crate::plan::{Budget, Plan, Quarantined, Reason, Rollout, Step};
use crate::update::{Entry, Outcome, OutcomeKind, Report};

fn style(width: usize) -> Style {
    Style {
        terminal: Terminal { width: Some(width), colour: false },
        json: false,
        now: Timestamp::from_second(1_800_000_000).unwrap(),
    }
}

fn image(name: &str) -> ImageIdentity {
    ImageIdentity {
        target: Digest::of(name.as_bytes()),
        manifest: Digest::of(name.as_bytes()),
        platform: Platform { os: "linux".into(), architecture: "amd64".into(), variant: None },
    }
}

fn source() -> ImageSource {
    ImageSource {
        reference: "registry.example:5000/team/app:stable".parse().unwrap(),
        authfile: None,
    }
}

fn skipped(unit: Option<&str>, reason: Reason) -> Skipped {
    Skipped {
        unit: unit.map(|unit| unit.parse().unwrap()),
        container: "systemd-db".into(),
        reference: "registry.example:5000/db:16".parse().unwrap(),
        image: image("db"),
        reason,
    }
}

fn checked() -> Checked {
    let plan = Plan {
        made_at: Timestamp::UNIX_EPOCH,
        rollouts: vec![Rollout {
            source: source(),
            engine: EngineKind::Native,
            policy: Policy::Registry,
            new: image("v2"),
            moves_tag: true,
            settled: vec![],
            with: vec![],
            steps: vec![Step::alone(
                "app.service".parse().unwrap(),
                vec!["app".into()],
                image("v1"),
            )],
        }],
        skipped: vec![
            skipped(Some("db.service"), Reason::UpToDate),
            skipped(
                Some("web.service"),
                Reason::Quarantined {
                    manifest: Digest::of(b"v3"),
                    since: Timestamp::UNIX_EPOCH,
                    cause: "the service died and systemd restarted it (3 times)".into(),
                },
            ),
            skipped(None, Reason::NoUnit { claimed: None }),
        ],
        problems: vec![],
        warnings: vec![],
        asking: vec![],
        staging: vec![],
    };
    Checked { plan, not_running: vec![gone()], waiting: vec![] }
}

fn outcome(result: OutcomeKind, detail: &str) -> Outcome {
    Outcome {
        unit: "app.service".parse().unwrap(),
        reference: source().reference,
        old: Digest::of(b"v1"),
        new: Digest::of(b"v2"),
        result,
        detail: detail.into(),
        restored: false,
        elapsed_ms: 75_300,
    }
}

/// A unit whose last update left nothing running.
fn gone() -> UnitStatus {
    UnitStatus {
        unit: Some("web.service".parse().unwrap()),
        reference: Some(source().reference),
        running: None,
        standing: Standing::NeedsOperator,
        gates: vec![],
        detail: "it crashed".into(),
        last: Some(entry(OutcomeKind::NeedsOperator, "it crashed", 1_799_999_000)),
    }
}

fn report(outcomes: Vec<Outcome>) -> Report {
    Report {
        outcomes,
        skipped: vec![skipped(Some("db.service"), Reason::UpToDate)],
        ..Report::default()
    }
}

fn entry(result: OutcomeKind, detail: &str, ended: i64) -> Entry {
    Entry {
        logs: vec![],
        ended: Timestamp::from_second(ended).unwrap(),
        trigger: "schedule".into(),
        pass: None,
        engine: None,
        outcome: outcome(result, detail),
    }
}

#[test]
fn a_check_on_a_narrow_and_a_wide_terminal() {
    insta::assert_snapshot!("check-80", check::table(&checked(), style(80)));
    insta::assert_snapshot!("check-140", check::table(&checked(), style(140)));
}

#[test]
fn a_report_says_what_happened_and_why() {
    let report = report(vec![
        outcome(OutcomeKind::Updated, ""),
        outcome(OutcomeKind::RolledBack, "the unit is failed (failed), result exit-code"),
    ]);
    insta::assert_snapshot!("update", update::text(&report, style(100)));
}

#[test]
fn a_rollback_says_what_went_back_and_whom_it_concerns() {
    let report = Report {
        outcomes: vec![outcome(OutcomeKind::Reverted, "rolled back by an operator")],
        warnings: vec!["web.service goes back as well".into()],
        ..Report::default()
    };
    insta::assert_snapshot!("rollback", rollback::text(&report, style(100)));
}

#[test]
fn a_rollback_tells_of_units_that_do_not_run() {
    let told = |outcomes| rollback::text(&report(outcomes), style(100));
    let later = told(vec![outcome(OutcomeKind::Deferred, "")]);
    assert!(later.contains("0 units reverted, 1 at the next start.\nWhat was left is"), "{later}");
    let none = told(vec![outcome(OutcomeKind::RolledBack, "")]);
    assert!(none.ends_with("0 units reverted.\n"), "{none}");
}

fn why_of(unit: &str, checked: &Checked, units: &[UnitStatus], history: &[Entry]) -> (String, u8) {
    let unit: crate::model::UnitName = unit.parse().unwrap();
    let next_check = "2027-01-15T09:00:00Z";
    let question = why::Question { unit: &unit, checked, units, history, next_check };
    let answer = why::answer(&question, style(100));
    (why::text(&answer), answer.code(&question))
}

#[test]
fn why_says_in_one_line_how_a_unit_stands() {
    let mut checked = checked();
    let reference = checked.plan.skipped[0].reference.clone();
    checked.plan.warnings.push(crate::plan::Sharer {
        container: "beside".into(),
        engine: EngineKind::Podman,
        reference,
        kind: crate::plan::Sharing::Unlabelled,
    });
    let ago = |kind, detail| [entry(kind, detail, 1_800_000_000 - 7260)];
    let crashed = "the service died and systemd restarted it (3 times)";
    let mut held = checked.clone();
    held.not_running.clear();
    let failure = Failure::new(FailureKind::Unreachable, "registry.example:5000: no route");
    held.plan.skipped.push(skipped(Some("far.service"), Reason::CheckFailed { failure }));
    let mut updating = gone();
    updating.standing = Standing::Updating;
    updating.detail = "to fb04dcb6970e".into();
    let told = [
        why_of("app.service", &checked, &[], &ago(OutcomeKind::RolledBack, "it died")),
        why_of("db.service", &checked, &[], &ago(OutcomeKind::Updated, "")),
        why_of("web.service", &held, &[], &ago(OutcomeKind::RolledBack, crashed)),
        why_of("web.service", &checked, &[], &[]),
        why_of("web.service", &held, &[updating], &[]),
        why_of("far.service", &held, &[], &[]),
        why_of("none.service", &held, &[], &[]),
    ];
    let all: String = told.iter().map(|(text, code)| format!("[{code}] {text}")).collect();
    insta::assert_snapshot!("why", all);
}

#[test]
fn a_status_has_the_service_and_the_units() {
    let status = |unit: &str, standing, detail: &str, last| UnitStatus {
        unit: Some(unit.parse().unwrap()),
        reference: Some(source().reference),
        running: Some(Running {
            container: "app".into(),
            engine: EngineKind::Native,
            policy: "registry".into(),
            image: Digest::of(b"v1"),
            authfile: None,
        }),
        standing,
        gates: vec![],
        detail: detail.into(),
        last,
    };
    let units = [
        status(
            "app.service",
            Standing::Followed,
            "",
            Some(entry(OutcomeKind::Updated, "", 1_800_000_000 - 7260)),
        ),
        status("db.service", Standing::CheckFailing, "registry.example:5000: timed out", None),
        gone(),
        UnitStatus {
            unit: None,
            reference: None,
            running: None,
            standing: Standing::Unknown,
            gates: vec![],
            detail: "/run/updaterd/containers/0/record.json is damaged".into(),
            last: None,
        },
    ];
    let properties = Properties {
        version: "0.1.0".into(),
        state: "idle".into(),
        last_check: "2027-01-15T08:00:00Z".into(),
        next_check: "2027-01-15T09:00:00Z".into(),
    };
    let running = Service::Running(properties);
    insta::assert_snapshot!("status", status::text(&running, &units, style(100)));
    insta::assert_snapshot!("status-stopped", status::text(&Service::NotRunning, &[], style(100)));
    let unknown = status::text(&Service::NoBus, &[], style(100));
    assert!(unknown.starts_with("There is no bus"), "{unknown}");
}

#[test]
fn a_history_is_newest_first_as_it_came() {
    let entries = [
        entry(OutcomeKind::RolledBack, "the unit is failed", 1_799_999_000),
        entry(OutcomeKind::Updated, "", 1_799_990_000),
    ];
    insta::assert_snapshot!("history", history::table(&entries, style(140)));
}

#[test]
fn a_history_in_full_has_what_the_unit_said_last() {
    let mut rolled_back = entry(OutcomeKind::RolledBack, "the unit is failed", 1_799_999_000);
    rolled_back.engine = Some(EngineKind::Podman);
    let excerpt = |lines: &[&str], missing: &str| crate::update::Excerpt {
        unit: "app.service".into(),
        invocation: "0f".repeat(16),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        missing: missing.into(),
    };
    rolled_back.logs = vec![
        excerpt(&["app: no such table: users", "systemd: app.service: Main process exited"], ""),
        excerpt(&[], "No journal files were opened due to insufficient permissions."),
        excerpt(&[], ""),
    ];
    let entries = [rolled_back, entry(OutcomeKind::Updated, "", 1_799_990_000)];
    insta::assert_snapshot!("history-full", history::full(&entries));
}

#[test]
fn a_quarantine_names_its_cause() {
    let held = Quarantined {
        repository: "registry.example/app".into(),
        manifest: Digest::of(b"v3"),
        since: Timestamp::UNIX_EPOCH,
        unit: "app.service".parse().unwrap(),
        cause: "the service died".into(),
        beside: vec![],
    };
    let ended = Timestamp::from_second(86_400).ok();
    let held = [Some(ended), None].map(|expires| crate::daemon::api::Held {
        image: held.clone(),
        expires: expires.flatten(),
    });
    insta::assert_snapshot!("quarantine", quarantine::list(&held, style(120)));
}

#[test]
fn ages_and_durations_read_well() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let ago = |seconds: i64| age(Timestamp::from_second(1_000_000 - seconds).unwrap(), now);
    assert_eq!([ago(-5), ago(1), ago(59)], ["0 seconds ago", "1 second ago", "59 seconds ago"]);
    assert_eq!([ago(60), ago(7199), ago(86_400 * 3)], ["1 minute ago", "1 hour ago", "3 days ago"]);
    assert_eq!([took(0), took(12_345), took(75_300)], ["0.0s", "12.3s", "1m 15s"]);
}

#[test]
fn the_gravest_result_is_the_exit_code() {
    let of = |kinds: &[OutcomeKind]| {
        exit::of_report(&report(kinds.iter().map(|kind| outcome(*kind, "")).collect()))
    };
    use OutcomeKind::{Failed, NeedsOperator, Reverted, RolledBack, Stopped, Updated};
    assert_eq!(of(&[]), exit::DONE);
    assert_eq!(of(&[Updated, Stopped, Reverted]), exit::DONE);
    assert_eq!(of(&[Updated, Failed]), exit::PARTLY);
    assert_eq!(of(&[RolledBack, Failed]), exit::ROLLED_BACK);
    assert_eq!(of(&[RolledBack, NeedsOperator]), exit::NEEDS_OPERATOR);
    let failure = Failure::new(FailureKind::Unreachable, "no route");
    let unchecked = Report {
        skipped: vec![skipped(Some("a.service"), Reason::CheckFailed { failure })],
        ..Report::default()
    };
    assert_eq!(exit::of_report(&unchecked), exit::PARTLY);
    assert_eq!(exit::of_check(&checked()), exit::PARTLY, "a container has no unit");
    let mut only_gone = checked();
    only_gone.plan.skipped.clear();
    assert_eq!(exit::of_check(&only_gone), exit::PARTLY, "a unit lost its container");
}

#[test]
fn completions_know_the_commands() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish]
    {
        assert!(completions::shell(shell).text.contains("quarantine"), "{shell}");
    }
}

/// `UPDATE_MANUAL=1 cargo test manual` writes it anew.
#[test]
fn the_manual_page_is_the_one_in_the_tree() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/man/updaterctl.1");
    let made = completions::manual().unwrap().text;
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(made == written, "make it anew: UPDATE_MANUAL=1 cargo test manual");
}

#[test]
fn registries_are_the_golden() {
    let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
    let down = Failure::new(FailureKind::Unreachable, "no connection: timed out");
    let answering = RegistryStatus {
        registry: "registry.example:5000".into(),
        state: RegistryState::Answering,
        images: 12,
        budget: None,
        last_failure: Some(LastFailure { at: at(-86400), failure: down.clone() }),
        next_try: None,
    };
    let budget = Budget {
        limit: 100,
        remaining: 7,
        window: 21600,
        counted_for: Some("192.0.2.1".into()),
        seen: at(-60),
    };
    let registries = [
        RegistryStatus {
            registry: "docker.io".into(),
            state: RegistryState::BudgetSpent,
            images: 3,
            next_try: Some(budget.renewed()),
            budget: Some(budget),
            last_failure: None,
        },
        RegistryStatus {
            registry: "down.example".into(),
            state: RegistryState::Unreachable,
            images: 1,
            budget: None,
            last_failure: Some(LastFailure { at: at(-60), failure: down }),
            next_try: Some(at(40)),
        },
        answering,
    ];
    insta::assert_snapshot!("registries", registries::text(&registries, style(140)));
    let json = serde_json::to_string(&registries).unwrap();
    assert_eq!(serde_json::from_str::<Vec<RegistryStatus>>(&json).unwrap(), registries);
    assert!(registries::text(&[], style(140)).starts_with("No running container"));
}
