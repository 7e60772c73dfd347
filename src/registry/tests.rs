//! The client against registries that behave well and badly, on loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt, future};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wiremock::matchers::{body_string_contains, header, headers, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::error::{ContentFault, Denial, Problem};
use super::manifest::{OCI_INDEX, OCI_MANIFEST};
use super::{Client, Options, Paths, Proxies, RegistriesConf, Timeouts};
use crate::model::{Digest, FailureKind, ImageSource, Platform};

pub(super) fn options() -> Options {
    Options {
        user_agent: "test".to_owned(),
        tls_verify: Some(false),
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(2),
            total: Duration::from_secs(20),
            slowest: 8 * 1024,
            pause: Duration::from_millis(20),
            helper: Duration::from_secs(5),
        },
        rate: None,
        proxies: Proxies::default(),
        paths: Paths::default(),
        rejections: None,
    }
}

pub(super) fn client() -> Client {
    Client::new(&options()).unwrap()
}

pub(super) fn source(server: &MockServer, image: &str) -> ImageSource {
    source_at(*server.address(), image)
}

pub(super) fn source_at(address: SocketAddr, image: &str) -> ImageSource {
    let reference = format!("{address}/{image}").parse().unwrap();
    ImageSource { reference, authfile: None }
}

fn with_credentials(
    server: &MockServer,
    image: &str,
    directory: &Path,
    entry: &serde_json::Value,
) -> ImageSource {
    let authfile = directory.join("auth.json");
    let text = json!({"auths": {server.address().to_string(): entry}}).to_string();
    std::fs::write(&authfile, text).unwrap();
    ImageSource { authfile: Some(authfile), ..source(server, image) }
}

/// `user:hunter2`
fn password() -> serde_json::Value {
    json!({"auth": "dXNlcjpodW50ZXIy"})
}

fn manifest() -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": []})
        .to_string()
        .into_bytes()
}

pub(super) fn head_answer(digest: &Digest) -> ResponseTemplate {
    ResponseTemplate::new(200).insert_header("docker-content-digest", digest.to_string())
}

fn document(bytes: Vec<u8>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(bytes, OCI_MANIFEST)
}

async fn requests(server: &MockServer, verb: &str) -> usize {
    let all = server.received_requests().await.unwrap();
    all.iter().filter(|request| request.method.as_str() == verb).count()
}

/// A registry that wants tokens from `/token`, and says `digest` for everything.
async fn token_registry(digest: &Digest) -> MockServer {
    let server = MockServer::start().await;
    let (digest, realm) = (digest.clone(), format!("{}/token", server.uri()));
    Mock::given(method("HEAD"))
        .respond_with(move |request: &Request| {
            let authorization = request.headers.get("authorization");
            if authorization.is_some_and(|value| value == "Bearer good") {
                return head_answer(&digest);
            }
            let challenge = format!(r#"Bearer realm="{realm}",service="reg""#);
            ResponseTemplate::new(401).insert_header("www-authenticate", challenge)
        })
        .mount(&server)
        .await;
    server
}

async fn token(server: &MockServer, token: &str) {
    Mock::given(path("/token"))
        .and(query_param("service", "reg"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"token": token})))
        .mount(server)
        .await;
}

/// A server that reads one request after another, answers each with the same bytes, and closes.
async fn scripted(answer: Vec<u8>) -> ImageSource {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            if request[..read].starts_with(b"GET") || request[..read].starts_with(b"HEAD") {
                let _ = stream.write_all(&answer).await;
            }
        }
    });
    ImageSource { reference: format!("{address}/app:1").parse().unwrap(), authfile: None }
}

