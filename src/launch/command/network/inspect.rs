//! `updater-launch network inspect`

use clap::Args;
use serde_json::{Value, json};

use crate::launch::network::attachment::Attachment;
use crate::launch::network::networks::Network;
use crate::launch::place::Place;
use crate::launch::{Error, network, show as show_documents};
use crate::terminal::template::Format;

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// "json", or a Go template
    #[arg(short, long, value_name = "FORMAT", default_value = "json", hide_default_value = true)]
    format: Format,
    /// Names, or IDs, or the beginnings of such
    #[arg(required = true)]
    networks: Vec<String>,
}

pub(crate) fn show(place: &Place, flags: &Inspect) -> Result<u8, Error> {
    let attachments = network::attachments(place)?;
    let one = |word: &String| -> Result<Value, Error> {
        let found = network::find(place, word)?;
        let mut value = serde_json::to_value(&found).map_err(Error::Json)?;
        value["containers"] = containers(&found, &attachments);
        Ok(value)
    };
    let all = flags.networks.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    show_documents(&flags.format, &all)?;
    Ok(0)
}

/// The containers on it, by their IDs.
fn containers(network: &Network, attachments: &[Attachment]) -> Value {
    let mut containers = serde_json::Map::new();
    for attachment in attachments {
        if let Some(status) = attachment.on(network) {
            containers.insert(
                attachment.owner.to_string(),
                json!({ "name": attachment.name, "interfaces": status.interfaces }),
            );
        }
    }
    Value::Object(containers)
}
