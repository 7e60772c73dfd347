//! Failures that pass: what is asked once more, and how often.

use serde_json::json;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::manifest::OCI_MANIFEST;
use super::tests::{client, head_answer, source, source_at, takes, wait_until_closed};
use crate::model::{Digest, FailureKind, ImageSource};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn right() -> ResponseTemplate {
    head_answer(&Digest::of(MANIFEST))
}

/// A registry whose first `times` answers are `answer`, and the others right.
async fn fails(times: u64, answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(path("/v2/app/manifests/1"))
        .respond_with(answer)
        .up_to_n_times(times)
        .mount(&server)
        .await;
    Mock::given(method("HEAD")).respond_with(right()).mount(&server).await;
    server
}

async fn asked(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn an_answer_that_may_pass_is_asked_for_once_more() {
    let soon = |status| ResponseTemplate::new(status).insert_header("retry-after", "0");
    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(502),
        ResponseTemplate::new(503),
        ResponseTemplate::new(504),
        soon(503),
        soon(429),
    ] {
        let server = fails(1, answer.clone()).await;
        client().target(&source(&server, "app:1")).await.unwrap();
        assert_eq!(asked(&server).await, 2, "{answer:?}");
        let server = fails(2, answer.clone()).await;
        client().target(&source(&server, "app:1")).await.unwrap_err();
        assert_eq!(asked(&server).await, 2, "{answer:?}: once");
    }
}

#[tokio::test]
async fn what_no_second_mends_is_not() {
    let after =
        |status, seconds: &str| ResponseTemplate::new(status).insert_header("retry-after", seconds);
    for answer in [
        ResponseTemplate::new(403),
        ResponseTemplate::new(404),
        // A quota of hours, most often.
        ResponseTemplate::new(429),
        after(429, "6"),
        after(503, "6"),
    ] {
        let server = fails(1, answer.clone()).await;
        client().target(&source(&server, "app:1")).await.unwrap_err();
        assert_eq!(asked(&server).await, 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_host_that_fails_all_the_time_is_not_asked_twice_for_everything() {
    let server = MockServer::start().await;
    Mock::given(method("HEAD")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
    let client = client();
    for n in 0..10 {
        let error = client.target(&source(&server, &format!("app{n}:1"))).await;
        assert_eq!(error.unwrap_err().kind(), FailureKind::ServerError);
    }
    assert_eq!(asked(&server).await, 10 + 4);
}

#[tokio::test]
async fn who_waits_for_the_first_answer_does_not_hear_of_a_hiccup() {
    let server = fails(1, ResponseTemplate::new(503)).await;
    let client = client();
    let sources: Vec<_> = (1..10).map(|_| source(&server, "app:1")).collect();
    let asking = sources.iter().map(|source| client.target(source));
    let answers = futures_util::future::join_all(asking).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(asked(&server).await, 10);
}

#[tokio::test]
async fn a_realm_may_have_a_hiccup_too() {
    let server = MockServer::start().await;
    let challenge = format!(r#"Bearer realm="{}/token",service="reg""#, server.uri());
    takes(&server, &challenge, "Bearer good", &Digest::of(MANIFEST)).await;
    Mock::given(path("/token"))
        .respond_with(ResponseTemplate::new(502))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(path("/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"token": "good"})))
        .mount(&server)
        .await;
    client().target(&source(&server, "app:1")).await.unwrap();
    assert_eq!(asked(&server).await, 4, "one that learns, two for the token, one with it");
}

/// A server whose connections, one request each, are answered by these bytes in turn.
async fn scripted(answers: Vec<Vec<u8>>) -> ImageSource {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            // Whoever is declared insecure is spoken to by TLS first.
            if request[..read].starts_with(b"GET") {
                let _ = stream.write_all(&answers.next().unwrap_or_default()).await;
            }
        }
    });
    source_at(address, "app:1")
}

#[tokio::test]
async fn a_manifest_that_breaks_off_is_asked_for_once_more() {
    let whole = [
        format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {OCI_MANIFEST}\r\nContent-Length: {}\r\n\r\n",
            MANIFEST.len()
        )
        .as_bytes(),
        MANIFEST,
    ]
    .concat();
    let half = whole[..whole.len() - 5].to_vec();
    let digest = Digest::of(MANIFEST);
    let source = scripted(vec![half.clone(), whole.clone()]).await;
    client().manifest(&source, &digest).await.unwrap();
    let source = scripted(vec![half.clone(), half.clone(), whole.clone()]).await;
    let error = client().manifest(&source, &digest).await.unwrap_err();
    assert!(error.to_string().contains("broke off"), "{error}");
    // No answer at all: sent again at once, as on a connection that was closed while idle, and then
    // after a moment.
    let source = scripted(vec![vec![], vec![], whole.clone()]).await;
    client().manifest(&source, &digest).await.unwrap();
}

#[tokio::test]
async fn who_has_waited_asks_a_host_that_was_not_reached() {
    let server = MockServer::builder().start().await;
    let address = *server.address();
    drop(server);
    wait_until_closed(address).await;
    let (client, source) = (client(), source_at(address, "app:1"));
    assert_eq!(client.target(&source).await.unwrap_err().kind(), FailureKind::Unreachable);
    let listener = std::net::TcpListener::bind(address).unwrap();
    let again = MockServer::builder().listener(listener).start().await;
    Mock::given(method("HEAD")).respond_with(right()).mount(&again).await;
    client.target(&source).await.unwrap_err();
    client.try_again(&source);
    client.target(&source).await.unwrap();
}
