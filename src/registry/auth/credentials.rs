//! containers-auth.json(5): the credentials for an image.
//!
//! Read anew for every lookup: a login must count at once. Nothing secret is ever printed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::model::failure::excerpt;
use crate::registry::error::{FileFault, Problem};
use crate::registry::files;
use crate::registry::options::Paths;

/// A name and a password, or an identity token in place of the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) username: String,
    pub(crate) secret: Secret,
    /// Where they are from, for messages.
    pub(crate) file: PathBuf,
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

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    identitytoken: String,
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

/// The credentials for `name` (registry and repository), by the longest key that matches: from
/// `authfile` alone where one is given, which must exist then, else from the first of the usual
/// files that has any.
pub(crate) fn find(
    name: &str,
    authfile: Option<&Path>,
    paths: &Paths,
) -> Result<Option<Credential>, Problem> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| Problem::Credentials { path, source }
    };
    if let Some(path) = authfile.or(paths.authfile.as_deref()) {
        let missing = || files::fault(std::io::ErrorKind::NotFound.into());
        let bytes = files::read(path).and_then(|bytes| bytes.ok_or_else(missing));
        return bytes.and_then(|bytes| find_in(path, &bytes, name)).map_err(at(path));
    }
    for path in &paths.authfiles {
        let Some(bytes) = files::read(path).map_err(at(path))? else { continue };
        if let Some(credential) = find_in(path, &bytes, name).map_err(at(path))? {
            return Ok(Some(credential));
        }
    }
    Ok(None)
}

pub(in crate::registry) fn find_in(
    path: &Path,
    bytes: &[u8],
    name: &str,
) -> Result<Option<Credential>, FileFault> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // serde_json's own message can quote a value, which may be a secret: only the place is told.
    let file: AuthFile = serde_json::from_slice(bytes).map_err(|error| FileFault::Syntax {
        line: error.line(),
        what: format!("is not an auth.json (column {})", error.column()),
    })?;
    let mut best: Option<(usize, &String, &Entry)> = None;
    for (key, entry) in &file.auths {
        let length = match_length(key, name);
        if length > best.map_or(0, |(length, ..)| length) {
            best = Some((length, key, entry));
        }
    }
    let registry = name.split('/').next().unwrap_or(name);
    let helper = file.cred_helpers.iter().find(|(key, _)| match_length(key, registry) > 0);
    match (best, helper) {
        (Some((_, key, entry)), _) if !entry.is_empty() => entry.credential(key, path).map(Some),
        (_, Some((key, helper))) => Err(helped(key, helper)),
        // What `docker login` leaves behind where it puts the password into a store.
        (Some((_, key, _)), None) if !file.creds_store.is_empty() => {
            Err(helped(key, &file.creds_store))
        }
        _ => Ok(None),
    }
}

fn helped(key: &str, helper: &str) -> FileFault {
    FileFault::Helper { key: excerpt(key), helper: excerpt(helper) }
}

/// How much of `name` the key of an entry covers, in bytes; 0 where it does not match.
fn match_length(key: &str, name: &str) -> usize {
    let without_scheme = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let key = match without_scheme {
        // Docker's old form is a URL, of which only the host counts.
        Some(url) => url.split('/').next().unwrap_or(url),
        None => key.trim_end_matches('/'),
    };
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let hub = matches!(host, "index.docker.io" | "registry-1.docker.io");
    let key = match (hub, path) {
        (true, "" | "v1" | "v2") => "docker.io".to_owned(),
        (true, path) => format!("docker.io/{path}"),
        (false, _) => key.to_owned(),
    };
    match name.strip_prefix(&key) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => key.len(),
        _ => 0,
    }
}

impl Entry {
    /// `docker login` with a credential store leaves empty entries behind.
    fn is_empty(&self) -> bool {
        self.auth.is_empty() && self.identitytoken.is_empty()
    }

