//! Reading images: an archive is a registry that is asked for what is in it, so that all is
//! verified and unpacked as what comes from one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{Stream, stream};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Fault;
use crate::model::failure::excerpt;
use crate::model::{Digest, Failure, FailureKind, ImageSource, Platform, Reference};
use crate::registry::{RawManifest, document};
use crate::store::pull::{Documents, MAX_LAYERS, Remote};

/// The largest document read, in bytes.
const MAX_DOCUMENT: u64 = 4 << 20;
/// How much of a layer is read at once, in bytes.
const PIECE: usize = 256 * 1024;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image of an archive.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) target: Digest,
    pub(crate) names: Vec<Reference>,
}

/// An archive, unpacked, or an OCI layout.
#[derive(Debug)]
pub(crate) struct Archive {
    root: OwnedFd,
    /// Documents that are made for an archive of Docker's.
    made: BTreeMap<Digest, Bytes>,
    /// Where its blobs lie, whose names are not their digests.
    blobs: BTreeMap<Digest, PathBuf>,
    /// What its files are, by device and inode: a file that is named often is read once.
    read: HashMap<(u64, u64), (Digest, u64)>,
    pub(crate) images: Vec<Offered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: PathBuf,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Archive {
    /// What lies in `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Self, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|error| Fault::Open(directory.display().to_string(), error.into()))?;
        let (made, blobs, read) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        let mut archive = Self { root, made, blobs, read, images: Vec::new() };
        if archive.file(Path::new("manifest.json")).is_ok() {
            archive.read_docker()?;
        } else if archive.file(Path::new("index.json")).is_ok() {
            archive.read_layout()?;
        } else {
            return Err(Fault::Unknown);
        }
        if archive.images.is_empty() { Err(Fault::Empty) } else { Ok(archive) }
    }

    fn read_docker(&mut self) -> Result<(), Fault> {
        let images: Vec<DockerImage> = self.document("manifest.json")?;
        for image in images {
            if image.layers.len() > MAX_LAYERS {
                return Err(Fault::Layers(image.layers.len(), MAX_LAYERS));
            }
            let config = self.digest(&image.config)?;
            let mut layers = Vec::new();
            for layer in &image.layers {
                let (digest, size) = self.digest(layer)?;
                layers.push(json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": digest,
                    "size": size,
                }));
            }
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": config.0,
                    "size": config.1,
                },
                "layers": layers,
            });
            let bytes = Bytes::from(manifest.to_string());
            let target = Digest::of(&bytes);
            self.made.insert(target.clone(), bytes);
            let names = image.repo_tags.unwrap_or_default();
            let names = names.iter().filter_map(|name| named(name)).collect();
            self.images.push(Offered { target, names });
        }
        Ok(())
    }

    fn read_layout(&mut self) -> Result<(), Fault> {
        let index: Index = self.document("index.json")?;
        for descriptor in index.manifests {
            let name = descriptor.annotations.get("io.containerd.image.name");
            let name = name.or(descriptor.annotations.get("org.opencontainers.image.ref.name"));
            let name = name.and_then(|name| named(name));
            match self.images.iter_mut().find(|image| image.target == descriptor.digest) {
                Some(image) => image.names.extend(name),
                None => self
                    .images
                    .push(Offered { target: descriptor.digest, names: name.into_iter().collect() }),
            }
        }
        Ok(())
    }

    /// What its links lead to lies in the archive, too.
    fn file(&self, path: &Path) -> std::io::Result<File> {
        let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            File::from(rustix::fs::openat2(&self.root, path, flags, Mode::empty(), confined)?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(std::io::ErrorKind::InvalidData.into())
        }
    }

    fn document<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Fault> {
        let failed = |error| Fault::Open(name.to_owned(), error);
        let mut bytes = Vec::new();
        let file = self.file(Path::new(name)).map_err(failed)?;
        file.take(MAX_DOCUMENT).read_to_end(&mut bytes).map_err(failed)?;
        document::parse(&bytes).map_err(|error| Fault::Form(name.to_owned(), error))
    }

    /// Notes a file as the blob that it is.
    fn digest(&mut self, path: &Path) -> Result<(Digest, u64), Fault> {
        let failed = |error| Fault::Open(excerpt(&path.to_string_lossy()), error);
        let mut file = self.file(path).map_err(failed)?;
        let stat = file.metadata().map_err(failed)?;
        let identity = (stat.dev(), stat.ino());
        if let Some(known) = self.read.get(&identity) {
            return Ok(known.clone());
        }
        let known = hash(&mut file).map_err(failed)?;
        self.blobs.insert(known.0.clone(), path.to_owned());
        self.read.insert(identity, known.clone());
        Ok(known)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        let usual = || Path::new("blobs/sha256").join(digest.hex());
        self.blobs.get(digest).cloned().unwrap_or_else(usual)
    }

    fn read_manifest(&self, digest: &Digest) -> Result<RawManifest, Failure> {
        let invalid = |why: String| {
            Failure::new(FailureKind::InvalidContent, format!("the archive's {digest}: {why}"))
        };
        let bytes = match self.made.get(digest) {
            Some(bytes) => bytes.clone(),
            None => {
                let mut bytes = Vec::new();
                self.file(&self.blob_path(digest))
                    .and_then(|file| file.take(MAX_DOCUMENT).read_to_end(&mut bytes))
                    .map_err(|error| invalid(error.to_string()))?;
                bytes.into()
            }
        };
        if Digest::of(&bytes) != *digest {
            return Err(invalid("it is not what its digest says".to_owned()));
        }
        // Without a media type of its own, it is what the layout is for.
        RawManifest::new(bytes, Some(MANIFEST)).map_err(|fault| invalid(fault.to_string()))
    }
}

