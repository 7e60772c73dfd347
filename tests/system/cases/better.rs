//! Where `podman auto-update` fails its users: what the installed Podman does, and what we do in the
//! same place. In each test the stock command goes first, then ours gets a fresh image of the kind.

use crate::host::{Host, Outcome, seconds};
use crate::image::Image;
use crate::podman::{PodmanUnit, prepare, version};
use crate::registry::Registry;
use crate::units::invocation;

cases![
    a_failed_image_is_not_reported_of_the_next_unit,
    those_that_were_updated_before_a_failure_go_back,
    a_siblings_failure_is_not_overwritten,
    a_bad_image_is_not_tried_again,
    two_runs_take_turns,
    podmans_own_service_has_the_turn_while_it_runs,
    a_crash_after_readiness_is_caught,
    those_that_depend_on_it_come_back_after_a_rollback,
    a_check_spends_no_pulls,
    a_tag_with_a_digest_is_told_for_what_it_is,
    a_slow_start_is_no_failure_and_an_ill_one_is,
    what_a_unit_ran_before_stays_and_no_other,
];

const PODMAN: &str = "podman auto-update";
const OURS: &str = "updaterctl auto-update";

/// The same columns of both programs.
const COLUMNS: &str = "--format '{{.ContainerName}}: {{.Updated}}'";

/// What is said of each container, sorted: Podman takes its units in any order.
fn told(outcome: &Outcome) -> Vec<&str> {
    let mut told: Vec<&str> = outcome.stdout.lines().map(str::trim).collect();
    told.sort_unstable();
    told
}

/// An image of which no container can be made, whatever watches it.
fn unstartable(version: &str) -> Image {
    Image::app(version).with("Cmd", ["/no/such/program"])
}

fn versions<const N: usize>(host: &Host, names: [&str; N]) -> [String; N] {
    names.map(|name| version(host, name))
}

fn invocations<const N: usize>(host: &Host, names: [&str; N]) -> [String; N] {
    names.map(|name| invocation(host, name))
}

/// Point 1: with Podman the second unit of a bad image is restarted, onto the image that it ran
/// already, and counts as updated.
fn a_failed_image_is_not_reported_of_the_next_unit(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    let units = ["one", "two"];
    for unit in units {
        PodmanUnit::new(unit, &registry.reference("app:latest")).start(host);
    }
    let run = |program: &str, bad: &str| {
        registry.push("app:latest", &unstartable(bad));
        let before = invocations(host, units);
        let outcome = host.run(&format!("{program} {COLUMNS}"));
        assert_eq!(versions(host, units), ["v1", "v1"], "{}", outcome.describe());
        let after = invocations(host, units);
        let restarted = before.iter().zip(&after).filter(|(before, after)| before != after);
        (outcome, restarted.count())
    };
    let (theirs, restarted) = run(PODMAN, "bad1");
    let results: Vec<&str> = told(&theirs).iter().map(|line| &line[5..]).collect();
    assert!(results.contains(&"true") && results.contains(&"rolled back"), "{}", theirs.describe());
    assert_eq!(restarted, 2);

    let (ours, restarted) = run(OURS, "bad2");
    assert_eq!(told(&ours), ["one: rolled back", "two: false"], "{}", ours.describe());
    assert_eq!(restarted, 1, "the canary alone");
}

/// Point 2: with Podman one unit goes on with the image that was bad for the other one, and loses it
/// at its next start, when nobody looks.
fn those_that_were_updated_before_a_failure_go_back(host: &Host) {
    let registry = prepare(host);
    // Ready where it is the first to start; whoever starts second is never ready.
    let first_only = |version: &str| {
        let run = "trap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done";
        let ready = format!("mkdir /srv/{version} || exit 3\n/usr/bin/systemd-notify --ready\n");
        Image::script(version, &format!("{ready}{run}"))
    };
    registry.push("app:latest", &Image::notifying("v1"));
    let units = ["one", "two"];
    for unit in units {
        PodmanUnit::new(unit, &registry.reference("app:latest"))
            .flag("--sdnotify=container --volume /usr:/usr:ro --volume /srv:/srv")
            .start(host);
    }
    registry.push("app:latest", &first_only("v2"));
    let theirs = host.sh(&format!("{PODMAN} {COLUMNS}"));
    let mut left = versions(host, units);
    let (updated, other) = if left[0] == "v2" { ("one", "two") } else { ("two", "one") };
    assert!(theirs.contains(&format!("{updated}: true")), "{theirs}");
    assert!(theirs.contains(&format!("{other}: rolled back")), "{theirs}");
    left.sort_unstable();
    assert_eq!(left, ["v1", "v2"], "two images behind one tag");
    host.sh(&format!("systemctl restart {updated}.service"));
    assert_eq!(versions(host, units), ["v1", "v1"]);

    registry.push("app:latest", &first_only("v3"));
    let ours = host.run(&format!("{OURS} {COLUMNS}"));
    assert_eq!(told(&ours), ["one: rolled back", "two: rolled back"], "{}", ours.describe());
    assert_eq!(versions(host, units), ["v1", "v1"]);
}

