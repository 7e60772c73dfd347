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
    "launcher::exit_codes",
    "launcher::the_environment",
    "launcher::users_and_directories",
    "launcher::volumes_and_tmpfs",
    "launcher::a_read_only_root",
    "launcher::isolation",
    "launcher::capabilities",
    "launcher::names_and_addresses",
    "launcher::a_container_in_the_background",
    "launcher::replace_takes_the_name",
    "launcher::a_unit_stops_cleanly",
    "launcher::a_stubborn_program_is_killed_in_time",
    "launcher::readiness_from_inside",
    "launcher::the_owning_unit_is_found",
    "launcher::cgroups_of_a_delegated_unit",
    "launcher::images_and_tags",
    "launcher::nothing_stays_behind",
    "launcher_box::streams_of_ordinary_users",
    "launcher_box::an_empty_standard_input",
    "launcher_box::mounts_do_not_hide_each_other",
    "launcher_box::the_callers_umask_and_limits",
    "launcher_box::working_directories",
    "launcher_box::the_callers_groups",
    "launcher_box::descriptors_from_systemd",
    "launcher_box::later_mounts_of_the_host",
    "launcher_box::devices",
    "launcher_box::environments",
    "launcher_box::a_missing_interpreter",
    "launcher_box::volumes_begin_with_what_the_image_has",
    "launcher_box::programs_of_32_bits",
    "isolation::seccomp_profiles",
    "isolation::profiles_that_cannot_be_used_are_refused",
    "isolation::no_new_privileges",
    "isolation::masked_and_unmasked_paths",
    "isolation::security_modules_that_are_not_there",
    "isolation::namespaces_of_the_host",
    "isolation::namespaces_of_another_container",
    "isolation::namespaces_that_cannot_be_joined",
    "isolation::what_a_container_with_the_hosts_processes_leaves_ends",
    "isolation::privileged",
    "isolation::privileged_commands_in_a_container",
    "isolation::kernel_parameters",
    "isolation::limits_of_processes",
    "isolation::time_zones",
    "isolation::limits_need_a_delegated_controller",
    "isolation::settings_of_a_cgroup",
    "isolation::rules_for_devices",
    "isolation::inspect_shows_the_confinement",
    "process_model::units_as_podman_writes_them",
    "process_model::a_unit_that_forks",
    "process_model::a_doubled_signal_is_harmless",
    "process_model::the_login_user_stays",
    "process_model::failures_are_tried_again",
    "process_model::a_stop_ends_the_restarts",
    "process_model::a_restart_stays_in_the_unit",
    "process_model::what_ended_is_waited_for",
    "process_model::signals_by_hand",
    "process_model::all_of_them_at_once",
    "process_model::a_paused_container",
    "process_model::another_name",
    "process_model::a_killed_unit_starts_again",
    "process_model::an_init_in_front",
    "process_model::a_scope_of_its_own",
    "process_model::a_supervisor_sleeps",
    "terminal::a_container_has_a_terminal",
    "terminal::the_callers_terminal_is_as_it_was",
    "terminal::input_comes_through_whole",
    "terminal::keys_leave_a_container_that_goes_on",
    "terminal::who_is_attached_hears_all",
    "terminal::who_does_not_listen_holds_up_nobody",
    "terminal::signals_of_who_is_attached",
    "terminal::what_is_started_can_be_typed_to",
    "terminal::a_command_has_a_terminal",
    "terminal::a_command_in_the_background",
    "notification::the_program_speaks_for_its_unit",
    "notification::a_barrier_waits_for_the_manager",
    "notification::descriptors_are_kept_between_runs",
    "notification::a_watchdog_bites_what_hangs",
    "notification::a_watchdog_that_nobody_can_feed_is_told_of",
    "notification::a_slow_pull_extends_the_start",
    "notification::a_socket_unit_starts_a_container",
    "notification::a_descriptor_that_the_program_closes_is_closed",
    "health::the_state_follows_the_checks",
    "health::the_images_check_is_honoured",
    "health::a_check_that_hangs_is_ended_with_all_it_started",
    "health::a_unit_is_ready_when_its_container_is_healthy",
    "health::actions_on_an_unhealthy_container",
    "health::a_startup_comes_first",
    "health::an_update_to_an_unhealthy_image_goes_back",
    "health::nothing_wakes_up_between_two_checks",
    "health::checks_that_mean_nothing_are_refused",
    "systemd_inside::a_debian_boots_and_stops",
    "systemd_inside::what_it_needs_and_when_it_gets_it",
    "users::auto_gives_each_container_users_of_its_own",
    "users::files_are_the_containers_own",
    "users::what_is_bound_of_the_host_stays_the_hosts",
    "users::exec_is_in_the_user_namespace",
    "users::users_are_kept_over_a_start_and_given_back",
    "users::maps_are_as_they_are_written",
    "users::what_cannot_be_mapped_is_refused",
    "users::a_unit_with_users_of_its_own_is_updated",
    "pods::containers_of_a_pod_share_what_it_says",
    "pods::a_pod_is_made_listed_and_removed",
    "pods::what_is_the_pods_is_refused_for_a_container",
    "pods::a_pod_may_end_with_its_last_container",
    "pods::a_pod_and_its_containers_are_units",
    "pods::a_pod_comes_back_after_a_crash",
    "rootless::a_users_container_is_a_service_of_the_users_manager",
    "rootless::files_keep_their_owners",
    "rootless::layers_hide_what_they_remove",
    "rootless::signals_reach_other_users_of_other_namespaces",
    "rootless::after_a_crash_nothing_stays",
    "rootless::each_container_is_confined_as_roots_are",
    "rootless::a_made_container_is_started_later",
    "rootless::containers_of_a_pod_share_a_user_namespace",
    "rootless::a_shell_of_a_session_gets_a_scope",
    "rootless::pasta_publishes_ports",
    "rootless::networks_are_shared_and_refused",
    "rootless::a_users_unit_is_updated_by_the_users_daemon",
    "rootless::a_users_unit_is_put_back",
    "rootless::without_subordinate_ids_there_is_only_root",
    "rootless::what_a_host_lacks_is_named",
    "storage::named_volumes_outlive_containers",
    "storage::anonymous_volumes_go_with_their_container",
    "storage::volumes_begin_as_the_image_has_it",
    "storage::a_volume_is_filled_whole_or_not_at_all",
    "storage::volumes_in_memory_are_shared_and_go",
    "storage::a_volume_of_a_directory_of_the_host",
    "storage::options_of_volumes",
    "storage::owners_as_they_are_mapped",
    "storage::mounts_by_keys",
    "storage::mounts_that_propagate",
    "storage::volumes_of_another_container",
    "storage::memory_of_a_container",
    "storage::devices_by_name",
    "storage::secrets_are_seen_by_their_container_alone",
    "storage::storage_that_cannot_be_had",
    "storage::what_an_ordinary_user_keeps_and_gives",
    "lifecycle::overlapping_starts_leave_one_container",
    "lifecycle::a_container_dies_with_its_supervisor",
    "lifecycle::every_signal_reaches_the_container",
    "lifecycle::leftovers_of_a_power_cut_go",
    "lifecycle::a_deep_tree_keeps_no_unit_from_starting",
    "lifecycle::nobody_waits_for_anothers_stop",
    "lifecycle::a_start_that_is_stopped_before_it_ran_leaves_nothing",
    "lifecycle::a_reader_that_stalls_holds_up_no_stop",
    "lifecycle::a_journal_that_stalls_holds_up_no_stop",
    "lifecycle::the_caller_hears_why_a_background_start_failed",
    "lifecycle::exec_stays_in_a_shared_cgroup",
    "lifecycle::exec_leaves_no_command_behind",
    "lifecycle::records_name_absolute_paths_and_where_output_goes",
    "lifecycle::what_is_made_is_started_as_it_was_made",
    "lifecycle::what_is_kept_is_there_after_a_reboot",
    "commands::lists_of_containers_are_podmans",
    "commands::lists_are_narrowed_and_sorted",
    "commands::images_are_listed_as_podman_does",
    "commands::templates_say_where_they_are_wrong",
    "commands::logs_come_from_the_journal",
    "commands::logs_come_from_files",
    "networks::containers_find_each_other_by_name",
    "networks::published_ports_lead_to_the_container",
    "networks::a_port_in_use_is_refused",
    "networks::addresses_are_chosen_and_given",
    "networks::a_network_may_have_ipv6",
    "networks::an_internal_network_has_no_way_out",
    "networks::a_container_may_have_several_networks",
    "networks::files_of_names_are_as_asked_for",
    "networks::a_network_may_be_shared",
    "networks::a_killed_launcher_leaves_nothing_past_the_next_start",
    "networks::a_container_that_spoils_its_network_leaves_nothing",
    "networks::a_setup_that_fails_leaves_nothing",
    "networks::a_missing_program_is_named",
    "networks::networks_are_made_listed_and_removed",
    "networks::new_networks_keep_clear_of_the_host",
    "networks::units_that_start_at_once_have_addresses_of_their_own",
    "networks::a_unit_keeps_its_address",
    "networks::a_pod_has_a_network_and_ports",
    "networks::a_name_server_that_was_killed_comes_back",
    "copying::files_go_both_ways",
    "copying::copies_stay_in_the_containers_root",
    "copying::archives_of_dockers_are_saved_and_loaded",
    "copying::archives_of_oci_are_saved_and_loaded",
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
    "--cgroups disabled --device /dev/zero:/dev/nil",
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
            let difference = host.run("diff /tmp/own /tmp/theirs");
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
            let said = ends(125, &format!("--workdir {directory}"), "true").stderr;
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
        exec(125, "--workdir /nope box true");
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
