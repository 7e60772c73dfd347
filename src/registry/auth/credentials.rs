//! The credentials for an image, from the files of containers-auth.json(5) and the programs that these
//! name.
//!
//! Files are read anew for every lookup: a login must count at once. Nothing secret is ever printed.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::slice;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::file::{AuthFile, Found, Helper};
use super::keepers::{Keeper, Keepers};
use super::program::Helpers;
use super::rejections::Stamp;
use crate::model::failure::excerpt;
use crate::registry::error::{HelperFault, Origin, Problem};
use crate::registry::files;
use crate::registry::options::Paths;

/// A name and a password, or an identity token in place of the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) username: String,
    pub(crate) secret: Secret,
    pub(crate) origin: Origin,
    /// The file as it was read; `None` for what somebody typed.
    pub(crate) stamp: Option<Stamp>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Password(String),
    /// An OAuth2 refresh token, which `docker login` leaves for some registries.
    IdentityToken(String),
}

/// What two equal credentials have in common, for tables: no secret can be read from it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

/// What a search found.
#[derive(Debug)]
pub(crate) struct Searched {
    /// `None`: nobody is asked as anybody.
    pub(crate) credential: Option<Credential>,
    /// Why there may be none: a program that keeps logins gave none. It matters where the registry asks
    /// for one.
    pub(crate) missing: Option<Problem>,
}

