//! The day-to-day verbs, in Podman's shapes.

use crate::host::Host;
use crate::image::Image;
use crate::registry::{Registry, prepare_image};

cases![
    lists_of_containers_are_podmans,
    lists_are_narrowed_and_sorted,
    inspect_has_podmans_fields,
    images_are_listed_as_podman_does,
    templates_say_where_they_are_wrong,
    logs_come_from_the_journal,
    logs_come_from_files,
];

/// A registry with `app:latest`, already pulled.
pub(super) fn prepare(host: &Host) -> String {
    prepare_image(host, &Image::app("v1").with("Labels", labels("vendor", "acme")))
}

fn labels(key: &str, value: &str) -> serde_json::Value {
    serde_json::json!({key: value})
}

fn run(host: &Host, flags: &str, image: &str, command: &str) -> String {
    host.sh(&format!("updater-launch run -d --network host {flags} {image} {command}"))
}

fn lists_of_containers_are_podmans(host: &Host) {
    let app = prepare(host);
    let id = run(host, "--name web --label role=front", &app, "sleep 4711");
    host.fails(3, &format!("updater-launch run --name job --network host {app} sh -c 'exit 3'"));
    host.sh(&format!("updater-launch create --name idle --network host {app}"));
    let listed = host.sh("updater-launch ps");
    let (heading, row) = listed.split_once('\n').unwrap();
    let headings: Vec<_> = heading.split("  ").map(str::trim).filter(|h| !h.is_empty()).collect();
    let podmans = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    assert_eq!(headings, podmans);
    let cells: Vec<_> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells[..3], [&id[..12], &app, "sleep 4711"], "{listed}");
    assert!(cells[3].ends_with(" ago") && cells[4].starts_with("Up ") && cells[5] == "web");
    let all =
        host.sh("updater-launch ps --all --noheading --format 'table {{.Names}}\\t{{.Status}}'");
    let lines: Vec<_> = all.lines().collect();
    assert!(lines[0].starts_with("idle  Created"), "{all}");
    assert!(lines[1].starts_with("job   Exited (3) ") && lines[1].ends_with(" ago"), "{all}");
    let json = &host.json("updater-launch ps --all --format json");
    let of = |name: &str| {
        json.as_array().unwrap().iter().find(|row| row["Names"][0] == name).unwrap().clone()
    };
    let web = of("web");
    assert_eq!(
        (&web["Id"], &web["Image"], &web["State"]),
        (&id.into(), &app.into(), &"running".into())
    );
    assert_eq!(web["Labels"], serde_json::json!({"role": "front", "vendor": "acme"}));
    assert_eq!(web["Command"], serde_json::json!(["sleep", "4711"]));
    assert_eq!(web["Pid"].to_string(), host.sh("pgrep -fx 'sleep 4711'"));
    assert!(
        web["Created"].is_i64() && web["StartedAt"].as_i64() > Some(0) && web["Exited"] == false
    );
    assert_eq!((&of("job")["ExitCode"], &of("job")["Exited"]), (&3.into(), &true.into()));
    assert_eq!(of("idle")["State"], "created");
    // A reader that goes away is no failure.
    host.sh("updater-launch ps --all --format json | true");
    host.sh("updater-launch rm --force --time 0 web");
}

