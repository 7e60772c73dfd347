//! For whom: the host, or one user.

/// The host's instance works with the system's manager, a user's with that user's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    System,
    User,
}
