//! A container's own user namespace: made, or found, before it is started.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::launch::Error as LaunchError;
use crate::launch::isolation::namespaces::Namespace;
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::storage::idmap::{self, Mapping, Range};
use crate::launch::userns::allocate::{first_free, needed};
use crate::launch::userns::asked::Asked;
use crate::launch::userns::ranges::{self, Owner};
use crate::launch::userns::{Error, SUBGID, SUBUID, map, read};
use crate::model::Scope;
use crate::store::containers::{Allotted, Record};

/// Whose subordinate IDs `--userns=auto` gives to containers, as Podman has it.
const POOL: &str = "containers";

/// A user namespace, there as long as this is.
#[derive(Debug)]
pub(crate) struct Own {
    namespace: OwnedFd,
    mapping: Mapping,
}

impl Own {
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// What the processes that enter it know it by: they inherit the descriptor.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.namespace.as_raw_fd()).into()
    }

    /// Its users and groups, in the runtime's words.
    pub(crate) fn mappings(
        &self,
    ) -> Result<(Vec<LinuxIdMapping>, Vec<LinuxIdMapping>), OciSpecError> {
        let line = |range: &Range| {
            let builder = LinuxIdMappingBuilder::default();
            builder.container_id(range.file).host_id(range.host).size(range.count).build()
        };
        let lines = |ranges: &[Range]| ranges.iter().map(line).collect::<Result<_, _>>();
        Ok((lines(&self.mapping.uids)?, lines(&self.mapping.gids)?))
    }

    /// Who a user of the container is on the host.
    pub(crate) fn user(&self, uid: u32) -> Option<u32> {
        host(&self.mapping.uids, uid)
    }

    /// Who a group of the container is on the host.
    pub(crate) fn group(&self, gid: u32) -> Option<u32> {
        host(&self.mapping.gids, gid)
    }

    /// Works as the container's root to file systems, and as ourselves otherwise: with all
    /// capabilities, which a change of that user drops.
    ///
    /// # Errors
    /// Where it has no root, or capabilities cannot be kept.
    pub(crate) fn as_root<T>(&self, work: impl FnOnce() -> T) -> Result<T, Error> {
        let (uid, gid) = self.root()?;
        let effective = caps::read(None, caps::CapSet::Effective).map_err(capabilities)?;
        let become_them = |uid, gid| {
            // SAFETY: changes two numbers of this thread, which is the only one.
            unsafe {
                libc::setfsgid(gid);
                libc::setfsuid(uid);
            }
            caps::set(None, caps::CapSet::Effective, &effective).map_err(capabilities)
        };
        become_them(uid, gid)?;
        let done = work();
        become_them(0, 0)?;
        Ok(done)
    }

    fn root(&self) -> Result<(u32, u32), Error> {
        self.user(0).zip(self.group(0)).ok_or(Error::Unmapped(0))
    }
}

fn capabilities(error: caps::errors::CapsError) -> Error {
    Error::Prepare(io::Error::other(error))
}

fn host(ranges: &[Range], inside: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let past = inside.checked_sub(range.file).filter(|past| *past < range.count)?;
        range.host.checked_add(past)
    })
}

/// The namespace that `asked` says, `None` for the launcher's. IDs that only this container is to
/// have are noted in its record first. `passwd` and `group` are the image's.
pub(crate) fn have(
    place: &Place,
    asked: &Asked,
    record: &mut Record,
    network: &Namespace,
    (passwd, group): (&str, &str),
) -> Result<Option<Own>, LaunchError> {
    if *asked == Asked::Host {
        return Ok(None);
    }
    if place.scope == Scope::User {
        return Err(Error::OrdinaryUser.into());
    }
    if record.pod.is_some() {
        return Err(Error::InPod.into());
    }
    // A network that was made for the container belongs to the host's root: only there can it be
    // entered.
    if matches!(network, Namespace::At(_)) {
        return Err(Error::Network.into());
    }
    let mapping = match asked {
        Asked::Host => return Ok(None),
        Asked::Container(word) => return of_container(place, word).map(Some),
        Asked::At(path) => return Ok(Some(open(path)?)),
        Asked::Mapped(mapping) => mapping.clone(),
        Asked::Named { users, groups } => {
            let (uids, gids) = (named(SUBUID, users)?, named(SUBGID, groups)?);
            Mapping { uids: consecutive(&uids), gids: consecutive(&gids) }
        }
        Asked::Auto { size } => {
            let size = size.unwrap_or_else(|| needed(passwd, group));
            let allotted = allot(place, record, size)?;
            let range = |host| vec![Range { file: 0, host, count: allotted.count }];
            Mapping { uids: range(allotted.first_uid), gids: range(allotted.first_gid) }
        }
    };
    let namespace = idmap::namespace(&mapping).map_err(Error::Make)?;
    let own = Own { namespace, mapping };
    own.root()?;
    Ok(Some(own))
}

/// A range that no other container has, by the records of all; its own once it has one. Whoever is
/// killed in between has noted nothing, or it all.
fn allot(place: &Place, record: &mut Record, count: u32) -> Result<Allotted, LaunchError> {
    if let Some(allotted) = record.allotted.filter(|allotted| allotted.count >= count) {
        return Ok(allotted);
    }
    let (uids, gids) = (named(SUBUID, POOL)?, named(SUBGID, POOL)?);
    let records = place.records();
    let _lock = records.lock()?;
    let others: Vec<Allotted> = records
        .all()?
        .records
        .iter()
        .filter(|other| other.id != record.id)
        .filter_map(|other| other.allotted)
        .collect();
    let taken = |first: fn(&Allotted) -> u32| -> Vec<_> {
        others.iter().map(|other| first(other)..first(other) + other.count).collect()
    };
    let full = |file| Error::Full { file, count, containers: others.len() };
    let allotted = Allotted {
        first_uid: first_free(&uids, &taken(|other| other.first_uid), count)
            .ok_or_else(|| full(SUBUID))?,
        first_gid: first_free(&gids, &taken(|other| other.first_gid), count)
            .ok_or_else(|| full(SUBGID))?,
        count,
    };
    record.allotted = Some(allotted);
    records.write(record)?;
    Ok(allotted)
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

fn of_container(place: &Place, word: &str) -> Result<Own, LaunchError> {
    let other = containers::find(place, word)?;
    let init = other.pid.filter(|init| init.is_alive());
    let init = init.ok_or_else(|| LaunchError::NotRunning(word.to_owned()))?;
    Ok(open(Path::new(&format!("/proc/{}/ns/user", init.pid)))?)
}

/// The namespace at a path, with what is mapped in it.
fn open(path: &Path) -> Result<Own, Error> {
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
    Ok(Own { namespace: namespace.into(), mapping })
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
    fn an_id_is_found_in_its_range() {
        let ranges = consecutive(&[100..110, 500..520]);
        assert_eq!(ranges[1], Range { file: 10, host: 500, count: 20 });
        assert_eq!((host(&ranges, 0), host(&ranges, 10), host(&ranges, 29)), {
            (Some(100), Some(500), Some(519))
        });
        assert_eq!(host(&ranges, 30), None);
    }
}
