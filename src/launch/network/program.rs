//! Running the programs of others: without a shell, with nothing of ours but what they need, and
//! for so long and no longer.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// Where Podman's programs are (containers.conf(5), `helper_binaries_dir`).
const DIRECTORIES: [&str; 4] = [
    "/usr/local/libexec/podman",
    "/usr/local/lib/podman",
    "/usr/libexec/podman",
    "/usr/lib/podman",
];
/// Where programs find their own: iptables is in one of the last.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is heard of what a program says, in bytes.
const MAX_SAID: u64 = 1024 * 1024;

/// Finds one of Podman's programs, or one in [`PATH`]; `None` where it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let directories = DIRECTORIES.into_iter().chain(PATH.split(':'));
    directories.map(|directory| PathBuf::from(directory).join(name)).find(|path| path.is_file())
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ended {
        status: ExitStatus,
        output: String,
        errors: String,
    },
    /// It took too long, and was killed.
    Slow,
}

/// Runs a program to its end. It gets `input`, [`PATH`], and no other descriptor or variable of
/// ours; where we are killed, so is it.
pub(crate) fn run(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Outcome> {
    // Files, not pipes: what it leaves in the background keeps them open, and must not keep us.
    let mut given = memory("input")?;
    given.write_all(input)?;
    given.rewind()?;
    let (mut output, mut errors) = (memory("output")?, memory("errors")?);
    command
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::from(given))
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(errors.try_clone()?))
        .process_group(0);
    confine(command);
    let child = command.spawn()?;
    match wait(child, limit)? {
        None => Ok(Outcome::Slow),
        Some(status) => Ok(Outcome::Ended {
            status,
            output: read_back(&mut output)?,
            errors: read_back(&mut errors)?,
        }),
    }
}

/// In the child, before it becomes the program: signals as they come, descriptors of ours closed,
/// and an end together with us.
pub(crate) fn confine(command: &mut Command) {
    let before = || {
        let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
        // SAFETY: marks descriptors; it closes none that somebody here still uses.
        unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        Ok(())
    };
    // SAFETY: only system calls, which are safe between fork and exec.
    unsafe { command.pre_exec(before) };
}

pub(crate) fn memory(name: &str) -> io::Result<File> {
    Ok(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

fn read_back(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MAX_SAID).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Waits for its end; `None` where it had to be killed, with those it started.
fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = rustix::time::Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => break,
            Ok(_) => return child.wait().map(Some),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let _ = kill_process_group(pid, Signal::KILL);
    child.wait()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn sh(script: &str, input: &[u8], limit: Duration) -> Outcome {
        run(Command::new("sh").args(["-c", script]), input, limit).unwrap()
    }

    #[test]
    fn what_it_says_is_heard() {
        let Outcome::Ended { status, output, errors } =
            sh("cat; echo no >&2; exit 3", b"in", LIMIT)
        else {
            panic!()
        };
        assert_eq!((status.code(), output.as_str(), errors.as_str()), (Some(3), "in", "no"));
    }

    #[test]
    fn it_has_nothing_of_ours() {
        let script = "env | grep -v '^PWD=\\|^_=\\|^SHLVL=' ; ls /proc/self/fd | tr '\\n' ' '";
        let Outcome::Ended { output, .. } = sh(script, b"", LIMIT) else { panic!() };
        // The last descriptor is that of the directory being listed.
        assert_eq!(output, format!("PATH={PATH}\n0 1 2 3"));
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let before = Instant::now();
        let outcome = sh("sleep 1000 & sleep 1000", b"", Duration::from_millis(100));
        assert!(matches!(outcome, Outcome::Slow), "{outcome:?}");
        assert!(before.elapsed() < LIMIT);
    }

    #[test]
    fn what_it_leaves_behind_keeps_nobody() {
        let before = Instant::now();
        assert!(matches!(sh("sleep 5 & exit 0", b"", LIMIT), Outcome::Ended { .. }));
        assert!(before.elapsed() < Duration::from_secs(4));
    }
}