#[tokio::test]
async fn one_head_says_the_digest() {
    let server = MockServer::start().await;
    let digest = Digest::of(b"x");
    Mock::given(method("HEAD"))
        .and(path("/v2/team/app/manifests/1"))
        .and(headers("accept", super::manifest::ACCEPTED.split(", ").collect()))
        .respond_with(head_answer(&digest))
        .mount(&server)
        .await;
    assert_eq!(client().target(&source(&server, "team/app:1")).await.unwrap(), digest);
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn without_a_digest_header_the_manifest_is_hashed() {
    for answer in [
        ResponseTemplate::new(200),
        ResponseTemplate::new(200).insert_header("docker-content-digest", "sha256:nonsense"),
        ResponseTemplate::new(405),
    ] {
        let server = MockServer::start().await;
        Mock::given(method("HEAD")).respond_with(answer).mount(&server).await;
        // What a GET says of its digest counts for nothing.
        let lie = document(manifest())
            .insert_header("docker-content-digest", Digest::of(b"lie").to_string());
        Mock::given(method("GET")).respond_with(lie).mount(&server).await;
        let target = client().target(&source(&server, "app:1")).await.unwrap();
        assert_eq!(target, Digest::of(&manifest()));
    }
}

#[tokio::test]
async fn a_reference_with_a_digest_asks_nobody() {
    let server = MockServer::start().await;
    let digest = Digest::of(b"x");
    let target = client().target(&source(&server, &format!("app@{digest}"))).await.unwrap();
    assert_eq!(target, digest);
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn refusals_have_their_kind_and_text() {
    let body = json!({"errors": [{"code": "X", "message": "no\u{1b}[31m way"}]});
    for (status, kind) in [
        (403, FailureKind::Unauthorized),
        (404, FailureKind::NotFound),
        (429, FailureKind::RateLimited(Some(Duration::from_secs(30)))),
        (500, FailureKind::ServerError),
        (503, FailureKind::RateLimited(Some(Duration::from_secs(30)))),
        (406, FailureKind::InvalidContent),
    ] {
        let server = MockServer::start().await;
        let answer =
            ResponseTemplate::new(status).insert_header("retry-after", "30").set_body_json(&body);
        Mock::given(method("GET")).respond_with(answer).mount(&server).await;
        let source = source(&server, "app:1");
        let error = client().manifest(&source, &Digest::of(b"x")).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let text = error.to_string();
        assert!(text.contains(&source.reference.to_string()), "{text}");
        assert!(text.contains(&status.to_string()) && text.contains("no [31m way"), "{text}");
    }
}

#[tokio::test]
async fn a_manifest_must_match_its_digest() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(document(manifest())).mount(&server).await;
    let (client, source) = (client(), source(&server, "app:1"));
    let raw = client.manifest(&source, &Digest::of(&manifest())).await.unwrap();
    assert_eq!((&raw.bytes[..], raw.media_type.as_str()), (&manifest()[..], OCI_MANIFEST));
    let error = client.manifest(&source, &Digest::of(b"other")).await.unwrap_err();
    assert!(matches!(
        error.problem(),
        Problem::Content { fault: ContentFault::Mismatch { .. }, .. }
    ));
    assert_eq!(error.kind(), FailureKind::InvalidContent);
}

#[tokio::test]
async fn an_index_leads_to_the_platforms_manifest() {
    let server = MockServer::start().await;
    let wanted = Digest::of(b"wanted");
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": Digest::of(b"a"), "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}},
        {"mediaType": OCI_MANIFEST, "digest": wanted, "size": 1, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
    ]})
    .to_string()
    .into_bytes();
    let target = Digest::of(&index);
    Mock::given(method("GET")).respond_with(document(index)).mount(&server).await;
    let platform = |architecture: &str| Platform {
        os: "linux".into(),
        architecture: architecture.into(),
        variant: None,
    };
    let (client, source) = (client(), source(&server, "app:1"));
    let found = client.identify(&source, &target, &platform("arm64")).await.unwrap();
    assert_eq!((found.target, found.manifest), (target.clone(), wanted));
    let error = client.identify(&source, &target, &platform("riscv64")).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::InvalidContent);
    assert!(error.to_string().contains("linux/arm64/v8"), "{error}");
}

#[tokio::test]
async fn a_manifest_just_read_is_not_asked_for_again() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(document(manifest())).mount(&server).await;
    let (client, digest) = (client(), Digest::of(&manifest()));
    for _ in 0..3 {
        client.manifest(&source(&server, "app:1"), &digest).await.unwrap();
    }
    assert_eq!(requests(&server, "GET").await, 1);
    // Another repository's registry may not give it.
    client.manifest(&source(&server, "other:1"), &digest).await.unwrap();
    assert_eq!(requests(&server, "GET").await, 2);
}

