//! Registries' hosts: those that are dead, beside one that is not, and those that stand in for others.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::impostor::{Impostor, response};
use crate::registry::{Access, Registry};
use crate::units::{ContainerUnit, configure, configure_quiet, version};

cases![
    a_host_that_drops_packets_delays_nobody,
    a_mirror_stands_in_for_its_registry,
    a_registrys_last_pulls_are_kept_for_who_needs_them,
];

const DEAD: &str = "10.255.255.1:5000";

/// More than are asked for at once.
const IMAGES: usize = 20;

/// `app` on a registry that answers, and units on many images of one that does not, which sort before.
fn start_all(host: &Host, registry: &Registry) {
    registry.push("app:latest", &Image::app("v1"));
    let live = registry.reference("app:latest");
    ContainerUnit::new("app", &live).start(host);
    for number in 0..IMAGES {
        let image = format!("{DEAD}/app{number}:latest");
        host.sh(&format!("updater-launch tag {live} {image}"));
        ContainerUnit::new(&format!("dead{number}"), &image).place(host);
    }
    host.sh(&format!("systemctl daemon-reload; systemctl start dead{{0..{}}}", IMAGES - 1));
}

fn a_host_that_drops_packets_delays_nobody(host: &Host) {
    let registry = Registry::start(host);
    configure(host, "schedule = \"timer\"\nsettle = \"2s\"\nchecks_in_flight = 8\n");
    host.black_hole();
    start_all(host, &registry);
    registry.push("app:latest", &Image::app("v2"));
    let asked = || {
        let requests = registry.requests();
        requests.iter().filter(|request| *request == "HEAD /v2/app/manifests/latest 200").count()
    };
    let before = asked();

    let start = std::time::Instant::now();
    host.sh("systemd-run --collect --unit=pass updaterctl update");
    // A connection is waited for 10 s.
    let answers = "the registry that answers is asked beside the other one";
    host.wait_until(answers, seconds(5), || asked() > before);
    let updated = "and its unit is updated after one wait, not one for each 8 images";
    host.wait_until(updated, seconds(18).saturating_sub(start.elapsed()), || {
        version(host, "app") == "v2"
    });
    host.wait_until("the pass ends", seconds(20), || {
        host.run("systemctl is-active pass.service").status != 0
    });

    let start = std::time::Instant::now();
    let soon = host.fails(3, "updaterctl update --trigger=timer");
    assert!(soon.stdout.contains("cooling down until"), "{}", soon.describe());
    assert!(start.elapsed() < seconds(5), "{:?}", start.elapsed());

    let told = host.sh("updaterctl status --registries");
    let row = |name: &str| told.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(row(DEAD).contains("unreachable") && row(DEAD).contains("20"), "{told}");
    assert!(row("localhost:5000").contains("answering"), "{told}");
    let json = host.json("updaterctl status --registries --json");
    let dead = &json["registries"][0];
    assert_eq!(
        (&dead["registry"], &dead["state"]),
        (&DEAD.into(), &"unreachable".into()),
        "{json}"
    );
    assert!(dead["next_try"].is_string() && dead["budget"].is_null(), "{json}");
}

/// Both ways: a registry that is away is not missed, nor is the mirror.
fn a_mirror_stands_in_for_its_registry(host: &Host) {
    let registry = Registry::start(host);
    let mirror = Registry::start_with(host, Access::Plain, 5001);
    registry.push("app:latest", &Image::app("v1"));
    host.write(
        "/etc/containers/registries.conf.d/5000.conf",
        "[[registry]]\nlocation = \"localhost:5000\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"localhost:5001\"\ninsecure = true\n",
    );
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    configure(host, "schedule = \"timer\"\nsettle = \"300ms\"\n");
    registry.down();
    mirror.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    registry.up();
    registry.push("app:latest", &Image::app("v3"));
    mirror.down();
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v3");
    registry.down();
    let told = host.run("updaterctl check");
    let told = told.describe();
    assert!(
        told.contains("the mirror localhost:5001") && told.contains("localhost:5000 cannot be"),
        "{told}"
    );
}

/// One that counts pulls, as Docker Hub does.
fn a_registrys_last_pulls_are_kept_for_who_needs_them(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.down();
    let impostor = Impostor::start(5000);
    let digest = format!("Docker-Content-Digest: sha256:{}", "0".repeat(64));
    impostor.answer(move |_| {
        let headers = ["ratelimit-limit: 100;w=600", "ratelimit-remaining: 10;w=600", &digest];
        response("200 OK", &headers, b"")
    });
    let scheduled = host.sh("updaterctl update --trigger=timer");
    let told = "10 of the 100 pulls of localhost:5000 are left";
    assert!(scheduled.contains(told), "{scheduled}");
    assert_eq!(heads_and_gets(&impostor), (1, 0), "a question costs nothing");
    // Over a restart: nothing but the ledger knows it.
    let status = host.sh("systemctl stop updaterd.service; updaterctl status --registries");
    assert!(status.contains("pulls spent") && status.contains("10 of 100"), "{status}");
    // A person gets what is left; that it is no image is another matter.
    host.fails(3, "updaterctl update");
    assert_eq!(heads_and_gets(&impostor), (1, 1));
}

fn heads_and_gets(impostor: &Impostor) -> (usize, usize) {
    let requests = impostor.requests();
    let of = |verb: &str| requests.iter().filter(|request| request.starts_with(verb)).count();
    (of("HEAD"), of("GET"))
}
