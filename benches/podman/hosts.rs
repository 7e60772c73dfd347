//! A check of 1,000 units on 1,000 images at twenty hosts over TLS with a round trip of 20 ms, two of
//! which take packets and say nothing. How long the others wait for their answers.
//!
//! Podman is not measured beside it: it asks one image after the other, and waits for each of a dead
//! host's.

use std::time::{Duration, SystemTime};

use crate::check::peak_memory;
use crate::host::Host;
use crate::image::Image;
use crate::measure::{Bound, Goal};
use crate::registry::{Access, Registry};
use crate::relay;
use crate::units::{ContainerUnit, configure};

const LIVE: u16 = 18;
const DEAD: [&str; 2] = ["10.255.255.1:5000", "10.255.255.3:5000"];
const IMAGES: usize = 50;
const ROUND_TRIP: Duration = Duration::from_millis(20);
const NEAR: u16 = 5001;
const FAR: u16 = 5100;

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    let registry = Registry::start_with(host, Access::Tls, NEAR);
    for port in FAR..FAR + LIVE {
        host.sh(&format!(
            "cp -r /etc/containers/certs.d/localhost:{NEAR} /etc/containers/certs.d/localhost:{port}"
        ));
        relay::start(port, NEAR, ROUND_TRIP);
    }
    host.black_hole();
    configure(host, "schedule = \"timer\"\n");
    let hosts: Vec<String> = (FAR..FAR + LIVE)
        .map(|port| format!("localhost:{port}"))
        .chain(DEAD.map(str::to_owned))
        .collect();
    let units = start(host, &registry, &hosts);

    let requests = || registry.requests().len();
    host.sh("systemctl start updaterd.service");
    let before = requests();
    let began = SystemTime::now();
    // Two of the hosts cannot be checked.
    host.fails(3, "updaterctl check");
    let whole = began.elapsed().unwrap();
    let answered = last_request(host).duration_since(began).unwrap();
    let asked = requests() - before;
    let memory = peak_memory(host, &host.property("updaterd.service", "MainPID"));
    host.sh(&format!("systemctl stop updaterd.service app{{0..{}}}.service", units - 1));

    println!(
        "{units} images at {} hosts: the last answer after {answered:.2?}, {asked} requests; the \
         check ends after {whole:.2?}; updaterd at its largest: {memory:.1} MiB",
        hosts.len()
    );
    vec![
        Goal {
            what: "the last answer beside two dead hosts, seconds",
            measured: answered.as_secs_f64(),
            wanted: Bound::AtMost(2.0),
        },
        Goal {
            what: "memory of the daemon with 1,000 images, MiB resident",
            measured: memory,
            wanted: Bound::AtMost(20.0),
        },
        Goal {
            what: "requests for an image of a live host",
            measured: asked as f64 / (usize::from(LIVE) * IMAGES) as f64,
            wanted: Bound::AtMost(1.0),
        },
    ]
}

/// Starts a unit for each image, dead hosts' images from storage; gives their number.
fn start(host: &Host, registry: &Registry<'_>, hosts: &[String]) -> usize {
    println!("(pushing {IMAGES} images, starting {} units)", hosts.len() * IMAGES);
    for number in 0..IMAGES {
        registry.push(&format!("app{number}:latest"), &Image::app(&format!("v{number}")));
        host.sh(&format!("updater-launch pull --quiet localhost:{FAR}/app{number}:latest"));
    }
    let mut units = 0;
    for at in hosts {
        for number in 0..IMAGES {
            let image = format!("{at}/app{number}:latest");
            let pulled = format!("localhost:{FAR}/app{number}:latest");
            if image != pulled {
                host.sh(&format!("updater-launch tag {pulled} {image}"));
            }
            ContainerUnit::new(&format!("app{units}"), &image).place(host);
            units += 1;
        }
    }
    host.sh(&format!("systemctl daemon-reload; systemctl start app{{0..{}}}.service", units - 1));
    units
}

/// When the registry answered last.
fn last_request(host: &Host) -> SystemTime {
    let seconds = host.sh(&format!(
        "journalctl --sync; journalctl --unit=registry-{NEAR} --output=short-unix --no-pager \
         | grep '\"HEAD ' | tail -n 1 | cut -d ' ' -f 1"
    ));
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds.trim().parse().unwrap())
}
