//! An ordinary user's shell, in a session: its cgroup is the system's, and nobody but root may make
//! one there, or move a process out of it. The user's own manager has cgroups for whoever asks.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::launch::isolation::cgroup::Location;
use crate::launch::place::Place;
use crate::model::Scope;

/// Set for the process that has asked already: it does not ask again.
const ASKED: &str = "UPDATER_LAUNCH_SCOPE";

/// Goes on in a scope of the user's manager, as the same process, where the one that it is in is of
/// no use. Where there is no manager to ask, it goes on where it is: what needs a cgroup says so.
pub(crate) fn leave(place: &Place) {
    let asked = std::env::var_os(ASKED).is_some();
    // SAFETY: this process has one thread; nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(ASKED) };
    if place.scope == Scope::System || asked || !is_needed() || !has_manager() {
        return;
    }
    let Ok(own) = std::env::current_exe() else { return };
    let mut command = Command::new("systemd-run");
    command.args(["--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--"]);
    command.arg(own).args(std::env::args_os().skip(1)).env(ASKED, "1");
    // Only where it cannot be run at all does this come back.
    let _ = command.exec();
}

fn is_needed() -> bool {
    Location::find().is_ok_and(|location| !location.is_ours())
}

fn has_manager() -> bool {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR");
    runtime.is_some_and(|directory| Path::new(&directory).join("systemd/private").exists())
}
