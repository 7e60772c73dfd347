//! The messages of a control socket: a packet each, a byte that says which, then what it carries.
//! Pure.

/// The longest message, in bytes.
pub(crate) const LONGEST: usize = 16 * 1024 + 1;

/// What is asked of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
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
        for answer in [Answer::Ended(255), Answer::Started, Answer::Done, Answer::Checked(true)] {
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
