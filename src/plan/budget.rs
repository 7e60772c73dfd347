//! How many pulls a registry's host still allows, as it said itself, and who may have them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Registries;

/// What a host said of its limit on pulls. A registry counts a GET of a manifest as a pull; a HEAD
/// costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Pulls in a window.
    pub limit: u64,
    /// How many were left when it said so.
    pub remaining: u64,
    /// In seconds.
    pub window: u64,
    /// Whom it counts them for, such as an address or an account, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_for: Option<String>,
    /// When it said so.
    pub seen: Timestamp,
}

impl Budget {
    /// When as much is left as ever, whatever was used.
    pub fn renewed(&self) -> Timestamp {
        self.seen.saturating_add(Duration::from_secs(self.window)).unwrap_or(Timestamp::MAX)
    }

    /// How many pulls are kept back, of a reserve in percent; rounded up.
    pub fn kept_back(&self, reserve: u8) -> u64 {
        self.limit.saturating_mul(u64::from(reserve)).div_ceil(100)
    }

    /// How many pulls may be spent at `now`; `None` where what it said is out of date.
    pub fn left(&self, reserve: u8, now: Timestamp) -> Option<u64> {
        (now < self.renewed()).then(|| self.remaining.saturating_sub(self.kept_back(reserve)))
    }
}

/// The pulls that one pass may spend, at each host that counts them.
#[derive(Debug)]
pub struct Allowance<'a> {
    registries: &'a Registries,
    reserve: u8,
    now: Timestamp,
    spent: BTreeMap<String, u64>,
}

impl<'a> Allowance<'a> {
    /// Of what the hosts said, but for a reserve in percent of their limits.
    pub fn new(registries: &'a Registries, reserve: u8, now: Timestamp) -> Self {
        Self { registries, reserve, now, spent: BTreeMap::new() }
    }

    /// Takes so many pulls of `host`, or none.
    ///
    /// # Errors
    /// Where so many are not left: the host's budget.
    pub fn take(&mut self, host: &str, pulls: u64) -> Result<(), &'a Budget> {
        let Some(budget) = self.registries.budget(host) else { return Ok(()) };
        let Some(left) = budget.left(self.reserve, self.now) else { return Ok(()) };
        let spent = self.spent.entry(host.to_owned()).or_default();
        if *spent + pulls > left {
            return Err(budget);
        }
        *spent += pulls;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: u64, remaining: u64) -> Budget {
        let seen = Timestamp::UNIX_EPOCH;
        Budget { limit, remaining, window: 21600, counted_for: None, seen }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_reserve_is_kept_until_the_window_is_over() {
        for (remaining, reserve, left) in [(76, 10, 66), (10, 10, 0), (3, 10, 0), (3, 0, 3)] {
            assert_eq!(budget(100, remaining).left(reserve, at(21599)), Some(left));
            assert_eq!(budget(100, remaining).left(reserve, at(21600)), None);
        }
        assert_eq!(budget(15, 15).left(10, at(0)), Some(13), "it is rounded up");
        assert_eq!(
            budget(u64::MAX, u64::MAX).left(100, at(0)),
            Some(u64::MAX - u64::MAX / 100 - 1)
        );
    }

    #[test]
    fn what_is_taken_is_not_there_for_the_next() {
        let mut registries = Registries::default();
        registries.heard("counts.example", budget(100, 13));
        let mut allowance = Allowance::new(&registries, 10, at(60));
        assert_eq!(allowance.take("counts.example", 2), Ok(()));
        assert_eq!(allowance.take("counts.example", 2), Err(&budget(100, 13)));
        assert_eq!(allowance.take("counts.example", 1), Ok(()));
        assert!(allowance.take("counts.example", 1).is_err());
        assert_eq!(allowance.take("does-not.example", 1000), Ok(()));
        let mut later = Allowance::new(&registries, 10, at(21600));
        assert_eq!(later.take("counts.example", 1000), Ok(()));
    }
}
