//! Whether all that the store has a record of is there, and is what its digest says.
//!
//! Documents are hashed. A layer has been verified when it came, and is kept unpacked: whether it is there
//! can be told, and whether somebody has written into it since ([`super::seal`]), by its files' times.
//! What is in them is not read: a disk that gives other bytes than it was given is not found out.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use oci_spec::image::ImageConfiguration;
use sha2::{Digest as _, Sha256};

use super::image::{Image, Manifest};
use super::listing::{self, entries};
use super::seal::Changed;
use super::{Error, Store};
use crate::model::{Digest, Reference};

/// What is found in a store.
#[derive(Debug, Default)]
pub struct Checked {
    /// Images with a record.
    pub images: usize,
    pub flaws: Vec<Flaw>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// A document's bytes have another digest than its name says.
    Damaged(Digest),
    /// What an image is made of is not all there.
    Incomplete { manifest: Digest, references: Vec<Reference>, missing: Missing },
    /// Somebody has written into a layer.
    Changed { layer: Digest, references: Vec<Reference>, changed: Changed },
    /// A unit or a container needs an image of which there is no record.
    Lost(Digest),
}

/// What is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A manifest or a configuration, or one that cannot be read.
    Document(Digest),
    Layer(Digest),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(digest) => write!(f, "the document {digest} is damaged"),
            Self::Incomplete { manifest, references, missing } => {
                match references.first() {
                    Some(reference) => write!(f, "{reference} ({})", manifest.short())?,
                    None => write!(f, "{manifest}")?,
                }
                match missing {
                    Missing::Document(digest) => write!(f, ": the document {digest} is missing"),
                    Missing::Layer(layer) => write!(f, ": the layer {layer} is missing"),
                }
            }
            Self::Changed { layer, references, changed: Changed { path, files } } => {
                let of = references.first().map(|name| format!(" of {name}")).unwrap_or_default();
                write!(f, "the layer {layer}{of} was changed since it was pulled: {path:?}")?;
                match files - 1 {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::Lost(manifest) => {
                write!(
                    f,
                    "{manifest} is needed by a unit or a container, and there is no record of it"
                )
            }
        }
    }
}

impl Store {
    /// Looks at everything. What other processes change meanwhile may be told as it was before.
    ///
    /// # Errors
    /// Where the index or what pins images cannot be read.
    pub fn check(&self) -> Result<Checked, Error> {
        let index = self.read_index()?;
        let mut images = BTreeMap::new();
        for manifest in index.manifests() {
            images.entry(manifest.clone()).or_insert_with(|| index.references(manifest));
        }
        let mut flaws: Vec<Flaw> = self.damaged()?.into_iter().map(Flaw::Damaged).collect();
        for (manifest, references) in &images {
            if let Some(missing) = self.missing(manifest)? {
                let (manifest, references) = (manifest.clone(), references.clone());
                flaws.push(Flaw::Incomplete { manifest, references, missing });
            }
        }
        for (layer, references) in self.layers_of(&images) {
            if let Some(changed) = self.changed(&layer)? {
                flaws.push(Flaw::Changed { layer, references, changed });
            }
        }
        let mut lost = self.pinned()?;
        lost.retain(|manifest| !images.contains_key(manifest));
        lost.sort();
        lost.dedup();
        flaws.extend(lost.into_iter().map(Flaw::Lost));
        Ok(Checked { images: images.len(), flaws })
    }

    /// Takes damaged documents away, so that the next pull brings them anew: one that is there is not
    /// fetched. Says which; nothing is done, and `None` said, where a pull is under way.
    ///
    /// # Errors
    /// Where one cannot be removed.
    pub fn drop_damaged(&self) -> Result<Option<Vec<Digest>>, Error> {
        self.create()?;
        let Some(_alone) = self.try_lock_all()? else { return Ok(None) };
        let damaged = self.damaged()?;
        for digest in &damaged {
            let path = self.blob_path(digest);
            std::fs::remove_file(&path).map_err(|cause| Error::io("remove", &path, cause))?;
        }
        Ok(Some(damaged))
    }

