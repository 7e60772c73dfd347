//! One credentials file (containers-auth.json(5), Docker's config.json and .dockercfg): what it says of
//! an image. Nothing secret is ever printed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::credentials::Secret;
use crate::model::failure::excerpt;
use crate::registry::error::FileFault;
use crate::registry::options::LEGACY;

/// Docker Hub, as Docker names it to the programs that keep its logins.
const HUB: &str = "https://index.docker.io/v1/";

/// A file that was read.
#[derive(Default)]
pub(in crate::registry) struct AuthFile {
    auths: BTreeMap<String, Entry>,
    helpers: BTreeMap<String, String>,
    store: String,
    /// Its keys are of registries alone, whatever follows the host.
    is_legacy: bool,
}

/// What a file says of an image.
#[derive(PartialEq, Eq)]
pub(in crate::registry) enum Found {
    Nothing,
    Login {
        username: String,
        secret: Secret,
    },
    /// That a program has it.
    Helper(Helper),
}

/// A program that is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct Helper {
    /// `docker-credential-NAME`
    pub(in crate::registry) name: String,
    /// What it is asked for.
    pub(in crate::registry) server: String,
    /// Whether the file says that there is a login for this registry; else it is a store for all, which
    /// may have none.
    pub(in crate::registry) is_for_it: bool,
}

/// As it is written. Go reads `null` as nothing, and some tools write it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    identitytoken: Option<String>,
}

impl AuthFile {
    pub(in crate::registry) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, FileFault> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let is_legacy = path.file_name().is_some_and(|name| name == LEGACY);
        let written = match is_legacy {
            true => Written { auths: Some(json(bytes)?), ..Written::default() },
            false => json(bytes)?,
        };
        let auths = written.auths.unwrap_or_default().into_iter();
        Ok(Self {
            auths: auths.map(|(key, entry)| (key, entry.unwrap_or_default())).collect(),
            helpers: written.cred_helpers.unwrap_or_default(),
            store: written.creds_store.unwrap_or_default(),
            is_legacy,
        })
    }

    /// What it says of `name` (registry and repository): a registry's helper first, then the longest
    /// key, then the store for all. The first two are in the order of containers/image, which does
    /// not know the third.
    pub(in crate::registry) fn look_up(&self, name: &str) -> Result<Found, FileFault> {
        let registry = name.split('/').next().unwrap_or(name);
        let helper = self.helper_of(registry);
        if let Some((key, helper)) = helper.filter(|(_, helper)| !helper.is_empty()) {
            return Ok(Found::Helper(Helper {
                name: helper.to_owned(),
                server: key.to_owned(),
                is_for_it: true,
            }));
        }
        let best = self.best(name);
        if let Some((key, entry)) = best.filter(|(_, entry)| !entry.is_empty()) {
            return entry.login(key);
        }
        // An empty name of a helper takes the registry out of the store.
        if self.store.is_empty() || helper.is_some() {
            return Ok(Found::Nothing);
        }
        // What `docker login` leaves behind where it puts the password into a store, under the same key.
        let marker = best.map(|(key, _)| key).filter(|key| self.covered(key) == registry);
        let usual = if registry == "docker.io" { HUB } else { registry };
        Ok(Found::Helper(Helper {
            name: self.store.clone(),
            server: marker.map_or(usual, String::as_str).to_owned(),
            is_for_it: best.is_some(),
        }))
    }

    /// The program that a login for `key` (a registry, or a namespace of it) is with, whatever else
    /// the file has for it.
    pub(in crate::registry) fn helper_for(&self, key: &str) -> Option<&str> {
        let key = self.covered(key);
        let (_, helper) = self.helper_of(key.split('/').next().unwrap_or(&key))?;
        Some(helper).filter(|helper| !helper.is_empty())
    }

    /// The registries, and namespaces of them, that it has logins for.
    pub(in crate::registry) fn registries(&self) -> BTreeSet<String> {
        self.auths.keys().chain(self.helpers.keys()).map(|key| self.covered(key)).collect()
    }

    fn helper_of(&self, registry: &str) -> Option<(&str, &str)> {
        let of_registry = |key: &str| self.covered(key) == registry;
        let exact = self.helpers.get_key_value(registry);
        let found = exact.or_else(|| self.helpers.iter().find(|(key, _)| of_registry(key)));
        found.map(|(key, helper)| (key.as_str(), helper.as_str()))
    }

    /// The entry whose key covers most of `name`; of several that cover the same, the one that is
    /// written as images name it.
    fn best(&self, name: &str) -> Option<(&String, &Entry)> {
        let rank = |key: &str| {
            let covered = self.covered(key);
            covers(&covered, name).then(|| (covered.len(), covered == key))
        };
        let ranked = self.auths.iter().filter_map(|entry| Some((rank(entry.0)?, entry)));
        // Of equals the first, which is why it goes from the end.
        let best = ranked.rev().max_by_key(|(rank, _)| *rank);
        best.map(|(_, entry)| entry)
    }

    /// What a key stands for, as images name it: hosts have no case, Docker's old keys are the URLs of
    /// an API, of which the host counts, and Docker Hub has several hosts.
    fn covered(&self, key: &str) -> String {
        let bare = without_scheme(key);
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let host = host.to_ascii_lowercase();
        let is_hub = matches!(host.as_str(), "index.docker.io" | "registry-1.docker.io");
        let host = if is_hub { "docker.io".to_owned() } else { host };
        let is_api = matches!(path, "v1/" | "v2/") || (is_hub && matches!(path, "v1" | "v2"));
        match path.trim_end_matches('/') {
            "" => host,
            _ if is_api || self.is_legacy || bare.len() < key.len() => host,
            path => format!("{host}/{path}"),
        }
    }
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FileFault> {
    // serde_json's own message can quote a value, which may be a secret: only the place is told.
    serde_json::from_slice(bytes).map_err(|error| FileFault::Syntax {
        line: error.line(),
        what: format!("is no credentials file (column {})", error.column()),
    })
}

fn without_scheme(key: &str) -> &str {
    let scheme = |scheme: &str| {
        let begins = key.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
        begins.then(|| &key[scheme.len()..])
    };
    scheme("https://").or_else(|| scheme("http://")).unwrap_or(key)
}

fn covers(covered: &str, name: &str) -> bool {
    let rest = name.strip_prefix(covered);
    !covered.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Entry {
    fn auth(&self) -> &str {
        self.auth.as_deref().unwrap_or_default()
    }

    fn token(&self) -> &str {
        self.identitytoken.as_deref().unwrap_or_default()
    }

    /// `docker login` with a credential store leaves empty entries behind.
    fn is_empty(&self) -> bool {
        self.auth().is_empty() && self.token().is_empty()
    }

    fn login(&self, key: &str) -> Result<Found, FileFault> {
        let fault = || FileFault::Entry(excerpt(key));
        let (username, password) = if self.auth().is_empty() {
            (String::new(), String::new())
        } else {
            let decoded = STANDARD.decode(self.auth().trim()).map_err(|_| fault())?;
            let text = String::from_utf8(decoded).map_err(|_| fault())?;
            let (username, password) = text.split_once(':').ok_or_else(fault)?;
            // Old versions of Docker padded the text with zero bytes.
            (username.to_owned(), password.trim_end_matches('\0').to_owned())
        };
        let secret = match self.token() {
            "" => Secret::Password(password),
            token => Secret::IdentityToken(token.to_owned()),
        };
        Ok(Found::Login { username, secret })
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
