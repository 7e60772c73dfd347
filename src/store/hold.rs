//! Images that stay because a process that lives says so: on their way to a tag, a unit, or a container,
//! which nobody could tell yet.
//!
//! A holder has a directory `held/RANDOM/`, locked while it lives, with an empty file for each image, by the
//! name of its manifest's digest. What a holder held that died counts no more.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use super::listing::{self, entries};
use super::workspace::Workspace;
use super::{Error, Image, Store};
use crate::disk;
use crate::model::Digest;

/// Where the holders' directories are, below the store.
pub(super) const HELD: &str = "held";

/// Has images stay as long as it is there.
#[derive(Debug)]
pub struct Holder {
    store: Store,
    directory: Workspace,
}

impl Holder {
    /// What [`Store::hold_for`] knows it by.
    pub fn name(&self) -> &OsStr {
        self.directory.path().file_name().unwrap_or_default()
    }

    /// From now on, nobody removes the image with this manifest, which may still be to come. Whether it is
    /// there is to be asked afterwards.
    pub fn hold(&self, manifest: &Digest) -> Result<(), Error> {
        self.store.add_held(self.directory.path(), manifest)
    }
}

/// An image that nobody removes as long as this is there.
#[derive(Debug)]
pub struct Held {
    image: Image,
    _holder: Holder,
}

impl Held {
    /// The image as it is, which something else has stay from now on.
    pub fn let_go(self) -> Image {
        self.image
    }
}

impl Deref for Held {
    type Target = Image;

    fn deref(&self) -> &Image {
        &self.image
    }
}

impl Store {
    /// Holds nothing yet.
    pub fn holder(&self) -> Result<Holder, Error> {
        self.create()?;
        Ok(Holder { store: self.clone(), directory: self.workspace_in(HELD, "")? })
    }

    fn add_held(&self, holder: &Path, manifest: &Digest) -> Result<(), Error> {
        // Who removes one looks for holders under this lock.
        let _lock = self.lock_index()?;
        let path = holder.join(manifest.hex());
        File::create(&path).map(drop).map_err(|cause| Error::write(&path, cause))
    }

    /// Has the holder of another process, by its name, hold an image of ours, too.
    ///
    /// # Errors
    /// Where there is none.
    pub fn hold_for(&self, holder: &str, manifest: &Digest) -> Result<(), Error> {
        let path = self.root.join(HELD).join(holder);
        if !holder.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::write(&path, io::ErrorKind::InvalidInput.into()));
        }
        self.add_held(&path, manifest)
    }

    /// Has an image stay that was just found; `None` where it went meanwhile.
    pub fn hold(&self, image: Image) -> Result<Option<Held>, Error> {
        self.hold_by(self.holder()?, image)
    }

    /// The same, by a holder who may have it already.
    pub fn hold_by(&self, holder: Holder, image: Image) -> Result<Option<Held>, Error> {
        holder.hold(&image.identity.manifest)?;
        let is_there = self.has(&image.identity.manifest)?;
        Ok(is_there.then_some(Held { image, _holder: holder }))
    }

    /// As [`Store::image`], of one that `holder` has hold of: it stays.
    pub(super) fn held_image(
        &self,
        holder: Holder,
        manifest: &Digest,
    ) -> Result<Option<Held>, Error> {
        Ok(self.image(manifest)?.map(|image| Held { image, _holder: holder }))
    }

    /// The manifests that are held.
    ///
    /// # Errors
    /// Where that cannot be told: then nothing may be removed.
    pub(super) fn held(&self) -> Result<BTreeSet<Digest>, Error> {
        let mut held = BTreeSet::new();
        for holder in entries(&self.root.join(HELD))? {
            let failed = |cause| Error::io("lock", &holder, cause);
            let is_dead = match File::open(&holder) {
                Err(cause) if disk::is_absent(&cause) => true,
                dir => disk::try_lock(&dir.map_err(failed)?).map_err(failed)?,
            };
            if !is_dead {
                let names = entries(&holder)?;
                held.extend(names.iter().filter_map(|name| listing::digest(name)));
            }
        }
        Ok(held)
    }
}
