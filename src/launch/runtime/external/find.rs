//! Which runtimes this host has, and of which kind they are.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::launch::runtime::external::{Error, External, Kind};

/// Where a runtime is looked for by its name, whatever the caller's PATH is: a container starts
/// tomorrow with the one that it has today.
const PLACES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Those that people know by name.
const KNOWN: [&str; 2] = ["crun", "runc"];

impl External {
    /// The runtime of this name, or at this path.
    pub(in crate::launch::runtime) fn find(name: &str) -> Result<Self, Error> {
        let path = match name.contains('/') {
            true if !name.starts_with('/') => return Err(Error::Relative(name.to_owned())),
            true => {
                let path = PathBuf::from(name);
                is_program(&path)
                    .map_err(|source| Error::NoProgram { path: path.clone(), source })?;
                path
            }
            false => {
                let candidates = PLACES.iter().map(|place| Path::new(place).join(name));
                let found = candidates.into_iter().find(|path| is_program(path).is_ok());
                found.filter(|_| !name.is_empty()).ok_or_else(|| Error::NotFound {
                    name: name.to_owned(),
                    places: PLACES.join(", "),
                })?
            }
        };
        let kind = kind(&path)?;
        Ok(Self { name: name.to_owned(), path, kind })
    }

    /// Those that have a name.
    pub(in crate::launch::runtime) fn installed() -> Vec<Self> {
        KNOWN.iter().filter_map(|name| Self::find(name).ok()).collect()
    }

    /// What it says of itself, in one line; empty where it says nothing.
    pub(in crate::launch::runtime) fn version(&self) -> String {
        let said = ask(&self.path).unwrap_or_default();
        let first = said.lines().next().unwrap_or_default();
        first.rsplit(' ').next().unwrap_or_default().to_owned()
    }
}

fn is_program(path: &Path) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    match metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// By the name of the file; another is asked. A runtime that wraps another (one for graphics cards)
/// says of which kind that is.
fn kind(path: &Path) -> Result<Kind, Error> {
    let by_name = path.file_name().and_then(|name| name.to_str()).and_then(Kind::of);
    if let Some(kind) = by_name {
        return Ok(kind);
    }
    let said =
        ask(path).map_err(|source| Error::NotRun { name: path.display().to_string(), source })?;
    let first_words = said.lines().filter_map(|line| line.split_whitespace().next());
    first_words.into_iter().find_map(Kind::of).ok_or_else(|| Error::Unknown {
        path: path.to_owned(),
        said: said.lines().next().unwrap_or_default().chars().take(80).collect(),
    })
}

impl Kind {
    fn of(word: &str) -> Option<Self> {
        match word {
            "crun" => Some(Self::Crun),
            "runc" => Some(Self::Runc),
            _ => None,
        }
    }
}

fn ask(path: &Path) -> io::Result<String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    Ok(String::from_utf8_lossy(&command.output()?.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(directory: &Path, name: &str, says: &str) -> String {
        let path = directory.join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    #[test]
    fn a_runtime_is_what_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let kind = |name: &str, says: &str| {
            External::find(&script(directory.path(), name, says)).map(|found| found.kind)
        };
        assert_eq!(kind("crun", "").unwrap(), Kind::Crun);
        assert_eq!(kind("mine", "crun version 1.8.1").unwrap(), Kind::Crun);
        assert_eq!(kind("wraps", "Wrapper 1.0\nrunc version 1.1").unwrap(), Kind::Runc);
        assert!(matches!(kind("other", "youki 0.5"), Err(Error::Unknown { .. })));
    }

    #[test]
    fn what_is_not_there_is_named_with_its_places() {
        let said = External::find("no-such").unwrap_err().to_string();
        assert!(said.contains("\"no-such\"") && said.contains("/usr/local/sbin"), "{said}");
        assert!(matches!(External::find("./crun"), Err(Error::Relative(_))));
        assert!(matches!(External::find("/etc/passwd"), Err(Error::NoProgram { .. })));
        assert!(matches!(External::find(""), Err(Error::NotFound { .. })));
    }
}
