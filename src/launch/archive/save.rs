//! Writing images.
//!
//! The store keeps layers unpacked, not the archives they came in: they are packed anew, with
//! whiteouts as image-spec `layer.md` has them. Their digests are others then, so the image's
//! configuration is changed to name these, and with it the image's ID; whoever loads the image
//! gets the same files. What a layer had that the store leaves out (devices) is not in it.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::disk;
use crate::launch::Error;
use crate::launch::copy::pack::Packer;
use crate::model::{Digest, Reference};
use crate::store::{Image, Store};

/// The largest configuration, in bytes; the store takes no larger ones.
const MAX_CONFIG: u64 = 4 << 20;

/// An image as it goes into an archive.
pub(crate) struct Packed {
    pub(crate) names: Vec<Reference>,
    pub(crate) config: Vec<u8>,
    /// Uncompressed, bottom first.
    layers: Vec<Layer>,
    /// Whether the ID is the same.
    pub(crate) same: bool,
}

struct Layer {
    file: PathBuf,
    digest: Digest,
    size: u64,
}

impl Packed {
    /// Packs the image's layers into files of `directory`.
    pub(crate) fn new(
        store: &Store,
        image: &Image,
        names: Vec<Reference>,
        directory: &Path,
    ) -> Result<Self, Error> {
        let mut layers = Vec::new();
        for id in image.config.rootfs().diff_ids() {
            let hex = id.rsplit(':').next().unwrap_or(id);
            let file = directory.join(format!("{}-{hex}.tar", layers.len()));
            layers.push(Layer::pack(&store.root().join("layers/sha256").join(hex), file)?);
        }
        let path = store.root().join("images/blobs/sha256").join(image.id.hex());
        let failed = |source| Error::file("read", &path, source);
        let config = disk::read(&path, MAX_CONFIG).map_err(failed)?;
        let config = config.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let digests: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        if digests == *image.config.rootfs().diff_ids() {
            return Ok(Self { names, config, layers, same: true });
        }
        let mut changed: Value = serde_json::from_slice(&config).map_err(Error::Json)?;
        changed["rootfs"]["diff_ids"] = json!(digests);
        let config = serde_json::to_vec(&changed).map_err(Error::Json)?;
        Ok(Self { names, config, layers, same: false })
    }

    pub(crate) fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    fn names(&self) -> Vec<String> {
        self.names.iter().map(Reference::to_string).collect()
    }

    fn manifest(&self) -> Value {
        let layers = self.layers.iter().map(|layer| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer.digest,
                "size": layer.size,
            })
        });
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.id(),
                "size": self.config.len(),
            },
            "layers": layers.collect::<Vec<_>>(),
        })
    }
}

impl Layer {
    fn pack(from: &Path, file: PathBuf) -> Result<Self, Error> {
        let failed = |source| Error::file("write", &file, source);
        let mut to =
            Hashing { to: File::create(&file).map_err(failed)?, hash: Sha256::new(), size: 0 };
        let top = File::open(from).map_err(|source| Error::file("open the layer", from, source))?;
        let stat = rustix::fs::fstat(&top)
            .map_err(|error| Error::file("open the layer", from, error.into()))?;
        {
            let mut packer = Packer::new(io::BufWriter::with_capacity(1 << 17, &mut to), true);
            packer.plain(Path::new("./"), &stat, EntryType::Directory)?;
            packer.tree(top.into(), Path::new(""))?;
            packer.finish()?;
        }
        Ok(Self { file, digest: Digest::from_sha256(to.hash.finalize().into()), size: to.size })
    }
}

/// A file whose digest is known when it is written.
struct Hashing {
    to: File,
    hash: Sha256,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Where the files of an archive go.
pub(crate) enum Output<W: Write> {
    Archive(Builder<W>),
    Directory(PathBuf),
}

impl<W: Write> Output<W> {
    fn add(&mut self, name: &str, size: u64, data: &mut dyn Read) -> Result<(), Error> {
        match self {
            Self::Archive(builder) => {
                let mut header = Header::new_gnu();
                header.set_entry_type(EntryType::Regular);
                header.set_mode(0o444);
                header.set_size(size);
                let added = builder.append_data(&mut header, name, data);
                added.map_err(|error| Error::system("write the archive", error))
            }
            Self::Directory(directory) => {
                let path = directory.join(name);
                let failed = |source| Error::file("write", &path, source);
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent).map_err(failed)?;
                }
                let mut file = File::create(&path).map_err(failed)?;
                io::copy(data, &mut file).map(drop).map_err(failed)
            }
        }
    }

    fn add_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.add(name, bytes.len() as u64, &mut &*bytes)
    }

    fn add_layer(&mut self, name: &str, layer: &Layer) -> Result<(), Error> {
        let failed = |source| Error::file("read", &layer.file, source);
        let mut file = File::open(&layer.file).map_err(failed)?;
        file.rewind().map_err(failed)?;
        self.add(name, layer.size, &mut file)
    }

    /// Docker's form: `manifest.json`, and beside it configurations and layers.
    pub(crate) fn docker(&mut self, images: &[Packed]) -> Result<(), Error> {
        let mut written = std::collections::BTreeSet::new();
        let mut list = Vec::new();
        for image in images {
            let mut layers = Vec::new();
            for layer in &image.layers {
                let name = format!("{}.tar", layer.digest.hex());
                if written.insert(name.clone()) {
                    self.add_layer(&name, layer)?;
                }
                layers.push(name);
            }
            let config = format!("{}.json", image.id().hex());
            if written.insert(config.clone()) {
                self.add_bytes(&config, &image.config)?;
            }
            list.push(json!({ "Config": config, "RepoTags": image.names(), "Layers": layers }));
        }
        self.add_bytes("manifest.json", Value::from(list).to_string().as_bytes())
    }

    /// An OCI image layout (image-spec, `image-layout.md`).
    pub(crate) fn oci(&mut self, image: &Packed) -> Result<(), Error> {
        let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let mut written = std::collections::BTreeSet::new();
        for layer in &image.layers {
            if written.insert(layer.digest.clone()) {
                self.add_layer(&blob(&layer.digest), layer)?;
            }
        }
        self.add_bytes(&blob(&image.id()), &image.config)?;
        let manifest = image.manifest().to_string();
        let digest = Digest::of(manifest.as_bytes());
        self.add_bytes(&blob(&digest), manifest.as_bytes())?;
        let descriptor = |name: Option<String>| {
            let annotations = name.map(|name| json!({"org.opencontainers.image.ref.name": name}));
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": manifest.len(),
                "annotations": annotations.unwrap_or_else(|| json!({})),
            })
        };
        let names = image.names();
        let manifests: Vec<Value> = match names.is_empty() {
            true => vec![descriptor(None)],
            false => names.into_iter().map(Some).map(descriptor).collect(),
        };
        let index = json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        self.add_bytes("index.json", index.as_bytes())?;
        self.add_bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self::Archive(builder) = self else { return Ok(()) };
        let ended = builder.into_inner().and_then(|mut to| to.flush());
        ended.map_err(|error| Error::system("write the archive", error))
    }
}
