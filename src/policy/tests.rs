use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;

fn policy(document: &serde_json::Value) -> Result<Policy, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.json");
    std::fs::write(&path, document.to_string()).unwrap();
    Policy::load(&[dir.path().join("none"), path]).map_err(|error| error.to_string())
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn reject() -> serde_json::Value {
    json!([{"type": "reject"}])
}

fn accept() -> serde_json::Value {
    json!([{"type": "insecureAcceptAnything"}])
}

#[test]
fn without_a_file_everything_is_let_in() {
    let policy = Policy::load(&["/no/such/file".into()]).unwrap();
    assert!(policy.rule(&reference("quay.io/app:1")).is_none());
}

#[test]
fn the_most_specific_scope_counts_alone() {
    let digest = Digest::of(b"");
    let scopes = json!({
        "": accept(),
        "quay.io": reject(),
        "quay.io/team": accept(),
        "quay.io/team/app": reject(),
        "quay.io/team/app:1": accept(),
        (format!("quay.io/team/app@{digest}")): accept(),
        "*.example": reject(),
        "host.example:5000/x": accept(),
        "docker.io/library": reject(),
    });
    let policy = policy(&json!({"default": reject(), "transports": {"docker": scopes}})).unwrap();
    for (name, scope, enters) in [
        ("other.org/app:1", "docker", true),
        ("quay.io/app:1", "quay.io", false),
        ("quay.io/teams/app:1", "quay.io", false),
        ("quay.io/team/other:1", "quay.io/team", true),
        ("quay.io/team/deep/er:1", "quay.io/team", true),
        ("quay.io/team/app:2", "quay.io/team/app", false),
        ("quay.io/team/app:1", "quay.io/team/app:1", true),
        (&format!("quay.io/team/app:9@{digest}"), &format!("quay.io/team/app@{digest}"), true),
        ("a.b.example/app:1", "*.example", false),
        ("example/x.y/app:1", "", false),
        ("host.example:5000/x:1", "host.example:5000/x", true),
        ("host.example:5000/y:1", "*.example", false),
        ("docker.io/nginx", "docker.io/library", false),
    ] {
        // A name without a registry is none.
        let Ok(reference) = name.parse::<Reference>() else { continue };
        let rule = policy.rule(&reference).unwrap();
        assert_eq!(rule.scope, scope, "{name}");
        assert_eq!(rule.demands().is_ok(), enters, "{name}");
    }
}

#[test]
fn other_transports_and_the_default() {
    let policy =
        policy(&json!({"default": reject(), "transports": {"docker-daemon": {"": accept()}}}));
    let policy = policy.unwrap();
    let refusal = policy.rule(&reference("quay.io/app:1")).unwrap().demands().unwrap_err();
    let text = refusal.to_string();
    assert!(text.ends_with("the rule for all images (\"default\") is \"reject\""), "{text}");
    assert!(text.contains("policy.json does not let it in"), "{text}");
}

