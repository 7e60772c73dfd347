//! In a registry's place: whatever a test wants to be answered, however wrong, byte by byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// The bytes that answer a request, which is `METHOD path`.
type Answers = Box<dyn Fn(&str) -> Vec<u8> + Send>;

/// It answers until the test ends.
pub(crate) struct Impostor {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    answers: Answers,
    requests: Vec<String>,
    /// Connections stay open after an answer, until the client hangs up.
    stays: bool,
}

impl Impostor {
    /// Takes the port of a registry that is down.
    pub(crate) fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let answers = Box::new(|_: &str| Vec::new());
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

    /// From now on these are the answers.
    pub(crate) fn answer(&self, answers: impl Fn(&str) -> Vec<u8> + Send + 'static) {
        self.shared().answers = Box::new(answers);
    }

    /// From now on an answer that says less than it announced is never finished.
    pub(crate) fn stay(&self) {
        self.shared().stays = true;
    }

    /// The requests since this was last asked.
    pub(crate) fn requests(&self) -> Vec<String> {
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
    let head = String::from_utf8_lossy(&head);
    let request = head.split(" HTTP/").next().unwrap_or_default().to_owned();
    let (answer, stays) = {
        let mut shared = shared.lock().unwrap();
        let answer = (shared.answers)(&request);
        shared.requests.push(request);
        (answer, shared.stays)
    };
    // Who has heard enough hangs up.
    let _ = stream.write_all(&answer);
    if stays {
        let _ = stream.read(&mut [0]);
    }
}

/// An answer with `status` such as `404 Not Found`, header lines, and a body of the length it says.
pub(crate) fn response(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    let headers = [&["Connection: close", &length], headers].concat().join("\r\n");
    [format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n").as_bytes(), body].concat()
}
