//! The labels that steer updates. See the table in `docs/architecture.md`.

/// The update policy; see [`super::Policy`].
pub const AUTOUPDATE: &str = "io.containers.autoupdate";
/// The credentials file for this container's image.
pub const AUTHFILE: &str = "io.containers.autoupdate.authfile";
/// Settings that Podman does not have. They count only where the image does not carry them.
pub const OWN_PREFIX: &str = "org.updaterd.";
