//! Units of one group: their images go together, forward and back.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::podman::{self, PodmanUnit};
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure, configure_quiet, version};

cases![
    a_client_and_its_database_are_restarted_once_each,
    one_that_fails_takes_its_group_back_and_the_same_is_not_tried_again,
    a_database_that_fails_takes_its_client_back,
    who_gets_no_image_holds_up_nobody,
    an_image_does_not_say_which_group_it_is_of,
    podmans_units_go_together_forward_and_back,
    a_pod_goes_with_its_group,
];

/// Exit code of `updaterctl update`, as its manual has it.
const ROLLED_BACK: i32 = 4;

const GROUPED: &str =
    "schedule = \"timer\"\nsettle = \"2s\"\n[unit.\"db.service\"]\ngroup = \"web\"\n";

/// `db` is of the group by the configuration, `app`, which needs it, by its label.
fn start_pair<'a>(host: &'a Host) -> Registry<'a> {
    let registry = Registry::start(host);
    configure(host, GROUPED);
    push(&registry, &[("db", Image::app("v1")), ("app", Image::app("v1"))]);
    ContainerUnit::new("db", &registry.reference("db:latest")).start(host);
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .unit_setting("Requires=db.service\nAfter=db.service")
        .flag("--label org.updaterd.group=web")
        .start(host);
    registry
}

fn push(registry: &Registry<'_>, images: &[(&str, Image)]) {
    for (name, image) in images {
        registry.push(&format!("{name}:latest"), image);
    }
}

fn starts(host: &Host, unit: &str) -> usize {
    host.journal(&format!("--unit={unit}")).matches(&format!("Started {unit}")).count()
}

#[track_caller]
fn assert_versions(host: &Host, expected: &str) {
    for name in ["app", "db"] {
        assert_eq!(version(host, name), expected, "{name}");
        assert_eq!(host.property(&format!("{name}.service"), "ActiveState"), "active", "{name}");
    }
}

fn a_client_and_its_database_are_restarted_once_each(host: &Host) {
    let registry = start_pair(host);
    push(&registry, &[("db", Image::app("v2")), ("app", Image::app("v2"))]);
    let check = host.sh("updaterctl check");
    assert_eq!(check.matches("with its group web").count(), 2, "{check}");
    let why = host.sh("updaterctl why app.service");
    assert!(why.contains("together with db.service (group web)"), "{why}");
    // Who is asked for brings its group.
    host.sh("updaterctl update app.service");
    assert_versions(host, "v2");
    assert_eq!((starts(host, "app.service"), starts(host, "db.service")), (2, 2));
    let journal = host.sh("journalctl --sync; journalctl");
    assert!(journal.contains("together with app.service (group web)"));
    assert_eq!(host.sh("ls /var/lib/updaterd/ledger/rollouts"), "");
}

fn one_that_fails_takes_its_group_back_and_the_same_is_not_tried_again(host: &Host) {
    let registry = start_pair(host);
    push(&registry, &[("db", Image::app("v2")), ("app", Image::crashing_later("v2"))]);
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("app.service, which it goes with"), "{}", outcome.describe());
    assert_versions(host, "v1");
    let restarts = || (starts(host, "app.service"), starts(host, "db.service"));
    let before = restarts();
    let again = host.run("updaterctl update");
    assert!(
        again.said().contains("its group web failed with these images"),
        "{}",
        again.describe()
    );
    assert_eq!(restarts(), before, "{}", again.describe());
    let held = host.sh("updaterctl quarantine list");
    assert!(held.contains("new as well"), "{held}");
    // Another image of one of them is another chance for both.
    push(&registry, &[("app", Image::app("v2"))]);
    host.sh("updaterctl update");
    assert_versions(host, "v2");
}

fn a_database_that_fails_takes_its_client_back(host: &Host) {
    let registry = start_pair(host);
    for bad in [Image::crashing_later("v2"), Image::app("v3").with("Cmd", ["/no/such/program"])] {
        push(&registry, &[("app", Image::app("v2")), ("db", bad)]);
        host.fails(ROLLED_BACK, "updaterctl update");
        assert_versions(host, "v1");
    }
    let held = host.json("updaterctl quarantine list --json");
    let units: Vec<_> = held.as_array().unwrap().iter().map(|held| &held["unit"]).collect();
    assert_eq!(units, ["db.service", "db.service"], "{held}");
}

