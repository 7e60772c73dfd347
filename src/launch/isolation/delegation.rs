//! Having the controllers of a unit's own, delegated cgroup for the containers below it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Why a container cannot be limited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotLimited {
    #[error(
        "--{flag} needs the {controller} controller in cgroup {unit}, which is not delegated to this \
         process: add Delegate=yes to the unit, or leave the limit out"
    )]
    NotDelegated { flag: &'static str, controller: String, unit: String },
    #[error(
        "--{flag} needs the {controller} controller, which cgroup {unit} does not have (it has: \
         {there}): Delegate= in the unit, and in those above it, must name it, and the kernel have it \
         for cgroup v2"
    )]
    NoController { flag: &'static str, controller: String, unit: String, there: String },
    #[error(
        "--{flag} needs the {controller} controller, which cgroup {unit} does not let its children \
         have: other processes than updater-launch must not run in it"
    )]
    NotEnabled {
        flag: &'static str,
        controller: String,
        unit: String,
        #[source]
        source: io::Error,
    },
    #[error("--{0} needs a cgroup of the container's own: leave --cgroups=disabled out")]
    Disabled(&'static str),
    #[error(
        "--{0} needs a cgroup of the container's own, which it has with --cgroups=no-conmon in a \
         unit with Delegate=yes: add that to the unit"
    )]
    Shared(&'static str),
    #[error(
        "--cgroup-parent {0:?}: a container's cgroup lies in its unit's own: name one there, or set \
         Slice= in the unit"
    )]
    Parent(PathBuf),
}

/// Lets the children of `directory`, the cgroup of `unit`, have the controllers; each comes with the
/// flag that needs it.
pub(crate) fn enable(
    directory: &Path,
    unit: &str,
    controllers: &[(&str, &'static str)],
) -> Result<(), NotLimited> {
    let list = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap_or_default();
    let (there, enabled) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
    let names = |text: &'_ str| {
        text.split_ascii_whitespace().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let (there, enabled) = (names(&there), names(&enabled));
    for (controller, flag) in controllers {
        let (controller, unit) = ((*controller).to_owned(), unit.to_owned());
        if !there.contains(&controller) {
            let all: Vec<&str> = there.iter().map(String::as_str).collect();
            let there = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            return Err(NotLimited::NoController { flag, controller, unit, there });
        }
        if !enabled.contains(&controller) {
            // One by one, so that it is known which of them is refused.
            std::fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"))
                .map_err(|source| NotLimited::NotEnabled { flag, controller, unit, source })?;
        }
    }
    Ok(())
}

/// The parent that was asked for, below the unit's own cgroup `unit`; both from the root of the
/// hierarchy.
pub(crate) fn parent(unit: &str, asked: &str) -> Result<String, NotLimited> {
    let outside = || NotLimited::Parent(asked.into());
    let unit = unit.trim_end_matches('/');
    let below = match asked.strip_prefix('/') {
        None => asked,
        Some(_) => asked
            .strip_prefix(unit)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .ok_or_else(outside)?,
    };
    let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
    // The supervisor's own, and names that lead elsewhere.
    let is_name = |part: &&str| !["..", ".", "supervisor"].contains(part) && !part.contains('\0');
    match parts.iter().all(is_name) {
        true => Ok([&[unit], &parts[..]].concat().join("/")),
        false => Err(outside()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(controllers: &str, enabled: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cgroup.controllers"), controllers).unwrap();
        std::fs::write(directory.path().join("cgroup.subtree_control"), enabled).unwrap();
        directory
    }

    #[test]
    fn controllers_are_enabled_where_they_are_there() {
        let directory = unit("cpu memory pids\n", "pids\n");
        let wanted = [("memory", "memory"), ("pids", "pids-limit")];
        enable(directory.path(), "/a.service", &wanted).unwrap();
        let written = std::fs::read_to_string(directory.path().join("cgroup.subtree_control"));
        assert_eq!(written.unwrap(), "+memory");
    }

    #[test]
    fn one_that_is_missing_is_named() {
        let directory = unit("pids\n", "");
        let missing = enable(directory.path(), "/a.service", &[("memory", "memory-swap")]);
        let said = missing.unwrap_err().to_string();
        for part in ["--memory-swap", "the memory controller", "/a.service", "it has: pids"] {
            assert!(said.contains(part), "{said}");
        }
        let none = unit("", "");
        let said = enable(none.path(), "/a.service", &[("io", "blkio-weight")]).unwrap_err();
        assert!(said.to_string().contains("it has: none"), "{said}");
    }

    #[test]
    fn a_parent_lies_in_the_unit() {
        let of = |asked: &str| parent("/s.slice/a.service", asked).ok();
        assert_eq!(of("web").unwrap(), "/s.slice/a.service/web");
        assert_eq!(of("web/one/").unwrap(), "/s.slice/a.service/web/one");
        assert_eq!(of("/s.slice/a.service/web").unwrap(), "/s.slice/a.service/web");
        assert_eq!(of("/s.slice/a.service").unwrap(), "/s.slice/a.service");
        for asked in ["/", "/other.slice", "/s.slice/a.service2", "../b", "a/../../b", "supervisor"]
        {
            assert!(of(asked).is_none(), "{asked}");
        }
    }
}
