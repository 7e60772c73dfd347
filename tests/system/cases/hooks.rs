//! Who is told how updates ended: programs, webhooks, who listens on the bus, who reads the journal.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure, version};

cases![
    a_rollback_is_told_to_all_who_want_to_hear,
    what_was_not_taken_is_told_after_a_crash,
    a_pass_without_the_service_tells_before_it_ends,
];

/// Exit code of `updaterctl update`, as its manual has it.
const ROLLED_BACK: i32 = 4;

/// A webhook's receiver on this host: what it was told, and the status that it answers with.
#[derive(Clone)]
struct Receiver(Arc<Mutex<(u16, Vec<Told>)>>);

#[derive(Clone)]
struct Told {
    head: String,
    body: Value,
}

impl Receiver {
    fn listen(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let receiver = Self(Arc::new(Mutex::new((204, Vec::new()))));
        let told = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut head, mut length) = (String::new(), 0);
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let body = serde_json::from_slice(&body).unwrap();
                let status = {
                    let mut inner = told.0.lock().unwrap();
                    inner.1.push(Told { head, body });
                    inner.0
                };
                let answer = format!(
                    "HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        receiver
    }

    fn answer(&self, status: u16) {
        self.0.lock().unwrap().0 = status;
    }

    /// What it was told since it was asked last.
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }

    fn wait(&self, host: &Host) -> Told {
        let mut told = Vec::new();
        host.wait_until("it is told", seconds(30), || {
            told = self.take();
            !told.is_empty()
        });
        assert_eq!(told.len(), 1);
        told.remove(0)
    }
}

/// A path and arguments in which nothing is put in for variables: what they hold comes from others.
const PROGRAM: &str = "/usr/local/bin/tell$${UPDATERD_UNIT}";
const ARGUMENTS: &str = "an argument ${UPDATERD_MESSAGE} $UPDATERD_UNIT a$$b";

/// `app` on v1, a program that tells the journal what it is told, and a receiver at port 8088.
fn begin(host: &Host) -> (Registry<'_>, Receiver) {
    let receiver = Receiver::listen(8088);
    host.write(
        PROGRAM,
        "#!/bin/sh\ntouch /etc/told /var/told 2> /dev/null\n\
         logger -t told \"$* $(id -u) $UPDATERD_OUTCOME $UPDATERD_UNIT $(cat)\"\n",
    );
    host.write("/etc/updaterd/webhook.token", "opensesame\n");
    host.sh("chmod 755 /usr/local/bin/tell*; chmod 600 /etc/updaterd/webhook.token");
    let arguments: Vec<&str> = ARGUMENTS.split(' ').collect();
    configure(
        host,
        &format!(
            "schedule = \"timer\"\nsettle = \"1s\"\n[notify]\n\
             command = {:?}\n\
             webhook = \"http://127.0.0.1:8088/hook\"\n\
             webhook_token_file = \"/etc/updaterd/webhook.token\"\n",
            [&[PROGRAM], &arguments[..]].concat()
        ),
    );
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    (registry, receiver)
}

/// What the program told the journal.
fn told_by_program(host: &Host) -> String {
    host.journal("--identifier=told")
}

#[track_caller]
fn assert_told(told: &Told, bad: &str) {
    assert!(told.head.starts_with("POST /hook "), "{}", told.head);
    assert!(told.head.to_lowercase().contains("authorization: bearer opensesame"));
    let body = &told.body;
    assert_eq!((&body["outcome"], &body["unit"]), (&"rolled-back".into(), &"app.service".into()));
    assert_eq!((&body["new"], &body["image"]), (&bad.into(), &"localhost:5000/app:latest".into()));
    assert_eq!(body["host"], "box");
    assert!(body["message"].as_str().unwrap().contains("rolled back"), "{body}");
}

