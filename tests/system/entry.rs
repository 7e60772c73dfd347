//! One entry of a layer's archive, with all that tar(5) and pax(1) can say of a file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use tar::{Builder, EntryType, Header};

/// A regular file, a directory, or anything else; root's, and of 2023, unless it is said otherwise.
pub(crate) struct Entry {
    kind: EntryType,
    path: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    owner: (u64, u64),
    device: (u32, u32),
    extensions: Vec<(String, Vec<u8>)>,
    content: Vec<u8>,
}

impl Entry {
    fn new(kind: EntryType, path: impl AsRef<[u8]>, mode: u32) -> Self {
        let path = path.as_ref().to_owned();
        let (link, extensions, content) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, path, link, mode, owner: (0, 0), device: (0, 0), extensions, content }
    }

    pub(crate) fn file(path: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self { content: content.to_owned(), ..Self::new(EntryType::Regular, path, 0o644) }
    }

    pub(crate) fn directory(path: impl AsRef<[u8]>) -> Self {
        Self::new(EntryType::Directory, path, 0o755)
    }

    pub(crate) fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let link = target.as_ref().to_owned();
        Self { link, ..Self::new(EntryType::Symlink, path, 0o777) }
    }

    pub(crate) fn hard_link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let link = target.as_ref().to_owned();
        Self { link, ..Self::new(EntryType::Link, path, 0o644) }
    }

    pub(crate) fn fifo(path: impl AsRef<[u8]>) -> Self {
        Self::new(EntryType::Fifo, path, 0o644)
    }

    pub(crate) fn device(kind: EntryType, path: impl AsRef<[u8]>, device: (u32, u32)) -> Self {
        Self { device, ..Self::new(kind, path, 0o666) }
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub(crate) fn owner(self, uid: u64, gid: u64) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    /// Seconds since the epoch, with a fraction or without.
    pub(crate) fn at(self, time: &str) -> Self {
        self.pax("mtime", time.as_bytes())
    }

    pub(crate) fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Says something in a PAX header before it.
    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.extensions.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Names that are too long for a header come as GNU's tar writes them.
    pub(crate) fn append(&self, archive: &mut Builder<Vec<u8>>) {
        if !self.extensions.is_empty() {
            let extensions = self.extensions.iter();
            let extensions = extensions.map(|(key, value)| (key.as_str(), value.as_slice()));
            archive.append_pax_extensions(extensions).unwrap();
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(1_700_000_000);
        header.set_size(self.content.len() as u64);
        let path = OsStr::from_bytes(&self.path);
        match self.kind {
            EntryType::Symlink | EntryType::Link => {
                archive.append_link(&mut header, path, OsStr::from_bytes(&self.link)).unwrap();
            }
            EntryType::Char | EntryType::Block => {
                header.set_device_major(self.device.0).unwrap();
                header.set_device_minor(self.device.1).unwrap();
                archive.append_data(&mut header, path, &[][..]).unwrap();
            }
            _ => archive.append_data(&mut header, path, &*self.content).unwrap(),
        }
    }
}
