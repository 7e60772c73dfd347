//! What images take on the disk.

use std::collections::BTreeMap;

use super::{Error, Image, Store};
use crate::disk;
use crate::model::{Digest, EngineKind};

/// The largest file of sums read, in bytes.
const MAX_NEEDED: u64 = 64 * 1024;

impl Image {
    /// The digests of its layers, none twice.
    pub fn layer_ids(&self) -> impl Iterator<Item = Digest> {
        self.layers
            .iter()
            .filter_map(|layer| format!("sha256:{}", layer.file_name()?.to_str()?).parse().ok())
    }
}

impl Store {
    /// What is in the files of a layer, in bytes. That takes its time.
    ///
    /// # Errors
    /// Where one of its directories cannot be read, as an ordinary user cannot read those of other users
    /// of a namespace.
    pub fn weigh(&self, layer: &Digest) -> Result<u64, Error> {
        let path = self.layer_path(layer);
        disk::usage(&path).map_err(|cause| Error::read(&path, cause))
    }

    /// How much the images that updaterd pulled take at least, by engines, as the last pass found it: those
    /// that have to stay. Nothing where no budget is set.
    pub fn needed_at_least(&self) -> Result<BTreeMap<EngineKind, u64>, Error> {
        let path = self.root.join("needed.json");
        match disk::read(&path, MAX_NEEDED).map_err(|cause| Error::read(&path, cause))? {
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| Error::Syntax { path, source })
            }
            None => Ok(BTreeMap::new()),
        }
    }

    /// Notes that for those who ask what is wrong with a host.
    pub fn note_needed(&self, engine: EngineKind, bytes: u64) -> Result<(), Error> {
        // What cannot be read is written anew.
        let mut all = self.needed_at_least().unwrap_or_default();
        if all.get(&engine).copied().unwrap_or_default() == bytes {
            return Ok(());
        }
        all.insert(engine, bytes);
        let path = self.root.join("needed.json");
        let text = serde_json::to_vec(&all)
            .map_err(|source| Error::Syntax { path: path.clone(), source })?;
        disk::replace(&path, &text).map_err(|cause| Error::write(&path, cause))
    }
}
