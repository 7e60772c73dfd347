//! `updaterctl quarantine`

use std::fmt::Write as _;

use super::{Output, Style, count, json};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::args;
use crate::ctl::exit;
use crate::daemon::api::Held;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 6] = [
    Column::flexible("REPOSITORY", 16),
    Column::fixed("DIGEST"),
    Column::fixed("SINCE"),
    Column::fixed("EXPIRES"),
    Column::flexible("UNIT", 12),
    Column::flexible("WHY", 12),
];

pub(super) async fn run<E: Embedded>(
    command: &args::Quarantine,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    match command {
        args::Quarantine::List => {
            let held = access.quarantine().await?;
            if style.json {
                return json(&held, exit::DONE);
            }
            Ok(Output::new(list(&held, style), exit::DONE))
        }
        args::Quarantine::Clear(clear) => {
            let cleared = access.clear_quarantine(clear.image.as_deref()).await?;
            // To clear what is not there is most likely a slip of the finger.
            let missed = cleared.is_empty() && clear.image.is_some();
            let code = if missed { exit::FAILED } else { exit::DONE };
            if style.json {
                return json(&cleared, code);
            }
            let mut text = String::new();
            for held in &cleared {
                let _ = writeln!(text, "{}@{}", held.repository, held.manifest);
            }
            match &clear.image {
                Some(image) if missed => {
                    let _ = writeln!(text, "Nothing quarantined is named {image:?}.");
                }
                _ => {
                    let _ = writeln!(text, "{} cleared.", count(cleared.len(), "image"));
                }
            }
            Ok(Output::new(text, code))
        }
    }
}

pub(super) fn list(held: &[Held], style: Style) -> String {
    if held.is_empty() {
        return "Nothing is quarantined.\n".into();
    }
    let row = |Held { image: held, expires }: &Held| {
        let expires = expires.map_or("never".to_owned(), |expires| format!("{expires:.0}"));
        vec![
            Cell::new(held.repository.as_str()),
            Cell::new(held.manifest.short()),
            Cell::new(format!("{:.0}", held.since)),
            Cell::new(expires),
            Cell::new(held.unit.as_str()),
            Cell::new(held.why()),
        ]
    };
    let rows: Vec<_> = held.iter().map(row).collect();
    render(&COLUMNS, &rows, style.terminal)
}