/// Point 3: one container of a unit that was updated makes its sibling's failure a success.
fn a_siblings_failure_is_not_overwritten(host: &Host) {
    let registry = prepare(host);
    let names = ["front", "back"];
    let containers = names.map(|name| {
        registry.push(&format!("{name}:stable"), &Image::app("v1"));
        format!("  - {{name: {name}, image: {}}}\n", registry.reference(&format!("{name}:stable")))
    });
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: kube\n  annotations:\n    \
               io.containers.autoupdate: registry\nspec:\n  hostNetwork: true\n  containers:\n";
    host.write("/srv/kube.yaml", &format!("{pod}{}", containers.concat()));
    host.sh("systemctl start podman-kube@-srv-kube.yaml.service");
    // The manifest is there, and a layer that it names is not.
    let run = |program: &str, new: &str| {
        registry.push("front:stable", &Image::app(new));
        registry.push("back:stable", &Image::app(&format!("lost {new}")));
        registry.lose_layer("back:stable");
        let outcome = host.fails(125, &format!("{program} {COLUMNS}"));
        let running = versions(host, ["kube-front", "kube-back"]);
        assert_eq!(running, [new, "v1"], "{}", outcome.describe());
        outcome
    };
    let theirs = run(PODMAN, "v2");
    assert_eq!(told(&theirs), ["kube-back: true", "kube-front: true"], "{}", theirs.describe());
    let ours = run(OURS, "v3");
    assert_eq!(told(&ours), ["kube-back: failed", "kube-front: true"], "{}", ours.describe());
}

/// Point 4: Podman takes the unit down again at each of its timer's runs.
fn a_bad_image_is_not_tried_again(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    let run = |program: &str| {
        let before = invocation(host, "app");
        let outcome = host.run(&format!("{program} {COLUMNS}"));
        assert_eq!(version(host, "app"), "v1", "{}", outcome.describe());
        (told(&outcome).join(" "), invocation(host, "app") != before)
    };
    registry.push("app:latest", &unstartable("bad1"));
    for _ in 0..2 {
        assert_eq!(run(PODMAN), ("app: rolled back".into(), true));
    }
    registry.push("app:latest", &unstartable("bad2"));
    assert_eq!(run(OURS), ("app: rolled back".into(), true));
    assert_eq!(run(OURS), ("app: false".into(), false));
}

/// Point 5: of two runs of Podman's the second finds the first one's work half done and does it once
/// more; of ours it waits, and finds nothing to do.
fn two_runs_take_turns(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest"))
        .setting("ExecStop=/bin/sleep 2")
        .start(host);
    let run = |program: &str, new: &str| {
        registry.push("app:latest", &Image::app(new));
        let stopping = "systemctl show -P ActiveState app.service | grep -q deactivating";
        let run = format!("{program} {COLUMNS}");
        let both = host.run(&format!(
            "{run} > /tmp/first & first=$!; until {stopping}; do sleep 0.05; done
             {run}; wait $first; cat /tmp/first"
        ));
        assert_eq!(version(host, "app"), new, "{}", both.describe());
        told(&both).join(" ")
    };
    assert_eq!(run(PODMAN, "v2"), "app: true app: true");
    assert_eq!(run(OURS, "v3"), "app: false app: true");
}

