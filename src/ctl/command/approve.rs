//! `updaterctl approve`

use std::fmt::Write as _;

use super::{Output, Style, json};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::args;
use crate::ctl::exit;

pub(super) async fn run<E: Embedded>(
    asked: &args::Approve,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    let approved = access.approve(&asked.units, asked.digest.as_deref()).await?;
    let code = if approved.is_empty() && !asked.all { exit::FAILED } else { exit::DONE };
    if style.json {
        return json(&approved, code);
    }
    let mut text = String::new();
    for approval in &approved {
        let (unit, image) = (&approval.unit, approval.manifest.short());
        let _ = writeln!(text, "{unit}: {image} approved.");
    }
    text.push_str(match approved.is_empty() {
        true => "Nothing that was named waits for an approval; \"updaterctl why UNIT\" tells.\n",
        false => "The next check brings what nothing else holds up.\n",
    });
    Ok(Output::new(text, code))
}
