//! zstd streams, frame by frame (RFC 8878): what a frame asks for is known before it gets it.

use std::io::{self, BufRead as _, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::inflate::Incoming;

/// The window that each of a process's layers may have at a time, in bytes: what `zstd -19` asks for,
/// and what builders ask for by default.
const NARROW: u64 = 8 * 1024 * 1024;
/// The largest window, as a power of two: 64 MiB, as other engines take.
const WIDEST: u32 = 26;
/// The longest header of a frame, in bytes.
const HEADER: usize = 18;

/// Held by the layer that has more than a narrow window: eight at once would have half a gigabyte.
static WIDE: Mutex<()> = Mutex::new(());

/// What the frames hold, one after the other. Memory is used only for what they ask for; whoever asks
/// for a wide window waits until no other layer of this process has one.
pub(super) struct Frames<'a> {
    source: &'a mut Incoming,
    decoder: Decoder<'static>,
    /// Within a frame.
    begun: bool,
    wide: Option<MutexGuard<'static, ()>>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(source: &'a mut Incoming) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WIDEST))?;
        Ok(Self { source, decoder, begun: false, wide: None })
    }

    pub(super) fn get_ref(&self) -> &Incoming {
        self.source
    }

    /// Begins with the next frame; `false` where there is none.
    fn begin(&mut self) -> io::Result<bool> {
        let start = self.source.peek(HEADER);
        if start.is_empty() {
            return Ok(false);
        }
        if self.wide.is_none() && window(start) > NARROW {
            // It guards no data that could be broken.
            self.wide = Some(WIDE.lock().unwrap_or_else(PoisonError::into_inner));
        }
        self.decoder.reinit()?;
        self.begun = true;
        Ok(true)
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() && (self.begun || self.begin()?) {
            let piece = self.source.fill_buf()?;
            let is_end = piece.is_empty();
            let mut input = InBuffer::around(piece);
            let mut output = OutBuffer::around(&mut *buffer);
            let more = self.decoder.run(&mut input, &mut output)?;
            let (read, written) = (input.pos, output.pos());
            self.source.consume(read);
            self.begun = more != 0;
            if written > 0 {
                return Ok(written);
            }
            if self.begun && is_end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

/// The window that a frame asks for, in bytes (RFC 8878, 3.1.1.1); nothing for what is no frame, of
/// which the decoder says what it is.
fn window(start: &[u8]) -> u64 {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = start else { return 0 };
    if descriptor & 0x20 == 0 {
        let window = rest.first().map_or(0, |byte| u64::from(*byte));
        let base = 1 << (10 + (window >> 3));
        return base + base / 8 * (window & 7);
    }
    // All that it holds is in the window.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let Some(field) = rest.get(dictionary..dictionary + size) else { return 0 };
    let content = field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    if size == 2 { content + 256 } else { content }
}

#[cfg(test)]
mod tests {
    use super::super::inflate::tests::incoming;
    use super::*;

    /// A frame whose window is `log` as a power of two, of a content whose length it does not know.
    fn frame(content: &[u8], log: u32) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        io::Write::write_all(&mut encoder, content).unwrap();
        encoder.finish().unwrap()
    }

    fn is_taken() -> bool {
        WIDE.try_lock().is_err()
    }

    #[test]
    fn windows_are_what_the_headers_say() {
        for log in [10, 20, 23, 26] {
            assert_eq!(window(&frame(&[7; 3000], log)), 1 << log, "{log}");
        }
        for length in [5, 300, 70_000] {
            // Its length is known, and all of it is the window.
            let whole = zstd::bulk::compress(&vec![7; length], 1).unwrap();
            assert_eq!(window(&whole), length as u64);
        }
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        let of = |rest: &[u8]| window(&[&magic[..], rest].concat());
        assert_eq!(of(&[0, 0xff]), (1 << 41) / 8 * 15);
        assert_eq!(of(&[0xe3, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0x10]), 0x10 << 56);
        assert_eq!((of(&[]), of(&[0xe0, 1]), window(&[])), (0, 0, 0));
    }

    #[test]
    fn frames_follow_each_other_and_a_wide_one_is_alone() {
        let content: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let empty = frame(b"", 20);
        let narrow = [frame(&content, 20), skipped, empty, frame(b"small", 10)].concat();
        let wide = frame(b"wide", 24);
        let all = [&narrow[..], &wide].concat();
        let mut source = incoming(&all.chunks(999).collect::<Vec<_>>());
        let mut frames = Frames::new(&mut source).unwrap();
        let mut first = vec![0; content.len() + 5];
        frames.read_exact(&mut first).unwrap();
        assert_eq!(first, [&content[..], b"small"].concat());
        assert!(frames.wide.is_none());
        let mut last = Vec::new();
        frames.read_to_end(&mut last).unwrap();
        assert_eq!(last, b"wide");
        assert!(frames.wide.is_some() && is_taken());
    }

    #[test]
    fn what_is_cut_or_wider_than_anybodys_is_an_error() {
        let whole = frame(&[7; 3000], 20);
        for (bytes, kind) in [
            (&whole[..whole.len() - 1], io::ErrorKind::UnexpectedEof),
            (&whole[..5], io::ErrorKind::UnexpectedEof),
            (&frame(&[7; 3000], 27), io::ErrorKind::Other),
            (&[&whole[..], b"trailing"].concat(), io::ErrorKind::Other),
        ] {
            let mut source = incoming(&[bytes]);
            let mut frames = Frames::new(&mut source).unwrap();
            let error = frames.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
