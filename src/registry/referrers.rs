//! Signatures that refer to their image: sigstore bundles, which the referrers API lists (distribution-spec, "Listing
//! Referrers"), or where a registry does not have it, the tag `sha256-HEX`.

use futures_util::StreamExt as _;
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::error::{Error, Problem};
use super::manifest::{MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use super::mirror::Asked;
use super::request::{Query, Repository};
use super::{Client, body, document};
use crate::model::{Digest, FailureKind, ImageSource};
use crate::policy::{BUNDLE, SIGNS, Signature};

/// So many bundles of one manifest are looked at.
const MOST: usize = 50;

/// The largest bundle read, in bytes. With the proofs of a log it has some ten thousand.
const MAX_BUNDLE: u64 = 128 * 1024;

/// [`BUNDLE`], as a part of a URL has it.
const BUNDLE_IN_URL: &str = "application%2Fvnd.dev.sigstore.bundle.v0.3%2Bjson";

/// What refers to a manifest.
#[derive(Debug, Deserialize)]
struct Referrers {
    #[serde(default)]
    manifests: Vec<Referrer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    media_type: String,
    digest: Digest,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Annotations,
}

/// Hints: they spare what is no signature, which may be large.
#[derive(Debug, Default, Deserialize)]
struct Annotations {
    #[serde(rename = "dev.sigstore.bundle.predicateType")]
    predicate_type: Option<String>,
}

/// The manifest of a bundle.
#[derive(Debug, Deserialize)]
struct Artifact {
    subject: Option<Subject>,
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
struct Subject {
    digest: Digest,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: Digest,
    size: u64,
}

impl Referrer {
    fn may_be_a_signature(&self) -> bool {
        self.media_type == OCI_MANIFEST
            && self.artifact_type.as_deref() == Some(BUNDLE)
            && self.annotations.predicate_type.as_deref().is_none_or(|signs| signs == SIGNS)
    }
}

impl Client {
    /// The bundles that refer to a manifest; what cannot be one is left out.
    ///
    /// # Errors
    /// Where the registry could not be asked.
    pub(super) async fn bundles(
        &self,
        source: &ImageSource,
        digest: &Digest,
    ) -> Result<Vec<Signature>, Error> {
        let ask = async |repository: &Repository<'_>| self.ask_referrers(repository, digest).await;
        let referrers = match self.ask_in_turn(source, Asked::Tag, ask).await {
            Err(problem) if problem.kind() == FailureKind::NotFound => return Ok(Vec::new()),
            asked => asked.map_err(|problem| Error::new(&source.reference, problem))?,
        };
        let mut bundles = Vec::new();
        let fit = referrers.manifests.iter().filter(|it| it.may_be_a_signature());
        for referrer in fit.take(MOST) {
            let manifest = match self.manifest(source, &referrer.digest).await {
                // It went, and its list stayed.
                Err(error) if error.kind() == FailureKind::NotFound => continue,
                manifest => manifest?,
            };
            let Some(layer) =
                document::parse(&manifest.bytes).ok().and_then(|it| bundle_of(it, digest))
            else {
                continue;
            };
            let mut bytes = Vec::new();
            let mut blob = self.blob(source, &layer.digest, layer.size, 0).await?;
            while let Some(piece) = blob.next().await {
                bytes.extend_from_slice(&piece?);
            }
            if Digest::of(&bytes) == layer.digest {
                bundles.push(Signature::Bundle(bytes));
            }
        }
        Ok(bundles)
    }

    async fn ask_referrers(
        &self,
        repository: &Repository<'_>,
        digest: &Digest,
    ) -> Result<Referrers, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(OCI_INDEX));
        let query = Query {
            method: Method::GET,
            path: format!("referrers/{digest}?artifactType={BUNDLE_IN_URL}"),
            headers,
            time: repository.time,
            name: "GET of the referrers",
        };
        let peer = &repository.host.registry;
        let bytes = match repository.send(&query).await {
            // Without that API, clients keep a list by themselves.
            Err(Problem::Status { status, .. }) if matches!(status.as_u16(), 404 | 405 | 501) => {
                let tag = format!("sha256-{}", digest.hex());
                self.get_manifest(repository, &tag).await?.bytes
            }
            response => body::whole(response?, peer, "list of referrers", MAX_MANIFEST).await?,
        };
        let malformed = |error| Problem::malformed(peer, "list of referrers", error);
        document::parse(&bytes).map_err(malformed)
    }
}

/// The one bundle of an artifact that refers to `digest`.
fn bundle_of(artifact: Artifact, digest: &Digest) -> Option<Layer> {
    let mut layers = artifact.layers.into_iter();
    let (layer, None) = (layers.next()?, layers.next()) else { return None };
    let refers = artifact.subject.is_some_and(|subject| subject.digest == *digest);
    (refers && layer.media_type == BUNDLE && layer.size <= MAX_BUNDLE).then_some(layer)
}
