//! A program's terminal: made in the container, from its own devpts, and handed out over a socket
//! (runtime-spec; runc, "docs/terminals.md").

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Uid;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::launch::Error;

/// How long a terminal that was made may be on its way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the runtime hands out the terminal of the program that it starts.
#[derive(Debug)]
pub(crate) struct Console {
    listener: UnixListener,
    path: PathBuf,
    directory: File,
}

impl Console {
    /// Listens in `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(format!("console-{}", std::process::id()));
        let listen = || {
            let opened = File::open(directory)?;
            let name = format!("console-{}", std::process::id());
            // The whole path may be longer than sun_path.
            let short = format!("/proc/self/fd/{}/{name}", opened.as_raw_fd());
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            Ok((UnixListener::bind(short)?, opened))
        };
        match listen() {
            Ok((listener, directory)) => Ok(Self { listener, path, directory }),
            Err(source) => Err(Error::file("listen at", path, source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same for another process, and no longer than an address may be.
    pub(crate) fn short_path(&self) -> PathBuf {
        let (pid, directory) = (std::process::id(), self.directory.as_raw_fd());
        let name = self.path.file_name().unwrap_or_default();
        Path::new("/proc").join(format!("{pid}/fd/{directory}")).join(name)
    }

    /// The terminal's other end, once the runtime has made it; `uid` owns the terminal then.
    pub(crate) fn receive(&self, uid: u32) -> Result<OwnedFd, Error> {
        let received = || {
            let (socket, _) = self.listener.accept()?;
            socket.set_read_timeout(Some(PATIENCE))?;
            let master = descriptor(&socket)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            own(&master, uid)?;
            Ok(master)
        };
        received().map_err(|error: io::Error| Error::system("receive the terminal", error))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn descriptor(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut name = [0u8; 4096];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut name)], &mut control, flags)?;
    let rights = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(rights)
}

/// A program that is not root could not open its own terminal otherwise.
fn own(master: &OwnedFd, uid: u32) -> io::Result<()> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the descriptor is open; the call takes a number, and returns a new descriptor.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    if slave < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    match rustix::fs::fchown(slave.as_fd(), Some(Uid::from_raw(uid)), None) {
        // Of a user namespace that has not this user.
        Err(rustix::io::Errno::PERM) => Ok(()),
        changed => Ok(changed?),
    }
}
