//! The same containers by libcontainer, crun and runc: what one of them sees, all see; and the tests
//! of other modules that run again by each installed one ([`ALSO`]).

use crate::host::{Host, seconds};
use crate::registry::prepare;

cases![
    containers_are_the_same,
    ends_are_the_same,
    a_container_keeps_its_runtime,
    what_is_not_there_is_named,
    what_a_runtime_cannot_do_is_refused,
    the_hosts_limits_are_the_hosts,
    nobody_outlives_the_supervisor,
    descriptors_are_passed_on,
    what_has_a_name_keeps_its_owner,
    cgroups_above_stay_as_they_are,
];

/// Those that a container can be run by besides the one that is part of the program.
pub(super) const INSTALLED: &[&str] = &["crun", "runc"];
const ALL: &[&str] = &["libcontainer", "crun", "runc"];

/// Tests that run again by each of them.
pub(super) const ALSO: &[&str] = &[
    "launcher::isolation",
    "launcher::a_unit_stops_cleanly",
    "launcher::readiness_from_inside",
    "launcher::cgroups_of_a_delegated_unit",
    "launcher::nothing_stays_behind",
    "launcher_box::streams_of_ordinary_users",
    "launcher_box::the_callers_umask_and_limits",
    "launcher_box::programs_of_32_bits",
    "isolation::seccomp_profiles",
    "isolation::masked_and_unmasked_paths",
    "isolation::namespaces_of_another_container",
    "isolation::privileged_commands_in_a_container",
    "isolation::rules_for_devices",
    "process_model::units_as_podman_writes_them",
    "process_model::a_unit_that_forks",
    "process_model::the_login_user_stays",
    "process_model::a_killed_unit_starts_again",
    "process_model::an_init_in_front",
    "process_model::a_scope_of_its_own",
    "terminal::a_container_has_a_terminal",
    "terminal::a_command_has_a_terminal",
    "notification::the_program_speaks_for_its_unit",
    "notification::descriptors_are_kept_between_runs",
    "notification::a_socket_unit_starts_a_container",
    "notification::a_socket_unit_starts_a_container_behind_an_init",
    "health::a_check_that_hangs_is_ended_with_all_it_started",
    "health::a_unit_is_ready_when_its_container_is_healthy",
    "systemd_inside::a_debian_boots_and_stops",
    "users::files_are_the_containers_own",
    "users::exec_is_in_the_user_namespace",
    "pods::containers_of_a_pod_share_what_it_says",
    "rootless::a_users_container_is_a_service_of_the_users_manager",
    "rootless::each_container_is_confined_as_roots_are",
    "rootless::after_a_crash_nothing_stays",
    "rootless::pasta_publishes_ports",
    "rootless_users::exec_and_starts_are_in_the_same_users",
    "storage::volumes_in_memory_are_shared_and_go",
    "storage::mounts_that_propagate",
    "storage::secrets_are_seen_by_their_container_alone",
    "storage::owners_as_they_are_mapped",
    "lifecycle::exec_leaves_no_command_behind",
];

