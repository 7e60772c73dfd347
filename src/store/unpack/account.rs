//! What a tree takes of the disk, counted while it grows, and held against the limits before it has
//! taken too much.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use super::{Fault, Limits};
use crate::model::MinFree;

/// The free space is looked at whenever so many bytes were written, or so many files were made: a
/// disk may run out of either. On one of a few thousand inodes, that is less than the reserve.
const BYTES_STEP: u64 = 8 * 1024 * 1024;
const FILES_STEP: u64 = 256;
/// The least that a file costs: a block.
const FILE_COST: u64 = 4096;

/// The account of one tree.
#[derive(Debug)]
pub(crate) struct Account {
    disk: Rc<OwnedFd>,
    limits: Limits,
    entries: u64,
    /// Bytes and files since the free space was looked at.
    bytes: u64,
    files: u64,
}

impl Account {
    /// Of a tree on the disk of `disk`.
    ///
    /// # Errors
    /// Where there is no room already.
    pub(crate) fn open(disk: Rc<OwnedFd>, limits: Limits) -> Result<Self, Fault> {
        check_space(&*disk, &limits)?;
        Ok(Self { disk, limits, entries: 0, bytes: 0, files: 0 })
    }

    /// Counts files of whatever kind, directories that no entry names among them.
    pub(crate) fn files(&mut self, count: u64) -> Result<(), Fault> {
        self.entries += count;
        if self.entries > self.limits.entries {
            return Err(Fault::TooMany(self.limits.entries));
        }
        self.files += count;
        self.bytes(count.saturating_mul(FILE_COST))
    }

    /// Counts what is in files, and their attributes.
    pub(crate) fn bytes(&mut self, count: u64) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(count);
        if self.bytes < BYTES_STEP && self.files < FILES_STEP {
            return Ok(());
        }
        (self.bytes, self.files) = (0, 0);
        check_space(&*self.disk, &self.limits)
    }

    /// Whether the disk has room still.
    pub(super) fn has_room(&self) -> bool {
        check_space(&*self.disk, &self.limits).is_ok()
    }
}

/// The errors of free space, before it is used up.
pub(super) fn check_space(disk: impl AsFd, limits: &Limits) -> Result<(), Fault> {
    let stat = rustix::fs::fstatvfs(disk).map_err(|cause| Fault::Statfs(cause.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let reserve = limits.min_free.of(stat.f_blocks.saturating_mul(stat.f_frsize));
    if free < reserve {
        return Err(Fault::NoSpace { free, reserve });
    }
    // Inodes are no bytes: who wants a large part of the disk free does not mean so many of them. File
    // systems without a fixed number of them say zero.
    let share = limits.min_free.percent.min(MinFree::DEFAULT.percent);
    let inodes = MinFree { bytes: 10_000, percent: share };
    let (free, reserve) = (stat.f_favail, inodes.of(stat.f_files));
    if stat.f_files > 0 && free < reserve {
        return Err(Fault::NoInodes { free, reserve });
    }
    Ok(())
}

/// Whether `bytes` more fit on the disk of `disk` beside the reserve.
pub(in crate::store) fn check_fits(
    disk: impl AsFd,
    bytes: u64,
    limits: &Limits,
) -> Result<(), Fault> {
    let stat = rustix::fs::fstatvfs(&disk).map_err(|cause| Fault::Statfs(cause.into()))?;
    check_space(disk, limits)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let reserve = limits.min_free.of(stat.f_blocks.saturating_mul(stat.f_frsize));
    match free.checked_sub(bytes) {
        Some(left) if left >= reserve => Ok(()),
        _ => Err(Fault::TooLittle { free, needed: bytes, reserve }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_files_count_as_much_as_large_ones() {
        let dir = tempfile::tempdir().unwrap();
        let root = Rc::new(super::super::open_root(dir.path()).unwrap());
        let mut account = Account::open(root, Limits::default()).unwrap();
        account.files(1).unwrap();
        account.bytes(60_000).unwrap();
        assert_eq!((account.files, account.bytes), (1, FILE_COST + 60_000));
        // From here on every look would say no.
        account.limits.min_free = MinFree { bytes: u64::MAX, percent: 100 };
        account.files(FILES_STEP - 2).unwrap();
        assert!(account.files(1).is_err(), "the free space was not looked at");
        account.bytes(BYTES_STEP - FILE_COST).unwrap();
        assert!(account.bytes(FILE_COST).is_err(), "the free space was not looked at");
    }
}
