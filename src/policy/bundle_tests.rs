//! Bundles, made as cosign makes them, and otherwise.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::tests::{Signer, judged};
use super::*;

const NAME: &str = "quay.io/team/app:1";

/// What cosign signs with `-a docker-reference=NAME`.
fn statement(digest: &Digest) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "digest": {"sha256": digest.hex()},
            "annotations": {"docker-reference": NAME, "creator": "somebody"},
        }],
        "predicateType": SIGNS,
        "predicate": {},
    })
}

fn bundle(signer: &Signer, statement: &Value) -> Value {
    let (kind, payload) = ("application/vnd.in-toto+json", statement.to_string());
    let signed = format!("DSSEv1 28 {kind} {} {payload}", payload.len());
    json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": BASE64_STANDARD.encode(payload),
            "payloadType": kind,
            "signatures": [{"sig": BASE64_STANDARD.encode(signer.signature(signed.as_bytes()))}],
        },
    })
}

fn raw(bundle: &Value) -> Signature {
    Signature::Bundle(bundle.to_string().into_bytes())
}

/// A change of something that was right.
fn with(value: &Value, at: &str, new: Value) -> Value {
    let mut value = value.clone();
    match value.pointer_mut(at) {
        Some(old) => *old = new,
        None => {
            let (parent, key) = at.rsplit_once('/').unwrap();
            value.pointer_mut(parent).unwrap()[key] = new;
        }
    }
    value
}

#[test]
fn a_bundle_by_the_key_for_this_image_and_name_lets_in() {
    let (signer, digest) = (Signer::new(), Digest::of(b"a manifest"));
    let (matches_repository, exact) =
        (json!({"type": "matchRepository"}), json!({"type": "matchExact"}));
    let judged = |identity: Option<&Value>, statement: &Value| {
        let signatures = [raw(&bundle(&signer, statement))];
        judged(&signer, identity.cloned(), NAME, &digest, &signatures)
    };
    let good = statement(&digest);
    assert_eq!(judged(None, &good), Ok(()));
    assert_eq!(judged(Some(&exact), &good), Ok(()));
    assert_eq!(judged(None, &statement(&Digest::of(b"an index"))), Ok(()), "it leads there");
    // In the place that in-toto has for a name.
    let named =
        with(&with(&good, "/subject/0/annotations", json!({})), "/subject/0/name", NAME.into());
    assert_eq!(judged(None, &named), Ok(()));
    let repository = with(&named, "/subject/0/name", "quay.io/team/app".into());
    assert_eq!(judged(Some(&matches_repository), &repository), Ok(()));
    assert!(judged(None, &repository).unwrap_err().contains("not for quay.io/team/app:1"));
}

