//! What a registry has besides images.

use serde_json::json;

use crate::host::Host;
use crate::image::Image;
use crate::registry::{Registry, digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Charts, bills of materials, signatures: they say of themselves what they are, and so does the refusal.
/// Beside an image they do no harm.
pub(super) fn artifacts_are_refused_and_said(host: &Host) {
    let registry = Registry::start(host);
    let image = registry.push("app:latest", &Image::app("v1"));
    // By the tag that stands for the API where a registry has none (distribution-spec, "Referrers Tag Schema").
    registry.refer(
        "app:latest",
        &image,
        "application/spdx+json",
        b"{\"spdxVersion\": \"SPDX-2.3\"}",
    );
    let content = registry.push_blob("app", "application/octet-stream", b"content");
    let chart = registry.push_blob("app", "application/vnd.cncf.helm.config.v1+json", b"{}");
    registry.push_manifest(
        "app:chart",
        &json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": chart, "layers": [content] }),
    );
    for (tag, told) in [
        ("chart", "an artifact of the type \"application/vnd.cncf.helm.config.v1+json\""),
        (
            &image.replace(':', "-"),
            "an artifact of the type \"application/spdx+json\", not a container image",
        ),
    ] {
        let pull = format!("updater-launch pull {}", registry.reference(&format!("app:{tag}")));
        let refused = host.fails(125, &pull);
        assert!(refused.stderr.contains(told), "{tag}: {}", refused.describe());
    }
    assert_eq!(host.sh("updater-launch images -q; ls /var/lib/updaterd/tmp"), "");
    let app = registry.reference("app:latest");
    host.sh(&format!("updater-launch pull {app}; updater-launch image check"));
}

/// Docker's base images of Windows, and what OCI once had for them.
pub(super) fn layers_from_elsewhere_are_refused(host: &Host) {
    let registry = Registry::start(host);
    let built = Image::app("v1").build();
    let (docker, oci) = (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    );
    for (media_type, config_type, layer_type) in [
        (
            docker,
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ),
        (
            oci,
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ),
    ] {
        let config = registry.push_blob("app", config_type, &built.config);
        let layers: Vec<_> = built
            .layers
            .iter()
            .map(|layer| {
                json!({ "mediaType": layer_type, "digest": digest(layer), "size": layer.len(),
                    "urls": ["https://elsewhere.example/layer"] })
            })
            .collect();
        registry.push_manifest(
            "app:foreign",
            &json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers }),
        );
        let pull = format!("updater-launch pull {}", registry.reference("app:foreign"));
        let refused = host.fails(125, &pull);
        let told = "a foreign layer, which the registry does not have";
        assert!(refused.stderr.contains(told), "{}", refused.describe());
    }
    assert_eq!(host.sh("updater-launch images -q; ls /var/lib/updaterd/tmp"), "");
}
