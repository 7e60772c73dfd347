//! What the results of checks mean. Pure: a state machine.

use crate::model::HealthState;

/// When results count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// So many failures in a row make a container unhealthy; at least one.
    pub(crate) retries: u32,
    /// Whether other checks come before the regular ones.
    pub(crate) startup: Option<StartupRules>,
}

/// When the checks of the startup have done their work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartupRules {
    /// So many must pass; at least one.
    pub(crate) success: u32,
    /// So many may fail; 0 without end.
    pub(crate) retries: u32,
}

/// Which checks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Startup { passed: u32, failed: u32 },
    Regular,
}

/// What a result has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// The startup is over: the regular checks begin.
    Started,
    /// It is healthy, and was not.
    Recovered,
    /// It is unhealthy, and was not.
    Failed,
    /// The startup's checks have failed as often as they may.
    NeverStarted,
}

/// The state of a container's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    rules: Rules,
    stage: Stage,
    status: HealthState,
    failing_streak: u32,
}

impl State {
    /// Of a container that has just started.
    pub(crate) fn new(rules: Rules) -> Self {
        let stage = match rules.startup {
            Some(_) => Stage::Startup { passed: 0, failed: 0 },
            None => Stage::Regular,
        };
        Self { rules, stage, status: HealthState::Starting, failing_streak: 0 }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    pub(crate) fn status(&self) -> HealthState {
        self.status
    }

    pub(crate) fn failing_streak(&self) -> u32 {
        self.failing_streak
    }

    /// Takes in the result of a check. In the start period, a failure means nothing yet.
    pub(crate) fn take(&mut self, passed: bool, in_start_period: bool) -> Change {
        match (self.stage, self.rules.startup) {
            (Stage::Startup { passed: so_far, failed }, Some(rules)) => {
                let so_far = so_far.saturating_add(passed.into());
                let failed = failed.saturating_add((!passed).into());
                self.startup(so_far, failed, rules)
            }
            _ => self.regular(passed, in_start_period),
        }
    }

    fn startup(&mut self, passed: u32, failed: u32, rules: StartupRules) -> Change {
        if passed >= rules.success {
            self.stage = Stage::Regular;
            return Change::Started;
        }
        self.stage = Stage::Startup { passed, failed };
        if rules.retries > 0 && failed >= rules.retries {
            self.status = HealthState::Unhealthy;
            return Change::NeverStarted;
        }
        Change::Nothing
    }

    fn regular(&mut self, passed: bool, in_start_period: bool) -> Change {
        let before = self.status;
        if passed {
            self.failing_streak = 0;
            self.status = HealthState::Healthy;
        } else if !in_start_period {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= self.rules.retries {
                self.status = HealthState::Unhealthy;
            }
        }
        match (before == self.status, self.status) {
            (false, HealthState::Healthy) => Change::Recovered,
            (false, HealthState::Unhealthy) => Change::Failed,
            _ => Change::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(retries: u32) -> State {
        State::new(Rules { retries, startup: None })
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let mut state = plain(2);
        assert_eq!(state.status(), HealthState::Starting);
        assert_eq!(state.take(false, false), Change::Nothing);
        assert_eq!(state.take(false, false), Change::Failed);
        assert_eq!((state.status(), state.failing_streak()), (HealthState::Unhealthy, 2));
        assert_eq!(state.take(false, false), Change::Nothing);
        assert_eq!(state.take(true, false), Change::Recovered);
        assert_eq!((state.status(), state.failing_streak()), (HealthState::Healthy, 0));
        assert_eq!(state.take(false, false), Change::Nothing);
        assert_eq!(state.status(), HealthState::Healthy);
    }

    #[test]
    fn the_start_period_forgives() {
        let mut state = plain(1);
        assert_eq!(state.take(false, true), Change::Nothing);
        assert_eq!((state.status(), state.failing_streak()), (HealthState::Starting, 0));
        // A success counts at once.
        assert_eq!(state.take(true, true), Change::Recovered);
        assert_eq!(state.take(false, false), Change::Failed);
    }

    #[test]
    fn the_startup_comes_first() {
        let startup = Some(StartupRules { success: 2, retries: 3 });
        let mut state = State::new(Rules { retries: 1, startup });
        assert_eq!(state.take(true, false), Change::Nothing);
        assert_eq!(state.take(false, false), Change::Nothing);
        assert_eq!(state.status(), HealthState::Starting);
        assert_eq!(state.take(true, false), Change::Started);
        assert_eq!((state.stage(), state.status()), (Stage::Regular, HealthState::Starting));
        assert_eq!(state.take(true, false), Change::Recovered);
        let mut state = State::new(Rules { retries: 1, startup });
        assert_eq!(state.take(false, false), Change::Nothing);
        assert_eq!(state.take(false, true), Change::Nothing);
        assert_eq!(state.take(false, false), Change::NeverStarted);
        assert_eq!(state.status(), HealthState::Unhealthy);
    }

    proptest! {
        #[test]
        fn the_status_is_what_the_last_results_say(
            retries in 1u32..5,
            results in proptest::collection::vec(any::<(bool, bool)>(), 0..40),
        ) {
            let mut state = plain(retries);
            let mut changes = 0u32;
            for (passed, in_start_period) in &results {
                let before = state.status();
                let change = state.take(*passed, *in_start_period);
                prop_assert_eq!(before != state.status(), change != Change::Nothing);
                changes += u32::from(change == Change::Failed);
            }
            let streak = results
                .iter()
                .rev()
                .take_while(|(passed, _)| !passed)
                .filter(|(_, in_start_period)| !in_start_period)
                .count();
            prop_assert_eq!(state.failing_streak() as usize, streak);
            let passed_once = results.iter().any(|(passed, _)| *passed);
            let expected = match (streak >= retries as usize, passed_once) {
                (true, _) => HealthState::Unhealthy,
                (false, true) => HealthState::Healthy,
                (false, false) => HealthState::Starting,
            };
            prop_assert_eq!(state.status(), expected);
            prop_assert!(changes as usize <= results.len() / retries as usize);
        }

        #[test]
        fn a_startup_ends_or_gives_up_by_its_counts(
            success in 1u32..5,
            retries in 0u32..5,
            results in proptest::collection::vec(any::<bool>(), 0..30),
        ) {
            let startup = Some(StartupRules { success, retries });
            let mut state = State::new(Rules { retries: 3, startup });
            let (mut good, mut bad) = (0, 0);
            for passed in results {
                let change = state.take(passed, false);
                good += u32::from(passed);
                bad += u32::from(!passed);
                if good >= success {
                    prop_assert_eq!(change, Change::Started);
                    break;
                }
                prop_assert_eq!(change == Change::NeverStarted, retries > 0 && bad >= retries);
                prop_assert!(state.stage() != Stage::Regular);
            }
        }
    }
}
