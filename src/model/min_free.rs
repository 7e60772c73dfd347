//! How much of a disk is to stay free.

use serde::{Deserialize, Serialize};

/// A size and a share of the disk; the smaller of both counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinFree {
    /// In bytes.
    pub bytes: u64,
    /// Of the whole disk.
    pub percent: u64,
}

impl MinFree {
    /// What stays free where nobody says otherwise: enough to go on with, on large disks and on small ones.
    pub const DEFAULT: Self = Self { bytes: 256 << 20, percent: 5 };

    /// In bytes, of a disk of `size` bytes.
    pub fn of(self, size: u64) -> u64 {
        self.bytes.min((size / 100).saturating_mul(self.percent))
    }

    /// Whether nothing is to stay free, and nobody need reckon what a pull takes.
    pub fn is_off(self) -> bool {
        self.bytes == 0 || self.percent == 0
    }
}

impl Default for MinFree {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why there is no room for a pull, and what to do about it; all of it in bytes.
pub fn refusal(needed: u64, free: u64, reserve: u64) -> String {
    let (needed, free) = (mebibytes(needed), mebibytes(free));
    match reserve {
        0 => format!("about {needed} are needed, and {free} are free: make room"),
        _ => format!(
            "about {needed} are needed, {free} are free, and {} are to stay free: make room, or, for \
             updates, lower min_free in updaterd.toml",
            mebibytes(reserve)
        ),
    }
}

/// A size in words, in whole MiB, rounded up: `114 MiB`.
pub fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_both_counts() {
        let free = MinFree::DEFAULT;
        assert_eq!((free.of(1 << 40), free.of(100 << 20)), (256 << 20, (1 << 20) * 5));
        assert_eq!(MinFree { bytes: u64::MAX, percent: 10 }.of(u64::MAX / 2), u64::MAX / 200 * 10);
        assert!(!free.is_off() && MinFree { bytes: 0, percent: 100 }.is_off());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        assert_eq!(refusal(1, 0, 0), "about 1 MiB are needed, and 0 MiB are free: make room");
        let told = refusal(5 << 20, 7 << 20, 3 << 20);
        assert!(told.contains("5 MiB are needed, 7 MiB are free, and 3 MiB are to stay"), "{told}");
        assert!(told.ends_with("lower min_free in updaterd.toml"), "{told}");
    }
}
