//! What Podman's containers are named to run: digests, IDs, short names, and starts that ask the
//! registry by themselves.

use crate::host::{Host, Outcome};
use crate::image::Image;
use crate::podman::{PodmanUnit, prepare, version};
use crate::units::invocation;

cases![
    what_is_pinned_is_left_alone,
    an_image_with_several_names,
    local_images_by_short_names,
    a_start_that_asks_the_registry,
    kube_play_asks_the_registry,
];

/// Exit codes of `updaterctl`, as its manual has them.
const ROLLED_BACK: i32 = 4;
const NEEDS_OPERATOR: i32 = 5;

fn reasons(outcome: &Outcome) -> Vec<String> {
    let plan: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let word = |skipped: &serde_json::Value, key: &str| skipped[key].as_str().unwrap().to_owned();
    let skipped = plan["skipped"].as_array().unwrap().iter();
    skipped.map(|one| format!("{} {}", word(one, "container"), word(one, "reason"))).collect()
}

/// By a digest, by a digest beside a tag, by an image's ID: a restart would bring the same.
fn what_is_pinned_is_left_alone(host: &Host) {
    let registry = prepare(host);
    let digest = registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    let name = app.trim_end_matches(":latest");
    PodmanUnit::new("digest", &format!("{name}@{digest}")).start(host);
    PodmanUnit::new("tagged", &format!("{app}@{digest}")).start(host);
    PodmanUnit::new("follows", &app).start(host);
    let id = host.sh(&format!("podman image inspect --format '{{{{.Id}}}}' {app}"));
    PodmanUnit::new("id", &id).policy("local").start(host);
    PodmanUnit::new("short-id", &id[..12]).policy("local").start(host);
    let pinned = ["digest", "id", "short-id", "tagged"];
    let before = pinned.map(|name| invocation(host, name));

    registry.push("app:latest", &Image::app("v2"));
    let check = host.run("updaterctl check --json");
    assert_eq!(reasons(&check), pinned.map(|name| format!("{name} pinned")));
    host.sh("updaterctl update");
    assert_eq!(version(host, "follows"), "v2");
    assert_eq!(pinned.map(|name| invocation(host, name)), before);
    // In Podman's words they have nothing new.
    let told = host.sh("updaterctl auto-update --format '{{.ContainerName}} {{.Updated}}'");
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(
        told,
        ["digest false", "follows false", "id false", "short-id false", "tagged false"]
    );
}

/// Only the name that the container was made from moves.
fn an_image_with_several_names(host: &Host) {
    let registry = prepare(host);
    for name in ["app:latest", "app:other"] {
        registry.push(name, &Image::app("v1"));
    }
    let (app, other) = (registry.reference("app:latest"), registry.reference("app:other"));
    PodmanUnit::new("app", &app).start(host);
    PodmanUnit::new("other", &other).start(host);
    let names = [other.as_str(), "quay.io/only/name:2"];
    registry.push("app:latest", &Image::app("v1.1"));
    host.sh(&format!("updaterctl update; podman tag {app} {}", names[1]));
    let id = |name: &str| host.sh(&format!("podman image inspect --format '{{{{.Id}}}}' {name}"));
    let before = names.map(id);
    let running = invocation(host, "other");
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!([version(host, "app"), version(host, "other")], ["v2", "v1"]);
    assert_eq!(names.map(id), before);
    assert_eq!(invocation(host, "other"), running);
    // What is superseded loses our name, and nobody else's, were it the last.
    for new in ["v3", "v4"] {
        registry.push("app:latest", &Image::app(new));
        host.sh("updaterctl update");
    }
    assert_eq!(names.map(id), before);
}