/// Digest and size of what is read to its end.
fn hash(file: &mut File) -> std::io::Result<(Digest, u64)> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; PIECE];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok((Digest::from_sha256(hash.finalize().into()), size));
        }
        hash.update(&buffer[..length]);
        size += length as u64;
    }
}

/// A name as people write it: of Docker's hub, where no registry is named.
fn named(name: &str) -> Option<Reference> {
    name.parse().or_else(|_| format!("docker.io/{name}").parse()).ok()
}

impl Remote for Archive {
    async fn target(&self, source: &ImageSource) -> Result<Digest, Failure> {
        let named = |image: &&Offered| image.names.contains(&source.reference);
        let found = self.images.iter().find(named).map(|image| image.target.clone());
        let nothing = || Failure::new(FailureKind::NotFound, "the archive has no such image");
        found.ok_or_else(nothing)
    }

    async fn documents(
        &self,
        _: &ImageSource,
        target: &Digest,
        platform: &Platform,
    ) -> Result<Documents, Failure> {
        let raw = self.read_manifest(target)?;
        if !raw.is_index() {
            return Ok(Documents { index: None, manifest: raw.into() });
        }
        let digest = raw
            .for_platform(platform)
            .map_err(|fault| Failure::new(FailureKind::InvalidContent, fault.to_string()))?;
        let manifest = self.read_manifest(&digest)?;
        Ok(Documents { index: Some(raw.into()), manifest: manifest.into() })
    }

    /// Who has it in hand has let it in.
    async fn admit(&self, _: &ImageSource, _: &Documents) -> Result<(), Failure> {
        Ok(())
    }

    fn try_again(&self, _: &ImageSource) {}

    async fn blob(
        &self,
        _: &ImageSource,
        digest: &Digest,
        _: u64,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Unpin, Failure> {
        let shown = digest.to_string();
        let failed = move |error: std::io::Error| {
            Failure::new(FailureKind::of_io(&error), format!("the archive's {shown}: {error}"))
        };
        let mut file = self.file(&self.blob_path(digest)).map_err(&failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(&failed)?;
        Ok(stream::iter(std::iter::from_fn(move || {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece) {
                Ok(0) => None,
                Ok(length) => {
                    piece.truncate(length);
                    Some(Ok(piece.into()))
                }
                Err(error) => Some(Err(failed(error))),
            }
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker(images: usize, layers: usize, size: usize) -> Result<Archive, Fault> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("layer"), vec![7; size]).unwrap();
        let names: Vec<String> =
            (0..layers).map(|n| format!("{}layer", "./".repeat(n % 20))).collect();
        let image = json!({"Config": "layer", "RepoTags": ["app:1"], "Layers": names});
        let list = serde_json::Value::from(vec![image; images]).to_string();
        std::fs::write(dir.path().join("manifest.json"), list).unwrap();
        Archive::open(dir.path())
    }

    /// A kibibyte may name one file as often as it likes, by whatever names.
    #[test]
    fn a_file_that_is_named_often_is_read_once() {
        let archive = docker(30, 500, 4 << 20).unwrap();
        assert_eq!((archive.images.len(), archive.read.len(), archive.blobs.len()), (30, 1, 1));
        assert_eq!(archive.images[0].target, archive.images[29].target);
    }

    #[test]
    fn lists_have_an_end() {
        assert!(matches!(docker(1, 501, 1), Err(Fault::Layers(501, 500))));
        assert!(matches!(docker(50, 500, 1), Err(Fault::Form(..))));
        assert!(matches!(docker(0, 0, 1), Err(Fault::Empty)));
    }
}
