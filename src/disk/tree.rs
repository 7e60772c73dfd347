//! Removing a directory with all below it, however deep.
//!
//! One descriptor for each level, as the standard library takes, ends with EMFILE where somebody
//! nested directories on purpose: an image, or a container in its own root. Here a directory's
//! subdirectories move up to the top under new names before it goes, so that depth never counts.
//!
//! Architecture invariant: nothing outside of the tree is touched. Links are removed and not
//! followed, and what is mounted somewhere below is an error.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes whatever `path` is, with all below it; nothing is no error. A link is removed itself.
///
/// # Errors
/// Whatever the file system says; part of the tree may be gone then, and names below it changed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(parent) => remove_tree_at(parent, name),
        Err(Errno::NOENT) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}

/// Removes whatever `name` in `dir` is; see [`remove_tree`].
///
/// # Errors
/// As for [`remove_tree`].
pub fn remove_tree_at(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(cause) => return Err(cause.into()),
    }
    let top = rustix::fs::openat(&dir, name, DIRECTORY, Mode::empty())?;
    let mut removal = Removal { top, moved: 0 };
    loop {
        match rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => removal.sweep()?,
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// A tree that is going away.
struct Removal {
    top: OwnedFd,
    /// How many names were tried for directories that move up.
    moved: u64,
}

impl Removal {
    /// Removes all that is directly in the top, except for what moves up meanwhile.
    fn sweep(&mut self) -> io::Result<()> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        for entry in Dir::read_from(&self.top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dot(name) || remove_one(self.top.as_fd(), name)? {
                continue;
            }
            let dir = loop {
                match rustix::fs::openat2(&self.top, name, DIRECTORY, Mode::empty(), resolve) {
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    opened => break opened?,
                }
            };
            // A listing may leave out what changes under it.
            while !remove_one(self.top.as_fd(), name)? {
                self.empty(&dir)?;
            }
        }
        Ok(())
    }

    /// Removes all that is directly in `dir`; subdirectories that hold something move up.
    fn empty(&mut self, dir: &OwnedFd) -> io::Result<()> {
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_dot(name) && !remove_one(dir.as_fd(), name)? {
                self.move_up(dir, name)?;
            }
        }
        Ok(())
    }

    fn move_up(&mut self, dir: &OwnedFd, name: &CStr) -> io::Result<()> {
        loop {
            let new = self.moved.to_string();
            self.moved += 1;
            match rustix::fs::renameat(dir, name, &self.top, new) {
                Ok(()) => return Ok(()),
                // Taken. An empty directory would have been replaced, which does no harm here.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
    }
}

/// Removes a file or an empty directory; `false` for a directory that is not empty.
fn remove_one(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let removed = match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR),
        removed => removed,
    };
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY) => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::{env, fs};

    use super::*;

    /// A chain of directories, `depth` deep, with a file in each.
    fn dig(top: &Path, depth: usize) {
        fs::create_dir(top).unwrap();
        let mut dir = rustix::fs::open(top, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..depth {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&dir, "0", flags, Mode::RUSR).unwrap();
            rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
            dir = rustix::fs::openat(&dir, "d", DIRECTORY, Mode::empty()).unwrap();
        }
    }

    /// Runs itself as a process that may have few descriptors.
    #[test]
    fn depth_does_not_count() {
        const TOP: &str = "UPDATERD_TEST_DEEP_TREE";
        if let Some(top) = env::var_os(TOP) {
            return remove_tree(Path::new(&top)).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        dig(&top, 3000);
        let mut few = Command::new("sh");
        few.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]).arg(env::current_exe().unwrap());
        few.args(["disk::tree::tests::depth_does_not_count", "--exact"]).env(TOP, &top);
        let output = few.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(!top.exists());
        remove_tree(&top).unwrap();
        remove_tree(&top.join("below/nothing")).unwrap();
    }

    #[test]
    fn names_that_are_taken_and_wide_trees() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        for outer in 0..20 {
            for inner in 0..20 {
                fs::create_dir_all(top.join(format!("{outer}/{inner}/{outer}"))).unwrap();
                fs::write(top.join(format!("{outer}/{inner}/f")), "x").unwrap();
            }
        }
        remove_tree(&top).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (top, kept) = (dir.path().join("top"), dir.path().join("kept"));
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "kept").unwrap();
        for link in ["link", "a/link", "a/b/link"] {
            std::os::unix::fs::symlink(&kept, top.join(link)).unwrap();
        }
        std::os::unix::fs::symlink(&kept, dir.path().join("itself")).unwrap();
        remove_tree(&dir.path().join("itself")).unwrap();
        remove_tree(&top).unwrap();
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "kept");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
