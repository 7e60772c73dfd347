//! Mirrors of containers-registries.conf(5), "Remapping and mirroring registries": who is asked before the
//! registry itself, and for what.

use serde::Deserialize;

use super::Client;
use super::error::Problem;
use super::registries_conf::Sources;
use super::request::Repository;
use crate::model::failure::chain;
use crate::model::{ImageSource, Reference};

/// One `[[registry.mirror]]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Mirror {
    pub(super) location: String,
    #[serde(default)]
    pub(super) insecure: bool,
    pull_from_mirror: Option<PullFromMirror>,
}

/// For which images a mirror is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFromMirror {
    All,
    DigestOnly,
    TagOnly,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// What a tag points at.
    Tag,
    /// A manifest or a blob by its digest, for an image that is wanted by its tag.
    DigestOfTag,
    /// The same, for one that is wanted by its digest.
    Digest,
}

impl Asked {
    /// A manifest or a blob, by its digest.
    pub(super) fn content(reference: &Reference) -> Self {
        if reference.digest().is_some() { Self::Digest } else { Self::DigestOfTag }
    }
}

impl Mirror {
    /// Why it cannot be one of a registry; `digest_only`: its `mirror-by-digest-only`.
    pub(super) fn fault(&self, digest_only: bool) -> Option<&'static str> {
        if self.location.trim_end_matches('/').is_empty() || self.location.contains("://") {
            return Some("a [[registry.mirror]] needs a \"location\", without http(s)://");
        }
        let both = digest_only && self.pull_from_mirror.is_some();
        both.then_some("\"mirror-by-digest-only\" and \"pull-from-mirror\" exclude each other")
    }

    /// Whether it is asked for this. Content that is wanted by its digest is what it is, whoever sends it:
    /// once the registry itself has said which it is, a mirror for digests only has part in it as well.
    pub(super) fn serves(&self, asked: Asked, digest_only: bool) -> bool {
        let own = self.pull_from_mirror.unwrap_or(match digest_only {
            true => PullFromMirror::DigestOnly,
            false => PullFromMirror::All,
        });
        match asked {
            Asked::DigestOfTag => true,
            Asked::Tag => own != PullFromMirror::DigestOnly,
            Asked::Digest => own != PullFromMirror::TagOnly,
        }
    }
}

impl Client {
    /// Asks the mirrors for what is `asked` of an image, and then the registry itself: the first that
    /// answers counts.
    ///
    /// # Errors
    /// The registry's own, with what its mirrors said before.
    pub(super) async fn ask_in_turn<T>(
        &self,
        source: &ImageSource,
        asked: Asked,
        ask: impl AsyncFn(&Repository<'_>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let Sources { mirrors, primary } = self.sources(source, asked)?;
        let mut failed = Vec::new();
        for mirror in mirrors {
            let name = mirror.registry.clone();
            let answered = async { ask(&self.repository(source, mirror).await?).await };
            match answered.await {
                Ok(answer) => return Ok(answer),
                Err(problem) => failed.push(format!("the mirror {name} ({})", chain(&problem))),
            }
        }
        let answered = async { ask(&self.repository(source, primary).await?).await };
        answered.await.map_err(|problem| match failed.is_empty() {
            true => problem,
            false => {
                let mirrors = failed.join(", ");
                Problem::AfterMirrors { mirrors, source: Box::new(problem) }
            }
        })
    }
}