#[test]
fn what_is_not_understood_lets_nothing_in() {
    let key = json!({"type": "sigstoreSigned", "keyPath": "/k"});
    for (document, why) in [
        (json!({}), "default"),
        (json!({"default": []}), "empty"),
        (json!({"default": accept(), "more": 1}), "more"),
        (json!({"default": [{"type": "acceptAnything"}]}), "acceptAnything"),
        (json!({"default": [{"type": "reject", "when": "never"}]}), "when"),
        (json!({"default": [{"type": "sigstoreSigned"}]}), "exactly one of keyPath"),
        (
            json!({"default": [{"type": "sigstoreSigned", "keyPath": "/k", "keyData": ""}]}),
            "exactly",
        ),
        (json!({"default": [{"type": "sigstoreSigned", "keyPaths": []}]}), "no key"),
        (json!({"default": [{"type": "sigstoreSigned", "keyData": "!"}]}), "base64"),
        (json!({"default": [key], "transports": {"docker": {"quay.io": []}}}), "empty"),
        (
            json!({"default": [{"type": "sigstoreSigned", "keyPath": "/k",
                "signedIdentity": {"type": "matchAnything"}}]}),
            "matchAnything",
        ),
        (
            json!({"default": [{"type": "sigstoreSigned", "keyPath": "/k",
                "signedIdentity": {"type": "matchExact", "but": 1}}]}),
            "but",
        ),
    ] {
        let error = policy(&document).unwrap_err();
        assert!(error.contains(why) && error.contains("policy.json"), "{document}: {error}");
    }
    for twice in [
        r#"{"default": [{"type": "reject"}], "default": [{"type": "insecureAcceptAnything"}]}"#,
        r#"{"default": [{"type": "reject"}], "transports": {"docker": {
            "quay.io": [{"type": "reject"}], "quay.io": [{"type": "insecureAcceptAnything"}]}}}"#,
        r#"{"default": [{"type": "sigstoreSigned", "keyPath": "/a", "keyPath": "/b"}]}"#,
        r#"{"default": [{"type": "reject"}]} {}"#,
    ] {
        assert!(Document::parse(twice.as_bytes()).is_err(), "{twice}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (requirement, what) in [
        (json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}), "signedBy"),
        (json!({"type": "sigstoreSigned", "fulcio": {"caPath": "/ca"}}), "fulcio"),
        (json!({"type": "sigstoreSigned", "pki": {}}), "pki"),
        (json!({"type": "sigstoreSigned", "keyPath": "/k", "rekorPublicKeyPath": "/r"}), "Rekor"),
    ] {
        // One that is met does not make up for one that is not.
        let all = json!([{"type": "insecureAcceptAnything"}, requirement]);
        let policy = policy(&json!({"default": all})).unwrap();
        let refusal = policy.rule(&reference("quay.io/app:1")).unwrap().demands().unwrap_err();
        assert!(refusal.to_string().contains(what), "{refusal}");
        assert!(refusal.to_string().contains("not supported"), "{refusal}");
    }
}

pub(super) struct Signer(EcdsaKeyPair);

impl Signer {
    pub(super) fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap())
    }

    /// SubjectPublicKeyInfo of a key on P-256 (RFC 5480), in PEM.
    fn pem(&self) -> String {
        let mut der = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00".to_vec();
        der.extend_from_slice(self.0.public_key().as_ref());
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    pub(super) fn signature(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec()
    }

    fn sign(&self, payload: serde_json::Value) -> Signature {
        let payload = payload.to_string().into_bytes();
        let signature = self.signature(&payload);
        Signature::Attached { payload, signature }
    }
}

fn payload(name: &str, digest: &Digest) -> serde_json::Value {
    json!({
        "critical": {
            "type": "cosign container image signature",
            "image": {"docker-manifest-digest": digest},
            "identity": {"docker-reference": name},
        },
        "optional": {"creator": "somebody"},
    })
}

/// What comes of an image of this name, with this digest, under a policy that asks for the key.
pub(super) fn judged(
    signer: &Signer,
    identity: Option<serde_json::Value>,
    name: &str,
    digest: &Digest,
    signatures: &[Signature],
) -> Result<(), String> {
    let mut requirement =
        json!({"type": "sigstoreSigned", "keyData": BASE64_STANDARD.encode(signer.pem())});
    if let Some(identity) = identity {
        requirement["signedIdentity"] = identity;
    }
    let policy = policy(&json!({"default": [requirement]})).unwrap();
    let reference = reference(name);
    let rule = policy.rule(&reference).unwrap();
    let demands = rule.demands().unwrap();
    let index = Digest::of(b"an index");
    rule.judge(demands[0], &reference, &[digest, &index], signatures)
        .map_err(|refusal| refusal.to_string())
}

