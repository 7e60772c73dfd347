//! Verdicts: images that are broken, each in its own way, and images that only take their time. Of
//! the first none may stay, of the second none may go.
//!
//! The tables are in [`broken`], [`slow`] and [`jobs`]; here they are carried out, all units of a table in one
//! update, many at once.

mod broken;
mod jobs;
mod podman;
mod slow;

use std::fmt::Write as _;

use serde_json::Value;

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::podman::{self as on_podman, PodmanUnit};
use crate::registry::Registry;
use crate::units::{self, ContainerUnit, configure};

cases![
    broken_programs_go,
    broken_services_go,
    slow_images_stay,
    jobs_are_judged_by_their_next_run,
    podmans_are_judged_alike,
];

/// Exit codes of `updaterctl update`, as its manual has them.
const DONE: i32 = 0;
const ROLLED_BACK: i32 = 4;
const NEEDS_OPERATOR: i32 = 5;

/// One unit, the image that it runs, and the one that it is to be updated to.
struct Case<U = ContainerUnit> {
    name: &'static str,
    old: Image,
    new: Image,
    unit: fn(U) -> U,
    /// Lines below `[unit."NAME.service"]`.
    options: &'static str,
    /// Further unit files, which come with it, and are started with it.
    beside: &'static [(&'static str, &'static str)],
    /// What is done to the new image once it is in the registry.
    spoil: fn(&Registry<'_>, &str),
    template: bool,
    expected: Expected,
}

/// What has to become of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The unit runs the new image.
    Kept,
    /// The unit runs the old image, and the new one is quarantined.
    RolledBack,
    /// The unit runs the old image, but the new one is not to blame: an operator is needed.
    Excused,
    /// The unit was not touched.
    Refused,
}

/// A unit that runs one container, by whichever engine.
trait Unit: Sized {
    fn named(name: &str, image: &str) -> Self;
    /// Writes it; systemd is not told.
    fn place(self, host: &Host);
    /// What its container runs; empty where there is none.
    fn version(host: &Host, name: &str) -> String;
}

impl Unit for ContainerUnit {
    fn named(name: &str, image: &str) -> Self {
        Self::new(name, image)
    }

    fn place(self, host: &Host) {
        Self::place(self, host);
    }

    fn version(host: &Host, name: &str) -> String {
        units::version(host, name)
    }
}

impl Unit for PodmanUnit {
    fn named(name: &str, image: &str) -> Self {
        Self::new(name, image)
    }

    fn place(self, host: &Host) {
        self.write(host);
    }

    fn version(host: &Host, name: &str) -> String {
        on_podman::version(host, name)
    }
}

impl<U: Unit> Case<U> {
    /// `new` in place of a program that works, in a unit as the README has it.
    fn new(name: &'static str, expected: Expected, new: Image) -> Self {
        Self {
            name,
            old: Image::app("v1"),
            new,
            unit: |unit| unit,
            options: "",
            beside: &[],
            spoil: |_, _| {},
            template: false,
            expected,
        }
    }

    /// What runs before the update.
    fn old(self, old: Image) -> Self {
        Self { old, ..self }
    }

    fn unit(self, unit: fn(U) -> U) -> Self {
        Self { unit, ..self }
    }

    fn options(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    fn beside(self, beside: &'static [(&'static str, &'static str)]) -> Self {
        Self { beside, ..self }
    }

    fn spoil(self, spoil: fn(&Registry<'_>, &str)) -> Self {
        Self { spoil, ..self }
    }

    /// An instance of a template.
    fn of_a_template(self) -> Self {
        Self { template: true, ..self }
    }

    fn image(&self) -> String {
        format!("{}:latest", self.name)
    }

    /// The name of the unit that is written.
    fn file(&self) -> String {
        if self.template { format!("{}@", self.name) } else { self.name.to_owned() }
    }

    fn service(&self) -> String {
        let instance = if self.template { "1" } else { "" };
        format!("{}{instance}.service", self.file())
    }
}

/// Longer than what a program of the tables needs to fail, where it is not said otherwise.
const SETTLE: &str = "6s";

/// So many are updated at once: more would be slow for want of processors, where they shall be for reasons
/// of their own.
const AT_ONCE: usize = 20;

/// A host on which all units run their old image; the new ones are in the registry.
fn prepare<'host, U: Unit>(host: &'host Host, cases: &[Case<U>]) -> Registry<'host> {
    let registry = place(host, cases);
    let beside = cases.iter().flat_map(|case| case.beside).map(|(unit, _)| (*unit).to_owned());
    // A template is none that can be started.
    let beside = beside.filter(|unit| !unit.contains("@."));
    // A socket is refused where its service runs already.
    let (sockets, beside): (Vec<String>, Vec<String>) =
        beside.partition(|unit| unit.ends_with(".socket"));
    let services = cases.iter().map(Case::<U>::service).collect();
    for units in [sockets, services, beside].iter().filter(|units| !units.is_empty()) {
        host.sh(&format!("systemctl start {}", units.join(" ")));
    }
    bring_new(&registry, cases);
    registry
}

/// A host with all units, which do not run yet; their old images are in the registry.
fn place<'host, U: Unit>(host: &'host Host, cases: &[Case<U>]) -> Registry<'host> {
    let mut text =
        format!("schedule = \"timer\"\nsettle = \"{SETTLE}\"\nmax_parallel = {AT_ONCE}\n");
    for case in cases.iter().filter(|case| !case.options.is_empty()) {
        let _ = writeln!(text, "[unit.\"{}\"]\n{}", case.service(), case.options);
    }
    configure(host, &text);
    let registry = Registry::start(host);
    for case in cases {
        registry.push(&case.image(), &case.old);
        for (unit, text) in case.beside {
            host.write(&format!("/etc/systemd/system/{unit}"), text);
        }
        (case.unit)(U::named(&case.file(), &registry.reference(&case.image()))).place(host);
    }
    host.sh("systemctl daemon-reload");
    registry
}

