//! Mounts that are made later and seen on both sides: of the host in the container (`slave`), and
//! of the container on the host, too (`shared`).
//!
//! The runtime makes all of a container's mounts private. Those that are not to be are made slaves
//! of the host's, or peers, when they are in place and before the program starts: a slave by what
//! this process sees, which is a slave of the host itself, a peer by the host's own mount.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};

use crate::launch::storage::rootfs::resolve;
use crate::launch::storage::tree;
use crate::launch::storage::volume::Propagation;

/// The host's mount namespace, as it was before we left it.
#[derive(Debug)]
pub(crate) struct Host {
    root: OwnedFd,
    mounts: Vec<Mounted>,
}

/// A line of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    id: u64,
    at: PathBuf,
    /// Whether what is mounted there is seen by others.
    shared: bool,
    /// Whether what others mount is seen there.
    slave: bool,
}

/// One mount of the container, and what it is to be a peer or a slave of.
#[derive(Debug)]
pub(crate) struct Share {
    /// In the container.
    target: PathBuf,
    /// The root of a mount.
    from: OwnedFd,
    /// What is mounted at the target: nothing else is touched.
    identity: (u64, u64),
}

/// Why a volume cannot propagate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "{path} is on {mount}, which is no shared mount: \"mount --make-shared {mount}\" on the host, \
         or leave {word} out", path = path.display(), mount = mount.display()
    )]
    Private { path: PathBuf, mount: PathBuf, word: &'static str },
    #[error("cannot make the volume at {target} {word}", target = target.display())]
    Io { target: PathBuf, word: &'static str, source: io::Error },
}

impl Host {
    /// Of this process; to be called before it leaves the mount namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { root: open_path(CWD, Path::new("/"))?, mounts: mounts()? })
    }
}

/// What has to be shared for a volume of `source`, a path of the host, once it is at `target`. Of
/// `host` only where the propagation is shared; else of our own mount namespace.
pub(crate) fn plan(
    host: Option<&Host>,
    source: &Path,
    target: &Path,
    propagation: Propagation,
) -> Result<Vec<Share>, Error> {
    let word = propagation.word();
    let failed = |source| Error::Io { target: target.to_owned(), word, source };
    if propagation.is_private() {
        return Ok(Vec::new());
    }
    let own;
    let host = match host.filter(|_| propagation.is_shared()) {
        Some(host) => host,
        None => {
            own = Host::open().map_err(failed)?;
            &own
        }
    };
    let inside = |mount: &Path| open_path(&host.root, mount.strip_prefix("/").unwrap_or(mount));
    let opened = inside(source).map_err(failed)?;
    let (id, identity) = identify(&opened).map_err(failed)?;
    let of_source = host.mounts.iter().find(|mount| mount.id == id);
    let of_source = of_source.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    if !of_source.suits(propagation) {
        let (path, mount) = (source.to_owned(), of_source.at.clone());
        return Err(Error::Private { path, mount, word });
    }
    let share = |at: &Path, target: PathBuf, identity| {
        Ok(Share { target, from: inside(at).map_err(failed)?, identity })
    };
    let mut shares = vec![share(&of_source.at, target.to_owned(), identity)?];
    for below in
        host.mounts.iter().filter(|mount| propagation.is_recursive() && mount.suits(propagation))
    {
        let Ok(rest) = below.at.strip_prefix(source) else { continue };
        let (found, identity) = identify(&inside(&below.at).map_err(failed)?).map_err(failed)?;
        // What another mount hides is not in the container either.
        if !rest.as_os_str().is_empty() && found == below.id {
            shares.push(share(&below.at, target.join(rest), identity)?);
        }
    }
    Ok(shares)
}

/// Carries the plan out in the mount namespace of `pid`, the first process of a container whose
/// program has not started.
pub(crate) fn apply(shares: &[Share], pid: i32) -> Result<(), Error> {
    for share in shares {
        let done = || -> io::Result<()> {
            let root = File::open(format!("/proc/{pid}/root"))?;
            let at = resolve(&root, &share.target, OFlags::PATH | OFlags::CLOEXEC)?;
            if identify(&at)?.1 != share.identity {
                return Err(io::Error::other("something else is mounted there"));
            }
            tree::share(share.from.as_fd(), at.as_fd())
        };
        done().map_err(|source| Error::Io {
            target: share.target.clone(),
            word: "shared",
            source,
        })?;
    }
    Ok(())
}

impl Mounted {
    fn suits(&self, propagation: Propagation) -> bool {
        if propagation.is_shared() { self.shared } else { self.slave || self.shared }
    }
}

fn open_path(from: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(openat(from, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// The mount that a file is seen through, and which file it is.
fn identify(opened: &OwnedFd) -> io::Result<(u64, (u64, u64))> {
    let wanted = StatxFlags::MNT_ID | StatxFlags::INO;
    let found = statx(opened, "", AtFlags::EMPTY_PATH, wanted)?;
    let device = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
    Ok((found.stx_mnt_id, (device, found.stx_ino)))
}

fn mounts() -> io::Result<Vec<Mounted>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(mounted).collect())
}

fn mounted(line: &str) -> Option<Mounted> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let at = unescape(fields.nth(3)?);
    let optional: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
    let has = |name: &str| optional.iter().any(|field| field.starts_with(name));
    Some(Mounted { id, at, shared: has("shared:"), slave: has("master:") })
}

/// Blanks and backslashes are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime shared:1 master:7 - ext3 /dev/root rw";
        let expected = Mounted { id: 36, at: "/mnt 2".into(), shared: true, slave: true };
        assert_eq!(mounted(line), Some(expected));
        let private = mounted("1 0 0:2 / / rw - tmpfs shared: rw").unwrap();
        assert!(!private.shared && !private.slave);
        assert_eq!(mounted(""), None);
    }
}
