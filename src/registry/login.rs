//! Logging in: asking a registry whether it takes a name and a password, and keeping them in a
//! credentials file (containers-auth.json(5)).

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::auth::credentials::{self, Credential, Secret};
use super::auth::file::AuthFile;
use super::auth::program::Helpers;
use super::error::{Error, Origin};
use super::files;
use super::options::{Paths, Timeouts};
use super::registries_conf::Registries;
use super::request::Query;
use super::{Client, error};
use crate::disk::{self, Mode};

/// What can be wrong with a credentials file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("credentials file {}", path.display())]
    Read { path: PathBuf, source: error::FileFault },
    #[error("credentials file {} is not an auth.json: nothing is changed in it", .0.display())]
    Form(PathBuf),
    #[error(
        "docker-credential-{helper}, which {} names, has the login for {key}: use that, or take it out of credHelpers there",
        path.display()
    )]
    Helped { path: PathBuf, key: String, helper: String },
    #[error(
        "docker-credential-{helper}, which {} names in credential-helpers, is asked before credentials files: use that, or put \"containers-auth.json\" first there",
        path.display()
    )]
    Kept { path: PathBuf, helper: String },
    #[error("cannot write the credentials file {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Client {
    /// Whether the registry of `key` (`quay.io`, `quay.io/team`) takes these: by a request that
    /// needs nothing but them.
    ///
    /// # Errors
    /// Where it does not, or cannot be asked.
    pub async fn check(&self, key: &str, username: &str, password: &str) -> Result<(), Error> {
        let credential = Credential {
            username: username.to_owned(),
            secret: Secret::Password(password.to_owned()),
            origin: Origin { file: "the command line".into(), helper: None },
            stamp: None,
        };
        let asked = async {
            let root = self.root_of(key, credential)?;
            let query = Query {
                method: Method::GET,
                path: String::new(),
                headers: HeaderMap::new(),
                time: root.time,
                name: "login",
            };
            root.send(&query).await.map(drop)
        };
        asked.await.map_err(Error::from)
    }

    /// Whether what is kept in a credentials file counts before what others keep.
    ///
    /// # Errors
    /// Where registries.conf(5) has a program asked before, or instead.
    pub fn goes_by_files(&self) -> Result<(), Fault> {
        let keepers = &self.registries.keepers;
        match keepers.before_files() {
            Some(helper) => {
                Err(Fault::Kept { path: keepers.named_by.clone(), helper: helper.to_owned() })
            }
            None => Ok(()),
        }
    }
}

/// Where logins are kept: as the environment says, else below the runtime directory.
pub fn file(paths: &Paths) -> Option<PathBuf> {
    paths.authfile.clone().or_else(|| paths.authfiles.first().cloned())
}

/// The name and password for a registry, or a repository: from `authfile` alone where there is one.
///
/// # Errors
/// Where a file cannot be read, or a program that a file names fails.
pub async fn known(
    registry: &str,
    authfile: Option<&Path>,
    paths: &Paths,
) -> Result<Option<(String, Option<String>)>, Error> {
    // One that is not there yet holds nothing; asked for an image's sake, that is an error.
    if authfile.or(paths.authfile.as_deref()).is_some_and(|path| !path.exists()) {
        return Ok(None);
    }
    let helpers = Helpers::new(paths, &Timeouts::default());
    let keepers = Registries::load(paths)?.keepers;
    let found = credentials::find(registry, authfile, paths, &helpers, &keepers).await;
    Ok(found.map_err(Error::from)?.credential.map(|credential| match credential.secret {
        Secret::Password(password) => (credential.username, Some(password)),
        Secret::IdentityToken(_) => (credential.username, None),
    }))
}

/// The registries, and namespaces of them, that a credentials file has logins for; `None` where there is
/// no such file, or it is something else.
pub fn registries(path: &Path) -> Option<BTreeSet<String>> {
    let bytes = files::read(path).ok()??;
    Some(AuthFile::parse(path, &bytes).ok()?.registries())
}

