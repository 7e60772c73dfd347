//! What systemd passes to a unit's main process, and is its container's: descriptors
//! (sd_listen_fds(3): sockets, and what the unit's last run had stored), and the watchdog
//! (sd_watchdog_enabled(3)).
//!
//! The runtime hands on as many descriptors as `LISTEN_FDS` says, without asking whose, and names
//! the container's first process in `LISTEN_PID`. An init in between (`--init`) passes that on to
//! the program that it starts, as catatonit does.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;

const LISTEN: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];
const WATCHDOG: [&str; 2] = ["WATCHDOG_USEC", "WATCHDOG_PID"];
/// The first that systemd passes.
const FIRST: RawFd = 3;

/// Forgets the variables where they speak to another process, or where this is neither `run` nor
/// `start`, which alone have a container to give to. Before any fork: they name the process that
/// systemd started.
pub(crate) fn keep_own(starts: bool) {
    let names_other = |variable| {
        let addressee = std::env::var_os(variable);
        !is_for(addressee.as_deref(), std::process::id())
    };
    // Nothing is open yet but what was passed: more than that would be this process's own.
    if !starts || names_other("LISTEN_PID") || !passed().all(is_open) {
        forget(&LISTEN);
    }
    // Whom it is for need not be said (sd_watchdog_enabled(3)).
    let names_none = std::env::var_os("WATCHDOG_PID").is_none();
    if !starts || (!names_none && names_other("WATCHDOG_PID")) {
        forget(&WATCHDOG);
    }
}

fn is_for(addressee: Option<&OsStr>, pid: u32) -> bool {
    addressee.and_then(OsStr::to_str).is_some_and(|text| text.parse() == Ok(pid))
}

fn forget(variables: &[&str]) {
    for variable in variables {
        // SAFETY: this process has one thread; nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(variable) };
    }
}

/// The numbers of the descriptors that `LISTEN_FDS` promises.
fn passed() -> std::ops::Range<RawFd> {
    let count = std::env::var("LISTEN_FDS").ok().and_then(|text| text.parse::<i32>().ok());
    FIRST..FIRST.saturating_add(count.unwrap_or(0))
}

/// How many descriptors are the container's.
pub(crate) fn count() -> i32 {
    passed().len().try_into().unwrap_or(0)
}

/// Whether this process has a descriptor of this number.
pub(crate) fn is_open(descriptor: RawFd) -> bool {
    // SAFETY: only reads a flag of the descriptor, or fails where there is none.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
}

/// The names of the container's descriptors, as a variable; the runtime sets the other two.
pub(crate) fn names() -> Option<String> {
    let names = std::env::var("LISTEN_FDNAMES").ok()?;
    Some(format!("LISTEN_FDNAMES={names}"))
}

/// Closes the descriptors once the container has its own: what it closes then is closed. A
/// connection would not end for its peer otherwise. Sockets without a peer, those of socket units,
/// stay for a restart of the container by this process.
pub(crate) fn release() {
    let names = std::env::var("LISTEN_FDNAMES").ok();
    let mut names = names.iter().flat_map(|names| names.split(':'));
    let mut kept = Vec::new();
    let mut free = FIRST;
    for descriptor in passed() {
        let name = names.next();
        // SAFETY: so many were open when this process began, and came with it; nothing here has
        // used them, or will.
        unsafe {
            if waits_for_peers(BorrowedFd::borrow_raw(descriptor)) {
                if descriptor != free {
                    libc::dup2(descriptor, free);
                    libc::close(descriptor);
                }
                free += 1;
                kept.extend(name);
            } else {
                libc::close(descriptor);
            }
        }
    }
    forget(&LISTEN);
    if free > FIRST {
        set("LISTEN_FDS", &(free - FIRST).to_string());
        if !kept.is_empty() {
            set("LISTEN_FDNAMES", &kept.join(":"));
        }
    }
}

fn waits_for_peers(descriptor: BorrowedFd<'_>) -> bool {
    matches!(rustix::net::getpeername(descriptor), Err(Errno::NOTCONN))
}

fn set(variable: &str, value: &str) {
    // SAFETY: this process has one thread; nobody reads the environment meanwhile.
    unsafe { std::env::set_var(variable, value) };
}

/// How often the service manager wants to hear `WATCHDOG=1`; `None` where it does not.
pub(crate) fn watchdog() -> Option<Duration> {
    let text = std::env::var("WATCHDOG_USEC").ok()?;
    text.parse().ok().filter(|micros| *micros > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_another_process_are_not_ours() {
        let ours = |addressee: Option<&str>| is_for(addressee.map(OsStr::new), 42);
        assert!(ours(Some("42")));
        for other in [None, Some("1"), Some(""), Some("42x"), Some("-42")] {
            assert!(!ours(other), "{other:?}");
        }
    }
}
