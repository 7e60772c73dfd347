//! Which credentials were rejected where, for all processes of this host: registries lock out whom they
//! see fail too often, and a check from a timer is a new process each time.
//!
//! A small file of marks: no secret, name or registry can be read from one. What cannot be read or
//! written costs one more attempt, and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::credentials::{Credential, Secret};
use crate::disk::{self, Mode};

/// So many are kept; those that end first go.
const MOST: usize = 256;

/// The largest file read, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// Nothing is believed for longer than this, whatever the clock was when it was written.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Where rejections are kept; `None` is nowhere.
#[derive(Debug, Default)]
pub(in crate::registry) struct Rejections(Option<PathBuf>);

/// A credentials file as it was when it was read: another one once anything of it has changed, also by
/// touch(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stamp([u64; 7]);

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    salt: String,
    /// Until when they are not tried again.
    rejected: BTreeMap<String, Timestamp>,
}

impl Stamp {
    pub(crate) fn of(file: &Metadata) -> Self {
        let signed = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
        let [a, b, c, d] = signed.map(i64::cast_unsigned);
        Self([file.dev(), file.ino(), file.size(), a, b, c, d])
    }
}

impl Rejections {
    /// In this file, whose directory is made where it is not there.
    pub(in crate::registry) fn at(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// How long `credential` is not to be tried again at `place`; `None` where it may be.
    pub(in crate::registry) fn rest(
        &self,
        place: &str,
        credential: &Credential,
    ) -> Option<Duration> {
        let (path, stamp) = self.0.as_ref().zip(credential.stamp)?;
        let kept = read(path);
        let until = kept.rejected.get(&mark(&kept.salt, place, credential, stamp))?;
        let rest = Duration::try_from(until.duration_since(Timestamp::now())).ok()?;
        (!rest.is_zero() && rest <= LONGEST).then_some(rest)
    }

    /// Notes that `credential` was rejected at `place`, and is not to be tried for `rest`.
    pub(in crate::registry) fn keep(&self, place: &str, credential: &Credential, rest: Duration) {
        let Some((path, stamp)) = self.0.as_ref().zip(credential.stamp) else { return };
        if let Err(cause) = add(path, |salt| mark(salt, place, credential, stamp), rest) {
            let path = path.display();
            tracing::debug!(%path, %cause, "a rejected login is not noted, ignoring");
        }
    }
}

/// What a credential at a place is known by. One in a file is known by the file and by whose it is; what a
/// program gave changes without the file, so its secret is a part of it.
fn mark(salt: &str, place: &str, credential: &Credential, stamp: Stamp) -> String {
    let Credential { username, secret, origin, .. } = credential;
    let (Secret::Password(secret) | Secret::IdentityToken(secret)) = secret;
    let secret = origin.helper.as_ref().map_or("", |_| secret.as_str());
    let helper = origin.helper.as_deref().unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [salt, place, username, helper, secret] {
        hash = hash.chain_update((part.len() as u64).to_be_bytes()).chain_update(part);
    }
    for part in stamp.0 {
        hash = hash.chain_update(part.to_be_bytes());
    }
    hex(&hash.finalize())
}

/// What is there; nothing, where it cannot be read.
fn read(path: &Path) -> Kept {
    let bytes = disk::read(path, MAX_FILE).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn add(path: &Path, mark: impl FnOnce(&str) -> String, rest: Duration) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    disk::make_private(directory)?;
    let locked = File::open(directory)?;
    disk::lock(&locked, Mode::Exclusive)?;
    let mut kept = read(path);
    if kept.salt.is_empty() {
        kept = Kept { salt: salt()?, ..Kept::default() };
    }
    let now = Timestamp::now();
    kept.rejected.retain(|_, until| *until > now);
    while kept.rejected.len() >= MOST {
        let first = kept.rejected.iter().min_by_key(|(_, until)| **until);
        let first = first.map(|(mark, _)| mark.clone()).unwrap_or_default();
        kept.rejected.remove(&first);
    }
    let until = now.saturating_add(rest).unwrap_or(now);
    kept.rejected.insert(mark(&kept.salt), until);
    disk::replace(path, &serde_json::to_vec(&kept)?)
}

/// Of each host its own: what is in one file says nothing of another.
fn salt() -> io::Result<String> {
    let mut random = [0; 32];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(hex(&random))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::error::Origin;

    const HOUR: Duration = Duration::from_secs(3600);

    fn credential(file: &Path, helper: Option<&str>, secret: &str) -> Credential {
        Credential {
            username: "u".into(),
            secret: Secret::Password(secret.into()),
            origin: Origin { file: file.to_owned(), helper: helper.map(str::to_owned) },
            stamp: Some(Stamp::of(&std::fs::metadata(file).unwrap())),
        }
    }

    #[test]
    fn they_are_kept_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = (dir.path().join("logins/rejected.json"), dir.path().join("auth.json"));
        std::fs::write(&file, "1").unwrap();
        let bad = credential(&file, None, "hunter2");
        let at = || Rejections::at(Some(path.clone()));
        assert_eq!(at().rest("r.io", &bad), None);
        at().keep("r.io", &bad, HOUR);
        // Of any process.
        let rest = at().rest("r.io", &bad).unwrap();
        assert!(rest <= HOUR && rest > HOUR / 2);
        assert_eq!(at().rest("other.io", &bad), None);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("r.io") && !text.contains("\"u\""));
        let other = Credential { username: "v".into(), ..bad.clone() };
        assert_eq!(at().rest("r.io", &other), None);
        let changed = File::options().write(true).open(&file).unwrap();
        changed.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(at().rest("r.io", &credential(&file, None, "hunter2")), None);
        // What was typed is nobody's file, and nothing is kept without a place.
        let typed = Credential { stamp: None, ..bad.clone() };
        at().keep("r.io", &typed, HOUR);
        assert_eq!(at().rest("r.io", &typed), None);
        Rejections::default().keep("r.io", &bad, HOUR);
        assert_eq!(Rejections::default().rest("r.io", &bad), None);
    }

    #[test]
    fn what_a_program_gives_is_known_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = (dir.path().join("rejected.json"), dir.path().join("auth.json"));
        std::fs::write(&file, "1").unwrap();
        let rejections = Rejections::at(Some(path.clone()));
        rejections.keep("r.io", &credential(&file, Some("x"), "hunter2"), HOUR);
        assert!(rejections.rest("r.io", &credential(&file, Some("x"), "hunter2")).is_some());
        assert_eq!(rejections.rest("r.io", &credential(&file, Some("x"), "newer")), None);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("hunter2"));
    }

    #[test]
    fn damage_and_odd_clocks_cost_an_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = (dir.path().join("rejected.json"), dir.path().join("auth.json"));
        std::fs::write(&file, "1").unwrap();
        let (bad, rejections) = (credential(&file, None, "x"), Rejections::at(Some(path.clone())));
        // From a clock that went ahead.
        rejections.keep("r.io", &bad, LONGEST * 400);
        assert_eq!(rejections.rest("r.io", &bad), None);
        for damaged in ["", "{", "[]", "{\"salt\": 1}"] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(rejections.rest("r.io", &bad), None, "{damaged}");
            rejections.keep("r.io", &bad, HOUR);
            assert!(rejections.rest("r.io", &bad).is_some(), "{damaged}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        rejections.keep("r.io", &bad, HOUR);
        assert_eq!(rejections.rest("r.io", &bad), None);
    }

    #[test]
    fn they_are_so_many_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = (dir.path().join("rejected.json"), dir.path().join("auth.json"));
        std::fs::write(&file, "1").unwrap();
        let bad = credential(&file, None, "x");
        let full: BTreeMap<String, Timestamp> = (0..MOST)
            .map(|n| (n.to_string(), Timestamp::now() + HOUR + Duration::from_secs(n as u64)))
            .collect();
        let kept = Kept { salt: "s".into(), rejected: full };
        std::fs::write(&path, serde_json::to_vec(&kept).unwrap()).unwrap();
        let rejections = Rejections::at(Some(path.clone()));
        rejections.keep("r.io", &bad, HOUR);
        let kept = read(&path);
        assert_eq!((kept.rejected.len(), kept.rejected.contains_key("0")), (MOST, false));
        assert!(rejections.rest("r.io", &bad).is_some());
    }
}
