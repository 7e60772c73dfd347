//! `updaterctl doctor`

use std::fmt::Write as _;

use serde::Serialize;

use super::{Output, Style, count, json};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::exit;
use crate::plan::doctor::{Finding, findings};

/// The document of `doctor --json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    findings: &'a [Finding],
}

pub(super) async fn run<E: Embedded>(access: &Access<E>, style: Style) -> Result<Output, Error> {
    let found = findings(&access.facts().await?);
    let code = if found.is_empty() { exit::DONE } else { exit::PARTLY };
    if style.json {
        return json(&Document { findings: &found }, code);
    }
    Ok(Output::new(text(&found), code))
}

fn text(found: &[Finding]) -> String {
    if found.is_empty() {
        return "Nothing is wrong.\n".to_owned();
    }
    let mut text = String::new();
    for finding in found {
        let _ = writeln!(text, "{finding}\n");
    }
    let _ = writeln!(text, "{}.", count(found.len(), "finding"));
    text
}
