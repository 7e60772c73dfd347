//! Making a container's processes in a process apart, which is born in the container's cgroup.
//!
//! Whoever is moved to another cgroup waits until each processor has been through a grace period of
//! RCU: 8 to 20 ms, more than all the rest of a start. Whoever is born there does not. The runtime
//! makes the container's processes from the one that calls it, and these are in its cgroup, too;
//! they are children of the launcher all the same (`CLONE_PARENT`).
//!
//! What the runtime does to the process that calls it (working directory, dumpable, much memory)
//! ends with it, too.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::process::{Pid, WaitOptions, waitpid};

/// Has a child process do `work`, and waits for its end; the process that it made, or why it could
/// not. It is born in `cgroup`, where the kernel can do that. With `covered`, whoever wants to be
/// moved there once more finds that done: only for a container that does not see this mount.
///
/// # Errors
/// Where there is no such process. A child that was killed says no reason.
pub(super) fn in_cgroup(
    cgroup: &Path,
    covered: bool,
    work: impl FnOnce() -> Result<i32, String>,
) -> io::Result<Result<i32, String>> {
    let (read, write) = io::pipe()?;
    let processes = cgroup.join("cgroup.procs");
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, cgroup, path, Mode::empty())?;
    let (born, child) = match clone(Some(&directory)) {
        Ok(child) => (true, child),
        // Linux before 5.7, a sandbox that has no clone3, or a place that is not ours: it is moved.
        Err(_) => (false, clone(None)?),
    };
    let Some(child) = child else {
        drop(read);
        if born && covered {
            // Where there is nothing to cover it with, it is moved, ignoring.
            let _ = mount_bind("/dev/null", &processes);
        }
        end(OwnedFd::from(write).into(), work)
    };
    drop(write);
    let said = hear(OwnedFd::from(read).into());
    let ended = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    if born && covered {
        // Where there is none, it was not covered, ignoring.
        let _ = unmount(&processes, UnmountFlags::DETACH);
    }
    ended?;
    said
}

/// Linux 5.7 (clone(2)); a number too large for the flags of libc.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks; the child, or `None` in the child.
fn clone(cgroup: Option<&OwnedFd>) -> io::Result<Option<Pid>> {
    // SAFETY: all fields are numbers, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags = CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    let size = size_of_val(&arguments);
    // SAFETY: without flags that share anything, this is fork(2): this process has one thread, so the
    // child's memory is whole. The arguments live through the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) } {
        ..0 => Err(io::Error::last_os_error()),
        child => Ok(i32::try_from(child).ok().and_then(Pid::from_raw)),
    }
}

/// The child's part. Whatever happens in it, nothing of the parent's is dropped here.
fn end(mut pipe: File, work: impl FnOnce() -> Result<i32, String>) -> ! {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // Its parent was there a moment ago, and the container's processes look for it themselves.
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        work()
    }));
    let said = match done {
        Ok(Ok(pid)) => format!("{MADE}{pid}"),
        Ok(Err(why)) => format!("{FAILED}{why}"),
        Err(_) => format!("{FAILED}panicked"),
    };
    let _ = pipe.write_all(&[said.as_bytes(), &[END]].concat());
    // SAFETY: ends this process at once: nothing here is its own to clear away.
    unsafe { libc::_exit(0) }
}

const MADE: char = '+';
const FAILED: char = '-';
/// In no reason. The container's processes have the pipe open, too: it has no end while they live.
const END: u8 = 0;

fn hear(pipe: File) -> io::Result<Result<i32, String>> {
    let mut said = Vec::new();
    BufReader::new(pipe).read_until(END, &mut said)?;
    let Some(said) = said.strip_suffix(&[END]) else { return Ok(Err("killed".to_owned())) };
    let said = String::from_utf8_lossy(said);
    Ok(match said.strip_prefix(MADE).map(str::parse) {
        Some(Ok(pid)) => Ok(pid),
        _ => Err(said.trim_start_matches([MADE, FAILED]).to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls itself: in a process of many threads, a child's memory may be half-written.
    #[test]
    fn what_a_child_says_is_heard() {
        const ALONE: &str = "UPDATERD_TEST_APART";
        if std::env::var_os(ALONE).is_some() {
            return said();
        }
        let mut own = std::process::Command::new(std::env::current_exe().unwrap());
        own.args(["launch::runtime::apart::tests::what_a_child_says_is_heard", "--exact"]);
        let output = own.env(ALONE, "").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn said() {
        // At the root of all cgroups, or where this process is.
        let apart = |work: &dyn Fn() -> Result<i32, String>| {
            in_cgroup(Path::new("/sys/fs/cgroup"), false, work).unwrap()
        };
        assert_eq!(apart(&|| Ok(4711)), Ok(4711));
        assert_eq!(apart(&|| Err("no\nluck".to_owned())), Err("no\nluck".to_owned()));
        assert_eq!(apart(&|| panic!("of a child")), Err("panicked".to_owned()));
        let killed = apart(&|| {
            // SAFETY: ends this process, which is a child of the test's.
            unsafe { libc::raise(libc::SIGKILL) };
            Ok(1)
        });
        assert_eq!(killed, Err("killed".to_owned()));
        assert!(in_cgroup(Path::new("/nowhere"), false, || Ok(1)).is_err());
    }
}