fn lists_are_narrowed_and_sorted(host: &Host) {
    let app = prepare(host);
    for name in ["one", "two", "three"] {
        host.sh(&format!(
            "updater-launch create --name {name} --label n={name} --network host {app}"
        ));
    }
    host.fails(7, &format!("updater-launch run --name four --network none {app} sh -c 'exit 7'"));
    let names = |flags: &str| {
        let list = format!("updater-launch ps -a {flags} --format '{{{{.Names}}}}'");
        host.sh(&list).replace('\n', " ")
    };
    assert_eq!(names(""), "four three two one");
    assert_eq!(names("--filter name=t"), "three two");
    assert_eq!(names("--filter name=^two$ --filter name=one"), "two one");
    assert_eq!(names("--filter label=n=two"), "two");
    assert_eq!(names("--filter label=n --filter name=e$"), "three one");
    assert_eq!(names("--filter label=vendor=acme --filter status=exited"), "four");
    assert_eq!(names("--filter exited=7"), "four");
    assert_eq!(names("--filter exited=8"), "");
    assert_eq!(names("--filter before=two"), "one");
    assert_eq!(names("--filter since=two"), "four three");
    assert_eq!(names("--filter until=1h"), "");
    assert_eq!(names(&format!("--filter ancestor={app} -n 2")), "four three");
    assert_eq!(names("--filter ancestor=quay.io/other"), "");
    let id = host.sh("updater-launch inspect --format '{{.Id}}' two");
    assert_eq!(names(&format!("--filter id={}", &id[..9])), "two");
    assert_eq!(names("--latest"), "four");
    assert_eq!(names("--sort names"), "four one three two");
    assert_eq!(host.sh("updater-launch ps -a --filter status=created -q | wc -l"), "3");
    assert_eq!(host.sh("updater-launch ps"), host.sh("updater-launch ps --filter name=t"));
    // What it does is all it is filtered by: then it need not run.
    assert_eq!(host.sh("updater-launch ps --filter status=exited -q | wc -l"), "1");
    host.sh(&format!("updater-launch pod create --name shelf; updater-launch create --pod shelf --name five {app}"));
    assert_eq!(names("--filter pod=shelf"), "five");
    let pod =
        host.sh("updater-launch ps -a --pod --filter pod=shelf --format '{{.PodName}} {{.Pod}}'");
    assert_eq!(pod, format!("shelf {}", host.sh("updater-launch pod ps -q")));
    let pods =
        |filter: &str| host.sh(&format!("updater-launch pod ps --format '{{{{.Name}}}}' {filter}"));
    assert_eq!(pods("--filter name=she --filter status=created"), "shelf");
    for other in ["name=no", "status=exited", "ctr-number=1", "label=x"] {
        assert_eq!(pods(&format!("--filter {other}")), "", "{other}");
    }
    host.fails(125, "updater-launch pod ps --filter nosuch=1");
    // The word may stand before its verbs.
    assert_eq!(host.sh("updater-launch container ls -a --filter pod=shelf -q | wc -l"), "1");
    host.sh("updater-launch container rm --latest");
    assert_eq!(names("--filter pod=shelf"), "");
    host.sh(&format!("updater-launch container create --pod shelf --name five {app}"));
    assert!(host.sh("updater-launch ps -a --pod").lines().next().unwrap().contains("POD ID"));
    assert!(host.sh("updater-launch pod ps").lines().next().unwrap().ends_with("# OF CONTAINERS"));
    for wrong in ["nme=x", "status=up", "x", "name=(", "before=none"] {
        let refused = host.fails(125, &format!("updater-launch ps -a --filter '{wrong}'"));
        assert!(refused.stderr.contains("--filter"), "{}", refused.describe());
    }
    let size = host.sh("updater-launch ps -a --size --filter name=one --format '{{.Size}}'");
    assert!(size.starts_with("0B (virtual ") && size.ends_with("MB)"), "{size}");
}