#[tokio::test]
async fn oversized_and_truncated_manifests_are_refused() {
    let huge = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n{".to_vec();
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..5 {
        chunked.extend(format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20)).into_bytes());
    }
    for answer in [huge, chunked] {
        let source = scripted(answer).await;
        let error = client().manifest(&source, &Digest::of(b"x")).await.unwrap_err();
        let fault = ContentFault::TooLarge { what: "manifest", limit: 4 << 20 };
        assert!(
            matches!(error.problem(), Problem::Content { fault: found, .. } if *found == fault),
            "{error}"
        );
    }
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec();
    let error = client().manifest(&scripted(short).await, &Digest::of(b"x")).await.unwrap_err();
    assert!(matches!(error.problem(), Problem::BrokenOff { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_down_is_waited_for_once() {
    // Accepts, and never answers: each request alone would take the idle timeout.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut options = options();
    options.tls_verify = Some(true);
    options.timeouts.connect = Duration::from_millis(300);
    let client = Client::new(&options).unwrap();
    let start = std::time::Instant::now();
    let sources: Vec<_> = (0..20)
        .map(|n| ImageSource {
            reference: format!("{address}/app{n}:1").parse().unwrap(),
            authfile: None,
        })
        .collect();
    let results = future::join_all(sources.iter().map(|source| client.target(source))).await;
    for (source, result) in sources.iter().zip(results) {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), FailureKind::Unreachable, "{error}");
        assert!(error.to_string().contains(&source.reference.to_string()), "{error}");
    }
    // Those who come later need not find out again.
    for source in &sources {
        assert_eq!(client.target(source).await.unwrap_err().kind(), FailureKind::Unreachable);
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(listener);
}

#[tokio::test]
async fn a_registry_that_is_gone_is_asked_again_by_the_next_pass() {
    // Not one of those that are used again when they are dropped.
    let server = MockServer::builder().start().await;
    Mock::given(method("HEAD")).respond_with(head_answer(&Digest::of(b"x"))).mount(&server).await;
    let (client, source) = (client(), source(&server, "app:1"));
    let address = *server.address();
    assert!(client.target(&source).await.is_ok());
    drop(server);
    // It has answered a moment ago; but no connection comes about any more.
    let gone = async |client: &Client| client.target(&source).await.unwrap_err().kind();
    wait_until_closed(address).await;
    assert_eq!(gone(&client).await, FailureKind::Unreachable);
    let listener = std::net::TcpListener::bind(address).unwrap();
    let again = MockServer::builder().listener(listener).start().await;
    Mock::given(method("HEAD")).respond_with(head_answer(&Digest::of(b"y"))).mount(&again).await;
    assert_eq!(gone(&client).await, FailureKind::Unreachable, "nobody asks again so soon");
    assert!(again.received_requests().await.unwrap().is_empty());
    client.begin_pass();
    assert_eq!(client.target(&source).await.unwrap(), Digest::of(b"y"));
}

#[tokio::test]
async fn who_is_asked_too_much_is_left_alone() {
    let server = MockServer::start().await;
    let limited = ResponseTemplate::new(429).insert_header("retry-after", "7");
    Mock::given(path("/v2/busy/manifests/1")).respond_with(limited).mount(&server).await;
    let digest = Digest::of(b"x");
    Mock::given(method("HEAD")).respond_with(head_answer(&digest)).mount(&server).await;
    let client = client();
    assert!(client.target(&source(&server, "app:1")).await.is_ok());
    for image in ["busy:1", "app:1", "other:1"] {
        let error = client.target(&source(&server, image)).await.unwrap_err();
        let wait = FailureKind::RateLimited(Some(Duration::from_secs(7)));
        assert_eq!(error.kind(), wait, "429 of one image is all of that host's");
        assert!(error.to_string().contains(image), "{error}");
    }
    assert_eq!(requests(&server, "HEAD").await, 2);
    client.begin_pass();
    assert!(client.target(&source(&server, "app:1")).await.is_ok());
}

#[tokio::test]
async fn a_budget_is_what_the_last_answer_said() {
    let server = MockServer::start().await;
    let digest = Digest::of(b"x");
    for left in ["76", "75"] {
        let answer = head_answer(&digest)
            .insert_header("ratelimit-limit", "100;w=21600")
            .insert_header("ratelimit-remaining", format!("{left};w=21600"))
            .insert_header("docker-ratelimit-source", "192.0.2.1");
        Mock::given(method("HEAD")).respond_with(answer).up_to_n_times(1).mount(&server).await;
    }
    Mock::given(method("HEAD")).respond_with(head_answer(&digest)).mount(&server).await;
    let (client, source) = (client(), source(&server, "app:1"));
    let host = client.host(&source).unwrap();
    assert_eq!(client.budget(&host), None);
    // An answer that says nothing changes nothing.
    for left in [76, 75, 75] {
        client.target(&source).await.unwrap();
        let budget = client.budget(&host).unwrap();
        assert_eq!((budget.limit, budget.remaining, budget.window), (100, left, 21600));
        assert_eq!(budget.counted_for.as_deref(), Some("192.0.2.1"));
    }
}

pub(super) async fn wait_until_closed(address: SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn plain_http_only_where_declared() {
    let server = MockServer::start().await;
    Mock::given(method("HEAD")).respond_with(head_answer(&Digest::of(b"x"))).mount(&server).await;
    let strict = Client::new(&Options { tls_verify: None, ..options() }).unwrap();
    let error = strict.target(&source(&server, "app:1")).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unreachable);
    let directory = tempfile::tempdir().unwrap();
    let conf = directory.path().join("registries.conf");
    std::fs::write(
        &conf,
        format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", server.address()),
    )
    .unwrap();
    let main = RegistriesConf { file: conf, drop_ins: Vec::new() };
    let paths = Paths { registries_conf: vec![main], ..Paths::default() };
    let declared = Client::new(&Options { tls_verify: None, paths, ..options() }).unwrap();
    assert!(declared.target(&source(&server, "app:1")).await.is_ok());
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_no_failure() {
    // Promises to keep the connection, and closes it at the next request.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                if request[..read].starts_with(b"HEAD") {
                    let digest = Digest::of(b"x");
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nDocker-Content-Digest: {digest}\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.read(&mut request).await;
                }
            });
        }
    });
    let reference = format!("{address}/app:1").parse().unwrap();
    let source = ImageSource { reference, authfile: None };
    let client = client();
    for _ in 0..5 {
        assert_eq!(client.target(&source).await.unwrap(), Digest::of(b"x"));
    }
}

