//! Images that Podman, Buildah and Skopeo make and push: pulled, run, and what is said of them.

use serde_json::{Map, Value, json};

use crate::host::Host;
use crate::image::architecture;
use crate::podman::configure;
use crate::registry::Registry;

/// A store of Podman's that is not the one in which images are built.
const PODMAN: &str = "podman --root /tmp/theirs";

/// All that a build can say of an image.
const CONTAINERFILE: &str = r#"FROM scratch
COPY busybox /bin/busybox
COPY data /data
ENV GREETING="hello world" PATH=/bin EMPTY=
LABEL org.example.vendor="acme \"quoted\"" io.containers.autoupdate=registry
WORKDIR /work
USER 1000:1001
EXPOSE 8080/tcp 53/udp
VOLUME /data
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/busybox", "sh", "-c", "echo $GREETING, $PWD, $(busybox id -u):$(busybox id -g), $*", "--"]
CMD ["one", "two words"]
"#;

/// What such an image says when it is run.
const SAID: &str = "hello world, /work, 1000:1001, one two words";

fn prepare(host: &Host) -> Registry<'_> {
    configure(host);
    let registry = Registry::start(host);
    host.write("/tmp/context/data/file", "data\n");
    host.sh("cp /bin/busybox /tmp/context/");
    host.write("/tmp/context/Containerfile", CONTAINERFILE);
    registry
}

pub(super) fn what_others_push_is_what_they_say(host: &Host) {
    let registry = prepare(host);
    let of = |tag: &str| registry.reference(&format!("app:{tag}"));
    let (docker, oci) = (of("docker"), of("oci"));
    let skopeo = "skopeo copy -q --src-tls-verify=false --dest-tls-verify=false";
    host.sh(&format!(
        "cd /tmp/context
         (cat Containerfile; echo 'HEALTHCHECK --interval=7s --retries=2 CMD true') > Docker
         podman build -q --format docker -f Docker -t {docker} .
         podman build -q --format oci --annotation org.example.note='by Podman' -t {oci} .
         podman push -q {docker}; podman push -q {oci}
         podman push -q --compression-format zstd {oci} {}
         podman push -q --compression-format zstd:chunked {oci} {}
         {skopeo} --format oci docker://{docker} docker://{}
         {skopeo} --format v2s2 docker://{oci} docker://{}
         {skopeo} --dest-compress-format zstd --dest-compress-level 9 docker://{oci} docker://{}",
        of("zstd"),
        of("chunked"),
        of("skopeo-oci"),
        of("skopeo-v2s2"),
        of("skopeo-zstd"),
    ));
    host.sh(&format!(
        "made=$(buildah from scratch); cd /tmp/context
         buildah copy -q $made busybox /bin/busybox; buildah copy -q $made data /data
         buildah config --env GREETING='hello world' --env PATH=/bin --workingdir /work --user 1000:1001 \
           --label org.example.vendor=acme --annotation org.example.note='by Buildah' --port 8080 \
           --entrypoint '[\"/bin/busybox\", \"sh\", \"-c\", \"echo $GREETING, $PWD, $(busybox id -u):$(busybox id -g), $*\", \"--\"]' \
           --cmd 'one \"two words\"' --created-by 'a test' --author nobody $made
         buildah commit -q --format oci $made {0}; buildah push -q {0}",
        of("buildah"),
    ));
    for tag in
        ["docker", "oci", "zstd", "chunked", "skopeo-oci", "skopeo-v2s2", "skopeo-zstd", "buildah"]
    {
        let image = of(tag);
        host.sh(&format!("updater-launch pull -q {image}; {PODMAN} pull -q {image}"));
        assert_said_alike(host, &image);
        let said = host.sh(&format!("updater-launch run --rm --network none {image}"));
        assert_eq!(said, SAID, "{image}");
    }
    host.sh("updater-launch image check");
}