fn inspect_has_podmans_fields(host: &Host) {
    let app = prepare(host);
    let id = run(
        host,
        "--name web --label role=front -e A=b --workdir /app --user 0 -v /srv:/data:ro \
         --tmpfs /scratch --cap-drop NET_RAW --stop-timeout 7 --stop-signal INT",
        &app,
        "sleep 4711",
    );
    let web = &host.json("updater-launch inspect web")[0];
    assert_eq!(
        (&web["Id"], &web["Name"], &web["ImageName"]),
        (&id.into(), &"web".into(), &app.clone().into())
    );
    let image = &host.json(&format!("updater-launch inspect --type image {app}"))[0];
    assert_eq!((&web["Image"], &web["Driver"]), (&image["Id"], &"overlay".into()));
    assert_eq!((&web["Path"], &web["Args"][0]), (&"sleep".into(), &"4711".into()));
    let state = &web["State"];
    assert_eq!(
        (&state["Status"], &state["Running"], &state["OOMKilled"]),
        (&"running".into(), &true.into(), &false.into())
    );
    assert_eq!(state["Pid"].to_string(), host.sh("pgrep -fx 'sleep 4711'"));
    assert_eq!(state["ConmonPid"].to_string(), host.sh("ps -o ppid= $(pgrep -fx 'sleep 4711')"));
    assert_eq!(state["FinishedAt"], "0001-01-01T00:00:00Z");
    let config = &web["Config"];
    assert_eq!(config["Labels"], serde_json::json!({"role": "front", "vendor": "acme"}));
    assert!(config["Env"].as_array().unwrap().contains(&"A=b".into()), "{config}");
    assert_eq!(config["Cmd"], serde_json::json!(["sleep", "4711"]));
    assert_eq!((&config["WorkingDir"], &config["User"]), (&"/app".into(), &"0".into()));
    assert_eq!((&config["StopSignal"], &config["StopTimeout"]), (&"INT".into(), &7.into()));
    let words = config["CreateCommand"].as_array().unwrap();
    assert_eq!((&words[1], words.last().unwrap()), (&"run".into(), &"4711".into()));
    let host_config = &web["HostConfig"];
    assert_eq!(host_config["Binds"], serde_json::json!(["/srv:/data:ro"]));
    assert_eq!(
        (&host_config["NetworkMode"], &host_config["AutoRemove"]),
        (&"host".into(), &false.into())
    );
    assert_eq!(host_config["RestartPolicy"]["Name"], "no");
    assert_eq!(host_config["CapDrop"], serde_json::json!(["NET_RAW"]));
    let mounts = web["Mounts"].as_array().unwrap();
    let data = mounts.iter().find(|mount| mount["Destination"] == "/data").unwrap();
    assert_eq!(
        (&data["Type"], &data["Source"], &data["RW"]),
        (&"bind".into(), &"/srv".into(), &false.into())
    );
    // Templates, several names, the last one, and sizes.
    let template = "{{.State.Status}} {{index .Config.Labels \"role\"}} {{json .Config.Cmd}}";
    let shown = host.sh(&format!("updater-launch inspect --format '{template}' web"));
    assert_eq!(shown, "running front [\"sleep\",\"4711\"]");
    assert_eq!(host.sh("updater-launch inspect --latest --format '{{.Name}}'"), "web");
    host.sh("updater-launch exec web sh -c 'head -c 5000 /dev/zero > /written'");
    assert_eq!(host.json("updater-launch inspect --size web")[0]["SizeRw"], 5000);
    let refused = host.fails(125, "updater-launch inspect web none");
    assert!(refused.stdout.contains("\"web\"") && refused.stderr.contains("\"none\""));
    host.fails(125, "updater-launch inspect --type image web");
    host.fails(125, &format!("updater-launch inspect --type container {app}"));
    host.sh("updater-launch stop --time 0 web");
    let state = &host.json("updater-launch inspect web")[0]["State"];
    assert_eq!(
        (&state["Status"], &state["ExitCode"], &state["Pid"]),
        (&"exited".into(), &137.into(), &0.into())
    );
}

