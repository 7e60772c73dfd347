//! Networks of ordinary users' containers, which pasta speaks for.

use crate::host::{Host, seconds};
use crate::registry::offer;
use crate::someone::Someone;

cases![
    a_users_container_has_a_network_and_ports,
    pasta_ends_with_its_container,
    pasta_that_dies_alone_is_started_again,
    a_users_pod_has_a_network_and_ports,
    what_a_user_cannot_have_is_refused,
];

const FETCH: &str = "busybox timeout 5 busybox wget -q -O -";

/// A user, an image, and an uplink to another machine with a web server: pasta copies the addresses
/// and routes of the host.
fn prepare(host: &Host) -> (Someone<'_>, String) {
    let app = offer(host);
    host.sh(
        "ip netns add world
         ip link add uplink type veth peer name eth0 netns world
         ip address add 192.0.2.1/24 dev uplink; ip link set uplink up
         ip -n world address add 192.0.2.2/24 dev eth0
         ip -n world link set eth0 up; ip -n world link set lo up
         ip route add default via 192.0.2.2
         mkdir -p /srv/world; echo world > /srv/world/version
         systemd-run --quiet --unit world ip netns exec world busybox httpd -f -p 80 -h /srv/world",
    );
    host.wait_for(&format!("{FETCH} http://192.0.2.2/version"), seconds(10));
    let someone = Someone::new(host);
    someone.sh(&format!("updater-launch pull {app}"));
    (someone, app)
}

fn wait_for_page(host: &Host, address: &str) {
    host.wait_for(&format!("test \"$({FETCH} http://{address}/version)\" = v1"), seconds(10));
}

fn a_users_container_has_a_network_and_ports(host: &Host) {
    let (someone, app) = prepare(host);
    let ports = "-p 8080:80 -p 127.0.0.1:8081:80 -p 80";
    someone.start("web", ports, &app, "httpd -f -p 80 -h /app");
    for address in ["127.0.0.1:8080", "192.0.2.1:8080", "127.0.0.1:8081"] {
        wait_for_page(host, address);
    }
    let from_world = |address: &str| {
        host.run(&format!("ip netns exec world {FETCH} http://{address}/version")).stdout
    };
    assert_eq!(from_world("192.0.2.1:8080"), "v1\n");
    assert_eq!(from_world("192.0.2.1:8081"), "");
    let ports = someone.sh("updater-launch port web");
    assert!(ports.contains("80/tcp -> 0.0.0.0:8080"), "{ports}");
    let mut random = ports.lines().filter_map(|line| line.strip_prefix("80/tcp -> 0.0.0.0:"));
    let random = random.rfind(|port| *port != "8080").unwrap();
    wait_for_page(host, &format!("127.0.0.1:{random}"));
    // It has the host's address, and reaches others; a port of the host's own it does not.
    let look = someone.sh("updater-launch exec web sh -c 'ip -4 address; cat /etc/hosts'");
    assert!(look.contains("192.0.2.1/24") && look.contains("192.0.2.1\t"), "{look}");
    let get = "timeout 5 wget -q -O -";
    let page = someone.sh(&format!("updater-launch exec web {get} http://192.0.2.2/version"));
    assert_eq!(page, "world");
    let own = "updater-launch exec web timeout 5 wget -q -O - http://127.0.0.1:5000/v2/";
    assert_ne!(someone.run(own).status, 0);
    let mode = someone.sh("updater-launch inspect web --format '{{.HostConfig.NetworkMode}}'");
    assert_eq!(mode, "pasta");
}

fn pasta_ends_with_its_container(host: &Host) {
    let (someone, app) = prepare(host);
    someone.start("web", "--stop-timeout 1 -p 8080:80", &app, "httpd -f -p 80 -h /app");
    wait_for_page(host, "127.0.0.1:8080");
    host.sh("pgrep passt");
    someone.sh("systemctl --user stop web");
    host.wait_for("! pgrep passt", seconds(5));
    // After a SIGKILL, too; and the next start has the port at once.
    someone.sh("systemctl --user start web");
    wait_for_page(host, "127.0.0.1:8080");
    someone.sh("systemctl --user kill --kill-whom=main --signal=KILL web");
    host.wait_for("! pgrep passt", seconds(5));
    someone.sh("systemctl --user reset-failed web || true; systemctl --user start web");
    wait_for_page(host, "127.0.0.1:8080");
    // What cannot be had leaves nothing.
    let taken = someone.run(&format!("updater-launch run --name b -p 8080:80 {app} true"));
    assert_eq!(taken.status, 125, "{}", taken.describe());
    assert_eq!(someone.sh("updater-launch ps --all | grep -c ' b$' || true"), "0");
    assert_eq!(host.sh("pgrep -c passt"), "1");
    let failed = someone.run(&format!("updater-launch run --rm {app} /nonexistent"));
    assert_eq!(failed.status, 127, "{}", failed.describe());
    assert_eq!(host.sh("pgrep -c passt"), "1");
}

/// The number of the process that carries a container's, or a pod's, network.
fn carrier(host: &Host) -> String {
    host.sh("pgrep -x 'pasta.*|passt.*'")
}