#[tokio::test]
async fn a_hundred_images_on_warm_tokens_are_a_hundred_heads() {
    let server = token_registry(&Digest::of(b"x")).await;
    token(&server, "good").await;
    let client = client();
    let sources: Vec<_> = (0..100).map(|n| source(&server, &format!("app{n}:1"))).collect();
    for expected in [201, 100] {
        let before = server.received_requests().await.unwrap().len();
        let checks = futures_util::stream::iter(&sources).map(|source| client.target(source));
        let results: Vec<_> = checks.buffer_unordered(16).collect().await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        // Cold: one learns the challenge, then a token and a HEAD for each repository.
        assert_eq!(server.received_requests().await.unwrap().len() - before, expected);
    }
}

#[tokio::test]
async fn once_a_host_has_answered_requests_go_together() {
    // Answers the first request at once, the next four only when all four are there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut waiting, mut wanted) = (Vec::new(), 1);
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            if !request[..read].starts_with(b"HEAD") {
                continue;
            }
            waiting.push(stream);
            if waiting.len() == wanted {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nDocker-Content-Digest: {}\r\n\r\n",
                    Digest::of(b"x")
                );
                for mut stream in waiting.drain(..) {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
                wanted = 4;
            }
        }
    });
    let client = client();
    let source = |n: usize| {
        let reference = format!("{address}/app{n}:1").parse().unwrap();
        ImageSource { reference, authfile: None }
    };
    client.target(&source(0)).await.unwrap();
    let sources: Vec<_> = (1..5).map(source).collect();
    let results = future::join_all(sources.iter().map(|source| client.target(source))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[tokio::test]
async fn images_of_one_repository_share_a_token() {
    let server = token_registry(&Digest::of(b"x")).await;
    token(&server, "good").await;
    let client = client();
    let sources: Vec<_> = (0..10).map(|n| source(&server, &format!("app:{n}"))).collect();
    let results = future::join_all(sources.iter().map(|source| client.target(source))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(requests(&server, "GET").await, 1);
}

#[tokio::test]
async fn a_stale_token_is_refreshed_once() {
    let server = token_registry(&Digest::of(b"x")).await;
    Mock::given(path("/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"access_token": "good"})))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    let client = client();
    client.target(&source(&server, "app:1")).await.unwrap();
    server.reset().await;
    // The registry has forgotten the token, and accepts another one only.
    let realm = format!("{}/token", server.uri());
    let challenge = format!(r#"Bearer realm="{realm}",service="reg""#);
    takes(&server, &challenge, "Bearer newer", &Digest::of(b"y")).await;
    token(&server, "newer").await;
    assert_eq!(client.target(&source(&server, "app:1")).await.unwrap(), Digest::of(b"y"));
    assert_eq!((requests(&server, "HEAD").await, requests(&server, "GET").await), (2, 1));
}

/// A registry that wants what `challenge` says, and tells who is `accepted` this digest.
pub(super) async fn takes(server: &MockServer, challenge: &str, accepted: &str, digest: &Digest) {
    Mock::given(method("HEAD"))
        .and(header("authorization", accepted))
        .respond_with(head_answer(digest))
        .mount(server)
        .await;
    Mock::given(method("HEAD"))
        .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", challenge))
        .mount(server)
        .await;
}

/// A registry that wants and takes something else by now.
async fn wants(server: &MockServer, challenge: &str, accepted: &str) {
    server.reset().await;
    takes(server, challenge, accepted, &Digest::of(b"x")).await;
    if accepted == "Bearer good" {
        token(server, "good").await;
    }
}

#[tokio::test]
async fn a_realm_that_has_moved_is_found_again() {
    let server = MockServer::start().await;
    let client = client();
    let bearer = |path: &str| format!(r#"Bearer realm="{}/{path}",service="reg""#, server.uri());
    wants(&server, &bearer("token"), "Bearer good").await;
    client.target(&source(&server, "app:1")).await.unwrap();
    wants(&server, &bearer("moved"), "Bearer moved").await;
    Mock::given(path("/moved"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"token": "moved"})))
        .mount(&server)
        .await;
    // Another repository, for which there is no token yet: its old realm is not there any more.
    client.target(&source(&server, "other:1")).await.unwrap();
    client.target(&source(&server, "third:1")).await.unwrap();
    let asked = server.received_requests().await.unwrap();
    let count = |path: &str| asked.iter().filter(|request| request.url.path() == path).count();
    assert_eq!((count("/token"), count("/moved"), requests(&server, "HEAD").await), (1, 2, 3));
}

#[tokio::test]
async fn a_realm_that_fails_is_asked_about_once() {
    let server = token_registry(&Digest::of(b"x")).await;
    token(&server, "good").await;
    let client = client();
    client.target(&source(&server, "app:1")).await.unwrap();
    let challenge = format!(r#"Bearer realm="{}/token",service="reg""#, server.uri());
    server.reset().await;
    Mock::given(path("/token")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
    Mock::given(method("HEAD"))
        .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", challenge))
        .mount(&server)
        .await;
    let error = client.target(&source(&server, "other:1")).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::ServerError, "{error}");
    // The realm twice: it might have been a hiccup.
    assert_eq!((requests(&server, "HEAD").await, requests(&server, "GET").await), (1, 2));
}

#[tokio::test]
async fn a_change_between_basic_and_tokens_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let server = MockServer::start().await;
    let source = with_credentials(&server, "app:1", directory.path(), &password());
    let client = client();
    let bearer = format!(r#"Bearer realm="{}/token",service="reg""#, server.uri());
    let changes = [
        ("Basic", "Basic dXNlcjpodW50ZXIy"),
        (bearer.as_str(), "Bearer good"),
        ("Basic", "Basic dXNlcjpodW50ZXIy"),
    ];
    for (challenge, accepted) in changes {
        wants(&server, challenge, accepted).await;
        client.target(&source).await.unwrap();
    }
}

#[tokio::test]
async fn repositories_may_have_realms_of_their_own() {
    let server = MockServer::start().await;
    for name in ["a", "b"] {
        let challenge = format!(r#"Bearer realm="{}/{name}",service="reg""#, server.uri());
        let url = format!("/v2/{name}/manifests/1");
        Mock::given(path(url.as_str()))
            .and(header("authorization", format!("Bearer {name}").as_str()))
            .respond_with(head_answer(&Digest::of(b"x")))
            .mount(&server)
            .await;
        Mock::given(path(url.as_str()))
            .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", challenge))
            .mount(&server)
            .await;
        Mock::given(path(format!("/{name}")))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"token": name})))
            .mount(&server)
            .await;
    }
    let client = client();
    // The first pass learns; then a HEAD is a HEAD.
    for expected in [7, 2] {
        let before = server.received_requests().await.unwrap().len();
        client.target(&source(&server, "a:1")).await.unwrap();
        client.target(&source(&server, "b:1")).await.unwrap();
        assert_eq!(server.received_requests().await.unwrap().len() - before, expected);
    }
}

#[tokio::test]
async fn a_token_that_never_suits_ends_in_an_error() {
    let server = token_registry(&Digest::of(b"x")).await;
    token(&server, "bad").await;
    let error = client().target(&source(&server, "app:1")).await.unwrap_err();
    assert!(
        matches!(error.problem(), Problem::Unauthorized { why: Denial::NoCredentials, .. }),
        "{error}"
    );
    assert_eq!((requests(&server, "HEAD").await, requests(&server, "GET").await), (2, 1));
}

#[tokio::test]
async fn a_wider_scope_is_asked_for_once_and_remembered() {
    let server = MockServer::start().await;
    let challenge = format!(
        r#"Bearer realm="{}/token",service="reg",scope="aws",error="insufficient_scope""#,
        server.uri()
    );
    Mock::given(header("authorization", "Bearer wide"))
        .respond_with(head_answer(&Digest::of(b"x")))
        .mount(&server)
        .await;
    Mock::given(path("/token"))
        .and(query_param("scope", "aws"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"token": "wide"})))
        .mount(&server)
        .await;
    Mock::given(method("HEAD"))
        .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", challenge))
        .mount(&server)
        .await;
    let client = client();
    for expected in [3, 4] {
        client.target(&source(&server, "app:1")).await.unwrap();
        assert_eq!(server.received_requests().await.unwrap().len(), expected);
    }
}

