//! Having a user namespace for a container, or for a pod: made by what was asked for, or found.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::launch::Error as LaunchError;
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::pod::store::Pods;
use crate::launch::storage::idmap::{self, Mapping, Range};
use crate::launch::userns::allocate::first_free;
use crate::launch::userns::asked::Asked;
use crate::launch::userns::caller::Within;
use crate::launch::userns::own::Own;
use crate::launch::userns::ranges::{self, Owner};
use crate::launch::userns::{Error, SUBGID, SUBUID, map, read};
use crate::model::{ContainerId, Scope};
use crate::store::containers::{Allotted, Process};

/// Whose subordinate IDs `--userns=auto` gives to root's containers, as Podman has it.
const POOL: &str = "containers";

/// What a user namespace is had from, besides what was asked for.
pub(crate) struct Setting<'a> {
    pub(crate) place: &'a Place,
    /// Whose it is: a container, or a pod.
    pub(crate) id: &'a ContainerId,
    /// The IDs that it has been given before.
    pub(crate) allotted: Option<Allotted>,
    /// How many IDs make sense for it.
    pub(crate) needed: &'a dyn Fn() -> u32,
    /// Notes the IDs that only it is to have. The lock of the records is held.
    pub(crate) note: &'a mut dyn FnMut(Allotted) -> Result<(), LaunchError>,
}

/// The namespace that `asked` says, `None` for the launcher's. IDs that nobody else is to have are
/// noted first.
pub(crate) fn have(asked: &Asked, setting: Setting<'_>) -> Result<Option<Own>, LaunchError> {
    let place = setting.place;
    asked.check(place.scope).map_err(Error::from)?;
    let mapping = match asked {
        Asked::Host => return Ok(None),
        Asked::Container(word) => return of_container(place, word),
        Asked::At(path) => return Ok(Some(open(place, path)?)),
        Asked::Mapped(mapping) => mapping.clone(),
        Asked::Named { .. } if place.scope == Scope::User => return Err(Error::Names.into()),
        Asked::Named { users, groups } => {
            let (uids, gids) = (named(SUBUID, users)?, named(SUBGID, groups)?);
            Mapping { uids: consecutive(&uids), gids: consecutive(&gids) }
        }
        Asked::KeepId { .. } | Asked::NoMap => around_caller(asked)?,
        Asked::Auto { size } => {
            let size = size.unwrap_or_else(setting.needed);
            let allotted = allot(setting, size)?;
            let range = |host| vec![Range { file: 0, host, count: allotted.count }];
            Mapping { uids: range(allotted.first_uid), gids: range(allotted.first_gid) }
        }
    };
    let namespace = idmap::namespace(&mapping).map_err(Error::Make)?;
    let own = Own::new(namespace, mapping, place.scope);
    own.root()?;
    Ok(Some(own))
}

fn around_caller(asked: &Asked) -> Result<Mapping, Error> {
    let within = Within::current().map_err(Error::Prepare)?;
    for (file, others) in [(SUBUID, within.users), (SUBGID, within.groups)] {
        if others == 0 {
            let user = nix::unistd::User::from_uid(within.uid.into()).ok().flatten();
            let name = user.map_or_else(|| within.uid.to_string(), |user| user.name);
            return Err(Error::NoRange { file, name });
        }
    }
    Ok(match asked.kept(within) {
        Some((uid, gid)) => within.keeping(uid, gid),
        None => within.without(),
    })
}

/// A range that nobody else has, by the records of all containers and pods; its own once it has
/// one. Whoever is killed in between has noted nothing, or it all.
fn allot(setting: Setting<'_>, count: u32) -> Result<Allotted, LaunchError> {
    if let Some(allotted) = setting.allotted.filter(|allotted| allotted.count >= count) {
        return Ok(allotted);
    }
    let (uids, gids) = pools(setting.place.scope)?;
    let records = setting.place.records();
    let _lock = records.lock()?;
    let containers = records.all()?.records.into_iter().map(|other| (other.id, other.allotted));
    let pods = Pods::open(setting.place).all()?.into_iter().map(|pod| (pod.id, pod.allotted));
    let others: Vec<Allotted> = containers
        .chain(pods)
        .filter(|(id, _)| id != setting.id)
        .filter_map(|(_, allotted)| allotted)
        .collect();
    let taken = |first: fn(&Allotted) -> u32| -> Vec<_> {
        others.iter().map(|other| first(other)..first(other) + other.count).collect()
    };
    let full = |file| Error::Full { file, count, holders: others.len() };
    let allotted = Allotted {
        first_uid: first_free(&uids, &taken(|other| other.first_uid), count)
            .ok_or_else(|| full(SUBUID))?,
        first_gid: first_free(&gids, &taken(|other| other.first_gid), count)
            .ok_or_else(|| full(SUBGID))?,
        count,
    };
    (setting.note)(allotted)?;
    Ok(allotted)
}

type Pool = Vec<std::ops::Range<u32>>;

