//! `--detach`: a supervisor in the background, and a parent that waits until the container runs.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;

use nix::unistd::{ForkResult, fork, setsid};

use super::Error;
use crate::model::ContainerId;

/// The process that waits for word, seen from the supervisor; or its own end, seen from itself.
#[derive(Debug)]
pub(crate) struct Parent(Role);

#[derive(Debug)]
enum Role {
    /// Nobody waits: the launch is in the foreground.
    None,
    Waiting(std::fs::File),
    Finished(u8),
}

/// Forks. The child goes on as the supervisor, in a session of its own; the parent comes back only
/// with an exit status.
pub(crate) fn detach() -> Result<Parent, Error> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Error::system("make a pipe", error))?;
    // SAFETY: this process has one thread, so the child's memory is whole.
    match unsafe { fork() }.map_err(|error| Error::system("fork", error))? {
        ForkResult::Child => {
            drop(read);
            setsid().map_err(|error| Error::system("make a session", error))?;
            Ok(Parent(Role::Waiting(write.into())))
        }
        ForkResult::Parent { .. } => {
            drop(write);
            Ok(Parent(Role::Finished(listen(read))))
        }
    }
}

/// What the supervisor says: an exit status, and words for its standard output or error.
fn listen(read: OwnedFd) -> u8 {
    // The supervisor keeps its end open as long as the container runs: one line is the message.
    let mut message = Vec::new();
    let mut reader = BufReader::new(std::fs::File::from(read));
    let _ = reader.read_until(b'\n', &mut message);
    message.pop_if(|last| *last == b'\n');
    match message.split_first() {
        Some((0, id)) => {
            println!("{}", String::from_utf8_lossy(id));
            0
        }
        Some((status, _)) => *status,
        // It was killed before it could say anything.
        None => 125,
    }
}

impl Parent {
    pub(crate) fn none() -> Self {
        Self(Role::None)
    }

    /// The exit status of the waiting process; `None` in the supervisor.
    pub(crate) fn is_finished(&self) -> Option<u8> {
        match self.0 {
            Role::Finished(status) => Some(status),
            Role::None | Role::Waiting(_) => None,
        }
    }

    /// Lets the waiting process go. From here on, the supervisor's own streams are nobody's: who
    /// reads the caller's output must see its end.
    pub(crate) fn started(&self, id: &ContainerId) -> Result<(), Error> {
        if let Role::Waiting(_) = self.0 {
            let null = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/null")
                .map_err(|source| Error::file("open", "/dev/null", source))?;
            rustix::stdio::dup2_stdin(&null)
                .and_then(|()| rustix::stdio::dup2_stdout(&null))
                .and_then(|()| rustix::stdio::dup2_stderr(&null))
                .map_err(|error| Error::system("leave the caller's streams", error))?;
        }
        self.tell(0, id.as_str());
        Ok(())
    }

    pub(crate) fn failed(&self, error: &Error) {
        self.tell(error.status(), "");
    }

    fn tell(&self, status: u8, text: &str) {
        if let Role::Waiting(pipe) = &self.0 {
            let mut message = vec![status];
            message.extend_from_slice(text.as_bytes());
            message.push(b'\n');
            let mut pipe: &std::fs::File = pipe;
            let _ = pipe.write_all(&message);
        }
    }
}