#[tokio::test]
async fn a_bad_password_is_tried_once() {
    let directory = tempfile::tempdir().unwrap();
    let server = token_registry(&Digest::of(b"x")).await;
    Mock::given(path("/token")).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    let client = client();
    let sources: Vec<_> = (0..20)
        .map(|n| with_credentials(&server, &format!("app{n}:1"), directory.path(), &password()))
        .collect();
    let results = future::join_all(sources.iter().map(|source| client.target(source))).await;
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), FailureKind::Unauthorized);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(error.to_string().contains("auth.json"), "{error}");
    }
    assert_eq!(requests(&server, "GET").await, 1);
}

#[tokio::test]
async fn a_bad_password_is_tried_by_one_process_until_the_file_changes() {
    let directory = tempfile::tempdir().unwrap();
    let server = token_registry(&Digest::of(b"x")).await;
    Mock::given(path("/token")).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    let process = || {
        let rejections = Some(directory.path().join("state/logins/rejected.json"));
        Client::new(&Options { rejections, ..options() }).unwrap()
    };
    let source = with_credentials(&server, "app:1", directory.path(), &password());
    let running = process();
    for tried in [1, 2] {
        for client in [&running, &process(), &process()] {
            let error = client.target(&source).await.unwrap_err();
            assert_eq!(error.kind(), FailureKind::Unauthorized, "{error}");
            assert!(error.to_string().contains("auth.json"), "{error}");
        }
        assert_eq!(requests(&server, "GET").await, tried);
        // As touch(1) does, and as a login does that changes nothing.
        let file = std::fs::File::options().write(true).open(directory.path().join("auth.json"));
        file.unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    // One that is in the file now is another.
    let source = with_credentials(&server, "app:1", directory.path(), &json!({"auth": "dTpw"}));
    process().target(&source).await.unwrap_err();
    assert_eq!(requests(&server, "GET").await, 3);
}

#[tokio::test]
async fn a_realm_that_is_asked_too_often_is_its_registrys_failure() {
    let server = token_registry(&Digest::of(b"x")).await;
    token(&server, "good").await;
    let client = client();
    client.target(&source(&server, "app:1")).await.unwrap();
    // The challenge is known; the next image needs a token of its own.
    server.reset().await;
    let limited = ResponseTemplate::new(429).insert_header("retry-after", "7");
    Mock::given(path("/token")).respond_with(limited).mount(&server).await;
    for image in ["other:1", "third:1", "fourth:1"] {
        let error = client.target(&source(&server, image)).await.unwrap_err();
        let wait = FailureKind::RateLimited(Some(Duration::from_secs(7)));
        assert_eq!(error.kind(), wait, "{error}");
    }
    assert_eq!((requests(&server, "HEAD").await, requests(&server, "GET").await), (0, 1));
}

#[tokio::test]
async fn a_realm_that_forbids_everything_is_asked_for_three_images() {
    let directory = tempfile::tempdir().unwrap();
    let server = token_registry(&Digest::of(b"x")).await;
    Mock::given(path("/token")).respond_with(ResponseTemplate::new(403)).mount(&server).await;
    let client = client();
    let authfile = with_credentials(&server, "app:1", directory.path(), &password()).authfile;
    for n in 0..10 {
        // The same image twice says nothing new.
        for _ in 0..2 {
            let authfile = authfile.clone();
            let source = ImageSource { authfile, ..source(&server, &format!("app{n}:1")) };
            let error = client.target(&source).await.unwrap_err();
            assert_eq!(error.kind(), FailureKind::Unauthorized, "{error}");
        }
    }
    assert_eq!(requests(&server, "GET").await, 5);
}

#[tokio::test]
async fn basic_authentication_and_its_bad_password() {
    let directory = tempfile::tempdir().unwrap();
    for (entry, accepted) in [(password(), true), (json!({"auth": "dXNlcjp3cm9uZw=="}), false)] {
        let server = MockServer::start().await;
        Mock::given(header("authorization", "Basic dXNlcjpodW50ZXIy"))
            .respond_with(head_answer(&Digest::of(b"x")))
            .mount(&server)
            .await;
        Mock::given(method("HEAD"))
            .respond_with(
                ResponseTemplate::new(401).insert_header("www-authenticate", "Basic realm=\"r\""),
            )
            .mount(&server)
            .await;
        let client = client();
        let sources: Vec<_> = (0..10)
            .map(|n| with_credentials(&server, &format!("app{n}:1"), directory.path(), &entry))
            .collect();
        let results = future::join_all(sources.iter().map(|source| client.target(source))).await;
        assert!(results.iter().all(|result| result.is_ok() == accepted));
        assert_eq!(requests(&server, "HEAD").await, if accepted { 11 } else { 2 });
    }
}

#[tokio::test]
async fn an_identity_token_is_posted() {
    let directory = tempfile::tempdir().unwrap();
    let server = token_registry(&Digest::of(b"x")).await;
    Mock::given(method("POST"))
        .and(path("/token"))
        .and(body_string_contains("grant_type=refresh_token"))
        .and(body_string_contains("refresh_token=s%2Fcret"))
        .and(body_string_contains("scope=repository%3Aapp%3Apull"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"access_token": "good"})))
        .mount(&server)
        .await;
    let entry = json!({"identitytoken": "s/cret"});
    let source = with_credentials(&server, "app:1", directory.path(), &entry);
    client().target(&source).await.unwrap();
}

