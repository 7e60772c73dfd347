//! What fuzzers call, and the unit tests with random input: what registries send, and what is written
//! for them on this host. A panic, or an answer that contradicts another, is a fault.
#![allow(clippy::panic, clippy::expect_used, reason = "a fault is told by a panic")]

use std::path::Path;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::auth::challenge::Challenge;
use super::auth::credentials::Credential;
use super::auth::file::{AuthFile, Found};
use super::error::Origin;
use super::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, RawManifest};
use super::registries_conf::Registries;
use crate::model::{Digest, Platform, Reference};

/// An image's name. What is read is written so that it is read again as the same.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(reference) = text.parse::<Reference>() else { return };
    assert_eq!(reference.to_string().parse().as_ref(), Ok(&reference));
    // They become parts of URLs and of paths.
    let leads_up = |part: &str| matches!(part, "" | "." | "..");
    assert!(!leads_up(reference.registry()), "{reference}");
    assert!(!reference.repository().split('/').any(leads_up), "{reference}");
    let pinned = reference.pinned(&Digest::of(data));
    assert_eq!(pinned.to_string().parse(), Ok(pinned));
}

/// A manifest or an index; the first byte says as what it is sent.
pub fn manifest(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let types = ["", OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, "text/html"];
    let sent_as = types.get(usize::from(*which) % types.len()).filter(|text| !text.is_empty());
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(raw) = RawManifest::new(bytes.clone(), sent_as.copied()) else { return };
    assert_eq!(raw.digest, Digest::of(&bytes));
    for (architecture, variant) in [("amd64", None), ("arm", Some("v7")), ("arm64", None)] {
        let platform = Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        };
        let Ok(chosen) = raw.for_platform(&platform) else { continue };
        if !raw.is_index() {
            assert_eq!(chosen, raw.digest);
            continue;
        }
        let index: serde_json::Value = serde_json::from_slice(&bytes).expect("it was read before");
        let offers = index["manifests"].as_array().expect("an index has a list");
        let is_chosen = |offer: &serde_json::Value| offer["digest"] == chosen.to_string();
        assert!(offers.iter().any(is_chosen), "{chosen} is not in the index");
    }
}

/// `WWW-Authenticate`, one header a line.
pub fn challenge(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(20) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    if let Some(Challenge::Bearer(bearer)) = Challenge::from_headers(&headers) {
        assert!(!bearer.realm.is_empty(), "a token from nowhere");
        let length = bearer.realm.len() + bearer.service.len();
        assert!(length <= data.len(), "more than was said");
    }
}

/// registries.conf: an image is asked for somewhere that has a name, and insecurely only where the file
/// says so.
pub fn registries_conf(data: &[u8]) {
    let mut registries = Registries::default();
    if registries.merge(Path::new("registries.conf"), data).is_err() {
        return;
    }
    let says_insecure = data.windows(8).any(|word| word == b"insecure") || data.contains(&b'\\');
    for name in [
        "docker.io/library/app:1",
        "r.example/team/app:1",
        "r.example:5000/app:1",
        "a.b.r.example/app:1",
        "[::1]:5000/app:1",
        "localhost/app:1",
    ] {
        let reference: Reference = name.parse().expect("it is a name");
        let Ok(location) = registries.locate(&reference, None) else { continue };
        assert!(!location.insecure || says_insecure, "{name} is asked for insecurely");
        let found: Reference = location.name().parse().expect("where it lies has a name");
        assert_eq!(found.registry(), location.registry);
        let verified = registries.locate(&reference, Some(true)).expect("it was found before");
        assert!(!verified.insecure, "--tls-verify does not count");
    }
}

/// auth.json and .dockercfg: what is found can be sent.
pub fn auth_json(data: &[u8]) {
    for path in ["/auth.json", "/.dockercfg"] {
        let Ok(file) = AuthFile::parse(Path::new(path), data) else { continue };
        for name in ["docker.io/library/app", "r.example:5000/team/app", "quay.io/app"] {
            let Ok(Found::Login { username, secret }) = file.look_up(name) else { continue };
            let origin = Origin { file: path.into(), helper: None };
            if let Some(basic) = (Credential { username, secret, origin, stamp: None }).basic() {
                HeaderValue::from_str(&basic).expect("base64 can be sent");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names(text in "[a-z0-9.:/@_\\-\\[\\]]{0,60}|\\PC{0,60}") {
            reference(text.as_bytes());
        }

        #[test]
        fn manifests(which in any::<u8>(), text in "[\\[\\]{}:,\"a-z0-9]{0,100}") {
            manifest(format!("{}{text}", char::from(which % 6)).as_bytes());
        }

        #[test]
        fn challenges(text in "(Bearer|Basic|[ =,\"\\\\a-z\n]){0,60}") {
            challenge(text.as_bytes());
        }

        #[test]
        fn configurations(
            keys in vec(("prefix|location|insecure|blocked|mirror", "\"[*.a-z/:0-9]{0,20}\"|true|\\[\\]"), 0..8),
        ) {
            let lines: Vec<_> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            registries_conf(format!("[[registry]]\n{}", lines.join("\n")).as_bytes());
        }

        #[test]
        fn credentials(key in "[a-z.:/0-9]{0,30}", auth in "[A-Za-z0-9+/=]{0,40}") {
            let auths = format!(r#"{{"{key}": {{"auth": "{auth}"}}}}"#);
            auth_json(format!(r#"{{"auths": {auths}}}"#).as_bytes());
            auth_json(auths.as_bytes());
        }
    }
}
