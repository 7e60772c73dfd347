//! `--detach`: a supervisor in the background, and a caller that waits until the container runs.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;

use nix::unistd::{ForkResult, fork, setsid};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::launch::Error;
use crate::launch::control::connection::Connection;
use crate::model::failure::chain;

/// Ends what the supervisor says: no status, and in no text.
const END: u8 = 0xff;

/// Between the supervisor and the caller that waits for its word.
#[derive(Debug)]
pub(crate) struct Handover {
    role: Role,
    /// The supervisor's end of the connection to a caller who stays.
    attached: Option<OwnedFd>,
}

#[derive(Debug)]
enum Role {
    /// Nobody waits: the launch is in the foreground.
    None,
    /// The supervisor, with its end of the pipe.
    Supervisor(File),
    /// The caller, which has heard that this container runs.
    Caller(String),
}

/// Forks, twice: the supervisor, in a session of its own, is nobody's child, so that the service
/// manager hears of its end. The caller's process comes back when the container runs.
///
/// # Errors
/// In the caller's process, what the supervisor said went wrong.
pub(crate) fn detach() -> Result<Handover, Error> {
    let failed = |error| Error::system("fork", error);
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Error::system("make a pipe", error))?;
    // SAFETY: this process has one thread, so the child's memory is whole.
    match unsafe { fork() }.map_err(failed)? {
        ForkResult::Child => {
            drop(read);
            setsid().map_err(|error| Error::system("make a session", error))?;
            // SAFETY: as above.
            if let ForkResult::Parent { .. } = unsafe { fork() }.map_err(failed)? {
                // SAFETY: ends this process at once: nothing here is its own to clear away.
                unsafe { libc::_exit(0) };
            }
            Ok(Handover { role: Role::Supervisor(write.into()), attached: None })
        }
        ForkResult::Parent { child } => {
            drop(write);
            nix::sys::wait::waitpid(child, None)
                .map_err(|error| Error::system("wait for the supervisor", error))?;
            let (status, text) = listen(read.into());
            match status {
                0 => Ok(Handover { role: Role::Caller(text), attached: None }),
                status => Err(Error::Background { status, said: text }),
            }
        }
    }
}

/// The same for a caller who stays, attached to the program, over this connection.
pub(crate) fn detach_attached() -> Result<(Handover, Connection), Error> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, callers) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(|error| Error::system("make a connection", error))?;
    let handover = detach()?;
    let attached = handover.is_detached().then_some(ours);
    Ok((Handover { attached, ..handover }, callers.into()))
}

/// What the supervisor says: an exit status, and the container's ID or what went wrong.
fn listen(read: File) -> (u8, String) {
    // The supervisor keeps its end open as long as the container runs: the message has an end.
    let mut message = Vec::new();
    let _ = BufReader::new(read).read_until(END, &mut message);
    match message.split_first() {
        Some((status, text)) => {
            let text = text.strip_suffix(&[END]).unwrap_or(text);
            (*status, String::from_utf8_lossy(text).into_owned())
        }
        None => {
            (125, "the supervisor was killed before it could say whether the container runs".into())
        }
    }
}

impl Handover {
    pub(crate) fn none() -> Self {
        Self { role: Role::None, attached: None }
    }

    /// In the caller's process, which has no more to do: the container's ID.
    pub(crate) fn started_id(&self) -> Option<&str> {
        match &self.role {
            Role::Caller(id) => Some(id),
            Role::None | Role::Supervisor(_) => None,
        }
    }

    /// Whether the caller stays.
    pub(crate) fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// The supervisor's end of the connection to a caller who stays.
    pub(crate) fn attached(&self) -> Result<Option<OwnedFd>, Error> {
        let clone = self.attached.as_ref().map(OwnedFd::try_clone).transpose();
        clone.map_err(|error| Error::system("keep the caller's connection", error))
    }

    /// Whether this is a supervisor in the background.
    pub(crate) fn is_detached(&self) -> bool {
        matches!(self.role, Role::Supervisor(_))
    }

    /// Lets the caller go, who prints `word` where there is one. From here on, the supervisor's own streams are nobody's: who reads the
    /// caller's output must see its end.
    ///
    /// # Errors
    /// Where the caller has ended meanwhile: what it was told nothing of must not run.
    pub(crate) fn started(&self, word: &str) -> Result<(), Error> {
        let Role::Supervisor(pipe) = &self.role else { return Ok(()) };
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(|source| Error::file("open", "/dev/null", source))?;
        rustix::stdio::dup2_stdin(&null)
            .and_then(|()| rustix::stdio::dup2_stdout(&null))
            .and_then(|()| rustix::stdio::dup2_stderr(&null))
            .map_err(|error| Error::system("leave the caller's streams", error))?;
        tell(pipe, 0, word).map_err(|error| Error::system("tell the caller", error))
    }

    /// How the launch went, for this process: an error is the caller's to say, where one waits.
    pub(crate) fn outcome(&self, result: Result<u8, Error>) -> Result<u8, Error> {
        match (&self.role, result) {
            (Role::Supervisor(pipe), Err(error)) => {
                // A caller that has gone does not want to know, ignoring.
                let _ = tell(pipe, error.status(), &chain(&error));
                Ok(error.status())
            }
            (_, result) => result,
        }
    }
}

fn tell(mut pipe: &File, status: u8, text: &str) -> io::Result<()> {
    let mut message = vec![status];
    message.extend_from_slice(text.as_bytes());
    message.push(END);
    pipe.write_all(&message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (File, File) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (read.into(), write.into())
    }

    #[test]
    fn the_caller_hears_an_error_whole() {
        let (read, write) = pipe();
        let error = Error::system("do it", io::Error::other("line one\nline two"));
        let status =
            Handover { role: Role::Supervisor(write), attached: None }.outcome(Err(error)).unwrap();
        assert_eq!(status, 125);
        assert_eq!(listen(read), (125, "cannot do it: line one line two".to_owned()));
    }

    #[test]
    fn the_caller_hears_the_id() {
        let (read, write) = pipe();
        tell(&write, 0, "0123").unwrap();
        // The supervisor keeps its end.
        assert_eq!(listen(read), (0, "0123".to_owned()));
        drop(write);
    }

    #[test]
    fn a_supervisor_that_was_killed_is_told_of() {
        let (read, write) = pipe();
        drop(write);
        let (status, text) = listen(read);
        assert!(status == 125 && text.contains("killed"), "{text}");
    }

    #[test]
    fn a_caller_that_has_gone_is_noticed() {
        let (read, write) = pipe();
        drop(read);
        assert!(tell(&write, 0, "id").is_err());
    }
}
