//! Crash points: the moments before and after each effect of an update, at one of which a test has the
//! process die. All there are is in [`Effect::ALL`]; the ports of a host pass them
//! (`daemon/mortal.rs`), so that an effect that is new is a point, too.
//!
//! In debug builds only: there `UPDATERD_CRASH_POINT` is read once, when the first point is passed.
//!
//! | value | what it does |
//! | --- | --- |
//! | `kill:before-bind`, `kill:after-save-rollout#3` | SIGKILL to itself there, at the first or the third passing |
//! | `stop:before-bind` | SIGSTOP instead: a test does something to the host meanwhile, and lets it go on |
//! | `list` | says each point that is passed |
//!
//! What must not live here: anything that a release build does.

macro_rules! effects {
    ($($(#[$doc:meta])* $effect:ident => $name:literal,)*) => {
        /// What an update does outside of its process.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Effect {
            $($(#[$doc])* $effect,)*
        }

        impl Effect {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$effect,)*];

            /// As it is called in the names of its points.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$effect => $name,)*
                }
            }
        }
    };
}

effects! {
    /// An image is brought into storage.
    Stage => "stage",
    /// What was pulled into our own store becomes an image.
    CommitPull => "commit-pull",
    /// What a unit ran is pinned.
    Keep => "keep",
    /// A unit is given an image; where there is only the tag, that moves.
    Bind => "bind",
    Unbind => "unbind",
    Tag => "tag",
    /// Images that nobody needs go.
    Clear => "clear",
    /// What is out of sight in our own store is deleted.
    Erase => "erase",
    TryRestart => "try-restart",
    Restart => "restart",
    /// Of a unit that stopped with another one.
    Start => "start",
    /// Of a unit whose data migrates forward.
    Stop => "stop",
    ResetFailed => "reset-failed",
    /// What is damaged in the ledger is set aside.
    Mend => "mend",
    SaveMemory => "save-memory",
    SaveRollout => "save-rollout",
    EndRollout => "end-rollout",
    /// What a unit that ends by itself is to prove by its next run.
    SaveProbation => "save-probation",
    EndProbation => "end-probation",
    Append => "history",
    Quarantine => "quarantine",
    /// What was quarantined long enough is forgotten.
    Release => "release-quarantine",
    /// It is written down who is to be told.
    Spool => "spool",
}

/// The names of all points.
pub fn points() -> impl Iterator<Item = String> {
    let sides =
        |effect: &Effect| ["before", "after"].map(|side| format!("{side}-{}", effect.name()));
    Effect::ALL.iter().flat_map(sides)
}

/// Carries out an effect between its two points.
pub async fn around<T>(effect: Effect, does: impl Future<Output = T>) -> T {
    armed::pass("before", effect);
    let done = does.await;
    armed::pass("after", effect);
    done
}

/// As [`around`], of an effect that nobody waits for.
pub fn around_call<T>(effect: Effect, does: impl FnOnce() -> T) -> T {
    armed::pass("before", effect);
    let done = does();
    armed::pass("after", effect);
    done
}

#[cfg(not(debug_assertions))]
mod armed {
    #[inline]
    pub(super) fn pass(_side: &str, _effect: super::Effect) {}
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use nix::sys::signal::{Signal, raise};

    use super::Effect;

    /// What is to happen at which point.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum Order {
        List,
        Signal { signal: Signal, point: String, passing: u32 },
    }

    static ORDER: LazyLock<Option<Order>> =
        LazyLock::new(|| order(&std::env::var("UPDATERD_CRASH_POINT").ok()?));

    /// How often each point was passed.
    static PASSED: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

    pub(super) fn order(text: &str) -> Option<Order> {
        if text == "list" {
            return Some(Order::List);
        }
        let (signal, place) = text.split_once(':')?;
        let signal = match signal {
            "kill" => Signal::SIGKILL,
            "stop" => Signal::SIGSTOP,
            _ => return None,
        };
        let (point, passing) = place.split_once('#').unwrap_or((place, "1"));
        Some(Order::Signal { signal, point: point.to_owned(), passing: passing.parse().ok()? })
    }

    pub(super) fn pass(side: &str, effect: Effect) {
        let Some(order) = &*ORDER else { return };
        let point = format!("{side}-{}", effect.name());
        let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passed.entry(point.clone()).or_default();
        *count += 1;
        match order {
            Order::List => tracing::info!(target: "updaterd", "crash point {point}#{count}"),
            Order::Signal { signal, point: at, passing } if (at, passing) == (&point, count) => {
                drop(passed);
                // To this thread, so that it is not the one that goes on for a moment. It is there as long as it
                // asks for it.
                let _ = raise(*signal);
            }
            Order::Signal { .. } => {}
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use nix::sys::signal::Signal;

    use super::armed::{Order, order};
    use super::*;

    #[test]
    fn every_effect_has_two_points_of_its_own() {
        let mut all: Vec<String> = points().collect();
        let count = all.len();
        assert_eq!(count, 2 * Effect::ALL.len());
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn orders_are_read() {
        let at = |signal, point: &str, passing| {
            Some(Order::Signal { signal, point: point.to_owned(), passing })
        };
        assert_eq!(order("list"), Some(Order::List));
        assert_eq!(order("kill:before-bind"), at(Signal::SIGKILL, "before-bind", 1));
        assert_eq!(order("stop:after-history#2"), at(Signal::SIGSTOP, "after-history", 2));
        for nonsense in ["", "before-bind", "term:before-bind", "kill:before-bind#x"] {
            assert_eq!(order(nonsense), None, "{nonsense}");
        }
    }
}