    fn credential(&self, key: &str, path: &Path) -> Result<Credential, FileFault> {
        let fault = || FileFault::Entry(excerpt(key));
        let (username, password) = if self.auth.is_empty() {
            (String::new(), String::new())
        } else {
            let decoded = STANDARD.decode(self.auth.trim()).map_err(|_| fault())?;
            let text = String::from_utf8(decoded).map_err(|_| fault())?;
            let (username, password) = text.split_once(':').ok_or_else(fault)?;
            // Old versions of Docker padded the text with zero bytes.
            (username.to_owned(), password.trim_end_matches('\0').to_owned())
        };
        let secret = if self.identitytoken.is_empty() {
            Secret::Password(password)
        } else {
            Secret::IdentityToken(self.identitytoken.clone())
        };
        Ok(Credential { username, secret, file: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(entries: &[(&str, &str)]) -> Vec<u8> {
        let auths: serde_json::Map<_, _> = entries
            .iter()
            .map(|(key, user)| {
                let auth = STANDARD.encode(format!("{user}:pass:word"));
                ((*key).to_owned(), serde_json::json!({ "auth": auth }))
            })
            .collect();
        serde_json::json!({ "auths": auths }).to_string().into_bytes()
    }

    fn find_in_file(bytes: &[u8], name: &str) -> Result<Option<Credential>, FileFault> {
        find_in(Path::new("/auth.json"), bytes, name)
    }

    fn user(entries: &[(&str, &str)], name: &str) -> Option<String> {
        find_in_file(&file(entries), name).unwrap().map(|credential| credential.username)
    }

    #[test]
    fn the_longest_namespace_wins() {
        let entries = [
            ("quay.io", "host"),
            ("quay.io/team", "team"),
            ("quay.io/team/app", "app"),
            ("quay.io/te", "no"),
        ];
        for (name, expected) in [
            ("quay.io/other", Some("host")),
            ("quay.io/team/x", Some("team")),
            ("quay.io/team/app", Some("app")),
            ("quay.io/team/app/more", Some("app")),
            ("quay.io.evil/team/app", None),
            ("quay.io:443/team/app", None),
        ] {
            assert_eq!(user(&entries, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn docker_hub_has_old_names() {
        for key in [
            "https://index.docker.io/v1/",
            "docker.io",
            "index.docker.io/v1",
            "https://registry-1.docker.io",
        ] {
            assert_eq!(
                user(&[(key, "u")], "docker.io/library/nginx").as_deref(),
                Some("u"),
                "{key}"
            );
        }
    }

    #[test]
    fn a_password_may_have_colons_and_padding() {
        let auth = STANDARD.encode("u:a:b\0\0");
        let file = serde_json::json!({"auths": {"r.io": {"auth": auth}}}).to_string();
        let found = find_in_file(file.as_bytes(), "r.io/a").unwrap().unwrap();
        assert!(found.secret == Secret::Password("a:b".into()));
    }

    #[test]
    fn identity_tokens_and_empty_entries() {
        let file = br#"{"auths": {"a.io": {"identitytoken": "t"}, "b.io": {}}, "credsStore": "x"}"#;
        let found = find_in_file(file, "a.io/x").unwrap().unwrap();
        assert!(found.secret == Secret::IdentityToken("t".into()));
        assert_eq!(found.basic(), None);
        assert!(matches!(
            find_in_file(file, "b.io/x"),
            Err(FileFault::Helper { key, helper }) if (&*key, &*helper) == ("b.io", "x")
        ));
        assert_eq!(find_in_file(file, "c.io/x").unwrap(), None);
        let without = br#"{"auths": {"b.io": {}}}"#;
        assert_eq!(find_in_file(without, "b.io/x").unwrap(), None);
    }

    #[test]
    fn a_helper_is_an_error_only_for_its_registry() {
        let file = br#"{"credHelpers": {"a.io": "ecr-login"}}"#;
        assert!(matches!(find_in_file(file, "a.io/x"), Err(FileFault::Helper { .. })));
        assert_eq!(find_in_file(file, "b.io/x").unwrap(), None);
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
            let problem = find("r.io/app", Some(&path), &Paths::default()).unwrap_err();
            let text = format!("{} {problem:?}", crate::model::failure::chain(&problem));
            assert!(text.contains("auth.json") && !text.contains("hunter2"), "{text}");
            assert!(!text.contains("aHVudGVyMg"), "{text}");
        }
        let found = find_in_file(&file(&[("r.io", "hunter2")]), "r.io/x").unwrap();
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn a_named_file_must_exist_and_is_the_only_one() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        std::fs::write(&second, file(&[("r.io", "second")])).unwrap();
        let paths = Paths { authfiles: vec![first.clone(), second], ..Paths::default() };
        assert!(find("r.io/x", Some(&first), &paths).is_err());
        assert_eq!(find("r.io/x", None, &paths).unwrap().unwrap().username, "second");
        std::fs::write(&first, file(&[("other.io", "first")])).unwrap();
        assert_eq!(find("r.io/x", Some(&first), &paths).unwrap(), None);
        assert_eq!(find("r.io/x", None, &paths).unwrap().unwrap().username, "second");
        assert_eq!(find("other.io/x", None, &paths).unwrap().unwrap().username, "first");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}", key in "[a-z./:]{0,20}", auth in "\\PC{0,40}") {
            let _ = find_in_file(text.as_bytes(), "r.io/app");
            let file = serde_json::json!({"auths": {key: {"auth": auth}}}).to_string();
            let _ = find_in_file(file.as_bytes(), "r.io/app");
        }
    }
}
