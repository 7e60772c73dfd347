//! Mirrors, over real connections.

use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::manifest::OCI_MANIFEST;
use super::{Client, Options, Paths, RegistriesConf};
use crate::model::failure::chain;
use crate::model::{Digest, FailureKind, ImageSource};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;

/// A mirror in front of a registry, of which images are called `r.test/app`.
struct Pair {
    mirror: MockServer,
    primary: MockServer,
    client: Client,
    _directory: tempfile::TempDir,
}

async fn pair(mirror_lines: &str) -> Pair {
    let (mirror, primary) = (MockServer::start().await, MockServer::start().await);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registries.conf");
    let text = format!(
        "[[registry]]\nprefix = \"r.test\"\nlocation = \"{}\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"{}/cache\"\ninsecure = true\n{mirror_lines}",
        primary.address(),
        mirror.address(),
    );
    std::fs::write(&file, text).unwrap();
    let registries_conf = vec![RegistriesConf { file, drop_ins: Vec::new() }];
    let paths = Paths { registries_conf, ..Paths::default() };
    let client = Client::new(&Options { paths, ..Options::default() }).unwrap();
    Pair { mirror, primary, client, _directory: directory }
}

fn app() -> ImageSource {
    ImageSource { reference: "r.test/app:1".parse().unwrap(), authfile: None }
}

async fn says(server: &MockServer, at: &str, digest: &Digest) {
    let answer =
        ResponseTemplate::new(200).insert_header("docker-content-digest", digest.to_string());
    Mock::given(method("HEAD")).and(path(at)).respond_with(answer).mount(server).await;
}

async fn has(server: &MockServer, at: &str, bytes: &[u8]) {
    let answer = ResponseTemplate::new(200).set_body_raw(bytes, OCI_MANIFEST);
    Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(server).await;
}

async fn asked(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn a_mirror_that_has_it_is_enough() {
    let Pair { mirror, primary, client, .. } = &pair("").await;
    let digest = Digest::of(MANIFEST);
    says(mirror, "/v2/cache/app/manifests/1", &digest).await;
    has(mirror, &format!("/v2/cache/app/manifests/{digest}"), MANIFEST).await;
    assert_eq!(client.host(&app()).unwrap(), mirror.address().to_string());
    assert_eq!(client.target(&app()).await.unwrap(), digest);
    assert_eq!(client.manifest(&app(), &digest).await.unwrap().bytes, MANIFEST);
    assert_eq!(asked(primary).await, 0);
}

#[tokio::test]
async fn what_a_mirror_lacks_or_has_wrong_comes_from_the_registry() {
    let Pair { mirror, primary, client, .. } = &pair("").await;
    let digest = Digest::of(MANIFEST);
    has(mirror, &format!("/v2/cache/app/manifests/{digest}"), b"{}").await;
    says(primary, "/v2/app/manifests/1", &digest).await;
    has(primary, &format!("/v2/app/manifests/{digest}"), MANIFEST).await;
    assert_eq!(client.target(&app()).await.unwrap(), digest, "404 at the mirror");
    let manifest = client.manifest(&app(), &digest).await.unwrap();
    assert_eq!(manifest.bytes, MANIFEST, "other bytes at the mirror");
    assert_eq!((asked(mirror).await, asked(primary).await), (2, 2));
}

#[tokio::test]
async fn a_mirror_for_digests_is_not_asked_for_tags() {
    let Pair { mirror, primary, client, .. } = &pair("pull-from-mirror = \"digest-only\"").await;
    let digest = Digest::of(MANIFEST);
    says(primary, "/v2/app/manifests/1", &digest).await;
    has(mirror, &format!("/v2/cache/app/manifests/{digest}"), MANIFEST).await;
    assert_eq!(client.target(&app()).await.unwrap(), digest);
    assert_eq!(asked(mirror).await, 0);
    client.manifest(&app(), &digest).await.unwrap();
    assert_eq!((asked(mirror).await, asked(primary).await), (1, 1));
}

#[tokio::test]
async fn where_nobody_helps_all_are_named() {
    let Pair { mirror, primary, client, .. } = &pair("").await;
    Mock::given(any()).respond_with(ResponseTemplate::new(502)).mount(mirror).await;
    let error = client.target(&app()).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::NotFound);
    let told = chain(&error);
    for part in [mirror.address().to_string(), primary.address().to_string()] {
        assert!(told.contains(&part), "{told}");
    }
    assert!(told.contains("502") && told.contains("404"), "{told}");
}
