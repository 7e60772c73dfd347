//! A forward proxy, as companies have them: it is told whom to ask, by `CONNECT` or by a whole URL. Whatever
//! host that is, this one's loopback interface is asked: nobody but the proxy knows where it lies.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// It forwards until it is dropped.
pub(crate) struct Forward {
    port: u16,
    shared: Arc<Mutex<Shared>>,
    ended: Arc<AtomicBool>,
}

#[derive(Default)]
struct Shared {
    /// `NAME:PASSWORD` in base64, without which it forwards nothing.
    login: Option<&'static str>,
    requests: Vec<String>,
}

impl Forward {
    pub(crate) fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let forward = Self { port, shared: Arc::default(), ended: Arc::default() };
        let (shared, ended) = (Arc::clone(&forward.shared), Arc::clone(&forward.ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        forward
    }

    /// From now on it wants to know who asks.
    pub(crate) fn want(&self, login: &'static str) {
        self.shared().login = Some(login);
    }

    /// The requests since this was last asked, as `METHOD target`.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared().requests)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // It notices when somebody comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One request, or a tunnel, for each connection.
fn serve(mut client: TcpStream, shared: &Mutex<Shared>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if !matches!(client.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let (first, headers) = head.split_once("\r\n").unwrap();
    let (method, rest) = first.split_once(' ').unwrap();
    let target = rest.strip_suffix(" HTTP/1.1").unwrap();
    let login = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(format!("{method} {target}"));
        shared.login
    };
    let is_login = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        name.eq_ignore_ascii_case("proxy-authorization")
            && Some(value) == login.map(|login| format!("Basic {login}")).as_deref()
    };
    if login.is_some() && !headers.lines().any(is_login) {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                       Proxy-Authenticate: Basic realm=\"proxy\"\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = client.write_all(refusal.as_bytes());
        return;
    }
    let authority = match method {
        "CONNECT" => target,
        _ => target.strip_prefix("http://").unwrap().split('/').next().unwrap(),
    };
    let port: u16 = authority.rsplit_once(':').unwrap().1.parse().unwrap();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) else {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    let begun = match method {
        "CONNECT" => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n"),
        _ => {
            // A registry is not to see who the proxy knows.
            let own = |line: &&str| !line.to_ascii_lowercase().starts_with("proxy-");
            let headers: Vec<&str> = headers.lines().filter(own).collect();
            let path = &target["http://".len() + authority.len()..];
            let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
            server.write_all(format!("{request}{}\r\n", headers.join("\r\n")).as_bytes())
        }
    };
    if begun.is_ok() {
        both_ways(client, server);
    }
}

fn both_ways(client: TcpStream, server: TcpStream) {
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || pour(from, to));
    pour(server, client);
}

fn pour(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
