//! Becoming one of a container's users, where the container has a user namespace of its own: the
//! runtime enters all of a running container's namespaces but that.

use std::fs::File;
use std::os::fd::AsFd;

use nix::unistd::{Gid, Uid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Whom a program runs as, in which user namespace.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) namespace: File,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

impl Member {
    /// Enters the namespace, with all capabilities in it, and becomes the user.
    pub(super) fn become_it(&self) -> Result<(), String> {
        let failed = |error: nix::Error| format!("user namespace: {error}");
        let kind = Some(LinkNameSpaceType::User);
        move_into_link_name_space(self.namespace.as_fd(), kind)
            .map_err(|error| format!("user namespace: {error}"))?;
        // What it may keep of them is decided afterwards.
        nix::sys::prctl::set_keepcaps(true).map_err(failed)?;
        let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        nix::unistd::setgroups(&groups).map_err(failed)?;
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        nix::unistd::setresgid(gid, gid, gid).map_err(failed)?;
        nix::unistd::setresuid(uid, uid, uid).map_err(failed)?;
        nix::sys::prctl::set_keepcaps(false).map_err(failed)?;
        // A change of user takes them out of effect; they are there to be used once more.
        let all = caps::read(None, caps::CapSet::Permitted);
        all.and_then(|all| caps::set(None, caps::CapSet::Effective, &all))
            .map_err(|error| format!("capabilities: {error}"))
    }
}
