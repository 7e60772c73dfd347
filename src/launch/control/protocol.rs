//! The messages of a control socket: a packet each, a byte that says which, then what it carries.
//! Pure.

/// The longest message, in bytes.
pub(crate) const LONGEST: usize = MOST_BYTES + 1;
/// The most that one carries.
pub(crate) const MOST_BYTES: usize = 16 * 1024;

/// What is asked of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// The container's output from now on, and its end.
    Attach,
    /// For the container's standard input.
    Input(Vec<u8>),
    /// Its standard input has ended.
    EndOfInput,
    /// The size of the terminal, in characters.
    Size { rows: u16, columns: u16 },
    /// A signal, as if it had come to the supervisor.
    Signal(u8),
    /// To stop the container; SIGKILL after so many seconds, instead of its own.
    Stop(Option<u32>),
    /// To stop it, and to start it again.
    Restart(Option<u32>),
    /// To be told of its end.
    Await,
    /// To have the container's health checked now, and to be told of the result.
    Check,
    /// To have this name from now on; nobody else has it.
    Name(String),
}

/// What a supervisor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// From the container's standard output, or its terminal.
    Output(Vec<u8>),
    /// From its standard error.
    Error(Vec<u8>),
    /// It has ended; its exit status.
    Ended(u8),
    /// It has been started again.
    Started,
    /// It has another name.
    Done,
    /// Its health has been checked; whether the check passed.
    Checked(bool),
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let timeout = |tag, timeout: &Option<u32>| {
            let seconds = timeout.map(u32::to_le_bytes);
            message(tag, seconds.as_ref().map_or(&[][..], |seconds| &seconds[..]))
        };
        match self {
            Self::Attach => message(b'a', &[]),
            Self::Input(bytes) => message(b'i', bytes),
            Self::EndOfInput => message(b'e', &[]),
            Self::Size { rows, columns } => {
                message(b'w', &[rows.to_le_bytes(), columns.to_le_bytes()].concat())
            }
            Self::Signal(number) => message(b'k', &[*number]),
            Self::Stop(seconds) => timeout(b's', seconds),
            Self::Restart(seconds) => timeout(b'r', seconds),
            Self::Await => message(b'z', &[]),
            Self::Check => message(b'c', &[]),
            Self::Name(name) => message(b'n', name.as_bytes()),
        }
    }

    /// `None` for what is none.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let (tag, rest) = packet.split_first()?;
        Some(match (tag, rest) {
            (b'a', []) => Self::Attach,
            (b'i', bytes) => Self::Input(bytes.to_vec()),
            (b'e', []) => Self::EndOfInput,
            (b'w', [a, b, c, d]) => Self::Size {
                rows: u16::from_le_bytes([*a, *b]),
                columns: u16::from_le_bytes([*c, *d]),
            },
            (b'k', [number]) => Self::Signal(*number),
            (b's', rest) => Self::Stop(seconds(rest)?),
            (b'r', rest) => Self::Restart(seconds(rest)?),
            (b'z', []) => Self::Await,
            (b'c', []) => Self::Check,
            (b'n', name) => Self::Name(String::from_utf8(name.to_vec()).ok()?),
            _ => return None,
        })
    }
}

/// `Some(None)` where none are said.
fn seconds(rest: &[u8]) -> Option<Option<u32>> {
    if rest.is_empty() {
        return Some(None);
    }
    rest.try_into().ok().map(|bytes| Some(u32::from_le_bytes(bytes)))
}

impl Answer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Output(bytes) => message(b'1', bytes),
            Self::Error(bytes) => message(b'2', bytes),
            Self::Ended(status) => message(b'x', &[*status]),
            Self::Started => message(b's', &[]),
            Self::Done => message(b'd', &[]),
            Self::Checked(passed) => message(b'c', &[(*passed).into()]),
        }
    }

    /// `None` for what is none.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let (tag, rest) = packet.split_first()?;
        Some(match (tag, rest) {
            (b'1', bytes) => Self::Output(bytes.to_vec()),
            (b'2', bytes) => Self::Error(bytes.to_vec()),
            (b'x', [status]) => Self::Ended(*status),
            (b's', []) => Self::Started,
            (b'd', []) => Self::Done,
            (b'c', [passed]) => Self::Checked(*passed != 0),
            _ => return None,
        })
    }
}

fn message(tag: u8, carried: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(1 + carried.len());
    packet.push(tag);
    packet.extend_from_slice(carried);
    packet
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for request in [
            Request::Attach,
            Request::Input(b"\0x".to_vec()),
            Request::EndOfInput,
            Request::Size { rows: 24, columns: 600 },
            Request::Signal(64),
            Request::Stop(None),
            Request::Stop(Some(70_000)),
            Request::Restart(Some(0)),
            Request::Await,
            Request::Check,
            Request::Name("web".into()),
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        for answer in [
            Answer::Output(Vec::new()),
            Answer::Error(b"e".to_vec()),
            Answer::Ended(255),
            Answer::Started,
            Answer::Done,
            Answer::Checked(true),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    proptest! {
        #[test]
        fn never_panics(packet in proptest::collection::vec(any::<u8>(), 0..10)) {
            let _ = Request::decode(&packet);
            let _ = Answer::decode(&packet);
        }
    }
}
