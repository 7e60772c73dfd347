//! Standard input, terminals, and who is attached to what runs.

use std::time::Instant;

use crate::host::{Host, Outcome, seconds};
use crate::image::Image;
use crate::registry::{Registry, prepare};

cases![
    a_container_has_a_terminal,
    the_callers_terminal_is_as_it_was,
    input_comes_through_whole,
    keys_leave_a_container_that_goes_on,
    who_is_attached_hears_all,
    who_does_not_listen_holds_up_nobody,
    signals_of_who_is_attached,
    what_is_started_can_be_typed_to,
    a_command_has_a_terminal,
    a_command_in_the_background,
    a_pull_has_bars_on_a_terminal_and_nowhere_else,
];

/// Runs `command` in a terminal of 33 rows and 99 columns, in which `typed` (a shell script) types.
fn in_terminal(host: &Host, typed: &str, command: &str) -> Outcome {
    host.write("/tmp/command", &format!("stty rows 33 cols 99\n{command}\n"));
    host.run(&format!("{{ {typed}; }} | script -qec 'sh /tmp/command' /dev/null"))
}

fn a_container_has_a_terminal(host: &Host) {
    let app = prepare(host);
    let look = "sh -c 'tty; stty size; test -c /dev/console && echo console; id -u > $(tty)'";
    let run = format!("updater-launch run --rm -it --user 1000 --network host {app} {look}");
    let shown = in_terminal(host, "sleep 2", &run);
    assert_eq!(shown.status, 0, "{}", shown.describe());
    for expected in ["/dev/pts/0", "33 99", "console", "1000"] {
        assert!(shown.stdout.lines().any(|line| line.trim() == expected), "{}", shown.describe());
    }
    // In the background it goes to the journal, line by line.
    host.sh(&format!(
        "updater-launch run -d --name web -t --network host {app} sh -c 'tty; echo x'"
    ));
    host.wait_for("updater-launch logs web | grep -x /dev/pts/0", seconds(5));
    host.sh("updater-launch logs web | grep -x x; updater-launch rm web");
    // Without one, there is none.
    let none = format!("updater-launch run --rm --network host {app} tty");
    assert!(in_terminal(host, "sleep 1", &none).stdout.contains("not a tty"));
}

fn the_callers_terminal_is_as_it_was(host: &Host) {
    let app = prepare(host);
    let run = format!("updater-launch run -it --name web --network host {app}");
    let around = |command: &str| format!("stty -a > /tmp/before; {command}; stty -a > /tmp/after");
    let kill = "kill -KILL $(updater-launch inspect --format '{{.State.ConmonPid}}' web)";
    for (typed, command) in [
        ("sleep 1", format!("{run} true")),
        ("sleep 1", format!("{run} /no/such/program")),
        (
            "until updater-launch exec web true; do sleep 0.1; done 2> /dev/null",
            format!("{{ sleep 1; {kill}; }} & {run} sleep 100"),
        ),
    ] {
        let shown = in_terminal(host, typed, &around(&command));
        assert_eq!(host.sh("cat /tmp/before"), host.sh("cat /tmp/after"), "{}", shown.describe());
        host.sh("updater-launch rm --force --ignore web");
    }
}

fn input_comes_through_whole(host: &Host) {
    let app = prepare(host);
    let run = "updater-launch run --rm -i --network host";
    assert_eq!(host.sh(&format!("echo mine | {run} {app} cat")), "mine");
    assert_eq!(host.sh(&format!("{run} {app} cat < /dev/null")), "");
    let much = format!("seq 1 300000 | {run} {app} sh -c 'sleep 0.5; cat' | md5sum");
    assert_eq!(host.sh(&much), host.sh("seq 1 300000 | md5sum"));
    host.fails(
        7,
        &format!("echo 7 | {run} {app} sh -c 'read status; echo said >&2; exit $status'"),
    );
    // One that stops reading holds up nobody.
    host.fails(3, &format!("yes | {run} {app} sh -c 'read line; exit 3'"));
}

