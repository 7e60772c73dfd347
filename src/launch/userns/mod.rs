//! The user namespace of an ordinary user: root in it is the user, and the other users in it are
//! those that /etc/subuid and /etc/subgid give away. Layers and what containers write keep their
//! owners so, and mounts, cgroups and containers can be made as root makes them.
//!
//! A process enters one for itself, by unshare(2), which leaves its process ID as it is: to systemd
//! it is the same main process. Each launcher has a namespace of its own, all with the same map; who
//! wants to get at what runs in another one's joins that.

pub(crate) mod allocate;
pub(crate) mod asked;
pub(crate) mod caller;
pub(crate) mod have;
pub(crate) mod map;
pub(crate) mod mode;
pub(crate) mod own;
pub(crate) mod ranges;
pub(crate) mod shift;

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::{ForkResult, Pid, fork};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use map::IdMap;
use ranges::Owner;

use crate::store::containers::Process;

const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";
/// How many IDs an image may count on: its users and groups, and nobody.
pub(crate) const USUAL: u32 = 65_536;

/// Why an ordinary user gets no user namespace, or cannot join one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the calling user {0} is not in passwd(5), which subordinate IDs are given to")]
    Nobody(u32),
    #[error("cannot read {0}")]
    Ranges(&'static str, #[source] io::Error),
    #[error("cannot make a user namespace{}", forbidden())]
    Unshare(#[source] io::Error),
    #[error(
        "{program} cannot be run, which maps the users of {SUBUID} and {SUBGID}: install it \
         (Debian: uidmap)"
    )]
    Program { program: &'static str, source: io::Error },
    #[error(
        "the users of a container cannot be mapped: {0}; see {SUBUID} and {SUBGID}, and whether a \
         unit's NoNewPrivileges= keeps newuidmap and newgidmap from their privileges"
    )]
    Refused(String),
    #[error("cannot map the user namespace's root")]
    Single(#[source] io::Error),
    #[error("cannot join the user namespace of the container's supervisor, process {0}")]
    Join(i32, #[source] io::Error),
    #[error(transparent)]
    Mode(#[from] mode::InvalidMode),
    #[error("cannot prepare a user namespace")]
    Prepare(#[source] io::Error),
    #[error("--subuidname and --subgidname are root's: --userns=nomap has all of an ordinary user")]
    Names,
    #[error("--userns and --pod cannot be set together")]
    InPod,
    #[error(
        "the map leaves some users of the image's files without a number, and has no number of the \
         user's left for them: map fewer"
    )]
    NoStranger,
    #[error("{file} has no range for {name}: add a line such as \"{name}:{free}:65536\"", free = first_free(.file))]
    NoRange { file: &'static str, name: String },
    #[error(
        "{count} IDs in a row are not free among those that {file} gives to containers, of which \
         {holders} containers and pods have some: make the range longer, or say \
         --userns=auto:size=N"
    )]
    Full { file: &'static str, count: u32, holders: usize },
    #[error("user {0} of the container is not in the map of its user namespace")]
    Unmapped(u32),
    #[error("group {0} of the container is not in the map of its user namespace")]
    UnmappedGroup(u32),
    #[error("cannot make the container's user namespace, by its map")]
    Make(#[source] io::Error),
    #[error("no user namespace can be had from {path}", path = .0.display())]
    Open(PathBuf, #[source] io::Error),
    #[error("cannot bind {path} into a user namespace", path = .0.display())]
    Bind(PathBuf, #[source] io::Error),
    #[error(
        "the files at {path} cannot be shown by the map of a user namespace: not all file systems \
         can (mount_setattr(2), \"ID-mapped mounts\")",
        path = .0.display()
    )]
    Map(PathBuf, #[source] io::Error),
    #[error("cannot prepare the mounts of a user namespace")]
    Stage(#[source] io::Error),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

fn first_free(file: &&'static str) -> String {
    let text = read(file).unwrap_or_default();
    ranges::free(&text, USUAL).map_or_else(|| "START".to_owned(), |start| start.to_string())
}

/// What this host's administrator may have switched off.
fn forbidden() -> String {
    let zero = |name: &&&str| {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "0")
    };
    let off = ["kernel.unprivileged_userns_clone", "user.max_user_namespaces"];
    off.iter().find(zero).map(|name| format!(": sysctl {name} is 0")).unwrap_or_default()
}

/// Enters a new user namespace, as root of it. Nobody but this process is in it. Where the user has
/// no ranges, it has no user but root, and that is said.
pub(crate) fn enter() -> Result<(), Error> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    let name = user.map(|user| user.name).ok_or(Error::Nobody(uid))?;
    let owner = Owner { name: &name, uid: Some(uid) };
    let (subuid, subgid) = (read(SUBUID)?, read(SUBGID)?);
    let (uids, gids) = (ranges::of(owner, &subuid), ranges::of(owner, &subgid));
    for (file, text, found) in [(SUBUID, &subuid, &uids), (SUBGID, &subgid, &gids)] {
        if found.is_empty() {
            warn(file, text, &name);
            return single(uid, gid);
        }
    }
    whole(IdMap::of_user(uid, &uids), IdMap::of_user(gid, &gids))
}

fn read(file: &'static str) -> Result<String, Error> {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text.map_err(|source| Error::Ranges(file, source)),
    }
}

fn warn(file: &str, text: &str, name: &str) {
    let free: Option<Range<u32>> = ranges::free(text, USUAL).map(|start| start..start + USUAL);
    let line = free.map(|free| format!("\"{name}:{}:{USUAL}\"", free.start));
    eprintln!(
        "Warning: {file} has no range for {name}: containers have no user but root until a line \
         such as {} is added",
        line.as_deref().unwrap_or("NAME:START:COUNT"),
    );
}

/// A namespace of one user and one group, which everybody may map for himself.
fn single(uid: u32, gid: u32) -> Result<(), Error> {
    unshare().map_err(Error::Unshare)?;
    let write = |file: &str, text: String| std::fs::write(Path::new("/proc/self").join(file), text);
    // Whoever could leave a group could lose what the group is refused: user_namespaces(7).
    write("setgroups", "deny".to_owned())
        .and_then(|()| write("uid_map", format!("0 {uid} 1")))
        .and_then(|()| write("gid_map", format!("0 {gid} 1")))
        .map_err(Error::Single)
}

/// A namespace with all users and groups, which only newuidmap(1) and newgidmap(1) may map, and
/// only from outside: a process forked before calls them.
fn whole(uids: IdMap, gids: IdMap) -> Result<(), Error> {
    let prepare = |error: nix::Error| Error::Prepare(error.into());
    let own = Pid::this();
    let (made, make) = pipe()?;
    let (said, say) = pipe()?;
    // SAFETY: this process has one thread, so the child's memory is whole.
    let child = match unsafe { fork() }.map_err(prepare)? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop((make, said));
            // End of file: there is no namespace, and nothing to do.
            if File::from(made).read(&mut [0]).is_ok_and(|read| read == 1) {
                let words = outside(own, &uids, &gids).unwrap_or_else(|failure| failure);
                let _ = File::from(say).write_all(&words);
            }
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(0) }
        }
    };
    drop((made, say));
    let unshared = unshare();
    if unshared.is_ok() {
        File::from(make).write_all(b"m").map_err(Error::Prepare)?;
    } else {
        drop(make);
    }
    let mut words = Vec::new();
    let heard = File::from(said).read_to_end(&mut words);
    nix::sys::wait::waitpid(child, None).map_err(prepare)?;
    unshared.map_err(Error::Unshare)?;
    heard.map_err(Error::Prepare)?;
    verdict(&words)
}

