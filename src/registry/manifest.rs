//! Manifests and indexes: which document it is, and which manifest of an index is for a platform.
//!
//! What must not live here: requests.

use bytes::Bytes;
use serde::Deserialize;

use super::document;
use super::error::ContentFault;
use crate::model::failure::excerpt;
use crate::model::{Digest, Platform};

/// The largest manifest or index accepted, in bytes (distribution-spec, "Pushing Manifests").
pub const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// All four, as an `Accept` header: a registry that is not told so may convert what it has, which
/// changes the digest.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or an index as the registry sent it, verified against its digest.
#[derive(Debug, Clone)]
pub struct RawManifest {
    /// One of the four media types of OCI and Docker, as the document or its header says.
    pub media_type: String,
    pub bytes: Bytes,
    /// The digest of `bytes`.
    pub digest: Digest,
}

/// As much of either document as tells them apart, and an index's list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: Option<String>,
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

impl RawManifest {
    /// Takes what a registry sent under `content_type`. A document that could be read as index
    /// and as manifest is refused (CVE-2021-41190), as is any other media type.
    pub fn new(bytes: Bytes, content_type: Option<&str>) -> Result<Self, ContentFault> {
        let document = Document::parse(&bytes)?;
        let is_index = document.manifests.is_some();
        let is_manifest = document.config.is_some() || document.layers.is_some();
        if is_index == is_manifest {
            let why = "it is neither index nor manifest, or both".to_owned();
            return Err(ContentFault::Malformed { what: "manifest", why });
        }
        let known = |media_type: &&str| {
            let of_index = matches!(*media_type, OCI_INDEX | DOCKER_LIST);
            let of_manifest = matches!(*media_type, OCI_MANIFEST | DOCKER_MANIFEST);
            if is_index { of_index } else { of_manifest }
        };
        let header = content_type.and_then(|text| text.split(';').next()).map(str::trim);
        let said = document.media_type.as_deref();
        let media_type = match (said, header) {
            (Some(said), _) => Some(said).filter(known),
            (None, header) => header.filter(known),
        };
        let media_type = media_type
            .ok_or_else(|| ContentFault::MediaType(excerpt(said.or(header).unwrap_or_default())))?;
        let digest = Digest::of(&bytes);
        Ok(Self { media_type: media_type.to_owned(), bytes, digest })
    }

    /// Whether this is an index (OCI) or a manifest list (Docker).
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    /// The digest of the manifest for `platform`: this document's own where it is no index.
    pub fn for_platform(&self, platform: &Platform) -> Result<Digest, ContentFault> {
        if !self.is_index() {
            return Ok(self.digest.clone());
        }
        let manifests = Document::parse(&self.bytes)?.manifests.unwrap_or_default();
        let best = manifests
            .iter()
            .filter(|offer| offer.is_image())
            .filter_map(|offer| Some((rank(platform, offer.platform.as_ref())?, offer)))
            // The first of equals, as the index orders them (image-spec, `image-index.md`).
            .min_by_key(|(rank, _)| *rank);
        let Some((_, descriptor)) = best else {
            return Err(no_platform(platform, &manifests));
        };
        descriptor.digest.parse().map_err(|error: crate::model::digest::InvalidDigest| {
            ContentFault::Malformed { what: "index", why: excerpt(&error.to_string()) }
        })
    }
}

impl Document {
    fn parse(bytes: &[u8]) -> Result<Self, ContentFault> {
        document::parse(bytes).map_err(|error| ContentFault::Malformed {
            what: "manifest",
            why: excerpt(&error.to_string()),
        })
    }
}

impl Descriptor {
    /// Whether it is an image's manifest: not an attestation (`unknown/unknown`), not an artifact.
    fn is_image(&self) -> bool {
        let image =
            matches!(self.media_type.as_deref(), None | Some(OCI_MANIFEST | DOCKER_MANIFEST));
        image && self.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
    }
}

/// How well an offer suits, smaller being better; `None` where it does not run.
///
/// The same variant is best; then one that does not say, then, for `arm`, the nearest older
/// variant, which newer processors run. An offer without any platform is the last resort.
fn rank(wanted: &Platform, offered: Option<&Platform>) -> Option<u32> {
    let Some(offered) = offered else { return Some(1000) };
    if (&wanted.os, &wanted.architecture) != (&offered.os, &offered.architecture) {
        return None;
    }
    let arm64 = wanted.architecture == "arm64";
    let normal = |platform: &Platform| match platform.variant.clone().filter(|v| !v.is_empty()) {
        None if arm64 => Some("v8".to_owned()),
        variant => variant,
    };
    let number =
        |variant: &str| variant.strip_prefix('v')?.parse::<u32>().ok().filter(|n| *n < 100);
    match (normal(wanted), normal(offered)) {
        (own, theirs) if own == theirs => Some(0),
        (Some(_), None) => Some(1),
        // Nothing is known of the processor: the oldest variant runs on most.
        (None, Some(theirs)) => Some(2 + number(&theirs).unwrap_or(100)),
        (Some(own), Some(theirs)) if wanted.architecture == "arm" => {
            let older = number(&own)?.checked_sub(number(&theirs)?)?;
            Some(2 + older)
        }
        _ => None,
    }
}

