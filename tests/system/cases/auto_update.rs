//! `updaterctl auto-update` beside `podman auto-update`, on the same host in the same state.

use serde_json::Value;

use crate::host::{Host, Outcome};
use crate::image::Image;
use crate::podman::{PodmanUnit, prepare, version};

cases![
    a_dry_run_says_what_podman_says,
    a_command_line_is_refused_as_podman_refuses_it,
    an_update_is_told_as_podman_tells_it,
    podmans_events_know_of_each_run,
];

/// The rows of `--format json`, by unit and container.
fn rows(outcome: &Outcome) -> Vec<Value> {
    let Ok(Value::Array(mut rows)) = serde_json::from_str(&outcome.stdout) else {
        panic!("{}", outcome.describe());
    };
    rows.sort_by_key(|row| row["ContainerName"].to_string());
    rows
}

/// What was said of errors, one by one. A later Podman says of which container a bad policy is, and
/// so do we.
fn errors(outcome: &Outcome) -> Vec<String> {
    let lines = outcome
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("\t* ").or_else(|| line.strip_prefix("Error: ")));
    let lines = lines.filter(|line| !line.ends_with("errors occurred:")).map(|line| {
        line.find("invalid auto-update policy").map_or(line, |policy| &line[policy..]).to_owned()
    });
    let mut errors: Vec<String> = lines.collect();
    errors.sort();
    errors
}

/// The words of each line, in whatever order and with whatever spaces.
fn lines(outcome: &Outcome) -> Vec<Vec<&str>> {
    let mut lines: Vec<Vec<&str>> =
        outcome.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    lines.sort();
    lines
}

/// The same command of both programs.
fn both(host: &Host, flags: &str) -> [Outcome; 2] {
    ["podman", "updaterctl"].map(|program| host.run(&format!("{program} auto-update {flags}")))
}

fn a_dry_run_says_what_podman_says(host: &Host) {
    let registry = prepare(host);
    host.sh("podman info > /dev/null");
    let [theirs, ours] = both(host, "--dry-run");
    assert_eq!((theirs.status, &theirs.stdout), (ours.status, &ours.stdout), "nothing at all");

    registry.push("new:latest", &Image::app("v1"));
    registry.push("same:latest", &Image::app("v1"));
    let image = |name: &str| registry.reference(&format!("{name}:latest"));
    PodmanUnit::new("new", &image("new")).start(host);
    PodmanUnit::new("same", &image("same")).policy("image").start(host);
    PodmanUnit::new("local", &image("same")).policy("local").start(host);
    PodmanUnit::new("off", &image("same")).policy("disabled").start(host);
    registry.push("new:latest", &Image::app("v2"));

    let [theirs, ours] = both(host, "--dry-run --format json");
    assert_eq!((theirs.status, ours.status), (0, 0), "{}", ours.describe());
    assert_eq!(rows(&theirs), rows(&ours));
    for flags in ["--dry-run", "--dry-run --format '{{.Unit}} {{.ContainerID}} {{.Updated}}'"] {
        let [theirs, ours] = both(host, flags);
        assert_eq!(lines(&theirs), lines(&ours), "{flags}");
    }

    // One that cannot be updated is an error, for the others nothing changes.
    PodmanUnit::new("odd", &image("same")).policy("sometimes").start(host);
    let label = "--label io.containers.autoupdate=registry";
    host.sh(&format!("podman run -d --name alone --network host {label} {}", image("same")));
    let [theirs, ours] = both(host, "--dry-run --format json");
    assert_eq!((theirs.status, ours.status), (125, 125), "{}", ours.describe());
    assert_eq!(rows(&theirs), rows(&ours));
    assert_eq!(errors(&theirs), errors(&ours));
    host.sh("systemctl stop odd.service; podman rm -f -t 0 alone");

    // A registry that is down: this Podman says nothing of it.
    registry.down();
    let [theirs, ours] = both(host, "--dry-run --format '{{.ContainerName}} {{.Updated}}'");
    assert_eq!(lines(&theirs), [["local", "false"], ["new", "false"], ["same", "false"]]);
    assert_eq!(lines(&ours), [["local", "false"], ["new", "failed"], ["same", "failed"]]);
    assert_eq!((theirs.status, ours.status), (0, 125), "{}", ours.describe());
    let said = errors(&ours);
    assert!(said.iter().all(|error| error.starts_with("checking image updates for container ")));
}

