//! What happened to containers and images: a line of JSON for each, in `RUN/events.log`, which goes
//! with a reboot, as the containers' running state does. When it has grown long it begins anew; the
//! one before is kept as `events.log.old`.
//!
//! Architecture invariant: an event that cannot be written keeps nobody from anything.

pub(crate) mod read;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::launch::place::Place;
use crate::store::Image;
use crate::store::containers::Record;

/// Where the file begins anew, in bytes.
const LONG: u64 = 4 << 20;

/// Something that happened, in the words and fields of podman-events(1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Event {
    pub(crate) time: Timestamp,
    /// `container` or `image`.
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    /// `create`, `start`, `died`, `remove`; `pull`, `tag`, `untag`, `remove`.
    pub(crate) status: String,
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container_exit_code: Option<u8>,
    /// Its labels.
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Notes what happened to a container.
pub(crate) fn of_container(place: &Place, record: &Record, status: &str) {
    let mut attributes = record.image_labels.clone();
    attributes.extend(record.labels.clone());
    write(
        place,
        &Event {
            time: Timestamp::now(),
            kind: "container".to_owned(),
            status: status.to_owned(),
            id: record.id.to_string(),
            name: record.name.clone(),
            image: record.reference.to_string(),
            container_exit_code: record
                .ended
                .map(|ended| ended.status)
                .filter(|_| status == "died"),
            attributes,
        },
    );
}

/// Notes what happened to an image.
pub(crate) fn of_image(place: &Place, image: &Image, name: &str, status: &str) {
    write(
        place,
        &Event {
            time: Timestamp::now(),
            kind: "image".to_owned(),
            status: status.to_owned(),
            id: image.id.hex(),
            name: name.to_owned(),
            image: String::new(),
            container_exit_code: None,
            attributes: BTreeMap::new(),
        },
    );
}

fn write(place: &Place, event: &Event) {
    if let Err(error) = append(place, event) {
        tracing::debug!(%error, "an event could not be written, ignoring");
    }
}

fn append(place: &Place, event: &Event) -> std::io::Result<()> {
    let path = path(place);
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let open = || File::options().append(true).create(true).mode(0o600).open(&path);
    let mut file = open()?;
    if file.metadata()?.len() > LONG {
        std::fs::rename(&path, old(place))?;
        file = open()?;
    }
    // In one piece: others write, too.
    file.write_all(&line)
}

fn path(place: &Place) -> PathBuf {
    place.run.join("events.log")
}

fn old(place: &Place) -> PathBuf {
    place.run.join("events.log.old")
}
