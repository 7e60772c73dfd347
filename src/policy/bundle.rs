//! Sigstore bundles (sigstore/protobuf-specs, "sigstore_bundle.proto", v0.3) that sign an image: a statement
//! (in-toto attestation, "Statement v1") in an envelope (DSSE v1.0), as `cosign sign` writes since its third version.
//!
//! Strict: what cosign does not write is no signature. What a log or a clock says beside it (Rekor, timestamps) proves
//! nothing that a key does not.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::signature::{Key, Signed};

/// What the referrers API calls them.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What a statement is about that is a signature, and nothing else: somebody may well attest with the same key
/// that an image is bad (cosign, `CosignSignPredicateType`).
pub const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";

const STATEMENT: &str = "application/vnd.in-toto+json";
const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Bundle {
    media_type: String,
    #[serde(rename = "verificationMaterial")]
    _verification_material: IgnoredAny,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<OneSignature>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneSignature {
    sig: String,
    /// A hint.
    #[serde(rename = "keyid")]
    _keyid: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    r#type: String,
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(rename = "predicate")]
    _predicate: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: Option<String>,
    digest: Digests,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digests {
    sha256: String,
}

/// Others may be there: whoever signs writes down what they like (`cosign sign -a KEY=VALUE`).
#[derive(Debug, Default, Deserialize)]
struct Annotations {
    /// As the older signatures name it.
    #[serde(rename = "docker-reference")]
    docker_reference: Option<String>,
}

/// What was signed, where one of `keys` did.
///
/// # Errors
/// Where none did, or it is no signature of an image: in one line.
pub(super) fn opened(bundle: &[u8], keys: &[Key]) -> Result<Signed, String> {
    let bundle: Bundle = serde_json::from_slice(bundle)
        .map_err(|error| format!("its bundle cannot be read: {error}"))?;
    if bundle.media_type != BUNDLE {
        return Err(format!("its bundle is not of the type {BUNDLE}"));
    }
    let envelope = match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(envelope), None) => envelope,
        (None, Some(_)) => {
            return Err(
                "it signs bytes (\"messageSignature\"), and says of no name that it is for it"
                    .to_owned(),
            );
        }
        _ => return Err("its bundle has no signature, or two".to_owned()),
    };
    let payload = envelope.open(keys)?;
    let statement: Statement = serde_json::from_slice(&payload)
        .map_err(|error| format!("what it signs cannot be read: {error}"))?;
    statement.signed()
}

impl Envelope {
    /// What is in it, where one of `keys` signed it.
    fn open(&self, keys: &[Key]) -> Result<Vec<u8>, String> {
        if self.payload_type != STATEMENT {
            return Err(format!("it signs no statement ({STATEMENT})"));
        }
        let [OneSignature { sig, .. }] = self.signatures.as_slice() else {
            return Err("its envelope has not one signature".to_owned());
        };
        let decoded = |text: &str| {
            let bytes = BASE64_STANDARD.decode(text);
            bytes.map_err(|error| format!("its envelope is no base64: {error}"))
        };
        let (payload, signature) = (decoded(&self.payload)?, decoded(sig)?);
        let signed = encoded(&self.payload_type, &payload);
        if !keys.iter().any(|key| key.has_signed(&signed, &signature)) {
            return Err("it was not made with the key of the rule".to_owned());
        }
        Ok(payload)
    }
}

/// What is signed of a payload: its type, too ("Pre-Authentication Encoding" of DSSE).
fn encoded(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

impl Statement {
    fn signed(self) -> Result<Signed, String> {
        if self.r#type != STATEMENT_V1 || self.predicate_type != SIGNS {
            return Err(format!("it signs no image: its statement is not one of {SIGNS}"));
        }
        let mut subjects = self.subject.into_iter();
        let (Some(subject), None) = (subjects.next(), subjects.next()) else {
            return Err("its statement is not of one image".to_owned());
        };
        let digest = format!("sha256:{}", subject.digest.sha256).parse();
        let digest = digest.map_err(|_| "its statement has a digest that is none".to_owned())?;
        let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        let (named, noted) = (given(&subject.name), given(&subject.annotations.docker_reference));
        let name = match (named, noted) {
            (Some(named), Some(noted)) if named != noted => {
                return Err("its statement has two names".to_owned());
            }
            (named, noted) => named.or(noted),
        };
        // No rule of signedIdentity holds without one.
        let name = name.ok_or(
            "it says of no name that it is for it (make it with \"cosign sign -a docker-reference=NAME\")",
        )?;
        Ok(Signed { digest, name })
    }
}
