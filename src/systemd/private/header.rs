//! The header of a D-Bus message (D-Bus Specification, "Message Format"), as far as it takes to
//! leave its sender out.

use std::io;
use std::ops::Range;

/// The bytes that every message begins with; its fields follow.
pub(super) const FIXED: usize = 16;

/// The longest message that is read, in bytes: far more than a unit's properties take.
const MAX: usize = 16 << 20;

/// The code of the field that says who sent a message.
const SENDER: u8 = 7;

/// How long the message is that begins with these [`FIXED`] bytes.
pub(super) fn total_length(message: &[u8]) -> io::Result<usize> {
    let length = || {
        let fields = number(message, 12)?.checked_add(FIXED)?;
        fields.checked_next_multiple_of(8)?.checked_add(number(message, 4)?)
    };
    length().filter(|length| *length <= MAX).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "systemd sent a message that is none")
    })
}

/// The message without its sender. One that is not as specified stays as it is: who reads it
/// refuses it.
pub(super) fn without_sender(message: Vec<u8>) -> Vec<u8> {
    cut(&message).unwrap_or(message)
}

fn cut(message: &[u8]) -> Option<Vec<u8>> {
    let end = number(message, 12)?.checked_add(FIXED)?;
    let Fields { before, sender } = find(message.get(..end)?)?;
    let next = sender.end.next_multiple_of(8);
    // Between two fields lies padding, behind the last one none that counts.
    let mut new = match message.get(next..end) {
        Some(after) if !after.is_empty() => [message.get(..sender.start)?, after].concat(),
        _ => message.get(..before)?.to_vec(),
    };
    let fields = u32::try_from(new.len().checked_sub(FIXED)?).ok()?;
    let fields = if is_big_endian(message) { fields.to_be_bytes() } else { fields.to_le_bytes() };
    new.get_mut(12..FIXED)?.copy_from_slice(&fields);
    new.resize(new.len().next_multiple_of(8), 0);
    new.extend_from_slice(message.get(end.next_multiple_of(8)..)?);
    Some(new)
}

/// Where the sender lies in a header.
struct Fields {
    /// The end of the field before it.
    before: usize,
    sender: Range<usize>,
}

/// Each field begins at a multiple of 8: its code, the signature of its value, the value.
fn find(header: &[u8]) -> Option<Fields> {
    let mut before = FIXED;
    loop {
        let start = before.next_multiple_of(8);
        let [code, 1, kind, 0] = *header.get(start..start + 4)? else { return None };
        let value = start + 4;
        let end = value
            + match kind {
                b's' | b'o' => number(header, value)?.checked_add(5)?,
                b'g' => usize::from(*header.get(value)?) + 2,
                b'u' => 4,
                _ => return None,
            };
        if code == SENDER {
            return Some(Fields { before, sender: start..end });
        }
        before = end;
    }
}

fn is_big_endian(message: &[u8]) -> bool {
    message.first() == Some(&b'B')
}

/// The number of four bytes at `at`.
fn number(message: &[u8], at: usize) -> Option<usize> {
    let bytes = message.get(at..at.checked_add(4)?)?.try_into().ok()?;
    let number =
        if is_big_endian(message) { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
    usize::try_from(number).ok()
}
