//! Files between containers and the host, as tar streams: packed from one tree ([`pack`]), unpacked
//! into another ([`unpack`]). Which trees these are, [`end`] knows.
//!
//! Architecture invariant: a path of a container is resolved by the kernel beneath its root
//! (`openat2(RESOLVE_IN_ROOT)`), whatever links it holds, on every single way.

pub(crate) mod end;
pub(crate) mod pack;
pub(crate) mod unpack;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// Why files are not copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0:?}: no such file or directory{1}")]
    Missing(String, &'static str),
    #[error("{0:?} is not a directory{1}")]
    NoDirectory(String, &'static str),
    #[error("cannot read {path:?}")]
    Read { path: String, source: io::Error },
    #[error("cannot write {path:?}")]
    Write { path: String, source: io::Error },
    #[error("the archive cannot be unpacked")]
    Archive(#[from] crate::store::unpack::Fault),
    #[error("the archive cannot be written")]
    Stream(#[source] io::Error),
    #[error(
        "the archive has {0:?} as a sparse file, which is not supported: pack it without --sparse"
    )]
    Sparse(String),
    #[error("the archive has an entry {0:?}, which would lead out of where it is unpacked")]
    Outside(String),
}

impl From<io::Error> for Fault {
    fn from(source: io::Error) -> Self {
        Self::Stream(source)
    }
}

/// Opens what is at `path` beneath `root`.
fn resolve(root: impl AsFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
    loop {
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), confined) {
            // A rename or a mount somewhere raced with a `..`: openat2(2).
            Err(rustix::io::Errno::AGAIN) => {}
            opened => return opened,
        }
    }
}
