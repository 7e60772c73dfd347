//! What a client sees that asks every 10 ms: of a good update, beside the unit's own stop and start,
//! and of one to an image that never is ready, beside `podman auto-update` and a start timeout of 90 s.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::measure::{Bound, Goal, median, milliseconds};
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure};

const RUNS: usize = 5;
const PERIOD: Duration = Duration::from_millis(10);
const PORT: u16 = 8090;
/// What the operator gives the start of this unit on a new image; Podman has no such thing.
const START: u64 = 10;

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    configure(
        host,
        &format!(
            "schedule = \"timer\"\nsettle = \"2s\"\n[unit.\"outage.service\"]\nstart_timeout = \"{START}s\"\n"
        ),
    );
    let registry = Registry::start(host);
    let native = good(host, &registry, Unit::Native);
    let podman = good(host, &registry, Unit::Podman);
    let theirs = bad(host, &registry, "podman auto-update");
    let ours = bad(host, &registry, "updaterctl auto-update");
    vec![
        Goal {
            what: "outage of a good update, times the unit's own restart",
            measured: native,
            wanted: Bound::AtMost(1.1),
        },
        Goal {
            what: "outage of a good update of Podman's unit, times its own restart",
            measured: podman,
            wanted: Bound::AtMost(1.1),
        },
        Goal {
            what: "outage of a bad update, times shorter than with Podman",
            measured: theirs.as_secs_f64() / ours.as_secs_f64(),
            wanted: Bound::AtLeast(5.0),
        },
    ]
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Native,
    Podman,
}

/// Says that it is ready, and serves; or does neither.
fn server(version: &str, serves: bool) -> Image {
    let serve = format!("httpd -p 127.0.0.1:{PORT} -h /app; /usr/bin/systemd-notify --ready");
    let serve = if serves { serve.as_str() } else { ":" };
    Image::script(
        version,
        &format!("trap 'exit 0' TERM\n{serve}\nwhile :; do sleep 1000 & wait $!; done"),
    )
}

fn start(host: &Host, registry: &Registry<'_>, unit: Unit, version: &str) {
    registry.push("outage:latest", &server(version, true));
    let image = registry.reference("outage:latest");
    match unit {
        Unit::Native => {
            ContainerUnit::new("outage", &image).notified_by_program().write(host);
        }
        Unit::Podman => {
            // What ran last has left it behind.
            host.sh(&format!("podman pull --quiet {image}"));
            host.write(
                "/etc/systemd/system/outage.service",
                &format!(
                    "[Service]\nType=notify\nNotifyAccess=all\nEnvironment=PODMAN_SYSTEMD_UNIT=%n\n\
                     TimeoutStartSec=90\nTimeoutStopSec=20\nExecStartPre=/bin/rm -f %t/%n.ctr-id\n\
                     ExecStart=/usr/bin/podman run --cidfile=%t/%n.ctr-id --cgroups=no-conmon --rm \
                     --sdnotify=container -d --replace --name outage --network host --volume /usr:/usr:ro \
                     --label io.containers.autoupdate=registry {image}\n\
                     ExecStop=/usr/bin/podman stop --ignore -t 5 --cidfile=%t/%n.ctr-id\n\
                     ExecStopPost=/usr/bin/podman rm -f --ignore -t 5 --cidfile=%t/%n.ctr-id\n"
                ),
            );
            host.sh("systemctl daemon-reload");
        }
    }
    host.sh("systemctl start outage.service");
}

/// How much longer than for its own restart a unit does not answer during a good update.
fn good(host: &Host, registry: &Registry<'_>, unit: Unit) -> f64 {
    start(host, registry, unit, "v0");
    // Without a start limit, as an update does it.
    let by_hand = "systemctl reset-failed outage.service; systemctl restart outage.service";
    let restart = || outage(|| drop(host.sh(by_hand)));
    let own = median((0..RUNS).map(|_| restart()).collect());
    let update = |run: usize| {
        registry.push("outage:latest", &server(&format!("{unit:?} {run}"), true));
        outage(|| drop(host.sh("updaterctl update outage.service")))
    };
    let updated = median((0..RUNS).map(update).collect());
    host.sh("systemctl stop outage.service");
    println!(
        "{:<34} {:9.1} ms by its own restart, {:9.1} ms by an update",
        format!("{unit:?}"),
        milliseconds(own),
        milliseconds(updated)
    );
    updated.as_secs_f64() / own.as_secs_f64()
}

/// How long Podman's unit does not answer when `updater` has brought it an image that never is ready.
fn bad(host: &Host, registry: &Registry<'_>, updater: &str) -> Duration {
    start(host, registry, Unit::Podman, &format!("before {updater}"));
    registry.push("outage:latest", &server(&format!("bad for {updater}"), false));
    let outage = outage(|| {
        // Podman's exit status says nothing of a rollback.
        host.run(updater);
        host.wait_for("systemctl is-active outage.service", seconds(120));
    });
    host.sh("systemctl stop outage.service");
    println!("{updater:<34} {:9.1} ms", milliseconds(outage));
    outage
}

/// The longest time between two answers while `action` is carried out, and until there is one after it.
fn outage(action: impl FnOnce()) -> Duration {
    let done = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&done);
    let client = std::thread::spawn(move || {
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        loop {
            let asked = Instant::now();
            // Read before the question: an answer after the action is one that began after it.
            let is_last = ends.load(Ordering::Acquire);
            if answers() {
                longest = longest.max(last.elapsed());
                last = Instant::now();
                if is_last {
                    return longest;
                }
            }
            std::thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
        }
    });
    action();
    done.store(true, Ordering::Release);
    client.join().unwrap()
}

fn answers() -> bool {
    let server = SocketAddr::from(([127, 0, 0, 1], PORT));
    let ask = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_millis(100))?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.write_all(b"GET /version HTTP/1.0\r\n\r\n")?;
        stream.read(&mut [0; 64])
    };
    ask().is_ok_and(|read| read > 0)
}
