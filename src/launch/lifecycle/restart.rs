//! `--restart`: whether, and when, a container that has ended is started again. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The first pause before a restart; it doubles with each one that comes soon after.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// Who ran for so long begins anew.
const LONG: Duration = Duration::from_secs(10);

/// When a container that has ended by itself is started again (podman-run(1), `--restart`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Policy {
    #[default]
    No,
    /// Unless its exit status is 0; so many times at most.
    OnFailure(Option<u32>),
    Always,
    /// As always. What was stopped is stopped, here, with either.
    UnlessStopped,
}

/// What is no policy.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not \"no\", \"on-failure[:COUNT]\", \"always\" or \"unless-stopped\"")]
pub(crate) struct InvalidPolicy(String);

impl FromStr for Policy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPolicy(text.chars().take(60).collect());
        Ok(match text {
            "no" => Self::No,
            "on-failure" => Self::OnFailure(None),
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            _ => {
                let count = text.strip_prefix("on-failure:").ok_or_else(invalid)?;
                Self::OnFailure(Some(count.parse().map_err(|_| invalid())?))
            }
        })
    }
}

impl Policy {
    /// Without the count.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure(_) => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// How often a failure is tried again at most, where there is a limit.
    pub(crate) fn most(self) -> Option<u32> {
        if let Self::OnFailure(most) = self { most } else { None }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.most().map_or(Ok(()), |count| write!(f, ":{count}"))
    }
}

impl TryFrom<String> for Policy {
    type Error = InvalidPolicy;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Policy> for String {
    fn from(policy: Policy) -> Self {
        policy.to_string()
    }
}

/// The restarts of one container, since somebody started it.
#[derive(Debug)]
pub(crate) struct Restarts {
    policy: Policy,
    pub(crate) count: u32,
    pause: Duration,
}

impl Restarts {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, count: 0, pause: FIRST }
    }

    /// It ended by itself, with `status`, after `ran`: how long to wait before it is started again;
    /// `None` where it is not.
    pub(crate) fn after(&mut self, status: u8, ran: Duration) -> Option<Duration> {
        let again = match self.policy {
            Policy::No => false,
            Policy::OnFailure(most) => status != 0 && most.is_none_or(|most| self.count < most),
            Policy::Always | Policy::UnlessStopped => true,
        };
        if !again {
            return None;
        }
        self.count = self.count.saturating_add(1);
        if ran >= LONG {
            self.pause = FIRST;
        }
        let pause = self.pause;
        self.pause = (2 * pause).min(LONGEST);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn policies_are_podmans() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for text in ["", "never", "on-failure:", "on-failure:-1", "on-failure:x", "always:3"] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_failure_is_tried_again_so_many_times() {
        let mut restarts = Restarts::new(Policy::OnFailure(Some(2)));
        assert_eq!(restarts.after(0, Duration::ZERO), None);
        assert!(restarts.after(1, Duration::ZERO).is_some());
        assert!(restarts.after(137, Duration::ZERO).is_some());
        assert_eq!((restarts.after(1, Duration::ZERO), restarts.count), (None, 2));
        assert_eq!(Restarts::new(Policy::No).after(1, Duration::ZERO), None);
        assert!(Restarts::new(Policy::UnlessStopped).after(0, Duration::ZERO).is_some());
    }

    #[test]
    fn pauses_grow_until_it_runs_for_long() {
        let mut restarts = Restarts::new(Policy::Always);
        let mut last = Duration::ZERO;
        for _ in 0..9 {
            let pause = restarts.after(1, Duration::from_secs(1)).unwrap();
            assert!(pause > last, "{pause:?}");
            last = pause;
        }
        for _ in 0..9 {
            last = restarts.after(1, Duration::ZERO).unwrap();
        }
        assert_eq!(last, LONGEST);
        assert_eq!(restarts.after(1, LONG), Some(FIRST));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(on-failure:)?\\PC{0,20}") {
            let _ = text.parse::<Policy>();
        }
    }
}
