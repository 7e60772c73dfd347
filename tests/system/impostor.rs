//! In a registry's place: whatever a test wants to be answered, however wrong, byte by byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The answer to a request.
type Answers = Box<dyn Fn(&Request) -> Answer + Send>;

/// What a client asked.
#[derive(Clone)]
pub(crate) struct Request {
    /// `METHOD path`
    pub(crate) line: String,
    /// All of its head.
    pub(crate) head: String,
}

/// What it is answered, and how that ends.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In good order.
    Close,
    /// Broken off, as by a router that has forgotten the connection.
    Reset,
    /// The bytes come in twenty pieces, within this time.
    Slow(Duration),
}

/// It answers until the test ends.
pub(crate) struct Impostor {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    answers: Answers,
    requests: Vec<Request>,
    /// Connections stay open after an answer, until the client hangs up.
    stays: bool,
}

impl Request {
    /// A header's value; `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }
}

impl From<Vec<u8>> for Answer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, end: End::Close }
    }
}

impl Impostor {
    /// Takes the port of a registry that is down.
    pub(crate) fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let answers = Box::new(|_: &Request| Vec::new().into());
        let shared = Shared { answers, requests: Vec::new(), stays: false };
        let impostor = Self { shared: Arc::new(Mutex::new(shared)) };
        let shared = Arc::clone(&impostor.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        impostor
    }

    /// From now on these are the answers to requests, which are `METHOD path`.
    pub(crate) fn answer(&self, answers: impl Fn(&str) -> Vec<u8> + Send + 'static) {
        self.reply(move |request| answers(&request.line).into());
    }

    /// As [`Impostor::answer`], with all that was asked and how the answers end.
    pub(crate) fn reply(&self, answers: impl Fn(&Request) -> Answer + Send + 'static) {
        self.shared().answers = Box::new(answers);
    }

    /// From now on an answer that says less than it announced is never finished.
    pub(crate) fn stay(&self) {
        self.shared().stays = true;
    }

    /// The requests since this was last asked, as `METHOD path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.heard().into_iter().map(|request| request.line).collect()
    }

    /// The same, with all that was asked.
    pub(crate) fn heard(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared().requests)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

/// One request for each connection. Who begins with TLS is hung up on: clients of a registry that
/// is declared insecure try that first.
fn serve(mut stream: TcpStream, shared: &Mutex<Shared>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte), Ok(1)) || (head.is_empty() && byte[0] == 0x16) {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.split(" HTTP/").next().unwrap_or_default().to_owned();
    let request = Request { line, head };
    let (answer, stays) = {
        let mut shared = shared.lock().unwrap();
        let answer = (shared.answers)(&request);
        shared.requests.push(request);
        (answer, shared.stays)
    };
    // Who has heard enough hangs up.
    let _ = send(&mut stream, &answer);
    if stays {
        let _ = stream.read(&mut [0]);
    }
}

fn send(stream: &mut TcpStream, answer: &Answer) -> std::io::Result<()> {
    match answer.end {
        End::Close => stream.write_all(&answer.bytes),
        End::Reset => {
            stream.write_all(&answer.bytes)?;
            // socket(7): what is closed without lingering is reset.
            Ok(rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?)
        }
        End::Slow(time) => {
            for piece in answer.bytes.chunks(answer.bytes.len().div_ceil(20).max(1)) {
                stream.write_all(piece)?;
                std::thread::sleep(time / 20);
            }
            Ok(())
        }
    }
}

/// What the registry at this port answers to the request, headers and all. It is not told who asks.
pub(crate) fn pass_on(port: u16, request: &Request) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let kept = ["accept", "range"].map(|name| match request.header(name) {
        Some(value) => format!("{name}: {value}\r\n"),
        None => String::new(),
    });
    let (line, kept) = (&request.line, kept.concat());
    write!(stream, "{line} HTTP/1.0\r\nHost: localhost\r\n{kept}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// An answer with `status` such as `404 Not Found`, header lines, and a body of the length it says.
pub(crate) fn response(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    let headers = [&["Connection: close", &length], headers].concat().join("\r\n");
    [format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n").as_bytes(), body].concat()
}
