use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::update::EventKind;

fn settings(dir: &Path) -> Settings {
    let mut settings = crate::config::load(Scope::System).unwrap();
    settings.paths.state = dir.to_owned();
    settings.notify.timeout = Duration::from_secs(10);
    settings
}

fn rolled_back() -> Event {
    Event {
        unit: "app.service".parse().ok(),
        reference: "registry.example/app:1".parse().ok(),
        detail: "the unit is failed".into(),
        ..Event::new(EventKind::RolledBack)
    }
}

/// Answers each request with the next of `statuses`; what was asked comes along the channel.
fn server(statuses: &'static [&'static str]) -> (String, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/secret-path", listener.local_addr().unwrap());
    let (sender, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            sender.send((head, String::from_utf8(body).unwrap())).unwrap();
        }
    });
    (url, asked)
}

fn webhook(settings: &mut Settings, url: String, token_file: Option<std::path::PathBuf>) {
    settings.notify.webhook = Some(crate::config::Webhook { url, token_file });
}

#[tokio::test]
async fn a_webhook_is_told_once_it_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let (url, asked) = server(&["503 Busy", "204 No Content"]);
    let token = dir.path().join("token");
    std::fs::write(&token, "opensesame\n").unwrap();
    webhook(&mut settings, url, Some(token));
    let (scribe, deliverer) = open(Scope::System, &settings, None).unwrap();
    scribe.event(&Event { kind: EventKind::Updated, ..rolled_back() });
    scribe.event(&rolled_back());

    assert!(deliverer.deliver().await.is_some(), "it did not take it");
    assert_eq!(deliverer.failures(), 1);
    let first = asked.recv().unwrap();
    // Another process, or this one after a crash, finds it where it was left.
    let (_, deliverer) = open(Scope::System, &settings, None).unwrap();
    assert_eq!(deliverer.deliver().await, None);
    let (head, body) = asked.recv().unwrap();
    assert_eq!(body, first.1);
    assert!(head.starts_with("POST /secret-path "), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer opensesame"), "{head}");
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["outcome"], "rolled-back");
    assert_eq!(told["unit"], "app.service");
    assert_eq!(told["image"], "registry.example/app:1");
    assert_eq!(told["detail"], "the unit is failed");
    assert_eq!(deliverer.deliver().await, None, "nothing is left");
}

#[tokio::test]
async fn nobody_there_is_told_without_the_address() {
    let url = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/secret-path", listener.local_addr().unwrap())
    };
    let at = crate::config::Webhook { url, token_file: None };
    let webhook = webhook::Webhook::new(at, Duration::from_secs(10));
    let refusal = webhook.tell("{}".into()).await.unwrap_err();
    assert!(refusal.why.contains("refused") && !refusal.why.contains("secret"), "{refusal:?}");
    assert!(!refusal.heard);
    assert!(!format!("{webhook:?}").contains("secret"));
}

/// As for an ordinary user.
fn program(settings: &mut Settings, script: &str) {
    settings.notify.command = ["/bin/sh", "-c", script, "tell"].map(str::to_owned).into();
}

#[tokio::test]
async fn a_program_gets_it_on_its_input_and_in_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let told = dir.path().join("told");
    let script = format!("cat > {0}; echo $UPDATERD_OUTCOME $UPDATERD_UNIT >> {0}", told.display());
    program(&mut settings, &script);
    let (scribe, deliverer) = open(Scope::User, &settings, None).unwrap();
    scribe.event(&rolled_back());
    assert_eq!(deliverer.deliver().await, None);
    let told = std::fs::read_to_string(told).unwrap();
    let (json, words) = told.split_once('\n').unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["message"], journal::line(&rolled_back()));
    assert_eq!(words, "rolled-back app.service\n");
}

#[tokio::test]
async fn who_asks_to_be_told_of_what_is_suspended_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.notify.on = [OutcomeKind::Suspended].into();
    let told = dir.path().join("told");
    program(&mut settings, &format!("echo $UPDATERD_OUTCOME >> {}", told.display()));
    let (scribe, deliverer) = open(Scope::User, &settings, None).unwrap();
    scribe.event(&rolled_back());
    scribe.event(&Event { kind: EventKind::Suspended, ..rolled_back() });
    assert_eq!(deliverer.deliver().await, None);
    assert_eq!(std::fs::read_to_string(told).unwrap(), "suspended\n");
}

#[tokio::test]
async fn what_another_process_tells_is_not_told_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let told = dir.path().join("told");
    program(&mut settings, &format!("echo told >> {}", told.display()));
    let (scribe, deliverer) = open(Scope::User, &settings, None).unwrap();
    scribe.event(&rolled_back());
    let turn = Spool::new(&dir.path().join("ledger")).turn("command").unwrap();
    assert!(deliverer.deliver().await.is_some(), "it is looked again whether the other told it");
    assert!(!told.exists() && deliverer.failures() == 0);
    drop(turn);
    let (_, deliverer) = open(Scope::User, &settings, None).unwrap();
    assert_eq!(deliverer.deliver().await, None);
    assert_eq!(std::fs::read_to_string(told).unwrap(), "told\n");
}