    /// Blobs whose bytes are not those of their names; other programs may have put large ones there.
    fn damaged(&self) -> Result<Vec<Digest>, Error> {
        let mut damaged = Vec::new();
        for path in entries(&self.root.join("images/blobs/sha256"))? {
            let Some(digest) = listing::digest(&path) else { continue };
            match hash(&path) {
                Ok(is) if is == digest => {}
                // It went meanwhile.
                Err(cause) if crate::disk::is_absent(&cause) => {}
                Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(Error::read(&path, cause));
                }
                _ => damaged.push(digest),
            }
        }
        damaged.sort();
        Ok(damaged)
    }

    /// The layers of images that are whole, each with the names of one that has it.
    fn layers_of(
        &self,
        images: &BTreeMap<Digest, Vec<Reference>>,
    ) -> BTreeMap<Digest, Vec<Reference>> {
        let mut layers = BTreeMap::new();
        for (manifest, references) in images {
            // What cannot be read has been told.
            let image = self.image(manifest).ok().flatten();
            for layer in image.iter().flat_map(Image::layer_ids) {
                layers.entry(layer).or_insert_with(|| references.clone());
            }
        }
        layers
    }

    /// The first thing that an image lacks. Of what is no container image nothing is known.
    fn missing(&self, manifest: &Digest) -> Result<Option<Missing>, Error> {
        let lacks = |digest: &Digest| Ok(Some(Missing::Document(digest.clone())));
        let Some(bytes) = self.read_blob(manifest)? else { return lacks(manifest) };
        let Ok(read) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(None) };
        if !read.is_image() {
            return Ok(None);
        }
        let config = &read.config.digest;
        let Some(bytes) = self.read_blob(config)? else { return lacks(config) };
        let Ok(read) = serde_json::from_slice::<ImageConfiguration>(&bytes) else {
            return lacks(config);
        };
        let ids = read.rootfs().diff_ids().iter().filter_map(|id| id.parse::<Digest>().ok());
        let gone = ids.into_iter().find(|id| !self.layer_path(id).is_dir());
        Ok(gone.map(Missing::Layer))
    }
}

fn hash(path: &Path) -> io::Result<Digest> {
    let mut file = BufReader::with_capacity(64 << 10, File::open(path)?);
    let mut hash = Sha256::new();
    loop {
        let piece = file.fill_buf()?;
        if piece.is_empty() {
            return Ok(Digest::from_sha256(hash.finalize().into()));
        }
        hash.update(piece);
        let read = piece.len();
        file.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{document, layer, store};
    use super::*;

    /// An image of one layer as it is on disk: manifest, configuration, layer.
    fn image(store: &Store, seed: &str) -> (Digest, Digest, Digest) {
        let layer = layer(store, seed);
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        });
        let config = document(store, &config);
        let kind = "application/vnd.oci.image.config.v1+json";
        let config_of = serde_json::json!({"mediaType": kind, "digest": config, "size": 1});
        let manifest = serde_json::json!({"config": config_of, "layers": [], "note": seed});
        let manifest = document(store, &manifest);
        let record = serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": 1,
            "annotations": {"org.opencontainers.image.ref.name": format!("quay.io/{seed}:1")},
        });
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [record]});
        std::fs::write(store.root.join("images/index.json"), index.to_string()).unwrap();
        (manifest, config, layer)
    }

    fn told(store: &Store) -> Vec<String> {
        store.check().unwrap().flaws.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_thing_that_is_missing_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        assert_eq!((store.check().unwrap().images, told(&store).len()), (0, 0));
        let (manifest, config, layer) = image(&store, "app");
        assert_eq!((store.check().unwrap().images, told(&store).len()), (1, 0));
        let of = |what: String| format!("quay.io/app:1 ({}): {what} is missing", manifest.short());
        std::fs::remove_dir(store.layer_path(&layer)).unwrap();
        assert_eq!(told(&store), [of(format!("the layer {layer}"))]);
        std::fs::remove_file(store.blob_path(&config)).unwrap();
        assert_eq!(told(&store), [of(format!("the document {config}"))]);
        std::fs::remove_file(store.blob_path(&manifest)).unwrap();
        assert_eq!(told(&store), [of(format!("the document {manifest}"))]);
        let lost = Digest::of(b"lost");
        store
            .keep(&"app.service".parse().unwrap(), &"quay.io/b:1".parse().unwrap(), &lost)
            .unwrap();
        assert!(store.check().unwrap().flaws.contains(&Flaw::Lost(lost)));
    }

    #[test]
    fn what_is_damaged_is_taken_away_for_the_next_pull() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let (_, config, _) = image(&store, "app");
        std::fs::write(store.blob_path(&config), b"{}").unwrap();
        assert_eq!(told(&store)[0], format!("the document {config} is damaged"));
        let pull = store.lock_shared().unwrap();
        assert_eq!(store.drop_damaged().unwrap(), None, "a pull is under way");
        drop(pull);
        assert_eq!(store.drop_damaged().unwrap(), Some(vec![config.clone()]));
        assert!(!store.blob_path(&config).exists());
        assert_eq!(store.drop_damaged().unwrap(), Some(vec![]));
    }
}
