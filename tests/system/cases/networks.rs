//! Networks of containers: bridges, names, published ports, and what is left of them after a crash.

use crate::host::{Host, seconds};
use crate::registry::prepare;
use crate::units::ContainerUnit;

cases![
    containers_find_each_other_by_name,
    published_ports_lead_to_the_container,
    a_port_in_use_is_refused,
    addresses_are_chosen_and_given,
    a_network_may_have_ipv6,
    an_internal_network_has_no_way_out,
    a_container_may_have_several_networks,
    files_of_names_are_as_asked_for,
    a_network_may_be_shared,
    a_killed_launcher_leaves_nothing_past_the_next_start,
    a_container_that_spoils_its_network_leaves_nothing,
    a_setup_that_fails_leaves_nothing,
    a_missing_program_is_named,
    networks_are_made_listed_and_removed,
    new_networks_keep_clear_of_the_host,
    units_that_start_at_once_have_addresses_of_their_own,
    a_unit_keeps_its_address,
    a_pod_has_a_network_and_ports,
    a_name_server_that_was_killed_comes_back,
];

/// Starts a web server of its version in the background.
fn serve(host: &Host, name: &str, flags: &str, image: &str) -> String {
    host.sh(&format!("updater-launch run -d --name {name} {flags} {image} httpd -f -p 80 -h /app"))
}

/// Runs a shell script in a container of its own; what it prints.
fn inside(host: &Host, flags: &str, image: &str, script: &str) -> String {
    host.sh(&format!("updater-launch run --rm {flags} {image} sh -c '{script}'"))
}

/// Gets a page, in a container.
const GET: &str = "timeout 5 wget -q -O -";
/// The same on the host, or on another machine.
const FETCH: &str = "busybox timeout 5 busybox wget -q -O -";

/// Writes what comes as a datagram to port 53 of an address into a file, both behind it.
const LISTEN: &str = "/usr/bin/perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(\
    Proto => q(udp), LocalAddr => shift, LocalPort => 53); $s->recv($m, 999); \
    open F, q(>), shift; print F $m'";

/// Waits until a page can be had from the host.
fn wait_for_page(host: &Host, address: &str) {
    host.wait_for(&format!("test \"$({FETCH} http://{address}/version)\" = v1"), seconds(10));
}

/// All that networks leave on a host: rules with an address, a port, or a network's interface;
/// interfaces; names; records.
fn traces(host: &Host) -> String {
    host.sh(
        "iptables-save | grep -E -- '-A .*(-[sdio] (10\\.|upd)|--dport|NETAVARK-(DN-)?[0-9A-F]{13})' || true
         ip6tables-save | grep -E -- '-A .*(-[sdio] (fd|upd)|--dport|NETAVARK-(DN-)?[0-9A-F]{13})' || true
         ip -br link | grep -E 'upd|veth' || true
         ls /run/updaterd/network/owners /run/updaterd/network/netavark/aardvark-dns || true
         pgrep -a aardvark || true",
    )
    .replace("/run/updaterd/network/owners:", "")
    .replace("/run/updaterd/network/netavark/aardvark-dns:", "")
    .trim()
    .to_owned()
}

#[track_caller]
fn wait_for_no_traces(host: &Host) {
    let started = std::time::Instant::now();
    while !traces(host).is_empty() && started.elapsed() < seconds(10) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(traces(host), "");
}

/// The host's uplink: another machine, with a web server, at 192.0.2.2.
fn connect(host: &Host) {
    host.sh(
        "ip netns add world
         ip link add uplink type veth peer name eth0 netns world
         ip address add 192.0.2.1/24 dev uplink; ip link set uplink up
         ip -n world address add 192.0.2.2/24 dev eth0
         ip -n world link set eth0 up; ip -n world link set lo up
         mkdir -p /srv/world; echo world > /srv/world/version
         systemd-run --quiet --unit world ip netns exec world busybox httpd -f -p 80 -h /srv/world",
    );
    host.wait_for(&format!("{FETCH} http://192.0.2.2/version"), seconds(10));
}

