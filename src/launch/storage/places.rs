//! Where a mount of the container really lies, whatever links an image or a volume has on the way.
//!
//! The runtime resolves each target below the container's root, and makes nodes and links in `/dev`
//! after that. A target that leads to `/dev`, or to `/` itself, would have it do that in the
//! directory of the host that is mounted there. And with links, one mount may hide another.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;

/// As many as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The kernel's file systems: they hide what the image has there.
const KERNELS: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Why a mount has no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{target} is {place} in this container, by links on the way: nothing can be mounted there",
        target = target.display(), place = place.display())]
    Leads { target: PathBuf, place: PathBuf },
    #[error("two mounts at {place}: {target} leads there by links; leave one out",
        target = target.display(), place = place.display())]
    Twice { target: PathBuf, place: PathBuf },
    #[error("the image's {0} is a link: no container can be made of it")]
    Link(&'static str),
    #[error("cannot find {path} in the container", path = path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A container's file system as it is put together.
#[derive(Debug)]
pub(crate) struct Places {
    root: OwnedFd,
    /// By their places; without files where it begins empty.
    mounted: Vec<(PathBuf, Option<OwnedFd>)>,
}

impl Places {
    /// Of the image's file system, without any mount yet.
    pub(crate) fn new(root: &Path) -> Result<Self, Error> {
        let opened = open(root).map_err(|source| Error::Io { path: root.to_owned(), source })?;
        let places = Self { root: opened, mounted: Vec::new() };
        for own in KERNELS {
            if places.look(own.as_ref(), &[])? != Path::new(own) {
                return Err(Error::Link(own));
            }
        }
        Ok(places)
    }

    /// Where `target` lies.
    ///
    /// # Errors
    /// Where nothing can be mounted there.
    pub(crate) fn find(&self, target: &Path) -> Result<PathBuf, Error> {
        let place = self.look(target, &KERNELS)?;
        if ["/", "/dev", "/proc"].iter().any(|own| place == Path::new(own)) {
            return Err(Error::Leads { target: target.to_owned(), place });
        }
        Ok(place)
    }

    /// Whether something is mounted at this place.
    pub(crate) fn is_taken(&self, place: &Path) -> bool {
        self.mounted.iter().any(|(taken, _)| taken == place)
    }

    /// Mounts `source`, or what begins empty, at `target`; the place.
    pub(crate) fn mount(&mut self, target: &Path, source: Option<&Path>) -> Result<PathBuf, Error> {
        let place = self.find(target)?;
        if self.is_taken(&place) {
            return Err(Error::Twice { target: target.to_owned(), place });
        }
        let failed = |path: &Path, source| Error::Io { path: path.to_owned(), source };
        let opened = source.map(|path| open(path).map_err(|error| failed(path, error)));
        self.mounted.push((place.clone(), opened.transpose()?));
        Ok(place)
    }

    fn look(&self, target: &Path, hidden: &[&str]) -> Result<PathBuf, Error> {
        self.walk(target, hidden)
            .map_err(|error| Error::Io { path: target.to_owned(), source: error.into() })
    }

    fn walk(&self, target: &Path, hidden: &[&str]) -> rustix::io::Result<PathBuf> {
        let mut reached = PathBuf::from("/");
        let mut rest: VecDeque<OsString> = parts(target).collect();
        let (mut links, mut there) = (0, true);
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                reached.pop();
                there = true;
                continue;
            }
            let next = reached.join(&part);
            let is_hidden = hidden.iter().any(|own| next.starts_with(own));
            match (there && !is_hidden && !self.is_taken(&next)).then(|| self.link(&next)) {
                Some(Err(Errno::NOENT | Errno::NOTDIR)) => there = false,
                Some(Ok(Some(link))) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    if link.is_absolute() {
                        reached = "/".into();
                    }
                    parts(&link).rev().for_each(|part| rest.push_front(part));
                    continue;
                }
                Some(Err(error)) => return Err(error),
                Some(Ok(None)) | None => {}
            }
            reached = next;
        }
        Ok(reached)
    }

    /// What the link at a path says, whose directory is reached without links; `None` for no link.
    fn link(&self, path: &Path) -> rustix::io::Result<Option<PathBuf>> {
        let around = self.mounted.iter().filter(|(place, _)| path.starts_with(place));
        let (base, place) = around
            .max_by_key(|(place, _)| place.components().count())
            .map_or((Some(&self.root), Path::new("/")), |(place, opened)| (opened.as_ref(), place));
        let base = base.ok_or(Errno::NOENT)?;
        let below = path.strip_prefix(place).unwrap_or(path);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(base.as_fd(), below, flags, Mode::empty(), within)?;
        match readlinkat(&opened, "", Vec::new()) {
            // No link: of an open file, the empty path names none (ENOENT).
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            link => {
                let bytes = link?.into_bytes();
                Ok(Some(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()))
            }
        }
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn image() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in ["dev", "proc", "sys", "run", "var", "data/real"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for (link, to) in [
            ("evil", "/"),
            ("up", "../../.."),
            ("var/run", "/run"),
            ("d", "dev"),
            ("deep", "/evil/d"),
            ("data/link", "real"),
            ("loop", "/loop"),
            ("out", "../../../../run/x"),
            ("p", "evil/proc/."),
        ] {
            symlink(to, root.path().join(link)).unwrap();
        }
        root
    }

    #[test]
    fn places_are_found() {
        let root = image();
        let places = Places::new(root.path()).unwrap();
        for (target, place) in [
            ("/new/below", "/new/below"),
            ("/var/run/x", "/run/x"),
            ("/data/link/y/z", "/data/real/y/z"),
            ("/evil/evil/run", "/run"),
            ("/up/host", "/host"),
            ("/out/y", "/run/x/y"),
            ("/d/shm", "/dev/shm"),
        ] {
            assert_eq!(places.find(Path::new(target)).unwrap(), Path::new(place), "{target}");
        }
        for target in ["/evil", "/up", "/d", "/deep", "/p"] {
            assert!(matches!(places.find(Path::new(target)), Err(Error::Leads { .. })), "{target}");
        }
        assert!(matches!(places.find(Path::new("/loop/x")), Err(Error::Io { .. })));
    }

    #[test]
    fn volumes_have_links_too() {
        let (root, volume) = (image(), tempfile::tempdir().unwrap());
        symlink("/dev", volume.path().join("dev")).unwrap();
        symlink("..", volume.path().join("run")).unwrap();
        let mut places = Places::new(root.path()).unwrap();
        let mount = |places: &mut Places, target: &str| {
            places.mount(Path::new(target), Some(volume.path()))
        };
        assert_eq!(mount(&mut places, "/data/link").unwrap(), Path::new("/data/real"));
        assert!(matches!(mount(&mut places, "/data/real/dev"), Err(Error::Leads { .. })));
        assert!(matches!(mount(&mut places, "/data/real"), Err(Error::Twice { .. })));
        assert_eq!(mount(&mut places, "/data/real/run/x").unwrap(), Path::new("/data/x"));
    }

    #[test]
    fn an_image_whose_dev_is_a_link_is_refused() {
        for own in ["dev", "proc", "sys"] {
            let root = tempfile::tempdir().unwrap();
            symlink("/etc", root.path().join(own)).unwrap();
            assert!(matches!(Places::new(root.path()), Err(Error::Link(_))), "{own}");
        }
        assert!(Places::new(tempfile::tempdir().unwrap().path()).is_ok());
    }

    proptest! {
        #[test]
        fn places_are_plain(target in "(/(\\.\\.|evil|up|d|data|link|x|var|run)){1,6}") {
            let root = image();
            let places = Places::new(root.path()).unwrap();
            if let Ok(place) = places.find(Path::new(&target)) {
                prop_assert!(place.is_absolute() && place.components().count() > 1);
                prop_assert!(!place.components().any(|part| part == Component::ParentDir));
            }
        }
    }
}