#[tokio::test]
async fn an_identity_token_that_was_taken_back_is_tried_once() {
    let directory = tempfile::tempdir().unwrap();
    for (refusal, told, tried) in [
        (json!({"error": "invalid_grant"}), "(invalid_grant)", 1),
        (json!({"error": "invalid_grant", "error_description": "taken back"}), "(taken back)", 1),
        // It says nothing of the token.
        (json!({"error": "invalid_scope"}), "400 Bad Request", 2),
        (json!({"errors": [{"code": "X", "message": "no way"}]}), "400 Bad Request (no way)", 2),
    ] {
        let server = token_registry(&Digest::of(b"x")).await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(400).set_body_json(refusal))
            .mount(&server)
            .await;
        let entry = json!({"identitytoken": "hunter2"});
        let source = with_credentials(&server, "app:1", directory.path(), &entry);
        let client = client();
        let error = client.target(&source).await.unwrap_err().to_string();
        assert!(error.contains(told) && !error.contains("hunter2"), "{error}");
        client.target(&source).await.unwrap_err();
        assert_eq!(requests(&server, "POST").await, tried, "{told}");
    }
}

#[tokio::test]
async fn realms_that_are_no_http_urls_are_refused() {
    for realm in ["file:///etc/passwd", "nonsense", "http://user:pw@127.0.0.1/t"] {
        let server = MockServer::start().await;
        let challenge = format!("Bearer realm=\"{realm}\"");
        Mock::given(method("HEAD"))
            .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", challenge))
            .mount(&server)
            .await;
        let error = client().target(&source(&server, "app:1")).await.unwrap_err();
        assert_eq!(error.kind(), FailureKind::InvalidContent, "{error}");
    }
}