fn a_rollback_is_told_to_all_who_want_to_hear(host: &Host) {
    let (registry, receiver) = begin(host);
    host.sh("systemd-run --quiet --unit=monitor --property=StandardOutput=file:/tmp/signals busctl --system monitor --match \"type=signal,interface=org.updaterd.Updater1\"");
    host.wait_for("systemctl is-active monitor", seconds(10));
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    let bad = registry.push("app:latest", &Image::crashing("v3"));
    host.fails(ROLLED_BACK, "updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    // Of the good update nobody wanted to hear.
    assert_told(&receiver.wait(host), &bad);
    host.wait_until("the program tells", seconds(20), || told_by_program(host).contains(&bad));
    let told = told_by_program(host);
    let (_, rest) = told.split_once(&format!("{ARGUMENTS} ")).unwrap_or_else(|| panic!("{told}"));
    let words: Vec<&str> = rest.split_whitespace().take(3).collect();
    let [user, outcome, unit] = words[..] else { panic!("{told}") };
    assert_eq!((outcome, unit), ("rolled-back", "app.service"));
    // A user of its own, who may write nowhere.
    assert!(user.parse::<u32>().unwrap() >= 61_184, "{told}");
    host.sh("! test -e /etc/told; ! test -e /var/told");

    host.wait_for("grep -q Member=RolledBack /tmp/signals", seconds(10));
    let signals = host.sh("cat /tmp/signals");
    for signal in ["UpdateAvailable", "UpdateStarted", "UpdateFinished", "RolledBack"] {
        assert!(signals.contains(&format!("Member={signal}")), "{signal}: {signals}");
    }

    // Each entry says what to do.
    let explained = host.sh("journalctl --catalog --no-pager --identifier=updaterd");
    for hint in ["updaterctl quarantine clear", "journalctl -u app.service"] {
        assert!(explained.contains(hint), "{explained}");
    }
    let all =
        host.sh("journalctl --output=json --identifier=updaterd _SYSTEMD_UNIT=updaterd.service");
    for line in all.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let id = entry["MESSAGE_ID"].as_str().map(str::to_owned);
        if let Some(id) = id.filter(|_| entry["_COMM"] == "updaterd") {
            let known = host.run(&format!("journalctl --dump-catalog {id}"));
            assert!(known.stdout.contains("Defined-By: updaterd"), "{line}");
        }
    }
    assert!(
        !all.contains("opensesame") && !all.contains("/hook"),
        "secrets stay out of the journal"
    );
}

fn what_was_not_taken_is_told_after_a_crash(host: &Host) {
    let (registry, receiver) = begin(host);
    receiver.answer(503);
    let bad = registry.push("app:latest", &Image::crashing("v2"));
    host.fails(ROLLED_BACK, "updaterctl update");
    assert_told(&receiver.wait(host), &bad);
    host.wait_until("that is said", seconds(10), || {
        host.journal("--identifier=updaterd").contains("the webhook failed: it answered with 503")
    });
    // Killed before that is noted, it would tell the program once more.
    host.wait_for("! ls /var/lib/updaterd/ledger/notify/*.command.json", seconds(10));
    host.sh("systemctl kill --signal=KILL updaterd.service");
    receiver.answer(200);
    receiver.take();
    host.sh("systemctl reset-failed updaterd.service; systemctl restart updaterd.service");
    assert_told(&receiver.wait(host), &bad);
    host.wait_for("! ls /var/lib/updaterd/ledger/notify/*", seconds(10));
    assert_eq!(told_by_program(host).matches(&bad).count(), 1, "it had been told already");
}

fn a_pass_without_the_service_tells_before_it_ends(host: &Host) {
    let (registry, receiver) = begin(host);
    let bad = registry.push("app:latest", &Image::crashing("v2"));
    host.sh("updaterctl auto-update");
    let [told] = &receiver.take()[..] else { panic!("it was not told once") };
    assert_told(told, &bad);
    assert!(told_by_program(host).contains(&bad));

    // A unit of its own, which the program needs, cannot be had without a bus: that is said.
    host.sh("systemctl mask --now dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket");
    let bad = registry.push("app:latest", &Image::crashing("v3"));
    host.fails(ROLLED_BACK, "updaterctl update");
    let [told] = &receiver.take()[..] else { panic!("it was not told once") };
    assert_told(told, &bad);
    let log = host.journal("--identifier=updaterd");
    assert!(log.contains("notify: the command failed"), "{log}");
}
