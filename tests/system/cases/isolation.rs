//! What keeps a container of `updater-launch` to itself: its filter of system calls, its namespaces,
//! its limits, and what of that can be opened.

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::registry::{offer, prepare, prepare_image};
use crate::someone::Someone;

cases![
    seccomp_profiles,
    compiled_profiles_are_kept,
    profiles_that_cannot_be_used_are_refused,
    no_new_privileges,
    masked_and_unmasked_paths,
    security_modules_that_are_not_there,
    namespaces_of_the_host,
    namespaces_of_another_container,
    namespaces_that_cannot_be_joined,
    what_a_container_with_the_hosts_processes_leaves_ends,
    privileged,
    privileged_commands_in_a_container,
    kernel_parameters,
    limits_of_processes,
    groups_and_umask,
    time_zones,
    limits_need_a_delegated_controller,
    settings_of_a_cgroup,
    rules_for_devices,
    inspect_shows_the_confinement,
    containers_of_ordinary_users,
];

fn run(flags: &str, image: &str, command: &str) -> String {
    format!("updater-launch run --rm --network host {flags} {image} {command}")
}

/// Starts `web` in the background.
fn start(host: &Host, flags: &str, image: &str) {
    let command = "sh -c 'while :; do sleep 1000; done'";
    host.sh(&run(&format!("-d --name web --stop-timeout 0 {flags}"), image, command));
}

fn exec(command: &str) -> String {
    format!("updater-launch exec web {command}")
}

/// A field of `/proc/self/status`, as a command of a container prints it.
fn field(name: &str) -> String {
    format!("sh -c \"grep ^{name}: /proc/self/status | tr -d '\\t' | cut -d: -f2\"")
}

/// Allows all but mkdir(2).
const NO_DIRECTORIES: &str = r#"{
    "defaultAction": "SCMP_ACT_ALLOW",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [{"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO",
        "errno": "EROFS", "excludes": {"caps": ["CAP_SYS_ADMIN"]}}]
}"#;

fn seccomp_profiles(host: &Host) {
    let app = prepare(host);
    host.write("/tmp/profile.json", NO_DIRECTORIES);
    let profile = "--security-opt seccomp=profile.json";
    let made = host.run(&format!("cd /tmp; {}", run(profile, &app, "mkdir /new")));
    assert!(made.stderr.contains("Read-only file system"), "{}", made.describe());
    // The rule is not for who has the capability.
    host.sh(&format!("cd /tmp; {} --cap-add SYS_ADMIN {app} mkdir /new", run(profile, "", "")));
    // A command that enters the container has the same filter.
    host.sh("cp /tmp/profile.json /tmp/changed.json");
    start(host, "--security-opt seccomp=/tmp/changed.json", &app);
    host.sh("rm /tmp/changed.json");
    let made = host.run(&exec("mkdir /new"));
    assert!(made.stderr.contains("Read-only file system"), "{}", made.describe());
    assert_eq!(host.sh(&exec(&field("Seccomp"))), "2");
    host.sh("updater-launch rm --force web");

    let killed = NO_DIRECTORIES.replace("SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS");
    host.write("/tmp/profile.json", &killed);
    let killed = host.run(&run("--security-opt seccomp=/tmp/profile.json", &app, "mkdir /new"));
    assert_eq!(killed.status, 128 + 31, "{}", killed.describe());

    let unconfined = "--security-opt seccomp=unconfined";
    assert_eq!(host.sh(&run(unconfined, &app, &field("Seccomp"))), "0");
    start(host, unconfined, &app);
    assert_eq!(host.sh(&exec(&field("Seccomp"))), "0");
}