fn who_gets_no_image_holds_up_nobody(host: &Host) {
    let registry = start_pair(host);
    ContainerUnit::new("db", &registry.reference("db:latest")).unlabelled().write(host);
    host.sh("systemctl restart db.service; systemctl start app.service");
    push(&registry, &[("app", Image::app("v2")), ("db", Image::app("v2"))]);
    host.sh("updaterctl update");
    assert_eq!((version(host, "app"), version(host, "db")), ("v2".into(), "v1".into()));
}

fn an_image_does_not_say_which_group_it_is_of(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    let labels = || serde_json::json!({"org.updaterd.group": "web"});
    let image = |version: &str| Image::app(version).with("Labels", labels());
    for name in ["app", "db"] {
        push(&registry, &[(name, image("v1"))]);
        ContainerUnit::new(name, &registry.reference(&format!("{name}:latest"))).start(host);
        push(&registry, &[(name, image("v2"))]);
    }
    let check = host.json("updaterctl check --json");
    assert_eq!(check["rollouts"].as_array().unwrap().len(), 2, "{check}");
    assert!(!check.to_string().contains("group"), "{check}");
    // A label of the container's that is no name holds its unit up, and no other one.
    push(&registry, &[("odd", Image::app("v1"))]);
    ContainerUnit::new("odd", &registry.reference("odd:latest"))
        .flag("--label org.updaterd.group=-web")
        .start(host);
    push(&registry, &[("odd", Image::app("v2"))]);
    let outcome = host.run("updaterctl update");
    assert!(outcome.said().contains("odd.service: invalid group"), "{}", outcome.describe());
    let versions = ["app", "db", "odd"].map(|name| version(host, name));
    assert_eq!(versions, ["v2", "v2", "v1"]);
}

fn podmans_units_go_together_forward_and_back(host: &Host) {
    let registry = podman::prepare(host);
    configure(host, GROUPED);
    push(&registry, &[("db", Image::app("v1")), ("app", Image::app("v1"))]);
    PodmanUnit::new("db", &registry.reference("db:latest")).start(host);
    let needs = "[Unit]\nRequires=db.service\nAfter=db.service\n[Service]";
    PodmanUnit::new("app", &registry.reference("app:latest"))
        .flag("--label org.updaterd.group=web")
        .setting(needs)
        .start(host);
    let versions = || ["app", "db"].map(|name| podman::version(host, name));
    host.wait_until("both run", seconds(20), || versions() == ["v1", "v1"]);
    push(&registry, &[("db", Image::app("v2")), ("app", Image::app("v2"))]);
    let before = [starts(host, "app.service"), starts(host, "db.service")];
    host.sh("updaterctl update");
    assert_eq!(versions(), ["v2", "v2"]);
    let after = [starts(host, "app.service"), starts(host, "db.service")];
    assert_eq!(after, before.map(|starts| starts + 1));

    push(&registry, &[("db", Image::app("v3")), ("app", Image::crashing_later("v3"))]);
    host.fails(ROLLED_BACK, "updaterctl update");
    host.wait_until("both are back", seconds(20), || versions() == ["v2", "v2"]);
    let again = host.run("updaterctl update");
    assert!(
        again.said().contains("its group web failed with these images"),
        "{}",
        again.describe()
    );
    assert_eq!(versions(), ["v2", "v2"]);
}

/// Two images of one unit and one of another.
fn a_pod_goes_with_its_group(host: &Host) {
    let registry = podman::prepare(host);
    let settings = "schedule = \"timer\"\nsettle = \"2s\"\n\
                    [unit.\"pod-pod.service\"]\ngroup = \"web\"\n\
                    [unit.\"app.service\"]\ngroup = \"web\"\n";
    configure(host, settings);
    let names = ["front", "back", "app"];
    names.iter().for_each(|name| push(&registry, &[(name, Image::app("v1"))]));
    podman::start_pod(&registry, host, &["front", "back"]);
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    let versions = || names.map(|name| podman::version(host, name));
    host.wait_until("all run", seconds(20), || versions() == ["v1", "v1", "v1"]);
    let pod = || host.journal("--unit=pod-pod").matches("Started pod-pod").count();
    let before = [pod(), starts(host, "app.service")];
    names.iter().for_each(|name| push(&registry, &[(name, Image::app("v2"))]));
    host.sh("updaterctl update");
    assert_eq!(versions(), ["v2", "v2", "v2"]);
    assert_eq!([pod(), starts(host, "app.service")], before.map(|starts| starts + 1));

    push(&registry, &[("front", Image::app("v3")), ("app", Image::app("v3"))]);
    push(&registry, &[("back", Image::crashing_later("v3"))]);
    host.fails(ROLLED_BACK, "updaterctl update");
    host.wait_until("all are back", seconds(30), || versions() == ["v2", "v2", "v2"]);
}
