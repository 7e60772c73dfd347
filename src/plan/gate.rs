//! What keeps a unit from an image that is there for it: all of it must be out of the way before the
//! unit is restarted. Pulling the image waits for little of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::approval::{Approval, Approvals};
use super::hold::Holds;
use super::seen::Seen;
use crate::model::failure::excerpt;
use crate::model::{Container, Digest, Mode, Reference, UnitName, Window};

/// One thing that keeps a unit from an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "kebab-case")]
pub enum Gate {
    /// An operator said so.
    Hold {
        since: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// No maintenance window of its is open.
    Window {
        /// `None` where none opens any more.
        opens: Option<Timestamp>,
    },
    /// This host has not known the image for long enough.
    Cooldown { until: Timestamp },
    /// Nobody has approved the image for the unit.
    Approval,
    /// It gets its images when it is named.
    Mode { mode: Mode },
}

impl Gate {
    /// When it is out of the way by itself.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Hold { until, .. } => *until,
            Self::Window { opens } => *opens,
            Self::Cooldown { until } => Some(*until),
            Self::Approval | Self::Mode { .. } => None,
        }
    }

    /// Whether the image is not even pulled.
    fn forbids_pulls(&self) -> bool {
        matches!(self, Self::Mode { mode } if !mode.downloads())
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold { since, until, reason } => {
                match until {
                    Some(until) => write!(f, "held until {until:.0}")?,
                    None => write!(f, "held since {since:.0}")?,
                }
                match reason.as_str() {
                    "" => Ok(()),
                    reason => write!(f, " ({})", excerpt(reason)),
                }
            }
            Self::Window { opens: Some(opens) } => write!(f, "its window opens at {opens:.0}"),
            Self::Window { opens: None } => f.write_str("no window of its opens any more"),
            Self::Cooldown { until } => write!(f, "too young until {until:.0}"),
            Self::Approval => f.write_str("nobody has approved it"),
            Self::Mode { mode } => write!(f, "its mode is \"{mode}\""),
        }
    }
}

/// Several in one line.
pub fn describe(gates: &[Gate]) -> String {
    gates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether the image is pulled meanwhile.
pub fn allow_pulls(gates: &[Gate]) -> bool {
    !gates.iter().any(Gate::forbids_pulls)
}

/// When the last of them is out of the way by itself; `None` where one never is.
pub fn until(gates: &[Gate]) -> Option<Timestamp> {
    let all: Option<Vec<Timestamp>> = gates.iter().map(Gate::until).collect();
    all?.into_iter().max()
}

/// What is written about a unit, made ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitRules {
    pub mode: Mode,
    /// Each with its zone, `None` where the host does not know that: such a window never opens.
    pub windows: Vec<(Window, Option<TimeZone>)>,
    pub cooldown: Duration,
}

/// All that keeps units from images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gates {
    pub holds: Holds,
    pub approvals: Approvals,
    pub seen: Seen,
    /// Of each unit that has any.
    pub rules: BTreeMap<UnitName, UnitRules>,
    /// Units that a person has named: they wait for nothing but the end of a hold.
    pub named: BTreeSet<UnitName>,
}

impl Gates {
    /// What an operator has said of `unit`.
    pub fn hold(&self, unit: &UnitName, now: Timestamp) -> Option<Gate> {
        let hold = self.holds.of(unit, now)?;
        let (since, until, reason) = (hold.since, hold.until, hold.reason.clone());
        Some(Gate::Hold { since, until, reason })
    }

    /// What keeps `unit` from the image at `now`, what lasts longest first.
    pub fn of(
        &self,
        unit: &UnitName,
        reference: &Reference,
        manifest: &Digest,
        now: Timestamp,
    ) -> Vec<Gate> {
        let mut found: Vec<Gate> = self.hold(unit, now).into_iter().collect();
        if let Some(rules) = self.rules.get(unit).filter(|_| !self.named.contains(unit)) {
            found.extend(rules.mode_gate(|| self.approvals.has(unit, manifest)));
            found.extend(rules.window_gate(now));
            let known = self.seen.since(reference, manifest).unwrap_or(now);
            found.extend(rules.cooldown_gate(known, now));
        }
        found.sort_by_key(|gate| std::cmp::Reverse(gate.until().unwrap_or(Timestamp::MAX)));
        found
    }

    /// What `container` waits for, and why, as far as the checks before have told.
    pub fn waiting(&self, container: &Container, now: Timestamp) -> Vec<(&Digest, Vec<Gate>)> {
        let (Some(unit), reference) = (&container.unit, &container.source.reference) else {
            return vec![];
        };
        let seen = self.seen.of(reference).iter().map(|sighting| &sighting.image);
        let new = seen.filter(|image| {
            image.platform == container.image.platform && !container.runs(&image.manifest)
        });
        let gates = new
            .map(|image| &image.manifest)
            .map(|manifest| (manifest, self.of(unit, reference, manifest, now)));
        gates.filter(|(_, gates)| !gates.is_empty()).collect()
    }

    /// What nobody has approved yet.
    pub fn unapproved(&self, containers: &[Container], now: Timestamp) -> Vec<Approval> {
        let approval = |container: &Container| {
            let waiting = self.waiting(container, now).into_iter();
            let open = waiting.filter(|(_, gates)| gates.contains(&Gate::Approval));
            let unit = container.unit.clone();
            let given = open.filter_map(|(manifest, _)| {
                Some(Approval { unit: unit.clone()?, manifest: manifest.clone(), at: now })
            });
            given.collect::<Vec<_>>()
        };
        containers.iter().flat_map(approval).collect()
    }
}

impl UnitRules {
    fn mode_gate(&self, is_approved: impl Fn() -> bool) -> Option<Gate> {
        match self.mode {
            Mode::Auto => None,
            Mode::Approve => (!is_approved()).then_some(Gate::Approval),
            mode @ (Mode::Download | Mode::Notify | Mode::Manual) => Some(Gate::Mode { mode }),
        }
    }

    fn window_gate(&self, now: Timestamp) -> Option<Gate> {
        if self.windows.is_empty() {
            return None;
        }
        let opens =
            self.windows.iter().filter_map(|(window, zone)| window.opens(now, zone.as_ref()?));
        match opens.min() {
            Some(opens) if opens <= now => None,
            opens => Some(Gate::Window { opens }),
        }
    }

    fn cooldown_gate(&self, known: Timestamp, now: Timestamp) -> Option<Gate> {
        let until = known.saturating_add(self.cooldown).unwrap_or(Timestamp::MAX);
        // A clock that was set back makes nothing young that need not be old.
        (until > now && !self.cooldown.is_zero()).then_some(Gate::Cooldown { until })
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