fn compiled_profiles_are_kept(host: &Host) {
    let app = prepare(host);
    host.write("/tmp/profile.json", NO_DIRECTORIES);
    let confined = || {
        let flags = "--security-opt seccomp=/tmp/profile.json";
        let made = host.run(&run(flags, &app, "mkdir /new"));
        assert!(made.stderr.contains("Read-only file system"), "{}", made.describe());
    };
    let kept = || host.sh("stat -c '%i %a %U' /run/updaterd/seccomp/*");
    confined();
    let first = kept();
    assert!(first.ends_with(" 600 root"), "{first}");
    confined();
    assert_eq!(kept(), first, "it is used, not made again");
    // Whatever somebody else could have put there is not believed.
    let empty = "file=$(echo /run/updaterd/seccomp/*); cp /tmp/open $file; chmod 666 $file";
    host.write("/tmp/open", "seccomp1\0\0\0\0\u{6}\0\0\0\0\0\u{7f}");
    host.sh(empty);
    confined();
    assert!(kept().ends_with(" 600 root"), "{}", kept());
    host.sh("file=$(echo /run/updaterd/seccomp/*); rm $file; ln -s /tmp/open $file");
    confined();
    host.sh("file=$(echo /run/updaterd/seccomp/*); chown 1000 $file");
    confined();
}

