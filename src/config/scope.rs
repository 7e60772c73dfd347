//! Where things lie, for the host and for a user.

use std::path::PathBuf;

use super::Error;
pub use crate::model::Scope;

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Images, layers, ledger: kept over reboots.
    pub state: PathBuf,
    /// Containers' records, locks, sockets: gone with a reboot.
    pub run: PathBuf,
}

impl Scope {
    /// Root means the host; anybody else means themselves.
    pub fn current() -> Self {
        if rustix::process::geteuid().is_root() { Self::System } else { Self::User }
    }

    /// Where everybody's running state lies, systemd's too.
    ///
    /// # Errors
    /// For a user whose environment names no such directory.
    pub fn runtime_dir(self) -> Result<PathBuf, Error> {
        match self {
            Self::System => Ok("/run".into()),
            Self::User => user_dir("XDG_RUNTIME_DIR", None),
        }
    }

    /// The directories that hold `updaterd.toml`, the one that counts most first.
    pub(super) fn configuration_dirs(self) -> Result<Vec<PathBuf>, Error> {
        match self {
            Self::System => {
                let roots = ["/etc", "/run", "/usr/lib"];
                Ok(roots.iter().map(|root| PathBuf::from(root).join("updaterd")).collect())
            }
            Self::User => Ok(vec![user_dir("XDG_CONFIG_HOME", Some(".config"))?.join("updaterd")]),
        }
    }
}

impl Paths {
    /// Where things are kept unless the configuration says otherwise (file-hierarchy(7)).
    ///
    /// # Errors
    /// For a user whose environment names no such directories.
    pub fn of(scope: Scope) -> Result<Self, Error> {
        match scope {
            Scope::System => {
                Ok(Self { state: "/var/lib/updaterd".into(), run: "/run/updaterd".into() })
            }
            Scope::User => Ok(Self {
                state: user_dir("XDG_DATA_HOME", Some(".local/share"))?.join("updaterd"),
                run: user_dir("XDG_RUNTIME_DIR", None)?.join("updaterd"),
            }),
        }
    }
}

/// A directory of the XDG base directory specification. Relative paths do not count there.
fn user_dir(variable: &'static str, below_home: Option<&str>) -> Result<PathBuf, Error> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    if let Some(dir) = absolute(variable) {
        return Ok(dir);
    }
    let Some(below_home) = below_home else { return Err(Error::NoUserDirectory { variable }) };
    match absolute("HOME") {
        Some(home) => Ok(home.join(below_home)),
        None => Err(Error::NoUserDirectory { variable: "HOME" }),
    }
}
