//! The labels that steer updates. See the table in `docs/architecture.md`.

/// The update policy; see [`super::Policy`].
pub const AUTOUPDATE: &str = "io.containers.autoupdate";
/// The credentials file for this container's image.
pub const AUTHFILE: &str = "io.containers.autoupdate.authfile";
/// The unit that owns a container of Podman's, as its label claims. Believed only where the unit's
/// cgroup holds the container.
pub const PODMAN_UNIT: &str = "PODMAN_SYSTEMD_UNIT";
/// The group that the unit is updated with; see [`super::Group`]. Counts only where the image does not
/// carry it.
pub const GROUP: &str = "org.updaterd.group";