fn images_are_listed_as_podman_does(host: &Host) {
    let registry = Registry::start(host);
    let app = registry.reference("app:latest");
    registry.push("app:latest", &Image::app("v1").with("Labels", labels("vendor", "acme")));
    registry.push("other:1", &Image::app("v2"));
    // The same words that Podman prints of it: the image's ID.
    let id = host.sh(&format!("updater-launch pull --quiet {app}"));
    let theirs = host.sh(&format!("podman --root /tmp/podman pull --tls-verify=false -q {app}"));
    assert_eq!(id, theirs);
    host.sh(&format!("updater-launch pull {}", registry.reference("other:1")));
    host.sh(&format!("updater-launch tag {app} localhost:5000/app:kept"));
    let listed = host.sh("updater-launch images --sort tag");
    let rows: Vec<Vec<_>> = listed
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(rows[0], ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    let tags: Vec<_> = rows[1..].iter().map(|row| row[1]).collect();
    assert_eq!(tags, ["1", "kept", "latest"]);
    assert_eq!(rows[2][..3], ["localhost:5000/app", "kept", &id[..12]]);
    assert!(rows[2].last().unwrap().ends_with("MB"), "{listed}");
    assert!(host.sh("updater-launch images --digests").contains("sha256:"));
    let whole = host.sh(&format!("updater-launch images -q --no-trunc {app}"));
    assert_eq!(whole, format!("sha256:{id}"));
    let names = |flags: &str| {
        let list = format!(
            "updater-launch images {flags} --sort tag --format '{{{{.Repository}}}}:{{{{.Tag}}}}'"
        );
        host.sh(&list).replace("localhost:5000/", "").replace('\n', " ")
    };
    assert_eq!(names(""), "other:1 app:kept app:latest");
    assert_eq!(names("--filter reference=other"), "other:1");
    assert_eq!(names("--filter reference='*:kept'"), "app:kept app:latest");
    assert_eq!(names("--filter label=vendor=acme"), "app:kept app:latest");
    assert_eq!(names("--filter dangling=true"), "");
    assert_eq!(names("app"), "app:kept app:latest");
    host.fails(125, "updater-launch images --filter nothing=1");
    let json = &host.json("updater-launch images --format json --filter reference=app")[0];
    assert_eq!((&json["Id"], &json["Dangling"]), (&id.clone().into(), &false.into()));
    assert_eq!(
        json["RepoTags"],
        serde_json::json!(["localhost:5000/app:kept", "localhost:5000/app:latest"])
    );
    let inspected = &host.json(&format!("updater-launch inspect {}", &id[..12]))[0];
    assert_eq!(
        (&inspected["Id"], &inspected["Config"]["Cmd"][0]),
        (&id.into(), &"/app/start".into())
    );
    assert_eq!(inspected["Labels"]["vendor"], "acme");
    assert_eq!(inspected["RootFS"]["Layers"].as_array().unwrap().len(), 2);
}

fn templates_say_where_they_are_wrong(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("updater-launch create --name web --network host {app}"));
    let unclosed = host.fails(125, "updater-launch ps --format '{{.ID'");
    assert!(unclosed.stderr.contains("character 1"), "{}", unclosed.describe());
    let unknown = host.fails(125, "updater-launch ps -a --format 'id {{.Idd}}'");
    assert!(
        unknown.stderr.contains("character 6: there is no field \"Idd\""),
        "{}",
        unknown.describe()
    );
    let nested = host.fails(125, "updater-launch inspect --format '{{.State.Sttus}}' web");
    assert!(
        nested.stderr.contains("\"Sttus\"") && nested.stderr.contains("Status"),
        "{}",
        nested.describe()
    );
}

