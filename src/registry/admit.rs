//! Whether the host's policy lets an image in, and the signatures it is judged by: attachments, as
//! cosign pushed them at first, below the tag `sha256-HEX.sig`; and bundles (`referrers`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use serde::Deserialize;

use super::Client;
use super::error::{Error, Problem};
use super::mirror::Asked;
use super::request::Repository;
use crate::model::failure::chain;
use crate::model::{Digest, Failure, FailureKind, ImageSource};
use crate::policy::{Refusal, Signature};

/// What the attachments' payloads are (cosign, "SIGNATURE_SPEC.md").
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// So many signatures of one manifest are looked at.
const MOST: usize = 50;

/// The largest payload read, in bytes.
const MAX_PAYLOAD: u64 = 64 * 1024;

/// The manifest that leads to signatures.
#[derive(Debug, Deserialize)]
struct Attachments {
    layers: Vec<Attachment>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
struct Annotations {
    #[serde(rename = "dev.cosignproject.cosign/signature")]
    signature: Option<String>,
}

impl Client {
    /// Whether containers-policy.json(5) lets the image in that `digests` name: its manifest, and the
    /// index that leads there. A signature for either counts.
    ///
    /// # Errors
    /// Of the kind [`FailureKind::Configuration`] where it does not, with the rule; others where the
    /// registry could not be asked for its signatures.
    pub async fn admit(&self, source: &ImageSource, digests: &[&Digest]) -> Result<(), Failure> {
        let reference = &source.reference;
        let policy = self.policy.as_ref().map_err(|error| {
            Failure::new(FailureKind::Configuration, format!("{reference}: {}", chain(error)))
        })?;
        let Some(rule) = policy.rule(reference) else { return Ok(()) };
        let refused = |refusal: Refusal| {
            Failure::new(FailureKind::Configuration, format!("{reference}: {refusal}"))
        };
        let demands = rule.demands().map_err(refused)?;
        if demands.is_empty() {
            return Ok(());
        }
        let judge = |signatures: &[Signature]| {
            demands.iter().try_for_each(|one| rule.judge(one, reference, digests, signatures))
        };
        let mut signatures = Vec::new();
        for digest in digests {
            signatures.extend(self.signatures(source, digest).await?);
        }
        if judge(&signatures).is_ok() {
            return Ok(());
        }
        for digest in digests {
            signatures.extend(self.bundles(source, digest).await?);
        }
        judge(&signatures).map_err(refused)
    }

    /// The signatures that are attached to a manifest; those that cannot be one are left out.
    async fn signatures(
        &self,
        source: &ImageSource,
        digest: &Digest,
    ) -> Result<Vec<Signature>, Error> {
        let failed = |problem| Error::new(&source.reference, problem);
        let Some(attachments) = self.attachments(source, digest).await.map_err(failed)? else {
            return Ok(Vec::new());
        };
        let mut signatures = Vec::new();
        let fit = |one: &&Attachment| one.media_type == PAYLOAD && one.size <= MAX_PAYLOAD;
        for Attachment { digest, size, annotations, .. } in
            attachments.layers.iter().filter(fit).take(MOST)
        {
            let signature = annotations.signature.as_ref();
            let Some(Ok(signature)) = signature.map(|text| BASE64_STANDARD.decode(text)) else {
                continue;
            };
            let mut payload = Vec::new();
            let mut blob = self.blob(source, digest, *size, 0).await?;
            while let Some(piece) = blob.next().await {
                payload.extend_from_slice(&piece?);
            }
            if Digest::of(&payload) == *digest {
                signatures.push(Signature::Attached { payload, signature });
            }
        }
        Ok(signatures)
    }

    async fn attachments(
        &self,
        source: &ImageSource,
        digest: &Digest,
    ) -> Result<Option<Attachments>, Problem> {
        let tag = format!("sha256-{}.sig", digest.hex());
        let ask = async |repository: &Repository<'_>| {
            let manifest = self.get_manifest(repository, &tag).await?;
            let malformed =
                |error| Problem::malformed(&repository.host.registry, "list of signatures", error);
            serde_json::from_slice(&manifest.bytes).map_err(malformed)
        };
        match self.ask_in_turn(source, Asked::Tag, ask).await {
            Err(problem) if problem.kind() == FailureKind::NotFound => Ok(None),
            attachments => attachments.map(Some),
        }
    }
}
