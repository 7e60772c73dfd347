//! Socket activation (sd_listen_fds(3)): descriptors that systemd passes to a unit's main process
//! are its container's. The runtime hands on as many as `LISTEN_FDS` says, without asking whose.

use std::ffi::OsStr;

const VARIABLES: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Forgets the variables where they speak to another process, or where this is not `run`, which
/// alone has a container to give the descriptors to. Before any fork: they name the process that
/// systemd started.
pub(crate) fn keep_own(is_run: bool) {
    let addressee = std::env::var_os("LISTEN_PID");
    if is_run && is_for(addressee.as_deref(), std::process::id()) {
        return;
    }
    for variable in VARIABLES {
        // SAFETY: this process has one thread; nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(variable) };
    }
}

fn is_for(addressee: Option<&OsStr>, pid: u32) -> bool {
    addressee.and_then(OsStr::to_str).is_some_and(|text| text.parse() == Ok(pid))
}

/// The names of the container's descriptors, as a variable; the runtime sets the other two.
pub(crate) fn names() -> Option<String> {
    let names = std::env::var("LISTEN_FDNAMES").ok()?;
    Some(format!("LISTEN_FDNAMES={names}"))
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
