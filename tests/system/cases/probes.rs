//! What an operator has a unit asked, beside what systemd and the container say.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure, version};

cases![
    a_program_that_does_not_serve_is_rolled_back,
    a_program_of_the_operators_is_asked,
    a_probe_is_written_right_or_refused,
];

/// Exit code of `updaterctl update`, as its manual has it.
const ROLLED_BACK: i32 = 4;

/// Runs, and serves HTTP where `serves` says so.
fn server(version: &str, serves: bool) -> Image {
    let serve = if serves { "httpd -p 127.0.0.1:8080 -h /app" } else { ":" };
    let run = "trap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done";
    Image::script(version, &format!("{serve}\n{run}"))
}

fn with_probe(host: &Host, probe: &str) {
    configure(
        host,
        &format!(
            "schedule = \"timer\"\nsettle = \"1s\"\n[unit.\"app.service\"]\n\
             probe = {probe}\nprobe_timeout = \"3s\"\n"
        ),
    );
}

fn start(host: &Host, registry: &Registry, image: &Image) {
    registry.push("app:latest", image);
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    host.wait_until("app runs", seconds(10), || version(host, "app") == "v1");
}

fn a_program_that_does_not_serve_is_rolled_back(host: &Host) {
    let registry = Registry::start(host);
    with_probe(host, "\"http://127.0.0.1:8080/version\"");
    start(host, &registry, &server("v1", true));
    registry.push("app:latest", &server("v2", true));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");

    let bad = registry.push("app:latest", &server("v3", false));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    let said = outcome.said();
    assert!(said.contains("the probe http://127.0.0.1:8080/version did not pass"), "{said}");
    assert_eq!(version(host, "app"), "v2");
    let held = host.sh("updaterctl quarantine list --json");
    assert!(held.contains(&bad), "{held}");
}

fn a_program_of_the_operators_is_asked(host: &Host) {
    let registry = Registry::start(host);
    host.write(
        "/usr/local/bin/probe",
        "#!/bin/sh\ntouch /etc/probed 2>/dev/null\n\
         wget -qO- http://127.0.0.1:8080/version | grep -q \"$1\" && exit\n\
         echo \"it does not say $1\" >&2\nexit 1\n",
    );
    host.sh("chmod +x /usr/local/bin/probe");
    with_probe(host, "[\"/usr/local/bin/probe\", \"^v[12]$\"]");
    start(host, &registry, &server("v1", true));
    registry.push("app:latest", &server("v2", true));
    host.sh("updaterctl update");
    registry.push("app:latest", &server("v3", true));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    let said = outcome.said();
    let why = "the probe /usr/local/bin/probe did not pass: exit status: 1: it does not say";
    assert!(said.contains(why), "{said}");
    assert_eq!(version(host, "app"), "v2");
    // It is confined as the service is.
    host.sh("! test -e /etc/probed");
}

fn a_probe_is_written_right_or_refused(host: &Host) {
    with_probe(host, "\"https://127.0.0.1/\"");
    let refused = host.run("updaterd --check-config");
    assert_ne!(refused.status, 0);
    let said = refused.said();
    assert!(said.contains("updaterd.toml:4:9") && said.contains("tcp://HOST:PORT"), "{said}");
}
