//! Bad luck: each thing that fails is told, and what runs is left running.

use crate::host::{Host, Outcome, seconds};
use crate::image::{Image, Layer};
use crate::registry::{Access, PASSWORD, Registry, USER};
use crate::units::{ContainerUnit, configure_every_second, configure_quiet, invocation, version};

cases![
    a_registry_that_is_down,
    a_registry_that_wants_a_password,
    a_repository_that_is_gone,
    an_unknown_policy_hurts_only_its_container,
    a_corrupt_layer,
    a_disk_that_fills_up,
    a_ledger_without_room,
    the_daemon_survives_a_registry_that_comes_and_goes,
    damaged_files_are_named_with_what_to_do,
];

/// `app` on v1 beside `other`, which keeps being checked.
fn start_two(host: &Host, registry: &Registry) {
    for name in ["app", "other"] {
        registry.push(&format!("{name}:latest"), &Image::app("v1"));
        ContainerUnit::new(name, &registry.reference(&format!("{name}:latest"))).start(host);
    }
}

/// A pass with trouble: nothing restarted, and the reason told.
#[track_caller]
fn assert_left_alone(host: &Host, reasons: &[&str]) -> Outcome {
    let before = invocation(host, "app");
    let outcome = host.fails(3, "updaterctl update");
    let said = outcome.said().to_lowercase();
    assert!(reasons.iter().any(|reason| said.contains(reason)), "{}", outcome.describe());
    assert_eq!(invocation(host, "app"), before, "{}", outcome.describe());
    assert_eq!(version(host, "app"), "v1");
    outcome
}

fn a_registry_that_is_down(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start_two(host, &registry);
    registry.down();
    assert_left_alone(host, &["connect", "refused", "unreachable"]);
    registry.up();
    registry.push("app:latest", &Image::app("v2"));
    // Asked for by name, it is not put off by the last failure.
    host.sh("updaterctl update app.service");
    assert_eq!(version(host, "app"), "v2");
}

fn a_registry_that_wants_a_password(host: &Host) {
    let mut registry = Registry::start(host);
    configure_quiet(host);
    start_two(host, &registry);
    registry.change_access(Access::Password);
    let outcome = assert_left_alone(host, &["refuses access"]);
    assert!(!outcome.said().contains(PASSWORD));
    registry.push("app:latest", &Image::app("v2"));
    let login = host.sh(&format!("printf %s {USER}:{PASSWORD} | base64"));
    host.write(
        "/run/containers/0/auth.json",
        &format!("{{\"auths\": {{\"localhost:5000\": {{\"auth\": \"{login}\"}}}}}}"),
    );
    host.sh("updaterctl update app.service");
    assert_eq!(version(host, "app"), "v2");
    for secret in [PASSWORD, &login] {
        assert!(!host.journal("").contains(secret), "the journal has a secret");
    }
}

fn a_repository_that_is_gone(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start_two(host, &registry);
    host.sh("rm -r /tmp/registry/5000/docker/registry/v2/repositories/app");
    registry.push("other:latest", &Image::app("v2"));
    assert_left_alone(host, &["404", "not found", "no such"]);
    assert_eq!(version(host, "other"), "v2");
}

fn an_unknown_policy_hurts_only_its_container(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    for name in ["app", "other"] {
        registry.push(&format!("{name}:latest"), &Image::app("v1"));
    }
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .unlabelled()
        .flag("--label io.containers.autoupdate=sometimes")
        .start(host);
    ContainerUnit::new("other", &registry.reference("other:latest")).start(host);
    for name in ["app", "other"] {
        registry.push(&format!("{name}:latest"), &Image::app("v2"));
    }
    let outcome = assert_left_alone(host, &["sometimes"]);
    assert!(outcome.said().contains("registry"), "it names what is valid: {}", outcome.describe());
    assert_eq!(version(host, "other"), "v2");
}

