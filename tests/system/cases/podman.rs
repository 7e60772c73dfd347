//! Podman's containers: found, updated, rolled back, beside our own.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::podman::{PodmanUnit, configure, prepare, start_pod, version, wait_for_version};
use crate::registry::{Access, PASSWORD, Registry, USER};
use crate::units::{self, ContainerUnit, configure_every_second, configure_quiet, invocation};

cases![
    both_engines_on_one_host,
    the_confined_service_updates_podmans_containers,
    a_crash_is_rolled_back_and_not_tried_again,
    an_image_that_is_an_index,
    an_images_labels_restart_nothing,
    an_images_labels_lend_no_credentials_and_set_nothing,
    a_failing_first_unit_spares_the_second,
    a_failing_second_unit_takes_the_first_one_back,
    a_broken_podman_is_told_and_ours_go_on,
    a_check_is_a_handful_of_calls,
    an_update_of_many_is_few_calls,
    an_image_that_comes_back_is_not_superseded,
    a_pod_is_restarted_once,
    kube_units_are_updated,
    policies_mean_what_podman_means,
    credentials_are_found_where_podman_finds_them,
];

/// Exit codes of `updaterctl`, as its manual has them.
const ROLLED_BACK: i32 = 4;
const PARTLY: i32 = 3;

