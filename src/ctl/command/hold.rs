//! `updaterctl hold` and `updaterctl unhold`

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::{Output, Style, json};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::args;
use crate::ctl::exit;
use crate::daemon::api::{self, Holding};
use crate::plan::Hold;

pub(super) async fn run<E: Embedded>(
    asked: &args::Hold,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    let until = asked.until.map(|until| {
        let time = until.resolve(style.now, &TimeZone::system());
        let message = "--until: there is no such time".to_owned();
        time.ok_or(Error::Service(api::Error::InvalidArguments(message)))
    });
    let holding = Holding { until: until.transpose()?, reason: asked.reason.clone() };
    let hold = access.hold(&asked.units, &holding).await?;
    if style.json {
        return json(&hold, exit::DONE);
    }
    Ok(Output::new(text(asked, &hold), exit::DONE))
}

pub(super) fn text(asked: &args::Hold, hold: &Hold) -> String {
    let mut text = String::new();
    for unit in &asked.units {
        let _ = match hold.until {
            Some(until) => writeln!(text, "{unit}: held until {until:.0}."),
            None => writeln!(text, "{unit}: held until \"updaterctl unhold {unit}\"."),
        };
    }
    text
}

pub(super) async fn end<E: Embedded>(
    asked: &args::Unhold,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    let ended = access.unhold(&asked.units).await?;
    // To end what is not there is most likely a slip of the finger.
    let missed = ended.is_empty() && !asked.all;
    let code = if missed { exit::FAILED } else { exit::DONE };
    if style.json {
        return json(&ended, code);
    }
    let mut text = String::new();
    for unit in &ended {
        let _ = writeln!(text, "{unit}: not held any more.");
    }
    if ended.is_empty() {
        text.push_str("Nothing was held.\n");
    }
    Ok(Output::new(text, code))
}
