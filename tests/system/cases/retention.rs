//! Storage after updates: which images stay, which go, and when.

use crate::host::Host;
use crate::image::{Image, Layer};
use crate::podman::{self, PodmanUnit};
use crate::registry::Registry;
use crate::someone::Someone;
use crate::units::{self, ContainerUnit, begin, version};

cases![
    the_last_images_stay_and_older_ones_go,
    what_somebody_needs_is_not_removed,
    a_removal_that_fails_is_said_once_and_tried_again,
    a_users_images_go_as_well,
    podmans_last_images_stay_and_older_ones_go,
    what_somebody_needs_of_podmans_is_not_removed,
    a_removal_that_podman_refuses_is_said_once_and_tried_again,
    images_stay_within_the_budget,
    podmans_images_stay_within_the_budget,
    a_pull_leaves_min_free,
    a_pull_of_podmans_leaves_min_free,
];

const QUIET: &str = "schedule = \"timer\"\nsettle = \"1s\"\n";

fn configure(host: &Host, text: &str) {
    units::configure(host, &format!("{QUIET}{text}"));
    // What runs has read it before.
    host.sh("systemctl stop updaterd.service");
}

/// Brings the unit to this version; the digest of its image.
fn update(host: &Host, registry: &Registry, version: &str) -> String {
    let digest = registry.push("app:latest", &Image::app(version));
    host.sh("updaterctl update");
    digest
}

fn short(digest: &str) -> &str {
    &digest["sha256:".len()..][..12]
}

/// Which of the images with these digests our own store has.
fn stored(host: &Host, digests: &[String]) -> Vec<bool> {
    let index = host.sh("cat /var/lib/updaterd/images/index.json");
    let layers = host.sh("ls /var/lib/updaterd/layers/sha256").lines().count();
    let there: Vec<bool> = digests.iter().map(|digest| index.contains(digest)).collect();
    let images = host.json("updater-launch images --format json").as_array().unwrap().len();
    // Each has a layer of its own, and all have one in common.
    assert_eq!(layers, images + 1, "layers that no image needs are left, or too few");
    there
}

/// What was said of images that were removed.
fn told_removed(host: &Host) -> String {
    host.journal("--identifier=updaterd --identifier=updaterctl | grep 'nobody needs it' || true")
}

fn the_last_images_stay_and_older_ones_go(host: &Host) {
    let (registry, reference) = begin(host);
    configure(host, "keep_images = 3\n");
    ContainerUnit::new("app", &reference).start(host);
    let first =
        host.json("updater-launch image inspect app")[0]["Digest"].as_str().unwrap().to_owned();
    let mut digests = vec![first];
    digests.extend(["v2", "v3", "v4", "v5"].map(|version| update(host, &registry, version)));
    assert_eq!(stored(host, &digests), [true; 5], "v1 was pulled by the unit's start");
    digests.push(update(host, &registry, "v6"));
    assert_eq!(stored(host, &digests), [true, false, true, true, true, true]);
    let told = told_removed(host);
    assert!(told.contains(&format!("{reference} ({})", short(&digests[1]))), "{told}");

    // An update that fails costs no way back.
    registry.push("app:latest", &Image::crashing_later("v7"));
    host.fails(4, "updaterctl update");
    host.sh("updaterctl update");
    assert_eq!(stored(host, &digests), [true, false, true, true, true, true]);
    registry.down();
    for (at, expected) in [(2, "v3"), (4, "v5"), (3, "v4"), (5, "v6")] {
        host.sh(&format!("updaterctl rollback app --to {}", short(&digests[at])));
        assert_eq!(version(host, "app"), expected);
    }
    assert_eq!(stored(host, &digests), [true, false, true, true, true, true]);

    // Fewer are to stay; they go one by one, in passes that have nothing to update.
    configure(host, "keep_images = 1\ncleanup_per_pass = 1\n");
    registry.up();
    for left in [3, 2] {
        host.sh("updaterctl update || true");
        let there = stored(host, &digests).into_iter().skip(1).filter(|there| *there).count();
        assert_eq!(there, left);
    }
    host.sh("updaterctl update || true");
    assert_eq!(stored(host, &digests), [true, false, false, true, false, true]);
}

