//! Bundles, where registries list them and where they do not.

use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::Client;
use super::manifest::{OCI_INDEX, OCI_MANIFEST};
use super::tests::{options, source};
use crate::model::Digest;
use crate::policy::{BUNDLE, Signature};

fn image() -> Digest {
    Digest::of(b"an image's manifest")
}

/// An artifact with these bytes as its bundle, which refers to `subject`.
async fn artifact(server: &MockServer, bytes: &[u8], subject: &Digest, change: &str) -> Value {
    let blob = Digest::of(bytes);
    let layer = json!({"mediaType": BUNDLE, "digest": blob, "size": bytes.len()});
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": BUNDLE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2},
        "layers": [layer],
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
    });
    match change {
        "two layers" => manifest["layers"] = json!([layer, layer]),
        "another layer" => manifest["layers"][0]["mediaType"] = "text/plain".into(),
        "too large" => manifest["layers"][0]["size"] = (1 << 30).into(),
        _ => {}
    }
    let manifest = manifest.to_string();
    let digest = Digest::of(manifest.as_bytes());
    let get = |at: String, body: Vec<u8>| {
        let answer = ResponseTemplate::new(200).set_body_raw(body, OCI_MANIFEST);
        Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(server)
    };
    if change != "gone" {
        get(format!("/v2/app/manifests/{digest}"), manifest.clone().into_bytes()).await;
    }
    get(format!("/v2/app/blobs/{blob}"), bytes.to_vec()).await;
    json!({
        "mediaType": OCI_MANIFEST,
        "artifactType": BUNDLE,
        "digest": digest,
        "size": manifest.len(),
    })
}

fn index(manifests: &[Value]) -> ResponseTemplate {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    ResponseTemplate::new(200).set_body_raw(index.to_string(), OCI_INDEX)
}

async fn found(server: &MockServer) -> Vec<String> {
    let client = Client::new(&options()).unwrap();
    let bundles = client.bundles(&source(server, "app:1"), &image()).await.unwrap();
    let text = |bundle: Signature| match bundle {
        Signature::Bundle(bytes) => String::from_utf8(bytes).unwrap(),
        attached => panic!("{attached:?}"),
    };
    bundles.into_iter().map(text).collect()
}

#[tokio::test]
async fn those_that_may_be_signatures_are_fetched() {
    let server = MockServer::start().await;
    let with = |mut referrer: Value, key: &str, value: Value| {
        referrer[key] = value;
        referrer
    };
    let predicate = |of: &str| json!({"dev.sigstore.bundle.predicateType": of});
    let own = artifact(&server, b"own", &image(), "").await;
    let noted = artifact(&server, b"noted", &image(), "").await;
    let noted = with(noted, "annotations", predicate("https://sigstore.dev/cosign/sign/v1"));
    let material = artifact(&server, b"a bill of material", &image(), "").await;
    let material = with(material, "annotations", predicate("https://spdx.dev/Document"));
    let other = with(own.clone(), "artifactType", "application/spdx+json".into());
    let mut all = vec![other, own, noted, material];
    for (bytes, change) in
        [("a", "two layers"), ("b", "another layer"), ("c", "too large"), ("d", "gone")]
    {
        all.push(artifact(&server, bytes.as_bytes(), &image(), change).await);
    }
    all.push(artifact(&server, b"of another", &Digest::of(b"another"), "").await);
    Mock::given(path(format!("/v2/app/referrers/{}", image())))
        .and(query_param("artifactType", BUNDLE))
        .respond_with(index(&all))
        .mount(&server)
        .await;
    assert_eq!(found(&server).await, ["own", "noted"]);
    let asked = server.received_requests().await.unwrap();
    let blobs = asked.iter().filter(|request| request.url.path().contains("/blobs/")).count();
    assert_eq!(blobs, 2, "nothing else was fetched");
}

#[tokio::test]
async fn without_the_api_the_list_is_a_tag() {
    for status in [404, 405, 501] {
        let server = MockServer::start().await;
        let own = artifact(&server, b"own", &image(), "").await;
        Mock::given(path(format!("/v2/app/referrers/{}", image())))
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
        Mock::given(path(format!("/v2/app/manifests/sha256-{}", image().hex())))
            .respond_with(index(&[own]))
            .mount(&server)
            .await;
        assert_eq!(found(&server).await, ["own"], "{status}");
    }
    // No bundle, no tag.
    assert!(found(&MockServer::start().await).await.is_empty());
}

#[tokio::test]
async fn a_list_has_its_limits() {
    let server = MockServer::start().await;
    let mut all = Vec::new();
    for number in 0..60 {
        all.push(artifact(&server, format!("{number}").as_bytes(), &image(), "").await);
    }
    Mock::given(path(format!("/v2/app/referrers/{}", image())))
        .respond_with(index(&all))
        .mount(&server)
        .await;
    assert_eq!(found(&server).await.len(), 50);
    let broken = MockServer::start().await;
    for answer in [
        ResponseTemplate::new(200).set_body_raw(r#"{"manifests": 7}"#, OCI_INDEX),
        ResponseTemplate::new(200).set_body_raw(format!("[{}1]", "1,".repeat(30_000)), OCI_INDEX),
        ResponseTemplate::new(500),
    ] {
        broken.reset().await;
        Mock::given(method("GET")).respond_with(answer).mount(&broken).await;
        let client = Client::new(&options()).unwrap();
        assert!(client.bundles(&source(&broken, "app:1"), &image()).await.is_err());
    }
}