/// The policy `registry` wants a full name, as Podman says when it makes the container; for `local`
/// the name is what it is in storage.
fn local_images_by_short_names(host: &Host) {
    let registry = prepare(host);
    for version in ["v1", "v2"] {
        let name = format!("app:{version}");
        registry.push(&name, &Image::app(version));
        host.sh(&format!("podman pull --quiet {}", registry.reference(&name)));
    }
    let build = |version: &str| {
        host.sh(&format!(
            "podman tag {} localhost/app",
            registry.reference(&format!("app:{version}"))
        ));
    };
    build("v1");
    let refused = host.run("podman run --rm --label io.containers.autoupdate=registry app");
    assert!(refused.stderr.contains("fully-qualified image reference"), "{}", refused.describe());
    for (name, image) in [("short", "app"), ("untagged", "localhost/app")] {
        PodmanUnit::new(name, image).policy("local").start(host);
    }
    let check = host.sh("updaterctl check");
    assert!(check.contains("2 up to date"), "{check}");
    build("v2");
    host.sh("updaterctl update");
    assert_eq!([version(host, "short"), version(host, "untagged")], ["v2", "v2"]);
    // An image that is gone is told, and what runs goes on.
    host.sh("podman untag localhost/app localhost/app");
    let check = host.run("updaterctl check");
    assert!(check.stdout.contains("storage"), "{}", check.describe());
}

/// Nobody can keep `--pull=newer` from the registry: it is told before, and after.
fn a_start_that_asks_the_registry(host: &Host) {
    let registry = prepare(host);
    for name in ["app", "calm"] {
        let image = format!("{name}:latest");
        registry.push(&image, &Image::app("v1"));
        let unit = PodmanUnit::new(name, &registry.reference(&image));
        if name == "app" { unit.flag("--pull=newer") } else { unit.flag("--pull=missing") }
            .start(host);
    }
    let check = host.sh("updaterctl check");
    assert!(check.contains("warning: container app is started with --pull=newer"), "{check}");
    assert!(!check.contains("container calm"), "{check}");
    let why = ["app", "calm"].map(|unit| host.sh(&format!("updaterctl why {unit}.service")));
    assert_eq!(why.map(|why| why.contains("--pull=newer")), [true, false]);
    // As long as an update is good, it makes no difference.
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    registry.push("app:latest", &Image::crashing_later("v3"));
    let outcome = host.fails(NEEDS_OPERATOR, "updaterctl update");
    assert!(outcome.said().contains("on the way back"), "{}", outcome.describe());
}

/// Unless its YAML says otherwise. Its containers' own annotations say who is updated.
fn kube_play_asks_the_registry(host: &Host) {
    let registry = prepare(host);
    let images = ["newest:latest", "named:stable", "held:latest"];
    for image in images {
        registry.push(image, &Image::app("v1"));
    }
    let play = |policy: &str| {
        let containers: String = images
            .iter()
            .map(|image| {
                let (name, _) = image.split_once(':').unwrap();
                let image = registry.reference(image);
                format!("  - name: {name}\n    image: {image}\n{policy}")
            })
            .collect();
        let annotation = "    io.containers.autoupdate";
        host.write(
            "/srv/kube.yaml",
            &format!(
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: kube\n  annotations:\n\
                 {annotation}/newest: registry\n{annotation}/named: registry\n\
                 {annotation}/held: disabled\nspec:\n  hostNetwork: true\n  containers:\n{containers}"
            ),
        );
        host.sh("systemctl restart podman-kube@-srv-kube.yaml.service; updaterctl check")
    };
    let versions = || ["newest", "named"].map(|name| version(host, &format!("kube-{name}")));

    let check = play("    imagePullPolicy: IfNotPresent\n");
    assert!(check.contains("2 up to date") && !check.contains("warning"), "{check}");
    for (image, new, expected) in
        [("newest:latest", "v2", ["v2", "v1"]), ("named:stable", "v2", ["v2", "v2"])]
    {
        registry.push(image, &Image::crashing_later("bad"));
        let outcome = host.fails(ROLLED_BACK, "updaterctl update");
        let before = if image == "newest:latest" { ["v1", "v1"] } else { ["v2", "v1"] };
        assert_eq!(versions(), before, "{}", outcome.describe());
        registry.push(image, &Image::app(new));
        host.sh("updaterctl update");
        assert_eq!(versions(), expected);
    }

    let check = play("");
    for name in ["newest", "named"] {
        let warning = format!("warning: container kube-{name} is made by \"kube play\"");
        assert!(check.contains(&warning), "{check}");
    }
    assert!(!check.contains("kube-held is made"), "{check}");
    registry.push("named:stable", &Image::crashing_later("worse"));
    let outcome = host.fails(NEEDS_OPERATOR, "updaterctl update");
    assert!(outcome.said().contains("on the way back: the unit runs"), "{}", outcome.describe());
}
