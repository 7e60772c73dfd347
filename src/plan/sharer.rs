//! Who follows a tag unasked: where an engine has no bindings, a tag that is kept up to date takes
//! everybody along who uses it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::decide::Input;
use crate::model::{EngineKind, Policy, Reference};

/// A container on a tag that others have kept up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharer {
    pub container: String,
    pub engine: EngineKind,
    pub reference: Reference,
    pub kind: Sharing,
}

/// Why it is not kept up to date itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Its policy says that it is to stay as it is.
    Disabled,
    /// It has no update label.
    Unlabelled,
}

impl fmt::Display for Sharer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { container, reference, kind, .. } = self;
        let why = match kind {
            Sharing::Disabled => "is disabled",
            Sharing::Unlabelled => "has no update label",
        };
        write!(
            f,
            "container {container} {why}, and gets at its next start what {reference} stands for \
             then, which others have kept up to date: give it a tag of its own"
        )
    }
}

/// Those that an operator should know of.
pub(super) fn sharers(input: &Input<'_>) -> Vec<Sharer> {
    let followed = |engine: EngineKind, reference: &Reference| {
        let follows = |other: &&crate::model::Container| {
            other.engine == engine
                && &other.source.reference == reference
                && other.policy == Ok(Policy::Registry)
                && other.unit.is_some()
        };
        !engine.has_bindings() && input.containers.iter().any(|other| follows(&other))
    };
    let disabled =
        input.containers.iter().filter(|container| container.policy == Ok(Policy::Disabled)).map(
            |container| Sharer {
                container: container.name.clone(),
                engine: container.engine,
                reference: container.source.reference.clone(),
                kind: Sharing::Disabled,
            },
        );
    let unlabelled = input.bystanders.iter().map(|bystander| Sharer {
        container: bystander.name.clone(),
        engine: bystander.engine,
        reference: bystander.reference.clone(),
        kind: Sharing::Unlabelled,
    });
    let all = disabled.chain(unlabelled);
    all.filter(|sharer| followed(sharer.engine, &sharer.reference)).collect()
}
