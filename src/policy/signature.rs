//! One signature: what was signed, and by whom. Here are the attached ones (cosign's "simple signing"
//! payload, as containers/image reads it).

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use webpki::RawPublicKeyEntity;
use webpki::ring::{ECDSA_P256_SHA256, ECDSA_P384_SHA256, ED25519, RSA_PKCS1_2048_8192_SHA256};

use super::bundle;
use crate::model::Digest;

/// What cosign and Podman sign with: all by SHA-256, but for Ed25519.
const ALGORITHMS: [&dyn rustls::pki_types::SignatureVerificationAlgorithm; 4] =
    [ECDSA_P256_SHA256, ECDSA_P384_SHA256, ED25519, RSA_PKCS1_2048_8192_SHA256];

/// What a signature of an image is for.
const KIND: &str = "cosign container image signature";

/// A signature as the registry has it; nothing of it is believed yet.
#[derive(Debug, Clone)]
pub enum Signature {
    /// One that is attached to its image.
    Attached {
        /// JSON, which says what is signed.
        payload: Vec<u8>,
        signature: Vec<u8>,
    },
    /// A sigstore bundle, which refers to its image.
    Bundle(Vec<u8>),
}

/// A public key.
#[derive(Debug)]
pub(super) struct Key(SubjectPublicKeyInfoDer<'static>);

/// What was signed, by a key that counts.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) digest: Digest,
    /// The name it was signed for.
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    #[serde(rename = "optional")]
    _optional: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    r#type: String,
    image: Image,
    identity: Name,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Image {
    docker_manifest_digest: Digest,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Name {
    docker_reference: String,
}

impl Key {
    /// # Errors
    /// Where it is no public key in PEM.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| {
            "it is no public key in PEM (\"-----BEGIN PUBLIC KEY-----\")".to_owned()
        })?;
        RawPublicKeyEntity::try_from(&key).map_err(|error| error.to_string())?;
        Ok(Self(key))
    }

    pub(super) fn has_signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        // An invariant of this type: it was read once.
        let Ok(key) = RawPublicKeyEntity::try_from(&self.0) else { return false };
        ALGORITHMS
            .iter()
            .any(|algorithm| key.verify_signature(*algorithm, payload, signature).is_ok())
    }
}

impl Signature {
    /// What was signed, where one of `keys` did.
    ///
    /// # Errors
    /// Where none did, or it is no signature of an image: in one line.
    pub(super) fn opened(&self, keys: &[Key]) -> Result<Signed, String> {
        match self {
            Self::Attached { payload, signature } => attached(payload, signature, keys),
            Self::Bundle(bundle) => bundle::opened(bundle, keys),
        }
    }
}

fn attached(payload: &[u8], signature: &[u8], keys: &[Key]) -> Result<Signed, String> {
    if !keys.iter().any(|key| key.has_signed(payload, signature)) {
        return Err("it was not made with the key of the rule".to_owned());
    }
    let payload: Payload = serde_json::from_slice(payload)
        .map_err(|error| format!("what it signs cannot be read: {error}"))?;
    let Critical { r#type, image, identity } = payload.critical;
    if r#type != KIND {
        return Err(format!("it signs no image: {type:?}"));
    }
    Ok(Signed { digest: image.docker_manifest_digest, name: identity.docker_reference })
}

impl Signed {
    /// Whether one of `digests` was signed: the manifest that is pulled, or the index that leads to it.
    pub(super) fn is_of(&self, digests: &[&Digest]) -> Result<(), String> {
        let other = || format!("it is for {}, another image", self.digest);
        digests.contains(&&self.digest).then_some(()).ok_or_else(other)
    }
}
