//! What an operator asks: why a unit is not updated, and what is wrong with the host.

use crate::host::{Host, Outcome};
use crate::image::Image;
use crate::podman::{self, PodmanUnit};
use crate::someone::Someone;
use crate::units::{ContainerUnit, begin, configure_quiet};

cases![
    why_tells_how_a_unit_stands,
    why_tells_who_shares_podmans_tag,
    the_doctors_commands_mend_what_he_finds,
    the_doctor_finds_containers_that_cannot_be_served,
    the_doctor_looks_at_disks_and_credentials,
    the_doctor_looks_at_credentials_that_are_named,
    the_doctor_looks_after_users,
    the_doctor_needs_no_bus_and_no_registry,
];

/// Exit codes of `updaterctl`, as its manual has them.
const FAILED: i32 = 1;
const PARTLY: i32 = 3;

/// The answer is one line where there is nothing to warn of.
fn why(host: &Host, unit: &str) -> String {
    let said = host.sh(&format!("updaterctl why {unit}"));
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn why_tells_how_a_unit_stands(host: &Host) {
    let (registry, reference) = begin(host);
    ContainerUnit::new("app", &reference).start(host);
    assert!(why(host, "app").contains("up to date"));
    host.fails(FAILED, "updaterctl why nobody");

    registry.push("app:latest", &Image::app("v2"));
    assert!(why(host, "app").contains("\"updaterctl update app.service\" does it now"));
    host.sh("updaterctl update");
    assert!(why(host, "app").contains("its last update ended well"));
    let bad = registry.push("app:latest", &Image::crashing("v3"));
    host.fails(4, "updaterctl update");
    let clear = format!("updaterctl quarantine clear {}", &bad["sha256:".len()..][..12]);
    let said = why(host, "app");
    assert!(said.contains("quarantined digest") && said.contains(&clear), "{said}");
    host.sh("updaterctl rollback app");
    let said = why(host, "app");
    assert!(said.contains("its last update was taken back by hand"), "{said}");
    let answer = host.json("updaterctl why app --json");
    assert_eq!(answer["skipped"][0]["reason"], "quarantined", "{answer}");
    assert_eq!(answer["last"]["result"], "reverted", "{answer}");

    registry.down();
    let said = host.fails(PARTLY, "updaterctl why app");
    assert!(said.stdout.contains("check failed"), "{}", said.describe());
    host.sh("systemctl stop app.service");
    assert!(why(host, "app").contains("start it, or add the label"));
}

fn why_tells_who_shares_podmans_tag(host: &Host) {
    podman::configure(host);
    let (_registry, reference) = begin(host);
    PodmanUnit::new("app", &reference).start(host);
    PodmanUnit::new("held", &reference).policy("disabled").start(host);
    PodmanUnit::new("beside", &reference).unlabelled().start(host);
    let said = host.sh("updaterctl why app");
    for (container, why) in [("held", "is disabled"), ("beside", "has no update label")] {
        assert!(said.contains(&format!("warning: container {container} {why}")), "{said}");
    }
    let said = host.sh("updaterctl why held");
    assert!(said.starts_with("held.service: left alone"), "{said}");
    assert!(said.contains("warning: container held is disabled"), "{said}");
    host.sh("updaterctl check --json | grep -q '\"unlabelled\"'");
}

/// What `doctor --json` found, as kinds and commands.
fn findings(outcome: &Outcome) -> Vec<(String, String)> {
    let Ok(document) = serde_json::from_str::<serde_json::Value>(&outcome.stdout) else {
        panic!("{}", outcome.describe());
    };
    let word = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let found: Vec<_> = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (word(finding, "finding"), word(finding, "mend")))
        .collect();
    assert_eq!(outcome.status, if found.is_empty() { 0 } else { PARTLY }, "{}", outcome.describe());
    found
}

fn kinds(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(kind, _)| kind.as_str()).collect()
}

