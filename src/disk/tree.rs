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
    remove_tree_while(path, &mut || true).map(drop)
}

/// As [`remove_tree`], asking before each entry whether to go on. `false` where it did not: the rest is
/// there then, under any names below `path`, and may be removed another time.
///
/// # Errors
/// As for [`remove_tree`].
pub fn remove_tree_while(path: &Path, go_on: &mut dyn FnMut() -> bool) -> io::Result<bool> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let removed = match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(parent) => remove(parent.as_fd(), name, go_on),
        Err(Errno::NOENT) => Ok(()),
        Err(cause) => Err(cause.into()),
    };
    match removed {
        Err(cause) if cause.raw_os_error() == Some(STOPPED.raw_os_error()) => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// Removes whatever `name` in `dir` is; see [`remove_tree`].
///
/// # Errors
/// As for [`remove_tree`].
pub fn remove_tree_at(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    remove(dir.as_fd(), name, &mut || true)
}

/// What a removal ends with that was not to go on: no file system says so.
const STOPPED: Errno = Errno::CANCELED;

fn remove(dir: BorrowedFd<'_>, name: &OsStr, go_on: &mut dyn FnMut() -> bool) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(cause) => return Err(cause.into()),
    }
    let top = match rustix::fs::openat(dir, name, DIRECTORY, Mode::empty()) {
        // Somebody else removes it, too.
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut removal = Removal { top, moved: 0, go_on };
    loop {
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => removal.sweep()?,
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// A tree that is going away.
struct Removal<'a> {
    top: OwnedFd,
    /// How many names were tried for directories that move up.
    moved: u64,
    go_on: &'a mut dyn FnMut() -> bool,
}

impl Removal<'_> {
    /// Removes all that is directly in the top, except for what moves up meanwhile.
    fn sweep(&mut self) -> io::Result<()> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        for entry in Dir::read_from(&self.top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dot(name) || self.remove_in_top(name)? {
                continue;
            }
            let dir = loop {
                match rustix::fs::openat2(&self.top, name, DIRECTORY, Mode::empty(), resolve) {
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    opened => break opened,
                }
            };
            let dir = match dir {
                Err(Errno::NOENT) => continue,
                opened => opened?,
            };
            // A listing may leave out what changes under it.
            while !self.remove_in_top(name)? {
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
            if is_dot(name) {
                continue;
            }
            self.ask()?;
            if !unlink(dir.as_fd(), name)? {
                self.move_up(dir, name)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        if (self.go_on)() { Ok(()) } else { Err(STOPPED.into()) }
    }

    fn remove_in_top(&mut self, name: &CStr) -> io::Result<bool> {
        self.ask()?;
        unlink(self.top.as_fd(), name)
    }

    fn move_up(&mut self, dir: &OwnedFd, name: &CStr) -> io::Result<()> {
        loop {
            let new = self.moved.to_string();
            self.moved += 1;
            match rustix::fs::renameat(dir, name, &self.top, new) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // Taken. An empty directory would have been replaced, which does no harm here.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
    }
}

/// Removes a file or an empty directory; `false` for a directory that is not empty.
fn unlink(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
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
    fn two_that_remove_the_same_are_no_trouble_to_each_other() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let top = dir.path().join("top");
            (0..20).for_each(|n| fs::create_dir_all(top.join(format!("{n}/a/b/c"))).unwrap());
            std::thread::scope(|scope| {
                let both = [(); 2].map(|()| scope.spawn(|| remove_tree(&top)));
                both.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
            assert!(!top.exists());
        }
    }

    #[test]
    fn what_is_stopped_goes_on_another_time() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        dig(&top, 50);
        let mut left = 60;
        let mut go_on = || {
            left -= 1;
            left > 0
        };
        assert!(!remove_tree_while(&top, &mut go_on).unwrap());
        assert!(top.exists());
        assert!(remove_tree_while(&top, &mut || true).unwrap());
        assert!(!top.exists());
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