fn what_somebody_needs_is_not_removed(host: &Host) {
    let (registry, reference) = begin(host);
    configure(host, "keep_images = 1\n");
    ContainerUnit::new("app", &reference).start(host);
    let second = update(host, &registry, "v2");
    host.sh(&format!("updater-launch create --name idle --network host {reference}"));
    let third = update(host, &registry, "v3");
    host.sh(&format!("updater-launch tag {reference} localhost/mine:1"));
    let more = ["v4", "v5", "v6"].map(|version| update(host, &registry, version));
    let digests = [second, third, more[0].clone(), more[1].clone()];
    assert_eq!(stored(host, &digests), [true, true, false, true]);
    host.sh("updater-launch start idle; updater-launch exec idle grep v2 /app/version");
    host.sh("updater-launch rm --force --time 0 idle; updater-launch untag localhost/mine:1");
    host.sh("updaterctl update");
    assert_eq!(stored(host, &digests), [false, false, false, true]);
}

/// The layers are there as on another file system, to which nothing can be renamed.
fn a_removal_that_fails_is_said_once_and_tried_again(host: &Host) {
    let (registry, reference) = begin(host);
    configure(host, "keep_images = 2\n");
    ContainerUnit::new("app", &reference).start(host);
    let digests = ["v2", "v3", "v4"].map(|version| update(host, &registry, version));
    configure(host, "keep_images = 1\n");
    let layers = "/var/lib/updaterd/layers/sha256";
    host.sh(&format!("mount --bind {layers} {layers}"));
    let said = host.sh("updaterctl update");
    assert!(said.contains("images that nobody needs are still there: cannot remove"), "{said}");
    let said = host.sh("updaterctl update");
    assert!(!said.contains("nobody needs"), "{said}");
    let count = || host.sh(&format!("ls {layers} | wc -l"));
    assert_eq!(count(), "5");
    host.sh(&format!("systemctl stop updaterd.service; umount {layers}; updaterctl update"));
    assert_eq!(count(), "4");
    assert_eq!(stored(host, &digests), [false, true, true]);
    assert_eq!(version(host, "app"), "v4");
}

fn a_users_images_go_as_well(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let someone = Someone::new(host);
    host.write(
        "/home/someone/.config/updaterd/updaterd.toml",
        &format!("{QUIET}keep_images = 1\n"),
    );
    let flags = "--sdnotify=conmon --network host --label io.containers.autoupdate=registry";
    someone.start("app", flags, &registry.reference("app:latest"), "");
    for version in ["v2", "v3", "v4"] {
        registry.push("app:latest", &Image::app(version));
        someone.sh("updaterctl update");
        assert_eq!(someone.version("app"), version);
    }
    // The base of all, the one of the unit's first start, the one that ran before, and the one that runs.
    assert_eq!(someone.sh("ls .local/share/updaterd/layers/sha256 | wc -l"), "4");
    registry.down();
    someone.sh("updaterctl rollback app");
    assert_eq!(someone.version("app"), "v3");
}

/// Which of the images with these digests Podman has.
fn podmans(host: &Host, digests: &[String]) -> Vec<bool> {
    let all = host.sh("podman images --all --digests --format '{{.Digest}}'");
    digests.iter().map(|digest| all.contains(digest.as_str())).collect()
}