fn profiles_that_cannot_be_used_are_refused(host: &Host) {
    let app = prepare(host);
    let flags = "--security-opt seccomp=/tmp/profile.json";
    let refused = host.fails(125, &run(flags, &app, "true"));
    assert!(refused.stderr.contains("/tmp/profile.json"), "{}", refused.describe());
    for (text, part) in [
        ("nonsense", "not a seccomp profile"),
        (r#"{"defaultAction": "SCMP_ACT_NONE"}"#, "SCMP_ACT_NONE"),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
                [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "rule 1 (read)",
        ),
    ] {
        host.write("/tmp/profile.json", text);
        let refused = host.fails(125, &run(flags, &app, "true"));
        assert!(refused.stderr.contains(part), "{}", refused.describe());
    }
    let refused = host.fails(125, &run("--security-opt nonsense=1", &app, "true"));
    assert!(refused.stderr.contains("nonsense=1"), "{}", refused.describe());
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
    assert_eq!(host.sh("ls /var/lib/updaterd/containers"), "");
}

fn no_new_privileges(host: &Host) {
    let app = prepare(host);
    for (flags, expected) in [
        ("", "0"),
        ("--security-opt no-new-privileges", "1"),
        ("--security-opt no-new-privileges:true", "1"),
        ("--security-opt no-new-privileges=false", "0"),
        ("--security-opt no-new-privileges --user 1000", "1"),
    ] {
        start(host, flags, &app);
        assert_eq!(
            host.sh(&exec("grep NoNewPrivs: /proc/1/status")),
            format!("NoNewPrivs:\t{expected}")
        );
        assert_eq!(host.sh(&exec(&field("NoNewPrivs"))), expected, "{flags}");
        assert_eq!(host.sh(&exec(&field("Seccomp"))), "2", "{flags}");
        host.sh("updater-launch rm --force web");
    }
}

fn masked_and_unmasked_paths(host: &Host) {
    let app = prepare(host);
    let mounts = |flags: &str| host.sh(&run(flags, &app, "cat /proc/self/mounts"));
    let has = |mounts: &str, target: &str| mounts.contains(&format!(" {target} "));
    let usual = mounts("");
    assert!(has(&usual, "/proc/keys") && has(&usual, "/proc/sys"), "{usual}");
    let one = mounts("--security-opt unmask=/proc/k*:/proc/irq");
    assert!(!has(&one, "/proc/keys") && has(&one, "/proc/timer_list"), "{one}");
    assert!(!has(&one, "/proc/irq") && has(&one, "/proc/sys"), "{one}");
    let none = mounts("--security-opt unmask=ALL");
    assert!(!has(&none, "/proc/keys") && !has(&none, "/proc/sys"), "{none}");
    let masked = "--security-opt mask=/app:/etc/passwd";
    assert_eq!(host.sh(&run(masked, &app, "sh -c 'ls /app; cat /etc/passwd'")), "");
    let hidden = mounts("--security-opt proc-opts=hidepid=2");
    let proc = hidden.lines().find(|line| line.contains(" /proc proc ")).unwrap();
    assert!(proc.contains("hidepid=") && proc.contains("nosuid"), "{proc}");
    host.fails(125, &run("--security-opt mask=app", &app, "true"));
    host.fails(125, &run("--security-opt proc-opts=nonsense=1", &app, "true"));
}

/// This host has neither AppArmor nor SELinux.
fn security_modules_that_are_not_there(host: &Host) {
    let app = prepare(host);
    for (option, part) in
        [("apparmor=mine", "AppArmor is not enabled"), ("label=type:spc_t", "SELinux")]
    {
        let refused = host.fails(125, &run(&format!("--security-opt {option}"), &app, "true"));
        assert!(refused.stderr.contains(part), "{}", refused.describe());
    }
    let open = "--security-opt apparmor=unconfined --security-opt label=disable";
    host.sh(&run(open, &app, "true"));
}

const NAMESPACES: &str = "sh -c 'for n in pid ipc uts cgroup; do readlink /proc/self/ns/$n; done'";

fn namespaces_of_the_host(host: &Host) {
    let app = prepare(host);
    let of_host: Vec<String> = host.sh(NAMESPACES).lines().map(str::to_owned).collect();
    let of = |flags: &str| host.sh(&run(flags, &app, NAMESPACES));
    let own = of("");
    assert!(of_host.iter().all(|namespace| !own.contains(namespace)), "{own}");
    for (number, flag) in ["--pid", "--ipc", "--uts", "--cgroupns"].into_iter().enumerate() {
        let joined = of(&format!("{flag} host"));
        for (other, namespace) in of_host.iter().enumerate() {
            assert_eq!(joined.contains(namespace), other == number, "{flag}: {joined}");
        }
        let private = of(&format!("{flag} private"));
        assert!(!private.contains(&of_host[number]), "{flag}: {private}");
    }
    // What is shared by name is there, too.
    host.sh("touch /dev/shm/of-the-host");
    host.sh(&run("--ipc host", &app, "test -e /dev/shm/of-the-host"));
    host.fails(1, &run("", &app, "test -e /dev/shm/of-the-host"));
    host.fails(1, &run("--ipc none", &app, "test -e /dev/shm"));
    let name = host.sh("uname -n");
    assert_eq!(host.sh(&run("--uts host", &app, "uname -n")), name);
    assert_eq!(host.sh(&run("--uts host", &app, "cat /etc/hostname")), name);
    let refused = host.fails(125, &run("--uts host --hostname x", &app, "true"));
    assert!(refused.stderr.contains("--hostname"), "{}", refused.describe());
    let cgroup = host.sh(&run("--cgroupns host", &app, "cat /proc/self/cgroup"));
    assert!(cgroup.contains("/payload-"), "{cgroup}");
    // One that is named by its path.
    let path = run("--uts ns:/proc/1/ns/uts", &app, "readlink /proc/self/ns/uts");
    assert_eq!(host.sh(&path), host.sh("readlink /proc/1/ns/uts"));
    // A command that enters has the same.
    start(host, "--pid host --uts host --ipc host --cgroupns host", &app);
    assert_eq!(host.sh(&exec(NAMESPACES)), of_host.join("\n"));
}

fn namespaces_of_another_container(host: &Host) {
    let app = prepare(host);
    start(host, "--hostname theirs", &app);
    let theirs = host.sh(&exec(NAMESPACES));
    let all =
        "--pid container:web --ipc container:web --uts container:web --cgroupns container:web";
    assert_eq!(host.sh(&run(all, &app, NAMESPACES)), theirs);
    assert_eq!(host.sh(&run(all, &app, "sh -c 'uname -n; cat /etc/hostname'")), "theirs\ntheirs");
    let ps = host.sh(&run("--pid container:web", &app, "ps"));
    assert!(ps.contains("while :;"), "{ps}");
    host.sh(&exec("sh -c 'echo shared > /dev/shm/file'"));
    let ipc = "--ipc container:web";
    assert_eq!(host.sh(&run(ipc, &app, "cat /dev/shm/file")), "shared");
    host.sh(&run(ipc, &app, "sh -c 'echo back > /dev/shm/file'"));
    assert_eq!(host.sh(&exec("cat /dev/shm/file")), "back");
    assert_eq!(host.sh("grep -c /run/updaterd /proc/mounts || true"), "0");
}

fn namespaces_that_cannot_be_joined(host: &Host) {
    let app = prepare(host);
    let refused = |flags: &str, part: &str| {
        let refused = host.fails(125, &run(flags, &app, "true"));
        assert!(refused.stderr.contains(part), "{flags}: {}", refused.describe());
    };
    refused("--pid container:web", "no container \"web\"");
    refused("--pid nonsense", "container:NAME");
    refused("--pid ns:/proc/1/ns/uts", "not a namespace of that kind");
    refused("--ipc ns:/etc/passwd", "not a namespace of that kind");
    refused("--uts ns:/no/such", "/no/such");
    refused("--systemd=always --cgroupns=host", "--cgroupns");
    host.sh(&format!("updater-launch create --network host --name web {app}"));
    refused("--ipc container:web", "does not run");
    host.sh("updater-launch rm web");
    start(host, "--ipc private", &app);
    refused("--ipc container:web", "keeps its IPC namespace to itself");
    host.sh(&run("--pid container:web", &app, "true"));
    assert_eq!(host.sh("updater-launch ps --all --quiet | wc -l"), "1");
}

fn what_a_container_with_the_hosts_processes_leaves_ends(host: &Host) {
    let app = prepare(host);
    host.sh(&run("--pid host", &app, "sh -c 'sleep 4242 & true'"));
    host.wait_for("! pgrep -fx 'sleep 4242'", seconds(5));
    assert_eq!(host.sh("find /sys/fs/cgroup -name 'payload-*' | wc -l"), "0");
}

/// A device of the host that it can open itself, and containers by default not: its numbers.
fn some_device(host: &Host) -> String {
    let numbers = host.sh("for numbers in '10 229' '10 237' '5 1' '4 0'; do
             rm -f /srv/node; mknod -m 600 /srv/node c $numbers
             if (: < /srv/node) 2>/dev/null; then echo $numbers; break; fi
         done");
    assert_ne!(numbers, "", "no device to try with");
    numbers
}

/// A script that makes a node of a device and says whether it can be opened.
fn try_device(numbers: &str, how: &str) -> String {
    format!(
        "sh -c 'rm -f /dev/node; mknod /dev/node c {numbers}; (: {how} /dev/node) 2>/dev/null && echo open || echo shut'"
    )
}

fn privileged(host: &Host) {
    let app = prepare(host);
    let numbers = some_device(host);
    host.sh("mknod -m 640 /dev/of-the-host c 1 7");
    start(host, "--privileged", &app);
    let here = host.sh(&field("CapBnd"));
    for command in ["run", "exec"] {
        let sh = |script: &str| match command {
            "run" => host.sh(&run("--privileged", &app, script)),
            _ => host.sh(&exec(script)),
        };
        assert_eq!(sh(&field("CapEff")), here, "{command}");
        assert_eq!(sh(&field("Seccomp")), "0", "{command}");
        assert_eq!(sh("stat -c %a /dev/of-the-host"), "640", "{command}");
        assert_eq!(sh(&try_device(&numbers, "<")), "open", "{command}");
        sh("sh -c 'mkdir /mnt; mount -t tmpfs none /mnt; umount /mnt; rmdir /mnt'");
        let mounts = sh("cat /proc/self/mounts");
        assert!(!mounts.contains(" /proc/sys ") && !mounts.contains(" /proc/keys "), "{mounts}");
        let cgroup = mounts.lines().find(|line| line.contains(" /sys/fs/cgroup ")).unwrap();
        assert!(cgroup.contains(" rw,"), "{cgroup}");
    }
    // What was dropped by name stays dropped.
    let mknod = u64::from_str_radix(
        &host.sh(&run("--privileged --cap-drop MKNOD", &app, &field("CapBnd"))),
        16,
    );
    assert_eq!(mknod.unwrap() & (1 << 27), 0);
    assert_eq!(host.sh(&run("--privileged=false", &app, &field("Seccomp"))), "2");
    // A profile that was asked for holds for a privileged container, too.
    host.write("/tmp/profile.json", &NO_DIRECTORIES.replace("\"CAP_SYS_ADMIN\"", ""));
    let both = "--privileged --security-opt seccomp=/tmp/profile.json";
    assert_ne!(host.run(&run(both, &app, "mkdir /new")).status, 0);
}

fn privileged_commands_in_a_container(host: &Host) {
    let app = prepare(host);
    let numbers = some_device(host);
    start(host, "", &app);
    let privileged = |command: &str| format!("updater-launch exec --privileged web {command}");
    assert_eq!(host.sh(&privileged(&field("CapEff"))), host.sh(&field("CapBnd")));
    assert_eq!(host.sh(&privileged(&field("Seccomp"))), "2");
    for _ in 0..2 {
        assert_eq!(host.sh(&privileged(&try_device(&numbers, "<"))), "shut");
    }
    assert_eq!(host.sh(&privileged(&try_device("1 5", "<"))), "open");
    host.sh("updater-launch rm --force web");
    start(host, "--cgroups=disabled", &app);
    let refused = host.fails(125, &privileged("true"));
    assert!(refused.stderr.contains("cgroup of its own"), "{}", refused.describe());
}

fn kernel_parameters(host: &Host) {
    let app = prepare(host);
    let none = |flags: &str, command: &str| {
        format!("updater-launch run --rm --network none {flags} {app} {command}")
    };
    let flags = "--sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=4321";
    let read = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
    let before = host.sh(read);
    assert_eq!(host.sh(&none(flags, read)), "1\n4321");
    assert_eq!(host.sh(read), before);
    for (command, part) in [
        (run("--sysctl net.ipv4.ip_forward=1", &app, "true"), "network namespace"),
        (run("--ipc host --sysctl kernel.msgmax=1", &app, "true"), "IPC namespace"),
        (none("--sysctl kernel.core_pattern=x", "true"), "the whole host's"),
        (none("--sysctl net/../kernel/core_pattern=x", "true"), "NAME=VALUE"),
        (none("--sysctl net.ipv4.no_such=1", "true"), "no_such"),
    ] {
        let refused = host.fails(125, &command);
        assert!(refused.stderr.contains(part), "{}", refused.describe());
    }
}

fn limits_of_processes(host: &Host) {
    let app = prepare(host);
    let flags = "--ulimit nofile=100:200 --ulimit core=0 --oom-score-adj 500";
    start(host, flags, &app);
    let read = "sh -c 'ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj'";
    assert_eq!(host.sh(&run(flags, &app, read)), "100\n200\n0\n500");
    assert_eq!(host.sh(&exec(read)), "100\n200\n0\n500");
    let supervisor = host.json("updater-launch inspect web")[0]["State"]["ConmonPid"].to_string();
    let own = host.sh("cat /proc/self/oom_score_adj");
    assert_eq!(host.sh(&format!("cat /proc/{supervisor}/oom_score_adj")), own);

    let of_host = "ulimit -Sn 300; ulimit -Hn 400;";
    let both = "sh -c 'ulimit -n; ulimit -Hn'";
    let host_limits = run("--ulimit host", &app, both);
    assert_eq!(host.sh(&format!("{of_host} {host_limits}")), "300\n400");
    // This host has no CAP_SYS_RESOURCE.
    let raised = run("--ulimit nofile=500", &app, "true");
    let refused = host.fails(125, &format!("{of_host} {raised}"));
    assert!(refused.stderr.contains("LimitNOFILE="), "{}", refused.describe());
    let refused = host.fails(125, &run("--oom-score-adj -1000", &app, "true"));
    assert!(refused.stderr.contains("OOMScoreAdjust="), "{}", refused.describe());
    for flags in
        ["--ulimit nofile", "--ulimit files=1", "--ulimit nofile=2:1", "--oom-score-adj 1001"]
    {
        host.fails(125, &run(flags, &app, "true"));
    }
}

fn groups_and_umask(host: &Host) {
    let app = prepare(host);
    let flags = "--user 1000 --group-add root --group-add 77 --umask 0027";
    assert_eq!(host.sh(&run(flags, &app, "sh -c 'id -G; umask'")), "1001 0 77 1002\n0027");
    start(host, flags, &app);
    assert_eq!(host.sh(&exec("sh -c 'id -G; umask'")), "1001 0 77 1002\n0027");
    let kept = run("--user 1000:1001 --group-add keep-groups", &app, "id -G");
    assert_eq!(host.sh(&format!("setpriv --groups 4711,4712 {kept}")), "1001 4711 4712");
    let dropped = run("--user 1000:1001", &app, "id -G");
    assert_eq!(host.sh(&format!("setpriv --groups 4711,4712 {dropped}")), "1001");
    for flags in ["--group-add keep-groups --group-add 7", "--umask 9"] {
        host.fails(125, &run(flags, &app, "true"));
    }
    let unknown = host.fails(126, &run("--group-add nobodys", &app, "true"));
    assert!(unknown.stderr.contains("nobodys"), "{}", unknown.describe());
}

fn time_zones(host: &Host) {
    let mut layer = Layer::new();
    layer.link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
    let app = prepare_image(host, &Image::app("v1").layer(layer));
    host.sh("mkdir -p /usr/share/zoneinfo/Test; rm -f /etc/localtime");
    host.write("/usr/share/zoneinfo/Test/Zone", "of the zone\n");
    host.write("/etc/localtime", "of the host\n");
    let read = "cat /etc/localtime";
    assert_eq!(host.sh(&run("--tz Test/Zone", &app, read)), "of the zone");
    assert_eq!(host.sh(&run("--timezone=local", &app, read)), "of the host");
    assert_eq!(host.sh("cat /etc/localtime"), "of the host");
    for zone in ["Test/None", "../../../etc/passwd", "Test"] {
        let refused = host.fails(125, &run(&format!("--tz {zone}"), &app, "true"));
        assert!(refused.stderr.contains("--tz"), "{}", refused.describe());
    }
}

/// A command in a unit of its own.
fn in_unit(properties: &str, command: &str) -> String {
    format!("systemd-run --quiet --pipe --wait --collect {properties} sh -c '{command}'")
}

/// No controller of this host is one of cgroup v2.
fn limits_need_a_delegated_controller(host: &Host) {
    let app = prepare(host);
    let delegated = "--property=Delegate=yes";
    let limits = [
        ("--memory 100m", "memory"),
        ("--cpus 0.5", "cpu"),
        ("--cpuset-cpus 0", "cpuset"),
        ("--pids-limit 10", "pids"),
        ("--blkio-weight 100", "io"),
        ("--cgroup-conf memory.high=1G", "memory"),
    ];
    for (limit, controller) in limits {
        let command = run(limit, &app, "true");
        let refused = host.fails(125, &in_unit(delegated, &command));
        let named = format!("needs the {controller} controller");
        let flag = limit.split(' ').next().unwrap();
        for part in [&named, flag, "it has: none"] {
            assert!(refused.stderr.contains(part), "{}", refused.describe());
        }
        let refused = host.fails(125, &in_unit("", &command));
        for part in [&named, "add Delegate=yes to the unit"] {
            assert!(refused.stderr.contains(part), "{}", refused.describe());
        }
    }
    // As in a unit that Podman has generated.
    let generated = run("--cgroups=no-conmon --memory 100m", &app, "true");
    let refused = host.fails(125, &in_unit("", &generated));
    assert!(refused.stderr.contains("add Delegate=yes"), "{}", refused.describe());
    let conf = run("--cgroups=no-conmon --cgroup-conf cgroup.max.depth=1", &app, "true");
    let refused = host.fails(125, &in_unit("", &conf));
    assert!(refused.stderr.contains("Delegate=yes"), "{}", refused.describe());
    let disabled = run("--cgroups=disabled --memory 100m", &app, "true");
    let refused = host.fails(125, &in_unit(delegated, &disabled));
    assert!(refused.stderr.contains("--cgroups=disabled"), "{}", refused.describe());
    for (flags, part) in [
        ("--memory lots", "--memory \"lots\""),
        ("--memory-swap 1g", "--memory-swap"),
        ("--memory 1g --memory-swap 1m", "--memory-swap"),
        ("--memory-swappiness 60", "--memory-swappiness"),
        ("--cpus 1 --cpu-quota 1000", "--cpus"),
        ("--cpuset-cpus a", "--cpuset-cpus"),
        ("--blkio-weight 5", "--blkio-weight"),
        ("--device-read-bps /dev/null:1m", "/dev/null"),
        ("--cgroup-conf cgroup.procs=1", "cgroup.procs"),
    ] {
        let refused = host.fails(125, &run(flags, &app, "true"));
        assert!(refused.stderr.contains(part), "{}", refused.describe());
    }
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
    assert_eq!(host.sh("find /sys/fs/cgroup -name 'payload-*' | wc -l"), "0");
}

/// What needs no controller is written for real.
fn settings_of_a_cgroup(host: &Host) {
    let app = prepare(host);
    let read = "cat /sys/fs/cgroup/cgroup.max.descendants";
    assert_eq!(host.sh(&run("--cgroup-conf cgroup.max.descendants=3", &app, read)), "3");
    assert_eq!(host.sh(&run("", &app, read)), "max");
    let where_to = "--cgroupns host --cgroup-parent";
    let show = |parent: &str| run(&format!("{where_to} {parent}"), &app, "cat /proc/self/cgroup");
    let unit = |command: &str| in_unit("--unit=limited --property=Delegate=yes", command);
    let seen = host.sh(&unit(&show("web/one")));
    assert!(seen.contains("/system.slice/limited.service/web/one/payload-"), "{seen}");
    let seen = host.sh(&unit(&show("/system.slice/limited.service/two")));
    assert!(seen.contains("/system.slice/limited.service/two/payload-"), "{seen}");
    for parent in ["/other.slice", "../x", "/system.slice/limited.service2"] {
        let refused = host.fails(125, &unit(&show(parent)));
        assert!(refused.stderr.contains("Slice="), "{}", refused.describe());
    }
}

fn rules_for_devices(host: &Host) {
    let app = prepare(host);
    let numbers = some_device(host);
    let (major, minor) = numbers.split_once(' ').unwrap();
    let tried = |rule: &str| {
        let flags = format!("--cap-add MKNOD --device-cgroup-rule '{rule}'");
        host.sh(&run(&flags, &app, &try_device(&numbers, "<")))
    };
    assert_eq!(tried("c 99:99 rwm"), "shut");
    assert_eq!(tried(&format!("c {major}:{minor} rwm")), "open");
    assert_eq!(tried(&format!("c {major}:* r")), "open");
    assert_eq!(tried(&format!("c {major}:{minor} w")), "shut");
    assert_eq!(tried(&format!("b {major}:{minor} rwm")), "shut");
    assert_eq!(tried("a *:* rwm"), "open");
    let refused = host.fails(125, &run("--device-cgroup-rule nonsense", &app, "true"));
    assert!(refused.stderr.contains("nonsense"), "{}", refused.describe());
}

fn inspect_shows_the_confinement(host: &Host) {
    let app = prepare(host);
    let flags = "--privileged --pid host --uts host --ipc private --security-opt label=disable \
         --ulimit core=0 --oom-score-adj 100 --umask 077 --group-add 7 --memory 1g --cpus 1.5";
    host.sh(&format!("updater-launch create --network host --name web {flags} {app}"));
    let container = &host.json("updater-launch inspect web")[0];
    let shown = &container["HostConfig"];
    for (field, expected) in [
        ("Privileged", serde_json::json!(true)),
        ("PidMode", "host".into()),
        ("UTSMode", "host".into()),
        ("IpcMode", "private".into()),
        ("CgroupMode", "private".into()),
        ("SecurityOpt", ["label=disable"].into()),
        ("OomScoreAdj", 100.into()),
        ("GroupAdd", ["7"].into()),
        ("Memory", (1i64 << 30).into()),
        ("NanoCpus", 1_500_000_000i64.into()),
    ] {
        assert_eq!(shown[field], expected, "{field}");
    }
    let core = serde_json::json!({"Name": "RLIMIT_CORE", "Soft": 0, "Hard": 0});
    assert!(shown["Ulimits"].as_array().unwrap().contains(&core), "{shown}");
    assert_eq!(container["Config"]["Umask"], "0077");
    assert_eq!(container["State"]["OOMKilled"], false);
}

fn containers_of_ordinary_users(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    host.write("/tmp/profile.json", &NO_DIRECTORIES.replace("\"CAP_SYS_ADMIN\"", ""));
    host.sh("chmod 644 /tmp/profile.json");
    let run = |flags: &str, command: &str| {
        format!("updater-launch run --rm --network none {flags} {app} {command}")
    };
    let confined = "--security-opt no-new-privileges --security-opt seccomp=/tmp/profile.json \
         --ulimit nofile=100 --oom-score-adj 600 --group-add 7 --umask 077 \
         --sysctl net.ipv4.ip_forward=1 --hostname theirs";
    someone.start("web", &format!("--network none {confined}"), &app, "");
    let look = "sh -c 'grep -E \"^(NoNewPrivs|Seccomp):\" /proc/self/status | tr -d \"\\t\"; ulimit -n; \
         cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward; id -G; umask; \
         mkdir /new 2>&1 | grep -c Read-only'";
    let expected = "NoNewPrivs:1\nSeccomp:2\n100\n600\n1\n0 7\n0077\n1";
    assert_eq!(someone.sh(&run(confined, look)), expected);
    assert_eq!(someone.sh(&format!("updater-launch exec web {look}")), expected);
    // The compiled profile is the user's own.
    assert_eq!(host.sh("stat -c '%a %u' /run/user/4000/updaterd/seccomp/*"), "600 4000");

    let all = "--pid container:web --ipc container:web --uts container:web";
    someone.sh("updater-launch exec web sh -c 'echo shared > /dev/shm/file'");
    assert_eq!(someone.sh(&run(all, "sh -c 'cat /dev/shm/file; uname -n'")), "shared\ntheirs");
    let ps = someone.sh(&run("--pid host", "ps"));
    assert!(ps.contains("systemd"), "{ps}");
    let privileged = run("--privileged", "sh -c 'grep Seccomp: /proc/self/status; : > /dev/null'");
    assert_eq!(someone.sh(&privileged), "Seccomp:\t0");
    let refused = |flags: &str, part: &str| {
        let refused = someone.fails(125, &run(flags, "true"));
        assert!(refused.stderr.contains(part), "{flags}: {}", refused.describe());
    };
    refused("--memory 100m", "needs the memory controller");
    refused("--oom-score-adj -1000", "OOMScoreAdjust=");
    refused("--device-cgroup-rule 'c 1:1 r'", "--device-cgroup-rule");
    refused("--pid host --security-opt proc-opts=hidepid=2", "proc-opts");
}
