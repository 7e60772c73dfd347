//! A look into a container, before its program is started: whether that can be run, as its user, which
//! an installed runtime says in words of its own, and some of it only when nobody hears it any more.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::{ForkResult, Gid, Uid, fork};
use oci_spec::runtime::Process;
use rustix::fs::Access;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::launch::Error;
use crate::launch::isolation::capability::Capabilities;
use crate::launch::runtime::external::interpreter;
use crate::launch::runtime::program::{self, NO_INTERPRETER};
use crate::launch::storage::tree;
use crate::launch::userns;

/// The kernel's word for a file that is of no known form.
const NO_FORMAT: &str = "Exec format error";
/// What a report begins with, by what it is about.
const ENTRY: &str = "entry\n";
const DIRECTORY: &str = "directory\n";

/// Looks for the command of `process` in the container whose first process is `init`, and for its
/// directory.
///
/// # Errors
/// Where it cannot be run: which status that has is the error's.
pub(super) fn program(
    init: i32,
    process: &Process,
    capabilities: &Capabilities,
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::system("look for the command in the container", error);
    let users = userns::have::other(init).map_err(failed)?;
    let mounts = File::open(format!("/proc/{init}/ns/mnt")).map_err(failed)?;
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| failed(error.into()))?;
    // SAFETY: this process has one thread, so the child's memory is whole.
    let child = match unsafe { fork() }.map_err(|error| failed(error.into()))? {
        ForkResult::Child => {
            drop(read);
            let found = enter(users.as_ref(), &mounts, process, capabilities)
                .map_err(|error| format!("{ENTRY}{error}"))
                .and_then(|()| look(process));
            report(write, found.err());
        }
        ForkResult::Parent { child } => child,
    };
    drop(write);
    let mut text = String::new();
    let read = File::from(read).read_to_string(&mut text);
    let _ = nix::sys::wait::waitpid(child, None);
    read.map_err(failed)?;
    if let Some(why) = text.strip_prefix(ENTRY) {
        return Err(failed(io::Error::other(why.to_owned())));
    }
    if let Some(why) = text.strip_prefix(DIRECTORY) {
        let directory = process.cwd().display().to_string();
        let why = ["does not exist", "is not a directory"].into_iter().find(|one| *one == why);
        return Err(Error::NoDirectory { directory, why: why.unwrap_or("cannot be entered") });
    }
    program::failure(&text).map_or(Ok(()), Err)
}

fn report(write: OwnedFd, text: Option<String>) -> ! {
    if let Some(text) = text {
        let _ = File::from(write).write_all(text.as_bytes());
    }
    // SAFETY: ends this process without running what belongs to the launcher.
    unsafe { libc::_exit(0) }
}

/// Becomes the program's user, where it will be.
fn enter(
    users: Option<&File>,
    mounts: &File,
    process: &Process,
    capabilities: &Capabilities,
) -> io::Result<()> {
    let into = |file: &File, kind| move_into_link_name_space(file.as_fd(), Some(kind));
    if let Some(users) = users {
        into(users, LinkNameSpaceType::User)?;
    }
    into(mounts, LinkNameSpaceType::Mount)?;
    // As its root was mounted; crun forgets that.
    tree::forbid_devices(Path::new("/"))?;
    let user = process.user();
    let groups = user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid));
    // Of a user namespace with one user only, nobody can change groups, ignoring.
    let _ = nix::unistd::setgroups(&groups.collect::<Vec<_>>());
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::unistd::setresuid(uid, uid, uid)?;
    if uid.is_root() {
        let kept = program::parse(&capabilities.effective);
        let sets = [caps::CapSet::Effective, caps::CapSet::Permitted];
        sets.into_iter()
            .try_for_each(|set| caps::set(None, set, &kept))
            .map_err(io::Error::other)?;
    }
    Ok(())
}

/// What is wrong, as a report.
fn look(process: &Process) -> Result<(), String> {
    nix::unistd::chdir(process.cwd()).map_err(|error| {
        let why = match error {
            nix::Error::ENOENT => "does not exist",
            nix::Error::ENOTDIR => "is not a directory",
            _ => "cannot be entered",
        };
        format!("{DIRECTORY}{why}")
    })?;
    let Some(command) = process.args().iter().flatten().next() else { return Ok(()) };
    let told = |why: &str| format!("{command}\0{why}");
    let path = program::find(command, program::path_in(process)).map_err(told)?;
    rustix::fs::access(&path, Access::EXEC_OK).map_err(|_| told("permission denied"))?;
    runs(&path).map_err(told)
}

/// Whether the kernel knows what to do with a file. One that cannot be read may be run all the same.
fn runs(path: &Path) -> Result<(), &'static str> {
    let Ok(file) = File::open(path) else { return Ok(()) };
    let needed: Option<PathBuf> = match interpreter::of(&file) {
        Ok(interpreter::Needs::Nothing) | Err(_) => None,
        Ok(interpreter::Needs::Program(needed)) => Some(needed),
        Ok(interpreter::Needs::Unknown) if interpreter::others_are_known() => None,
        Ok(interpreter::Needs::Unknown) => return Err(NO_FORMAT),
    };
    match needed {
        Some(needed) if !needed.exists() => Err(NO_INTERPRETER),
        _ => Ok(()),
    }
}