fn pasta_that_dies_alone_is_started_again(host: &Host) {
    let (someone, app) = prepare(host);
    someone.start("web", "--stop-timeout 1 -p 8080:80", &app, "httpd -f -p 80 -h /app");
    wait_for_page(host, "127.0.0.1:8080");
    let init = someone.sh("updater-launch inspect --format '{{.State.Pid}}' web");
    let first = carrier(host);
    host.sh(&format!("kill -KILL {first}"));
    wait_for_page(host, "127.0.0.1:8080");
    assert_ne!(carrier(host), first);
    // The container has not noticed but for its connections, and its unit says what was.
    assert_eq!(someone.sh("updater-launch inspect --format '{{.State.Pid}}' web"), init);
    assert_eq!(someone.property("web.service", "NRestarts"), "0");
    let get = "updater-launch exec web timeout 5 wget -q -O - http://192.0.2.2/version";
    assert_eq!(someone.sh(get), "world");
    let told = host.journal("_SYSTEMD_USER_UNIT=web.service");
    assert!(told.contains("pasta, which carries the network, has ended"), "{told}");
    // Nobody is left of it, whoever has its number now.
    someone.sh("systemctl --user stop web");
    host.wait_for("! pgrep passt && ! pgrep pasta", seconds(5));
    someone.run("systemctl --user reset-failed web");
    // Where it ends as often as it is started, the container has failed: its unit starts it again.
    someone.sh("systemctl --user start web");
    wait_for_page(host, "127.0.0.1:8080");
    host.sh("mv /usr/bin/pasta /usr/bin/pasta.away; printf '#!/bin/sh\\necho no luck >&2; exit 1\\n' > /usr/bin/pasta; chmod 755 /usr/bin/pasta");
    host.sh(&format!("kill -KILL {}", carrier(host)));
    host.wait_until("the unit has failed", seconds(20), || {
        someone.property("web.service", "ActiveState") == "failed"
    });
    let told = host.journal("_SYSTEMD_USER_UNIT=web.service");
    assert!(told.contains("no luck") && told.contains("no network any more"), "{told}");
    host.sh("mv /usr/bin/pasta.away /usr/bin/pasta");
    someone.sh("systemctl --user reset-failed web; systemctl --user start web");
    wait_for_page(host, "127.0.0.1:8080");
    someone.sh("systemctl --user stop web");
    // The same for a pod.
    someone.sh("updater-launch pod create --name duo -p 8080:80");
    let pod = "systemd-run --user --quiet --unit duo -p Type=forking -p Delegate=yes";
    someone.sh(&format!("{pod} updater-launch pod start duo"));
    someone.launch("inside", "--pod duo", &app, "httpd -f -p 80 -h /app");
    wait_for_page(host, "127.0.0.1:8080");
    let first = carrier(host);
    host.sh(&format!("kill -KILL {first}"));
    wait_for_page(host, "127.0.0.1:8080");
    assert_ne!(carrier(host), first);
    someone.sh("updater-launch pod rm --force duo");
    host.wait_for("! pgrep passt && ! pgrep pasta", seconds(5));
}

fn a_users_pod_has_a_network_and_ports(host: &Host) {
    let (someone, app) = prepare(host);
    someone.sh("updater-launch pod create --name duo -p 8080:80");
    someone.sh(&format!(
        "systemd-run --user --quiet --unit web -p KillMode=mixed -p Delegate=yes \
         updater-launch run --pod duo --name web {app} httpd -f -p 80 -h /app"
    ));
    wait_for_page(host, "127.0.0.1:8080");
    assert_eq!(someone.sh("updater-launch port web"), "80/tcp -> 0.0.0.0:8080");
}

fn what_a_user_cannot_have_is_refused(host: &Host) {
    let (someone, app) = prepare(host);
    for (flags, said) in [
        ("--network bridge", "root's"),
        ("--network updaterd", "root's"),
        ("--ip 10.0.0.1", "root's"),
        ("-p 80:80/sctp", "tcp and udp only"),
        ("--network pasta:--nonsense", "pasta failed"),
    ] {
        let refused = someone.run(&format!("updater-launch run --rm {flags} {app} true"));
        assert!(refused.status == 125 && refused.said().contains(said), "{}", refused.describe());
    }
    assert!(someone.run("updater-launch network ls").said().contains("root's"));
    let root = format!("updater-launch run --rm --network pasta {app} true");
    assert!(host.fails(125, &root).stderr.contains("ordinary users"));
    host.sh("mv /usr/bin/pasta /usr/bin/pasta.away");
    let missing = someone.run(&format!("updater-launch run --rm {app} true"));
    assert!(missing.said().contains("install the package passt"), "{}", missing.describe());
    someone.sh(&format!("updater-launch run --rm --network none {app} true"));
    // An option of its own.
    host.sh("mv /usr/bin/pasta.away /usr/bin/pasta");
    let look = "ip link show dev tap9";
    let run = format!("updater-launch run --rm --network pasta:-I,tap9,-m,1400 {app} {look}");
    assert!(someone.sh(&run).contains("mtu 1400"));
}
