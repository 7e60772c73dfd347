//! Secrets, in `STATE/secrets/NAME`, readable for root alone; and giving them to a container: files
//! in memory, which its writable layer never sees, and variables that are in no file at all.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};

use crate::disk::{self, Lock, Mode};
use crate::launch::lifecycle::name;
use crate::launch::place::Place;
use crate::launch::process::user::User;
use crate::launch::storage::file_system;
use crate::launch::storage::flags::secret::{Given, SecretFlag};
use crate::launch::storage::volume::Volume;
use crate::launch::userns;

/// The largest secret, in bytes: Podman's limit.
pub(crate) const MAX: usize = 512_000;
/// A file with it, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A secret as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secret {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// In base 64.
    data: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why something cannot be done with secrets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no secret \"{0}\": see \"updater-launch secret ls\"")]
    NoSuch(String),
    #[error("\"{0}\" is the beginning of several secrets' IDs")]
    Ambiguous(String),
    #[error("secret \"{0}\" is there already: use --replace, or another name")]
    Exists(String),
    #[error("secret names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*")]
    Name,
    #[error("a secret has 1 to {MAX} bytes")]
    Size,
    #[error("secret \"{0}\" is no text, which a variable has to be: use type=mount")]
    Text(String),
    #[error(transparent)]
    Users(#[from] userns::Error),
    #[error("the environment has no variable {0}")]
    Variable(String),
    #[error("{path} cannot be understood", path = path.display())]
    Document { path: PathBuf, source: serde_json::Error },
    #[error("cannot {what} {path}", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { what, path: path.into(), source }
    }
}

/// All secrets of a place.
#[derive(Debug)]
pub(crate) struct Secrets {
    dir: PathBuf,
}

impl Secrets {
    /// Nothing is made yet.
    pub(crate) fn open(place: &Place) -> Self {
        Self { dir: place.state.join("secrets") }
    }

    /// Keeps a secret; its ID. One of the same name is replaced where that was asked for.
    pub(crate) fn create(
        &self,
        name: &str,
        data: &[u8],
        labels: BTreeMap<String, String>,
        replace: bool,
    ) -> Result<String, Error> {
        if !name::is_valid(name) {
            return Err(Error::Name);
        }
        if data.is_empty() || data.len() > MAX {
            return Err(Error::Size);
        }
        let _lock = self.lock()?;
        let earlier = self.get(name)?;
        if earlier.is_some() && !replace {
            return Err(Error::Exists(name.to_owned()));
        }
        let now = Timestamp::now();
        let id = name::new_id()
            .ok_or_else(|| Error::io("make an ID for", name, io::ErrorKind::Other.into()))?;
        let secret = Secret {
            id: id.as_str()[..25].to_owned(),
            name: name.to_owned(),
            created: earlier.map_or(now, |earlier| earlier.created),
            updated: now,
            labels,
            data: STANDARD.encode(data),
        };
        let path = self.dir.join(name);
        let bytes = serde_json::to_vec(&secret)
            .map_err(|source| Error::Document { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|error| Error::io("write", path, error))?;
        Ok(secret.id)
    }

    /// The secret that `word` names: by name, ID, or the beginning of an ID.
    pub(crate) fn find(&self, word: &str) -> Result<Secret, Error> {
        if name::is_valid(word)
            && let Some(secret) = self.get(word)?
        {
            return Ok(secret);
        }
        let all = self.all()?;
        let mut matching =
            all.into_iter().filter(|secret| !word.is_empty() && secret.id.starts_with(word));
        match (matching.next(), matching.next()) {
            (Some(_), Some(_)) => Err(Error::Ambiguous(word.to_owned())),
            (Some(secret), None) => Ok(secret),
            _ => Err(Error::NoSuch(word.to_owned())),
        }
    }

    /// All secrets by name.
    pub(crate) fn all(&self) -> Result<Vec<Secret>, Error> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| Error::io("list", &self.dir, error))?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut all = Vec::new();
        for name in names.filter(|text| name::is_valid(text)) {
            all.extend(self.get(&name)?);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Removes a secret; containers that run keep what they were given.
    pub(crate) fn remove(&self, secret: &Secret) -> Result<(), Error> {
        let _lock = self.lock()?;
        let path = self.dir.join(&secret.name);
        disk::remove(&path).map_err(|error| Error::io("remove", path, error))
    }

    fn get(&self, name: &str) -> Result<Option<Secret>, Error> {
        let path = self.dir.join(name);
        let bytes = disk::read(&path, MAX_FILE).map_err(|error| Error::io("read", &path, error))?;
        let Some(bytes) = bytes else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Document { path, source })
    }

    fn lock(&self) -> Result<Lock, Error> {
        let path = self.dir.join(".lock");
        disk::make_private(&self.dir)
            .and_then(|()| Lock::wait(&path, Mode::Exclusive))
            .map_err(|error| Error::io("lock", path, error))
    }
}