fn both_engines_on_one_host(host: &Host) {
    let registry = prepare(host);
    for app in ["ours", "theirs"] {
        registry.push(&format!("{app}:latest"), &Image::app("v1"));
    }
    ContainerUnit::new("ours", &registry.reference("ours:latest")).start(host);
    PodmanUnit::new("theirs", &registry.reference("theirs:latest")).start(host);
    let status = host.json("updaterctl status --json");
    let engines: Vec<_> = status["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| (unit["unit"].as_str().unwrap(), unit["engine"].as_str().unwrap()))
        .collect();
    assert_eq!(engines, [("ours.service", "native"), ("theirs.service", "podman")]);
    let check = host.sh("updaterctl check");
    assert!(check.contains("2 up to date"), "{check}");

    for app in ["ours", "theirs"] {
        registry.push(&format!("{app}:latest"), &Image::app("v2"));
    }
    let before = version(host, "theirs");
    let check = host.sh("updaterctl check");
    assert!(check.contains("2 updates available"), "{check}");
    assert_eq!(version(host, "theirs"), before, "a check changes nothing");
    host.sh("updaterctl update");
    assert_eq!(units::version(host, "ours"), "v2");
    assert_eq!(version(host, "theirs"), "v2");
    let check = host.sh("updaterctl check");
    assert!(check.contains("2 up to date"), "{check}");
    // Podman agrees.
    let theirs = host.sh("podman auto-update --dry-run --format '{{.Unit}} {{.Updated}}'");
    assert_eq!(theirs, "theirs.service false");
}

/// The service's unit mounts everything read-only, and Podman works all the same.
fn the_confined_service_updates_podmans_containers(host: &Host) {
    let registry = prepare(host);
    configure_every_second(host);
    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    host.sh("systemctl start updaterd.service");
    registry.push("app:latest", &Image::app("v2"));
    wait_for_version(host, "app", "v2");
    host.wait_for("updaterctl history --json | grep '\"updated\"'", seconds(20));
    let journal = host.journal("MESSAGE_ID=bcab17d2d3a8428888aa816337cefbf4");
    assert!(journal.contains("app.service"), "{journal}");
}

fn a_crash_is_rolled_back_and_not_tried_again(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::crashing_later("v2"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("rolled back"), "{}", outcome.describe());
    assert_eq!(version(host, "app"), "v1");
    let full = host.sh("updaterctl history app -v");
    assert!(full.contains("app v2 crashes") && !full.contains("app v1 started"), "{full}");

    let after = invocation(host, "app");
    let again = host.run("updaterctl update");
    assert!(again.said().contains("quarantined"), "{}", again.describe());
    assert_eq!(invocation(host, "app"), after);
    // A restart by hand does not bring the bad image either.
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v1");

    registry.push("app:latest", &Image::app("v3"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v3");
}

/// The digest behind the tag is the index's; what runs is one of its images.
fn an_image_that_is_an_index(host: &Host) {
    let registry = prepare(host);
    registry.push_index("app:latest", &Image::app("v1"), "one");
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    let gets = |host: &Host| {
        host.sh("updaterctl check > /dev/null");
        registry.requests().iter().filter(|request| request.starts_with("GET")).count()
    };
    let before = gets(host);
    assert_eq!(gets(host), before, "what has not changed costs a HEAD");
    // Another index around the same image.
    registry.push_index("app:latest", &Image::app("v1"), "two");
    let running = invocation(host, "app");
    host.sh("updaterctl update");
    assert_eq!(invocation(host, "app"), running);
    registry.push_index("app:latest", &Image::app("v2"), "three");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    let check = host.sh("updaterctl check");
    assert!(check.contains("1 up to date"), "{check}");
}

/// An image's own labels name a unit and ask for updates: nothing of the host's is touched.
fn an_images_labels_restart_nothing(host: &Host) {
    let registry = prepare(host);
    let labels = serde_json::json!({
        "PODMAN_SYSTEMD_UNIT": "dbus.service",
        "io.containers.autoupdate": "registry",
        "io.containers.autoupdate.authfile": "/etc/shadow",
        "org.updaterd.settle": "0s",
    });
    let hostile = |version: &str| Image::app(version).with("Labels", labels.clone());
    registry.push("app:latest", &hostile("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest")).unlabelled().unclaimed().start(host);
    let before = host.property("dbus.service", "InvocationID");
    registry.push("app:latest", &hostile("v2"));
    // Podman believes it.
    let theirs = host.sh("podman auto-update --dry-run --format '{{.Unit}}'");
    assert_eq!(theirs, "dbus.service");
    let check = host.fails(PARTLY, "updaterctl check");
    assert!(check.stdout.contains("claims dbus.service"), "{}", check.describe());
    host.fails(PARTLY, "updaterctl update");
    assert_eq!(host.property("dbus.service", "InvocationID"), before);
    assert_eq!(version(host, "app"), "v1");
    let sources = host.run("updaterctl check --json; updaterctl status --json");
    assert!(!sources.stdout.contains("/etc/shadow"), "{}", sources.describe());
}

/// What an image says of itself opens no file of the host's for it, and shortens no watch.
fn an_images_labels_lend_no_credentials_and_set_nothing(host: &Host) {
    let mut registry = prepare(host);
    let labels = serde_json::json!({
        "io.containers.autoupdate.authfile": "/etc/app.json",
        "org.updaterd.settle": "0s",
        "org.updaterd.rollback": "false",
    });
    registry.push("app:latest", &Image::app("v1").with("Labels", labels.clone()));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::crashing_later("v2").with("Labels", labels));
    registry.change_access(Access::Password);
    let login = host.sh(&format!("printf %s {USER}:{PASSWORD} | base64"));
    let credentials = format!("{{\"auths\": {{\"localhost:5000\": {{\"auth\": \"{login}\"}}}}}}");
    host.write("/etc/app.json", &credentials);
    // Podman opens it, and finds an update.
    let format = "--format '{{.Updated}}'";
    assert_eq!(host.sh(&format!("podman auto-update --dry-run {format}")), "pending");
    let ours = host.fails(125, &format!("updaterctl auto-update --dry-run {format}"));
    assert!(ours.stderr.contains("authentication required"), "{}", ours.describe());

    registry.change_access(Access::Plain);
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert_eq!(version(host, "app"), "v1", "{}", outcome.describe());
}

/// The first unit is the canary; the other one is not touched, and gets no bad image by itself.
fn a_failing_first_unit_spares_the_second(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    for unit in ["one", "two"] {
        PodmanUnit::new(unit, &registry.reference("app:latest")).start(host);
    }
    let before = ["one", "two"].map(|unit| invocation(host, unit));
    registry.push("app:latest", &Image::crashing_later("v2"));
    host.fails(ROLLED_BACK, "updaterctl update");
    let after = ["one", "two"].map(|unit| invocation(host, unit));
    assert!(before[0] != after[0] && before[1] == after[1], "one is the canary");
    host.sh("systemctl restart two.service");
    for unit in ["one", "two"] {
        assert_eq!(version(host, unit), "v1");
    }
}

/// One that fails later takes those back that were updated before it: one tag, one truth.
fn a_failing_second_unit_takes_the_first_one_back(host: &Host) {
    let registry = prepare(host);
    host.write("/srv/two", "no\n");
    let app = |version: &str, line: &str| {
        Image::script(
            version,
            &format!("{line}\ntrap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done"),
        )
    };
    registry.push("app:latest", &app("v1", ""));
    let image = registry.reference("app:latest");
    PodmanUnit::new("one", &image).start(host);
    PodmanUnit::new("two", &image).flag("--volume /srv:/srv").start(host);
    registry.push("app:latest", &app("v2", "[ ! -e /srv/two ] || { sleep 0.7; exit 3; }"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    for unit in ["one", "two"] {
        assert_eq!(version(host, unit), "v1", "{}", outcome.describe());
    }
    host.sh("systemctl restart one.service two.service");
    assert_eq!(version(host, "one"), "v1");
}

/// Whatever is wrong with Podman is said, and our own containers are served.
fn a_broken_podman_is_told_and_ours_go_on(host: &Host) {
    let registry = prepare(host);
    for app in ["ours", "theirs"] {
        registry.push(&format!("{app}:latest"), &Image::app("v1"));
    }
    ContainerUnit::new("ours", &registry.reference("ours:latest")).start(host);
    PodmanUnit::new("theirs", &registry.reference("theirs:latest")).start(host);
    let settings = "schedule = \"timer\"\nsettle = \"1s\"\n[podman]\nprogram = \"/srv/podman\"\n";
    units::configure(host, &format!("{settings}timeout = \"2s\"\n"));
    for (number, (script, said)) in [
        ("", "/srv/podman is not there"),
        ("echo podman version 3.0.1", "too old"),
        ("echo hello", "no Podman"),
        ("[ $1 = --version ] && echo podman version 4.3.1 || echo '[{'", "cannot be read"),
        ("[ $1 = --version ] && echo podman version 4.3.1 || { echo Error: boom >&2; exit 125; }", "boom"),
        ("[ $1 = --version ] && echo podman version 4.3.1 || sleep 1000", "not ended after 2 s"),
    ]
    .into_iter()
    .enumerate()
    {
        if !script.is_empty() {
            host.write("/srv/podman", &format!("#!/bin/sh\n{script}\n"));
            host.sh("chmod 755 /srv/podman");
        }
        let new = format!("v{}", number + 2);
        registry.push("ours:latest", &Image::app(&new));
        // Another process each time: what was learnt of a Podman is not learnt again.
        host.sh("systemctl stop updaterd.service");
        let outcome = host.fails(PARTLY, "updaterctl update");
        assert!(outcome.stdout.contains(said), "{said}: {}", outcome.describe());
        assert_eq!(units::version(host, "ours"), new, "{said}");
    }
    assert_eq!(
        host.run("pgrep -f 'sleep 1000' --parent 1").stdout,
        "",
        "nothing is left of a call"
    );
    units::configure(host, &format!("{settings}enabled = false\n"));
    host.sh("systemctl stop updaterd.service; updaterctl check");
}

/// The calls of Podman during `work`, each by its first two words.
fn calls(host: &Host, work: &str) -> Vec<String> {
    // Everything but the verb that is put away.
    host.write(
        "/srv/podman",
        "#!/bin/sh\necho \"$1 $2\" | cut -c1-30 >> /tmp/calls\n\
         [ \"$1\" != \"$(cat /tmp/away 2> /dev/null)\" ] && exec podman \"$@\"\n",
    );
    host.sh("chmod 755 /srv/podman; : > /tmp/calls");
    host.sh(work);
    // Some are made at once: which is first, chance tells.
    host.sh("sort /tmp/calls").lines().map(str::to_owned).collect()
}

/// As many processes of Podman for twenty-five units as for two.
fn a_check_is_a_handful_of_calls(host: &Host) {
    let registry = prepare(host);
    units::configure(host, "schedule = \"timer\"\n[podman]\nprogram = \"/srv/podman\"\n");
    registry.push("app:latest", &Image::app("v1"));
    registry.push("other:latest", &Image::app("v2"));
    let start = |numbers: std::ops::Range<u32>| {
        for number in numbers.clone() {
            let image = if number % 2 == 0 { "app:latest" } else { "other:latest" };
            PodmanUnit::new(&format!("u{number}"), &registry.reference(image)).write(host);
        }
        let names: Vec<String> = numbers.map(|number| format!("u{number}.service")).collect();
        host.sh(&format!("systemctl daemon-reload; systemctl start {}", names.join(" ")));
    };
    start(0..2);
    let two = calls(host, "updaterctl check | grep '2 up to date'");
    host.sh("systemctl stop updaterd.service");
    start(2..25);
    let many = calls(host, "updaterctl check | grep '25 up to date'");
    // A check asks what runs, and the service's list of units does once more.
    let mut kinds = two.clone();
    kinds.dedup();
    assert_eq!(kinds, ["--version ", "container inspect", "image inspect", "ps --format=json"]);
    assert!(two.len() <= 7, "{two:?}");
    assert_eq!(two, many);
}

/// Images are pulled several in one call, of which one may fail; a service of Podman's, which ends with
/// the update, keeps old images and moves tags.
fn an_update_of_many_is_few_calls(host: &Host) {
    let registry = prepare(host);
    let settings = "schedule = \"timer\"\nsettle = \"1s\"\n[podman]\nprogram = \"/srv/podman\"\n";
    units::configure(host, settings);
    let names = ["one", "two", "three", "four", "five", "six"];
    let push = |name: &str, version: &str| {
        registry.push(&format!("{name}:latest"), &Image::app(&format!("{name} {version}")));
    };
    for name in names {
        push(name, "v1");
        PodmanUnit::new(name, &registry.reference(&format!("{name}:latest"))).start(host);
    }
    let update = |new: &str, lost: &[&str]| {
        names.iter().for_each(|name| push(name, new));
        lost.iter().for_each(|name| registry.lose_layer(&format!("{name}:latest")));
        let format = "--format '{{.ContainerName}} {{.Updated}}'";
        let calls = calls(host, &format!("updaterctl auto-update {format} > /tmp/told || true"));
        let told = host.sh("cat /tmp/told");
        for name in names {
            let failed = lost.contains(&name);
            let word = if failed { "failed" } else { "true" };
            assert!(told.contains(&format!("{name} {word}")), "{told}");
            assert_eq!(version(host, name) == format!("{name} {new}"), !failed, "{name}");
        }
        calls
    };
    let count = |calls: &[String]| {
        ["pull", "image inspect", "tag", "image rm", "system service"]
            .map(|verb| calls.iter().filter(|call| call.starts_with(verb)).count())
    };
    // One look at what runs, and one at what is to be pulled.
    assert_eq!(count(&update("v2", &[])), [3, 2, 0, 0, 1]);
    // The other image of the call came.
    assert_eq!(count(&update("v3", &["two"])), [3, 2, 0, 0, 1]);
    // Of two that fail in one call, each is asked for again, for its own cause. What is superseded was
    // pulled by the units' starts, and is not ours to remove.
    assert_eq!(count(&update("v4", &["three", "two"])), [5, 2, 0, 0, 1]);
    host.wait_for("! pgrep -f '[p]odman system service'", seconds(30));
    assert_eq!(host.sh("ls /run/updaterd/podman"), "");
    // Without a service of Podman's, what it told and moved is commands; what is superseded goes in one.
    host.write("/tmp/away", "system");
    let [pulls, looks, tags, removals, services] = count(&update("v5", &[]));
    assert_eq!([pulls, removals, services], [3, 1, 1]);
    assert!(looks >= 4 && tags >= 10, "{looks} {tags}");
}

/// What a unit ran before its last update is the next image again.
fn an_image_that_comes_back_is_not_superseded(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    for next in ["v2", "v1", "v3", "v2", "v1", "v1", "v4"] {
        registry.push("app:latest", &Image::app(next));
        let outcome = host.run("updaterctl update");
        assert_eq!(outcome.status, 0, "{}", outcome.describe());
        assert_eq!(version(host, "app"), next);
    }
    // The one that runs, and the two before.
    assert_eq!(host.sh("podman images --quiet | sort -u | wc -l"), "3");
}

/// A pod whose two images changed is restarted once; where one of them is bad, the other one arrives.
fn a_pod_is_restarted_once(host: &Host) {
    let registry = prepare(host);
    let images = ["front:latest", "back:latest"];
    images.iter().for_each(|image| drop(registry.push(image, &Image::app("v1"))));
    start_pod(&registry, host, &["front", "back"]);
    let versions = || ["front", "back"].map(|name| version(host, name));
    host.wait_until("both run", seconds(20), || versions() == ["v1", "v1"]);
    let starts = || host.journal("--unit=pod-pod").matches("Started pod-pod").count();
    let status = host.json("updaterctl status --json");
    for unit in status["units"].as_array().unwrap() {
        assert_eq!(unit["unit"], "pod-pod.service", "{status}");
    }
    images.iter().for_each(|image| drop(registry.push(image, &Image::app("v2"))));
    let before = starts();
    host.sh("updaterctl update");
    assert_eq!(versions(), ["v2", "v2"]);
    assert_eq!(starts(), before + 1);
    assert_eq!(host.property("pod-pod.service", "ActiveState"), "active");

    // Its unit stands, whatever becomes of a member.
    registry.push(images[0], &Image::app("v3"));
    registry.push(images[1], &Image::crashing_later("v3"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    host.sh("updaterctl update || true");
    host.wait_until("the good one arrived", seconds(30), || versions() == ["v3", "v2"]);
    let quarantine = host.sh("updaterctl quarantine list");
    assert!(
        quarantine.contains("/back") && !quarantine.contains("/front"),
        "{quarantine}{}",
        outcome.describe()
    );
}

/// `podman kube play` in its unit, with annotations for each container.
fn kube_units_are_updated(host: &Host) {
    let registry = prepare(host);
    registry.push("app:stable", &Image::app("v1"));
    let image = registry.reference("app:stable");
    host.write(
        "/srv/kube.yaml",
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: kube\n  annotations:\n    \
         io.containers.autoupdate: disabled\n    io.containers.autoupdate/one: registry\n\
         spec:\n  hostNetwork: true\n  containers:\n  - name: one\n    image: {image}\n  \
         - name: two\n    image: {image}\n"
        ),
    );
    let unit = "podman-kube@-srv-kube.yaml.service";
    host.sh(&format!("systemctl start {unit}"));
    assert_eq!(version(host, "kube-one"), "v1");
    let check = host.sh("updaterctl check");
    assert!(check.contains("1 up to date") && check.contains("disabled"), "{check}");
    // Podman has only the tag, and who follows it unasked is told of.
    assert!(check.contains("warning: container kube-two is disabled"), "{check}");
    registry.push("app:stable", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "kube-one"), "v2");
    assert_eq!(host.property(unit, "ActiveState"), "active");
}

fn policies_mean_what_podman_means(host: &Host) {
    let registry = prepare(host);
    let digest = registry.push("app:latest", &Image::app("v1"));
    let image = registry.reference("app:latest");
    let name = image.trim_end_matches(":latest");
    for policy in ["image", "local", "disabled", "sometimes"] {
        PodmanUnit::new(policy, &image).policy(policy).start(host);
    }
    PodmanUnit::new("empty", &image).policy("").start(host);
    PodmanUnit::new("pinned", &format!("{name}@{digest}")).start(host);
    let check = host.fails(PARTLY, "updaterctl check --json");
    let plan: serde_json::Value = serde_json::from_str(&check.stdout).unwrap();
    let reasons: Vec<String> = plan["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| {
            let word = |key: &str| skipped[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}", word("container"), word("reason"))
        })
        .collect();
    let expected = [
        "disabled disabled",
        "empty disabled",
        "image up-to-date",
        "local up-to-date",
        "pinned pinned",
        "sometimes invalid-policy",
    ];
    assert_eq!(reasons, expected);
    assert!(check.stdout.contains("valid policies are"), "{}", check.describe());

    // A local image of that name is what the policy `local` follows, and nobody else.
    registry.push("next:latest", &Image::app("v2"));
    let next = registry.reference("next:latest");
    host.sh(&format!("podman pull --quiet {next}; podman tag {next} {image}; podman rmi {next}"));
    host.sh("updaterctl update local");
    assert_eq!(version(host, "local"), "v2");
    assert_eq!(version(host, "image"), "v1");
}

fn credentials_are_found_where_podman_finds_them(host: &Host) {
    configure(host);
    configure_quiet(host);
    let registry = Registry::start_with(host, Access::Password, 5000);
    let login = host.sh(&format!("printf %s {USER}:{PASSWORD} | base64"));
    host.write(
        "/etc/app.json",
        &format!("{{\"auths\": {{\"localhost:5000\": {{\"auth\": \"{login}\"}}}}}}"),
    );
    for name in ["labelled", "other"] {
        registry.push(&format!("{name}:latest"), &Image::app("v1"));
        let label = "--label io.containers.autoupdate.authfile=/etc/app.json";
        let unit = PodmanUnit::new(name, &registry.reference(&format!("{name}:latest")));
        let unit = unit.flag("--authfile /etc/app.json");
        if name == "labelled" {
            unit.flag(label).start(host)
        } else {
            unit.start(host)
        };
        registry.push(&format!("{name}:latest"), &Image::app("v2"));
    }
    let format = "--format '{{.ContainerName}} {{.Updated}}'";
    let outcome = host.fails(125, &format!("updaterctl auto-update {format}"));
    assert_eq!(outcome.stdout, "labelled true\nother failed\n", "{}", outcome.describe());
    assert!(outcome.stderr.contains("authentication required"), "{}", outcome.describe());
    assert_eq!(version(host, "labelled"), "v2");
    host.sh(&format!("updaterctl auto-update --authfile /etc/app.json {format}"));
    assert_eq!(version(host, "other"), "v2");
    registry.push("other:latest", &Image::app("v3"));
    host.sh(&format!("REGISTRY_AUTH_FILE=/etc/app.json updaterctl auto-update {format}"));
    assert_eq!(version(host, "other"), "v3");
}
