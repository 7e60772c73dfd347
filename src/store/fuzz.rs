//! What fuzzers call, and the unit tests with random archives: layers, which must change nothing
//! outside of where they are unpacked.
#![allow(clippy::panic, clippy::expect_used, reason = "a fault is told by a panic")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::image::platform_of;
use super::unpack::{self, Limits};
use super::{Image, Store};
use crate::disk;
use crate::model::{Digest, ImageIdentity};
use crate::registry::document;

/// Directories in [`Outer`] that may change.
const ROOMS: [&str; 2] = ["root", "copy"];
const BLOCK: usize = 512;

/// A directory with bystanders in it, and beside them what is unpacked into.
pub(crate) struct Outer {
    directory: tempfile::TempDir,
    before: BTreeMap<Vec<u8>, String>,
}

impl Outer {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is a place for temporary files");
        let at = |name: &str| directory.path().join(name);
        let make = || -> std::io::Result<()> {
            for name in ROOMS.into_iter().chain(["a", "a/b"]) {
                std::fs::create_dir(at(name))?;
            }
            std::fs::write(at("bystander"), "untouched")?;
            std::fs::write(at("a/b/c"), "untouched")?;
            symlink("a/b", at("up"))
        };
        make().expect("a new directory can be written");
        let before = look(directory.path());
        Self { directory, before }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where archives go.
    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// # Panics
    /// Where something was changed that is not in one of the rooms.
    pub(crate) fn check(&self) {
        assert_eq!(self.before, look(self.path()), "the outside was touched");
    }
}

/// All that can be seen from outside of the rooms, by path.
fn look(top: &Path) -> BTreeMap<Vec<u8>, String> {
    let stat = rustix::fs::stat(top).expect("it is there");
    let mut seen =
        BTreeMap::from([(Vec::new(), format!("{:o} {}", stat.st_mode, stat.st_mtime_nsec))]);
    let opened = unpack::open_root(top).expect("it can be opened");
    disk::walk::<std::io::Error>(opened, &mut |entry| {
        let path = top.join(OsStr::from_bytes(entry.path));
        let room = ROOMS.iter().any(|room| room.as_bytes() == entry.path);
        let content = match entry.kind() {
            FileType::RegularFile => std::fs::read(&path)?,
            FileType::Symlink => std::fs::read_link(&path)?.into_os_string().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let stat = &entry.stat;
        let (owner, inode) = ((stat.st_uid, stat.st_gid), (stat.st_ino, stat.st_nlink));
        let time = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        if room {
            seen.insert(entry.path.to_vec(), "a room".to_owned());
        } else {
            let said = format!("{:o} {owner:?} {inode:?} {time:?} {content:?}", stat.st_mode);
            seen.insert(entry.path.to_vec(), said);
        }
        Ok(!room)
    })
    .expect("it can be read");
    seen
}

/// A layer's archive, of which the checksums need not be right.
pub fn layer(data: &[u8]) {
    unpack_in(&Outer::new(), &mend(data));
}

/// Unpacks a layer, and copies it where that succeeds.
pub(crate) fn unpack_in(outer: &Outer, archive: &[u8]) {
    let limits = Limits { bytes: 1 << 20, entries: 2000, ..Limits::DEFAULT };
    let open = |name: &str| unpack::open_root(&outer.path().join(name)).expect("it is there");
    let unpacked = unpack::unpack(open("root"), archive, &limits);
    outer.check();
    if unpacked.is_err() {
        return;
    }
    disk::walk::<std::io::Error>(open("root"), &mut |entry| {
        let kind = entry.kind();
        let node = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        assert!(!node || entry.stat.st_rdev == 0, "a device: {:?}", entry.path);
        Ok(true)
    })
    .expect("it can be read");
    let _ = unpack::copy(open("root"), open("copy"), &|uid, gid| (uid, gid), &limits);
    outer.check();
}

/// The archive with checksums that are right, which a fuzzer would not guess.
pub(crate) fn mend(data: &[u8]) -> Vec<u8> {
    let mut archive = data.to_vec();
    let mut at = 0usize;
    while let Some(block) = at.checked_add(BLOCK).and_then(|end| archive.get_mut(at..end)) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let size = tar::Header::from_byte_slice(block).entry_size().unwrap_or_default();
        let blocks = usize::try_from(size.div_ceil(BLOCK as u64)).unwrap_or(usize::MAX);
        at = blocks.saturating_add(1).saturating_mul(BLOCK).saturating_add(at);
    }
    archive
}

/// The image that a configuration makes; its layers are nowhere.
pub(crate) fn image(config: &[u8]) -> Option<Image> {
    let parsed = document::parse(config).ok()?;
    let digest = Digest::of(config);
    let store = Store::open(Path::new("/nonexistent")).ok()?;
    let platform = platform_of(&parsed, || None);
    Some(Image {
        identity: ImageIdentity { target: digest.clone(), manifest: digest.clone(), platform },
        id: digest,
        media_type: String::new(),
        annotations: BTreeMap::new(),
        references: Vec::new(),
        is_named: false,
        healthcheck: None,
        layers: store.layers(&parsed)?,
        size: config.len() as u64,
        created: parsed.created().as_deref().and_then(|text| text.parse().ok()),
        config: parsed,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::archives::{archives, packed};

    proptest! {
        #[test]
        fn whatever_a_layer_holds_the_outside_is_not_touched(entries in archives()) {
            let outer = Outer::new();
            unpack_in(&outer, &packed(&entries, outer.path()));
        }

        #[test]
        fn layers_of_bytes(data in proptest::collection::vec(any::<u8>(), 0..2048)) {
            layer(&data);
        }
    }

    /// What the tests above rely on: they would see it.
    #[test]
    fn a_touch_is_seen() {
        let touches: [fn(&Path); 5] = [
            |outer| std::fs::write(outer.join("new"), "").unwrap(),
            |outer| std::fs::write(outer.join("a/b/c"), "touched").unwrap(),
            |outer| std::fs::hard_link(outer.join("bystander"), outer.join("root/x")).unwrap(),
            |outer| std::fs::remove_file(outer.join("up")).unwrap(),
            |outer| std::fs::remove_dir(outer.join("root")).unwrap(),
        ];
        for touch in touches {
            let outer = Outer::new();
            outer.check();
            touch(outer.path());
            assert_ne!(outer.before, look(outer.path()));
        }
        let outer = Outer::new();
        std::fs::write(outer.root().join("x"), "").unwrap();
        outer.check();
    }
}
