//! What the runtime says went wrong. Its own errors end where the cause begins ("failed to prepare
//! rootfs"); the cause is an event for tracing, in a process that has long ended.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{Read, Write};

use rustix::pipe::PipeFlags;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::launch::Error;

/// The longest account, in characters.
const LONGEST: usize = 2048;

/// The first error event of `work`, here or in a process that it forked.
pub(crate) fn listen<T>(work: impl FnOnce() -> T) -> Result<(T, Option<String>), Error> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(|error| Error::system("make a pipe", error))?;
    let subscriber = tracing_subscriber::registry().with(Teller(write.into()));
    let done = tracing::subscriber::with_default(subscriber, work);
    // Whoever failed has said so before; who goes on must not be waited for.
    let mut said = Vec::new();
    let _ = File::from(read).read_to_end(&mut said);
    Ok((done, sentence(&String::from_utf8_lossy(&said))))
}

/// The first event, the nearest to the cause; but the error number may stand in a later one only.
fn sentence(said: &str) -> Option<String> {
    let first = said.lines().next()?;
    let number = said.split_once("Nix(").and_then(|(_, rest)| Some(rest.split_once(')')?.0));
    Some(match number {
        Some(number) if first.contains(number) => first.replace(&format!("Nix({number})"), number),
        Some(number) => format!("{}: {number}", first.trim_end_matches(": syscall")),
        None => first.to_owned(),
    })
}

/// Writes each error event to a pipe, which the forked processes share: one event, one line.
struct Teller(File);

impl<S: Subscriber> Layer<S> for Teller {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = shorter(&line.to_string()).replace('\n', " ");
        let text: String = text.chars().take(LONGEST).chain(['\n']).collect();
        let _ = (&self.0).write_all(text.as_bytes());
    }
}

/// A mount is told by all that it is made of; where it was to be is enough.
fn shorter(text: &str) -> String {
    let parts = text.split_once("Mount { destination: ").and_then(|(before, mount)| {
        let (target, mount) = mount.split_once(", typ: ")?;
        Some((before, target, mount.rsplit_once(" }")?.1))
    });
    parts.map_or_else(
        || text.to_owned(),
        |(before, target, after)| format!("{before}{target}{after}"),
    )
}

/// An event as a sentence: the message, what it is about, the cause.
#[derive(Default)]
struct Line {
    message: String,
    about: String,
    cause: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "e" | "err" | "error" | "ret" => write!(self.cause, ": {value:?}"),
            name => write!(self.about, " {name}={value:?}"),
        };
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.message, self.about, self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_told_by_its_target() {
        let mount = oci_spec::runtime::MountBuilder::default().destination("/a b").build().unwrap();
        assert_eq!(
            shorter(&format!("failed to mount {mount:?}: EPERM")),
            "failed to mount \"/a b\": EPERM"
        );
        assert_eq!(shorter("Mount {"), "Mount {");
    }

    #[test]
    fn an_error_number_is_kept() {
        let said = "failed to mount \"/t\": syscall\nfailed to prepare: Mount(Nix(EINVAL))\n";
        assert_eq!(sentence(said).unwrap(), "failed to mount \"/t\": EINVAL");
        assert_eq!(sentence("no name: Nix(EPERM)\n").unwrap(), "no name: EPERM");
        assert_eq!(sentence("no mount: syscall\n").unwrap(), "no mount: syscall");
        assert_eq!(sentence(""), None);
    }

    #[test]
    fn the_first_error_of_any_process_is_heard() {
        let ((), said) = listen(|| {
            tracing::warn!("not this");
            // SAFETY: the child only writes to a pipe and ends.
            match unsafe { nix::unistd::fork() }.unwrap() {
                nix::unistd::ForkResult::Child => {
                    tracing::error!(err = ?std::io::ErrorKind::NotFound, path = "/x", "no\nluck");
                    // SAFETY: ends the child without running what belongs to the parent.
                    unsafe { libc::_exit(0) };
                }
                nix::unistd::ForkResult::Parent { child } => {
                    nix::sys::wait::waitpid(child, None).unwrap();
                }
            }
            tracing::error!("later");
        })
        .unwrap();
        assert_eq!(said.unwrap(), "no luck path=\"/x\": NotFound");
        assert_eq!(listen(|| 7).unwrap(), (7, None));
    }
}