fn podmans_last_images_stay_and_older_ones_go(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    configure(host, "keep_images = 3\n");
    PodmanUnit::new("app", &reference).start(host);
    let first = "podman image inspect --format '{{.Digest}}'";
    let mut digests = vec![host.sh(&format!("{first} {reference}"))];
    digests.extend(["v2", "v3", "v4", "v5"].map(|version| update(host, &registry, version)));
    assert_eq!(podmans(host, &digests), [true; 5], "v1 was pulled by the unit's start");
    digests.push(update(host, &registry, "v6"));
    assert_eq!(podmans(host, &digests), [true, false, true, true, true, true]);
    let told = told_removed(host);
    assert!(told.contains(&format!("{reference} ({})", short(&digests[1]))), "{told}");
    let kept =
        "podman images --format '{{.Repository}}' | grep -c '^localhost/updaterd/keep/u-app-'";
    assert_eq!(host.sh(kept), "3");

    registry.push("app:latest", &Image::crashing_later("v7"));
    host.fails(4, "updaterctl update");
    host.sh("updaterctl update");
    assert_eq!(podmans(host, &digests), [true, false, true, true, true, true]);
    assert_eq!(host.sh("podman images --quiet | sort -u | wc -l"), "5", "nor is v7 there");
    registry.down();
    for (at, expected) in [(2, "v3"), (4, "v5"), (3, "v4"), (5, "v6")] {
        host.sh("podman image prune --force");
        host.sh(&format!("updaterctl rollback app --to {}", short(&digests[at])));
        assert_eq!(podman::version(host, "app"), expected);
    }
    assert_eq!(podmans(host, &digests[2..]), [true; 4]);

    configure(host, "keep_images = 1\ncleanup_per_pass = 1\n");
    registry.up();
    for left in [3, 2] {
        host.sh("updaterctl update || true");
        let there = podmans(host, &digests[2..]).into_iter().filter(|there| *there).count();
        assert_eq!(there, left);
    }
    host.sh("updaterctl update || true");
    assert_eq!(podmans(host, &digests[2..]), [false, true, false, true]);

    // A unit that is removed is taken down as such, by what its names were noted for.
    host.sh("systemctl stop app; rm /etc/systemd/system/app.service; systemctl daemon-reload");
    host.sh("updaterctl update || true");
    host.sh("grep -rq '\"absences\":{\"app.service\"' /var/lib/updaterd");
}

fn what_somebody_needs_of_podmans_is_not_removed(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    configure(host, "keep_images = 1\n");
    PodmanUnit::new("app", &reference).start(host);
    let second = update(host, &registry, "v2");
    host.sh(&format!("podman create --name idle {reference}"));
    let third = update(host, &registry, "v3");
    host.sh(&format!("podman tag {reference} localhost/mine:1"));
    let more = ["v4", "v5", "v6"].map(|version| update(host, &registry, version));
    let digests = [second, third, more[0].clone(), more[1].clone()];
    assert_eq!(podmans(host, &digests), [true, true, false, true]);
    host.sh("podman rm idle; podman untag localhost/mine:1; updaterctl update");
    assert_eq!(podmans(host, &digests), [false, false, false, true]);
}

fn a_removal_that_podman_refuses_is_said_once_and_tried_again(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    configure(host, "keep_images = 1\n[podman]\nprogram = \"/srv/podman\"\n");
    host.write(
        "/srv/podman",
        "#!/bin/sh\n[ \"$1 $2\" = 'image rm' ] && [ -e /srv/refuses ] && \
         { echo 'Error: the storage is read-only' >&2; exit 125; }\nexec podman \"$@\"\n",
    );
    host.sh("chmod 755 /srv/podman; touch /srv/refuses");
    PodmanUnit::new("app", &reference).start(host);
    update(host, &registry, "v2");
    update(host, &registry, "v3");
    registry.push("app:latest", &Image::app("v4"));
    let said = host.sh("updaterctl update");
    assert_eq!(podman::version(host, "app"), "v4");
    assert!(said.contains("are still there") && said.contains("read-only"), "{said}");
    let count = || host.sh("podman images --quiet | sort -u | wc -l");
    let said = host.sh("updaterctl update");
    assert!(!said.contains("still there"), "{said}");
    assert_eq!(count(), "4");
    host.sh("rm /srv/refuses; updaterctl update");
    assert_eq!(count(), "3", "the one of the unit's start, the one before, and the one that runs");
}

/// A program with so many megabytes beside it, which do not compress.
fn large(version: &str, megabytes: usize) -> Image {
    let mut source = fastrand::Rng::with_seed(version.bytes().map(u64::from).sum());
    let mut data = vec![0; megabytes * 1_000_000];
    source.fill(&mut data);
    let mut layer = Layer::new();
    layer.file("app/data", 0o644, &data);
    Image::app(version).layer(layer)
}

fn update_to(host: &Host, registry: &Registry, image: &Image) -> String {
    let digest = registry.push("app:latest", image);
    host.sh("updaterctl update");
    digest
}

/// What `updaterctl doctor` finds, by kinds.
fn findings(host: &Host) -> String {
    host.sh("updaterctl doctor --json || true")
}

