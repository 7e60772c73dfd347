//! `updater-launch network prune`

use std::io::{IsTerminal, Write};

use clap::Args;

use crate::launch::command::network::ls::Filter;
use crate::launch::command::network::rm::remove_unused;
use crate::launch::lifecycle::traces;
use crate::launch::network::mode::DEFAULT;
use crate::launch::place::Place;
use crate::launch::{Error, network, say};

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those with this label
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
}

pub(crate) fn prune(place: &Place, flags: &Prune) -> Result<u8, Error> {
    if !flags.force && !is_wanted()? {
        return Ok(0);
    }
    traces::reconcile(place);
    for found in network::networks(place).all()? {
        if found.name == DEFAULT || !flags.filter.iter().all(|filter| filter.fits(&found)) {
            continue;
        }
        match remove_unused(place, &found) {
            Ok(()) => say(found.name)?,
            Err(Error::Network(network::Error::NetworkInUse { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(0)
}

/// Asks a person; where there is none, nothing is removed.
fn is_wanted() -> Result<bool, Error> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("WARNING! This will remove all networks that no container uses.\nContinue? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Error::system("read the answer", error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
