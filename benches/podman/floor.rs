//! The least time that a pull could take on this machine: what each step of it needs at the rate that one
//! processor does it, shared by all processors. Nothing is written, and nobody waits for anybody.

use std::io::{Read, Write, sink};
use std::net::TcpStream;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::registry::Registry;

/// The argument that makes a process [`report`].
pub(crate) const FLOOR: &str = "floor";

/// The floor of the pull of the repository's image, from the registry at port 5000. It is measured in a
/// process of its own: it reads whole layers, and a process passes its size on to the children whose memory
/// is measured.
pub(crate) fn of(registry: &Registry<'_>, repository: &str) -> Duration {
    let this = std::env::current_exe().unwrap();
    let layers = registry.layers(&format!("{repository}:latest"));
    let blobs = layers.iter().map(|digest| format!("/v2/{repository}/blobs/{digest}"));
    let output = Command::new(this).args(["--inside", FLOOR]).args(blobs).output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    Duration::from_micros(text.trim().parse().unwrap())
}

/// Prints the floor of the pull of these blobs in microseconds; the rates go to stderr.
pub(crate) fn report(blobs: &[String]) -> ExitCode {
    let mut steps = [Step::new("download"), Step::new("sha256"), Step::new("inflate")];
    for path in blobs {
        let blob = steps[0].measure(|| download(path));
        steps[1].measure(|| hash(&blob));
        let raw = steps[2].measure(|| {
            let mut raw = Vec::new();
            GzDecoder::new(&blob[..]).read_to_end(&mut raw).unwrap();
            raw
        });
        steps[1].measure(|| hash(&raw));
    }
    for step in &steps {
        eprintln!(
            "{}: {:.0} MiB/s",
            step.name,
            step.bytes as f64 / 1048576.0 / step.time.as_secs_f64()
        );
    }
    let work: Duration = steps.iter().map(|step| step.time).sum();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}", work.as_micros() / processors as u128);
    ExitCode::SUCCESS
}

/// What one processor does of one kind.
struct Step {
    name: &'static str,
    bytes: usize,
    time: Duration,
}

impl Step {
    fn new(name: &'static str) -> Self {
        Self { name, bytes: 0, time: Duration::ZERO }
    }

    /// `work` gives the bytes that it has made, or has looked at.
    fn measure<B: AsRef<[u8]>>(&mut self, work: impl FnOnce() -> B) -> B {
        let began = Instant::now();
        let bytes = work();
        self.time += began.elapsed();
        self.bytes += bytes.as_ref().len();
        bytes
    }
}

fn hash(bytes: &[u8]) -> &[u8] {
    let digest = Sha256::digest(bytes);
    sink().write_all(&std::hint::black_box(digest)).unwrap();
    bytes
}

/// The body of an answer over plain HTTP.
fn download(path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", 5000)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost:5000\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"));
    answer.drain(..end + 4);
    answer
}