#[test]
fn what_a_key_signed_and_is_no_signature_of_this_image() {
    let (signer, digest) = (Signer::new(), Digest::of(b"a manifest"));
    let good = statement(&digest);
    let none = with(&good, "/subject/0/annotations", json!({"creator": "somebody"}));
    let two = with(&good, "/subject/0/name", "quay.io/team/other:1".into());
    let upper = digest.hex().to_uppercase();
    for (statement, why) in [
        (statement(&Digest::of(b"another")), "another image"),
        (
            with(&good, "/subject/0/annotations/docker-reference", "quay.io/team/b:1".into()),
            "not for",
        ),
        // As cosign writes it by itself.
        (none.clone(), "cosign sign -a docker-reference=NAME"),
        (with(&none, "/subject/0/name", "".into()), "of no name"),
        (with(&good, "/subject/0/annotations", Value::Null), "cannot be read"),
        (two, "two names"),
        (with(&good, "/predicateType", "https://slsa.dev/provenance/v1".into()), "signs no image"),
        (with(&good, "/_type", "https://in-toto.io/Statement/v0.1".into()), "signs no image"),
        (with(&good, "/subject", json!([])), "not of one image"),
        (
            with(&good, "/subject", json!([good["subject"][0], good["subject"][0]])),
            "not of one image",
        ),
        (with(&good, "/subject/0/digest", json!({"sha512": "00"})), "cannot be read"),
        (with(&good, "/subject/0/digest/sha256", upper.into()), "a digest that is none"),
        (with(&good, "/subject/0/digest/sha1", "00".into()), "cannot be read"),
        (with(&good, "/more", 1.into()), "cannot be read"),
        (json!([good.clone()]), "cannot be read"),
    ] {
        let signatures = [raw(&bundle(&signer, &statement))];
        let refusal = judged(&signer, None, NAME, &digest, &signatures).unwrap_err();
        assert!(refusal.contains(why), "{statement}: {refusal}");
    }
    let twice = good.to_string().replacen(
        "\"predicateType\"",
        "\"predicateType\":\"https://slsa.dev/provenance/v1\",\"predicateType\"",
        1,
    );
    let signed = format!("DSSEv1 28 application/vnd.in-toto+json {} {twice}", twice.len());
    let signature = BASE64_STANDARD.encode(signer.signature(signed.as_bytes()));
    let bundle = with(
        &with(
            &bundle(&signer, &good),
            "/dsseEnvelope/payload",
            BASE64_STANDARD.encode(&twice).into(),
        ),
        "/dsseEnvelope/signatures/0/sig",
        signature.into(),
    );
    let refusal = judged(&signer, None, NAME, &digest, &[raw(&bundle)]).unwrap_err();
    assert!(refusal.contains("duplicate field"), "{refusal}");
}

#[test]
fn bundles_that_no_key_of_the_rule_made() {
    let (signer, other, digest) = (Signer::new(), Signer::new(), Digest::of(b"a manifest"));
    let good = bundle(&signer, &statement(&digest));
    let envelope = "/dsseEnvelope";
    let another = bundle(&signer, &statement(&Digest::of(b"another")));
    let signature = good["dsseEnvelope"]["signatures"][0].clone();
    let bare = {
        // Of the payload alone, without its type.
        let payload = statement(&digest).to_string();
        let bare = BASE64_STANDARD.encode(signer.signature(payload.as_bytes()));
        with(&good, "/dsseEnvelope/signatures/0/sig", bare.into())
    };
    let bytes = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {},
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": "AA=="},
            "signature": "AA==",
        },
    });
    for (bundle, why) in [
        (bundle(&other, &statement(&digest)), "not made with the key"),
        (
            with(&good, "/dsseEnvelope/payload", another["dsseEnvelope"]["payload"].clone()),
            "not made",
        ),
        (bare, "not made with the key"),
        (with(&good, "/dsseEnvelope/payloadType", "text/plain".into()), "signs no statement"),
        (with(&good, "/dsseEnvelope/signatures", json!([])), "not one signature"),
        (
            with(&good, "/dsseEnvelope/signatures", json!([signature, signature])),
            "not one signature",
        ),
        (with(&good, "/dsseEnvelope/signatures/0/sig", "A".into()), "no base64"),
        (
            with(
                &good,
                "/mediaType",
                "application/vnd.dev.sigstore.bundle+json;version=0.1".into(),
            ),
            "type",
        ),
        (with(&good, "/more", 1.into()), "cannot be read"),
        (with(&good, &format!("{envelope}/more"), 1.into()), "cannot be read"),
        (with(&good, "/messageSignature", bytes["messageSignature"].clone()), "or two"),
        (with(&good, envelope, Value::Null), "no signature"),
        (bytes, "signs bytes (\"messageSignature\"), and says of no name"),
        (json!([]), "cannot be read"),
    ] {
        let refusal = judged(&signer, None, NAME, &digest, &[raw(&bundle)]).unwrap_err();
        assert!(refusal.contains(why), "{bundle}: {refusal}");
    }
    // One that is no good does not spoil another.
    let signatures = [Signature::Bundle(b"{".to_vec()), raw(&good)];
    assert_eq!(judged(&signer, None, NAME, &digest, &signatures), Ok(()));
}
