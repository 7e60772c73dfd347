//! The two ends of a copy: a path of the host, of a container, or a stream.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::{Fault, resolve};
use crate::launch::Error;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::lifecycle::surroundings;
use crate::launch::place::Place;
use crate::launch::process::user;
use crate::launch::storage::rootfs::{Rootfs, read_in};
use crate::launch::storage::writable::{self, InUse};
use crate::launch::userns;
use crate::launch::userns::have;
use crate::launch::userns::own::Own;
use crate::model::Scope;
use crate::store::containers::{Process, Record};

/// What a word of the command line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Host(PathBuf),
    Container { name: String, path: PathBuf },
    Stream,
}

impl End {
    /// `CONTAINER:PATH`, `PATH`, or `-`. What begins with `/` or `.` is a path, whatever follows.
    pub(crate) fn parse(word: &str) -> Self {
        match word.split_once(':') {
            _ if word == "-" => Self::Stream,
            Some((name, path)) if !name.is_empty() && !word.starts_with(['/', '.']) => {
                Self::Container { name: name.to_owned(), path: path.into() }
            }
            _ => Self::Host(word.into()),
        }
    }
}

/// A tree that can be read and written: a container's root, or the host's.
pub(crate) struct Tree {
    pub(crate) root: OwnedFd,
    path: PathBuf,
    /// Whose files these are, where the container has a user namespace of its own.
    pub(crate) own: Option<Own>,
    /// Only of a container that does not run; in this order they go.
    _mounted: Option<Rootfs>,
    _in_use: Option<InUse>,
}

impl Tree {
    pub(crate) fn host() -> Result<Self, Error> {
        Self::at("/".into())
    }

    /// What the container sees while it runs, its mounts included.
    pub(crate) fn of_running(record: &Record) -> Result<Option<Self>, Error> {
        let Some(init) = record.pid.filter(Process::is_alive) else { return Ok(None) };
        Self::at(format!("/proc/{}/root", init.pid).into()).map(Some)
    }

    /// Finds whose files a running container's are.
    pub(crate) fn know_users(&mut self, place: &Place, record: &Record) -> Result<(), Error> {
        self.own = match (place.scope, record.pid.filter(Process::is_alive)) {
            // Two containers are in namespaces of two launchers, whose numbers are the same.
            (Scope::User, _) => surroundings::own_by_definition(place, record, &|| userns::USUAL)?,
            (Scope::System, Some(init)) => have::of_process(place, init)?,
            (Scope::System, None) => None,
        };
        Ok(())
    }

    /// The root file system of a container that does not run, which nobody starts meanwhile.
    pub(crate) fn of_stopped(place: &Place, record: &Record) -> Result<Self, Error> {
        let in_use = writable::claim(place, &record.id)?;
        let manifest = &record.image.manifest;
        let image = place.store()?.image(manifest)?;
        let image = image.ok_or_else(|| Error::NoImage(manifest.to_string()))?;
        let mut rootfs = Rootfs::mount(&image, &place.writable(&record.id), record.rootfs.clone())?;
        // Where mounts show files by it, they are the container's own without.
        let own = surroundings::own_later(place, record, (&image, &mut rootfs))?;
        let own = own.filter(|own| !own.is_shown());
        let tree = Self::at(rootfs.path().to_owned())?;
        Ok(Self { own, _mounted: Some(rootfs), _in_use: Some(in_use), ..tree })
    }

    fn at(path: PathBuf) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty());
        let root = root.map_err(|error| Error::file("open", &path, error.into()))?;
        Ok(Self { root, path, own: None, _mounted: None, _in_use: None })
    }

    /// Whether there is something at `path`, and whether that is a directory.
    pub(crate) fn look(&self, path: &Path) -> Result<Option<bool>, Fault> {
        let shown = || path.display().to_string();
        match resolve(&self.root, path, OFlags::PATH) {
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(rustix::io::Errno::NOTDIR) => Err(Fault::NoDirectory(shown(), "")),
            found => {
                let failed =
                    |error: rustix::io::Errno| Fault::Read { path: shown(), source: error.into() };
                let stat = found.and_then(rustix::fs::fstat).map_err(failed)?;
                Ok(Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
            }
        }
    }

    /// User and group that the container runs as.
    pub(crate) fn user(&self, place: &Place, record: &Record) -> Result<(u32, u32), Error> {
        let asked = Definition::read(place, &record.id)?.create.program.user;
        let of_image = || -> Option<String> {
            let image = place.store().ok()?.image(&record.image.manifest).ok()??;
            image.config.config().as_ref()?.user().clone()
        };
        let said = asked.or_else(of_image).filter(|user| !user.is_empty());
        let text = match said {
            Some(user) => user,
            None => {
                let kept = surroundings::kept(place, record)?;
                kept.map(|kept| format!("{}:{}", kept.uid, kept.gid)).unwrap_or_default()
            }
        };
        let read = |file| read_in(&self.path, file).unwrap_or_default();
        let user = user::resolve(&text, &read("/etc/passwd"), &read("/etc/group"))?;
        Ok((user.uid, user.gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ends() {
        let of = |name: &str, path: &str| End::Container { name: name.into(), path: path.into() };
        assert_eq!(End::parse("web:/etc"), of("web", "/etc"));
        assert_eq!(End::parse("web:a:b"), of("web", "a:b"));
        assert_eq!(End::parse("-"), End::Stream);
        for path in ["/a:b", "./a:b", "a", ":x"] {
            assert_eq!(End::parse(path), End::Host(path.into()));
        }
    }
}
