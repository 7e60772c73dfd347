//! User namespaces of root's containers: who their users are on the host.

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::registry::{Registry, offer_image};

cases![
    auto_gives_each_container_users_of_its_own,
    files_are_the_containers_own,
    what_is_bound_of_the_host_stays_the_hosts,
    exec_is_in_the_user_namespace,
    users_are_kept_over_a_start_and_given_back,
    maps_are_as_they_are_written,
    networks_belong_to_the_containers_users,
    networks_of_others_are_joined,
    a_pod_has_users_of_its_own,
    volumes_are_shown_by_the_containers_users,
    files_are_copied_in_and_out,
    what_cannot_be_mapped_is_refused,
    a_unit_with_users_of_its_own_is_updated,
];

/// A registry with `app:latest`, whose user `app` has the number 1000.
fn prepare(host: &Host) -> String {
    let mut layer = Layer::new();
    layer.file_of((1000, 1001), "srv/theirs", b"theirs");
    host.sh("echo containers:200000:100000 | tee /etc/subuid > /etc/subgid");
    offer_image(host, &Image::app("v1").layer(layer))
}

fn uid_of(host: &Host, name: &str) -> String {
    let init = host.sh(&format!("updater-launch inspect --format '{{{{.State.Pid}}}}' {name}"));
    host.sh(&format!("stat --format=%u:%g /proc/{init}"))
}