fn keys_leave_a_container_that_goes_on(host: &Host) {
    let app = prepare(host);
    let run = format!("updater-launch run -it --name web --network host {app} sh");
    let left = in_terminal(
        host,
        "sleep 1; printf 'A=kept\\n'; sleep 0.3; printf '\\020\\021'; sleep 1",
        &run,
    );
    assert_eq!(left.status, 0, "{}", left.describe());
    assert_eq!(host.sh("updater-launch inspect --format '{{.State.Status}}' web"), "running");
    let typed = "sleep 0.5; printf 'echo $A$((40+2)); stty size\\n'; sleep 0.5; printf 'exit 4\\n'; sleep 0.5";
    let again = in_terminal(host, typed, "updater-launch attach web");
    assert!(
        again.stdout.contains("kept42") && again.stdout.contains("33 99"),
        "{}",
        again.describe()
    );
    assert_eq!(again.status, 4, "{}", again.describe());
    host.sh("updater-launch rm web");
    host.sh(&format!(
        "updater-launch run -d --rm --name web --log-driver none --network host {app}"
    ));
    assert!(host.fails(125, "updater-launch attach web").stderr.contains("log-driver"));
    host.sh("updater-launch stop web");
    host.fails(125, "updater-launch attach web");
    host.fails(125, &format!("updater-launch run -it --detach-keys x,1 --network host {app} true"));
}

fn who_is_attached_hears_all(host: &Host) {
    let app = prepare(host);
    let talk = "sh -c 'read go; echo out; echo err >&2; exit 5'";
    host.sh(&format!("updater-launch run -d -i --name web --network host {app} {talk}"));
    let attach = "updater-launch attach --no-stdin web > /tmp/out 2> /tmp/err";
    let both = format!(
        "{attach} & first=$!; sleep 0.5; echo go | updater-launch attach web > /tmp/second || [ $? = 5 ]
         wait $first || echo $?; cat /tmp/out /tmp/err; head -n 1 /tmp/second"
    );
    assert_eq!(host.sh(&both), "5\nout\nerr\nout");
    // And so does the journal.
    host.wait_for(
        "[ \"$(updater-launch logs web 2>&1 | sort)\" = \"$(printf 'err\\nout')\" ]",
        seconds(5),
    );
    host.sh("updater-launch rm web");
}

fn who_does_not_listen_holds_up_nobody(host: &Host) {
    let app = prepare(host);
    let flood = "sh -c 'i=0; while :; do i=$((i+1)); echo $i > /count; seq 1 200; done'";
    host.sh(&format!("updater-launch run -d --rm --name web --stop-timeout 1 --log-driver none -i --network host {app} {flood}"));
    host.sh("updater-launch attach web > /dev/null 2> /tmp/said < /dev/null & echo $! > /tmp/pid");
    std::thread::sleep(seconds(1));
    host.sh("kill -STOP $(cat /tmp/pid)");
    std::thread::sleep(seconds(3));
    let count = || host.sh("updater-launch exec web cat /count");
    let before = count();
    host.wait_until("it goes on", seconds(5), || count() != before);
    let started = Instant::now();
    host.sh("updater-launch stop web");
    assert!(started.elapsed() < seconds(5), "{:?}", started.elapsed());
    host.sh("kill -CONT $(cat /tmp/pid)");
    host.wait_for("! kill -0 $(cat /tmp/pid)", seconds(5));
    let said = host.sh("cat /tmp/said");
    assert!(said.contains("not taken"), "{said}");
}

fn signals_of_who_is_attached(host: &Host) {
    let app = prepare(host);
    let trap = "sh -c 'trap \"echo hup\" HUP; trap \"echo term; exit 6\" TERM; echo ready; while :; do sleep 0.1; done'";
    host.sh(&format!("updater-launch run -d -i --name web --network host {app} {trap}"));
    host.wait_for("updater-launch logs web | grep ready", seconds(5));
    let attached = "updater-launch attach --no-stdin web > /tmp/out & pid=$!; sleep 0.5";
    let passed = format!(
        "{attached}; kill -HUP $pid; sleep 0.5; kill -TERM $pid; wait $pid || echo $?; cat /tmp/out"
    );
    assert_eq!(host.sh(&passed), "6\nhup\nterm");
    host.sh("updater-launch start web");
    let kept = "updater-launch attach --sig-proxy=false --no-stdin web & pid=$!; sleep 0.5; kill -TERM $pid; wait $pid || echo $?";
    assert_eq!(host.sh(kept).lines().last(), Some("143"));
    assert_eq!(host.sh("updater-launch inspect --format '{{.State.Status}}' web"), "running");
    host.sh("updater-launch rm -f web");
}