fn a_corrupt_layer(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start_two(host, &registry);
    let mut layer = Layer::new();
    layer.file("app/data", 0o644, &random(200_000));
    registry.push("app:latest", &Image::app("v2").layer(layer));
    // The largest blob of the registry that is not the base layer of all: two bytes turned round.
    host.sh(
        "blob=$(find /tmp/registry/5000/docker/registry/v2/blobs -name data -size +100k -size -600k)
         [ $(echo \"$blob\" | wc -l) = 1 ]
         printf XX | dd of=$blob bs=1 seek=100000 conv=notrunc status=none",
    );
    assert_left_alone(host, &["digest", "does not match", "corrupt"]);
}

fn a_disk_that_fills_up(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    host.sh("mount -t tmpfs -o size=24m,mode=700 tmpfs /var/lib/updaterd");
    start_two(host, &registry);
    let used = "df --output=used -k /var/lib/updaterd | tail -1";
    let before: u64 = host.sh(used).parse().unwrap();
    let mut layer = Layer::new();
    layer.file("app/data", 0o644, &random(40_000_000));
    registry.push("app:latest", &Image::app("v2").layer(layer));
    assert_left_alone(host, &["no space", "does not fit on the disk"]);
    let after: u64 = host.sh(used).parse().unwrap();
    assert!(after < before + 2048, "partial data stays: {before} KiB before, {after} KiB after");
    // With room again, the same update goes through.
    host.sh("mount -o remount,size=200m /var/lib/updaterd");
    host.sh("updaterctl update app.service");
    assert_eq!(version(host, "app"), "v2");
}

/// What nobody would remember is not begun.
fn a_ledger_without_room(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    host.sh("mount --mkdir -t tmpfs -o size=32k,mode=700 tmpfs /var/lib/updaterd/ledger");
    start_two(host, &registry);
    let before = invocation(host, "app");
    registry.push("app:latest", &Image::app("v2"));
    host.run("cat /dev/zero > /var/lib/updaterd/ledger/ballast");
    let refused = host.fails(1, "updaterctl update");
    let told = "cannot write /var/lib/updaterd/ledger";
    assert!(refused.stderr.contains(told), "{}", refused.describe());
    assert_eq!((version(host, "app"), invocation(host, "app")), ("v1".to_owned(), before));
    host.sh("rm /var/lib/updaterd/ledger/ballast; updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

fn the_daemon_survives_a_registry_that_comes_and_goes(host: &Host) {
    let registry = Registry::start(host);
    configure_every_second(host);
    start_two(host, &registry);
    host.sh("systemctl start updaterd.service");
    registry.down();
    host.wait_for("journalctl -u updaterd.service | grep -i 'could not check'", seconds(20));
    registry.up();
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update app.service");
    assert_eq!(version(host, "app"), "v2");
    assert_eq!(host.property("updaterd.service", "NRestarts"), "0");
}

/// Bytes that do not compress, the same each time.
fn random(size: usize) -> Vec<u8> {
    let mut source = fastrand::Rng::with_seed(7);
    (0..size).map(|_| source.u8(..)).collect()
}

/// Each hint is followed, and helps.
fn damaged_files_are_named_with_what_to_do(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    let image = registry.reference("app:latest");
    ContainerUnit::new("app", &image).start(host);
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");

    host.sh("echo '{' > /run/updaterd/containers/*/record.json");
    let status = host.sh("updaterctl status");
    for told in ["unknown", "problem: /run/updaterd/containers/", "restart the container's unit"] {
        assert!(status.contains(told), "{status}");
    }
    let json = host.json("updaterctl status --json");
    assert_eq!(json["units"][0]["standing"], "unknown", "{json}");
    let check = host.fails(3, "updaterctl check");
    assert!(check.stdout.contains("record.json is damaged"), "{}", check.describe());
    host.sh("systemctl restart app.service");
    assert!(host.sh("updaterctl status").contains("followed"));

    let index = "/var/lib/updaterd/images/index.json";
    host.sh(&format!("echo '{{' > {index}"));
    for verb in ["updater-launch images", "systemctl restart app.service"] {
        assert_ne!(host.run(verb).status, 0, "{verb}");
    }
    let said = host.journal("--unit=app.service");
    assert!(said.contains("images/index.json is damaged: move it away, and pull"), "{said}");
    host.sh(&format!("rm {index}; updater-launch pull {image}; systemctl restart app.service"));
    assert_eq!(version(host, "app"), "v2");

    damaged_ledger(host, &registry);
}

/// What is damaged is looked past, then set aside by a pass, which goes on, and told of until somebody
/// has looked at it.
fn damaged_ledger(host: &Host, registry: &Registry) {
    let ledger = "/var/lib/updaterd/ledger";
    host.sh(&format!(
        "echo '[{{' > {ledger}/quarantine.json; sed -i s/updated/updatex/ {ledger}/history.jsonl"
    ));
    let check = host.fails(3, "updaterctl check");
    for told in ["quarantine.json is damaged", "history.jsonl is damaged"] {
        assert!(check.stdout.contains(told), "{}", check.describe());
    }
    host.sh("updaterctl quarantine list");
    assert!(host.sh("updaterctl history").contains("Nothing was updated"));
    let log = host.journal("--identifier=updaterd");
    assert!(log.contains("history.jsonl:1 is damaged"), "{log}");

    registry.push("app:latest", &Image::app("v3"));
    let told = host.fails(3, "updaterctl update").said();
    assert_eq!(version(host, "app"), "v3");
    let aside = host.sh(&format!("ls {ledger} | grep damaged"));
    assert_eq!(aside.lines().count(), 2, "{aside}");
    let log = host.journal("--identifier=updaterd");
    for name in aside.lines() {
        assert!(told.contains(name) && log.contains(name), "{name}: {told}{log}");
    }
    host.sh("updaterctl update; updaterctl quarantine list");
    let found = || host.json("updaterctl doctor --json || true")["findings"].clone();
    let ours = |found: &serde_json::Value| {
        let mends = found.as_array().unwrap().iter();
        let mends = mends.filter(|found| found["finding"] == "damaged-ledger");
        mends.map(|found| found["mend"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mends = ours(&found());
    assert_eq!(mends.len(), 2, "{mends:?}");
    mends.iter().for_each(|mend| drop(host.sh(mend)));
    assert!(ours(&found()).is_empty());

    host.sh(&format!("echo '{{\"schema\":99}}' > {ledger}/quarantine.json"));
    for verb in ["check", "update", "quarantine list", "quarantine clear --all"] {
        let refused = host.fails(1, &format!("updaterctl {verb}"));
        let told = "was written by a newer version of updaterd (schema 99";
        assert!(refused.stderr.contains(told), "{}", refused.describe());
    }
    host.sh(&format!("grep 99 {ledger}/quarantine.json; rm {ledger}/quarantine.json"));
    host.sh("updaterctl update");
}
