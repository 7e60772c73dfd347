//! A tree as a tar stream.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use tar::{Builder, EntryType, Header};

use super::{Fault, resolve};
use crate::disk::{Entry, walk};
use crate::launch::userns::own::Own;

/// What is packed, and how it is called in the archive.
#[derive(Debug)]
pub(crate) struct Source {
    opened: OwnedFd,
    stat: Stat,
    shown: String,
}

impl Source {
    /// What the container, or the host, has at `path`, whatever links lead to it.
    pub(crate) fn open(root: impl AsFd, path: &Path) -> Result<Self, Fault> {
        let shown = path.display().to_string();
        let opened = match resolve(root, path, OFlags::PATH) {
            Err(rustix::io::Errno::NOENT) => return Err(Fault::Missing(shown, "")),
            opened => {
                opened.map_err(|error| Fault::Read { path: shown.clone(), source: error.into() })?
            }
        };
        let stat = rustix::fs::fstat(&opened)
            .map_err(|error| Fault::Read { path: shown.clone(), source: error.into() })?;
        Ok(Self { opened, stat, shown })
    }

    pub(crate) fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    /// Writes the archive; who owns the files is said by the numbers that `users` has for them. Its
    /// top is called `name`; with the empty name, it has what is in the
    /// directory, and not the directory itself.
    pub(crate) fn pack(
        &self,
        name: &OsStr,
        to: impl Write,
        users: Option<&Own>,
    ) -> Result<(), Fault> {
        let mut archive = Packer { users, ..Packer::new(to, false) };
        let failed = |source: io::Error| Fault::Read { path: self.shown.clone(), source };
        // Opened again, now to be read.
        let again = |flags: OFlags| {
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.opened));
            rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| failed(error.into()))
        };
        if !self.is_directory() {
            let kind = FileType::from_raw_mode(self.stat.st_mode);
            if kind != FileType::RegularFile {
                let why = io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file");
                return Err(failed(why));
            }
            let file = File::from(again(OFlags::RDONLY | OFlags::NONBLOCK)?);
            archive.file(Path::new(name), &self.stat, &file)?;
            return archive.finish();
        }
        let top = again(OFlags::RDONLY | OFlags::DIRECTORY)?;
        if !name.is_empty() {
            archive.plain(Path::new(name), &self.stat, EntryType::Directory)?;
        }
        archive.tree(top, Path::new(name))?;
        archive.finish()
    }
}

/// An archive that is being written.
pub(crate) struct Packer<'a, W: Write> {
    builder: Builder<W>,
    /// Where files with several names came first.
    links: HashMap<(u64, u64), PathBuf>,
    /// What overlayfs hides is written as image layers have it (image-spec, `layer.md`).
    whiteouts: bool,
    /// Whose files they are, where their owners are others than in the archive.
    users: Option<&'a Own>,
}

