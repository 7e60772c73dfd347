//! One layer: downloaded on the runtime's thread, hashed and inflated on a second, hashed and
//! unpacked on a third, with bounded channels in between.

use std::io::{self, BufRead, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::LocalBoxStream;
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use self::inflate::{Incoming, inflate};
use super::patience::Patience;
use super::underway::Underway;
use super::{Blob, Missing, Progress, Remote, shown};
use crate::model::{Digest, Failure, FailureKind, ImageSource};
use crate::store::Error;
use crate::store::unpack::{self, Fault, Limits};

mod frames;
mod inflate;

/// Downloaded pieces that wait to be inflated: of each connection another two or three are in the
/// client's hands, up to 400 KiB each.
const PIECES: usize = 1;
/// Inflated buffers on their way between two threads.
const BUFFERS: usize = 3;

type Bytestream<'a> = LocalBoxStream<'a, Result<Bytes, Failure>>;

/// Why a layer is not taken.
#[derive(Debug, thiserror::Error)]
pub enum LayerFault {
    #[error("its blob has {got} bytes where the manifest says {expected}")]
    Size { expected: u64, got: u64 },
    #[error("its blob has the digest {got}")]
    Blob { got: Digest },
    #[error("it unpacks to the diff ID {got} where the image configuration says {expected}")]
    DiffId { expected: Digest, got: Digest },
    #[error("its directory cannot be made")]
    Directory(#[source] io::Error),
    #[error("its thread died")]
    Thread(#[source] io::Error),
    #[error("cannot be unpacked")]
    Unpack(#[from] Fault),
    /// The other thread of the pair has the reason.
    #[error("its unpacking has ended")]
    Stopped,
}

impl LayerFault {
    /// The kind of failure, which decides about the next attempt.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unpack(fault) => fault.kind(),
            Self::Directory(cause) => FailureKind::of_io(cause),
            Self::Thread(_) | Self::Stopped => FailureKind::Local,
            Self::Size { .. } | Self::Blob { .. } | Self::DiffId { .. } => {
                FailureKind::InvalidContent
            }
        }
    }
}

/// Whether a layer of this media type can be taken (image-spec, `layer.md`; Docker's image manifest
/// 2.2); `Err` is the reason why not.
pub(super) fn check_type(media_type: &str) -> Result<(), String> {
    let oci = media_type.strip_prefix("application/vnd.oci.image.layer.v1.tar");
    let docker = media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar");
    match oci.or(docker) {
        Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd") => Ok(()),
        _ if media_type.contains("foreign") || media_type.contains("nondistributable") => {
            Err("a foreign layer, which the registry does not have".to_owned())
        }
        _ => Err(format!("a layer of the unknown type {:?}", shown(media_type))),
    }
}

/// Fetches one layer into the pull's directory and verifies it: blob size, blob digest, diff ID.
pub(super) async fn fetch(
    remote: &impl Remote,
    source: &ImageSource,
    layer: &Missing,
    underway: &Arc<Underway>,
    working: tokio::sync::mpsc::Sender<()>,
    progress: &dyn Progress,
    limits: &Limits,
) -> Result<(), Error> {
    let digest = &layer.blob.digest;
    let failed = |source_fault| Error::Layer {
        image: Box::new(source.reference.clone()),
        layer: digest.clone(),
        source: source_fault,
    };
    let mut download = Download {
        remote,
        source,
        blob: &layer.blob,
        progress,
        began: Instant::now(),
        received: 0,
        patience: Patience::default(),
    };
    let stream = match download.ask().await {
        // It is an outage in the middle of the pull, though not of this layer.
        Err(failure) if underway.has_begun() => download.go_on(failure, false).await,
        asked => asked,
    };
    let stream = stream.map_err(Error::Remote)?;
    progress.started(digest, layer.blob.size);
    let threads = Threads::start(layer, underway, working, limits).map_err(failed)?;
    let downloaded = download.pass_on(stream, &threads.pieces, underway).await;
    let result = threads.join().await;
    downloaded.map_err(Error::Remote)?;
    result.map_err(failed)?;
    progress.done(digest);
    Ok(())
}

/// A blob on its way here.
struct Download<'a, R> {
    remote: &'a R,
    source: &'a ImageSource,
    blob: &'a Blob,
    progress: &'a dyn Progress,
    began: Instant,
    received: u64,
    patience: Patience,
}

impl<'a, R: Remote> Download<'a, R> {
    /// Passes the blob's bytes on in one piece, though the connection break: then it is asked for from
    /// where it broke. The threads see one stream and verify it as a whole. Ends early where they take
    /// no more.
    async fn pass_on(
        mut self,
        mut stream: Bytestream<'a>,
        pieces: &tokio::sync::mpsc::Sender<Bytes>,
        underway: &Underway,
    ) -> Result<(), Failure> {
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => {
                    underway.begins();
                    let bytes = piece.len() as u64;
                    if pieces.send(piece).await.is_err() {
                        return Ok(());
                    }
                    self.received += bytes;
                    self.progress.advanced(&self.blob.digest, bytes);
                }
                Err(failure) => {
                    drop(stream);
                    stream = self.go_on(failure, true).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks for the rest after a failure. `answered`: the registry had begun to send.
    async fn go_on(
        &mut self,
        mut failure: Failure,
        mut answered: bool,
    ) -> Result<Bytestream<'a>, Failure> {
        loop {
            let now = self.began.elapsed();
            let wait = self.patience.after(&failure, answered, self.received, now);
            let Some(wait) = wait else { return Err(failure) };
            self.progress.broke_off(&self.blob.digest, &failure, wait);
            tokio::time::sleep(wait).await;
            self.remote.try_again(self.source);
            match self.ask().await {
                Ok(stream) => return Ok(stream),
                Err(again) => failure = again,
            }
            answered = false;
        }
    }

    async fn ask(&self) -> Result<Bytestream<'a>, Failure> {
        let Self { remote, source, blob, received, .. } = *self;
        let stream = remote.blob(source, &blob.digest, blob.size, received).await?;
        Ok(stream.boxed_local())
    }
}

/// The pair of threads, and the way to them. The runtime waits for them at its end, and they end
/// soon after the way to them is gone.
struct Threads {
    pieces: tokio::sync::mpsc::Sender<Bytes>,
    inflated: JoinHandle<Result<(), LayerFault>>,
    unpacked: JoinHandle<Result<(), LayerFault>>,
}

impl Threads {
    fn start(
        layer: &Missing,
        underway: &Arc<Underway>,
        working: tokio::sync::mpsc::Sender<()>,
        limits: &Limits,
    ) -> Result<Self, LayerFault> {
        let path = underway.workspace.path().join(layer.diff_id.hex());
        let root = make_root(&path).map_err(LayerFault::Directory)?;
        let (pieces, incoming) = tokio::sync::mpsc::channel(PIECES);
        let (full, filled) = mpsc::sync_channel(BUFFERS);
        let (empty, emptied) = mpsc::channel();
        let (job, limits) = (layer.clone(), *limits);
        // The directory stays until both threads are done with it.
        let kept = (Arc::clone(underway), working);
        let kept_too = kept.clone();
        let inflated = spawn_blocking(move || {
            let result = inflate(&job, Incoming::new(incoming), &full, &emptied, &limits);
            drop((full, kept));
            result
        });
        let expected = layer.diff_id.clone();
        let unpacked = spawn_blocking(move || {
            let result = unpack_verified(root, Inflated::new(filled, empty), &expected, &limits);
            if result.is_ok() {
                kept_too.0.seal(&expected);
            }
            drop(kept_too);
            result
        });
        Ok(Self { pieces, inflated, unpacked })
    }

    /// Waits for both. Of two errors the cause counts: what the second thread says of a stream that
    /// the first one broke off is none.
    async fn join(self) -> Result<(), LayerFault> {
        drop(self.pieces);
        let died = |cause: JoinError| Err(LayerFault::Thread(cause.into()));
        let inflated = self.inflated.await.unwrap_or_else(died);
        let unpacked = self.unpacked.await.unwrap_or_else(died);
        match inflated {
            Ok(()) | Err(LayerFault::Stopped) => unpacked,
            cause => cause,
        }
    }
}

/// Makes the directory that a layer is unpacked into.
fn make_root(path: &Path) -> io::Result<OwnedFd> {
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    unpack::open_root(path)
}

fn read_buffered(reader: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let piece = reader.fill_buf()?;
    let count = piece.len().min(buffer.len());
    buffer[..count].copy_from_slice(&piece[..count]);
    reader.consume(count);
    Ok(count)
}

/// The archive, hashed as it is read.
struct Inflated {
    filled: mpsc::Receiver<Vec<u8>>,
    empty: mpsc::Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    hash: Sha256,
}

impl Inflated {
    fn new(filled: mpsc::Receiver<Vec<u8>>, empty: mpsc::Sender<Vec<u8>>) -> Self {
        Self { filled, empty, current: Vec::new(), position: 0, hash: Sha256::new() }
    }
}

impl BufRead for Inflated {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.current.len() {
            let used = std::mem::take(&mut self.current);
            self.position = 0;
            if used.capacity() > 0 {
                // Nobody takes it back once the stream has ended.
                let _ = self.empty.send(used);
            }
            if let Ok(buffer) = self.filled.recv() {
                self.hash.update(&buffer);
                self.current = buffer;
            }
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl Read for Inflated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

/// The second thread: unpacks and verifies the diff ID.
fn unpack_verified(
    root: OwnedFd,
    mut inflated: Inflated,
    expected: &Digest,
    limits: &Limits,
) -> Result<(), LayerFault> {
    unpack::unpack(root, &mut inflated, limits)?;
    let got = Digest::from_sha256(inflated.hash.finalize().into());
    let expected = expected.clone();
    if got == expected { Ok(()) } else { Err(LayerFault::DiffId { expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_made_may_mean_a_full_disk() {
        let fault = LayerFault::Directory(io::ErrorKind::StorageFull.into());
        assert_eq!(fault.kind(), FailureKind::StorageFull);
    }
}
