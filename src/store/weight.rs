//! What images take on the disk.

use std::collections::BTreeMap;

use super::note::Note;
use super::{Error, Image, Store, listing};
use crate::disk;
use crate::model::{Digest, EngineKind};

/// One sum for each engine.
const NEEDED: Note<BTreeMap<EngineKind, u64>> = Note::new(
    "needed.json",
    64 << 10,
    "how much the images take that have to stay is known after the next pass",
);

impl Image {
    /// The digests of its layers, none twice.
    pub fn layer_ids(&self) -> impl Iterator<Item = Digest> {
        self.layers.iter().filter_map(|layer| listing::digest(layer))
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
        NEEDED.read(self)
    }

    /// Notes that for those who ask what is wrong with a host.
    pub fn note_needed(&self, engine: EngineKind, bytes: u64) -> Result<(), Error> {
        NEEDED.change(self, |all| {
            let before = all.get(&engine).copied().unwrap_or_default();
            all.insert(engine, bytes);
            before != bytes
        })
    }
}