async fn read(
    client: &Client,
    source: &ImageSource,
    size: u64,
    offset: u64,
) -> Result<Vec<u8>, super::Error> {
    let mut blob = client.blob(source, &Digest::of(b"blob"), size, offset).await?;
    let mut all = Vec::new();
    while let Some(chunk) = blob.next().await {
        all.extend(chunk?);
    }
    assert!(blob.next().await.is_none());
    Ok(all)
}

#[tokio::test]
async fn a_blob_is_read_from_its_offset() {
    let server = MockServer::start().await;
    let part = ResponseTemplate::new(206)
        .insert_header("content-range", "bytes 4-9/10")
        .set_body_string("456789");
    Mock::given(header("range", "bytes=4-")).respond_with(part).mount(&server).await;
    let wrong = ResponseTemplate::new(206)
        .insert_header("content-range", "bytes 0-4/10")
        .set_body_string("01234");
    Mock::given(header("range", "bytes=5-")).respond_with(wrong).mount(&server).await;
    let beyond = ResponseTemplate::new(416).insert_header("content-range", "bytes */6");
    Mock::given(header("range", "bytes=6-")).respond_with(beyond).mount(&server).await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_string("0123456789"))
        .mount(&server)
        .await;
    let (client, source) = (client(), source(&server, "app:1"));
    assert_eq!(read(&client, &source, 10, 0).await.unwrap(), b"0123456789");
    assert_eq!(read(&client, &source, 10, 4).await.unwrap(), b"456789");
    // A registry that knows no ranges sends everything.
    assert_eq!(read(&client, &source, 10, 7).await.unwrap(), b"789");
    assert_eq!(read(&client, &source, 10, 10).await.unwrap(), b"");
    for (size, offset) in [(10, 5), (10, 6), (10, 11), (9, 0), (11, 0)] {
        let error = read(&client, &source, size, offset).await.unwrap_err();
        assert_eq!(error.kind(), FailureKind::InvalidContent, "{error}");
    }
}

