//! `updater-launch version`

use clap::Args;
use serde_json::{Value, json};

use crate::launch::{Error, say, show};
use crate::model::Platform;
use crate::terminal::template::Format;

#[derive(Debug, Args)]
pub(crate) struct Version {
    /// "json", or a Go template
    #[arg(short, long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Format,
}

pub(crate) fn version(flags: &Version) -> Result<u8, Error> {
    let document = document();
    match &flags.format {
        Format::Table => {
            let client = &document["Client"];
            say(format_args!(
                "Client:       updater-launch\nVersion:      {}\nOS/Arch:      {}",
                client["Version"].as_str().unwrap_or_default(),
                client["OsArch"].as_str().unwrap_or_default(),
            ))?;
        }
        Format::Json => say(format_args!("{document:#}"))?,
        format => show(format, &[document])?,
    }
    Ok(0)
}

/// The names that Podman gives these.
pub(crate) fn document() -> Value {
    let platform = Platform::host();
    json!({
        "Client": {
            "APIVersion": env!("CARGO_PKG_VERSION"),
            "Version": env!("CARGO_PKG_VERSION"),
            "Os": platform.os,
            "OsArch": format!("{}/{}", platform.os, platform.architecture),
        }
    })
}
