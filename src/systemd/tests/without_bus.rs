//! The manager behind its own socket: what it is not asked, and what is heard of it instead.

use std::os::unix::net::UnixListener;
use std::path::Path;

use super::fake::{self, Script, Systemd, serve};
use super::{LONG, app};
use crate::systemd::{Manager, private};
use crate::update::port::{Manager as _, UnitState};

/// A systemd that listens in `run`.
fn listen(run: &Path) -> UnixListener {
    let socket = private::socket(run);
    std::fs::create_dir(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

async fn accept(listener: &UnixListener, script: Script) -> Systemd {
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    serve(stream, script).await
}

/// Restarts the unit, has it be as `unit` says, told of or not, then forgotten and loaded anew.
async fn forgotten(unit: fake::Unit) -> UnitState {
    let run = tempfile::tempdir().unwrap();
    let listener = listen(run.path());
    let script = Script { after: vec![(fake::JOB, "app.service", "done")], ..Script::default() };
    let manager = Manager::without_bus(private::socket(run.path()), LONG);
    let (manager, systemd) = tokio::join!(manager, accept(&listener, script));
    let manager = manager.unwrap();
    manager.try_restart(&app()).await.unwrap();
    *systemd.unit.lock().unwrap() = unit;
    systemd.tell().await;
    let anew = fake::Unit {
        active: "inactive",
        invocation: vec![],
        begun: 0,
        started: 0,
        ..fake::Unit::default()
    };
    *systemd.unit.lock().unwrap() = anew;
    // As it may, of a unit that it has loaded for somebody.
    systemd.tell().await;
    let state = manager.state(&app()).await.unwrap();
    let calls = systemd.calls.lock().unwrap();
    assert_eq!(*calls, ["Subscribe", "TryRestartUnit app.service replace"]);
    state
}

#[tokio::test]
async fn a_stop_is_known_after_the_unit_is_forgotten() {
    let gone = fake::Unit { active: "inactive", left: 7, ended: 8, ..fake::Unit::default() };
    let state = forgotten(gone).await;
    assert_eq!((state.active.as_str(), state.stopped_on_request), ("inactive", true));
    assert!(state.was_started);
}

#[tokio::test]
async fn so_is_an_end_that_nobody_asked_for() {
    let gone = fake::Unit {
        active: "inactive",
        left: 8,
        ended: 7,
        restarts: 2,
        result: "success",
        ..fake::Unit::default()
    };
    let state = forgotten(gone).await;
    assert_eq!((state.active.as_str(), state.stopped_on_request), ("inactive", false));
    assert!(state.was_started && state.restarts == 2);
}

/// Its own socket does not outlive a systemd that executes itself anew.
#[tokio::test]
async fn a_connection_that_broke_is_made_again() {
    let run = tempfile::tempdir().unwrap();
    let listener = listen(run.path());
    let manager = Manager::without_bus(private::socket(run.path()), LONG);
    let (manager, before) = tokio::join!(manager, accept(&listener, Script::default()));
    let manager = manager.unwrap();
    before.connection.close().await.unwrap();
    let unit = app();
    let (state, after) = tokio::join!(manager.state(&unit), accept(&listener, Script::default()));
    assert_eq!(state.unwrap().active, "active");
    assert_eq!(*after.calls.lock().unwrap(), ["Subscribe"]);
}

/// Over its own socket, systemd tells of every change of every unit: nobody is to be woken up by it
/// between two rollouts.
#[tokio::test]
async fn the_connection_ends_with_the_rollout() {
    let run = tempfile::tempdir().unwrap();
    let listener = listen(run.path());
    let script = Script { after: vec![(fake::JOB, "app.service", "done")], ..Script::default() };
    let manager = Manager::without_bus(private::socket(run.path()), LONG);
    let (manager, systemd) = tokio::join!(manager, accept(&listener, script));
    let manager = manager.unwrap();
    let rollout = manager.delay_shutdown("because").await;
    manager.try_restart(&app()).await.unwrap();
    assert!(!systemd.connection.is_closed());
    drop(rollout);
    tokio::time::timeout(LONG, systemd.connection.closed()).await.expect("it stays");
    let unit = app();
    let (state, _systemd) =
        tokio::join!(manager.state(&unit), accept(&listener, Script::default()));
    assert_eq!(state.unwrap().active, "active");
}