fn a_command_line_is_refused_as_podman_refuses_it(host: &Host) {
    prepare(host);
    for flags in ["--bla", "x", "--dry-run=perhaps"] {
        let [theirs, ours] = both(host, flags);
        assert_eq!((theirs.status, ours.status), (125, 125), "{flags}: {}", ours.describe());
        let said = ours.stderr.starts_with("Error: ") && theirs.stderr.contains("Error: ");
        assert!(said, "{}{}", ours.describe(), theirs.describe());
    }
    for flags in
        ["--dry-run --rollback=false", "--rollback --dry-run", "--dry-run --authfile /none"]
    {
        let [theirs, ours] = both(host, flags);
        assert_eq!((theirs.status, ours.status), (0, 0), "{flags}: {}", ours.describe());
    }
    // Podman 4.4 has it.
    host.sh("updaterctl auto-update --dry-run --tls-verify=false");
}

fn an_update_is_told_as_podman_tells_it(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    let run = |program: &str, new: &str| {
        registry.push("app:latest", &Image::app(new));
        let outcome =
            host.run(&format!("{program} auto-update --format '{{{{.Unit}}}} {{{{.Updated}}}}'"));
        assert_eq!(version(host, "app"), new, "{}", outcome.describe());
        assert!(
            outcome.stderr.contains("Trying to pull localhost:5000/app"),
            "{}",
            outcome.describe()
        );
        (outcome.status, outcome.stdout)
    };
    let (theirs, ours) = (run("podman", "v2"), run("updaterctl", "v3"));
    assert_eq!(theirs, ours);
    assert_eq!(ours, (0, "app.service true\n".into()));
    // Each goes on where the other was.
    assert_eq!(run("podman", "v4"), run("updaterctl", "v5"));

    // What cannot be started is rolled back, which is no failure.
    let run = |program: &str, new: &str| {
        registry.push("app:latest", &Image::app(new).with("Cmd", ["/no/such/program"]));
        let outcome =
            host.run(&format!("{program} auto-update --format '{{{{.Unit}}}} {{{{.Updated}}}}'"));
        assert_eq!(version(host, "app"), "v5", "{}", outcome.describe());
        (outcome.status, outcome.stdout)
    };
    let (theirs, ours) = (run("podman", "bad1"), run("updaterctl", "bad2"));
    assert_eq!(theirs, ours);
    assert_eq!(ours, (0, "app.service rolled back\n".into()));
    // Without a rollback, the unit is left as it failed.
    registry.push("app:latest", &Image::app("bad3").with("Cmd", ["/no/such/program"]));
    let outcome =
        host.fails(125, "updaterctl auto-update --rollback=false --format '{{.Updated}}'");
    assert_eq!(outcome.stdout, "failed\n");
    assert!(outcome.stderr.contains("restarting unit app.service"), "{}", outcome.describe());
    assert_eq!(version(host, "app"), "");
}
/// One event for each run that had work of Podman's to look at, dry or not, from whichever program.
fn podmans_events_know_of_each_run(host: &Host) {
    let registry = prepare(host);
    let log = "podman events --stream=false --since 1h --filter event=auto-update --format json";
    let events = || {
        let events = host.sh(&format!("journalctl --sync; {log}"));
        events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    host.sh("podman info > /dev/null");
    both(host, "--dry-run");
    assert_eq!(events().len(), 0, "no work");

    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("off", &registry.reference("app:latest")).policy("disabled").start(host);
    both(host, "--dry-run");
    assert_eq!(events().len(), 0, "nothing to look at");
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    both(host, "--dry-run");
    let seen = events();
    assert_eq!(seen.len(), 2, "{seen:?}");
    for field in ["Status", "Type", "Attributes"] {
        assert_eq!(seen[0][field], seen[1][field], "{seen:?}");
    }
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl auto-update");
    assert_eq!(events().len(), 3);
    // `check` and `update` are no words of Podman's.
    host.sh("updaterctl check; updaterctl update");
    assert_eq!(events().len(), 3);
    // Who keeps events elsewhere gets none from us.
    host.sh("sed -i '/^runtime/a events_logger = \"file\"' /etc/containers/containers.conf");
    host.sh("updaterctl auto-update --dry-run");
    let journal = host.journal("PODMAN_EVENT=auto-update");
    assert_eq!(journal.lines().count(), 3, "{journal}");
}
