use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use super::*;
use crate::update::port::Prober as _;

async fn ask(probe: &str) -> Result<(), String> {
    let probe: Probe = serde_json::from_str(probe).unwrap();
    Prober.ask(&probe, Duration::from_secs(5)).await
}

/// A server that answers once, with this.
fn answering(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0u8; 4096];
        let _ = stream.read(&mut question).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    port
}

#[tokio::test]
async fn a_status_tells() {
    for (answer, well) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", false),
    ] {
        let answered = ask(&format!("\"http://127.0.0.1:{}/\"", answering(answer))).await;
        assert_eq!(answered.is_ok(), well, "{answer}: {answered:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for probe in [format!("\"http://127.0.0.1:{port}/\""), format!("\"tcp://127.0.0.1:{port}\"")] {
        let why = ask(&probe).await.unwrap_err();
        assert!(why.contains("refused"), "{why}");
    }
}

#[tokio::test]
async fn a_connection_is_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(ask(&format!("\"tcp://127.0.0.1:{port}\"")).await, Ok(()));
}

#[tokio::test]
async fn a_program_that_leaves_something_behind_has_answered() {
    let began = std::time::Instant::now();
    assert_eq!(ask(r#"["/bin/sh", "-c", "sleep 60 & exit 0"]"#).await, Ok(()));
    let why = ask(r#"["/bin/sh", "-c", "echo no >&2; sleep 60 & exit 1"]"#).await;
    assert_eq!(why, Err("exit status: 1: no".to_owned()));
    assert!(began.elapsed() < std::time::Duration::from_secs(30));
}

#[tokio::test]
async fn a_program_tells_by_its_status_and_says_why() {
    assert_eq!(ask(r#"["/bin/sh", "-c", "exit 0"]"#).await, Ok(()));
    let why = ask(r#"["/bin/sh", "-c", "echo first >&2; echo no database >&2; exit 3"]"#).await;
    assert_eq!(why, Err("exit status: 3: no database".to_owned()));
    let why = ask(r#"["/no/such/program"]"#).await.unwrap_err();
    assert!(why.starts_with("/no/such/program cannot be run"), "{why}");
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for() {
    let probe = Probe::Command(vec!["/bin/sleep".into(), "60".into()]);
    let why = Prober.ask(&probe, Duration::from_secs(1)).await;
    assert_eq!(why, Err("no answer within 1 s".to_owned()));
}
