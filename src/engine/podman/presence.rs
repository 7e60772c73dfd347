//! Whether Podman has anything to tell: told without calling it.

use std::path::{Path, PathBuf};

use crate::model::Scope;

/// Where a Podman that ran since the boot left its traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The file that Podman makes when it is first called after a boot.
    alive: PathBuf,
    /// Where containers.conf(5) may say that it lies elsewhere (`tmp_dir`): files, and directories of
    /// drop-ins.
    configuration: Vec<PathBuf>,
}

impl Presence {
    /// The usual places; `None` for a user without a runtime directory, who can have no Podman.
    pub fn of(scope: Scope, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<Self> {
        let alive = match scope {
            Scope::System => PathBuf::from("/run/libpod/alive"),
            Scope::User => variable("XDG_RUNTIME_DIR")?.join("libpod/tmp/alive"),
        };
        let configuration = configuration(scope, variable);
        Some(Self { alive, configuration })
    }

    /// Whether Podman was called since the boot: else nothing of its runs.
    pub(super) fn has_run(&self) -> bool {
        self.alive.exists() || self.configuration.iter().any(|path| moves_traces(path))
    }
}

/// Where containers.conf(5) lies, from the weakest to the strongest: files, and directories of drop-ins.
pub(super) fn configuration(
    scope: Scope,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Vec<PathBuf> {
    if let Some(only) = variable("CONTAINERS_CONF") {
        return vec![only];
    }
    let user = variable("XDG_CONFIG_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".config")))
        .map(|config| config.join("containers"))
        .filter(|_| scope == Scope::User);
    ["/usr/share/containers", "/etc/containers"]
        .into_iter()
        .map(PathBuf::from)
        .chain(user)
        .flat_map(|root| [root.join("containers.conf"), root.join("containers.conf.d")])
        .collect()
}

/// Whether a file, or one in the directory, says where the traces lie. What cannot be read may.
fn moves_traces(path: &Path) -> bool {
    if path.is_dir() {
        let Ok(entries) = std::fs::read_dir(path) else { return true };
        return entries
            .flatten()
            .any(|entry| entry.path().is_file() && moves_traces(&entry.path()));
    }
    match std::fs::read_to_string(path) {
        Ok(text) => text.lines().any(|line| line.trim_start().starts_with("tmp_dir")),
        Err(cause) => cause.kind() != std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_podman_that_never_ran_is_not_called() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("containers.conf");
        let presence = Presence {
            alive: dir.path().join("alive"),
            configuration: vec![conf.clone(), dir.path().join("none.d")],
        };
        std::fs::write(&conf, "[engine]\n#tmp_dir = \"/x\"\n").unwrap();
        assert!(!presence.has_run());
        std::fs::write(&conf, "[engine]\n  tmp_dir = \"/x\"\n").unwrap();
        assert!(presence.has_run(), "it may have run, elsewhere");
        std::fs::write(&conf, "").unwrap();
        std::fs::write(dir.path().join("alive"), "").unwrap();
        assert!(presence.has_run());
    }

    #[test]
    fn a_user_without_a_runtime_directory_has_none() {
        assert_eq!(Presence::of(Scope::User, |_| None), None);
        let variable = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| "/run/user/7".into());
        let presence = Presence::of(Scope::User, variable).unwrap();
        assert_eq!(presence.alive, Path::new("/run/user/7/libpod/tmp/alive"));
    }
}
