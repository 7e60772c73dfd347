//! The first thread of a layer: what is downloaded is hashed and inflated.

use std::io::{self, BufRead, Read};
use std::sync::mpsc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::frames::Frames;
use super::{LayerFault, Missing};
use crate::model::Digest;
use crate::store::unpack::{Fault, Limits};

/// The size of an inflated buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// How a layer's archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    /// What the first bytes say (RFC 1952, RFC 8878), as other engines tell it: the media type is
    /// wrong in enough images. The digests are verified whatever it is.
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// What is being downloaded, hashed as it is read.
pub(super) struct Incoming {
    pieces: tokio::sync::mpsc::Receiver<Bytes>,
    current: Bytes,
    hash: Sha256,
    size: u64,
}

impl Incoming {
    pub(super) fn new(pieces: tokio::sync::mpsc::Receiver<Bytes>) -> Self {
        Self { pieces, current: Bytes::new(), hash: Sha256::new(), size: 0 }
    }

    /// The next piece; `None` at the end.
    fn receive(&mut self) -> Option<Bytes> {
        let piece = self.pieces.blocking_recv()?;
        self.hash.update(&piece);
        self.size += piece.len() as u64;
        Some(piece)
    }

    /// What comes next, `count` bytes at least where there are as many; still to be read.
    pub(super) fn peek(&mut self, count: usize) -> &[u8] {
        while self.current.len() < count {
            let Some(piece) = self.receive() else { break };
            self.current = [&self.current[..], &piece[..]].concat().into();
        }
        &self.current
    }
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            let Some(piece) = self.receive() else { break };
            self.current = piece;
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        bytes::Buf::advance(&mut self.current, count);
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        super::read_buffered(self, buffer)
    }
}

/// Verifies the blob and inflates it.
pub(super) fn inflate(
    layer: &Missing,
    mut incoming: Incoming,
    full: &mpsc::SyncSender<Vec<u8>>,
    emptied: &mpsc::Receiver<Vec<u8>>,
    limits: &Limits,
) -> Result<(), LayerFault> {
    let stream = |cause| LayerFault::Unpack(Fault::Stream(cause));
    let out = Out { full, emptied, limits };
    match Format::of(incoming.peek(4)) {
        // What is not compressed is as long as it is.
        Format::Plain => out.copy(&mut incoming, |_| u64::MAX)?,
        Format::Gzip => {
            let decoder = flate2::bufread::MultiGzDecoder::new(&mut incoming);
            out.copy(decoder, |decoder| decoder.get_ref().size)?;
        }
        Format::Zstd => {
            let decoder = Frames::new(&mut incoming).map_err(stream)?;
            out.copy(decoder, |decoder| decoder.get_ref().size)?;
        }
    }
    while !incoming.fill_buf().map_err(stream)?.is_empty() {
        let count = incoming.current.len();
        incoming.consume(count);
    }
    if incoming.size != layer.blob.size {
        return Err(LayerFault::Size { expected: layer.blob.size, got: incoming.size });
    }
    let got = Digest::from_sha256(incoming.hash.finalize().into());
    if got == layer.blob.digest { Ok(()) } else { Err(LayerFault::Blob { got }) }
}

/// The way to the second thread.
struct Out<'a> {
    full: &'a mpsc::SyncSender<Vec<u8>>,
    emptied: &'a mpsc::Receiver<Vec<u8>>,
    limits: &'a Limits,
}

impl Out<'_> {
    /// Passes all that `reader` gives on, in full buffers that come back to be used again. What it
    /// took for that, in bytes, `compressed` says.
    fn copy<R: Read>(
        &self,
        mut reader: R,
        compressed: impl Fn(&R) -> u64,
    ) -> Result<(), LayerFault> {
        let mut total = 0;
        loop {
            let mut buffer = self.emptied.try_recv().unwrap_or_default();
            buffer.resize(BUFFER, 0);
            let mut filled = 0;
            while filled < BUFFER {
                match reader.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(cause) => return Err(Fault::Stream(cause).into()),
                }
            }
            if filled == 0 {
                return Ok(());
            }
            total += filled as u64;
            self.limits.check_size(total, compressed(&reader))?;
            buffer.truncate(filled);
            self.full.send(buffer).map_err(|_| LayerFault::Stopped)?;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What comes in these pieces.
    pub(in super::super) fn incoming(pieces: &[&[u8]]) -> Incoming {
        let (sender, receiver) = tokio::sync::mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            sender.try_send(Bytes::copy_from_slice(piece)).unwrap();
        }
        Incoming::new(receiver)
    }

    #[test]
    fn the_start_may_come_in_crumbs() {
        let mut incoming = incoming(&[&[0x28], &[0xb5, 0x2f], &[], &[0xfd, 0]]);
        assert_eq!(Format::of(incoming.peek(4)), Format::Zstd);
        let mut all = Vec::new();
        incoming.read_to_end(&mut all).unwrap();
        assert_eq!((&all[..], incoming.size), (&[0x28, 0xb5, 0x2f, 0xfd, 0][..], 5));
        assert_eq!(incoming.hash.finalize()[..], Sha256::digest(&all)[..]);
    }
}