impl Credential {
    /// The value of an `Authorization` header of the Basic scheme (RFC 7617).
    pub(crate) fn basic(&self) -> Option<String> {
        match &self.secret {
            Secret::Password(password) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{}:{password}", self.username))))
            }
            Secret::IdentityToken(_) => None,
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let (kind, secret) = match &self.secret {
            Secret::Password(password) => ("password", password),
            Secret::IdentityToken(token) => ("token", token),
        };
        let hash = Sha256::new()
            .chain_update(kind)
            .chain_update((self.username.len() as u64).to_be_bytes())
            .chain_update(&self.username)
            .chain_update(secret);
        Fingerprint(hash.finalize().into())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// The credentials for `name` (registry and repository): from the first of those who keep them that has any.
/// In place of the usual files, `authfile` alone is read where one is given, which must exist then.
///
/// A program that is to have them for this registry, and fails, is an error; a store for all
/// registries that fails is none, since the image may be everybody's.
pub(crate) async fn find(
    name: &str,
    authfile: Option<&Path>,
    paths: &Paths,
    helpers: &Helpers,
    keepers: &Keepers,
) -> Result<Searched, Problem> {
    let mut missing = None;
    for keeper in &keepers.order {
        let searched = match keeper {
            Keeper::Files => in_files(name, authfile, paths, helpers).await?,
            Keeper::Program(program) => {
                let server = name.split('/').next().unwrap_or(name).to_owned();
                let helper = Helper { name: program.clone(), server, is_for_it: false };
                asked(&helper, &keepers.named_by, helpers).await?
            }
        };
        if searched.credential.is_some() {
            return Ok(searched);
        }
        missing = missing.or(searched.missing);
    }
    Ok(Searched { credential: None, missing })
}

async fn in_files(
    name: &str,
    authfile: Option<&Path>,
    paths: &Paths,
    helpers: &Helpers,
) -> Result<Searched, Problem> {
    let named = authfile.or(paths.authfile.as_deref()).map(Path::to_owned);
    let files = named.as_ref().map_or(paths.authfiles.as_slice(), slice::from_ref);
    let mut missing = None;
    for path in files {
        // Before it is read: what changes meanwhile is another file.
        let stamp = stamp(path);
        let searched = match look_up(path, named.is_some(), name)? {
            Found::Nothing => continue,
            Found::Login { username, secret } => {
                let origin = Origin { file: path.clone(), helper: None };
                let credential = Some(Credential { username, secret, origin, stamp });
                return Ok(Searched { credential, missing: None });
            }
            Found::Helper(helper) => asked(&helper, path, helpers).await?,
        };
        if searched.credential.is_some() {
            return Ok(searched);
        }
        missing = missing.or(searched.missing);
    }
    Ok(Searched { credential: None, missing })
}

/// What a program has that `file` names.
async fn asked(helper: &Helper, file: &Path, helpers: &Helpers) -> Result<Searched, Problem> {
    let stamp = stamp(file);
    let failed = |source| of_helper(helper, file, source);
    let missing = match helpers.ask(&helper.name, &helper.server).await {
        Ok(Some((username, secret))) => {
            let origin = Origin { file: file.to_owned(), helper: Some(helper.name.clone()) };
            let credential = Some(Credential { username, secret, origin, stamp });
            return Ok(Searched { credential, missing: None });
        }
        Err(fault) if helper.is_for_it => return Err(failed(fault)),
        Ok(None) => helper.is_for_it.then(|| failed(HelperFault::NotFound)),
        Err(fault) => Some(failed(fault)),
    };
    Ok(Searched { credential: None, missing })
}

fn stamp(file: &Path) -> Option<Stamp> {
    std::fs::metadata(file).ok().as_ref().map(Stamp::of)
}

fn look_up(path: &Path, must_exist: bool, name: &str) -> Result<Found, Problem> {
    let at = |source| Problem::Credentials { path: path.to_owned(), source };
    match files::read(path).map_err(at)? {
        Some(bytes) => {
            AuthFile::parse(path, &bytes).and_then(|file| file.look_up(name)).map_err(at)
        }
        None if must_exist => Err(at(files::fault(ErrorKind::NotFound.into()))),
        None => Ok(Found::Nothing),
    }
}

fn of_helper(helper: &Helper, file: &Path, source: HelperFault) -> Problem {
    let (helper, server) = (excerpt(&helper.name), excerpt(&helper.server));
    Problem::Helper { helper, server, file: file.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::registry::Timeouts;

    /// `NAME:hunter2` for a registry.
    fn file(registry: &str, name: &str) -> String {
        let auth = STANDARD.encode(format!("{name}:hunter2"));
        serde_json::json!({ "auths": { registry: { "auth": auth } } }).to_string()
    }

    fn found(name: &str, authfile: Option<&Path>, paths: &Paths) -> Result<Searched, Problem> {
        let helpers = Helpers::new(paths, &Timeouts::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(find(name, authfile, paths, &helpers, &Keepers::default()))
    }

    fn user(name: &str, paths: &Paths) -> Option<String> {
        Some(found(name, None, paths).unwrap().credential?.username)
    }

    #[test]
    fn errors_name_the_file_and_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json");
        for broken in [
            r#"{"auths": {"r.io": {"auth": "aHVudGVyMg=="}}}"#,
            r#"{"auths": {"r.io": "hunter2"}}"#,
            r#"{"auths": "hunter2"}"#,
            r#"{"auths": {"r.io": {"auth": "hunter2"}}}"#,
        ] {
            std::fs::write(&path, broken).unwrap();
            let problem = found("r.io/app", Some(&path), &Paths::default()).unwrap_err();
            let text = format!("{} {problem:?}", crate::model::failure::chain(&problem));
            assert!(text.contains("auth.json") && !text.contains("hunter2"), "{text}");
            assert!(!text.contains("aHVudGVyMg"), "{text}");
        }
        std::fs::write(&path, file("r.io", "hunter2")).unwrap();
        let found = found("r.io/x", Some(&path), &Paths::default()).unwrap();
        assert!(found.credential.is_some() && !format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn an_identity_token_is_no_password() {
        let origin = Origin { file: "/auth.json".into(), helper: None };
        let secret = Secret::IdentityToken("t".into());
        assert_eq!(
            Credential { username: String::new(), secret, origin, stamp: None }.basic(),
            None
        );
    }

    #[test]
    fn a_named_file_must_exist_and_is_the_only_one() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        std::fs::write(&second, file("r.io", "second")).unwrap();
        let paths = Paths { authfiles: vec![first.clone(), second], ..Paths::default() };
        assert!(found("r.io/x", Some(&first), &paths).is_err());
        assert_eq!(user("r.io/x", &paths).as_deref(), Some("second"));
        std::fs::write(&first, file("other.io", "first")).unwrap();
        assert_eq!(found("r.io/x", Some(&first), &paths).unwrap().credential, None);
        assert_eq!(user("r.io/x", &paths).as_deref(), Some("second"));
        assert_eq!(user("other.io/x", &paths).as_deref(), Some("first"));
    }

    #[test]
    fn a_store_that_fails_matters_where_a_login_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        let paths = Paths { authfiles: vec![first.clone(), second.clone()], ..Paths::default() };
        std::fs::write(&first, r#"{"credsStore": "none"}"#).unwrap();
        let searched = found("r.io/x", None, &paths).unwrap();
        assert_eq!(searched.credential, None);
        let missing = crate::model::failure::chain(&searched.missing.unwrap());
        assert!(missing.starts_with("docker-credential-none, which /"), "{missing}");
        assert!(missing.contains("/1 names for r.io: there is no such program in "), "{missing}");
        std::fs::write(&second, file("r.io", "second")).unwrap();
        assert_eq!(user("r.io/x", &paths).as_deref(), Some("second"));
        // What is said to be there and is not, is not looked for elsewhere.
        std::fs::write(&first, r#"{"credHelpers": {"r.io": "none"}}"#).unwrap();
        assert!(matches!(found("r.io/x", None, &paths), Err(Problem::Helper { .. })));
        assert_eq!(user("other.io/x", &paths), None);
    }

    #[tokio::test]
    async fn keepers_are_asked_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let program = |name: &str, script: &str| {
            let path = path(&format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        };
        let says = |name: &str| format!(r#"echo '{{"Username":"{name}","Secret":"s"}}'"#);
        program("one", &says("one"));
        program("none", "echo credentials not found in it; exit 1");
        program("bad", "exit 7");
        std::fs::write(path("auth.json"), file("r.io", "file")).unwrap();
        let paths = Paths {
            authfiles: vec![path("auth.json")],
            programs: vec![directory.path().to_owned()],
            ..Paths::default()
        };
        let conf = Path::new("/etc/containers/registries.conf");
        let found = async |order: &[&str], name: &str| {
            let helpers = Helpers::new(&paths, &Timeouts::default());
            let order = order.iter().map(|name| (*name).to_owned()).collect();
            find(name, None, &paths, &helpers, &Keepers::listed(order, conf)).await.unwrap()
        };
        const FILES: &str = "containers-auth.json";
        for (order, name, user) in [
            (&[FILES, "one"][..], "r.io/x", Some("file")),
            (&[FILES, "one"], "q.io/x", Some("one")),
            (&["one", FILES], "r.io/x", Some("one")),
            (&["none", "bad", FILES], "r.io/x", Some("file")),
            (&["none"], "r.io/x", None),
            (&[], "r.io/x", Some("file")),
        ] {
            let searched = found(order, name).await;
            let username = searched.credential.map(|credential| credential.username);
            assert_eq!(username.as_deref(), user, "{order:?} {name}");
        }
        let searched = found(&["bad"], "q.io/x").await;
        let missing = crate::model::failure::chain(&searched.missing.unwrap());
        let begins =
            "docker-credential-bad, which /etc/containers/registries.conf names for q.io: ";
        assert!(missing.starts_with(begins), "{missing}");
        assert!(found(&["none"], "q.io/x").await.missing.is_none());
    }
}