fn logs_come_from_the_journal(host: &Host) {
    let app = prepare(host);
    let script = "sh -c 'echo one; echo two >&2; sleep 1.5; echo three; printf four'";
    run(host, "--name web --log-opt 'tag={{.Name}}-{{.ID}}'", &app, script);
    // It ends with the container, and has all that was written by then.
    let followed = host.run("updater-launch logs --follow web");
    assert_eq!((followed.stdout.trim(), followed.stderr.trim()), ("one\nthree\nfour", "two"));
    assert_eq!(host.sh("updater-launch logs --tail 2 web"), "three\nfour");
    assert_eq!(host.sh("updater-launch logs --tail=-1 --latest 2>&1 | wc -l"), "4");
    let stamped = host.sh("updater-launch logs -t web 2>&1");
    let (time, word) = stamped.lines().next().unwrap().split_once(' ').unwrap();
    assert!(time.len() == 35 && word == "one", "{stamped}");
    let third = stamped.lines().nth(2).unwrap().split(' ').next().unwrap();
    assert_eq!(host.sh(&format!("updater-launch logs --since {third} web")), "three\nfour");
    assert_eq!(host.sh(&format!("updater-launch logs --until {time} web")), "one");
    assert_eq!(host.sh("updater-launch logs --since 1h --names --tail 1 web"), "web four");
    assert_eq!(host.sh("updater-launch logs --until 1h web"), "");
    let id = host.sh("updater-launch ps -aq");
    let fields = "CONTAINER_NAME=web CONTAINER_ID_FULL=$(updater-launch ps -aq --no-trunc)";
    let tagged = host.sh(&format!(
        "journalctl -q -o cat {fields} CONTAINER_ID={id} CONTAINER_TAG=web-{id} IMAGE_NAME={app}"
    ));
    assert_eq!(tagged, "one\ntwo\nthree\nfour");
    host.fails(125, "updater-launch logs --since soon web");
    host.fails(125, "updater-launch logs nothing");
    host.sh(&format!(
        "updater-launch run --name big --log-driver journald --network host {app} seq 1 20000"
    ));
    host.sh("updater-launch logs web big 2> /dev/null | head -n 1");
}

fn logs_come_from_files(host: &Host) {
    let app = prepare(host);
    let script = "sh -c 'echo one; echo two >&2; sleep 1.5; echo three; printf four'";
    run(host, "--name web --log-driver k8s-file", &app, script);
    let path = host.sh("updater-launch inspect --format '{{.LogPath}}' web");
    let followed = host.run("updater-launch logs --follow web");
    assert_eq!((followed.stdout.trim(), followed.stderr.trim()), ("one\nthree\nfour", "two"));
    assert!(host.sh(&format!("sed -n 2p {path}")).ends_with("+00:00 stderr F two"));
    assert_eq!(host.sh("updater-launch logs --tail 1 web"), "four");
    let third = host.sh(&format!("sed -n 3p {path} | cut -d ' ' -f 1"));
    assert_eq!(host.sh(&format!("updater-launch logs --since {third} web")), "three\nfour");
    // A file of one's own, that begins anew at its limit.
    let many = "sh -c 'i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done'";
    let flags = "--rm --log-driver k8s-file --log-opt path=/var/log/app.log --log-opt max-size=20k";
    host.sh(&format!("updater-launch run {flags} --network host {app} {many}"));
    let size: u64 = host.sh("stat -c %s /var/log/app.log").parse().unwrap();
    assert!(size <= 20 << 10, "{size}");
    assert!(host.sh("tail -n 1 /var/log/app.log").ends_with("stdout F line 2999"));
    assert_eq!(
        host.sh("stat -c %a /var/log/app.log; ls /var/log/app.log*"),
        "600\n/var/log/app.log"
    );
    // A line longer than a piece comes back as one.
    let long = "sh -c 'yes x | tr -d \"\\n\" | head -c 100000; echo; echo end'";
    host.sh(&format!(
        "updater-launch run --name long --log-driver json-file --network host {app} {long}"
    ));
    assert_eq!(host.sh("updater-launch logs long | head -n 1 | wc -c"), "100001");
    assert_eq!(host.sh("updater-launch logs long --tail 1"), "end");
    for wrong in ["max-size=1", "path=/dev/null", "colour=red", "tag=x"] {
        let refused = host.run(&format!(
            "updater-launch run --rm --log-driver k8s-file --log-opt {wrong} --network host {app} true"
        ));
        assert_eq!(refused.status == 0, wrong == "max-size=1", "{wrong}: {}", refused.describe());
    }
    assert_eq!(host.sh("updater-launch ps -aq | wc -l"), "2");
    host.sh("updater-launch rm web long");
    assert_ne!(host.run(&format!("test -e {path}")).status, 0);
}
