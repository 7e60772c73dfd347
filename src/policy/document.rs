//! The file, strictly: what is not understood may have been meant to keep something out.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de::IgnoredAny};

use super::MAX_FILE;
use super::identity::Identity;
use super::signature::Key;
use crate::disk;
use crate::model::Reference;

/// The transport of images from registries.
const DOCKER: &str = "docker";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    default: Requirements,
    #[serde(default)]
    transports: Unique<Unique<Requirements>>,
}

/// All of them have to be met. Never empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<Requirement>")]
pub(super) struct Requirements(Vec<Requirement>);

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(super) enum Requirement {
    InsecureAcceptAnything(Nothing),
    Reject(Nothing),
    SignedBy(Unread),
    SigstoreSigned(SigstoreSigned),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// What it says does not matter: nobody is let in by it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Unread {}

/// A signature that is asked for: whose, and for which names.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct SigstoreSigned {
    source: Source,
    unsupported: Option<String>,
    identity: Identity,
}

/// Where its keys are from; any of them will do.
#[derive(Debug, Clone)]
enum Source {
    Files(Vec<PathBuf>),
    Data(Vec<Vec<u8>>),
    /// A certificate takes the place of a key.
    Certificates,
}

/// `sigstoreSigned` as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<String>,
    key_datas: Option<Vec<String>>,
    fulcio: Option<IgnoredAny>,
    pki: Option<IgnoredAny>,
    rekor_public_key_path: Option<IgnoredAny>,
    rekor_public_key_paths: Option<IgnoredAny>,
    rekor_public_key_data: Option<IgnoredAny>,
    rekor_public_key_datas: Option<IgnoredAny>,
    #[serde(default)]
    signed_identity: Identity,
}

impl Document {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The most specific scope that the image is in, and what it asks for; `""` is the default.
    pub(super) fn of(&self, reference: &Reference) -> (&str, &Requirements) {
        let Some(docker) = self.transports.0.get(DOCKER) else { return ("", &self.default) };
        let found = scopes(reference).into_iter().find_map(|scope| docker.0.get_key_value(&scope));
        found.map_or(("", &self.default), |(scope, requirements)| match scope.as_str() {
            "" => (DOCKER, requirements),
            scope => (scope, requirements),
        })
    }
}

/// The scopes that an image is in, the most specific first (containers-policy.json(5), `docker:`): its
/// own name, the repository, what is above it, the host, wildcards of its domain, all of the transport.
fn scopes(reference: &Reference) -> Vec<String> {
    let name = reference.name();
    let own = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{name}@{digest}"),
        (None, tag) => format!("{name}:{}", tag.unwrap_or("latest")),
    };
    let mut scopes = vec![own, name.clone()];
    let mut rest = name.as_str();
    while let Some((above, _)) = rest.rsplit_once('/') {
        scopes.push(above.to_owned());
        rest = above;
    }
    let mut host = rest.split_once(':').map_or(rest, |(host, _)| host);
    while let Some((_, domain)) = host.split_once('.') {
        scopes.push(format!("*.{domain}"));
        host = domain;
    }
    scopes.push(String::new());
    scopes
}

impl Requirements {
    pub(super) fn all(&self) -> &[Requirement] {
        &self.0
    }
}

impl TryFrom<Vec<Requirement>> for Requirements {
    type Error = &'static str;

    fn try_from(all: Vec<Requirement>) -> Result<Self, Self::Error> {
        if all.is_empty() {
            return Err(
                "a list of requirements is empty: use \"reject\" or \"insecureAcceptAnything\"",
            );
        }
        Ok(Self(all))
    }
}

impl SigstoreSigned {
    /// What is asked for that nobody here can verify.
    pub(super) fn unsupported(&self) -> Option<&str> {
        self.unsupported.as_deref()
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// # Errors
    /// Where one of them cannot be read or is none: in one line.
    pub(super) fn keys(&self) -> Result<Vec<Key>, String> {
        match &self.source {
            Source::Files(paths) => paths.iter().map(|path| key_of(path)).collect(),
            Source::Data(all) => {
                let bad = |why| format!("has a key that cannot be used: {why}");
                all.iter().map(|pem| Key::from_pem(pem).map_err(bad)).collect()
            }
            Source::Certificates => Ok(Vec::new()),
        }
    }
}

fn key_of(path: &Path) -> Result<Key, String> {
    let bad = |why: String| format!("has the key {}, which cannot be used: {why}", path.display());
    let bytes = disk::read(path, MAX_FILE).map_err(|error| bad(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| bad("it is not there".to_owned()))?;
    Key::from_pem(&bytes).map_err(bad)
}

impl TryFrom<Written> for SigstoreSigned {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let rekor = written.rekor_public_key_path.is_some()
            || written.rekor_public_key_paths.is_some()
            || written.rekor_public_key_data.is_some()
            || written.rekor_public_key_datas.is_some();
        let unsupported = match (&written.fulcio, &written.pki) {
            (Some(_), _) => Some("\"fulcio\""),
            (_, Some(_)) => Some("\"pki\""),
            _ => rekor.then_some("a Rekor key"),
        };
        let certificates =
            (written.fulcio.is_some() || written.pki.is_some()).then_some(Source::Certificates);
        let data = |texts: Vec<String>| -> Result<Source, String> {
            let decoded = texts.iter().map(|text| BASE64_STANDARD.decode(text));
            let decoded: Result<_, _> = decoded.collect();
            decoded.map(Source::Data).map_err(|error| format!("keyData is no base64: {error}"))
        };
        let mut sources = [
            written.key_path.map(|path| Source::Files(vec![path])),
            written.key_paths.map(Source::Files),
            written.key_data.map(|text| data(vec![text])).transpose()?,
            written.key_datas.map(data).transpose()?,
            certificates,
        ]
        .into_iter()
        .flatten();
        let (Some(source), None) = (sources.next(), sources.next()) else {
            return Err(
                "sigstoreSigned takes exactly one of keyPath, keyPaths, keyData, keyDatas, \
                fulcio and pki"
                    .to_owned(),
            );
        };
        if matches!(&source, Source::Files(none) if none.is_empty())
            || matches!(&source, Source::Data(none) if none.is_empty())
        {
            return Err("sigstoreSigned names no key".to_owned());
        }
        let unsupported = unsupported.map(str::to_owned);
        Ok(Self { source, unsupported, identity: written.signed_identity })
    }
}

/// An object that has no key twice: which one counts would be a guess.
#[derive(Debug, Clone)]
struct Unique<T>(BTreeMap<String, T>);

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Once<T> {
            type Value = Unique<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<T>, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, T>()? {
                    if all.insert(key.clone(), value).is_some() {
                        return Err(de::Error::custom(format!("the key {key:?} is there twice")));
                    }
                }
                Ok(Unique(all))
            }
        }
        deserializer.deserialize_map(Once(PhantomData))
    }
}