fn no_platform(wanted: &Platform, manifests: &[Descriptor]) -> ContentFault {
    let offered: Vec<_> = manifests
        .iter()
        .filter(|offer| offer.is_image())
        .filter_map(|offer| offer.platform.as_ref().map(ToString::to_string))
        .take(20)
        .collect();
    let offered =
        if offered.is_empty() { "nothing".to_owned() } else { excerpt(&offered.join(", ")) };
    ContentFault::NoPlatform { wanted: wanted.clone(), offered }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
        Platform { os, architecture, variant: parts.next() }
    }

    fn index(offers: &[&str]) -> RawManifest {
        let manifests: Vec<_> = offers
            .iter()
            .map(|offer| {
                json!({"mediaType": OCI_MANIFEST, "digest": Digest::of(offer.as_bytes()), "size": 1,
                       "platform": platform(offer)})
            })
            .collect();
        let document = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
        RawManifest::new(document.to_string().into(), None).unwrap()
    }

    #[track_caller]
    fn chooses(offers: &[&str], wanted: &str, expected: &str) {
        let chosen = index(offers).for_platform(&platform(wanted));
        assert_eq!(chosen, Ok(Digest::of(expected.as_bytes())), "{wanted} of {offers:?}");
    }

    #[test]
    fn chooses_by_platform_and_variant() {
        let offers =
            ["unknown/unknown", "linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"];
        for wanted in &offers[1..] {
            chooses(&offers, wanted, wanted);
        }
        chooses(&offers, "linux/arm64", "linux/arm64/v8");
        chooses(&["linux/arm64"], "linux/arm64/v8", "linux/arm64");
        chooses(&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", "linux/arm/v6");
        chooses(&["linux/arm/v7", "linux/arm/v6"], "linux/arm", "linux/arm/v6");
        chooses(&["linux/amd64/v3", "linux/amd64"], "linux/amd64", "linux/amd64");
    }

    #[test]
    fn refuses_what_would_not_run() {
        for (offers, wanted) in [
            (&["linux/arm/v7"][..], "linux/arm/v6"),
            (&["linux/amd64/v3"], "linux/amd64/v2"),
            (&["windows/amd64"], "linux/amd64"),
            (&["unknown/unknown"], "unknown/unknown"),
            (&[], "linux/amd64"),
        ] {
            let chosen = index(offers).for_platform(&platform(wanted));
            assert!(matches!(chosen, Err(ContentFault::NoPlatform { .. })), "{wanted}: {chosen:?}");
        }
    }

    #[test]
    fn all_media_types_are_accepted() {
        let all = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ");
        assert_eq!(ACCEPTED, all);
    }

    #[test]
    fn a_single_manifest_is_for_whoever_asks() {
        let bytes = Bytes::from(json!({"config": {}, "layers": []}).to_string());
        let raw =
            RawManifest::new(bytes, Some(&format!("{DOCKER_MANIFEST}; charset=utf-8"))).unwrap();
        assert!(!raw.is_index());
        assert_eq!(raw.for_platform(&platform("linux/s390x")), Ok(raw.digest.clone()));
    }

    #[test]
    fn refuses_ambiguous_and_foreign_documents() {
        let list = json!({"mediaType": OCI_INDEX, "manifests": []});
        for (document, header) in [
            (json!({"mediaType": OCI_INDEX, "manifests": [], "layers": []}), None),
            (json!({"mediaType": OCI_MANIFEST, "manifests": []}), Some(OCI_INDEX)),
            (json!({"schemaVersion": 1, "fsLayers": []}), None),
            (json!({"layers": [], "config": {}}), Some("text/html")),
            (json!({"layers": [], "config": {}}), None),
            (json!([]), Some(OCI_INDEX)),
        ] {
            let raw = RawManifest::new(document.to_string().into(), header);
            assert!(raw.is_err(), "{document}");
        }
        assert!(RawManifest::new(list.to_string().into(), Some("text/plain")).is_ok());
    }

    /// Of a megabyte that names the same again and again nothing is kept.
    #[test]
    fn an_index_of_more_than_anybody_offers_is_refused() {
        let offers = r#"{"digest":""},"#.repeat(300_000);
        let text = format!(r#"{{"manifests":[{offers}{{"digest":""}}]}}"#);
        let fault = RawManifest::new(text.into(), Some(OCI_INDEX)).unwrap_err();
        assert!(fault.to_string().contains("more than 20000 values"), "{fault}");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = RawManifest::new(text.into(), Some(OCI_INDEX));
        }
    }
}
