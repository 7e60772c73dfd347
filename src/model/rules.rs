//! When a unit may be updated, as somebody wrote it.

use std::time::Duration;

use super::{Mode, Window};

/// What one place says, a host's configuration or a unit's; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    pub mode: Option<Mode>,
    /// The windows in which units are restarted; none is at any time.
    pub windows: Option<Vec<Window>>,
    /// How long an image is to be known on this host before a unit gets it.
    pub cooldown: Option<Duration>,
}

impl Rules {
    /// These where they say something, `other` where they do not.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        Self {
            mode: self.mode.or(other.mode),
            windows: self.windows.as_ref().or(other.windows.as_ref()).cloned(),
            cooldown: self.cooldown.or(other.cooldown),
        }
    }
}