impl Secret {
    fn bytes(&self, dir: &Path) -> Result<Vec<u8>, Error> {
        let failed =
            |_| Error::io("understand", dir.join(&self.name), io::ErrorKind::InvalidData.into());
        STANDARD.decode(&self.data).map_err(failed)
    }
}

/// Secrets as variables; to be kept in memory only.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Variables(Vec<(String, String)>);

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl IntoIterator for Variables {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The variables that a container is given.
pub(crate) fn variables(place: &Place, flags: &[SecretFlag]) -> Result<Variables, Error> {
    let secrets = Secrets::open(place);
    let mut variables = Vec::new();
    for flag in flags {
        if let Given::Variable(name) = &flag.given {
            let bytes = secrets.find(&flag.name)?.bytes(&secrets.dir)?;
            let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
            variables.push((name.clone(), text.ok_or_else(|| Error::Text(flag.name.clone()))?));
        }
    }
    Ok(Variables(variables))
}

/// Secrets in memory, in our own mount namespace, until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Files {
    volumes: Vec<Volume>,
    mounted: Option<PathBuf>,
}

impl Files {
    /// Writes the files that a container is given, below `at`; `on_disk` says who its users are there.
    pub(crate) fn write(
        place: &Place,
        flags: &[SecretFlag],
        user: &User,
        on_disk: &dyn Fn(u32, u32) -> Result<(u32, u32), userns::Error>,
        at: &Path,
    ) -> Result<Self, Error> {
        let mut files = Self::default();
        let secrets = Secrets::open(place);
        for flag in flags {
            let Given::File { target, uid, gid, mode } = &flag.given else { continue };
            let data = secrets.find(&flag.name)?.bytes(&secrets.dir)?;
            if files.mounted.is_none() {
                let words = ["nosuid", "nodev", "noexec"].map(str::to_owned);
                disk::make_private(at)
                    .and_then(|()| file_system::tmpfs(at, &["mode=700".to_owned()], &words))
                    .map_err(|error| Error::io("mount a tmpfs for secrets at", at, error))?;
                files.mounted = Some(at.to_owned());
            }
            let path = at.join(files.volumes.len().to_string());
            let owner = on_disk(uid.unwrap_or(user.uid), gid.unwrap_or(user.gid))?;
            put(&path, &data, owner, *mode).map_err(|error| Error::io("write", &path, error))?;
            let words = ["noexec", "ro"].map(str::to_owned);
            files.volumes.push(Volume::bound(path, target.clone(), &words));
        }
        Ok(files)
    }

    pub(crate) fn volumes(&self) -> &[Volume] {
        &self.volumes
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(path) = &self.mounted {
            let _ = unmount(path, UnmountFlags::DETACH);
        }
    }
}

fn put(path: &Path, data: &[u8], (uid, gid): (u32, u32), mode: u32) -> io::Result<()> {
    let mut file = fs::File::options().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(data)?;
    std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_for_their_owner_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::below(directory.path());
        let secrets = Secrets::open(&place);
        let id = secrets.create("db", b"hunter2", BTreeMap::new(), false).unwrap();
        assert_eq!(id.len(), 25);
        let again = secrets.create("db", b"x", BTreeMap::new(), false);
        assert!(matches!(again, Err(Error::Exists(_))));
        let found = secrets.find(&id[..8]).unwrap();
        assert_eq!(found.bytes(&secrets.dir).unwrap(), b"hunter2");
        assert!(!format!("{found:?}").contains(&found.data));
        let mode = fs::metadata(place.state.join("secrets/db")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        secrets.create("db", b"other", BTreeMap::new(), true).unwrap();
        assert_eq!(secrets.find("db").unwrap().created, found.created);
        secrets.remove(&found).unwrap();
        assert!(matches!(secrets.find("db"), Err(Error::NoSuch(_))));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(&Place::below(directory.path()));
        let create = |name: &str, data: &[u8]| secrets.create(name, data, BTreeMap::new(), false);
        assert!(matches!(create("a/b", b"x"), Err(Error::Name)));
        assert!(matches!(create("a", b""), Err(Error::Size)));
        assert!(matches!(create("a", &vec![0; MAX + 1]), Err(Error::Size)));
    }

    #[test]
    fn a_variable_is_text() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::below(directory.path());
        let secrets = Secrets::open(&place);
        secrets.create("text", "grün".as_bytes(), BTreeMap::new(), false).unwrap();
        secrets.create("bytes", b"\xff", BTreeMap::new(), false).unwrap();
        let read = |text: &str| {
            variables(&place, &[crate::launch::storage::flags::secret::parse(text).unwrap()])
        };
        let variables = read("text,type=env,target=T").unwrap();
        assert_eq!(format!("{variables:?}"), "[\"T\"]");
        assert_eq!(variables.0, [("T".to_owned(), "grün".to_owned())]);
        assert_eq!(read("text").unwrap(), Variables::default());
        assert!(matches!(read("bytes,type=env"), Err(Error::Text(_))));
        assert!(matches!(read("none,type=env"), Err(Error::NoSuch(_))));
    }
}
