//! Units that an operator has go back: out of storage, verified, and the image does not come again.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::podman::{self, PodmanUnit};
use crate::registry::Registry;
use crate::someone::Someone;
use crate::units::{ContainerUnit, begin, configure_quiet, invocation, version};

cases![
    a_unit_goes_back_while_the_registry_is_down,
    a_unit_goes_back_to_a_named_digest,
    without_a_bus_it_goes_back_as_well,
    a_unit_that_died_of_its_image_comes_up_again,
    an_image_that_does_not_work_any_more_gives_way,
    a_stopped_unit_is_not_started,
    who_shares_podmans_tag_goes_back_as_well,
    a_failed_update_does_not_cost_podmans_way_back,
    a_pod_goes_back_by_one_restart,
    a_users_unit_goes_back,
];

/// Exit codes of `updaterctl`, as its manual has them.
const REFUSED: i32 = 1;
const ROLLED_BACK: i32 = 4;

fn update(host: &Host, registry: &Registry, version: &str) -> String {
    let digest = registry.push("app:latest", &Image::app(version));
    host.sh("updaterctl update");
    digest
}

fn short(digest: &str) -> &str {
    &digest["sha256:".len()..][..12]
}

fn a_unit_goes_back_while_the_registry_is_down(host: &Host) {
    let (registry, reference) = begin(host);
    ContainerUnit::new("app", &reference).start(host);
    ContainerUnit::new("sibling", &reference).start(host);
    let never = host.fails(REFUSED, "updaterctl rollback app");
    assert!(never.stderr.contains("no update is recorded"), "{}", never.describe());
    let second = update(host, &registry, "v2");
    registry.down();
    host.sh("updater-launch image prune --all --force");

    let said = host.sh("updaterctl rollback app");
    assert!(said.contains("reverted") && said.contains("by an operator"), "{said}");
    assert_eq!(version(host, "app"), "v1");
    assert_eq!(version(host, "sibling"), "v2", "it was not asked for");
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v1", "a restart by hand changes nothing");
    let history = host.json("updaterctl history app --json");
    assert_eq!(history[0]["result"], "reverted", "{history}");
    assert_eq!(history[0]["trigger"], "rollback", "{history}");
    let journal = host.journal("MESSAGE_ID=78848428487d45e5a0611535e4c9d8b9");
    assert!(journal.contains("app.service: reverted"), "{journal}");

    registry.up();
    let check = host.sh("updaterctl check");
    assert!(check.contains(&format!("quarantined digest {}", short(&second))), "{check}");
    assert!(check.contains("rolled back by an operator"), "{check}");
    let settled = invocation(host, "app");
    host.sh("updaterctl update");
    assert_eq!(invocation(host, "app"), settled, "the image came again");
    host.sh(&format!("updaterctl quarantine clear {}", short(&second)));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

fn a_unit_goes_back_to_a_named_digest(host: &Host) {
    let (registry, reference) = begin(host);
    ContainerUnit::new("app", &reference).start(host);
    let second = update(host, &registry, "v2");
    let third = update(host, &registry, "v3");
    let first = host.json("updaterctl history app --json")[1]["old"].as_str().unwrap().to_owned();
    for wrong in ["0123456789ab", "sha256:", "nonsense"] {
        let refused = host.fails(REFUSED, &format!("updaterctl rollback app --to {wrong}"));
        assert!(refused.stderr.contains(short(&first)), "{}", refused.describe());
        assert!(refused.stderr.contains(short(&second)), "{}", refused.describe());
    }
    let there = host.fails(REFUSED, &format!("updaterctl rollback app --to {third}"));
    assert!(there.stderr.contains("already"), "{}", there.describe());
    assert_eq!(version(host, "app"), "v3");
    host.sh(&format!("updaterctl rollback app --to {}", &short(&first)[..7]));
    assert_eq!(version(host, "app"), "v1");
    let again = host.fails(REFUSED, "updaterctl rollback app");
    assert!(again.stderr.contains("was rolled back already"), "{}", again.describe());
    host.sh(&format!("updaterctl rollback app --to {second}"));
    assert_eq!(version(host, "app"), "v2");
    host.fails(2, "updaterctl rollback");
}

fn without_a_bus_it_goes_back_as_well(host: &Host) {
    let (registry, reference) = begin(host);
    host.sh("systemctl mask --now dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket");
    ContainerUnit::new("app", &reference).start(host);
    update(host, &registry, "v2");
    registry.down();
    host.sh("updaterctl rollback app");
    assert_eq!(version(host, "app"), "v1");
}

/// It passed as an update, and broke later: nothing of it runs any more.
fn a_unit_that_died_of_its_image_comes_up_again(host: &Host) {
    let (registry, reference) = begin(host);
    host.write("/srv/works", "yes\n");
    ContainerUnit::new("app", &reference).flag("--volume /srv:/srv").start(host);
    let until_broken =
        "trap 'exit 0' TERM\nwhile grep -q yes /srv/works; do sleep 0.2; done\nexit 3";
    registry.push("app:latest", &Image::script("v2", until_broken));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    host.write("/srv/works", "no\n");
    host.wait_for("systemctl is-failed app.service", seconds(20));
    registry.down();
    host.sh("updaterctl rollback app");
    assert_eq!(version(host, "app"), "v1");
    assert_eq!(host.property("app.service", "ActiveState"), "active");
}

/// As after a migration of its data: the unit stays up on what it ran.
fn an_image_that_does_not_work_any_more_gives_way(host: &Host) {
    configure_quiet(host);
    let registry = Registry::start(host);
    host.write("/srv/works", "yes\n");
    let needs_file = "sleep 0.3\ngrep -q yes /srv/works || exit 3\n\
                      trap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done";
    registry.push("app:latest", &Image::script("v1", needs_file));
    let reference = registry.reference("app:latest");
    ContainerUnit::new("app", &reference).flag("--volume /srv:/srv").start(host);
    update(host, &registry, "v2");
    host.write("/srv/works", "no\n");
    let outcome = host.fails(ROLLED_BACK, "updaterctl rollback app");
    assert!(outcome.stdout.contains("rolled back"), "{}", outcome.describe());
    assert_eq!(version(host, "app"), "v2");
    assert_eq!(host.property("app.service", "ActiveState"), "active");
}

fn a_stopped_unit_is_not_started(host: &Host) {
    let (registry, reference) = begin(host);
    ContainerUnit::new("app", &reference).start(host);
    update(host, &registry, "v2");
    host.sh("systemctl stop app.service");
    let said = host.sh("updaterctl rollback app");
    assert!(said.contains("at its next start"), "{said}");
    assert_eq!(host.property("app.service", "ActiveState"), "inactive");
    host.sh("systemctl start app.service");
    assert_eq!(version(host, "app"), "v1");
}

/// The service, confined as it is, does it: Podman has no bindings, so that all follow the tag.
fn who_shares_podmans_tag_goes_back_as_well(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    for unit in ["one", "two"] {
        PodmanUnit::new(unit, &reference).start(host);
    }
    PodmanUnit::new("beside", &reference).unlabelled().start(host);
    let second = update(host, &registry, "v2");
    registry.down();
    let said = host.sh("updaterctl rollback one");
    assert!(said.contains("two.service goes back as well"), "{said}");
    assert!(said.contains("container beside is left alone"), "{said}");
    for unit in ["one", "two"] {
        assert_eq!(podman::version(host, unit), "v1");
    }
    registry.up();
    let check = host.sh("updaterctl check");
    assert!(check.contains(&format!("quarantined digest {}", short(&second))), "{check}");
    let settled = invocation(host, "one");
    host.sh("updaterctl update");
    assert_eq!(invocation(host, "one"), settled, "the image came again");
    host.sh(&format!("updaterctl rollback one --to {second}"));
    for unit in ["one", "two"] {
        assert_eq!(podman::version(host, unit), "v2");
    }
}

fn a_failed_update_does_not_cost_podmans_way_back(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    PodmanUnit::new("app", &reference).start(host);
    update(host, &registry, "v2");
    registry.push("app:latest", &Image::crashing_later("v3"));
    host.fails(ROLLED_BACK, "updaterctl update");
    assert_eq!(podman::version(host, "app"), "v2");
    registry.down();
    host.sh("podman image prune -f; updaterctl rollback app");
    assert_eq!(podman::version(host, "app"), "v1");
}

/// What its last update brought goes back, and no more.
fn a_pod_goes_back_by_one_restart(host: &Host) {
    podman::configure(host);
    configure_quiet(host);
    let registry = Registry::start(host);
    let push = |app: &str, version: &str| registry.push(app, &Image::app(version));
    let apps = ["front", "back"];
    apps.iter().for_each(|app| drop(push(app, "v1")));
    podman::start_pod(&registry, host, &apps);
    let versions = || apps.map(|app| podman::version(host, app));
    host.wait_until("both run", seconds(20), || versions() == ["v1", "v1"]);
    apps.iter().for_each(|app| drop(push(app, "v2")));
    host.sh("updaterctl update");
    assert_eq!(versions(), ["v2", "v2"]);

    registry.down();
    let starts = || host.journal("--unit=pod-pod").matches("Started pod-pod").count();
    let before = starts();
    host.sh("updaterctl rollback pod-pod");
    assert_eq!(versions(), ["v1", "v1"]);
    assert_eq!(starts(), before + 1);

    registry.up();
    push("front", "v3");
    host.sh("updaterctl update; updaterctl quarantine clear --all; updaterctl update");
    assert_eq!(versions(), ["v3", "v2"]);
    host.sh("updaterctl rollback pod-pod");
    assert_eq!(versions(), ["v3", "v1"], "back was updated last");
}

/// By the user's own service, on the session bus.
fn a_users_unit_goes_back(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let reference = registry.reference("app:latest");
    let someone = Someone::new(host);
    let settings = "schedule = \"timer\"\nsettle = \"1s\"\n";
    host.write("/home/someone/.config/updaterd/updaterd.toml", settings);
    let flags = "--sdnotify=conmon --network host --label io.containers.autoupdate=registry";
    someone.start("app", flags, &reference, "");
    registry.push("app:latest", &Image::app("v2"));
    someone.sh("updaterctl update");
    assert_eq!(someone.version("app"), "v2");
    registry.down();
    let said = someone.sh("updaterctl rollback app");
    assert!(said.contains("reverted"), "{said}");
    assert_eq!(someone.version("app"), "v1");
    host.sh("grep -q rolled.back /home/someone/.local/share/updaterd/ledger/quarantine.json");
}
