//! Named volumes, in `STATE/volumes/NAME`: `volume.json`, and the files in `_data`.
//!
//! A volume has its name only when it is whole; it loses it before its files go. Whether it still
//! has to be filled from an image is in `volume.json`, and changes only when it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Lock, Mode};
use crate::launch::lifecycle::name;
use crate::launch::place::Place;
use crate::launch::storage::writable::Discarded;

/// The largest description read, in bytes.
const MAX: u64 = 1 << 20;

/// A named volume's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// `type`, `device` and `o`, as they were given.
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    /// Whether it was made without a name, for one container.
    #[serde(default)]
    pub(crate) anonymous: bool,
    /// Whether no container has used it yet.
    #[serde(default)]
    pub(crate) fresh: bool,
}

/// What holds a volume's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backing {
    /// The volume's own directory.
    Directory,
    /// A directory of the host.
    Bind { device: PathBuf, words: Vec<String> },
    /// Memory, as long as a container uses it.
    Tmpfs { data: Vec<String>, words: Vec<String> },
}

/// Why something cannot be done with volumes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no volume \"{0}\": see \"updater-launch volume ls\"")]
    NoSuch(String),
    #[error("\"{0}\" is the beginning of several volumes' names")]
    Ambiguous(String),
    #[error("volume \"{0}\" is there already: use --ignore, or another name")]
    Exists(String),
    #[error("volume \"{name}\" is in use by container {}: remove that first, or use --force", .users.join(", "))]
    InUse { name: String, users: Vec<String> },
    #[error("volumes are left alone: what container {0} uses cannot be read")]
    Unknown(String),
    #[error(
        "volume \"{0}\" is in memory, which containers of ordinary users cannot share: \
         use --tmpfs, or a volume on disk"
    )]
    InMemory(String),
    #[error("--opt {0}: {1}")]
    Option(String, &'static str),
    #[error("{path} cannot be understood", path = path.display())]
    Document { path: PathBuf, source: serde_json::Error },
    #[error("cannot {what} {path}", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io { what, path: path.into(), source: source.into() }
    }
}

/// All volumes of a place.
#[derive(Debug, Clone)]
pub(crate) struct Volumes {
    dir: PathBuf,
    aside: PathBuf,
}

impl Volumes {
    /// Nothing is made yet.
    pub(crate) fn open(place: &Place) -> Self {
        Self { dir: place.state.join("volumes"), aside: place.state.join("tmp") }
    }

