//! A line that is slow, and breaks: what came is kept, and who waits sees how far it is.

use std::time::Instant;

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::registry::Registry;
use crate::someone::Someone;
use crate::units::{ContainerUnit, configure, version};

cases![
    an_outage_in_the_middle_of_a_pull_is_waited_for,
    a_pull_takes_no_more_of_the_line_than_it_may,
    an_ordinary_users_pull_is_as_slow_and_can_be_seen,
];

const MIB: usize = 1 << 20;

/// An update of `app`, whose new layer is of so many MiB that do not compress.
fn big(version: &str, mib: usize) -> Image {
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(mib * MIB).collect();
    let mut layer = Layer::new();
    layer.file("noise", 0o644, &noise);
    Image::app(version).layer(layer)
}

/// The kernel keeps little of what is on its way, as on a long line, and not whole layers.
fn narrow(host: &Host) {
    host.sh("for memory in tcp_rmem tcp_wmem; do
               echo 4096 65536 131072 > /proc/sys/net/ipv4/$memory
             done");
}

/// Two MiB a second.
const SLOW: &str = "schedule = \"timer\"\nsettle = \"1s\"\nmax_download_rate = \"2MiB\"\n";

fn an_outage_in_the_middle_of_a_pull_is_waited_for(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    configure(host, SLOW);
    narrow(host);
    registry.push("app:latest", &big("v2", 8));
    host.sh("(updaterctl update > /tmp/update 2>&1; echo $? > /tmp/status) > /dev/null 2>&1 &");
    let unpacked = "find /var/lib/updaterd/tmp -name noise -size +2M | grep -q .";
    host.wait_for(unpacked, seconds(20));
    registry.down();
    // It is not reached either when it is asked again for the first time.
    host.wait_for(
        "journalctl -u updaterd -o cat | grep -q 'has broken off, going on in 2s'",
        seconds(20),
    );
    registry.up();
    // Who has waited asks, though nobody else asks such a host for a minute.
    host.wait_for("test -s /tmp/status", seconds(30));
    assert_eq!(host.sh("cat /tmp/status").trim(), "0", "{}", host.sh("cat /tmp/update"));
    assert_eq!(version(host, "app"), "v2");
    // The layer was not asked for anew: its rest was.
    let asked = registry.requests();
    let rest = |request: &String| request.contains("/blobs/") && request.ends_with(" 206");
    assert!(asked.iter().any(rest), "{asked:#?}");
}

fn a_pull_takes_no_more_of_the_line_than_it_may(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    configure(host, SLOW);
    let digest = registry.push("app:latest", &big("v2", 6));
    host.sh("busctl --json=short monitor org.updaterd.Updater1 > /tmp/signals 2> /dev/null &
         echo $! > /tmp/monitor");
    let began = Instant::now();
    host.sh("(updaterctl update > /tmp/update 2>&1; echo $? > /tmp/status) > /dev/null 2>&1 &");
    host.wait_for(
        "systemctl show --property=StatusText updaterd | grep -q 'pulling .*app:latest: .*% of 6.'",
        seconds(20),
    );
    host.wait_for("test -s /tmp/status", seconds(60));
    // The kernel takes some megabytes before anybody slows down; the average counts from the start.
    assert!(began.elapsed() >= seconds(2), "{:?}", began.elapsed());
    assert_eq!(version(host, "app"), "v2");
    host.sh("kill $(cat /tmp/monitor)");
    let told = host.sh("grep PullProgress /tmp/signals");
    let told: Vec<(u64, u64)> = told
        .lines()
        .map(|line| {
            let data = &serde_json::from_str::<serde_json::Value>(line).unwrap()["payload"]["data"];
            assert_eq!(data[1], digest.as_str());
            (data[2].as_u64().unwrap(), data[3].as_u64().unwrap())
        })
        .collect();
    assert!(told.is_sorted() && told.len() >= 3, "{told:?}");
    let (received, total) = *told.last().unwrap();
    assert!(received == total && total > 6 << 20, "{told:?}");
}

fn an_ordinary_users_pull_is_as_slow_and_can_be_seen(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let someone = Someone::new(host);
    host.write("/home/someone/.config/updaterd/updaterd.toml", SLOW);
    host.sh("chown -R someone: /home/someone/.config");
    let label = "--network host --label io.containers.autoupdate=registry";
    someone.start("app", label, &registry.reference("app:latest"), "");
    registry.push("app:latest", &big("v2", 6));
    someone.sh("systemctl --user start updaterd.service");
    let began = Instant::now();
    someone.sh("systemd-run --user --quiet --unit=update updaterctl update");
    host.wait_for(
        "systemctl --user --machine=someone@ show --property=StatusText updaterd |
         grep -q 'pulling .*app:latest: .*% of 6.'",
        seconds(20),
    );
    host.wait_for("journalctl -o cat | grep -q 'app.service: updated'", seconds(60));
    assert!(began.elapsed() >= seconds(2), "{:?}", began.elapsed());
    assert_eq!(someone.version("app"), "v2");
}
