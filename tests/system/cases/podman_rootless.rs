//! An ordinary user's Podman: its containers are that user's `updaterd`'s, and nobody else's.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::podman::{PodmanUnit, configure, configure_user, version};
use crate::registry::Registry;
use crate::someone::Someone;
use crate::units::configure_quiet;

cases![
    what_podman_generates_is_updated_and_rolled_back,
    the_users_service_updates_by_itself,
    a_user_has_both_engines,
    a_users_pod_is_restarted_once,
    root_and_a_user_leave_each_other_alone,
    an_images_labels_restart_nothing_of_the_users,
];

/// Exit codes of `updaterctl`, as its manual has them.
const ROLLED_BACK: i32 = 4;
const PARTLY: i32 = 3;

fn prepare(host: &Host) -> (Registry<'_>, Someone<'_>) {
    let registry = Registry::start(host);
    let someone = Someone::new(host);
    settings(host, "schedule = \"timer\"\nsettle = \"1s\"\n");
    configure_user(host);
    // The first call after a boot makes the user namespace of all later ones, and ends before systemd
    // has read what it said of its unit.
    someone.sh("podman info > /dev/null");
    (registry, someone)
}

fn settings(host: &Host, text: &str) {
    host.write("/home/someone/.config/updaterd/updaterd.toml", text);
    host.sh("chown -R someone: /home/someone/.config");
}

/// Has Podman make a container or a pod with `create`, write its units, and forget it.
fn generate(someone: &Someone<'_>, create: &str, name: &str, remove: &str) {
    someone.sh(&format!(
        "{create}
         mkdir -p ~/.config/systemd/user; cd ~/.config/systemd/user
         podman generate systemd --new --files --name --stop-timeout 1 {name}
         {remove}
         systemctl --user daemon-reload"
    ));
}

/// The unit as Podman wrote it, the same words as `podman auto-update`, and an outage that does not
/// come twice.
fn what_podman_generates_is_updated_and_rolled_back(host: &Host) {
    let (registry, someone) = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    let create = format!(
        "podman create --name app --network host --label io.containers.autoupdate=registry {app}"
    );
    generate(&someone, &create, "app", "podman rm app");
    someone.sh("systemctl --user start container-app.service");
    let status = someone.sh("updaterctl status --json");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["units"][0]["unit"], "container-app.service", "{status}");
    assert_eq!(status["units"][0]["engine"], "podman", "{status}");
    let check = someone.sh("updaterctl check");
    assert!(check.contains("1 up to date"), "{check}");

    registry.push("app:latest", &Image::app("v2"));
    let dry = ["podman", "updaterctl"]
        .map(|program| someone.sh(&format!("{program} auto-update --dry-run --format json")));
    let [theirs, ours] = dry.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
    assert_eq!(theirs, ours);
    let told = someone.sh("updaterctl update");
    assert!(told.contains("updated"), "{told}");
    assert_eq!(someone.podman_version("app"), "v2");
    // The user's service did it.
    assert_ne!(someone.property("updaterd.service", "ExecMainPID"), "0");
    registry.push("app:latest", &Image::app("v3"));
    let told = someone.sh("updaterctl auto-update --format '{{.Unit}} {{.Updated}}'");
    assert_eq!(
        (told.as_str(), someone.podman_version("app").as_str()),
        ("container-app.service true", "v3")
    );

    let events = "podman events --stream=false --since 1h --filter event=auto-update";
    host.sh("journalctl --sync");
    assert_eq!(someone.sh(events).lines().count(), 3, "Podman's dry run, and both of ours");

    registry.push("app:latest", &Image::crashing_later("v4"));
    let outcome = someone.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("rolled back"), "{}", outcome.describe());
    assert_eq!(someone.podman_version("app"), "v3");
    let full = someone.sh("updaterctl history container-app -v");
    assert!(full.contains("app v4 crashes"), "{full}");
    let after = someone.property("container-app.service", "InvocationID");
    let again = someone.run("updaterctl update");
    assert!(again.said().contains("quarantined"), "{}", again.describe());
    assert_eq!(someone.property("container-app.service", "InvocationID"), after);
    // A restart by hand does not bring the bad image either, and what ran before is kept.
    someone.sh("systemctl --user restart container-app.service");
    assert_eq!(someone.podman_version("app"), "v3");
    let kept = someone.sh("podman image prune --force > /dev/null; podman images --noheading");
    assert!(kept.contains("localhost/updaterd/keep/u-container-app-"), "{kept}");
}

fn the_users_service_updates_by_itself(host: &Host) {
    let (registry, someone) = prepare(host);
    settings(host, "interval = \"1s\"\njitter = \"0s\"\nsettle = \"1s\"\n");
    registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    someone.start_podman(PodmanUnit::new("app", &app));
    someone.sh("systemctl --user start updaterd.service");
    registry.push("app:latest", &Image::app("v2"));
    host.wait_until("it is updated", seconds(40), || {
        someone.run("updaterctl history --json").stdout.contains("\"updated\"")
    });
    assert_eq!(someone.podman_version("app"), "v2");
    registry.push("app:latest", &Image::crashing_later("v3"));
    host.wait_until("it is rolled back", seconds(40), || {
        someone.run("updaterctl history --json").stdout.contains("\"rolled-back\"")
    });
    assert_eq!(someone.podman_version("app"), "v2");
}