impl<W: Write> Packer<'_, W> {
    pub(crate) fn new(to: W, whiteouts: bool) -> Self {
        Self { builder: Builder::new(to), links: HashMap::new(), whiteouts, users: None }
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<(), Fault> {
        self.builder.finish().map_err(Fault::Stream)?;
        self.builder.get_mut().flush().map_err(Fault::Stream)
    }

    /// All that is below a directory.
    pub(crate) fn tree(&mut self, top: OwnedFd, prefix: &Path) -> Result<(), Fault> {
        walk(top, &mut |entry| self.entry(entry, prefix).map(|()| true))
    }

    fn entry(&mut self, entry: &Entry<'_>, prefix: &Path) -> Result<(), Fault> {
        let path = prefix.join(OsStr::from_bytes(entry.path));
        let failed = |error: rustix::io::Errno| Fault::Read {
            path: path.display().to_string(),
            source: error.into(),
        };
        match entry.kind() {
            FileType::Directory => {
                self.plain(&path, &entry.stat, EntryType::Directory)?;
                if self.whiteouts && is_opaque(entry) {
                    self.whiteout(&path.join(".wh..wh..opq"))?;
                }
                Ok(())
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = match rustix::fs::openat(entry.dir, entry.name, flags, Mode::empty()) {
                    // It went meanwhile.
                    Err(rustix::io::Errno::NOENT) => return Ok(()),
                    file => File::from(file.map_err(failed)?),
                };
                self.file(&path, &entry.stat, &file)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(entry.dir, entry.name, Vec::new());
                let target = target.map_err(failed)?;
                let mut header = self.header(&entry.stat, EntryType::Symlink);
                let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                self.builder.append_link(&mut header, &path, target).map_err(Fault::Stream)
            }
            FileType::Fifo => self.plain(&path, &entry.stat, EntryType::Fifo),
            FileType::CharacterDevice if self.whiteouts && entry.stat.st_rdev == 0 => {
                let mut name = b".wh.".to_vec();
                name.extend_from_slice(entry.name.to_bytes());
                self.whiteout(&path.with_file_name(OsStr::from_bytes(&name)))
            }
            // Sockets mean nothing elsewhere, and devices are the host's to give.
            _ => Ok(()),
        }
    }

    /// An entry without data.
    pub(crate) fn plain(&mut self, path: &Path, stat: &Stat, kind: EntryType) -> Result<(), Fault> {
        let mut header = self.header(stat, kind);
        let mut name = path.as_os_str().to_owned();
        if kind == EntryType::Directory && !name.as_bytes().ends_with(b"/") {
            name.push("/");
        }
        self.builder.append_data(&mut header, name, io::empty()).map_err(Fault::Stream)
    }

    fn header(&self, stat: &Stat, kind: EntryType) -> Header {
        let (uid, gid) = match self.users {
            Some(users) => users.inside(stat.st_uid, stat.st_gid),
            None => (stat.st_uid, stat.st_gid),
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(0);
        header
    }

    fn whiteout(&mut self, path: &Path) -> Result<(), Fault> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(0);
        self.builder.append_data(&mut header, path, io::empty()).map_err(Fault::Stream)
    }

    fn file(&mut self, path: &Path, stat: &Stat, file: &File) -> Result<(), Fault> {
        if stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&identity) {
                let mut header = self.header(stat, EntryType::Link);
                let first = first.clone();
                return self.builder.append_link(&mut header, path, first).map_err(Fault::Stream);
            }
            self.links.insert(identity, path.to_owned());
        }
        if self.whiteouts {
            let attributes = attributes(file);
            let named = attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
            self.builder.append_pax_extensions(named).map_err(Fault::Stream)?;
        }
        let size = stat.st_size.unsigned_abs();
        let mut header = self.header(stat, EntryType::Regular);
        header.set_size(size);
        // As long as it was said to be, whatever happens to it meanwhile.
        let data = file.take(size).chain(io::repeat(0)).take(size);
        self.builder.append_data(&mut header, path, data).map_err(Fault::Stream)
    }
}

/// Whether overlayfs shows nothing of the layers below in a directory.
fn is_opaque(entry: &Entry<'_>) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::openat(entry.dir, entry.name, flags, Mode::empty()) else {
        return false;
    };
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0u8; 8];
        rustix::fs::fgetxattr(&dir, *name, &mut value).is_ok_and(|length| value[..length] == *b"y")
    })
}

/// The attributes that layers carry: capabilities of programs, and those of users.
fn attributes(file: &File) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0u8; 65536];
    let Ok(length) = rustix::fs::flistxattr(file, &mut names) else { return Vec::new() };
    let mut found = Vec::new();
    for name in names.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let Ok(text) = name.to_str() else { continue };
        if text != "security.capability" && !text.starts_with("user.") {
            continue;
        }
        let mut value = vec![0u8; 65536];
        if let Ok(length) = rustix::fs::fgetxattr(file, name, &mut value) {
            value.truncate(length);
            found.push((format!("SCHILY.xattr.{text}"), value));
        }
    }
    found
}
