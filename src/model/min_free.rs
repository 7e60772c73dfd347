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
}

impl Default for MinFree {
    fn default() -> Self {
        Self::DEFAULT
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
        assert_eq!(
            (mebibytes(0), mebibytes(1), mebibytes(5 << 20)),
            ("0 MiB".into(), "1 MiB".into(), "5 MiB".into())
        );
    }
}
