//! Network namespaces: descriptors that keep one there, and its path for those who enter it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{ForkResult, fork};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::launch::network::error::Error;
use crate::store::containers::Process;

/// Where namespaces are files (`linux/magic.h`).
const NSFS: rustix::fs::FsWord = 0x6e73_6673;

/// A network namespace, there as long as this is.
#[derive(Debug)]
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    /// Makes a new one, without anything but a loopback interface, which is down.
    ///
    /// A child process makes it: one that is root only in a user namespace could not go back to the
    /// host's. It belongs to the user namespace `users`, whose root may change what is in it;
    /// without one, to ours.
    pub(crate) fn make(users: Option<BorrowedFd<'_>>) -> Result<Self, Error> {
        let failed = |error| Error::system("make a network namespace", error);
        let (made_read, made_write) = pipe().map_err(failed)?;
        let (opened_read, opened_write) = pipe().map_err(failed)?;
        // SAFETY: this process has one thread, so the child's memory is whole.
        match unsafe { fork() }.map_err(|error| failed(error.into()))? {
            ForkResult::Child => {
                drop((made_read, opened_write));
                hold_new(users, made_write, opened_read);
                // SAFETY: ends the child without the parent's destructors.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => {
                drop((made_write, opened_read));
                let opened = open_made(made_read, child.as_raw());
                drop(opened_write);
                if let Some(child) = Pid::from_raw(child.as_raw()) {
                    while let Err(rustix::io::Errno::INTR) =
                        waitpid(Some(child), WaitOptions::empty())
                    {}
                }
                opened.map_err(failed)
            }
        }
    }

    /// Opens the one at `path`.
    ///
    /// # Errors
    /// Also where something else is there.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::file("open", path, source))?;
        let is_namespace = rustix::fs::fstatfs(&file).is_ok_and(|fs| fs.f_type == NSFS)
            && namespace_type(&file) == libc::CLONE_NEWNET;
        if !is_namespace {
            return Err(Error::NoNamespace(path.to_owned()));
        }
        Ok(Self(file.into()))
    }

    /// That of a running process; `None` where it has ended.
    pub(crate) fn of(process: Process) -> Result<Option<Self>, Error> {
        let opened = Self::open(Path::new(&format!("/proc/{}/ns/net", process.pid)));
        // The number may be another process's by now.
        if process.is_alive() { opened.map(Some) } else { Ok(None) }
    }

    /// Enters it, with this process.
    pub(crate) fn enter(&self) -> Result<(), Error> {
        setns(&self.0, CloneFlags::CLONE_NEWNET)
            .map_err(|error| Error::system("enter the network namespace", io::Error::from(error)))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// By which the processes find it that inherit the descriptor, whatever of ours is hidden.
    pub(crate) fn inherited(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// By which other processes find it, as long as this one lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

fn pipe() -> io::Result<(File, File)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((read.into(), write.into()))
}

/// The child: makes the namespace, says so, and waits until it has been opened.
fn hold_new(users: Option<BorrowedFd<'_>>, mut made: File, mut opened: File) {
    let entered = users.map_or(Ok(()), |users| setns(users, CloneFlags::CLONE_NEWUSER));
    let made_one = entered.and_then(|()| unshare(CloneFlags::CLONE_NEWNET));
    let errno = made_one.map_or_else(|error| error as i32, |()| 0);
    if made.write_all(&errno.to_ne_bytes()).is_ok() {
        let _ = opened.read(&mut [0]);
    }
}

fn open_made(mut made: File, child: i32) -> io::Result<Namespace> {
    let mut errno = [0; 4];
    made.read_exact(&mut errno)?;
    match i32::from_ne_bytes(errno) {
        0 => Ok(Namespace(File::open(format!("/proc/{child}/ns/net"))?.into())),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The `CLONE_NEW…` flag of a namespace (ioctl_ns(2)).
fn namespace_type(file: &File) -> i32 {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the call takes no argument, and gives a number.
    unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_network_namespace_is_refused() {
        for path in ["/dev/null", "/proc/self/ns/mnt"] {
            let opened = Namespace::open(Path::new(path));
            assert!(matches!(opened, Err(Error::NoNamespace(_))), "{path}: {opened:?}");
        }
        let missing = Namespace::open(Path::new("/nonexistent"));
        assert!(matches!(missing, Err(Error::File { .. })), "{missing:?}");
        Namespace::of(Process::current().unwrap()).unwrap().unwrap();
    }
}
