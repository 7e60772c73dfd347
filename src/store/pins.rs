//! Images that stay, whatever `index.json` says of them.

use std::path::Path;

use serde::Deserialize;

use super::listing::entries;
use super::{Error, Store};
use crate::disk;
use crate::model::{Digest, ImageIdentity};

/// The largest definition of a container read, in bytes: labels, an environment and a command can be
/// long.
const MAX_DEFINITION: u64 = 4 * 1024 * 1024;

/// What the definition of a container, `STATE/containers/ID/definition.json`, says of its images.
#[derive(Debug, Deserialize)]
struct Definition {
    record: Made,
}

/// A container, and the images that it needs.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    #[serde(default)]
    pub(super) name: String,
    image: ImageIdentity,
    #[serde(default)]
    mounted_images: Vec<Digest>,
}

impl Made {
    /// The images' platform manifests.
    pub(super) fn images(&self) -> impl Iterator<Item = &Digest> {
        self.mounted_images.iter().chain([&self.image.manifest])
    }
}

impl Store {
    /// The platform manifests that containers are made from or have mounted, and those that units are
    /// bound to or may go back to.
    ///
    /// # Errors
    /// Where one of those who pin cannot be read: nobody knows then what may go.
    pub(super) fn pinned(&self) -> Result<Vec<Digest>, Error> {
        let mut pinned = self.kept()?;
        pinned.extend(self.bound()?.into_iter().map(|(_, manifest)| manifest));
        pinned.extend(self.made()?.iter().flat_map(|(_, made)| made.images()).cloned());
        Ok(pinned)
    }

    /// All containers that have a definition, whoever has running state of them. One that is being made,
    /// or goes, has none.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub(super) fn made(&self) -> Result<Vec<(String, Made)>, Error> {
        let mut all = Vec::new();
        for container in entries(&self.root.join("containers"))? {
            let id = container.file_name().unwrap_or_default().to_string_lossy().into_owned();
            all.extend(definition(&container)?.map(|made| (id, made)));
        }
        Ok(all)
    }
}

fn definition(container: &Path) -> Result<Option<Made>, Error> {
    let path = container.join("definition.json");
    let bytes = disk::read(&path, MAX_DEFINITION).map_err(|cause| Error::read(&path, cause))?;
    let Some(bytes) = bytes.filter(|bytes| !is_lost(bytes)) else { return Ok(None) };
    let Definition { record } =
        serde_json::from_slice(&bytes).map_err(|source| Error::Syntax { path, source })?;
    Ok(Some(record))
}

/// Whether a power cut took what was in a file: that of a container that goes with its end is not
/// flushed, and its container ended with the power.
pub fn is_lost(definition: &[u8]) -> bool {
    definition.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::tests::{document, layer, store};
    use super::*;
    use crate::model::Platform;

    /// An image of one layer as it is on disk, but for its record in the index.
    fn unrecorded(store: &Store, seed: &str) -> (Digest, PathBuf) {
        let layer = layer(store, seed);
        let config = document(store, &serde_json::json!({"rootfs": {"diff_ids": [layer]}}));
        let manifest = document(store, &serde_json::json!({"config": {"digest": config}}));
        (manifest, store.layer_path(&layer))
    }

    fn define(store: &Store, id: &str, definition: &serde_json::Value) {
        let directory = store.root.join("containers").join(id);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("definition.json"), definition.to_string()).unwrap();
    }

    fn made_from(manifest: &Digest, mounted: &Digest) -> serde_json::Value {
        let (target, platform) = (manifest, Platform::host());
        let image = ImageIdentity { target: target.clone(), manifest: manifest.clone(), platform };
        serde_json::json!({"create": {}, "record": {"image": image, "mounted_images": [mounted]}})
    }

    #[test]
    fn what_is_pinned_stays_where_the_index_was_lost() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let seeds = ["run", "mounted", "bound", "kept", "nobody's"];
        let images: Vec<_> = seeds.iter().map(|seed| unrecorded(&store, seed)).collect();
        let [run, mounted, bound, kept, _] = [0, 1, 2, 3, 4].map(|at: usize| &images[at].0);
        define(&store, "0123", &made_from(run, mounted));
        std::fs::create_dir(store.root.join("containers/being-made")).unwrap();
        let binding = serde_json::json!({"quay.io/app:1": {"manifest": bound, "tag": null}});
        std::fs::write(store.root.join("bindings/app.service"), binding.to_string()).unwrap();
        let unit = "app.service".parse().unwrap();
        store.keep(&unit, &"quay.io/app:1".parse().unwrap(), kept).unwrap();

        store.collect().unwrap();

        let there: Vec<_> = images.iter().map(|(_, layer)| layer.is_dir()).collect();
        assert_eq!(there, [true, true, true, true, false]);
        assert!(store.blob_path(run).exists());
        assert_eq!(std::fs::read_dir(store.root.join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn nothing_goes_where_a_definition_cannot_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let (_, layer) = unrecorded(&store, "nobody's");
        define(&store, "0123", &serde_json::json!("torn"));
        let error = store.collect().unwrap_err();
        assert!(error.to_string().contains("0123/definition.json is damaged"), "{error}");
        assert!(layer.is_dir());
        // What a power cut leaves of one says that its container has ended.
        for lost in ["", "\0\0\0"] {
            let definition = store.root.join("containers/0123/definition.json");
            std::fs::write(&definition, lost).unwrap();
            assert!(store.made().unwrap().is_empty(), "{lost:?}");
        }
        store.collect().unwrap();
        assert!(!layer.exists());
    }
}
