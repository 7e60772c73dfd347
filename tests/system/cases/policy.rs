//! containers-policy.json(5): what this host lets in, beside Podman, which reads the same file.

use crate::host::Host;
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure_quiet, invocation, version};

cases![
    what_the_policy_rejects_is_not_pulled,
    a_signature_lets_an_image_in,
    a_policy_that_cannot_be_read_lets_nothing_in,
];

const POLICY: &str = "/etc/containers/policy.json";

/// `app` on v1; v2 is in the registry, and has this digest.
fn begin(host: &Host) -> (Registry<'_>, String) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    let digest = registry.push("app:latest", &Image::app("v2"));
    (registry, digest)
}

fn write(host: &Host, docker: &serde_json::Value) {
    let policy = serde_json::json!({
        "default": [{"type": "insecureAcceptAnything"}],
        "transports": {"docker": docker},
    });
    host.write(POLICY, &policy.to_string());
    // It is read when the service starts.
    host.sh("systemctl stop updaterd.service");
}

/// The update fails for this reason, and costs nothing; Podman does not pull it either.
fn kept_out(host: &Host, registry: &Registry, why: &str) {
    let before = invocation(host, "app");
    let layers = || host.sh("ls /var/lib/updaterd/layers/sha256");
    let unpacked = layers();
    let outcome = host.run("updaterctl update");
    assert!(outcome.said().contains(why), "{}", outcome.describe());
    assert!(outcome.said().contains(POLICY), "{}", outcome.describe());
    assert_eq!((version(host, "app"), invocation(host, "app")), ("v1".to_owned(), before));
    let quarantine = host.sh("updaterctl quarantine list");
    assert!(!quarantine.contains("localhost:5000"), "it is not the image's fault: {quarantine}");
    let reference = registry.reference("app:latest");
    let outcome = host.fails(125, &format!("updater-launch pull {reference}"));
    assert!(outcome.stderr.contains(why), "{}", outcome.describe());
    assert_eq!(layers(), unpacked, "nothing of it was unpacked");
    host.fails(125, &format!("podman pull --quiet {reference}"));
}

fn let_in(host: &Host, version: &str) {
    host.sh("updaterctl update");
    assert_eq!(crate::units::version(host, "app"), version);
}

fn what_the_policy_rejects_is_not_pulled(host: &Host) {
    let (registry, _) = begin(host);
    let reject = serde_json::json!([{"type": "reject"}]);
    write(host, &serde_json::json!({"localhost:5000": reject}));
    kept_out(host, &registry, "the rule for \"localhost:5000\" is \"reject\"");
    // What is more specific counts alone.
    let accept = serde_json::json!([{"type": "insecureAcceptAnything"}]);
    write(host, &serde_json::json!({"localhost:5000": reject, "localhost:5000/app": accept}));
    let_in(host, "v2");
    host.sh(&format!("podman pull --quiet {}", registry.reference("app:latest")));
}

fn a_signature_lets_an_image_in(host: &Host) {
    let (registry, digest) = begin(host);
    for key in ["own", "other"] {
        host.sh(&format!(
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out /etc/{key}.key
             openssl pkey -in /etc/{key}.key -pubout -out /etc/{key}.pub"
        ));
    }
    // Debian's Podman has sigstore switched off: it lets none in.
    let signed = serde_json::json!([{"type": "sigstoreSigned", "keyPath": "/etc/own.pub"}]);
    write(host, &serde_json::json!({"localhost:5000/app": signed}));
    kept_out(host, &registry, "the image has none");

    let name = registry.reference("app:latest");
    registry.sign("app", &digest, &name, "/etc/other.key");
    kept_out(host, &registry, "it was not made with the key of the rule");
    registry.sign("app", &digest, &registry.reference("app:other"), "/etc/own.key");
    kept_out(host, &registry, "not for localhost:5000/app:latest");

    registry.sign("app", &digest, &name, "/etc/own.key");
    let_in(host, "v2");

    // The index leads to its manifest: a signature of either will do.
    let index = registry.push_index("app:latest", &Image::app("v3"), "signed");
    registry.sign("app", &index, &name, "/etc/own.key");
    let_in(host, "v3");

    // Bundles that refer to it, as cosign makes them by now.
    let digest = registry.push("app:latest", &Image::app("v4"));
    let sign =
        |signed: &str, key: &str| registry.sign_by_bundle("app:latest", &digest, signed, key);
    let refused = |why: &str| {
        let outcome = host.fails(125, &format!("updater-launch pull {name}"));
        assert!(outcome.stderr.contains(why), "{}", outcome.describe());
    };
    sign(&name, "/etc/other.key");
    refused("it was not made with the key of the rule");
    sign(&registry.reference("app:other"), "/etc/own.key");
    refused("not for localhost:5000/app:latest");
    sign("", "/etc/own.key");
    refused("cosign sign -a docker-reference=NAME");
    sign(&name, "/etc/own.key");
    let_in(host, "v4");
}

fn a_policy_that_cannot_be_read_lets_nothing_in(host: &Host) {
    let (registry, _) = begin(host);
    host.write(POLICY, r#"{"default": [{"type": "insecureAcceptAnythin"}]}"#);
    host.sh("systemctl stop updaterd.service");
    kept_out(host, &registry, "insecureAcceptAnythin");
    let signed_by = r#"{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/etc/own.pub"}"#;
    host.write(POLICY, &format!(r#"{{"default": [{signed_by}]}}"#));
    host.sh("systemctl stop updaterd.service");
    kept_out(host, &registry, "\"signedBy\"), which is not supported");
    host.sh(&format!("rm {POLICY}"));
    host.sh("systemctl stop updaterd.service");
    // Without a policy everything is.
    let_in(host, "v2");
}
