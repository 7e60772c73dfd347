//! `updaterctl status --registries`

use serde::Serialize;

use super::{Output, Style, age, json};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::exit;
use crate::daemon::api::{RegistryState, RegistryStatus};
use crate::terminal::Tone;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 6] = [
    Column::flexible("REGISTRY", 16),
    Column::fixed("IMAGES"),
    Column::fixed("STATE"),
    Column::fixed("PULLS LEFT"),
    Column::fixed("NEXT TRY"),
    Column::flexible("LAST ERROR", 16),
];

/// The document of `status --registries --json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    registries: &'a [RegistryStatus],
}

pub(super) async fn run<E: Embedded>(access: &Access<E>, style: Style) -> Result<Output, Error> {
    let registries = access.registries().await?;
    if style.json {
        return json(&Document { registries: &registries }, exit::DONE);
    }
    Ok(Output::new(text(&registries, style), exit::DONE))
}

pub(super) fn text(registries: &[RegistryStatus], style: Style) -> String {
    if registries.is_empty() {
        return "No running container's image is checked at a registry.\n".into();
    }
    let rows: Vec<_> = registries.iter().map(|registry| row(registry, style)).collect();
    render(&COLUMNS, &rows, style.terminal)
}

fn row(status: &RegistryStatus, style: Style) -> Vec<Cell> {
    let (state, tone) = match status.state {
        RegistryState::Answering => ("answering", Tone::Good),
        RegistryState::NotAsked => ("not asked yet", Tone::Faint),
        RegistryState::Unreachable => ("unreachable", Tone::Bad),
        RegistryState::RateLimited => ("rate limited", Tone::Bad),
        RegistryState::BudgetSpent => ("pulls spent", Tone::Notice),
    };
    let left = status.budget.as_ref().map(|it| format!("{} of {}", it.remaining, it.limit));
    let last = status.last_failure.as_ref().map(|last| {
        let when = age(last.at, style.now);
        format!("{when}: {}", last.failure)
    });
    vec![
        Cell::new(status.registry.as_str()),
        Cell::new(status.images.to_string()),
        Cell::new(state).tone(tone),
        Cell::new(left.unwrap_or_default()),
        Cell::new(status.next_try.map(|next| format!("{next:.0}")).unwrap_or_default()),
        Cell::new(last.unwrap_or_default()),
    ]
}