fn auto_gives_each_container_users_of_its_own(host: &Host) {
    let app = prepare(host);
    let run = "updater-launch run --detach --network none --userns";
    host.sh(&format!("{run} auto --name one {app}; {run} auto:size=3000 --name two {app}"));
    host.sh(&format!("{run} auto --name three {app}; {run} container:two --name guest {app}"));
    let users = ["one", "two", "three", "guest"].map(|name| uid_of(host, name));
    assert_eq!(users, ["200000:200000", "201024:201024", "204024:204024", "201024:201024"]);
    let map = host.sh("updater-launch exec two cat /proc/self/uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "201024", "3000"]);
    // Many at once have as many ranges.
    host.sh(&format!(
        "for i in 1 2 3 4 5 6 7 8; do {run} auto --name many$i {app} > /dev/null & done; wait"
    ));
    let mut many: Vec<_> = (1..9).map(|i| uid_of(host, &format!("many{i}"))).collect();
    many.sort();
    many.dedup();
    assert_eq!(many.len(), 8);
    host.sh("updater-launch rm --force --time 0 one two three guest $(seq -f many%g 8)");
    assert_eq!(
        host.sh("ls -A /var/lib/updaterd/containers /run/updaterd/runtime").lines().count(),
        3
    );
    assert_eq!(host.sh("findmnt --noheadings /run/updaterd-mounts || true"), "");
}

fn files_are_the_containers_own(host: &Host) {
    let app = prepare(host);
    let run = format!(
        "updater-launch run --rm --network none --userns auto --volume data:/data --tmpfs /scratch {app}"
    );
    let seen = host.sh(&format!(
        "{run} sh -c 'stat -c %u:%g / /etc/hosts /srv/theirs /data /scratch /dev/shm /dev/pts
         touch /data/roots /new; chown app:app /data /new; stat -c %u:%g /new'"
    ));
    assert_eq!(seen, "0:0\n0:0\n1000:1001\n0:0\n0:0\n0:0\n0:0\n1000:1001");
    // The volume's files are the next container's too, which has other users on the host.
    host.sh(&format!("updater-launch run -d --network none --userns auto --name other {app}"));
    let again = run.replace("--rm", "--rm --user app");
    host.sh(&format!("{again} sh -c 'cat /srv/theirs; touch /data/apps; echo hi > /dev/stdout'"));
    let on_disk = "stat --format=%u:%g /var/lib/updaterd/volumes/data/_data/*";
    assert_eq!(host.sh(on_disk), "1000:1001\n0:0");
    assert_ne!(host.run(&format!("{again} sh -c 'echo x > /bin/sh'")).status, 0);
    let read_only = run.replace("--rm", "--rm --read-only");
    host.sh(&format!("{read_only} sh -c 'touch /run/x /tmp/x /data/x'"));
    assert_ne!(host.run(&format!("{read_only} touch /x")).status, 0);
}

fn what_is_bound_of_the_host_stays_the_hosts(host: &Host) {
    let app = prepare(host);
    // Below a directory that nobody else may enter.
    host.sh("mkdir -p /root/private/open; chmod 700 /root/private; chmod 777 /root/private/open; echo x > /root/private/file");
    let run = "updater-launch run --rm --network none --userns auto";
    let bound = format!("{run} --volume /root/private/open:/v --volume /root/private/file:/f:ro");
    let seen =
        host.sh(&format!("{bound} {app} sh -c 'stat -c %u:%g /v /f; cat /f; touch /v/made'"));
    assert_eq!(seen, "65534:65534\n65534:65534\nx");
    assert_eq!(host.sh("stat --format=%u:%g /root/private/open/made"), "200000:200000");
    assert_ne!(host.run(&format!("{run} --volume /root/private:/v {app} ls /v")).status, 0);
    // Unless it is made over.
    let given = format!("{run} --user app --volume /root/private/open:/v:U {app}");
    host.sh(&format!("{given} sh -c 'echo x > /v/made'"));
    assert_eq!(host.sh("stat --format=%u:%g /root/private/open"), "201000:201001");
}

fn exec_is_in_the_user_namespace(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("updater-launch run -d --network none --userns auto --name app {app}"));
    let exec = |rest: &str| host.sh(&format!("updater-launch exec {rest}"));
    let own = exec("app readlink /proc/1/ns/user");
    assert_ne!(own, host.sh("readlink /proc/self/ns/user"));
    for flags in ["", "--privileged", "--user app", "--user 77:78"] {
        assert_eq!(exec(&format!("{flags} app readlink /proc/self/ns/user")), own, "{flags}");
    }
    assert_eq!(exec("--user app app id"), "uid=1000(app) gid=1001(app) groups=1002(extra)");
    let status = exec("--user app app grep -E 'CapPrm|CapBnd|Seccomp:' /proc/self/status");
    assert!(status.contains("CapPrm:\t0000000000000000"), "{status}");
    assert!(status.contains("CapBnd:\t00000000800405fb"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    // What only the host's root may.
    host.fails(1, "updater-launch exec --privileged app sh -c 'echo 1 > /proc/sys/kernel/sysrq'");
    let refused = host.fails(125, "updater-launch exec --user 5000 app true");
    assert!(refused.stderr.contains("user 5000"), "{}", refused.describe());
}

fn users_are_kept_over_a_start_and_given_back(host: &Host) {
    let app = prepare(host);
    let run = "updater-launch run --detach --network none --userns auto --name";
    host.sh(&format!("{run} first {app}; {run} kept {app}; updater-launch exec kept touch /made"));
    let before = uid_of(host, "kept");
    host.sh("updater-launch stop --time 0 kept; updater-launch rm --force --time 0 first");
    // What is free now is others'; what is kept is not.
    host.sh(&format!("{run} second {app}; {run} third {app}"));
    assert_eq!(uid_of(host, "second"), "200000:200000");
    let pid = host.sh("updater-launch inspect --format '{{.State.ConmonPid}}' second");
    host.sh("updater-launch start kept");
    assert_eq!(uid_of(host, "kept"), before);
    assert_eq!(host.sh("updater-launch exec kept stat -c %u /made"), "0");
    // Of a supervisor that was killed, nothing keeps the container from its next start.
    host.sh(&format!("kill -KILL {pid}"));
    let state = "updater-launch inspect --format '{{.State.Running}}' second | grep false";
    host.wait_for(state, seconds(10));
    host.sh("updater-launch start second");
    assert_eq!(uid_of(host, "second"), "200000:200000");
    host.sh("updater-launch restart --time 0 second");
    assert_eq!(host.sh("updater-launch exec second stat -c %u /srv/theirs"), "1000");
}

fn maps_are_as_they_are_written(host: &Host) {
    let app = prepare(host);
    let run = "updater-launch run --rm --network none";
    let map = |flags: &str| {
        let text =
            host.sh(&format!("{run} {flags} {app} cat /proc/self/uid_map /proc/self/gid_map"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(map("--uidmap 0:5000:2000"), "0 5000 2000 0 5000 2000");
    assert_eq!(map("--uidmap 0:5000:1 --gidmap 0:7000:3"), "0 5000 1 0 7000 3");
    assert_eq!(map("--subuidname containers"), "0 200000 100000 0 200000 100000");
    assert_eq!(map("--userns host"), "0 0 4294967295 0 0 4294967295");
    let on_host = host
        .sh(&format!("updater-launch run --rm --network host --userns auto {app} cat /etc/hosts"));
    assert!(on_host.contains("localhost"), "{on_host}");
}

/// What is in a network is its owner's to change: the container's root, on all but the host's.
fn networks_belong_to_the_containers_users(host: &Host) {
    let app = prepare(host);
    let flags =
        "--userns auto --publish 8080:80 --sysctl net.ipv4.ip_forward=1 --cap-add NET_ADMIN";
    let run = format!("updater-launch run --detach {flags} --name web {app}");
    host.sh(&format!("{run} httpd -f -p 80 -h /app"));
    let page = |address: &str| format!("busybox wget -q -O - http://{address}/version | grep v1");
    host.wait_for(&page("127.0.0.1:8080"), seconds(10));
    let inside = |what: &str| host.sh(&format!("updater-launch exec web {what}"));
    inside("ip address add 198.51.100.7/32 dev eth0");
    assert!(inside("ip address show dev eth0").contains("198.51.100.7"));
    assert_eq!(inside("cat /proc/sys/net/ipv4/ip_forward"), "1");
    assert_eq!(inside("stat -c %u /proc/sys/net/ipv4/ip_forward"), "0");
    let written = "echo 0 > /proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward";
    let all = format!("updater-launch run --rm --privileged --userns auto {app} sh -c '{written}'");
    assert_eq!(host.sh(&all), "0");
    // Without the capability, its root is no more than any.
    let plain = format!("updater-launch run --rm --userns auto {app} ip link set lo down");
    assert_ne!(host.run(&plain).status, 0);
    // Another one finds it by its name.
    let ask =
        format!("updater-launch run --rm --userns auto {app} wget -q -O - http://web/version");
    assert_eq!(host.sh(&ask), "v1");
    // Of a supervisor that was killed nothing stays, and the next one has the port at once.
    let pid = host.sh("updater-launch inspect --format '{{.State.ConmonPid}}' web");
    host.sh(&format!("kill -KILL {pid}"));
    host.wait_for("! pgrep httpd", seconds(10));
    host.sh("updater-launch start web");
    host.wait_for(&page("127.0.0.1:8080"), seconds(10));
    host.sh("updater-launch rm --force --time 0 web");
    assert_eq!(host.sh("ls -A /run/updaterd/network/owners"), "");
    assert_eq!(host.sh("ip -o link show type bridge"), "");
}

fn networks_of_others_are_joined(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("updater-launch run -d --network none --name plain {app}"));
    host.sh(&format!("updater-launch run -d --userns auto --network none --name own {app}"));
    let own = host.sh("readlink /proc/self/ns/net");
    let run = "updater-launch run --rm --userns auto --network";
    for other in ["plain", "own"] {
        let theirs = host.sh(&format!("updater-launch exec {other} readlink /proc/self/ns/net"));
        assert_ne!(theirs, own);
        let joined = format!("{run} container:{other} {app} readlink /proc/self/ns/net");
        assert_eq!(host.sh(&joined), theirs);
        host.sh(&format!("updater-launch run -d --userns auto --network container:{other} --name with-{other} {app}"));
        let entered = format!("updater-launch exec with-{other} readlink /proc/self/ns/net");
        assert_eq!(host.sh(&entered), theirs);
        let pid = host.sh(&format!("updater-launch inspect --format '{{{{.State.Pid}}}}' {other}"));
        let joined = format!("{run} ns:/proc/{pid}/ns/net {app} readlink /proc/self/ns/net");
        assert_eq!(host.sh(&joined), theirs);
    }
    // The launcher itself is where it was: what it starts next has a way out.
    host.sh(&format!("updater-launch run -d --restart always --userns auto --network container:plain --name again {app} sh -c 'readlink /proc/self/ns/net; sleep 0.2'"));
    host.wait_for("test $(updater-launch logs again | wc -l) -ge 2", seconds(10));
    let pid = host.sh("updater-launch inspect --format '{{.State.ConmonPid}}' again");
    assert_eq!(host.sh(&format!("readlink /proc/{pid}/ns/net")), own);
}

fn a_pod_has_users_of_its_own(host: &Host) {
    let app = prepare(host);
    host.sh("updater-launch pod create --name duo --userns auto:size=3000 --publish 8080:80 --share +pid");
    let run = "updater-launch run --detach --pod duo";
    host.sh(&format!("{run} --name web {app} httpd -f -p 80 -h /app; {run} --name two {app}"));
    host.wait_for("busybox wget -q -O - http://127.0.0.1:8080/version | grep v1", seconds(10));
    assert_eq!(uid_of(host, "web"), "200000:200000");
    let look = |name: &str, what: &str| host.sh(&format!("updater-launch exec {name} {what}"));
    for namespace in ["user", "net", "ipc", "uts", "pid"] {
        let link = format!("readlink /proc/self/ns/{namespace}");
        assert_eq!(look("web", &link), look("two", &link), "{namespace}");
        assert_ne!(look("web", &link), host.sh(&link), "{namespace}");
    }
    assert_eq!(look("two", "stat -c %u:%g:%a /dev/shm"), "0:0:1777");
    assert_eq!(look("two", "stat -c %u:%g /srv/theirs /etc/hosts"), "1000:1001\n0:0");
    look("two", "sh -c 'touch /dev/shm/x; hostname'");
    assert_eq!(look("web", "stat -c %u /dev/shm/x"), "0");
    let mode = "{{.HostConfig.UsernsMode}} {{index .HostConfig.IDMappings.UidMap 0}}";
    let shown = host.sh(&format!("updater-launch inspect --format '{mode}' two"));
    assert_eq!(shown, "private 0:200000:3000");
    // Nobody else has them, as long as there is the pod.
    host.sh(&format!("updater-launch run -d --userns auto --network none --name single {app}"));
    assert_eq!(uid_of(host, "single"), "203000:203000");
    host.sh("updater-launch pod stop --time 0 duo; updater-launch pod start duo");
    host.sh("updater-launch start web; updater-launch rm --force --time 0 two");
    assert_eq!(uid_of(host, "web"), "200000:200000");
    host.sh(&format!("updater-launch pod rm --force duo; {run} --help > /dev/null"));
    host.sh(&format!("updater-launch run -d --userns auto --network none --name next {app}"));
    assert_eq!(uid_of(host, "next"), "200000:200000");
    // A pod that a container brings along has what was asked of the container.
    host.sh(&format!(
        "updater-launch run -d --pod new:fresh --userns auto:size=1000 --name only {app}"
    ));
    assert_eq!(uid_of(host, "only"), "201024:201024");
}

fn volumes_are_shown_by_the_containers_users(host: &Host) {
    let app = prepare(host);
    // The box's own root is an overlay, which takes no map.
    host.sh("mount -t tmpfs tmpfs /srv; mkdir /srv/d; touch /srv/d/{one,two}; chown 5:6 /srv/d/one; chown 1000:1001 /srv/d/two");
    let run = "updater-launch run --rm --network none --userns auto";
    let shown = |option: &str| {
        host.sh(&format!("{run} --volume '/srv/d:/d:{option}' {app} stat -c %u:%g /d/one /d/two"))
    };
    assert_eq!(shown("idmap"), "5:6\n1000:1001");
    assert_eq!(shown("idmap=uids=5-200003-1;gids=6-200009-1"), "3:9\n65534:65534");
    assert_eq!(shown("idmap=uids=@5-3-1#1000-4-1;gids=6-200009-1"), "3:9\n4:65534");
    assert_eq!(shown("ro"), "65534:65534\n65534:65534");
    let mount = "--mount type=bind,source=/srv/d,target=/d,idmap";
    host.sh(&format!("{run} {mount} {app} sh -c 'echo x > /d/new; chown app:app /d/new'"));
    assert_eq!(host.sh("stat -c %u:%g /srv/d/new"), "1000:1001");
    // A named volume is the container's own anyway.
    let named = format!("{run} --volume data:/srv:idmap {app} stat -c %u:%g /srv/theirs");
    assert_eq!(host.sh(&named), "1000:1001");
    assert_eq!(host.sh(&named), "1000:1001");
}

/// From outside, the container's files are other users'.
fn files_are_copied_in_and_out(host: &Host) {
    let app = prepare(host);
    host.sh(&format!(
        "updater-launch run -d --network none --userns auto --user app --name one {app}"
    ));
    host.sh("echo in > /tmp/in; chown 7:8 /tmp/in; mkdir /tmp/tree; echo x > /tmp/tree/x");
    for state in ["running", "stopped"] {
        host.sh("updater-launch cp /tmp/in one:/tmp/in; updater-launch cp /tmp/tree one:/tmp/");
        host.sh("updater-launch cp one:/srv/theirs /tmp/theirs; updater-launch cp one:/tmp/in /tmp/back");
        assert_eq!(host.sh("cat /tmp/theirs /tmp/back"), "theirsin", "{state}");
        host.sh("updater-launch cp one:/srv - | tar --list --verbose --numeric-owner > /tmp/list");
        let listed = host.sh("grep theirs /tmp/list");
        assert!(listed.contains("1000/1001"), "{state}: {listed}");
        if state == "running" {
            host.sh("updater-launch stop --time 0 one");
        }
    }
    host.sh("updater-launch start one");
    let seen = host.sh("updater-launch exec one stat -c %u:%g /tmp/in /tmp/tree /tmp/tree/x");
    assert_eq!(seen, "1000:1001\n1000:1001\n1000:1001");
}

fn what_cannot_be_mapped_is_refused(host: &Host) {
    let app = prepare(host);
    let refused = |flags: &str, why: &str| {
        let run = format!("updater-launch run --rm --network none {flags} {app} true");
        let outcome = host.fails(125, &run);
        assert!(outcome.stderr.contains(why), "{flags}: {}", outcome.describe());
    };
    refused("--userns auto:size=100001", "make the range longer");
    refused("--userns keep-id", "keep-id is only supported in rootless mode");
    refused("--userns nomap", "nomap is only supported in rootless mode");
    for command in [format!("create --userns nomap {app}"), "pod create --userns keep-id".into()] {
        let refused = host.fails(125, &format!("updater-launch {command}"));
        assert!(refused.stderr.contains("only supported in rootless"), "{}", refused.describe());
    }
    host.sh("updater-launch pod create --name pod --network none");
    refused("--pod pod --userns auto", "--userns and --pod cannot be set together");
    host.sh("updater-launch pod rm pod");
    refused("--volume /srv:/v:idmap", "it has none");
    refused("--userns auto --volume /srv:/v:idmap=uids=@0-5000-1", "not all of these are users");
    refused("--userns container:none", "no container \"none\"");
    refused("--userns ns:/proc/self/ns/user", "the host's own");
    refused("--uidmap 1:5000:10", "user 0 of the container is not in the map");
    refused("--uidmap 0:5000:10 --user app", "user 1000 of the container is not in the map");
    refused("--uidmap 0:5000:10 --userns auto", "exclude each other");
    refused("--uidmap nonsense", "CONTAINER-ID:HOST-ID");
    refused("--subuidname nobody", "/etc/subuid has no range for nobody");
    host.sh(": > /etc/subuid");
    refused("--userns auto", "add a line such as \"containers:100000:65536\"");
    assert_eq!(host.sh("ls -A /var/lib/updaterd/containers"), "");
}

fn a_unit_with_users_of_its_own_is_updated(host: &Host) {
    use crate::units::{ContainerUnit, configure_quiet, version};
    let registry = Registry::start(host);
    host.sh("echo containers:200000:100000 | tee /etc/subuid > /etc/subgid");
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    ContainerUnit::new("app", &app).flag("--userns auto --cgroups split").start(host);
    assert_eq!(uid_of(host, "app"), "200000:200000");
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}
