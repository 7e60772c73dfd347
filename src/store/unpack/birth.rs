//! With which owner and mode a new file comes into being: what is right from the beginning costs no
//! system calls, and most files of most images are root's.

use std::os::fd::AsFd;

use rustix::io::Errno;
use tar::EntryType;

use super::Privilege;
use super::archive::Entry;

/// Set-user-ID, set-group-ID and sticky.
const SET_ID: u32 = 0o7000;

/// What is known of this process and of the directories that were made so far.
#[derive(Debug)]
pub(super) struct Birth {
    privilege: Privilege,
    uid: u32,
    gid: u32,
    /// Bits that a new file loses; `None`: not to be foreseen.
    umask: Option<u32>,
}

impl Birth {
    /// Below a new directory. What it cannot find out it does not rely on.
    pub(super) fn below(root: impl AsFd, privilege: Privilege) -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let ours = |stat: rustix::fs::Stat| {
            (stat.st_uid, stat.st_gid) == (uid, gid) && stat.st_mode & SET_ID == 0
        };
        let plain = rustix::fs::fstat(&root).is_ok_and(ours) && !has_default_acl(&root);
        let umask = if plain { umask() } else { None };
        Self { privilege, uid, gid, umask }
    }

    /// Whether what is made has the entry's owner.
    pub(super) fn is_owned(&self, entry: &Entry) -> bool {
        self.umask.is_some()
            && (self.privilege == Privilege::User || (entry.uid, entry.gid) == (self.uid, self.gid))
    }

    /// Whether what is made with the entry's mode has its owner and its mode. Set-ID bits are not
    /// foreseen; nor are an ordinary user's directories, which stay writable until all is unpacked.
    pub(super) fn is_exact(&self, entry: &Entry) -> bool {
        let later = self.privilege == Privilege::User && entry.kind == EntryType::Directory;
        let lost = self.umask.unwrap_or_default() | SET_ID;
        self.is_owned(entry) && !later && entry.mode & lost == 0
    }

    /// There is a directory with the entry's group and mode. Where these are not plain, what is made
    /// in it may inherit them (inode(7), "set-group-ID"; mount(8), "grpid"): from here on nothing is
    /// foreseen.
    pub(super) fn directory(&mut self, entry: &Entry) {
        if entry.gid != self.gid || entry.mode & SET_ID != 0 {
            self.umask = None;
        }
    }
}

/// Then the umask does not count.
fn has_default_acl(directory: impl AsFd) -> bool {
    let found = rustix::fs::fgetxattr(directory, "system.posix_acl_default", &mut [0u8; 0]);
    !matches!(found, Err(Errno::NODATA | Errno::NOTSUP))
}

/// It can be read without being changed in one place only (proc(5)).
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(umask.trim(), 8).ok()
}