/// Keeps a login, readable for its owner only; what else is in the file stays.
///
/// # Errors
/// Where the file cannot be read, is something else, cannot be written, or names a program that has the
/// logins for this registry: what the file has does not count then.
pub fn keep(path: &Path, key: &str, username: &str, password: &str) -> Result<(), Fault> {
    refuse_helped(path, key)?;
    let auth = STANDARD.encode(format!("{username}:{password}"));
    change(path, |auths| {
        auths.insert(key.to_owned(), json!({ "auth": auth }));
        true
    })
    .map(drop)
}

/// Forgets a login, or all; whether there was one.
///
/// # Errors
/// As for [`keep`].
pub fn forget(path: &Path, key: Option<&str>) -> Result<bool, Fault> {
    if !path.exists() {
        return Ok(false);
    }
    let forgotten = change(path, |auths| match key {
        Some(key) => auths.remove(key).is_some(),
        None => !std::mem::take(auths).is_empty(),
    })?;
    if let (Some(key), false) = (key, forgotten) {
        refuse_helped(path, key)?;
    }
    Ok(forgotten)
}

fn refuse_helped(path: &Path, key: &str) -> Result<(), Fault> {
    let at = |source| Fault::Read { path: path.to_owned(), source };
    let bytes = files::read(path).map_err(at)?.unwrap_or_default();
    // Of another form, it is told of by who changes it.
    let file = AuthFile::parse(path, &bytes).unwrap_or_default();
    match file.helper_for(key) {
        Some(helper) => {
            let (key, helper) = (key.to_owned(), helper.to_owned());
            Err(Fault::Helped { path: path.to_owned(), key, helper })
        }
        None => Ok(()),
    }
}

/// Replaces the file as a whole where `change` says that it changed something. One process at a
/// time: the directory is locked.
fn change(
    path: &Path,
    change: impl FnOnce(&mut Map<String, Value>) -> bool,
) -> Result<bool, Fault> {
    let failed = |source| Fault::Write { path: path.to_owned(), source };
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    disk::make_private(directory).map_err(failed)?;
    let locked = File::open(directory).map_err(failed)?;
    disk::lock(&locked, Mode::Exclusive).map_err(failed)?;
    let read = files::read(path);
    let bytes = read.map_err(|source| Fault::Read { path: path.to_owned(), source })?;
    let bytes = bytes.filter(|bytes| !bytes.iter().all(u8::is_ascii_whitespace));
    let form = || Fault::Form(path.to_owned());
    let mut file: Map<String, Value> = match bytes {
        // serde_json's own message could quote a secret.
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| form())?,
        None => Map::new(),
    };
    let auths = file.entry("auths").or_insert_with(|| Value::Object(Map::new()));
    if !change(auths.as_object_mut().ok_or_else(form)?) {
        return Ok(false);
    }
    let mut text = format!("{:#}", Value::Object(file));
    text.push('\n');
    disk::replace(path, text.as_bytes()).map_err(failed)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn what_else_is_in_the_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/auth.json");
        assert!(!forget(&path, Some("a")).unwrap());
        keep(&path, "quay.io", "alice", "p:w").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, r#"{"auths":{"a":{"auth":"eDp5"}},"credHelpers":{"b":"c"}}"#)
            .unwrap();
        keep(&path, "quay.io/team", "alice", "p:w").unwrap();
        let paths = Paths::default();
        let found = async |name: &str| known(name, Some(&path), &paths).await.unwrap();
        assert_eq!(found("quay.io/team/app").await, Some(("alice".into(), Some("p:w".into()))));
        assert_eq!(found("a/x").await, Some(("x".into(), Some("y".into()))));
        assert!(std::fs::read_to_string(&path).unwrap().contains("credHelpers"));
        assert!(forget(&path, Some("a")).unwrap() && !forget(&path, Some("a")).unwrap());
        assert_eq!(found("a/x").await, None);
        for refused in [keep(&path, "b/team", "x", "y").map(|()| true), forget(&path, Some("b"))] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.starts_with("docker-credential-c, which "), "{refused}");
        }
        assert!(forget(&path, None).unwrap());
        std::fs::write(&path, "[secret").unwrap();
        let refused = keep(&path, "a", "b", "c").unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[secret");
    }
}
