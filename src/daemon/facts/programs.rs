//! Programs of others that units call for, and that are not installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::Scope;
use crate::plan::doctor::{Helper, needs};

/// Where units are that somebody wrote here.
const OF_SYSTEM: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];
const OF_USERS: &str = "/etc/systemd/user";

/// Where the launcher looks for programs: Podman's own directories, then the usual ones.
const DIRECTORIES: [&str; 11] = [
    "/usr/local/libexec/podman",
    "/usr/local/lib/podman",
    "/usr/libexec/podman",
    "/usr/lib/podman",
    "/usr/libexec/catatonit",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Each with the first unit that calls for it.
pub(super) fn missing(scope: Scope) -> Vec<(Helper, String)> {
    let mut missing = BTreeMap::new();
    for path in units(scope) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for helper in needs(&text, scope).into_iter().filter(|helper| !is_installed(*helper)) {
            missing.entry(helper).or_insert_with(|| name.clone());
        }
    }
    missing.into_iter().collect()
}

fn is_installed(helper: Helper) -> bool {
    DIRECTORIES.iter().any(|directory| Path::new(directory).join(helper.program()).is_file())
}

/// The files of services, by name.
fn units(scope: Scope) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = match scope {
        Scope::System => OF_SYSTEM.iter().map(PathBuf::from).collect(),
        Scope::User => vec![OF_USERS.into()],
    };
    if scope == Scope::User {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let home = || variable("HOME").map(|home| home.join(".config"));
        let configuration = variable("XDG_CONFIG_HOME").or_else(home);
        directories.extend(configuration.map(|directory| directory.join("systemd/user")));
    }
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok());
    let paths = entries.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut services: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "service")).collect();
    services.sort();
    services
}
