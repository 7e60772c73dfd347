//! A container's own user namespace, and who its users are outside of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::launch::place::Place;
use crate::launch::storage::idmap::{Mapping, Range};
use crate::launch::userns::Error;
use crate::launch::userns::caller::{Within, stranger};
use crate::model::{Digest, Scope};
use crate::store::Store;

/// Whom the kernel shows where there is nobody (user_namespaces(7), "overflowuid").
const NOBODY: u32 = 65_534;

/// A user namespace, there as long as this is.
#[derive(Debug)]
pub(crate) struct Own {
    namespace: OwnedFd,
    mapping: Mapping,
    /// Who made it: only the host's root may have mounts show files by it.
    scope: Scope,
}

impl Own {
    pub(super) fn new(namespace: OwnedFd, mapping: Mapping, scope: Scope) -> Self {
        Self { namespace, mapping, scope }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// What the processes that enter it know it by: they inherit the descriptor.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.namespace.as_raw_fd()).into()
    }

    /// Who a user of the container is on the host.
    pub(crate) fn user(&self, uid: u32) -> Option<u32> {
        host(&self.mapping.uids, uid)
    }

    /// Who a group of the container is on the host.
    pub(crate) fn group(&self, gid: u32) -> Option<u32> {
        host(&self.mapping.gids, gid)
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Who somebody outside is in the container: nobody, where they are not in it.
    pub(crate) fn inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let of = |ranges: &[Range], id: u32| {
            ranges.iter().find_map(|range| {
                let past = id.checked_sub(range.host).filter(|past| *past < range.count)?;
                Some(range.file + past)
            })
        };
        let nobody = |found: Option<u32>| found.unwrap_or(NOBODY);
        (nobody(of(&self.mapping.uids, uid)), nobody(of(&self.mapping.gids, gid)))
    }

    /// Whether mounts show the container its files by this namespace. Where they do not, files
    /// belong on disk to whom the container's users are outside of it.
    pub(crate) fn is_shown(&self) -> bool {
        self.scope == Scope::System
    }

    /// Who the files of a container's user and group belong to on disk.
    pub(crate) fn on_disk(&self, uid: u32, gid: u32) -> Result<(u32, u32), Error> {
        if self.is_shown() {
            return Ok((uid, gid));
        }
        let user = self.user(uid).ok_or(Error::Unmapped(uid))?;
        Ok((user, self.group(gid).ok_or(Error::UnmappedGroup(gid))?))
    }

    /// Layers as they are to be mounted for it.
    pub(crate) fn layers(
        &self,
        place: &Place,
        layers: Vec<PathBuf>,
    ) -> Result<Vec<PathBuf>, Error> {
        if self.is_shown() {
            return Ok(layers);
        }
        let within = Within::current().map_err(Error::Prepare)?;
        let user = stranger(&self.mapping.uids, within.users);
        let group = stranger(&self.mapping.gids, within.groups);
        // Of a map with all IDs of ours, each has one of its own.
        let owners = |uid, gid| {
            let nobody = (user.unwrap_or_default(), group.unwrap_or_default());
            (self.user(uid).unwrap_or(nobody.0), self.group(gid).unwrap_or(nobody.1))
        };
        let covers =
            |ranges: &[Range], others: u32| (0..=others).all(|id| host(ranges, id).is_some());
        let whole = user.is_some() || covers(&self.mapping.uids, within.users);
        let whole = whole && (group.is_some() || covers(&self.mapping.gids, within.groups));
        if !whole {
            return Err(Error::NoStranger);
        }
        let key = Digest::of(self.mapping.to_string().as_bytes()).hex();
        Ok(Store::open(&place.state)?.mapped(&layers, &key, &owners)?)
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
            // SAFETY: changes two numbers of this thread alone.
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

    /// Who the container's root is outside.
    pub(crate) fn root(&self) -> Result<(u32, u32), Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_both_ways() {
        let range = |file, host, count| Range { file, host, count };
        let mapping = Mapping {
            uids: vec![range(0, 100, 10), range(10, 500, 20)],
            gids: vec![range(5, 7, 1)],
        };
        let namespace = std::fs::File::open("/dev/null").unwrap().into();
        let own = Own::new(namespace, mapping, Scope::User);
        let users = [0, 10, 29, 30].map(|uid| own.user(uid));
        assert_eq!(users, [Some(100), Some(500), Some(519), None]);
        assert_eq!(own.inside(519, 7), (29, 5));
        assert_eq!(own.inside(1, 1), (NOBODY, NOBODY));
        assert_eq!(own.on_disk(10, 5).unwrap(), (500, 7));
        assert!(own.on_disk(30, 5).is_err() && own.on_disk(0, 0).is_err());
    }
}
