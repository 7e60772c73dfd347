//! What ran at one moment.

use std::collections::BTreeMap;
use std::time::Instant;

use super::document::{Container, Row};
use crate::model::{Failure, label};

/// What ran at one moment: labelled containers, and the infra containers of their pods.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) begun: Instant,
    pub(super) containers: Vec<Container>,
    /// Containers without the label.
    pub(super) others: Vec<Row>,
    /// What is wrong with those that cannot be read.
    pub(super) problems: Vec<Failure>,
    /// What containers were called last that a unit claimed, of an image name, here or at looks before:
    /// those that a restart makes anew are called so again.
    pub(super) names: BTreeMap<Claim, Vec<String>>,
}

/// The unit that a container's label claims, and the name of its image.
pub(super) type Claim = (String, String);

impl Row {
    pub(super) fn is_labelled(&self) -> bool {
        self.labels.contains_key(label::AUTOUPDATE)
    }
}

/// What containers outside pods are called.
pub(super) fn claims(containers: &[Container]) -> BTreeMap<Claim, Vec<String>> {
    let mut claims: BTreeMap<Claim, Vec<String>> = BTreeMap::new();
    for container in containers.iter().filter(|container| container.pod.is_empty()) {
        if let Some(unit) = container.config.labels.get(label::PODMAN_UNIT) {
            let claim = (unit.clone(), container.image_name.clone());
            claims.entry(claim).or_default().push(container.name.clone());
        }
    }
    claims
}

impl Look {
    pub(super) fn labelled(&self) -> impl Iterator<Item = &Container> {
        let label =
            |container: &&Container| container.config.labels.contains_key(label::AUTOUPDATE);
        self.containers.iter().filter(label)
    }
}