fn containers_find_each_other_by_name(host: &Host) {
    let app = prepare(host);
    let id = serve(host, "web", "--network-alias www --hostname elsewhere", &app);
    serve(host, "second", "--network updaterd:alias=other", &app);
    for name in ["web", "www", "second", "other", &id[..12], "web.dns.podman"] {
        let page = inside(host, "", &app, &format!("{GET} http://{name}/version"));
        assert_eq!(page, "v1", "{name}");
    }
    let from = |name: &str, of: &str| {
        host.run(&format!("updater-launch exec {name} {GET} http://{of}/version")).stdout
    };
    assert_eq!((&*from("web", "second"), &*from("second", "web")), ("v1\n", "v1\n"));
    // The name goes with its container.
    host.sh("updater-launch rm --force --time 0 second");
    host.wait_until("the name is gone", seconds(5), || from("web", "second").is_empty());
    // Others are asked for names of elsewhere, on another network nobody is found.
    host.sh("updater-launch network create lonely");
    let lost = format!("updater-launch run --rm --network lonely {app} nslookup web");
    assert_ne!(host.run(&lost).status, 0);
    host.sh("updater-launch rm --force --time 0 web");
    wait_for_no_traces(host);
}

fn published_ports_lead_to_the_container(host: &Host) {
    let app = prepare(host);
    connect(host);
    serve(
        host,
        "web",
        "-p 8080:80 -p 127.0.0.1:8081:80/tcp -p 9000-9001:79-80 -p 80 -p 5353:53/udp --volume /usr:/usr:ro",
        &app,
    );
    for address in ["127.0.0.1:8080", "192.0.2.1:8080", "127.0.0.1:8081", "127.0.0.1:9001"] {
        wait_for_page(host, address);
    }
    let from_world = |address: &str| {
        host.run(&format!("ip netns exec world {FETCH} http://{address}/version")).stdout
    };
    assert_eq!(from_world("192.0.2.1:8080"), "v1\n");
    assert_eq!(from_world("192.0.2.1:8081"), "");
    let lines = host.sh("updater-launch port web");
    for line in [
        "80/tcp -> 0.0.0.0:8080",
        "80/tcp -> 127.0.0.1:8081",
        "79/tcp -> 0.0.0.0:9000",
        "80/tcp -> 0.0.0.0:9001",
        "53/udp -> 0.0.0.0:5353",
    ] {
        assert!(lines.lines().any(|have| have == line), "{line}: {lines}");
    }
    assert_eq!(host.sh("updater-launch port web 53/udp"), "0.0.0.0:5353");
    let random = lines.lines().last().unwrap().strip_prefix("80/tcp -> 0.0.0.0:");
    let all = host.sh("updater-launch port web 80 | wc -l");
    assert_eq!(all, "4", "{lines}");
    let random = random.map(str::to_owned).or_else(|| {
        let known = ["8080", "9000", "9001"];
        let ports = lines.lines().filter_map(|line| line.strip_prefix("80/tcp -> 0.0.0.0:"));
        ports.filter(|port| !known.contains(port)).map(str::to_owned).next()
    });
    wait_for_page(host, &format!("127.0.0.1:{}", random.unwrap()));
    assert!(host.fails(125, "updater-launch port web 81").stderr.contains("not published"));
    assert!(host.sh("updater-launch ps").contains("0.0.0.0:8080->80/tcp"));
    let settings = &host.json("updater-launch inspect web")[0]["NetworkSettings"];
    assert_eq!(settings["Ports"]["53/udp"][0]["HostPort"], "5353");
    // A datagram.
    host.sh(&format!(
        "setsid --fork updater-launch exec web {LISTEN} 0.0.0.0 /tmp/heard > /dev/null 2>&1"
    ));
    host.wait_until("a datagram comes through", seconds(5), || {
        host.sh("echo hello > /dev/udp/127.0.0.1/5353");
        host.run("updater-launch exec web cat /tmp/heard").stdout.contains("hello")
    });
    host.sh("updater-launch rm --force --time 0 web");
    wait_for_no_traces(host);
    assert_eq!(host.run(&format!("{FETCH} http://127.0.0.1:8080/version")).stdout, "");
}

