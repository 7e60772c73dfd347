//! Starting a container from a process apart, which is born in the container's cgroup.
//!
//! Whoever is moved to another cgroup waits until each processor has been through a grace period of
//! RCU: 8 to 20 ms, more than all the rest of a start. Whoever is born there does not. The runtime
//! starts the container's processes from the one that calls it, and these are in its cgroup, too;
//! they are children of the launcher all the same (`CLONE_PARENT`).
//!
//! What the runtime does to the process that calls it (working directory, dumpable, much memory)
//! ends with it, too.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, WaitOptions, waitpid};

/// A container whose first process is there.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) pid: i32,
    pub(super) terminal: Option<OwnedFd>,
}

/// Why there is none, in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The exit status it means; the runtime's own failures mean none.
    pub(super) status: Option<u8>,
    pub(super) why: String,
}

/// The longest reason, in bytes.
const LONGEST: usize = 4096;

/// Has a child process do `work`, and waits for its end; what it said, or `None` where it was
/// killed. It is born in `cgroup`, where the kernel can do that. With `covered`, whoever wants to be
/// moved there once more finds that done: only for a container that does not see this mount.
pub(super) fn in_cgroup(
    cgroup: &Path,
    covered: bool,
    work: impl FnOnce() -> Result<Begun, Failure>,
) -> io::Result<Option<Result<Begun, Failure>>> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, childs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let processes = cgroup.join("cgroup.procs");
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, cgroup, path, Mode::empty())?;
    let (born, child) = match clone(Some(&directory)) {
        Ok(child) => (true, child),
        // Linux before 5.7, a sandbox that has no clone3, or a place that is not ours: it is moved.
        Err(_) => (false, clone(None)?),
    };
    let Some(child) = child else {
        drop(ours);
        if born && covered {
            // Where there is nothing to cover it with, it is moved, ignoring.
            let _ = mount_bind("/dev/null", &processes);
        }
        end(&childs, work)
    };
    drop(childs);
    let said = hear(&ours);
    let ended = wait(child);
    if born && covered {
        // Where there is none, it was not covered, ignoring.
        let _ = unmount(&processes, UnmountFlags::DETACH);
    }
    ended.and(said)
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
fn end(socket: &OwnedFd, work: impl FnOnce() -> Result<Begun, Failure>) -> ! {
    let die_with_parent = || nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = die_with_parent();
        tell(socket, work())
    }));
    // SAFETY: ends this process at once: nothing here is its own to clear away.
    unsafe { libc::_exit(i32::from(!matches!(done, Ok(Ok(()))))) }
}

fn tell(socket: &OwnedFd, done: Result<Begun, Failure>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let (message, terminal) = match done {
        Ok(begun) => ([&[BEGUN][..], &begun.pid.to_ne_bytes()].concat(), begun.terminal),
        Err(failure) => {
            let kind = failure.status.map_or([FAILED, 0], |status| [REFUSED, status]);
            let why = failure.why.as_bytes();
            ([&kind[..], &why[..why.len().min(LONGEST)]].concat(), None)
        }
    };
    let descriptors = terminal.as_ref().map(|terminal| [terminal.as_fd()]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

const BEGUN: u8 = 0;
/// By the runtime.
const FAILED: u8 = 1;
/// By us, with a status.
const REFUSED: u8 = 2;

fn hear(socket: &OwnedFd) -> io::Result<Option<Result<Begun, Failure>>> {
    let mut bytes = [0u8; LONGEST + 2];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let length = recvmsg(socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let terminal = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let why = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    Ok(match &bytes[..length] {
        [BEGUN, pid @ ..] => {
            let pid = pid.try_into().map(i32::from_ne_bytes).map_err(io::Error::other)?;
            Some(Ok(Begun { pid, terminal }))
        }
        [FAILED, _, text @ ..] => Some(Err(Failure { status: None, why: why(text) })),
        [REFUSED, status, text @ ..] => {
            Some(Err(Failure { status: Some(*status), why: why(text) }))
        }
        _ => None,
    })
}

fn wait(child: Pid) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty())).map(drop)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Calls itself: in a process of many threads, a child's memory may be half-written.
    fn alone(test: &str) -> bool {
        const ALONE: &str = "UPDATERD_TEST_ALONE";
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        let mut own = std::process::Command::new(std::env::current_exe().unwrap());
        own.args([&format!("launch::runtime::apart::tests::{test}"), "--exact"]).env(ALONE, "");
        let output = own.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        false
    }

    /// At the root of all cgroups, or where this process is.
    fn apart(work: impl FnOnce() -> Result<Begun, Failure>) -> Option<Result<Begun, Failure>> {
        in_cgroup(Path::new("/sys/fs/cgroup"), false, work).unwrap()
    }

    #[test]
    fn what_was_begun_is_told_with_its_terminal() {
        if !alone("what_was_begun_is_told_with_its_terminal") {
            return;
        }
        let (mut reader, writer) = io::pipe().unwrap();
        let begun = apart(|| Ok(Begun { pid: 4711, terminal: Some(writer.into()) }));
        let Begun { pid, terminal } = begun.unwrap().unwrap();
        assert_eq!(pid, 4711);
        std::fs::File::from(terminal.unwrap()).write_all(b"here").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "here");
    }

    #[test]
    fn a_failure_is_told_and_a_death_is_noticed() {
        if !alone("a_failure_is_told_and_a_death_is_noticed") {
            return;
        }
        for status in [None, Some(126)] {
            let why = "no\nluck".to_owned();
            let failure = apart(|| Err(Failure { status, why })).unwrap().unwrap_err();
            assert_eq!((failure.status, failure.why.as_str()), (status, "no\nluck"));
        }
        let killed = apart(|| {
            // SAFETY: ends this process, which is a child of the test's.
            unsafe { libc::raise(libc::SIGKILL) };
            Err(Failure { status: None, why: String::new() })
        });
        assert!(killed.is_none());
        assert!(apart(|| panic!("of a child")).is_none());
    }
}
