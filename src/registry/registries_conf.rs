//! containers-registries.conf(5), version 2: where an image is really fetched from, and whether
//! that registry is insecure or blocked.
//!
//! Mirrors are not used yet: the primary location is always asked. Short names and aliases have
//! no meaning here, since references are fully qualified.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::error::{FileFault, Problem, plain};
use super::files;
use super::options::Paths;
use crate::model::Reference;

/// The registries that the files configure, by prefix.
#[derive(Debug, Default)]
pub(super) struct Registries {
    by_prefix: BTreeMap<String, Registry>,
}

/// One `[[registry]]` table. Keys that do not concern this program are passed over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Registry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror: Vec<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    registry: Vec<Registry>,
    /// Version 1 had `[registries.search]` and its like.
    registries: Option<serde::de::IgnoredAny>,
}

/// Where an image is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// The registry, with its port: the name of credentials and certificates.
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) insecure: bool,
}

impl Location {
    /// The host, with its port, that serves the registry.
    pub(super) fn authority(&self) -> &str {
        // Docker Hub's registry does not live under the name that its images have.
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// Registry and repository: what credentials are looked up by.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl Registries {
    /// Reads the first main file that exists, then every drop-in over it.
    pub(super) fn load(paths: &Paths) -> Result<Self, Problem> {
        let mut registries = Self::default();
        let at = |path: &Path, source| Problem::RegistriesConf { path: path.to_owned(), source };
        for path in &paths.registries_conf {
            if let Some(bytes) = files::read(path).map_err(|fault| at(path, fault))? {
                registries.merge(&bytes).map_err(|fault| at(path, fault))?;
                break;
            }
        }
        for directory in &paths.registries_conf_dirs {
            let found = files::list(directory, &["conf"]).map_err(|fault| at(directory, fault))?;
            for path in &found {
                let bytes = files::read(path).map_err(|fault| at(path, fault))?;
                registries.merge(&bytes.unwrap_or_default()).map_err(|fault| at(path, fault))?;
            }
        }
        Ok(registries)
    }

    /// Adds the tables of one file; one of the same prefix replaces the earlier one.
    fn merge(&mut self, bytes: &[u8]) -> Result<(), FileFault> {
        let syntax = |line, what: &str| FileFault::Syntax { line, what: plain(what) };
        let text = std::str::from_utf8(bytes)
            .map_err(|error| syntax(line_of(bytes, error.valid_up_to()), "is not UTF-8"))?;
        let document: Document = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            syntax(line_of(bytes, at), error.message())
        })?;
        if document.registries.is_some() {
            let what =
                "[registries.…] is the old version 1 of this file; write [[registry]] tables";
            return Err(syntax(first_line_with(text, "[registries"), what));
        }
        for mut registry in document.registry {
            if registry.prefix.is_empty() {
                registry.prefix.clone_from(&registry.location);
            }
            let named = registry.prefix.trim_end_matches('/').to_owned();
            let wildcard = named.starts_with("*.");
            if named.is_empty() || named.contains("://") || registry.location.contains("://") {
                let what = "a [[registry]] needs \"prefix\" or \"location\", without http(s)://";
                return Err(syntax(first_line_with(text, "[[registry]]"), what));
            }
            if registry.location.is_empty() && !wildcard {
                registry.location.clone_from(&named);
            }
            if !registry.mirror.is_empty() {
                tracing::debug!(prefix = %named, "mirrors are not used yet, ignoring");
            }
            self.by_prefix.insert(named, registry);
        }
        Ok(())
    }

    /// Where `reference` is fetched from: by the longest prefix that matches it.
    pub(super) fn locate(
        &self,
        reference: &Reference,
        tls_verify: Option<bool>,
    ) -> Result<Location, Problem> {
        let name = reference.name();
        let found = self
            .by_prefix
            .iter()
            .filter_map(|(prefix, registry)| {
                Some((prefix, registry, rest(&name, reference, prefix)?))
            })
            .max_by_key(|(prefix, ..)| prefix.len());
        let (physical, insecure) = match found {
            None => (name, false),
            Some((prefix, registry, _)) if registry.blocked => {
                return Err(Problem::Blocked { prefix: prefix.clone() });
            }
            Some((_, registry, _)) if registry.location.is_empty() => (name, registry.insecure),
            Some((_, registry, rest)) => {
                (format!("{}{rest}", registry.location.trim_end_matches('/')), registry.insecure)
            }
        };
        // The grammar of a reference says whether the rewritten name can be asked for at all.
        let parsed: Result<Reference, _> = physical.parse();
        match parsed {
            Ok(parsed) => Ok(Location {
                registry: parsed.registry().to_owned(),
                repository: parsed.repository().to_owned(),
                insecure: tls_verify.map_or(insecure, |verify| !verify),
            }),
            Err(_) => Err(Problem::InvalidLocation { location: plain(&physical) }),
        }
    }
}

/// What follows `prefix` in `name`; `None` where it does not match. A prefix ends at a component's
/// end, at the tag or at the digest.
fn rest<'a>(name: &'a str, reference: &Reference, prefix: &str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let (domain, path) = domain.split_once('/').unwrap_or((domain, ""));
        let host = reference.registry();
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        let suits = |host: &str| host.len() > domain.len() && host.ends_with(domain);
        let length = if suits(host) {
            host.len()
        } else if suits(bare) {
            bare.len()
        } else {
            return None;
        };
        let rest = &name[length..];
        if path.is_empty() {
            return Some(rest);
        }
        return rest.strip_prefix('/')?.strip_prefix(path).filter(|rest| at_boundary(rest));
    }
    match name.strip_prefix(prefix) {
        Some(rest) if at_boundary(rest) => Some(rest),
        Some(_) => None,
        // A prefix may go on to one tag or digest.
        None => {
            let ended = reference.to_string() == prefix;
            ended.then_some("")
        }
    }
}

fn at_boundary(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['/', ':', '@'])
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count()
}

fn first_line_with(text: &str, what: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(what)).map_or(1, |line| line + 1)
}
