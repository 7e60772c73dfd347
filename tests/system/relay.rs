//! A TCP relay that makes loopback as slow as a network, everything takes half the round trip in each
//! direction, and a connection takes a whole one to begin; and that counts what it carries.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What a relay has carried so far: payload, without the headers of TCP and below.
#[derive(Clone, Default)]
pub(crate) struct Carried {
    bytes: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Carried {
    /// In both directions.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// That clients began.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Relays connections to `127.0.0.1:from` to `127.0.0.1:to`, as long as this process lives.
pub(crate) fn start(from: u16, to: u16, round_trip: Duration) -> Carried {
    let listener = TcpListener::bind(("127.0.0.1", from)).unwrap();
    let carried = Carried::default();
    let count = carried.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            count.connections.fetch_add(1, Ordering::Relaxed);
            let bytes = Arc::clone(&count.bytes);
            thread::spawn(move || serve(client, to, round_trip, &bytes));
        }
    });
    carried
}

fn serve(client: TcpStream, to: u16, round_trip: Duration, bytes: &Arc<AtomicU64>) {
    thread::sleep(round_trip); // SYN and its answer
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { return };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (Ok(client_again), Ok(server_again)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    carry(client, server, round_trip / 2, Arc::clone(bytes));
    carry(server_again, client_again, round_trip / 2, Arc::clone(bytes));
}

/// Hands on what comes, each piece `delay` after it came, whatever comes behind it.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration, bytes: Arc<AtomicU64>) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            bytes.fetch_add(size as u64, Ordering::Relaxed);
            if sender.send((Instant::now() + delay, buffer[..size].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