/// Point 5, between the two programs.
fn podmans_own_service_has_the_turn_while_it_runs(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest"))
        .setting("ExecStop=/bin/sleep 3")
        .start(host);
    registry.push("app:latest", &Image::app("v2"));
    host.sh("systemctl start --no-block podman-auto-update.service");
    host.wait_for("systemctl show -P ActiveState app.service | grep -q deactivating", seconds(30));
    let yielded = host.fails(125, &format!("{OURS} {COLUMNS}"));
    let told = "podman-auto-update.service is under way";
    assert!(yielded.stderr.contains(told), "{}", yielded.describe());
    host.wait_for(
        "systemctl show -P ActiveState podman-auto-update.service | grep -q inactive",
        seconds(30),
    );
    assert_eq!(version(host, "app"), "v2");
    assert_eq!(host.sh(&format!("{OURS} {COLUMNS}")), "app: false");
}

/// Point 6: conmon says that the container is there, and that is all that Podman waits for. With
/// `Restart=always` the unit never reads `failed` either.
fn a_crash_after_readiness_is_caught(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    registry.push("always:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    PodmanUnit::new("always", &registry.reference("always:latest"))
        .setting("Restart=always\nRestartSec=200ms\nStartLimitIntervalSec=0")
        .start(host);
    let push = |image: &Image| {
        registry.push("app:latest", image);
        registry.push("always:latest", image);
    };
    push(&Image::crashing_later("bad1"));
    let ours = host.run(&format!("{OURS} {COLUMNS}"));
    assert_eq!(told(&ours), ["always: rolled back", "app: rolled back"], "{}", ours.describe());
    assert_eq!(versions(host, ["app", "always"]), ["v1", "v1"]);

    push(&Image::crashing_later("bad2"));
    let theirs = host.run(&format!("{PODMAN} {COLUMNS}"));
    assert_eq!(told(&theirs), ["always: true", "app: true"], "{}", theirs.describe());
    host.wait_for("systemctl is-failed app.service", seconds(20));
    host.wait_for("[ $(systemctl show -P NRestarts always.service) -ge 3 ]", seconds(30));
    assert_ne!(host.property("always.service", "ActiveState"), "failed");
}

/// Point 7: systemd stops with a unit those that require it, and gives their start up where its own
/// fails. Podman puts the unit back, and that is all.
fn those_that_depend_on_it_come_back_after_a_rollback(host: &Host) {
    let registry = prepare(host);
    registry.push("db:latest", &Image::app("v1"));
    PodmanUnit::new("db", &registry.reference("db:latest")).start(host);
    host.write(
        "/etc/systemd/system/client.service",
        "[Unit]\nRequires=db.service\nAfter=db.service\n[Service]\nExecStart=/bin/sleep 1000\n",
    );
    host.sh("systemctl daemon-reload; systemctl start client.service");
    let run = |program: &str, bad: &str| {
        registry.push("db:latest", &unstartable(bad));
        assert_eq!(host.sh(&format!("{program} {COLUMNS}")), "db: rolled back");
        assert_eq!(version(host, "db"), "v1");
        host.property("client.service", "ActiveState")
    };
    assert_ne!(run(PODMAN, "bad1"), "active");
    host.sh("systemctl start client.service");
    assert_eq!(run(OURS, "bad2"), "active");
}

/// How often manifests were asked for, by GET and by HEAD, while `work` ran: Docker Hub counts a GET
/// as a pull.
fn asked(registry: &Registry, work: impl FnOnce()) -> [usize; 2] {
    let before = registry.requests().len();
    work();
    let requests = registry.requests().split_off(before);
    ["GET", "HEAD"].map(|method| {
        let of_manifest =
            |request: &&String| request.starts_with(method) && request.contains("/manifests/");
        requests.iter().filter(of_manifest).count()
    })
}

/// Point 8: where nothing changed, and where an index changed.
fn a_check_spends_no_pulls(host: &Host) {
    let registry = prepare(host);
    let units = [("one", "app"), ("two", "app"), ("three", "other")];
    registry.push_index("app:latest", &Image::app("v1"), "one");
    registry.push("other:latest", &Image::app("v1"));
    for (unit, image) in units {
        PodmanUnit::new(unit, &registry.reference(&format!("{image}:latest"))).start(host);
    }
    let run = |program: &str, word: &str| {
        asked(&registry, || {
            let told = host.sh(&format!("{program} --dry-run {COLUMNS}"));
            let expected = [format!("one: {word}"), "three: false".into(), format!("two: {word}")];
            let mut told: Vec<&str> = told.lines().collect();
            told.sort_unstable();
            assert_eq!(told, expected);
        })
    };
    // The index and the image behind it for each of two containers, and a third one's manifest.
    assert_eq!(run(PODMAN, "false"), [5, 0]);
    assert_eq!(run(OURS, "false"), [0, 2], "a HEAD for an image");

    registry.push_index("app:latest", &unstartable("bad"), "two");
    assert_eq!(run(PODMAN, "pending"), [5, 0]);
    assert_eq!(run(OURS, "pending"), [1, 2]);
    // What stands behind a changed index is remembered, as long as the tag goes on to say that.
    host.sh(OURS);
    let later = || drop(host.sh(&format!("{OURS} {COLUMNS} | grep 'one: false'")));
    assert_eq!(asked(&registry, later), [0, 2]);
}

/// Point 9: a unit that no tag can update is told of, and a digest beside the tag is no error, as it
/// is with a later Podman.
fn a_tag_with_a_digest_is_told_for_what_it_is(host: &Host) {
    let registry = prepare(host);
    let digest = registry.push("app:latest", &Image::app("v1"));
    let tagged = registry.reference("app:latest");
    let pinned = tagged.replace(":latest", &format!("@{digest}"));
    PodmanUnit::new("pinned", &pinned).start(host);
    PodmanUnit::new("both", &format!("{tagged}@{digest}")).start(host);
    registry.push("app:latest", &Image::app("v2"));
    for program in [PODMAN, OURS] {
        let told = host.sh(&format!("{program} --dry-run {COLUMNS} | sort"));
        assert_eq!(told, "both: false\npinned: false");
    }
    let check = host.sh("updaterctl check");
    assert_eq!(check.matches("pinned to a digest").count(), 2, "{check}");
}

/// Point 10: a container that takes longer to be healthy than a check may take, or a unit is watched,
/// is waited for. This Podman looks at no health at all.
fn a_slow_start_is_no_failure_and_an_ill_one_is(host: &Host) {
    let registry = prepare(host);
    let image = |version: &str, healthy_after: &str| {
        let healthy = format!("{{ sleep {healthy_after}; echo fine > /tmp/ok; }} &");
        let run = "trap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done";
        Image::script(version, &format!("{healthy}\n{run}"))
    };
    registry.push("app:latest", &image("v1", "0"));
    PodmanUnit::new("app", &registry.reference("app:latest"))
        .flag("--health-cmd 'cat /tmp/ok' --health-interval 1s --health-timeout 1s")
        .flag("--health-retries 1 --health-start-period 8s")
        .start(host);
    let run = |program: &str, image: &Image| {
        registry.push("app:latest", image);
        let outcome = host.run(&format!("{program} {COLUMNS}"));
        (told(&outcome).join(" "), version(host, "app"))
    };
    // The settle time is 2 s.
    assert_eq!(run(OURS, &image("v2", "5")), ("app: true".into(), "v2".into()));
    assert_eq!(run(OURS, &image("ill1", "999")), ("app: rolled back".into(), "v2".into()));
    assert_eq!(run(PODMAN, &image("ill2", "999")), ("app: true".into(), "ill2".into()));
    let health = "podman inspect -f '{{.State.Health.Status}}' app";
    host.wait_for(&format!("{health} | grep unhealthy"), seconds(30));
}

/// Point 11: the two images that a unit ran before stay, whatever is pruned, and it goes back to one
/// without a registry; what it ran before those does not, and what others have is none of our business.
fn what_a_unit_ran_before_stays_and_no_other(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    registry.push("other:latest", &Image::app("other"));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    host.sh(&format!("podman pull --quiet {}", registry.reference("other:latest")));
    // The stock service prunes when it has updated.
    let stock = || host.sh("systemctl start podman-auto-update.service");
    let running = || host.sh("podman inspect -f '{{.Image}}' app");
    let there = |image: &str| host.run(&format!("podman image exists {image}")).status == 0;
    let first = running();
    registry.push("app:latest", &Image::app("v2"));
    stock();
    let second = running();
    assert!(first != second && !there(&first), "with Podman, nothing to go back to is left");

    registry.push("app:latest", &Image::app("v3"));
    host.sh(OURS);
    stock();
    let third = running();
    assert!(third != second && there(&second));
    for next in ["v4", "v5"] {
        registry.push("app:latest", &Image::app(next));
        host.sh(OURS);
        stock();
    }
    assert!(there(&third) && !there(&second) && there(&registry.reference("other:latest")));
    registry.down();
    host.sh("updaterctl rollback app");
    assert_eq!(version(host, "app"), "v4");
}