fn bring_new<U: Unit>(registry: &Registry<'_>, cases: &[Case<U>]) {
    for case in cases {
        registry.push(&case.image(), &case.new);
        (case.spoil)(registry, &case.image());
    }
}

/// What is to be said of a case whose update came to another end than it should have.
fn judge<U: Unit>(
    host: &Host,
    case: &Case<U>,
    report: &Value,
    quarantine: &str,
) -> Result<(), String> {
    let service = case.service();
    let outcomes = report["outcomes"].as_array().unwrap();
    let outcome = outcomes.iter().find(|outcome| outcome["unit"] == *service);
    let skipped = report["skipped"].as_array().unwrap();
    let told = outcome.or_else(|| skipped.iter().find(|skipped| skipped["unit"] == *service));
    let found = (
        outcome.and_then(|outcome| outcome["result"].as_str()).unwrap_or_default(),
        U::version(host, case.name),
        host.property(&service, "ActiveState"),
        quarantine.contains(&service),
    );
    let (result, runs, active, quarantined) = &found;
    let (expected_result, expected_version, expected_quarantine) = match case.expected {
        Expected::Kept => ("updated", "v2", false),
        Expected::RolledBack => ("rolled-back", "v1", true),
        Expected::Excused => ("needs-operator", "v1", false),
        Expected::Refused => ("failed", "v1", false),
    };
    let right = *result == expected_result
        && runs == expected_version
        && active == "active"
        && *quarantined == expected_quarantine;
    if right {
        return Ok(());
    }
    let told = told.map(Value::to_string).unwrap_or_default();
    Err(format!("{}: not {:?} but {found:?}\n    {told}", case.name, case.expected))
}

/// Updates all, and holds what became of each against what should have.
fn assert_verdicts<U: Unit>(host: &Host, cases: &[Case<U>], status: i32) {
    let outcome = host.fails(status, "updaterctl update --json");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let quarantine = host.sh("updaterctl quarantine list --json");
    let judged = cases.iter().map(|case| judge(host, case, &report, &quarantine));
    let wrong: Vec<String> = judged.filter_map(Result::err).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} verdicts are wrong:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

fn broken_programs_go(host: &Host) {
    let cases = broken::programs();
    let _registry = prepare(host, &cases);
    assert_verdicts(host, &cases, NEEDS_OPERATOR);
}

fn broken_services_go(host: &Host) {
    let cases = broken::services();
    let _registry = prepare(host, &cases);
    assert_verdicts(host, &cases, ROLLED_BACK);
}

fn slow_images_stay(host: &Host) {
    let cases = slow::cases();
    let _registry = prepare(host, &cases);
    assert_verdicts(host, &cases, DONE);
}

fn jobs_are_judged_by_their_next_run(host: &Host) {
    let cases = jobs::cases();
    host.sh("mkdir -p /jobs");
    let registry = place(host, &cases);
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    let start = format!("systemctl start --no-block {}", names.join(" "));
    let go = format!("cd /jobs; touch {}", names.join(" "));
    let beside = cases.iter().flat_map(|case| case.beside).map(|(unit, _)| *unit);
    host.sh(&format!("systemctl start {}; {start}", beside.collect::<Vec<_>>().join(" ")));
    let all = |what: &str, is: &dyn Fn(&str) -> bool| {
        host.wait_until(what, seconds(60), || names.iter().all(|name| is(name)));
    };
    all("all are at work", &|name| units::version(host, name) == "v1");
    bring_new(&registry, &cases);
    let given = host.json("updaterctl update --json");
    let given = given["outcomes"].as_array().unwrap();
    assert!(given.iter().all(|outcome| outcome["result"] == "deferred"), "{given:?}");
    assert_eq!(given.len(), cases.len());

    let at_rest = |name: &str| {
        let property = |property| host.property(&format!("{name}.service"), property);
        matches!(property("ActiveState").as_str(), "inactive" | "failed")
            || property("SubState") == "auto-restart"
    };
    host.sh(&go);
    all("the runs have ended", &at_rest);
    host.sh(&format!("{start}; {go}"));
    // Each takes the leave that it was given, but for the one that cannot run.
    host.wait_for("test \"$(ls /jobs)\" = job-is-not-executable", seconds(60));
    all("the next runs have ended", &at_rest);
    host.run("updaterctl update");
    let history = host.json(&format!("updaterctl history --json --limit {}", cases.len()));
    let quarantine = host.sh("updaterctl quarantine list --json");
    let found = |case: &Case| {
        let own = history.as_array().unwrap().iter().find(|own| own["unit"] == case.service());
        let result = own.and_then(|own| own["result"].as_str()).unwrap_or_default();
        (result.to_owned(), quarantine.contains(&case.service()))
    };
    let expected = |case: &Case| match case.expected {
        Expected::Kept => ("updated".to_owned(), false),
        _ => ("rolled-back".to_owned(), true),
    };
    let wrong = cases.iter().filter(|case| found(case) != expected(case));
    let wrong: Vec<_> = wrong.map(|case| (case.name, found(case))).collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{history:#}");
}

fn podmans_are_judged_alike(host: &Host) {
    on_podman::configure(host);
    let cases = podman::cases();
    let _registry = prepare(host, &cases);
    assert_verdicts(host, &cases, NEEDS_OPERATOR);
}
