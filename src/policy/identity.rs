//! For which names a signature counts (containers-policy.json(5), `signedIdentity`).

use serde::Deserialize;

use crate::model::Reference;
use crate::model::failure::excerpt;

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(super) enum Identity {
    MatchExact(Nothing),
    MatchRepoDigestOrExact(Nothing),
    MatchRepository(Nothing),
    ExactReference(ExactReference),
    ExactRepository(ExactRepository),
    #[serde(rename = "remapIdentity")]
    Remap(Remap),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExactReference {
    docker_reference: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExactRepository {
    docker_repository: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Remap {
    prefix: String,
    signed_prefix: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self::MatchRepoDigestOrExact(Nothing {})
    }
}

impl Identity {
    /// Whether a signature for the name `signed` counts for an image that is pulled as `reference`.
    ///
    /// # Errors
    /// Where it does not: in one line.
    pub(super) fn holds(&self, reference: &Reference, signed: &str) -> Result<(), String> {
        let name = reference.name();
        let holds = match self {
            Self::MatchExact(_) => exactly(reference).is_some_and(|own| own == signed),
            Self::MatchRepoDigestOrExact(_) => by_digest_or_exactly(reference, &name, signed),
            Self::MatchRepository(_) => repository(signed) == name,
            Self::ExactReference(exact) => exact.docker_reference == signed,
            Self::ExactRepository(exact) => exact.docker_repository == repository(signed),
            Self::Remap(remap) => match remap.of(reference) {
                Some(mapped) => by_digest_or_exactly(&mapped, &mapped.name(), signed),
                None => by_digest_or_exactly(reference, &name, signed),
            },
        };
        let why = || format!("it is for {:?}, not for {reference}", excerpt(signed));
        holds.then_some(()).ok_or_else(why)
    }
}

/// The name with its tag; nothing where an image is pulled by its digest.
fn exactly(reference: &Reference) -> Option<String> {
    match reference.digest() {
        Some(_) => None,
        None => Some(format!("{}:{}", reference.name(), reference.tag()?)),
    }
}

/// Who pulls by a digest has said which image it is: the repository has to be the same.
fn by_digest_or_exactly(reference: &Reference, name: &str, signed: &str) -> bool {
    match exactly(reference) {
        Some(own) => own == signed,
        None => repository(signed) == name,
    }
}

/// A name without tag and digest.
fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        // Not the port of a registry.
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

impl Remap {
    /// The image's name where it was signed; `None` where this is not about it.
    fn of(&self, reference: &Reference) -> Option<Reference> {
        let text = reference.to_string();
        let rest = text.strip_prefix(&self.prefix)?;
        let ends = rest.is_empty() || rest.starts_with(['/', ':', '@']);
        ends.then(|| format!("{}{rest}", self.signed_prefix).parse().ok()).flatten()
    }
}
