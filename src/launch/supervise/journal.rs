//! A container's lines in the journal, with its name and ID as fields (journald's native protocol,
//! systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::store::containers::Record;

const SOCKET: &str = "/run/systemd/journal/socket";
/// syslog(3): the program's own words, and what it says on standard error.
const INFO: u8 = 6;
const ERR: u8 = 3;

/// Whether our standard output is the journal's stream (systemd.exec(5), `$JOURNAL_STREAM`).
pub(crate) fn is_standard_output() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    rustix::fs::fstat(rustix::stdio::stdout())
        .is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Whether there is a journal to write to.
pub(crate) fn is_there() -> bool {
    Path::new(SOCKET).exists()
}

/// The journal's socket and the fields that every line gets.
#[derive(Debug)]
pub(crate) struct Journal {
    socket: UnixDatagram,
    fields: Vec<u8>,
}

impl Journal {
    /// For the lines of one container.
    pub(crate) fn connect(record: &Record) -> io::Result<Self> {
        let mut fields = Vec::new();
        field(&mut fields, "CONTAINER_NAME", record.name.as_bytes());
        field(&mut fields, "CONTAINER_ID", record.id.short().as_bytes());
        field(&mut fields, "CONTAINER_ID_FULL", record.id.as_str().as_bytes());
        field(&mut fields, "IMAGE_NAME", record.reference.to_string().as_bytes());
        if let Some(tag) = &record.log.tag {
            field(&mut fields, "CONTAINER_TAG", tag.as_bytes());
        }
        field(&mut fields, "SYSLOG_IDENTIFIER", record.name.as_bytes());
        Self::at(Path::new(SOCKET), fields)
    }

    pub(super) fn at(socket: &Path, fields: Vec<u8>) -> io::Result<Self> {
        let own = UnixDatagram::unbound()?;
        own.connect(socket)?;
        own.set_nonblocking(true)?;
        Ok(Self { socket: own, fields })
    }

    /// Writes one line, or a piece of one that goes on (not `whole`); `error` where it came from
    /// standard error.
    ///
    /// # Errors
    /// `WouldBlock` where the journal takes no more for now.
    pub(crate) fn write(&self, line: &[u8], error: bool, whole: bool) -> io::Result<()> {
        let mut entry = self.fields.clone();
        let priority = if error { ERR } else { INFO };
        field(&mut entry, "PRIORITY", priority.to_string().as_bytes());
        if !whole {
            field(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        field(&mut entry, "MESSAGE", line);
        self.socket.send(&entry).map(drop)
    }
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A field in the form that any value fits: name, newline, length, value, newline.
fn field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything() {
        let mut entry = Vec::new();
        field(&mut entry, "MESSAGE", b"a\nB=c");
        assert_eq!(entry, b"MESSAGE\n\x05\0\0\0\0\0\0\0a\nB=c\n");
    }
}
