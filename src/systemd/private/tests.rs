use proptest::prelude::*;
use zbus::Message;

use super::header::without_sender;
use super::*;

/// A field of a header: its code, the type of its value, the value.
type Field = (u8, u8, &'static str);

/// What systemd 252 sends, and in which order.
const FIELDS: [Field; 5] = [
    (1, b'o', "/org/freedesktop/systemd1"),
    (3, b's', "JobNew"),
    (2, b's', "org.freedesktop.systemd1.Manager"),
    (8, b'g', "s"),
    (7, b's', "org.freedesktop.systemd1"),
];

/// A signal with these fields, and `app.service` for its body.
fn signal(fields: &[Field], order: u8) -> Vec<u8> {
    let number = |number: usize| {
        let number = u32::try_from(number).unwrap();
        if order == b'B' { number.to_be_bytes() } else { number.to_le_bytes() }
    };
    let string = |text: &str| [&number(text.len())[..], text.as_bytes(), &[0]].concat();
    let mut header = Vec::new();
    for (code, kind, value) in fields {
        header.resize(header.len().next_multiple_of(8), 0);
        header.extend([*code, 1, *kind, 0]);
        match kind {
            b'g' => header
                .extend([&[u8::try_from(value.len()).unwrap()], value.as_bytes(), &[0]].concat()),
            _ => header.extend(string(value)),
        }
    }
    let body = string("app.service");
    let mut message = vec![order, 4, 1, 1];
    message.extend([number(body.len()), number(7), number(header.len())].concat());
    message.extend(header);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    message
}

/// As `zbus` reads it.
async fn read(mut message: Vec<u8>) -> zbus::Result<Message> {
    Nothing.receive_message(0, &mut message, &mut Vec::new()).await
}

#[tokio::test]
async fn the_sender_is_left_out_wherever_it_stands() {
    for order in [b'l', b'B'] {
        for turn in 0..FIELDS.len() {
            let mut fields = FIELDS;
            fields.rotate_left(turn);
            let message = signal(&fields, order);
            // This is why: should a later version take it, all this is not needed any more.
            assert!(read(message.clone()).await.is_err());
            let unsigned = without_sender(message);
            let without: Vec<Field> = fields.iter().copied().filter(|field| field.0 != 7).collect();
            assert_eq!(unsigned, signal(&without, order), "{turn}");
            let read = read(unsigned).await.unwrap();
            assert_eq!(read.header().sender(), None);
            assert_eq!(read.header().member().unwrap(), "JobNew");
            assert_eq!(read.body().deserialize::<String>().unwrap(), "app.service");
        }
    }
}

#[test]
fn a_message_that_nobody_signed_stays_as_it_is() {
    let message = signal(&FIELDS[..4], b'l');
    assert_eq!(without_sender(message.clone()), message);
}

#[test]
fn a_message_that_is_too_long_is_refused() {
    let mut message = signal(&FIELDS, b'l');
    assert_eq!(header::total_length(&message).unwrap(), message.len());
    message[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(header::total_length(&message).is_err());
    message[4..8].copy_from_slice(&(17_u32 << 20).to_le_bytes());
    assert!(header::total_length(&message).is_err());
}

proptest! {
    #[test]
    fn never_panics(at in 0_usize..200, byte: u8, end in 16_usize..200) {
        let mut message = signal(&FIELDS, b'l');
        let (at, end) = (at.min(message.len() - 1), end.min(message.len()));
        message[at] = byte;
        message.truncate(end);
        let _ = header::total_length(&message);
        let _ = without_sender(message);
    }
}

#[tokio::test]
async fn who_does_not_listen_is_named() {
    let run = tempfile::tempdir().unwrap();
    let socket = socket(run.path());
    let error = connect(&socket).await.unwrap_err();
    assert!(error.to_string().contains("systemd/private"), "{error}");
    assert!(!error.is_no_bus());
}