#[tokio::test]
async fn a_program_that_hangs_or_fails_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    // A shell may be slow to start: only what hangs anyhow has little time.
    let (short, long) = (Duration::from_millis(200), settings.notify.timeout);
    for (script, timeout, why) in
        [("sleep 60", short, "has not ended"), ("echo no mail >&2; exit 3", long, "no mail")]
    {
        program(&mut settings, script);
        let command = command::Command::new(Scope::User, &settings.notify.command, timeout);
        let notice =
            Notice::new(Timestamp::now(), String::new(), OutcomeKind::Failed, rolled_back());
        let refusal = command.unwrap().tell(&notice, "{}").await.unwrap_err();
        assert!(refusal.why.contains(why), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_program_that_leaves_something_behind_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.notify.timeout = Duration::from_secs(60);
    let tell = async |script: &str| {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        let command = command::Command::new(Scope::User, &words, settings.notify.timeout);
        let notice =
            Notice::new(Timestamp::now(), String::new(), OutcomeKind::Failed, rolled_back());
        command.unwrap().tell(&notice, "{}").await
    };
    let begun = std::time::Instant::now();
    assert_eq!(tell("sleep 45 &").await, Ok(()));
    let refusal = tell("sleep 45 & echo no mail >&2; exit 3").await.unwrap_err();
    assert!(refusal.heard && refusal.why.contains("no mail"), "{refusal:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "it waited for what was left behind");
}

#[tokio::test]
async fn what_hangs_ends_with_all_that_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", pid.display());
    let words = ["/bin/sh", "-c", &script].map(str::to_owned);
    let command = command::Command::new(Scope::User, &words, Duration::from_secs(60)).unwrap();
    let notice = Notice::new(Timestamp::now(), String::new(), OutcomeKind::Failed, rolled_back());
    let written = async {
        while !pid.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        told = command.tell(&notice, "{}") => panic!("{told:?}"),
        () = written => {}
    }
    let pid = std::fs::read_to_string(pid).unwrap();
    let state =
        || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // Nobody may have taken notice of its end yet.
    while !state().is_empty() && !state().contains(") Z ") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_refused_does_not_keep_the_next_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let (url, asked) = server(&["400 Bad Request", "200 OK"]);
    webhook(&mut settings, url, None);
    let (scribe, deliverer) = open(Scope::System, &settings, None).unwrap();
    scribe.event(&rolled_back());
    scribe.event(&Event { kind: EventKind::NeedsOperator, ..rolled_back() });
    assert!(deliverer.deliver().await.is_some());
    assert_eq!(asked.iter().take(2).count(), 2);
    let left = Spool::new(&dir.path().join("ledger")).waiting("webhook").unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].outcome, OutcomeKind::RolledBack);
}

#[tokio::test]
async fn who_waits_for_it_does_not_wait_for_each() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.notify.timeout = Duration::from_secs(1);
    program(&mut settings, "sleep 0.7");
    let (scribe, deliverer) = open(Scope::User, &settings, None).unwrap();
    for _ in 0..30 {
        scribe.event(&rolled_back());
    }
    let begun = std::time::Instant::now();
    deliverer.deliver_in_time().await;
    assert!(begun.elapsed() < Duration::from_secs(15), "it waited for all of them");
    assert_ne!(Spool::new(&dir.path().join("ledger")).waiting("command").unwrap(), []);
}

#[tokio::test]
async fn the_desk_tells_what_comes_and_says_when_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let (url, asked) = server(&["200 OK"]);
    webhook(&mut settings, url, None);
    let desk = Desk::default();
    let (scribe, deliverer) = open(Scope::System, &settings, Some(&desk)).unzip();
    desk.change(deliverer);
    scribe.unwrap().event(&rolled_back());
    assert!(desk.is_busy());
    let done = async {
        while desk.is_busy() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = done => {}
        never = desk.run() => match never {},
    }
    assert_eq!(asked.try_iter().count(), 1);
}

#[tokio::test]
async fn the_desk_stays_for_what_comes_while_it_tells() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.notify.timeout = Duration::from_secs(60);
    let (told, go) = (dir.path().join("told"), dir.path().join("go"));
    let script = format!(
        "echo >> {}; while ! [ -e {} ]; do sleep 0.05; done; sleep 0.2",
        told.display(),
        go.display()
    );
    program(&mut settings, &script);
    let desk = Desk::default();
    let (scribe, deliverer) = open(Scope::User, &settings, Some(&desk)).unzip();
    let scribe = scribe.unwrap();
    desk.change(deliverer);
    scribe.event(&rolled_back());
    let a_while = || tokio::time::sleep(Duration::from_millis(5));
    let done = async {
        while !told.exists() {
            a_while().await;
        }
        scribe.event(&Event { kind: EventKind::NeedsOperator, ..rolled_back() });
        std::fs::write(&go, "").unwrap();
        while desk.is_busy() {
            a_while().await;
        }
    };
    tokio::select! {
        () = done => {}
        never = desk.run() => match never {},
    }
    assert_eq!(std::fs::read_to_string(told).unwrap(), "\n\n");
    assert_eq!(Spool::new(&dir.path().join("ledger")).waiting("command").unwrap(), []);
}

#[test]
fn who_names_nobody_tells_nobody() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(Scope::System, &settings(dir.path()), None).is_none());
}