/// The IDs that `--userns=auto` gives away: root's those of "containers", as Podman has it; an
/// ordinary user's all that they have, but for their own.
fn pools(scope: Scope) -> Result<(Pool, Pool), Error> {
    if scope == Scope::System {
        return Ok((named(SUBUID, POOL)?, named(SUBGID, POOL)?));
    }
    let within = Within::current().map_err(Error::Prepare)?;
    let all = |count: u32| -> Pool { std::iter::once(1..count.saturating_add(1)).collect() };
    Ok((all(within.users), all(within.groups)))
}

fn named(file: &'static str, name: &str) -> Result<Vec<std::ops::Range<u32>>, Error> {
    let uid = nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    let found = ranges::of(Owner { name, uid }, &read(file)?);
    match found.is_empty() {
        true => Err(Error::NoRange { file, name: name.to_owned() }),
        false => Ok(found),
    }
}

fn consecutive(ranges: &[std::ops::Range<u32>]) -> Vec<Range> {
    let mut next = 0u32;
    let mut lines = Vec::new();
    for range in ranges {
        let count = (range.end - range.start).min(u32::MAX - next);
        lines.push(Range { file: next, host: range.start, count });
        next += count;
    }
    lines.retain(|line| line.count > 0);
    lines
}

fn of_container(place: &Place, word: &str) -> Result<Option<Own>, LaunchError> {
    let other = containers::find(place, word)?;
    let init = other.pid.filter(|init| init.is_alive());
    let init = init.ok_or_else(|| LaunchError::NotRunning(word.to_owned()))?;
    Ok(of_process(place, init)?)
}

/// The namespace of a process, where it is another than ours.
pub(crate) fn of_process(place: &Place, process: Process) -> Result<Option<Own>, Error> {
    let path = PathBuf::from(format!("/proc/{}/ns/user", process.pid));
    match other(process.pid).map_err(|source| Error::Open(path.clone(), source))? {
        Some(_) => open(place, &path).map(Some),
        None => Ok(None),
    }
}

/// The namespace at a path, with what is mapped in it.
fn open(place: &Place, path: &Path) -> Result<Own, Error> {
    let failed = |source| Error::Open(path.to_owned(), source);
    let namespace = File::open(path).map_err(failed)?;
    let own = File::open("/proc/self/ns/user").map_err(failed)?;
    if is_same(&namespace, &own).map_err(failed)? {
        return Err(failed(io::Error::other("that is the host's own")));
    }
    let (uids, gids) = within(&namespace).map_err(failed)?;
    let lines = |text: &str| -> Vec<Range> {
        let lines = map::lines(text).into_iter();
        lines.map(|(file, host, count)| Range { file, host, count }).collect()
    };
    let mapping = Mapping { uids: lines(&uids), gids: lines(&gids) };
    Ok(Own::new(namespace.into(), mapping, place.scope))
}

/// What is mapped in a namespace, in the words of `/proc/PID/uid_map` and `gid_map`, as seen from
/// ours: a process in it is asked for, which is made for that.
fn within(namespace: &File) -> io::Result<(String, String)> {
    let (entered, enter) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: this process has one thread, so the child's memory is whole.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            drop(entered);
            let kind = Some(LinkNameSpaceType::User);
            if move_into_link_name_space(namespace.as_fd(), kind).is_ok() {
                let _ = rustix::io::write(&enter, b"e");
            }
            drop(enter);
            // Until it has been looked at: our end.
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            loop {
                nix::unistd::pause();
            }
        }
        nix::unistd::ForkResult::Parent { child } => {
            drop(enter);
            let is_in = matches!(rustix::io::read(&entered, &mut [0u8; 1]), Ok(1));
            let text = |name| std::fs::read_to_string(format!("/proc/{child}/{name}"));
            let maps = text("uid_map").and_then(|uids| Ok((uids, text("gid_map")?)));
            let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
            nix::sys::wait::waitpid(child, None)?;
            if is_in { maps } else { Err(io::Error::other("it cannot be entered")) }
        }
    }
}

/// The user namespace of a process, where it is another than ours.
pub(crate) fn other(process: i32) -> io::Result<Option<File>> {
    let open = |process: &str| File::open(format!("/proc/{process}/ns/user"));
    let (theirs, ours) = (open(&process.to_string())?, open("self")?);
    Ok(if is_same(&theirs, &ours)? { None } else { Some(theirs) })
}

/// Who a user of the container whose first process is `init`, in another user namespace, is here.
pub(crate) fn user_of(init: i32, uid: u32) -> Option<u32> {
    map::outside(&std::fs::read_to_string(format!("/proc/{init}/uid_map")).ok()?, uid)
}

fn is_same(a: &File, b: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (a, b) = (a.metadata()?, b.metadata()?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other() {
        let range = |file, host, count| Range { file, host, count };
        let ranges = consecutive(&[100..110, 500..520]);
        assert_eq!(ranges, [range(0, 100, 10), range(10, 500, 20)]);
    }
}