#[test]
fn a_signature_by_the_key_for_this_image_and_name_lets_in() {
    let (signer, other) = (Signer::new(), Signer::new());
    let digest = Digest::of(b"a manifest");
    let name = "quay.io/team/app:1";
    let good = || signer.sign(payload(name, &digest));
    let judged = |signatures: &[Signature]| judged(&signer, None, name, &digest, signatures);
    assert_eq!(judged(&[good()]), Ok(()));
    assert_eq!(judged(&[other.sign(payload(name, &digest)), good()]), Ok(()), "one will do");
    let of_index = signer.sign(payload(name, &Digest::of(b"an index")));
    assert_eq!(judged(&[of_index]), Ok(()), "the index leads to the manifest");

    let Signature::Attached { payload: signed, mut signature } = good() else { panic!() };
    let tampered = Signature::Attached { payload: b"{}".to_vec(), signature: signature.clone() };
    signature.pop();
    let torn = Signature::Attached { payload: signed, signature };
    let mut kind = payload(name, &digest);
    kind["critical"]["type"] = "atomic container signature".into();
    let mut more = payload(name, &digest);
    more["critical"]["more"] = 1.into();
    for (signatures, why) in [
        (vec![], "the image has none"),
        (vec![other.sign(payload(name, &digest))], "not made with the key"),
        (vec![tampered], "not made with the key"),
        (vec![torn], "not made with the key"),
        (vec![signer.sign(payload(name, &Digest::of(b"another")))], "another image"),
        (vec![signer.sign(payload("quay.io/team/other:1", &digest))], "not for quay.io/team/app:1"),
        (vec![signer.sign(kind)], "signs no image"),
        (vec![signer.sign(more)], "cannot be read"),
    ] {
        let refusal = judged(&signatures).unwrap_err();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
}

#[test]
fn names_count_as_the_rule_says() {
    let signer = Signer::new();
    let digest = Digest::of(b"a manifest");
    let by_digest = format!("quay.io/team/app@{digest}");
    let (exact, either, repository) = (
        json!({"type": "matchExact"}),
        json!({"type": "matchRepoDigestOrExact"}),
        json!({"type": "matchRepository"}),
    );
    let remap = json!({"type": "remapIdentity", "prefix": "mirror.example/quay", "signedPrefix": "quay.io"});
    let name = "quay.io/team/app:1";
    for (identity, pulled, signed, holds) in [
        (&exact, name, name, true),
        (&exact, name, "quay.io/team/app", false),
        (&exact, &by_digest, name, false),
        (&either, &by_digest, name, true),
        (&either, &by_digest, "quay.io/team/other:1", false),
        (&either, name, "quay.io/team/app:2", false),
        (&repository, name, "quay.io/team/app", true),
        (&repository, name, "quay.io/team/app:2", true),
        (&repository, "quay.io:5000/app:1", "quay.io:5000/app", true),
        (&repository, name, "quay.io/team", false),
        (&json!({"type": "exactReference", "dockerReference": "a.b/c:1"}), name, "a.b/c:1", true),
        (&json!({"type": "exactReference", "dockerReference": "a.b/c:1"}), name, name, false),
        (&json!({"type": "exactRepository", "dockerRepository": "a.b/c"}), name, "a.b/c:9", true),
        (&remap, "mirror.example/quay/team/app:1", name, true),
        (&remap, "mirror.example/quayside/team/app:1", "quay.ioside/team/app:1", false),
        (&remap, name, name, true),
    ] {
        let signature = signer.sign(payload(signed, &digest));
        let judged = judged(&signer, Some(identity.clone()), pulled, &digest, &[signature]);
        assert_eq!(judged.is_ok(), holds, "{identity} {pulled} {signed}: {judged:?}");
    }
}

#[test]
fn a_key_that_is_not_there_is_named() {
    let document = json!({"default": [{"type": "sigstoreSigned", "keyPath": "/no/such/key"}]});
    let policy = policy(&document).unwrap();
    let reference = reference("quay.io/app:1");
    let rule = policy.rule(&reference).unwrap();
    let refusal = rule.judge(rule.demands().unwrap()[0], &reference, &[], &[]).unwrap_err();
    assert!(refusal.to_string().contains("the key /no/such/key"), "{refusal}");
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,200}") {
        let _ = Document::parse(text.as_bytes());
        let payload = text.into_bytes();
        let _ = Signature::Bundle(payload.clone()).opened(&[]);
        let _ = Signature::Attached { payload, signature: vec![] }.opened(&[]);
    }
}