fn what_is_started_can_be_typed_to(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("updater-launch create -i --name web --network host {app} sh"));
    assert_eq!(host.sh("echo 'echo $((6*7))' | updater-launch start -ai web"), "42");
    assert_eq!(
        host.sh("echo 'echo again' | updater-launch start --interactive --attach web"),
        "again"
    );
    host.sh("updater-launch rm web");
}

fn a_command_has_a_terminal(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("updater-launch run -d --name web --network host {app}"));
    let shown = in_terminal(
        host,
        "sleep 1; printf 'tty; stty size; exit 9\\n'; sleep 1",
        "updater-launch exec -it --user 1000 web sh",
    );
    assert_eq!(shown.status, 9, "{}", shown.describe());
    assert!(
        shown.stdout.contains("/dev/pts/0") && shown.stdout.contains("33 99"),
        "{}",
        shown.describe()
    );
    // It goes on where its caller leaves it.
    let left = in_terminal(
        host,
        "sleep 1; printf '\\020\\021'; sleep 1",
        "updater-launch exec -it web sleep 777",
    );
    assert_eq!(left.status, 0, "{}", left.describe());
    host.sh("pgrep -fx 'sleep 777'");
    host.fails(127, "updater-launch exec -t web /no/such/program");
    assert_eq!(host.sh("updater-launch exec -t web echo told").trim_end(), "told");
    host.sh("updater-launch rm -f web");
    assert_eq!(host.sh("pgrep -fx 'sleep 777' || true"), "");
    host.wait_for("! pgrep -x updater-launch", seconds(5));
}

fn a_command_in_the_background(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("updater-launch run -d --name web --network host {app}"));
    host.write("/tmp/env", "COLOUR=blue\n");
    let id = host.sh(
        "updater-launch exec -d --env-file /tmp/env web sh -c 'echo $COLOUR > /colour; sleep 777'",
    );
    assert_eq!(id.len(), 64);
    host.wait_for("[ $(updater-launch exec web cat /colour) = blue ]", seconds(5));
    host.sh("pgrep -fx 'sleep 777'");
    host.fails(127, "updater-launch exec -d web /no/such/program");
    host.sh("updater-launch rm -f web");
    host.wait_for("! pgrep -x updater-launch && ! pgrep -fx 'sleep 777'", seconds(5));
}

/// In which column of the terminal the last `word` begins.
fn column(shown: &str, word: &str) -> usize {
    let before = &shown[..shown.rfind(word).unwrap()];
    let line = before.rsplit(['\n', '\r']).next().unwrap();
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap().chars().count();
    // What follows the letter that ends a control sequence.
    let text = |part: &str| part.split_once(|c: char| c.is_alphabetic()).unwrap().1.chars().count();
    (first + parts.map(text).sum::<usize>()) % 99
}

/// They end before anything else is said, whatever the end is.
fn a_pull_has_bars_on_a_terminal_and_nowhere_else(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    // What has no name for its terminal is given no bars.
    let pull = format!("TERM=xterm updater-launch pull {}", registry.reference("app:latest"));
    let shown = in_terminal(host, "sleep 1", &pull);
    let whole = "[==============================]";
    assert!(shown.stdout.matches(whole).count() >= 2, "one for each layer: {}", shown.describe());
    let id = host.sh("updater-launch images -q --no-trunc");
    let id = id.strip_prefix("sha256:").unwrap();
    assert!(shown.stdout.trim_end().ends_with(id), "{}", shown.describe());
    assert_eq!(column(&shown.stdout, id), 0, "{:?}", shown.stdout);

    registry.push("app:latest", &Image::app("v2"));
    registry.damage_layer("app:latest");
    let shown = in_terminal(host, "sleep 1", &pull);
    assert_eq!((shown.status, column(&shown.stdout, "Error: ")), (125, 0), "{:?}", shown.stdout);
    assert!(shown.stdout.contains(" ["), "{:?}", shown.stdout);

    host.sh("updater-launch rmi --all");
    registry.push("app:latest", &Image::app("v3"));
    host.sh(&format!("{pull} > /tmp/said 2>&1"));
    let said = host.sh("cat /tmp/said");
    assert!(!said.contains(['\x1b', '[', '\r']) && said.lines().count() == 2, "{said:?}");
    let quiet = in_terminal(host, "sleep 1", &format!("{pull} --quiet"));
    assert_eq!(quiet.stdout.lines().count(), 1, "{}", quiet.describe());
}