fn a_port_in_use_is_refused(host: &Host) {
    let app = prepare(host);
    host.sh("systemd-run --quiet busybox httpd -f -p 8080");
    host.wait_for("ss --listening --tcp --numeric | grep :8080", seconds(5));
    let run = |flags: &str| format!("updater-launch run -d {flags} {app} sleep 4711");
    let refused = host.fails(125, &run("--name a -p 8080:80"));
    assert!(refused.stderr.contains("port 8080 of the host"), "{}", refused.stderr);
    serve(host, "web", "-p 8081:80", &app);
    // Kept from others, containers or not, until the end.
    host.fails(125, &run("--name b -p 127.0.0.1:8081:80"));
    assert_ne!(host.run("busybox timeout 2 busybox httpd -f -p 8081").status, 143);
    host.sh("updater-launch rm --force --time 0 web");
    serve(host, "web", "-p 8081:80", &app);
    for (flags, said) in [
        ("-p 80:80 -p 80:81", "same port"),
        ("-p 80:80/icmp", "icmp"),
        ("-p 65536:80", "65536"),
        ("-p ::1:80:80", "brackets"),
    ] {
        let refused = host.fails(125, &run(flags));
        assert!(refused.stderr.contains(said), "{flags}: {}", refused.stderr);
    }
    let discarded = host.run(&run("--name c --network host -p 8082:80"));
    assert!(discarded.stderr.contains("discarded"), "{}", discarded.describe());
    assert_eq!(host.sh("updater-launch port c"), "");
    host.sh("updater-launch rm --force --time 0 web c");
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
    wait_for_no_traces(host);
}

fn addresses_are_chosen_and_given(host: &Host) {
    let app = prepare(host);
    host.sh("updater-launch network create --subnet 10.99.0.0/24 --gateway 10.99.0.254 \
         --ip-range 10.99.0.8/30 lan");
    let address = |flags: &str| {
        inside(
            host,
            flags,
            &app,
            "ip -4 -o address show dev eth0; ip route; cat /proc/net/arp \
             /sys/class/net/eth0/address",
        )
    };
    let chosen = address("--network lan");
    assert!(
        ["10.99.0.8/", "10.99.0.9/", "10.99.0.10/", "10.99.0.11/"]
            .iter()
            .any(|ip| chosen.contains(ip)),
        "{chosen}"
    );
    assert!(chosen.contains("default via 10.99.0.254"), "{chosen}");
    let given = address("--network lan --ip 10.99.0.77 --mac-address 02:00:00:00:00:07");
    assert!(given.contains("10.99.0.77/24") && given.contains("02:00:00:00:00:07"), "{given}");
    let given = address("--network lan:ip=10.99.0.78,mac=02:00:00:00:00:08");
    assert!(given.contains("10.99.0.78/24") && given.contains("02:00:00:00:00:08"), "{given}");
    host.sh(&format!("updater-launch run -d --network lan:ip=10.99.0.79 {app} sleep 4711"));
    for (flags, said) in [
        ("--network lan --ip 10.99.0.79", "another container"),
        ("--network lan --ip 10.99.0.254", "gateway"),
        ("--network lan --ip 10.98.0.1", "none of its subnets"),
        ("--network lan --ip6 fd00::1", "none of its subnets"),
        ("--network lan:ip=x", "\"x\""),
        ("--network host --ip 10.99.0.80", "--ip"),
        ("--network nope", "\"nope\""),
    ] {
        let refused = host.fails(125, &format!("updater-launch run {flags} {app} true"));
        assert!(refused.stderr.contains(said), "{flags}: {}", refused.stderr);
    }
    // Four addresses are there to be given, and no more.
    let start = format!("updater-launch run -d --network lan {app} sleep 4711");
    host.sh(&format!("for n in 1 2 3 4; do {start}; done"));
    let full = host.fails(125, &start);
    assert!(full.stderr.contains("no free address"), "{}", full.stderr);
    host.sh("updater-launch rm --force --time 0 $(updater-launch ps --quiet)");
    wait_for_no_traces(host);
}