/// Maps the namespace of `pid`. What it says is for [`verdict`].
fn outside(pid: Pid, uids: &IdMap, gids: &IdMap) -> Result<Vec<u8>, Vec<u8>> {
    let start = |program: &str, map: &IdMap| -> Result<Child, Vec<u8>> {
        let mut command = Command::new(program);
        command.arg(pid.to_string()).args(map.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let failed = |error: io::Error| {
            let number = error.raw_os_error().unwrap_or(libc::EIO);
            format!("{program}\0{number}").into_bytes()
        };
        command.spawn().map_err(failed)
    };
    // Side by side: each takes as long as a process takes to start.
    let children = [start(NEWUIDMAP, uids)?, start(NEWGIDMAP, gids)?];
    for child in children {
        let output = child.wait_with_output().map_err(|error| error.to_string().into_bytes())?;
        if !output.status.success() {
            return Err(output.stderr);
        }
    }
    Ok(DONE.to_vec())
}

const NEWUIDMAP: &str = "newuidmap";
const NEWGIDMAP: &str = "newgidmap";
/// What is said where all went well.
const DONE: &[u8] = b"\0";

fn verdict(words: &[u8]) -> Result<(), Error> {
    if words == DONE {
        return Ok(());
    }
    let text = String::from_utf8_lossy(words);
    let number = |(program, number): (&str, &str)| Some((program.to_owned(), number.parse().ok()?));
    match text.split_once('\0').and_then(number) {
        Some((program, number)) => Err(Error::Program {
            program: if program == NEWUIDMAP { NEWUIDMAP } else { NEWGIDMAP },
            source: io::Error::from_raw_os_error(number),
        }),
        None if text.is_empty() => Err(Error::Refused("newuidmap was killed".to_owned())),
        None => Err(Error::Refused(text.trim().replace('\n', ", "))),
    }
}

fn pipe() -> Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd), Error> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Error::Prepare(error.into()))
}

/// How often the kernel is asked again while it still counts a thread that has ended.
const AGAIN: u32 = 200;

fn unshare() -> io::Result<()> {
    let mut left = AGAIN;
    loop {
        // SAFETY: only the user namespace is left; this process has one thread, and no descriptor
        // and no memory is shared or unshared.
        match unsafe { unshare_unsafe(UnshareFlags::NEWUSER) } {
            // Whoever joined a thread may go on before the kernel has taken it off its list.
            Err(Errno::INVAL) if left > 0 => left -= 1,
            unshared => return Ok(unshared?),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the namespace that this process is in has a group of that number.
pub(crate) fn has_group(number: u32) -> bool {
    // One that cannot be read is the host's own, where all are.
    std::fs::read_to_string("/proc/self/gid_map").map_or(true, |map| map::has(&map, number))
}

/// Joins the user namespace of a container's supervisor, as root of it: who made a namespace may.
pub(crate) fn join(supervisor: Process) -> Result<(), Error> {
    let failed = |error: io::Error| Error::Join(supervisor.pid, error);
    let namespace = File::open(format!("/proc/{}/ns/user", supervisor.pid)).map_err(failed)?;
    // The number may have gone to another process before it was opened.
    if !supervisor.is_alive() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::User))
        .map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_say_is_told() {
        assert!(verdict(DONE).is_ok());
        let refused = verdict(b"newuidmap: uid range [0-1) -> [7-8) not allowed\n").unwrap_err();
        assert!(refused.to_string().contains("not allowed; see /etc/subuid"), "{refused}");
        let missing = verdict(b"newgidmap\x002").unwrap_err();
        assert!(missing.to_string().contains("Debian: uidmap"), "{missing}");
        assert!(matches!(missing, Error::Program { program: NEWGIDMAP, .. }));
        assert!(matches!(verdict(b"").unwrap_err(), Error::Refused(_)));
    }
}
