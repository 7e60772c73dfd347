//! What an installed runtime cannot do, or said it could not.

use std::io;
use std::path::PathBuf;

use crate::launch::Error as LaunchError;

/// Why a container does not run by the runtime that was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--runtime: no OCI runtime \"{name}\" is in any of {places}")]
    NotFound { name: String, places: String },
    #[error("--runtime: {0:?} is neither a name nor a path from the root")]
    Relative(String),
    #[error("--runtime: no program is at {path}", path = path.display())]
    NoProgram { path: PathBuf, source: io::Error },
    #[error(
        "--runtime: {path} is neither crun nor runc, by what \"--version\" says: {said:?}",
        path = path.display()
    )]
    Unknown { path: PathBuf, said: String },
    #[error("the runtime {name} cannot be run")]
    NotRun { name: String, source: io::Error },
    #[error("the runtime {name} could not {verb} the container: {said}")]
    Failed { name: String, verb: &'static str, said: String },
    #[error(
        "--group-add keep-groups: the runtime {0} takes the caller's groups away; use crun, or leave \
         --runtime out"
    )]
    KeepGroups(String),
    #[error(
        "--systemd in a user namespace: the runtime {0} mounts no cgroups there; use runc, or leave \
         --runtime out"
    )]
    NoCgroups(String),
    #[error("the runtime {name} does not say which process it started")]
    NoProcess { name: String, source: io::Error },
}

/// What a runtime `said` when it could not `verb`: its words for a program that cannot be run are
/// ours for that, else they are passed on.
pub(super) fn failure(
    name: &str,
    verb: &'static str,
    said: &str,
    command: &str,
    directory: &str,
) -> LaunchError {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let command = || command.to_owned();
    // "executable file `x` not found in $PATH", "open executable: Permission denied" (crun);
    // "exec: \"x\": stat /x: no such file or directory", "exec /x: permission denied" (runc).
    if has(&["executable", "exec: \"", ": exec /"]) {
        if has(&["not found", "no such file"]) {
            return LaunchError::CommandNotFound { command: command() };
        }
        if has(&["permission denied", "not permitted", "is a directory"]) {
            let why = "permission denied".to_owned();
            return LaunchError::CommandNotExecutable { command: command(), why };
        }
    }
    if has(&["chdir"]) {
        let directory = directory.to_owned();
        return LaunchError::NoDirectory { directory, why: "cannot be entered" };
    }
    Error::Failed { name: name.to_owned(), verb, said: said.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runtimes_say_of_a_program_has_its_status() {
        let status = |said: &str| failure("r", "create", said, "x", "/").status();
        for said in [
            "executable file `x` not found in $PATH: No such file or directory",
            "unable to start container process: exec: \"x\": executable file not found in $PATH",
            "unable to start container process: exec: \"/x\": stat /x: no such file or directory",
        ] {
            assert_eq!(status(said), 127, "{said}");
        }
        for said in [
            "open executable: Operation not permitted",
            "open executable: Permission denied",
            "unable to start container process: exec: \"/etc\": permission denied",
            "unable to start container process: exec /etc/x: permission denied",
        ] {
            assert_eq!(status(said), 126, "{said}");
        }
        assert_eq!(status("mount `x` to `y`: No such file or directory"), 125);
    }
}