fn images_stay_within_the_budget(host: &Host) {
    let (registry, reference) = begin(host);
    configure(host, "keep_images = 1\ndisk_budget = \"11MB\"\n");
    ContainerUnit::new("app", &reference).start(host);
    let versions = ["v2", "v3", "v4", "v5", "v6"];
    let digests = versions.map(|version| update_to(host, &registry, &large(version, 3)));
    let index = || host.sh("cat /var/lib/updaterd/images/index.json");
    let there = || digests.clone().map(|digest| index().contains(&digest));
    assert_eq!(there(), [false, false, true, true, true]);
    assert!(!findings(host).contains("over-budget"));
    // One that need not stay is a way back as well.
    registry.down();
    host.sh(&format!("updaterctl rollback app --to {}", short(&digests[2])));
    host.sh(&format!("updaterctl rollback app --to {}", short(&digests[4])));
    registry.up();
    configure(host, "keep_images = 1\ndisk_budget = \"5MB\"\n");
    host.sh("updaterctl update || true");
    assert_eq!(there(), [false, false, true, false, true], "what runs, and what ran before");
    let found = findings(host);
    assert!(found.contains("over-budget") && found.contains("disk_budget is 5 MiB"), "{found}");
}

fn podmans_images_stay_within_the_budget(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    configure(host, "keep_images = 1\ndisk_budget = \"17MB\"\n");
    PodmanUnit::new("app", &reference).start(host);
    let versions = ["v2", "v3", "v4", "v5", "v6"];
    let digests = versions.map(|version| update_to(host, &registry, &large(version, 3)));
    assert_eq!(podmans(host, &digests), [false, false, true, true, true]);
    configure(host, "keep_images = 1\ndisk_budget = \"8MB\"\n");
    host.sh("updaterctl update");
    assert_eq!(podmans(host, &digests), [false, false, false, true, true]);
    let found = findings(host);
    assert!(found.contains("over-budget") && found.contains("images of Podman"), "{found}");
}

/// A large update is refused before its first layer, and blamed on nobody; a small one goes through.
fn assert_refused(host: &Host, registry: &Registry, version: impl Fn() -> String) {
    registry.push("app:latest", &large("v2", 25));
    let before = registry.bytes_sent();
    let said = host.fails(3, "updaterctl update").said();
    for told in ["localhost:5000/app", "does not fit", "MiB are needed", "make room", "min_free"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(registry.bytes_sent() - before < 100_000, "a layer was pulled");
    assert_eq!(version(), "v1");
    assert!(
        host.sh("updaterctl quarantine list").contains("Nothing is quarantined"),
        "it is blamed"
    );
    registry.push("app:latest", &Image::app("v3"));
    host.sh("updaterctl update app.service");
    assert_eq!(version(), "v3");
}

fn a_pull_leaves_min_free(host: &Host) {
    let (registry, reference) = begin(host);
    host.sh("mount -t tmpfs -o size=200m,mode=700 tmpfs /var/lib/updaterd");
    configure(host, "min_free = \"150MiB\"\n");
    ContainerUnit::new("app", &reference).start(host);
    assert_refused(host, &registry, || version(host, "app"));
    assert!(!findings(host).contains("disk-nearly-full"));
    host.sh("head -c 60M /dev/zero > /var/lib/updaterd/filler");
    let found = findings(host);
    assert!(found.contains("disk-nearly-full") && found.contains("pulls are refused"), "{found}");
    host.sh("rm /var/lib/updaterd/filler");
    configure(host, "");
    update_to(host, &registry, &large("v4", 25));
    assert_eq!(version(host, "app"), "v4");
}

fn a_pull_of_podmans_leaves_min_free(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    host.sh("mkdir -p /var/lib/containers/storage");
    host.sh("mount -t tmpfs -o size=200m,mode=700 tmpfs /var/lib/containers/storage");
    PodmanUnit::new("app", &reference).start(host);
    configure(host, "min_free = \"150MiB\"\n");
    assert_refused(host, &registry, || podman::version(host, "app"));
    configure(host, "");
    update_to(host, &registry, &large("v4", 25));
    assert_eq!(podman::version(host, "app"), "v4");
}
