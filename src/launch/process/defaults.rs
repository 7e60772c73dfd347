//! What `exec` takes over from the container it enters: written when that starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::launch::Error;
use crate::launch::isolation::devices::Device;
use crate::launch::lifecycle::confine::FilterOf;
use crate::launch::place::Place;
use crate::launch::process::attributes::Attributes;
use crate::model::ContainerId;

/// What `exec` takes over from the container's own program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecDefaults {
    pub(crate) user: String,
    /// `NAME=VALUE`, as image and operator set them: what is a matter of the user is not in it.
    pub(crate) environment: Vec<String>,
    pub(crate) directory: String,
    /// Its secrets, as they were asked for: what they hold is read for each program.
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    /// What "all" capabilities are to this container.
    pub(crate) available: BTreeSet<String>,
    #[serde(default)]
    pub(crate) attributes: Attributes,
    #[serde(default)]
    pub(crate) filter: FilterOf,
    /// Whether the container's programs are confined to no devices.
    #[serde(default)]
    pub(crate) privileged: bool,
    /// Those that it may open, where it could make nodes of any.
    #[serde(default)]
    pub(crate) devices: Vec<Device>,
}

impl ExecDefaults {
    pub(crate) fn write(&self, place: &Place, id: &ContainerId) -> Result<(), Error> {
        write_json(&Self::file(place, id), self)
    }

    pub(crate) fn read(place: &Place, id: &ContainerId) -> Result<Self, Error> {
        let path = Self::file(place, id);
        let text = std::fs::read(&path).map_err(|source| Error::file("read", &path, source))?;
        serde_json::from_slice(&text).map_err(|source| Error::Document { path, source })
    }

    fn file(place: &Place, id: &ContainerId) -> PathBuf {
        place.records().directory(id).join("exec.json")
    }
}

/// Writes a file for the runtime, or for a later `exec`.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec(value).map_err(Error::Json)?;
    std::fs::write(path, text).map_err(|source| Error::file("write", path, source))
}
