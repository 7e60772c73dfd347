//! From Podman's documents to containers, each with the unit that really owns it.

use std::path::PathBuf;

use super::creation;
use super::document;
use super::image::Facts;
use crate::model::{
    Container, ContainerId, EngineKind, Failure, FailureKind, ImageSource, InvalidReference,
    Policy, Reference, Scope, UnitName, cgroup, label,
};
use crate::update::port::Health;

/// Who owns a container, and who only claims to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Owner {
    pub(super) unit: Option<UnitName>,
    /// What its label says, where that is not the unit.
    pub(super) claimed: Option<String>,
}

/// The unit that the container's label claims, if the container's supervisor or main process is in
/// that unit's cgroup: an image can bring a label, and cannot bring a process into a cgroup.
fn owner_by(
    container: &document::Container,
    cgroup_of: impl Fn(u32) -> Option<String>,
    scope: Scope,
) -> Owner {
    let Some(claimed) = container.config.labels.get(label::PODMAN_UNIT) else {
        return Owner::default();
    };
    let processes = [container.state.conmon_pid, container.state.pid];
    let unit = processes
        .into_iter()
        .filter(|pid| *pid > 0)
        .filter_map(cgroup_of)
        .filter_map(|text| cgroup::path_in(&text).and_then(|path| cgroup::service(path, scope)))
        .find(|unit| unit.as_str() == claimed);
    let claimed = unit.is_none().then(|| claimed.clone());
    Owner { unit, claimed }
}

/// The owner of a container as it is now; that of its pod's infra container where that has one.
pub(super) fn owner(
    container: &document::Container,
    all: &[document::Container],
    scope: Scope,
) -> Owner {
    let cgroup_of = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
    // Its pod may have outlived it.
    if [container.state.conmon_pid, container.state.pid]
        .into_iter()
        .all(|pid| cgroup_of(pid).is_none())
    {
        return Owner::default();
    }
    let infra = all
        .iter()
        .find(|other| other.is_infra && !container.pod.is_empty() && other.pod == container.pod);
    let of_pod = infra.map(|infra| owner_by(infra, cgroup_of, scope));
    match of_pod.filter(|owner| owner.unit.is_some()) {
        Some(owner) => owner,
        None => owner_by(container, cgroup_of, scope),
    }
}

/// The container with the update label, as the pipeline knows it.
///
/// # Errors
/// Where its image has no name that a registry could be asked for.
pub(super) fn container(
    found: &document::Container,
    owner: Owner,
    image: &Facts,
) -> Result<Option<Container>, Failure> {
    let Some(policy) = found.config.labels.get(label::AUTOUPDATE) else { return Ok(None) };
    let failed = |why: String| {
        let message = format!("Podman's container {}: {why}", found.name);
        Failure::new(FailureKind::Configuration, message)
    };
    let id: ContainerId = found.id.parse().map_err(|error| failed(format!("{error}")))?;
    let reference: Reference =
        found.image_name.parse().map_err(|error: InvalidReference| failed(error.to_string()))?;
    // Podman shows a name of the image all the same, which the next start does not go by.
    let reference = match creation::names_id(&found.config.create_command, &found.image) {
        true => reference.pinned(&image.identity.target),
        false => reference,
    };
    // A label that the image carries may be the image's doing.
    let own = |name: &str| {
        let own = found.config.labels.get(name);
        own.filter(|value| !value.is_empty() && !image.labels.contains_key(name))
    };
    Ok(Some(Container {
        id,
        name: found.name.clone(),
        engine: EngineKind::Podman,
        unit: owner.unit,
        claimed: owner.claimed,
        guest_of: None,
        policy: Policy::from_label(policy),
        group: own(label::GROUP).cloned(),
        source: ImageSource { reference, authfile: own(label::AUTHFILE).map(PathBuf::from) },
        image: image.identity.clone(),
        digests: image.digests.clone(),
        created: found.created,
    }))
}

/// What its health checks say; `None` where nobody checks.
pub(super) fn health(found: &document::Container) -> Option<Health> {
    use crate::model::HealthState::{Healthy, Starting, Unhealthy};
    use std::time::Duration;
    let state = match found.state.health.status.as_str() {
        "healthy" => Healthy,
        "unhealthy" => Unhealthy,
        "starting" => Starting,
        _ => return None,
    };
    let check = found.config.healthcheck.clone().unwrap_or_default();
    // Without an interval, it is checked by hand only.
    if check.interval == 0 {
        return None;
    }
    let once =
        Duration::from_nanos(check.interval).saturating_add(Duration::from_nanos(check.timeout));
    let patience = Duration::from_nanos(check.start_period)
        .saturating_add(once.saturating_mul(check.retries.max(1)));
    Some(Health { state, failing_streak: found.state.health.failing_streak, patience })
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