/// All that a program can see of what it was given. Of mounts that hide something of the kernel's,
/// where they are; of the others, what they forbid.
const REPORT: &str = r#"
    id; pwd; umask; env | grep -v '^HOSTNAME=\|^container_uuid=' | sort; cat /etc/hosts /etc/resolv.conf; hostname
    ulimit -n; ulimit -u; ls /proc/self/fd; cat /proc/self/oom_score_adj /proc/self/loginuid; echo
    grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|SigBlk)' /proc/self/status
    awk '{ kept = ""; split($4, words, ",")
           for (i = 1; i in words; i++)
               if (words[i] ~ /^(ro|rw|nosuid|nodev|noexec|size=.*)$/) kept = kept " " words[i]
           if ($2 ~ /^.(proc|sys|app)\/./ && $2 != "/sys/fs/cgroup" || $3 == "devtmpfs") print $2
           else print $2, $3, kept }' /proc/self/mounts | sort
    find /dev | grep -v ^/dev/core | sort; tail -n 1 /proc/self/cgroup; cat /proc/1/comm
    for file in /proc/kcore /proc/sys/kernel/domainname /sys/firmware /proc/acpi; do
        head -c 1 $file > /dev/null 2>&1 && echo "read $file"; done
    echo x 2> /dev/null > /proc/sys/kernel/domainname && echo written
    mount -t tmpfs x /tmp 2>&1; ls -l /proc/self/ns | wc -l; cat /run/secrets/* 2> /dev/null; true
"#;

const FLAGS: &[&str] = &[
    "",
    "--user 1000:1001 --group-add 7 --umask 0027 --workdir /tmp",
    "--user app",
    "--privileged",
    "--cap-drop all --cap-add net_admin --security-opt no-new-privileges --oom-score-adj 300",
    "--read-only --tmpfs /scratch:size=1m --ulimit nofile=77:99 --shm-size 1m",
    "--read-only --read-only-tmpfs=false",
    "--secret token,type=env,target=TOKEN --secret token --env A=b -v /srv/data:/data:ro",
    "--security-opt mask=/app/version --security-opt unmask=/proc/kcore --sysctl kernel.domainname=d",
    "--security-opt seccomp=unconfined --pid host --ipc none",
    "--security-opt seccomp=/tmp/profile.json --init",
    "--cgroups split --systemd always",
    "--device /dev/zero:/dev/nil",
    "--userns auto --volume named:/named",
    "--uidmap 0:200000:2000 --user app --tmpfs /own",
];

/// `updater-launch --runtime RUNTIME run --rm FLAGS IMAGE COMMAND`.
fn run(runtime: &str, flags: &str, image: &str, command: &str) -> String {
    format!("updater-launch --runtime {runtime} run --rm --network host {flags} {image} {command}")
}

fn containers_are_the_same(host: &Host) {
    let app = prepare(host);
    host.write("/tmp/report", REPORT);
    host.write(
        "/tmp/profile.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]}"#,
    );
    host.sh("mkdir -p /srv/data; echo secret | updater-launch secret create token -
             echo containers:300000:65536 | tee -a /etc/subuid >> /etc/subgid");
    let report = "-v /tmp/report:/report:ro --hostname same --add-host x:10.0.0.1";
    for flags in FLAGS {
        // In a unit of its own, as containers are.
        let unit = "systemd-run --quiet --wait --pipe --property=Delegate=yes --unit=same";
        let call = |runtime| {
            let run = run(runtime, &format!("{report} {flags}"), &app, "sh /report");
            host.run(&format!("{unit} {run}"))
        };
        let own = call("libcontainer");
        assert!(own.status == 0 && own.stdout.contains("CapEff"), "{flags}: {}", own.describe());
        for runtime in INSTALLED {
            let theirs = call(runtime);
            host.write("/tmp/own", &own.describe());
            host.write("/tmp/theirs", &theirs.describe());
            // In a user namespace crun mounts no cgroups.
            let but = if flags.contains("map ") || flags.contains("userns") {
                "--ignore-matching-lines='^/sys/fs/cgroup '"
            } else {
                ""
            };
            let difference = host.run(&format!("diff {but} /tmp/own /tmp/theirs"));
            assert!(difference.status == 0, "{runtime} {flags}: {}", difference.stdout);
        }
    }
}

fn ends_are_the_same(host: &Host) {
    let app = prepare(host);
    host.write("/tmp/interpreter", "#!/no/such\n");
    host.write("/tmp/text", "echo hi\n");
    host.sh("chmod 755 /tmp/interpreter /tmp/text");
    let tools = "-v /tmp/interpreter:/bin/interpreter -v /tmp/text:/bin/text";
    for runtime in ALL {
        let ends = |status, flags: &str, command: &str| {
            host.fails(status, &run(runtime, &format!("{tools} {flags}"), &app, command))
        };
        ends(0, "", "true");
        ends(7, "", "sh -c 'exit 7'");
        for (status, command) in [
            (127, "nothing"),
            (127, "/no/such/program"),
            (127, "/bin/interpreter"),
            (126, "/etc/passwd"),
            (126, "/etc"),
            (126, "/bin/text"),
        ] {
            let said = ends(status, "", command).stderr;
            assert!(said.contains(&format!("command \"{command}\"")), "{runtime}: {said}");
        }
        ends(126, "--user 1000 -v /tmp/text:/etc/mine:noexec", "/etc/mine");
        for (directory, why) in [("/nope", "does not exist"), ("/etc/passwd", "is not a directory")]
        {
            let said = ends(126, &format!("--workdir {directory}"), "true").stderr;
            assert!(said.contains(&format!("\"{directory}\" {why}")), "{runtime}: {said}");
        }
        host.sh(&format!(
            "updater-launch --runtime {runtime} run -d --name box --network host {tools} {app} sleep 1000"
        ));
        let exec = |status, words: &str| {
            host.fails(status, &format!("updater-launch exec {words}"));
        };
        exec(0, "box true");
        exec(9, "box sh -c 'exit 9'");
        exec(128 + 15, "box sh -c 'kill -15 $$'");
        exec(127, "box nothing");
        exec(127, "box interpreter");
        exec(126, "box /etc/passwd");
        exec(126, "box text");
        exec(126, "--workdir /nope box true");
        host.sh("updater-launch rm -f -t 0 box");
    }
}

fn a_container_keeps_its_runtime(host: &Host) {
    let app = prepare(host);
    let of =
        |field: &str| host.sh(&format!("updater-launch inspect --format '{{{{{field}}}}}' box"));
    for (runtime, files) in
        [("crun", "status"), ("/usr/sbin/runc", "state.json"), ("libcontainer", "state.json")]
    {
        host.sh(&format!(
            "updater-launch --runtime {runtime} create --name box --network host --stop-timeout 1 \
             {app}"
        ));
        assert_eq!(of(".OCIRuntime"), runtime);
        for round in 0..2 {
            host.sh("updater-launch start box");
            let state = format!("/run/updaterd/runtime/{}", of(".Id"));
            let found = host.sh(&format!("ls {state} | tr '\\n' ' '"));
            assert!(found.contains(files), "{runtime} {round}: {found}");
            // Its first process is the supervisor's child, whoever started it.
            let (init, supervisor) = (of(".State.Pid"), of(".State.ConmonPid"));
            assert_eq!(host.sh(&format!("ps -o ppid= -p {init} | tr -d ' '")), supervisor);
            assert_eq!(host.sh("updater-launch exec box cat /app/version"), "v1");
            host.sh("updater-launch restart box");
            assert_ne!(of(".State.Pid"), init);
            assert_eq!(host.sh("updater-launch exec --user 1000 box id -u"), "1000");
            host.sh("updater-launch pause box");
            assert_eq!(of(".State.Status"), "paused");
            host.sh("updater-launch unpause box; updater-launch kill --signal HUP box || true
                     updater-launch stop box");
            assert_eq!(of(".State.Status"), "exited");
        }
        host.sh("updater-launch rm box");
        assert_eq!(host.sh("ls /run/updaterd/runtime"), "");
    }
    let info = host.json("updater-launch --runtime crun info --format json");
    assert_eq!(info["host"]["ociRuntime"]["path"], "/usr/bin/crun");
    for (name, path) in
        [("libcontainer", ""), ("crun", "/usr/bin/crun"), ("runc", "/usr/sbin/runc")]
    {
        let one = &info["host"]["ociRuntimes"][name];
        assert!(one["path"] == path && one["version"].as_str().unwrap().contains('.'), "{one}");
    }
    let own = host.sh("updater-launch info --format '{{.Host.OCIRuntime.Name}}'");
    assert_eq!(own, "libcontainer");
}

fn what_is_not_there_is_named(host: &Host) {
    let app = prepare(host);
    host.write("/tmp/other", "#!/bin/sh\necho youki 1.0\n");
    host.sh("chmod 755 /tmp/other");
    for (runtime, words) in [
        ("nothing", &["\"nothing\"", "/usr/local/bin", "/usr/sbin"][..]),
        ("/no/such/crun", &["/no/such/crun", "No such file"]),
        ("/etc/passwd", &["/etc/passwd"]),
        ("./crun", &["\"./crun\"", "path from the root"]),
        ("/tmp/other", &["/tmp/other", "neither crun nor runc", "youki 1.0"]),
    ] {
        let said = host.fails(125, &run(runtime, "--name box", &app, "true")).stderr;
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        host.fails(125, &format!("updater-launch --runtime {runtime} ps"));
        host.fails(125, &format!("updater-launch run --runtime {runtime} --rm {app} true"));
    }
    assert_eq!(host.sh("updater-launch ps -aq"), "");
    // One that goes is missed at the next start, and said; one of another name is what it says.
    host.sh(&format!(
        "cp /usr/bin/crun /usr/local/bin/mine
         updater-launch run --runtime mine --name box --network host {app} true
         mv /usr/local/bin/mine /usr/local/bin/yours"
    ));
    let said = host.fails(125, "updater-launch start -a box").stderr;
    assert!(said.contains("\"mine\""), "{said}");
    host.sh("updater-launch rm box");
}

fn what_a_runtime_cannot_do_is_refused(host: &Host) {
    let app = prepare(host);
    let keep = "--user 1000:1001 --group-add keep-groups";
    let kept = run("crun", keep, &app, "id -G");
    assert_eq!(host.sh(&format!("setpriv --groups 4711,4712 {kept}")), "1001 4711 4712");
    let said = host.fails(125, &run("runc", keep, &app, "id -G")).stderr;
    assert!(said.contains("keep-groups") && said.contains("runc"), "{said}");
    let systemd = "--userns auto --systemd always";
    host.sh("echo containers:1000000:200000 | tee /etc/subuid > /etc/subgid");
    let said = host.fails(125, &run("crun", systemd, &app, "true")).stderr;
    assert!(said.contains("--systemd") && said.contains("crun"), "{said}");
    host.sh(&run("runc", systemd, &app, "true"));
    // What goes wrong in the runtime is told in its words, and leaves nothing.
    for runtime in INSTALLED {
        let wrong = "--name box --volume /etc/hostname:/app";
        let said = host.fails(125, &run(runtime, wrong, &app, "true")).stderr;
        let told = format!("the runtime {runtime} could not create the container: ");
        assert!(said.contains(&told) && said.contains("app"), "{said}");
        assert_eq!(host.sh("updater-launch ps -aq; ls /run/updaterd/runtime"), "");
        host.fails(1, "pgrep -x updater-launch");
    }
}

fn the_hosts_limits_are_the_hosts(host: &Host) {
    let app = prepare(host);
    for runtime in ALL {
        let run = run(runtime, "--ulimit host", &app, "sh -c 'ulimit -Sn; ulimit -Hn'");
        assert_eq!(host.sh(&format!("ulimit -Sn 300; ulimit -Hn 400; {run}")), "300\n400");
    }
}

/// Also where no manager ends what is left of a unit.
fn nobody_outlives_the_supervisor(host: &Host) {
    let app = prepare(host);
    for runtime in ALL {
        let start = format!(
            "updater-launch --runtime {runtime} run -d --replace --name box --network host {app} \
             sleep 4711"
        );
        let one = |field: &str| {
            host.sh(&format!("updater-launch inspect --format '{{{{.State.{field}}}}}' box"))
        };
        host.sh(&start);
        host.sh(
            "updater-launch exec box sleep 4712 > /dev/null 2>&1 & until pgrep -fx 'sleep 4712'; do sleep 0.1; done
                 kill -KILL $(pgrep -o -fx 'updater-launch exec box sleep 4712')",
        );
        host.wait_for("! pgrep -fx 'sleep 4712'", seconds(5));
        host.sh(&format!("kill -KILL {}", one("ConmonPid")));
        host.wait_for("! pgrep -fx 'sleep 4711'", seconds(5));
        host.sh(&start);
        host.sh(&format!("kill -KILL {}", one("Pid")));
        host.wait_until("it has ended", seconds(5), || one("Status") == "exited");
        host.sh(&start);
        host.sh("updater-launch rm -f -t 0 box");
        host.wait_for("! pgrep 'updater-launch'", seconds(5));
        let left = "find /sys/fs/cgroup -name 'payload-*'; ls /run/updaterd/runtime";
        assert_eq!(host.sh(left), "", "{runtime}");
    }
}

fn descriptors_are_passed_on(host: &Host) {
    let app = prepare(host);
    host.sh("echo three > /tmp/three; echo four > /tmp/four");
    for runtime in ALL {
        host.sh(&format!(
            "updater-launch --runtime {runtime} run -d --name box --network host {app} sleep 1000"
        ));
        let exec = |flags: &str| {
            format!(
                "updater-launch exec {flags} box sh -c 'cat <&3; cat <&4; ls /proc/self/fd | tail -n 1' \
                 3< /tmp/three 4< /tmp/four"
            )
        };
        let said = host.sh(&exec("--preserve-fds 2"));
        assert!(said.starts_with("three\nfour\n"), "{runtime}: {said}");
        // One is the second's; none comes by itself.
        assert!(host.run(&exec("--preserve-fds=1")).stdout.starts_with("three\n"));
        assert!(!host.run(&exec("")).stdout.contains("three"));
        let said = host.fails(125, "updater-launch exec --preserve-fds 2 box true 3< /tmp/three");
        assert!(said.stderr.contains("descriptor 4 is not open"), "{}", said.stderr);
        host.sh("updater-launch rm -f -t 0 box");
    }
}

/// Runtimes give the standard streams to the program's user: pipes and terminals may be.
fn what_has_a_name_keeps_its_owner(host: &Host) {
    let app = prepare(host);
    for runtime in ALL {
        let write = run(runtime, "--user 1000", &app, "sh -c 'echo said; echo so > /dev/stderr'");
        host.sh(&format!("{write} > /tmp/out 2> /tmp/err"));
        assert_eq!(
            host.sh("cat /tmp/out; stat -c %u /tmp/out /tmp/err; rm /tmp/out"),
            "said\n0\n0"
        );
    }
}

/// A host's controllers are its manager's business; crun and runc enable them all from the root on
/// where they may.
fn cgroups_above_stay_as_they_are(host: &Host) {
    let app = prepare(host);
    let enabled = "cat /sys/fs/cgroup/cgroup.subtree_control \
                   /sys/fs/cgroup/system.slice/cgroup.subtree_control";
    let before = host.sh(enabled);
    for runtime in INSTALLED {
        let cgroup = host.sh(&run(runtime, "--cgroupns host", &app, "tail -n 1 /proc/self/cgroup"));
        assert!(cgroup.contains("/payload-"), "{cgroup}");
        assert_eq!(host.sh(enabled), before, "{runtime}");
    }
}