    /// Where a volume's own files are.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.dir.join(name).join("_data")
    }

    /// The description of the volume of just this name.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Named>, Error> {
        let path = self.dir.join(name).join("volume.json");
        let bytes = disk::read(&path, MAX).map_err(|error| Error::io("read", &path, error))?;
        let Some(bytes) = bytes else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Document { path, source })
    }

    /// The volume that `word` names: whole, or by a beginning that no other has.
    pub(crate) fn find(&self, word: &str) -> Result<Named, Error> {
        if name::is_valid(word)
            && let Some(named) = self.get(word)?
        {
            return Ok(named);
        }
        let names = self.names()?;
        let mut matching = names.iter().filter(|name| !word.is_empty() && name.starts_with(word));
        match (matching.next(), matching.next()) {
            (Some(_), Some(_)) => Err(Error::Ambiguous(word.to_owned())),
            (Some(name), None) => self.get(name)?.ok_or_else(|| Error::NoSuch(word.to_owned())),
            _ => Err(Error::NoSuch(word.to_owned())),
        }
    }

    /// All volumes by name; those that cannot be read are told of.
    pub(crate) fn all(&self) -> Result<(Vec<Named>, Vec<Error>), Error> {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for name in self.names()? {
            match self.get(&name) {
                Ok(named) => found.extend(named),
                Err(problem) => problems.push(problem),
            }
        }
        Ok((found, problems))
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| Error::io("list", &self.dir, error))?,
        };
        let names = entries.flatten().filter(|entry| entry.path().is_dir());
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        // Those that are being made begin with a dot.
        let mut names: Vec<String> = names.filter(|text| name::is_valid(text)).collect();
        names.sort();
        Ok(names)
    }

    /// Makes a volume; durable on return.
    ///
    /// # Errors
    /// Where there is one of that name.
    pub(crate) fn create(&self, named: &Named) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.make(named)
    }

    /// Makes a volume where there is none of that name.
    pub(crate) fn ensure(&self, name: &str, anonymous: bool) -> Result<Named, Error> {
        if let Some(named) = self.get(name)? {
            return Ok(named);
        }
        let named = Named {
            name: name.to_owned(),
            created: Timestamp::now(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            anonymous,
            fresh: true,
        };
        match self.create(&named) {
            Err(Error::Exists(_)) => self.find(name),
            made => made.map(|()| named),
        }
    }

    fn make(&self, named: &Named) -> Result<(), Error> {
        let path = self.dir.join(&named.name);
        if path.exists() {
            return Err(Error::Exists(named.name.clone()));
        }
        let new = self.dir.join(format!(".{}", named.name));
        let failed = |error: io::Error| Error::io("make", &new, error);
        disk::remove_tree(&new).map_err(failed)?;
        disk::make_private(&new).map_err(failed)?;
        let data = new.join("_data");
        std::fs::DirBuilder::new().create(&data).map_err(failed)?;
        open_up(&data).map_err(failed)?;
        self.write_at(&new, named)?;
        std::fs::rename(&new, &path)
            .and_then(|()| disk::sync_directory(&self.dir))
            .map_err(|error| Error::io("make", path, error))
    }

    /// Replaces a volume's description.
    pub(crate) fn write(&self, named: &Named) -> Result<(), Error> {
        self.write_at(&self.dir.join(&named.name), named)
    }

    fn write_at(&self, dir: &Path, named: &Named) -> Result<(), Error> {
        let path = dir.join("volume.json");
        let bytes = serde_json::to_vec(named)
            .map_err(|source| Error::Document { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|error| Error::io("write", path, error))
    }

    /// Keeps others from filling or mounting the volume at the same time. Waits for it.
    pub(crate) fn hold(&self, name: &str) -> Result<File, Error> {
        let path = self.dir.join(name);
        let failed = |error: io::Error| Error::io("lock", &path, error);
        let opened = File::open(&path).map_err(failed)?;
        disk::lock(&opened, Mode::Exclusive).map_err(failed)?;
        Ok(opened)
    }

    /// Takes the name away, in one step; `None` where there is no such volume.
    pub(crate) fn discard(&self, name: &str) -> Result<Option<Discarded>, Error> {
        let _lock = self.lock()?;
        let aside = self.aside.join(format!("volume-{name}"));
        let failed = |error: io::Error| Error::io("put aside", &aside, error);
        disk::make_private(&self.aside).map_err(failed)?;
        disk::remove_tree(&aside).map_err(failed)?;
        match std::fs::rename(self.dir.join(name), &aside) {
            Ok(()) => Ok(Some(Discarded::at(aside))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn lock(&self) -> Result<Lock, Error> {
        let path = self.dir.join(".lock");
        disk::make_private(&self.dir)
            .and_then(|()| Lock::wait(&path, Mode::Exclusive))
            .map_err(|error| Error::io("lock", path, error))
    }
}

/// Programs of any user live in there, whatever the umask.
fn open_up(data: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o755))
}

impl Named {
    /// What its options say holds its files.
    ///
    /// # Errors
    /// Options that the local driver does not have here.
    pub(crate) fn backing(&self) -> Result<Backing, Error> {
        let option = |name: &str| self.options.get(name).map(String::as_str);
        let refused = |name: &str, why| {
            Err(Error::Option(format!("{name}={}", option(name).unwrap_or_default()), why))
        };
        if let Some(other) =
            self.options.keys().find(|key| !matches!(&***key, "type" | "device" | "o"))
        {
            return refused(other, "is not known; there are type, device and o");
        }
        let words = option("o").unwrap_or_default().split(',').filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_owned).collect();
        let (binds, words): (Vec<_>, Vec<_>) =
            words.into_iter().partition(|word| matches!(&**word, "bind" | "rbind"));
        let kind = option("type").unwrap_or("none");
        match (kind, option("device")) {
            ("tmpfs", Some("tmpfs" | "none") | None) => {
                let (data, words): (Vec<_>, Vec<_>) =
                    words.into_iter().partition(|word| word.contains('='));
                let known = |word: &String| {
                    let key = word.split('=').next().unwrap_or_default();
                    matches!(key, "size" | "mode" | "uid" | "gid" | "nr_inodes")
                };
                if !binds.is_empty() || !data.iter().all(known) || !words.iter().all(is_flag) {
                    return refused("o", "is not known for a tmpfs");
                }
                Ok(Backing::Tmpfs { data, words })
            }
            ("none" | "bind", Some(device)) if kind == "bind" || !binds.is_empty() => {
                if !device.starts_with('/') {
                    return refused("device", "is not a path from the root");
                }
                if !words.iter().all(is_flag) {
                    return refused("o", "is not known for a directory that is bound");
                }
                Ok(Backing::Bind { device: device.into(), words })
            }
            ("none" | "bind", None)
                if kind == "none" && self.options.keys().all(|key| key == "type") =>
            {
                Ok(Backing::Directory)
            }
            ("none" | "bind", _) => refused("device", "needs type=none, device=DIR and o=bind"),
            _ => refused(
                "type",
                "is not mounted here: mount it by a unit (systemd.mount(5)), and bind that with o=bind",
            ),
        }
    }
}

fn is_flag(word: &String) -> bool {
    matches!(&**word, "ro" | "rw" | "nosuid" | "suid" | "nodev" | "dev" | "noexec" | "exec")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, options: &[(&str, &str)]) -> Named {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Named {
            name: name.to_owned(),
            created: Timestamp::UNIX_EPOCH,
            labels: BTreeMap::new(),
            options: options.iter().map(pair).collect(),
            anonymous: false,
            fresh: true,
        }
    }

    fn volumes(directory: &Path) -> Volumes {
        Volumes::open(&Place::below(directory))
    }

    #[test]
    fn volumes_are_made_found_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = volumes(directory.path());
        assert!(volumes.all().unwrap().0.is_empty());
        volumes.create(&named("data", &[])).unwrap();
        volumes.create(&named("date", &[])).unwrap();
        assert!(matches!(volumes.create(&named("data", &[])), Err(Error::Exists(_))));
        assert_eq!(volumes.ensure("data", true).unwrap(), named("data", &[]));
        assert!(volumes.data("data").is_dir());
        assert!(matches!(volumes.find("dat"), Err(Error::Ambiguous(_))));
        assert_eq!(volumes.find("date").unwrap().name, "date");
        assert!(matches!(volumes.find("../x"), Err(Error::NoSuch(_))));
        volumes.discard("date").unwrap().unwrap().remove();
        assert_eq!(volumes.find("da").unwrap().name, "data");
        assert!(volumes.discard("date").unwrap().is_none());
        assert_eq!(std::fs::read_dir(directory.path().join("state/tmp")).unwrap().count(), 0);
    }

    #[test]
    fn a_volume_that_was_being_made_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = volumes(directory.path());
        let half = directory.path().join("state/volumes/.data/_data");
        std::fs::create_dir_all(half.join("half")).unwrap();
        assert!(volumes.all().unwrap().0.is_empty());
        volumes.create(&named("data", &[])).unwrap();
        assert_eq!(std::fs::read_dir(volumes.data("data")).unwrap().count(), 0);
    }

    #[test]
    fn options_of_the_local_driver() {
        let backing = |options: &[(&str, &str)]| named("x", options).backing();
        assert_eq!(backing(&[]).unwrap(), Backing::Directory);
        let tmpfs = backing(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,noexec")]);
        assert_eq!(
            tmpfs.unwrap(),
            Backing::Tmpfs { data: vec!["size=1m".into()], words: vec!["noexec".into()] }
        );
        let bind = backing(&[("type", "none"), ("device", "/srv"), ("o", "bind,ro")]).unwrap();
        assert_eq!(bind, Backing::Bind { device: "/srv".into(), words: vec!["ro".into()] });
        for wrong in [
            &[("type", "nfs"), ("device", ":/x")][..],
            &[("type", "tmpfs"), ("o", "lowerdir=/")],
            &[("type", "none"), ("device", "srv"), ("o", "bind")],
            &[("type", "none"), ("device", "/srv")],
            &[("o", "bind")],
            &[("size", "1m")],
        ] {
            assert!(matches!(backing(wrong), Err(Error::Option(..))), "{wrong:?}");
        }
    }
}