/// A build for three platforms, of which one is run, and what BuildKit adds to such a list.
pub(super) fn a_list_has_an_image_for_each_platform(host: &Host) {
    let registry = prepare(host);
    let of = |tag: &str| registry.reference(&format!("app:{tag}"));
    let own = format!("linux/{}", architecture());
    let (list, index) = (of("list"), of("index"));
    host.sh(&format!(
        "cd /tmp/context; echo 'LABEL of=this' >> Containerfile
         for platform in {own} linux/arm/v6 linux/arm/v7 linux/s390x; do
           sed -i \"s,of=.*,of=$platform,\" Containerfile
           podman build -q --platform $platform --manifest many .
         done
         podman manifest push -q --all --format v2s2 many docker://{list}
         podman manifest push -q --all --format oci many docker://{index}
         skopeo copy -q --all --src-tls-verify=false --dest-tls-verify=false docker://{index} docker://{}",
        of("copied"),
    ));
    push_attested(host, &registry, &index);
    for (tag, platform, label) in [
        ("list", own.as_str(), own.as_str()),
        ("index", &own, &own),
        ("copied", &own, &own),
        ("attested", &own, &own),
        ("list", "linux/arm/v7", "linux/arm/v7"),
        ("attested", "linux/arm/v6", "linux/arm/v6"),
        ("attested", "linux/s390x", "linux/s390x"),
        // The newest of those that run there.
        ("index", "linux/arm/v8", "linux/arm/v7"),
    ] {
        let image = of(tag);
        host.sh(&format!("updater-launch pull -q --platform {platform} {image}"));
        let inspected = host.json(&format!("updater-launch image inspect {image}"));
        assert_eq!(inspected[0]["Labels"]["of"], label, "{tag} for {platform}");
        if platform == own {
            host.sh(&format!("{PODMAN} pull -q {image}"));
            assert_said_alike(host, &image);
            let said = host.sh(&format!("updater-launch run --rm --network none {image}"));
            assert_eq!(said, SAID, "{image}");
        }
    }
    let none = host.fails(125, &format!("updater-launch pull --platform linux/arm/v5 {list}"));
    for told in ["not offered for linux/arm/v5", "linux/arm/v6, linux/arm/v7, linux/s390x"] {
        assert!(none.stderr.contains(told), "{}", none.describe());
    }
}

/// `attested`: the index, and before its images what BuildKit says of how they were made
/// (moby/buildkit, "attestation-storage.md").
fn push_attested(host: &Host, registry: &Registry<'_>, index: &str) {
    let name = "app:attested";
    let statement = registry.push_blob(name, "application/vnd.in-toto+json", b"{}");
    let config = json!({ "architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [statement["digest"]] } });
    let config = registry.push_blob(
        name,
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    );
    let mut attestation = registry.push_manifest(
        "app:attestation",
        &json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [statement] }),
    );
    let mut attested =
        host.json(&format!("skopeo inspect --raw --tls-verify=false docker://{index}"));
    attested["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
    let images = attested["manifests"].as_array_mut().unwrap();
    attestation["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": images[0]["digest"],
    });
    images.insert(0, attestation);
    registry.push_manifest(name, &attested);
}

/// What is said of an image that both have pulled.
#[track_caller]
fn assert_said_alike(host: &Host, image: &str) {
    let [mut ours, mut theirs] = ["updater-launch", PODMAN].map(|program| {
        let said = host.json(&format!("{program} image inspect {image}"));
        said[0].clone()
    });
    // Podman says the one by which it came to know the image first.
    let pushed = host.json(&format!("skopeo inspect --tls-verify=false docker://{image}"));
    assert_eq!(ours["Target"], pushed["Digest"], "{image}");
    (ours, theirs) = (known(&ours), known(&theirs));
    let pretty = |said: &Value| serde_json::to_string_pretty(said).unwrap();
    assert!(ours == theirs, "{image}\n{}\n{}", pretty(&ours), pretty(&theirs));
}

/// What is of the image, and not of whoever keeps it.
fn known(said: &Value) -> Value {
    let keys = [
        "Id",
        "Created",
        "Config",
        "Author",
        "Architecture",
        "Os",
        "RootFS",
        "Labels",
        "Annotations",
        "ManifestType",
        "User",
        "History",
        "HealthCheck",
        "Healthcheck",
    ];
    let pick = |key: &&str| Some((key.to_lowercase(), without_nothing(said.get(*key)?)?));
    Value::Object(keys.iter().filter_map(pick).collect())
}

/// Without what is as good as not said.
fn without_nothing(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(list) if list.is_empty() => None,
        Value::Array(list) => {
            Some(list.iter().map(|one| without_nothing(one).unwrap_or_default()).collect())
        }
        Value::Object(map) => {
            let kept: Map<_, _> = map
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), without_nothing(value)?)))
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        value => Some(value.clone()),
    }
}