fn a_user_has_both_engines(host: &Host) {
    let (registry, someone) = prepare(host);
    let images = ["ours", "theirs"].map(|app| format!("{app}:latest"));
    let push =
        |new: &str| images.iter().for_each(|image| drop(registry.push(image, &Image::app(new))));
    push("v1");
    let [ours, theirs] = images.each_ref().map(|image| registry.reference(image));
    someone.start("ours", "--network host --label io.containers.autoupdate=registry", &ours, "");
    someone.start_podman(PodmanUnit::new("theirs", &theirs));
    let check = someone.sh("updaterctl check");
    assert!(check.contains("2 up to date"), "{check}");
    push("v2");
    someone.sh("updaterctl update");
    assert_eq!([someone.version("ours"), someone.podman_version("theirs")], ["v2", "v2"]);
    // Without Podman, the other one goes on.
    push("v3");
    settings(host, "schedule = \"timer\"\nsettle = \"1s\"\n[podman]\nprogram = \"/no/podman\"\n");
    someone.sh("systemctl --user stop updaterd.service");
    let outcome = someone.fails(PARTLY, "updaterctl update");
    assert!(outcome.said().contains("/no/podman is not there"), "{}", outcome.describe());
    assert_eq!([someone.version("ours"), someone.podman_version("theirs")], ["v3", "v2"]);
}

fn a_users_pod_is_restarted_once(host: &Host) {
    let (registry, someone) = prepare(host);
    let images = ["front:latest", "back:latest"];
    let push =
        |new: &str| images.iter().for_each(|image| drop(registry.push(image, &Image::app(new))));
    push("v1");
    let [front, back] = images.map(|image| registry.reference(image));
    let member = "podman create --pod pod --label io.containers.autoupdate=registry";
    let create = format!(
        "podman pod create --name pod --network host
         {member} --name front {front}; {member} --name back {back}"
    );
    generate(&someone, &create, "pod", "podman pod rm -f pod");
    someone.sh("systemctl --user start pod-pod.service");
    let versions = || ["front", "back"].map(|name| someone.podman_version(name));
    host.wait_until("both run", seconds(20), || versions() == ["v1", "v1"]);
    let starts =
        || host.journal("_SYSTEMD_USER_UNIT=init.scope").matches("Started pod-pod").count();
    let before = starts();
    push("v2");
    someone.sh("updaterctl update");
    assert_eq!(versions(), ["v2", "v2"]);
    assert_eq!(starts(), before + 1);
}

/// The same names and the same image on both sides; each sees its own, and each update moves one.
fn root_and_a_user_leave_each_other_alone(host: &Host) {
    configure(host);
    configure_quiet(host);
    let (registry, someone) = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    PodmanUnit::new("app", &app).start(host);
    someone.start_podman(PodmanUnit::new("app", &app));
    let invocations = || {
        [
            host.property("app.service", "InvocationID"),
            someone.property("app.service", "InvocationID"),
        ]
    };
    let before = invocations();
    registry.push("app:latest", &Image::app("v2"));
    for check in [host.sh("updaterctl check"), someone.sh("updaterctl check")] {
        assert!(check.contains("1 update available"), "{check}");
    }
    host.sh("updaterctl update");
    assert_eq!([version(host, "app"), someone.podman_version("app")], ["v2", "v1"]);
    assert_eq!(invocations()[1], before[1]);
    let roots = invocations()[0].clone();
    someone.sh("updaterctl update app.service");
    assert_eq!([version(host, "app"), someone.podman_version("app")], ["v2", "v2"]);
    assert_eq!(invocations()[0], roots);
    // Who has none sees none of the other's.
    host.sh("systemctl stop app.service");
    let theirs = host.json("updaterctl status --json");
    assert_eq!(theirs["units"].as_array().map(Vec::len), Some(0), "{theirs}");
    someone.sh("systemctl --user stop app.service");
    host.sh("systemctl start app.service");
    let theirs = someone.sh("updaterctl status --json");
    assert!(!theirs.contains("app.service"), "{theirs}");
}

/// A label that names a unit of the user's or of the host's does nothing to it.
fn an_images_labels_restart_nothing_of_the_users(host: &Host) {
    let (registry, someone) = prepare(host);
    for (name, unit) in [("mine", "dbus.service"), ("roots", "systemd-logind.service")] {
        let image = format!("{name}:latest");
        let labels = serde_json::json!({
            "PODMAN_SYSTEMD_UNIT": unit, "io.containers.autoupdate": "registry",
        });
        let hostile = |version: &str| Image::app(version).with("Labels", labels.clone());
        registry.push(&image, &hostile("v1"));
        let podman = PodmanUnit::new(name, &registry.reference(&image)).unlabelled().unclaimed();
        someone.start_podman(podman);
        registry.push(&image, &hostile("v2"));
    }
    let invocations = || {
        let mine = someone.property("dbus.service", "InvocationID");
        [mine, host.property("systemd-logind.service", "InvocationID")]
    };
    let before = invocations();
    let outcome = someone.fails(PARTLY, "updaterctl update");
    assert!(outcome.said().contains("claims dbus.service"), "{}", outcome.describe());
    assert_eq!(invocations(), before);
    assert_eq!(someone.podman_version("mine"), "v1");
    let outcome = host.run("updaterctl update");
    assert!(!outcome.said().contains("logind"), "{}", outcome.describe());
}
