//! What a registry may answer: whatever it is, nothing is restarted and nothing stays, the reason
//! is told, and the registry is left alone for a while.

use crate::host::Host;
use crate::image::Image;
use crate::impostor::{Impostor, response};
use crate::registry::{Registry, digest};
use crate::units::{ContainerUnit, configure_quiet, invocation, version};

cases![
    refusals_of_all_kinds,
    answers_that_are_no_image,
    blobs_that_are_not_what_they_should_be,
    a_registry_that_is_asked_too_often,
];

/// `app` on v1 of a registry that an impostor has taken the place of.
fn usurp(host: &Host) -> Impostor {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.down();
    Impostor::start(5000)
}

/// A person's pass meets the answers: `told` says what of them. A timer's pass does not ask again.
#[track_caller]
fn assert_left_alone(host: &Host, impostor: &Impostor, told: &str) {
    let before = (invocation(host, "app"), host.sh("updater-launch images"));
    impostor.requests();
    let outcome = host.fails(3, "updaterctl update");
    for part in ["app.service", "localhost:5000/app", told] {
        assert!(outcome.stdout.contains(part), "no {part:?}\n{}", outcome.describe());
    }
    assert_ne!(impostor.requests(), Vec::<String>::new(), "{told}: who answered that?");
    assert_eq!((invocation(host, "app"), host.sh("updater-launch images")), before, "{told}");
    assert_eq!(version(host, "app"), "v1", "{told}");
    assert_eq!(host.sh("ls -A /var/lib/updaterd/tmp"), "", "{told}: partial data stays");

    let soon = host.fails(3, "updaterctl update --trigger=timer");
    assert!(soon.stdout.contains("cooling down until"), "{told}: {}", soon.describe());
    assert_eq!(impostor.requests(), Vec::<String>::new(), "{told}: it is backed off from");
}

fn refusals_of_all_kinds(host: &Host) {
    let impostor = usurp(host);
    for (status, told) in [
        ("401 Unauthorized", "refuses access"),
        ("403 Forbidden", "403 Forbidden"),
        ("404 Not Found", "404 Not Found"),
        ("500 Internal Server Error", "500 Internal Server Error"),
        ("502 Bad Gateway", "502 Bad Gateway"),
        ("503 Service Unavailable", "503 Service Unavailable"),
    ] {
        impostor.answer(move |_| response(status, &[], b""));
        assert_left_alone(host, &impostor, told);
    }
}

fn answers_that_are_no_image(host: &Host) {
    let impostor = usurp(host);
    impostor.answer(|_| Vec::new());
    assert_left_alone(host, &impostor, "cannot be reached");
    impostor.answer(|_| b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    assert_left_alone(host, &impostor, "cannot be reached");
    impostor.answer(|_| response("200 OK", &["Content-Type: text/html"], b"<h1>Log in</h1>"));
    assert_left_alone(host, &impostor, "not what the specification says");
    // A manifest of 1 GB is not read.
    impostor.answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n{".to_vec());
    assert_left_alone(host, &impostor, "larger than");
    impostor.answer(|request| match request.starts_with("HEAD") {
        true => response("200 OK", &[&content_digest(b"another")], b""),
        false => response("200 OK", &[MANIFEST], &Offer::of(&Image::app("v2")).manifest),
    });
    assert_left_alone(host, &impostor, "has the digest");
    impostor.answer(|request| match request.starts_with("HEAD") {
        true => response("200 OK", &[&content_digest(b"{}")], b""),
        false => b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{".to_vec(),
    });
    assert_left_alone(host, &impostor, "broke off");
}

fn blobs_that_are_not_what_they_should_be(host: &Host) {
    let impostor = usurp(host);
    let offer = Offer::of(&Image::app("v2"));
    let cut = |layer: &[u8]| {
        let whole = response("200 OK", &[], layer);
        whole[..whole.len() - layer.len() / 2].to_vec()
    };
    impostor.answer(offer.answers(cut));
    assert_left_alone(host, &impostor, "broke off");
    impostor.answer(offer.answers(|layer| response("200 OK", &[], &vec![0; layer.len()])));
    assert_left_alone(host, &impostor, "has the digest");
    impostor.answer(offer.answers(|layer| response("200 OK", &[], &layer[1..])));
    assert_left_alone(host, &impostor, "bytes");
    impostor.answer(offer.answers(|_| response("404 Not Found", &[], b"")));
    assert_left_alone(host, &impostor, "404 Not Found");
    // It was not the image's fault.
    impostor.answer(offer.answers(|layer| response("200 OK", &[], layer)));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

/// Who says for how long it wants to be left alone is, even by a person.
fn a_registry_that_is_asked_too_often(host: &Host) {
    let impostor = usurp(host);
    impostor.answer(|_| response("429 Too Many Requests", &["Retry-After: 300"], b""));
    assert_left_alone(host, &impostor, "429 Too Many Requests");
    let again = host.fails(3, "updaterctl update");
    assert!(again.stdout.contains("cooling down until"), "{}", again.describe());
    assert_eq!(impostor.requests(), Vec::<String>::new());
}

const MANIFEST: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json";

fn content_digest(bytes: &[u8]) -> String {
    format!("Docker-Content-Digest: {}", digest(bytes))
}

/// An image, as a registry has it.
#[derive(Clone)]
struct Offer {
    manifest: Vec<u8>,
    config: Vec<u8>,
    /// The one that makes the difference: the base is there already.
    layer: Vec<u8>,
}

impl Offer {
    fn of(image: &Image) -> Self {
        let built = image.build();
        let descriptor = |kind: &str, bytes: &[u8]| {
            serde_json::json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": digest(bytes),
                "size": bytes.len(),
            })
        };
        let layers: Vec<_> =
            built.layers.iter().map(|layer| descriptor("layer.v1.tar+gzip", layer)).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &built.config),
            "layers": layers,
        });
        Self {
            manifest: serde_json::to_vec(&manifest).unwrap(),
            config: built.config.to_vec(),
            layer: built.layers.last().unwrap().to_vec(),
        }
    }

    /// The right answers, but for the layer's.
    fn answers(
        &self,
        layer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> impl Fn(&str) -> Vec<u8> + Send + 'static {
        let offer = self.clone();
        move |request| {
            let (method, path) = request.split_once(' ').unwrap();
            if path.ends_with(&digest(&offer.layer)) {
                layer(&offer.layer)
            } else if path.ends_with(&digest(&offer.config)) {
                response("200 OK", &[], &offer.config)
            } else {
                let body: &[u8] = if method == "HEAD" { b"" } else { &offer.manifest };
                response("200 OK", &[MANIFEST, &content_digest(&offer.manifest)], body)
            }
        }
    }
}