/// A host on which passes are made, and Podman's timer is off.
fn mend(host: &Host) {
    host.sh("systemctl disable --quiet --now podman-auto-update.timer || true
         systemctl enable --quiet --now updaterd-check.timer");
}

fn doctor(host: &Host) -> Vec<(String, String)> {
    findings(&host.run("updaterctl doctor --json"))
}

fn the_doctors_commands_mend_what_he_finds(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    ContainerUnit::new("app", &reference).start(host);
    host.sh("systemctl disable --quiet --now updaterd-check.timer updaterd.service || true
         systemctl enable --quiet --now podman-auto-update.timer");
    let bad = registry.push("app:latest", &Image::crashing("v2"));
    host.fails(4, "updaterctl update");
    let found = doctor(host);
    assert_eq!(kinds(&found), ["nobody-checks", "podmans-timer", "quarantined"]);
    assert!(found[2].1.ends_with(&bad["sha256:".len()..][..12]), "{found:?}");
    let told = host.fails(PARTLY, "updaterctl doctor");
    for (_, mend) in &found {
        assert!(told.stdout.contains(&format!("\n    {mend}\n")), "{}", told.describe());
    }

    registry.push("app:latest", &Image::app("v3"));
    found.iter().for_each(|(_, mend)| drop(host.sh(mend)));
    host.sh("updaterctl update");
    assert_eq!(host.sh("updaterctl doctor"), "Nothing is wrong.");
    assert_eq!(doctor(host), []);
    // The service is to make passes now, and does not.
    host.write("/etc/updaterd/updaterd.toml", "interval = \"1h\"\n");
    let found = doctor(host);
    assert_eq!(kinds(&found), ["nobody-checks"]);
    host.sh(&found[0].1);
    assert_eq!(host.sh("updaterctl doctor"), "Nothing is wrong.");
}

fn the_doctor_finds_containers_that_cannot_be_served(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    mend(host);
    let digest = registry.push("app:latest", &Image::app("v1"));
    let pinned = reference.replace(":latest", &format!("@{digest}"));
    PodmanUnit::new("app", &reference).start(host);
    PodmanUnit::new("beside", &reference).unlabelled().start(host);
    PodmanUnit::new("pinned", &pinned).start(host);
    PodmanUnit::new("odd", &reference).policy("sometimes").start(host);
    let label = "--label io.containers.autoupdate=registry";
    host.sh(&format!("podman run -d --name alone --network host {label} {reference}"));
    // A unit that calls for a program that is not there.
    ContainerUnit::new("web", &reference).flag("--init").write(host);
    host.sh("rm -f /usr/bin/catatonit /usr/libexec/podman/catatonit /usr/lib/podman/catatonit");
    let found = doctor(host);
    let expected = ["no-unit", "invalid-policy", "pinned", "shared-tag", "missing-helper"];
    let mut some = kinds(&found);
    some.dedup();
    assert_eq!(some, expected, "{found:?}");
    let of = |kind: &str| found.iter().find(|(found, _)| found == kind).unwrap().1.as_str();
    assert_eq!(of("no-unit"), "podman generate systemd --new --files --name alone");
    assert_eq!(of("pinned"), "systemctl edit --full pinned.service");
    assert!(found.iter().any(|(_, mend)| mend == "apt install catatonit"), "{found:?}");
    // One as the commands say.
    host.sh(&format!(
        "cd /etc/systemd/system; {}; podman rm -f -t 0 alone
         systemctl daemon-reload; systemctl start container-alone.service",
        of("no-unit")
    ));
    assert!(!kinds(&doctor(host)).contains(&"no-unit"));
}

fn the_doctor_looks_at_disks_and_credentials(host: &Host) {
    configure_quiet(host);
    mend(host);
    host.write("/run/containers/0/auth.json", "{\"auths\": {\"quay.io\": {\"auth\": \"YTpi\"}}}");
    host.sh("mount -t tmpfs -o size=64m tmpfs /var/lib/updaterd
         dd if=/dev/zero of=/var/lib/updaterd/ballast bs=1M count=60 status=none");
    let found = doctor(host);
    assert_eq!(kinds(&found), ["volatile-credentials", "disk-nearly-full"]);
    host.sh(&format!("{}; rm /var/lib/updaterd/ballast", found[0].1));
    assert_eq!(doctor(host), []);
}

fn the_doctor_looks_at_credentials_that_are_named(host: &Host) {
    let (_registry, reference) = begin(host);
    mend(host);
    let named = |file: &str| {
        let label = format!("--label io.containers.autoupdate.authfile={file}");
        ContainerUnit::new("app", &reference).flag(&label).write(host);
        host.sh("systemctl restart app.service");
    };
    host.write("/run/named.json", "{\"auths\": {\"quay.io\": {\"auth\": \"YTpi\"}}}");
    named("/run/named.json");
    let copy = "install -D -m 600 /run/named.json /root/.config/containers/named.json";
    let kind = "volatile-credentials".to_owned();
    let of_unit = (kind.clone(), format!("{copy} && systemctl edit --full app.service"));
    assert_eq!(doctor(host), [of_unit]);
    host.sh(copy);
    named("/root/.config/containers/named.json");
    assert_eq!(doctor(host), []);
    host.sh("rm /root/.config/containers/named.json");
    named("");

    let caller = host.run("REGISTRY_AUTH_FILE=/run/named.json updaterctl doctor --json");
    let set = "export REGISTRY_AUTH_FILE=/root/.config/containers/named.json";
    assert_eq!(findings(&caller), [(kind.clone(), format!("{copy} && {set}"))]);
    host.write(
        "/etc/systemd/system/updaterd.service.d/login.conf",
        "[Service]\nEnvironment=REGISTRY_AUTH_FILE=/run/named.json\n",
    );
    host.sh("systemctl daemon-reload");
    let of_service = [(kind, format!("{copy} && systemctl edit updaterd.service"))];
    assert_eq!(doctor(host), of_service);
    // Files count more than it, the last one most.
    host.write(
        "/etc/systemd/system/updaterd.service.d/login.conf",
        "[Service]\nEnvironment=REGISTRY_AUTH_FILE=/root/other.json\n\
         EnvironmentFile=-/etc/updaterd/none\nEnvironmentFile=/etc/updaterd/*.env\n",
    );
    host.write("/root/other.json", "{}");
    host.write("/etc/updaterd/a.env", "REGISTRY_AUTH_FILE=/run/none.json\n");
    host.write("/etc/updaterd/b.env", "# Logins\nREGISTRY_AUTH_FILE = '/run/named.json'\n");
    host.sh("systemctl daemon-reload");
    assert_eq!(doctor(host), of_service);
    host.sh("rm /etc/updaterd/*.env");
    assert_eq!(doctor(host), []);
}

fn the_doctor_looks_after_users(host: &Host) {
    let someone = Someone::new(host);
    host.write("/home/someone/.config/updaterd/updaterd.toml", "schedule = \"timer\"\n");
    host.sh("chown -R someone: /home/someone/.config");
    host.sh("systemctl --global disable --quiet podman-auto-update.timer || true");
    someone.sh("systemctl --user stop podman-auto-update.timer || true");
    let user = || findings(&someone.run("updaterctl doctor --json"));
    let found = user();
    assert_eq!(kinds(&found), ["nobody-checks"]);
    someone.sh(&found[0].1);
    assert_eq!(user(), []);
    // Without ending the manager that is to answer.
    host.sh("rm /var/lib/systemd/linger/someone");
    let found = user();
    assert_eq!(found, [("no-linger".to_owned(), "loginctl enable-linger someone".to_owned())]);
    host.sh(&found[0].1);
    someone.write("web", "", "localhost:5000/app:latest", "");
    host.sh("chmod -x /usr/bin/newuidmap; mv /usr/bin/newuidmap /usr/bin/newuidmap.away");
    let found = user();
    assert!(found.contains(&("missing-helper".into(), "apt install uidmap".into())), "{found:?}");
}

fn the_doctor_needs_no_bus_and_no_registry(host: &Host) {
    let (registry, reference) = begin(host);
    mend(host);
    ContainerUnit::new("app", &reference).start(host);
    registry.down();
    host.sh("systemctl mask --now dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket");
    let found = doctor(host);
    assert_eq!(found, [("check-failed".to_owned(), "updaterctl why app.service".to_owned())]);
}
