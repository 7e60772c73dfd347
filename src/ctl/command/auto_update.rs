//! `updaterctl auto-update`: the words, fields and exit codes of podman-auto-update(1).

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Output, Style};
use crate::ctl::Error;
use crate::ctl::access::{Access, AutoUpdated, Done, Embedded};
use crate::ctl::args::AutoUpdate;
use crate::ctl::exit;
use crate::model::{Container, EngineKind, Failure, FailureKind, Policy};
use crate::plan::Reason;
use crate::plan::decide::Skipped;
use crate::terminal::template::Layout;
use crate::update::{Outcome, OutcomeKind};

const LAYOUT: Layout<'_> = Layout {
    template: "{{.Unit}}\t{{.Container}}\t{{.Image}}\t{{.Policy}}\t{{.Updated}}",
    headings: &[("ContainerName", "CONTAINER NAME"), ("ContainerID", "CONTAINER ID")],
    heading: true,
};

pub(super) async fn run<E: Embedded>(
    flags: &AutoUpdate,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    let done = access.auto_update(flags).await?;
    let (rows, errors) = report(&done);
    let format = if style.json { &crate::terminal::template::Format::Json } else { &flags.format };
    // Podman says nothing where nothing carries the label, in no format.
    let text = match rows.is_empty() {
        true => String::new(),
        false => format.render(LAYOUT, &rows, style.terminal)?,
    };
    let code = if errors.is_empty() { exit::DONE } else { exit::AS_PODMAN };
    Ok(Output { text, complaint: complaint(&errors), code })
}

/// One error on a line, several in a list, as Podman has it.
fn complaint(errors: &[String]) -> String {
    match errors {
        [] => String::new(),
        [only] => format!("Error: {only}\n"),
        all => {
            let mut text = format!("Error: {} errors occurred:\n", all.len());
            for error in all {
                let _ = writeln!(text, "\t* {error}");
            }
            text + "\n"
        }
    }
}

/// A row for each container that could be updated, and what went wrong.
fn report(done: &AutoUpdated) -> (Vec<Value>, Vec<String>) {
    let mut containers: Vec<&Container> = done.containers.iter().collect();
    containers.sort_by_key(|container| (&container.unit, &container.name));
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for container in containers {
        let policy = match &container.policy {
            Ok(Policy::Disabled) => continue,
            Ok(policy) => policy.to_string(),
            Err(invalid) => {
                errors.push(format!("auto-updating container \"{}\": {invalid}", container.id));
                continue;
            }
        };
        let Some(unit) = &container.unit else {
            errors.push(unowned(container));
            continue;
        };
        let (updated, error) = updated(container, &done.done);
        errors.extend(error);
        rows.push(json!({
            "Unit": unit,
            "Container": format!("{} ({})", container.id.short(), container.name),
            "ContainerName": container.name,
            "ContainerID": container.id,
            "Image": container.source.reference,
            "Policy": policy,
            "Updated": updated,
        }));
    }
    let problems = match &done.done {
        Done::Planned(plan) => &plan.problems,
        Done::Updated(report) => &report.problems,
    };
    errors.extend(problems.iter().map(ToString::to_string));
    (rows, errors)
}

fn unowned(container: &Container) -> String {
    let id = &container.id;
    match &container.claimed {
        None if container.engine == EngineKind::Native => {
            format!("auto-updating container \"{id}\": no systemd unit is there for it")
        }
        None => format!("auto-updating container \"{id}\": no PODMAN_SYSTEMD_UNIT label found"),
        Some(claimed) => format!(
            "auto-updating container \"{id}\": the label PODMAN_SYSTEMD_UNIT names \"{claimed}\", \
             whose cgroup does not hold the container"
        ),
    }
}

/// The word of the column UPDATED, and what went wrong.
fn updated(container: &Container, done: &Done) -> (&'static str, Option<String>) {
    let skipped = match done {
        Done::Planned(plan) => {
            let pending = plan.rollouts.iter().any(|rollout| {
                rollout.steps.iter().any(|step| {
                    let aim = rollout.aim(step);
                    aim.engine == container.engine
                        && aim.source == &container.source
                        && step.containers.contains(&container.name)
                })
            });
            if pending {
                return ("pending", None);
            }
            &plan.skipped
        }
        Done::Updated(report) => {
            let own = |outcome: &&Outcome| {
                Some(&outcome.unit) == container.unit.as_ref()
                    && outcome.reference == container.source.reference
            };
            if let Some(outcome) = report.outcomes.iter().find(own) {
                return of_outcome(container, outcome);
            }
            &report.skipped
        }
    };
    let own =
        |skipped: &&Skipped| skipped.container == container.name && skipped.unit == container.unit;
    let failed = |failure: &Failure| {
        let cause = cause(failure);
        ("failed", Some(format!("checking image updates for container {}: {cause}", container.id)))
    };
    match skipped.iter().find(own).map(|skipped| &skipped.reason) {
        Some(Reason::CheckFailed { failure } | Reason::CoolingDown { failure, .. }) => {
            failed(failure)
        }
        Some(reason @ Reason::NotInStorage) => {
            failed(&Failure::new(FailureKind::NotFound, reason.to_string()))
        }
        Some(Reason::Gated { .. }) => ("pending", None),
        _ => ("false", None),
    }
}

fn of_outcome(container: &Container, outcome: &Outcome) -> (&'static str, Option<String>) {
    let Outcome { unit, detail, .. } = outcome;
    match outcome.result {
        OutcomeKind::Updated | OutcomeKind::Reverted => ("true", None),
        OutcomeKind::RolledBack => ("rolled back", None),
        OutcomeKind::NeedsOperator if outcome.restored => ("rolled back", None),
        OutcomeKind::Deferred => ("pending", None),
        OutcomeKind::Stopped | OutcomeKind::NotReached => ("false", None),
        OutcomeKind::NeedsOperator => {
            ("failed", Some(format!("restarting unit {unit} during rollback: {detail}")))
        }
        OutcomeKind::Failed | OutcomeKind::Suspended => {
            let job = detail.strip_prefix("the restart job ended with ");
            let error = match job {
                Some(result) => format!(
                    "restarting unit {unit} during update: error restarting systemd unit \"{unit}\" \
                     expected \"done\" but received {result}"
                ),
                None => format!("updating image for container {}: {detail}", container.id),
            };
            ("failed", Some(error))
        }
    }
}

/// A failure in words that scripts look for in Podman's.
fn cause(failure: &Failure) -> String {
    let message = &failure.message;
    if failure.kind == FailureKind::Unauthorized && !message.contains("authentication required") {
        return format!("authentication required: {message}");
    }
    if message.to_lowercase().contains("certificate") {
        return format!("x509: {message}");
    }
    message.clone()
}

#[cfg(test)]
#[path = "auto_update_tests.rs"]
mod tests;
