//! A blob as a bounded stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use reqwest::header::{CONTENT_RANGE, HeaderMap};
use reqwest::{Response, StatusCode};

use super::body;
use super::error::{ContentFault, Error, Problem};
use super::options::Timeouts;

/// The bytes of a blob from an offset to its end: exactly as many as its descriptor says, or an
/// error. *Not* verified against the digest: who stores them hashes them.
pub struct Blob {
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    image: String,
    peer: String,
    size: u64,
    /// Bytes to drop first: the registry sent the whole blob although a part was asked for.
    skip: u64,
    left: u64,
    pace: Pace,
    /// Since when the registry is waited for.
    waiting: Option<Instant>,
    done: bool,
}

/// How fast the bytes come while they are waited for. A registry that sends little by little keeps
/// no timeout from passing; whoever stores the bytes slowly is not the registry's fault.
#[derive(Debug)]
pub(super) struct Pace {
    window: Duration,
    /// Bytes that must come within the window.
    least: u64,
    waited: Duration,
    received: u64,
}

impl Pace {
    pub(super) fn new(timeouts: &Timeouts) -> Self {
        let Timeouts { total: window, slowest, .. } = *timeouts;
        let least = u128::from(slowest) * window.as_millis() / 1000;
        let least = u64::try_from(least).unwrap_or(u64::MAX);
        Self { window, least, waited: Duration::ZERO, received: 0 }
    }

    /// Notes `bytes` for which was waited so long; `false` where too few came in a whole window.
    fn keeps_up(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.received = self.received.saturating_add(bytes);
        if self.waited < self.window {
            return true;
        }
        let enough = self.received >= self.least;
        (self.waited, self.received) = (Duration::ZERO, 0);
        enough
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob")
            .field("size", &self.size)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Blob {
    /// Nothing: where the offset is the size already.
    pub(super) fn empty(image: String, peer: &str, size: u64, pace: Pace) -> Self {
        let (chunks, peer) = (Box::pin(futures_util::stream::empty()), peer.to_owned());
        Self { chunks, image, peer, size, skip: 0, left: 0, pace, waiting: None, done: false }
    }

    /// Takes the answer to a request for the bytes from `offset` on, of `size` altogether.
    pub(super) fn new(
        response: Response,
        image: String,
        peer: &str,
        size: u64,
        offset: u64,
        pace: Pace,
    ) -> Result<Self, Problem> {
        let malformed = |why: &str| Problem::malformed(peer, "blob", why);
        let skip = match response.status() {
            StatusCode::OK => offset,
            StatusCode::PARTIAL_CONTENT if starts_at(response.headers()) == Some(offset) => 0,
            StatusCode::PARTIAL_CONTENT => {
                return Err(malformed("another range was sent than asked"));
            }
            _ => return Err(malformed("the status is none for a blob")),
        };
        let left = size - offset;
        let expected = left + skip;
        match response.content_length() {
            Some(length) if length > expected => return Err(too_large(peer, size)),
            Some(length) if length < expected => return Err(truncated(peer, size, length)),
            _ => {}
        }
        let (chunks, peer) = (Box::pin(response.bytes_stream()), peer.to_owned());
        Ok(Self { chunks, image, peer, size, skip, left, pace, waiting: None, done: false })
    }

    /// The part of `chunk` that is wanted.
    fn take(&mut self, mut chunk: Bytes) -> Result<Bytes, Problem> {
        let dropped = self.skip.min(chunk.len() as u64);
        self.skip -= dropped;
        let wanted = chunk.split_off(usize::try_from(dropped).unwrap_or(usize::MAX));
        if wanted.len() as u64 > self.left {
            return Err(too_large(&self.peer, self.size));
        }
        self.left -= wanted.len() as u64;
        Ok(wanted)
    }

    fn too_slow(&self) -> Problem {
        let Pace { window, least, .. } = self.pace;
        Problem::TooSlow { peer: self.peer.clone(), least, window }
    }
}

impl Stream for Blob {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let problem = loop {
            let Poll::Ready(next) = self.chunks.as_mut().poll_next(context) else {
                self.waiting.get_or_insert_with(Instant::now);
                return Poll::Pending;
            };
            let waited = self.waiting.take().map_or(Duration::ZERO, |since| since.elapsed());
            match next {
                Some(Ok(chunk)) if !self.pace.keeps_up(waited, chunk.len() as u64) => {
                    break self.too_slow();
                }
                Some(Ok(chunk)) => match self.take(chunk) {
                    Ok(wanted) if wanted.is_empty() => {}
                    Ok(wanted) => return Poll::Ready(Some(Ok(wanted))),
                    Err(problem) => break problem,
                },
                Some(Err(cause)) => break body::broken_off(&self.peer, cause),
                None if self.left > 0 => {
                    break truncated(&self.peer, self.size, self.size - self.left);
                }
                None => {
                    self.done = true;
                    return Poll::Ready(None);
                }
            }
        };
        self.done = true;
        Poll::Ready(Some(Err(Error::new(&self.image, problem))))
    }
}

fn too_large(peer: &str, limit: u64) -> Problem {
    let fault = ContentFault::TooLarge { what: "blob", limit };
    Problem::Content { peer: peer.to_owned(), fault }
}

fn truncated(peer: &str, expected: u64, got: u64) -> Problem {
    let fault = ContentFault::Truncated { what: "blob", got, expected };
    Problem::Content { peer: peer.to_owned(), fault }
}

/// The first byte's position in `Content-Range: bytes 5-9/10`.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_spent_waiting_counts() {
        let second = Duration::from_secs(1);
        let timeouts = Timeouts { total: 60 * second, slowest: 100, ..Timeouts::default() };
        let mut pace = Pace::new(&timeouts);
        assert!((0..59).all(|_| pace.keeps_up(second, 1)), "the window is not over");
        assert!(!pace.keeps_up(second, 1));
        assert!((0..200).all(|_| pace.keeps_up(second, 100)));
        // Fast, and taken slowly: nothing is waited for.
        assert!((0..200).all(|_| pace.keeps_up(Duration::ZERO, 1)));
        // What came fast earlier does not pay for later.
        let mut pace = Pace::new(&timeouts);
        assert!(pace.keeps_up(60 * second, 1 << 40));
        assert!(!pace.keeps_up(60 * second, 5_999));
    }
}