#[tokio::test]
async fn a_chunked_blob_has_exactly_its_size() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n";
    let source = scripted(answer.to_vec()).await;
    let client = client();
    assert_eq!(read(&client, &source, 10, 0).await.unwrap(), b"0123456789");
    for (size, fault) in [
        (9, ContentFault::TooLarge { what: "blob", limit: 9 }),
        (11, ContentFault::Truncated { what: "blob", got: 10, expected: 11 }),
    ] {
        let error = read(&client, &source, size, 0).await.unwrap_err();
        assert!(
            matches!(error.problem(), Problem::Content { fault: found, .. } if *found == fault),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_blob_that_stalls_or_breaks_off_is_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            if request[..read].starts_with(b"GET") {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234").await;
                kept.push(stream);
            }
        }
    });
    let stalls =
        ImageSource { reference: format!("{address}/app:1").parse().unwrap(), authfile: None };
    let breaks = scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234".to_vec()).await;
    for source in [stalls, breaks] {
        let error = read(&client(), &source, 10, 0).await.unwrap_err();
        assert_eq!(error.kind(), FailureKind::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn a_blob_that_comes_drop_by_drop_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            if request[..read].starts_with(b"GET") {
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    sent = stream.write_all(b"x").await;
                }
            }
        }
    });
    let source =
        ImageSource { reference: format!("{address}/app:1").parse().unwrap(), authfile: None };
    let mut options = options();
    options.timeouts.total = Duration::from_millis(300);
    options.timeouts.slowest = 1000;
    let client = Client::new(&options).unwrap();
    let error = read(&client, &source, 1_000_000, 0).await.unwrap_err();
    assert!(matches!(error.problem(), Problem::TooSlow { least: 300, .. }), "{error}");
    assert_eq!(error.kind(), FailureKind::Unreachable);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirection_to_another_host() {
    let directory = tempfile::tempdir().unwrap();
    let (server, storage) = (MockServer::start().await, MockServer::start().await);
    Mock::given(header("authorization", "Basic dXNlcjpodW50ZXIy"))
        .and(path(format!("/v2/app/blobs/{}", Digest::of(b"blob"))))
        .respond_with(ResponseTemplate::new(307).insert_header("location", "/moved"))
        .mount(&server)
        .await;
    Mock::given(header("authorization", "Basic dXNlcjpodW50ZXIy"))
        .and(path("/moved"))
        .respond_with(
            ResponseTemplate::new(307)
                .insert_header("location", format!("{}/blob?signed=1", storage.uri())),
        )
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", "Basic"))
        .mount(&server)
        .await;
    Mock::given(path("/blob"))
        .respond_with(ResponseTemplate::new(200).set_body_string("0123456789"))
        .mount(&storage)
        .await;
    let source = with_credentials(&server, "app:1", directory.path(), &password());
    assert_eq!(read(&client(), &source, 10, 0).await.unwrap(), b"0123456789");
    let asked = storage.received_requests().await.unwrap();
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_redirections_target_is_not_believed_about_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let (server, storage) = (MockServer::start().await, MockServer::start().await);
    let realm = format!("Bearer realm=\"{}/token\",service=\"s\"", storage.uri());
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", realm))
        .mount(&storage)
        .await;
    Mock::given(header("authorization", "Basic dXNlcjpodW50ZXIy"))
        .and(method("GET"))
        .respond_with(
            ResponseTemplate::new(307).insert_header("location", format!("{}/b", storage.uri())),
        )
        .mount(&server)
        .await;
    Mock::given(header("authorization", "Basic dXNlcjpodW50ZXIy"))
        .and(method("HEAD"))
        .respond_with(head_answer(&Digest::of(b"x")))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", "Basic"))
        .mount(&server)
        .await;
    let source = with_credentials(&server, "app:1", directory.path(), &password());
    let client = client();
    let error = read(&client, &source, 10, 0).await.unwrap_err();
    let foreign = storage.address().to_string();
    assert!(
        matches!(error.problem(), Problem::Status { peer, .. } if *peer == foreign),
        "{error:?}"
    );
    let asked = storage.received_requests().await.unwrap();
    assert!(asked.iter().all(|request| request.url.path() == "/b"), "{asked:?}");
    // Neither the challenge nor the credential is spoilt by it.
    assert!(client.target(&source).await.is_ok());
}

#[tokio::test]
async fn redirections_end_and_lead_to_http_only() {
    for location in ["/v2/app/manifests/1", "file:///etc/passwd", "http://u:p@127.0.0.1/x"] {
        let server = MockServer::start().await;
        Mock::given(method("HEAD"))
            .respond_with(ResponseTemplate::new(302).insert_header("location", location))
            .mount(&server)
            .await;
        let error = client().target(&source(&server, "app:1")).await.unwrap_err();
        let redirection =
            matches!(error.problem(), Problem::Content { fault: ContentFault::Redirection(_), .. });
        assert!(redirection && !error.to_string().contains("u:p"), "{error}");
    }
}