fn a_network_may_have_ipv6(host: &Host) {
    let app = prepare(host);
    connect(host);
    host.sh("ip -6 address add 2001:db8::1/64 dev uplink nodad
         ip -n world -6 address add 2001:db8::2/64 dev eth0 nodad
         updater-launch network create --subnet fd77::/64 --ipv6 dual
         updater-launch network create --subnet fd55::/64 only");
    serve(host, "web", "--network dual:ip6=fd77::9 -p 8080:80 -p [::1]:8081:80", &app);
    serve(host, "six", "--network only -p 8082:80", &app);
    let get = format!("{GET} http://[fd77::9]/version");
    assert_eq!(inside(host, "--network dual", &app, &get), "v1");
    assert_eq!(host.sh(&format!("{FETCH} http://[fd77::9]/version")), "v1");
    let names = inside(host, "--network dual", &app, "nslookup web");
    assert!(names.contains("fd77::9") && names.contains("10."), "{names}");
    assert_eq!(inside(host, "--network only", &app, &format!("{GET} http://six/version")), "v1");
    // By the host's addresses, of both kinds.
    wait_for_page(host, "127.0.0.1:8080");
    let from_world = |address: &str| {
        host.run(&format!("ip netns exec world {FETCH} http://{address}/version")).stdout
    };
    for address in ["[2001:db8::1]:8080", "[2001:db8::1]:8082", "192.0.2.1:8080"] {
        assert_eq!(from_world(address), "v1\n", "{address}");
    }
    // And out.
    let out = "--network only";
    host.sh("systemd-run --quiet ip netns exec world busybox httpd -f -p [::]:81 -h /srv/world");
    let page = format!("{GET} http://[2001:db8::2]:81/version");
    host.wait_for(&format!("{FETCH} http://[2001:db8::2]:81/version"), seconds(5));
    assert_eq!(inside(host, out, &app, &page), "world");
    let settings = &host.json("updater-launch inspect web")[0]["NetworkSettings"];
    assert_eq!(settings["GlobalIPv6Address"], "fd77::9");
    host.sh("updater-launch rm --force --time 0 web six");
    wait_for_no_traces(host);
}

fn an_internal_network_has_no_way_out(host: &Host) {
    let app = prepare(host);
    connect(host);
    host.sh("updater-launch network create --internal inner");
    let get = format!("{GET} http://192.0.2.2/version");
    assert_eq!(inside(host, "", &app, &get), "world");
    let out = format!("updater-launch run --rm --network inner {app} {get}");
    assert_ne!(host.run(&out).status, 0);
    let routes = inside(host, "--network inner", &app, "ip route");
    assert!(!routes.contains("default"), "{routes}");
    serve(host, "web", "--network inner", &app);
    let get = format!("{GET} http://web/version");
    assert_eq!(inside(host, "--network inner", &app, &get), "v1");
    host.sh("updater-launch rm --force --time 0 web");
    wait_for_no_traces(host);
}

fn a_container_may_have_several_networks(host: &Host) {
    let app = prepare(host);
    host.sh("updater-launch network create --subnet 10.91.0.0/24 one
         updater-launch network create --subnet 10.92.0.0/24 two
         updater-launch network create --subnet 10.93.0.0/24 three");
    let flags = "--network two --network one:ip=10.91.0.9,interface_name=lan --network three";
    serve(host, "web", &format!("{flags} --network-alias www -p 8080:80"), &app);
    let look =
        host.sh("updater-launch exec web sh -c 'ip -4 -o address; ip route; cat /etc/resolv.conf'");
    for part in ["lan    inet 10.91.0.9/24", "eth0    inet 10.92.0.", "eth1    inet 10.93.0."] {
        assert!(look.contains(part), "{part}: {look}");
    }
    // The way out is by the first.
    let out = host.sh("updater-launch exec web ip route get 192.0.2.9");
    assert!(out.contains("10.92.0.1") && out.contains("eth0"), "{out}");
    for network in ["one", "two", "three"] {
        let get = format!("{GET} http://www/version");
        assert_eq!(inside(host, &format!("--network {network}"), &app, &get), "v1", "{network}");
    }
    wait_for_page(host, "127.0.0.1:8080");
    let settings = &host.json("updater-launch inspect web")[0]["NetworkSettings"];
    assert_eq!(settings["Networks"]["one"]["IPAddress"], "10.91.0.9");
    assert_eq!(settings["Networks"].as_object().unwrap().len(), 3);
    host.sh("updater-launch rm --force --time 0 web");
    wait_for_no_traces(host);
    for flags in [
        "--network one,two,one",
        "--network one --network host",
        "--network one,two --ip 10.91.0.9",
    ] {
        host.fails(125, &format!("updater-launch run {flags} {app} true"));
    }
}

fn files_of_names_are_as_asked_for(host: &Host) {
    let app = prepare(host);
    host.write("/etc/resolv.conf", "search lan.example\nnameserver 192.0.2.53\noptions edns0\n");
    host.sh("echo '192.0.2.7 printer' >> /etc/hosts");
    let files = |flags: &str| inside(host, flags, &app, "cat /etc/hosts /etc/resolv.conf");
    let plain = files("--name web --hostname app");
    for part in ["192.0.2.7 printer", "app web\n", "search dns.podman lan.example", "options edns0"]
    {
        assert!(plain.contains(part), "{part}: {plain}");
    }
    let asked = files(
        "--dns 192.0.2.54 --dns-search x.example --dns-option ndots:3 --add-host db:10.9.9.9 \
         --add-host up:host-gateway",
    );
    for part in ["10.9.9.9\tdb", "search x.example\n", "options ndots:3", ".1\tup\n"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    assert!(!asked.contains("nameserver 192.0.2"), "{asked}");
    let on_host = files("--network host --dns 192.0.2.54");
    assert!(on_host.contains("nameserver 192.0.2.54"), "{on_host}");
    host.sh("updater-launch network create --disable-dns mute");
    assert!(files("--network mute").contains("nameserver 192.0.2.53"));
    assert!(files("--network mute --dns 192.0.2.54").contains("nameserver 192.0.2.54"));
    let own = host.run(&format!("updater-launch run --rm --no-hosts --dns none {app} ls /etc"));
    assert!(!own.stdout.contains("hosts") && !own.stdout.contains("resolv"), "{}", own.stdout);
    for flags in [
        "--add-host x",
        "--dns x",
        "--no-hosts --add-host a:1.1.1.1",
        "--network none --add-host up:host-gateway",
    ] {
        host.fails(125, &format!("updater-launch run {flags} {app} true"));
    }
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
    // The name server asks whom the container says.
    host.sh("ip link add names type bridge; ip address add 192.0.2.54/32 dev names; ip link set names up
         ");
    host.sh(&format!("setsid --fork {LISTEN} 192.0.2.54 /run/asked > /dev/null 2>&1"));
    host.run(&format!("updater-launch run --rm --dns 192.0.2.54 {app} nslookup a.example.org"));
    host.wait_for("grep -a example /run/asked", seconds(5));
}

fn a_network_may_be_shared(host: &Host) {
    let app = prepare(host);
    serve(host, "web", "-p 8080:80", &app);
    let get = format!("{GET} http://127.0.0.1/version; hostname; cat /etc/hosts");
    let shared = inside(host, "--network container:web", &app, &get);
    assert!(shared.starts_with("v1\n") && shared.contains("web"), "{shared}");
    for flags in ["--network container:web --add-host a:1.1.1.1", "--network container:nope"] {
        host.fails(125, &format!("updater-launch run {flags} {app} true"));
    }
    host.sh("updater-launch rm --force --time 0 web");
    let gone = host.fails(125, &format!("updater-launch run --network container:web {app} true"));
    assert!(gone.stderr.contains("web"), "{}", gone.stderr);
    host.sh("ip netns add mine; ip -n mine link add seen type bridge");
    let look = inside(host, "--network ns:/run/netns/mine", &app, "ls /sys/class/net");
    assert!(look.contains("seen"), "{look}");
    for path in ["/dev/null", "/proc/self/ns/mnt", "/nonexistent", "relative"] {
        host.fails(125, &format!("updater-launch run --network ns:{path} {app} true"));
    }
    wait_for_no_traces(host);
}

/// The supervisor's process ID.
fn supervisor(host: &Host, name: &str) -> String {
    host.json(&format!("updater-launch inspect {name}"))[0]["State"]["ConmonPid"].to_string()
}

fn a_killed_launcher_leaves_nothing_past_the_next_start(host: &Host) {
    let app = prepare(host);
    host.sh("updater-launch network create --subnet 10.99.0.0/24 --ipv6 lan");
    let flags = "--rm --network lan:ip=10.99.0.9 -p 8080:80";
    serve(host, "web", flags, &app);
    let pid = supervisor(host, "web");
    host.sh(&format!("kill -KILL {pid}"));
    host.wait_for("! pgrep httpd", seconds(5));
    assert_ne!(traces(host), "");
    // Its address, its port and its name are free at once.
    serve(host, "web", flags, &app);
    wait_for_page(host, "127.0.0.1:8080");
    assert_eq!(host.sh("iptables-save | grep -c -- '-p tcp -m tcp --dport 8080 -j DNAT'"), "1");
    assert_eq!(host.sh("ls /run/updaterd/network/owners | wc -l"), "1");
    assert_eq!(host.sh("grep -c 10.99.0.9 /run/updaterd/network/netavark/aardvark-dns/lan-*"), "1");
    // A unit's ExecStopPost= clears away.
    host.sh(&format!("kill -KILL {}", supervisor(host, "web")));
    host.wait_for("! pgrep httpd", seconds(5));
    host.sh("updater-launch rm --force --ignore web");
    wait_for_no_traces(host);
    // A power cut takes all but the network's definition.
    serve(host, "web", flags, &app);
    host.sh(&format!("kill -KILL {}", supervisor(host, "web")));
    host.wait_for("! pgrep httpd", seconds(5));
    host.sh("pkill aardvark; rm -rf /run/updaterd; iptables-restore < /dev/null; ip6tables-restore < /dev/null
         iptables -t nat -F; iptables -t nat -X; iptables -F; iptables -X; ip6tables -t nat -F; ip6tables -t nat -X
         ip6tables -F; ip6tables -X; ip link del $(ip -br link | grep -o '^upd[0-9]*')");
    serve(host, "web", flags, &app);
    wait_for_page(host, "127.0.0.1:8080");
    host.sh("updater-launch rm --force --time 0 web");
    wait_for_no_traces(host);
}

/// A program that may do so takes its interface away; what is the host's goes all the same.
fn a_container_that_spoils_its_network_leaves_nothing(host: &Host) {
    let app = prepare(host);
    let spoil =
        "ip link set eth0 down; ip link set eth0 name gone; ip address add 10.1.2.3/8 dev lo";
    inside(host, "--cap-add NET_ADMIN -p 8080:80", &app, spoil);
    wait_for_no_traces(host);
    inside(host, "--cap-add NET_ADMIN -p 8080:80", &app, "ip link del eth0");
    wait_for_no_traces(host);
}

fn a_setup_that_fails_leaves_nothing(host: &Host) {
    let app = prepare(host);
    host.sh("updater-launch network create --interface-name br9 lan
         ip link add br9 type veth peer name br9x");
    let run = format!("updater-launch run --name web -p 8080:80 --network lan {app} true");
    let failed = host.fails(125, &run);
    assert!(
        failed.stderr.contains("netavark failed to") && failed.stderr.contains("br9"),
        "{}",
        failed.stderr
    );
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
    // What could not be undone then is at the next look.
    host.sh("ip link del br9; updater-launch ps");
    wait_for_no_traces(host);
    host.sh(&run);
    host.sh("updater-launch rm web");
    // What goes wrong after it undoes it.
    host.fails(
        127,
        &format!("updater-launch run --rm -p 8080:80 --network lan {app} /nonexistent"),
    );
    wait_for_no_traces(host);
}

fn a_missing_program_is_named(host: &Host) {
    let app = prepare(host);
    for program in ["aardvark-dns", "netavark"] {
        host.sh(&format!("mv /usr/lib/podman/{program} /usr/lib/podman/{program}.away"));
        let failed = host.fails(125, &format!("updater-launch run --name web {app} true"));
        assert!(
            failed.stderr.contains(&format!("install the package {program}")),
            "{}",
            failed.stderr
        );
        host.sh(&format!("updater-launch run --rm --network host {app} true"));
        assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
        host.sh(&format!("mv /usr/lib/podman/{program}.away /usr/lib/podman/{program}"));
    }
    host.sh("mv /usr/lib/podman/aardvark-dns /usr/lib/podman/away
         updater-launch network create --disable-dns mute");
    host.sh(&format!("updater-launch run --rm --network mute {app} true"));
}

fn networks_are_made_listed_and_removed(host: &Host) {
    let app = prepare(host);
    assert_eq!(host.sh("updater-launch network ls --quiet"), "updaterd");
    let create = "updater-launch network create --subnet 10.99.0.0/24 --subnet fd99::/64 \
        --gateway 10.99.0.9 --label a=b --opt mtu=1400 --opt isolate=true lan";
    assert_eq!(host.sh(create), "lan");
    let lan = &host.json("updater-launch network inspect lan")[0];
    assert_eq!(lan["subnets"][0]["gateway"], "10.99.0.9");
    assert_eq!(lan["subnets"][1]["subnet"], "fd99::/64");
    assert_eq!((&lan["labels"]["a"], &lan["options"]["mtu"]), (&"b".into(), &"1400".into()));
    assert_eq!((&lan["ipv6_enabled"], &lan["driver"]), (&true.into(), &"bridge".into()));
    let id = lan["id"].as_str().unwrap();
    assert_eq!(host.sh("updater-launch network ls --quiet --filter label=a=b"), "lan");
    assert!(host.sh("updater-launch network ls").contains(&id[..12]));
    assert!(host.fails(125, create).stderr.contains("there already"));
    host.sh(&format!("{create} --ignore; updater-launch network exists {}", &id[..9]));
    host.fails(1, "updater-launch network exists nope");
    assert_eq!(inside(host, "--network lan", &app, "cat /sys/class/net/eth0/mtu"), "1400");
    host.sh(&format!("updater-launch create --name web --network {} {app}", &id[..12]));
    let used = host.fails(2, "updater-launch network rm lan");
    assert!(used.stderr.contains("in use by web"), "{}", used.stderr);
    host.sh("updater-launch network prune --force; updater-launch network exists lan");
    host.fails(1, "updater-launch network rm nope");
    host.sh("updater-launch network rm --force nope");
    assert!(host.fails(125, "updater-launch network rm updaterd").stderr.contains("default"));
    host.sh(&format!("updater-launch run -d --name busy --network lan {app} sleep 4711"));
    let containers = &host.json("updater-launch network inspect lan")[0]["containers"];
    assert_eq!(containers.as_object().unwrap().len(), 1);
    assert_eq!(host.sh("updater-launch network rm --force --time 0 lan"), "lan");
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
    host.sh("updater-launch network create one; updater-launch network create two");
    assert_eq!(host.sh("updater-launch network prune --force"), "one\ntwo");
    let made = host.sh("updater-launch network create");
    assert_eq!(
        host.sh("updater-launch network rm $(updater-launch network ls -q | grep -v updaterd)"),
        made
    );
    for (flags, said) in [
        ("--subnet 10.0.0.0/33 x", "not a subnet"),
        ("--subnet 10.77.0.0/24 --gateway 10.78.0.1 x", "gateway"),
        ("--gateway 10.78.0.1 x", "--subnet"),
        ("--subnet 10.77.0.0/24 --ip-range 10.78.0.0/25 x", "--ip-range"),
        ("--driver macvlan x", "macvlan"),
        ("--opt vlan=5 x", "vlan"),
        ("--interface-name no/way x", "no/way"),
        ("--interface-name lo x", "lo"),
        ("host", "host"),
        ("../x", "names must match"),
    ] {
        let refused = host.fails(125, &format!("updater-launch network create {flags}"));
        assert!(refused.stderr.contains(said), "{flags}: {}", refused.stderr);
    }
    wait_for_no_traces(host);
}

fn new_networks_keep_clear_of_the_host(host: &Host) {
    let app = prepare(host);
    host.sh("ip link add lan type bridge; ip link set lan up
         ip address add 10.160.0.7/24 dev lan; ip route add 10.160.1.0/24 dev lan
         ip link add upd0 type bridge
         mkdir -p /etc/containers/networks");
    host.write(
        "/etc/containers/networks/podmans.json",
        r#"{"name":"podmans","id":"x","driver":"bridge","network_interface":"podman1",
            "created":"2024-01-01T00:00:00Z","subnets":[{"subnet":"10.160.2.0/24","gateway":"10.160.2.1"}]}"#,
    );
    let route = inside(host, "", &app, "ip route");
    assert!(route.contains("10.160.3.0/24"), "{route}");
    let default = &host.json("updater-launch network inspect updaterd")[0];
    assert_eq!(default["network_interface"], "upd1");
    for taken in ["10.160.0.0/16", "10.160.1.128/25", "10.160.2.0/24", "10.88.5.0/24"] {
        let create = format!("updater-launch network create --subnet {taken} x");
        assert!(host.fails(125, &create).stderr.contains("overlaps"), "{taken}");
    }
}

fn units_that_start_at_once_have_addresses_of_their_own(host: &Host) {
    let app = prepare(host);
    let names: Vec<String> = (0..6).map(|n| format!("web{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        ContainerUnit::new(name, &app)
            .flag(&format!("--network bridge -p 808{n}:80"))
            .command("httpd -f -p 80 -h /app")
            .write(host);
    }
    host.sh(&format!("systemctl start {}", names.join(" ")));
    for n in 0..names.len() {
        wait_for_page(host, &format!("127.0.0.1:808{n}"));
    }
    let addresses = host
        .sh("cut -d ' ' -f 2 /run/updaterd/network/netavark/aardvark-dns/updaterd-* \
         | tail -n +2 | sort -u | wc -l");
    assert_eq!(addresses, "6");
    assert_eq!(inside(host, "", &app, &format!("{GET} http://web3/version")), "v1");
    host.sh(&format!("systemctl stop {}", names.join(" ")));
    wait_for_no_traces(host);
}

fn a_unit_keeps_its_address(host: &Host) {
    let app = prepare(host);
    serve(host, "other", "", &app);
    let unit =
        ContainerUnit::new("web", &app).flag("--network bridge").command("httpd -f -p 80 -h /app");
    unit.start(host);
    let look = || {
        let settings = &host.json("updater-launch inspect web")[0]["NetworkSettings"];
        (settings["IPAddress"].clone(), settings["MacAddress"].clone())
    };
    let before = look();
    let get =
        format!("updater-launch exec other {GET} http://{}/version", before.0.as_str().unwrap());
    assert_eq!(host.sh(&get), "v1");
    host.sh("systemctl restart web");
    assert_eq!(look(), before);
    assert_eq!(host.sh(&get), "v1");
}

fn a_pod_has_a_network_and_ports(host: &Host) {
    let app = prepare(host);
    serve(host, "other", "", &app);
    host.sh("updater-launch pod create --name duo -p 8080:80 --add-host db:10.9.9.9");
    serve(host, "web", "--pod duo", &app);
    host.sh(&format!("updater-launch run -d --name second --pod duo {app} sleep 4711"));
    wait_for_page(host, "127.0.0.1:8080");
    let inside = host.sh(&format!(
        "updater-launch exec second sh -c '{GET} http://127.0.0.1/version; cat /etc/hosts; \
         {GET} http://other/version'"
    ));
    assert!(inside.starts_with("v1\n") && inside.contains("10.9.9.9\tdb"), "{inside}");
    assert!(inside.ends_with("v1"), "{inside}");
    assert_eq!(host.sh(&format!("updater-launch exec other {GET} http://duo/version")), "v1");
    assert_eq!(host.sh("updater-launch port web"), "80/tcp -> 0.0.0.0:8080");
    assert!(host.sh("updater-launch ps").contains("0.0.0.0:8080->80/tcp"));
    assert!(
        host.fails(2, "updater-launch network rm updaterd || exit 2").stderr.contains("default")
    );
    host.fails(125, &format!("updater-launch run --pod duo -p 8081:80 {app} true"));
    // One of them comes back to the same network.
    host.sh("updater-launch rm --force --time 0 web");
    serve(host, "web", "--pod duo", &app);
    wait_for_page(host, "127.0.0.1:8080");
    host.sh("updater-launch pod rm --force --time 0 duo; updater-launch rm --force --time 0 other");
    wait_for_no_traces(host);
}

fn a_name_server_that_was_killed_comes_back(host: &Host) {
    let app = prepare(host);
    serve(host, "web", "", &app);
    host.sh("pkill -KILL aardvark-dns");
    let get = format!("{GET} http://web/version");
    assert_eq!(inside(host, "", &app, &get), "v1");
    // Its number may be anybody's by now, who must not be sent a signal.
    host.sh("systemd-run --quiet --unit innocent sleep 4711; pkill -KILL aardvark-dns
         systemctl show --value --property MainPID innocent | tr -d '\\n' \
           > /run/updaterd/network/netavark/aardvark-dns/aardvark.pid");
    assert_eq!(inside(host, "", &app, &get), "v1");
    host.sh("systemctl is-active innocent; updater-launch rm --force --time 0 web");
    wait_for_no_traces(host);
}
