//! Names without a registry: what they stand for, side by side with Podman.

use crate::host::Host;
use crate::image::Image;
use crate::registry::{Access, Registry};
use crate::units::{ContainerUnit, configure_quiet, version};

cases![short_names_stand_for_what_they_do_for_podman, a_unit_with_a_short_name_is_updated];

const CONF: &str = "/etc/containers/registries.conf.d/zz-names.conf";

/// Both pull it, as the image that has this full name; or both refuse.
fn both(host: &Host, name: &str, full: Option<&str>) {
    for pull in ["podman pull --quiet", "updater-launch pull --quiet --retry=0"] {
        let engine = pull.split(' ').next().unwrap();
        let outcome = host.run(&format!("{pull} {name}"));
        match full {
            Some(full) => {
                assert_eq!(outcome.status, 0, "{pull} {name}: {}", outcome.describe());
                host.sh(&format!("{engine} image exists {full} && {engine} rmi {full}"));
            }
            None => assert_eq!(outcome.status, 125, "{pull} {name}: {}", outcome.describe()),
        }
    }
}

fn short_names_stand_for_what_they_do_for_podman(host: &Host) {
    let (one, two) = (Registry::start(host), Registry::start_with(host, Access::Plain, 5001));
    for (registry, image) in [
        (&one, "app:latest"),
        (&one, "team/app:1"),
        (&two, "app:latest"),
        (&two, "only:latest"),
        (&two, "library/deep:1"),
    ] {
        registry.push(image, &Image::app("v1"));
    }
    let conf = |text: &str| host.write(CONF, text);
    let search = "unqualified-search-registries = [\"localhost:5000\", \"localhost:5001\"]\n";
    let aliases =
        "[aliases]\n\"app\" = \"localhost:5001/app\"\n\"x/y\" = \"localhost:5001/library/deep\"\n";

    both(host, "app", None);
    conf(search);
    both(host, "app", Some("localhost:5000/app:latest"));
    both(host, "team/app:1", Some("localhost:5000/team/app:1"));
    both(host, "only", Some("localhost:5001/only:latest"));
    for name in ["nowhere", "App", "app:", "deep:1"] {
        both(host, name, None);
    }
    conf(&format!("short-name-mode = \"enforcing\"\n{search}{aliases}"));
    both(host, "app", Some("localhost:5001/app:latest"));
    both(host, "x/y:1", Some("localhost:5001/library/deep:1"));
    both(host, "only", None);
    let told = host.fails(125, "updater-launch run --network host only").stderr;
    for part in [
        "localhost:5000/only:latest or localhost:5001/only:latest",
        "nobody here to be asked",
        CONF,
    ] {
        assert!(told.contains(part), "{told}");
    }
    conf(&format!("short-name-mode = \"disabled\"\n{search}"));
    both(host, "only", Some("localhost:5001/only:latest"));
    let told = host.run("updater-launch pull --retry=0 only").stderr;
    for part in [
        format!("Resolving \"only\" using unqualified-search registries ({CONF})"),
        "Trying to pull localhost:5001/only:latest...".to_owned(),
    ] {
        assert!(told.contains(&part), "{told}");
    }
    let told = host.fails(125, "updater-launch pull --retry=0 nowhere").stderr;
    assert!(
        told.contains("localhost:5000/nowhere") && told.contains("localhost:5001/nowhere"),
        "{told}"
    );
    // What people chose for Podman counts before what is written.
    conf(&format!("{search}{aliases}"));
    let chosen = "/var/cache/containers/short-name-aliases.conf";
    host.write(chosen, "[aliases]\n  app = \"localhost:5000/app\"\n");
    both(host, "app", Some("localhost:5000/app:latest"));
    host.sh(&format!("rm {chosen}"));

    // In storage they are found without any registry, in one order.
    let full = ["localhost:5001/app:latest", "localhost:5000/app:latest"];
    for engine in ["podman", "updater-launch"] {
        host.sh(&format!("{engine} pull --quiet localhost:5000/team/app:1
             {engine} tag localhost:5000/team/app:1 {} {} own docker.io/library/hub:1 quay.io/a/far:2", full[0], full[1]));
        host.sh(&format!("{engine} image exists localhost/own:latest"));
    }
    one.down();
    two.down();
    for engine in ["podman", "updater-launch"] {
        for name in ["own", "hub:1", "far:2", "a/far:2", "team/app:1", "app"] {
            host.sh(&format!("{engine} image exists {name}"));
        }
        host.fails(1, &format!("{engine} image exists far"));
        // The alias goes first.
        host.sh(&format!("{engine} rmi app && ! {engine} image exists {}", full[0]));
        host.sh(&format!("{engine} image exists {}", full[1]));
    }
    for name in ["own", "hub:1", "far:2", "team/app:1"] {
        let run = format!("updater-launch run --rm --network host {name} cat /app/version");
        assert_eq!(host.sh(&run), "v1", "{name}");
    }
}

fn a_unit_with_a_short_name_is_updated(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    host.write(CONF, "unqualified-search-registries = [\"localhost:5000\"]\n");
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", "app").start(host);
    let full = "localhost:5000/app:latest";
    assert_eq!(host.json("updater-launch inspect app")[0]["ImageName"], full);
    registry.push("app:latest", &Image::app("v2"));
    let told = host.sh("updaterctl update");
    assert!(told.contains(full), "{told}");
    assert_eq!(version(host, "app"), "v2");
    // Whatever becomes of the registry and of the configuration, it starts on what is there.
    registry.down();
    host.sh(&format!("rm {CONF}; systemctl restart app.service"));
    assert_eq!(version(host, "app"), "v2");
    host.write(CONF, "unqualified-search-registries = 7\n");
    let refused = host.fails(125, "updater-launch run --network host other").stderr;
    assert!(refused.contains(CONF) && refused.contains("line 1"), "{refused}");
    // An image is found by its ID all the same.
    let id = host.sh("updater-launch images --quiet | head -n 1");
    host.sh(&format!("updater-launch image exists {}", id.trim_start_matches("sha256:")));
}
