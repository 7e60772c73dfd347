//! What this program does inside a container, called with `--agent NAME`: what no shell can do.
//! A unit runs it with [`flags`].

use std::io::{IoSlice, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::os::unix::net::UnixDatagram;

use rustix::fs::MemfdFlags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// The flags that show this program, and the libraries it needs, to a container.
pub(crate) fn flags() -> String {
    let own = std::env::current_exe().unwrap();
    format!("--volume {}:/agent:ro --volume /usr:/usr:ro", own.display())
}

pub(crate) fn main(name: &str) {
    match name {
        "keeper" => keeper(),
        other => panic!("no agent is called {other}"),
    }
}

/// Has the service manager keep a file without a name for the next start; says what it finds of the
/// last, and gives that up.
fn keeper() {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    match names.split(':').position(|name| name == "kept") {
        None => {
            let memory = rustix::fs::memfd_create("kept", MemfdFlags::CLOEXEC).unwrap();
            let mut file = std::fs::File::from(memory);
            file.write_all(b"from the last run").unwrap();
            notify("FDSTORE=1\nFDNAME=kept", &[file.as_fd()]);
        }
        Some(index) => {
            let number = 3 + i32::try_from(index).unwrap();
            // SAFETY: systemd passed it, and nothing else here uses it.
            let mut file = unsafe { std::fs::File::from_raw_fd(number) };
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            println!("found \"{text}\" in {} of {}", number, std::env::var("LISTEN_PID").unwrap());
            notify("FDSTOREREMOVE=1\nFDNAME=kept", &[]);
        }
    }
    notify("READY=1", &[]);
    std::thread::park();
}

/// sd_pid_notify_with_fds(3).
fn notify(text: &str, descriptors: &[BorrowedFd<'_>]) {
    let manager = UnixDatagram::unbound().unwrap();
    manager.connect(std::env::var("NOTIFY_SOCKET").unwrap()).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    let parts = [IoSlice::new(text.as_bytes())];
    sendmsg(&manager, &parts, &mut control, SendFlags::empty()).unwrap();
}
