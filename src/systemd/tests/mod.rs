//! The manager, tried against a systemd that plays its part over a socket pair.

mod fake;
mod without_bus;

use std::time::Duration;

use zbus::fdo;

use fake::{End, JOB, Refusal, Script, Systemd, systemd};

use super::*;
use crate::model::{Failure, FailureKind, UnitName};
use crate::update::port::{JobError, JobResult, Manager as _};

/// Far more than any of these tests takes.
const LONG: Duration = Duration::from_secs(20);

fn app() -> UnitName {
    "app.service".parse().unwrap()
}

async fn manager(script: Script, timeout: Duration) -> (Manager, Systemd) {
    let (connection, systemd) = systemd(script).await;
    (Manager::new(&connection, timeout).await.unwrap(), systemd)
}

/// What became of a restart; a hang is a failed test.
async fn try_restart(script: Script) -> Result<JobResult, JobError> {
    let (manager, _systemd) = manager(script, LONG).await;
    tokio::time::timeout(LONG / 2, manager.try_restart(&app())).await.expect("it hangs")
}

fn others(jobs: std::ops::Range<u32>) -> Vec<End> {
    jobs.map(|job| (job, "other.service", "failed")).collect()
}

fn refusal(result: Result<JobResult, JobError>) -> Failure {
    match result {
        Err(JobError::Refused(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_result_of_a_job_is_told() {
    for (text, expected) in [
        ("done", JobResult::Done),
        ("canceled", JobResult::Canceled),
        ("timeout", JobResult::Timeout),
        ("failed", JobResult::Failed),
        ("dependency", JobResult::Dependency),
        ("skipped", JobResult::Skipped),
        ("frozen", JobResult::Other),
    ] {
        let after = vec![(JOB, "app.service", text)];
        assert_eq!(try_restart(Script { after, ..Script::default() }).await, Ok(expected));
    }
}

#[tokio::test]
async fn a_job_that_ends_before_its_reply_is_not_missed() {
    let before = vec![(JOB, "app.service", "done")];
    let script = Script { before, ..Script::default() };
    assert_eq!(try_restart(script).await, Ok(JobResult::Done));
}

/// Another job of the same unit counts as little as one of another unit.
#[tokio::test]
async fn other_jobs_are_not_ours() {
    let mut after = others(1..4);
    after.push((JOB + 1, "app.service", "canceled"));
    after.push((JOB, "app.service", "done"));
    let script = Script { before: others(4..8), after, ..Script::default() };
    assert_eq!(try_restart(script).await, Ok(JobResult::Done));
}

/// At boot hundreds of jobs end while systemd gets to our call: more than a connection queues for
/// a listener that does not listen.
#[tokio::test]
async fn a_crowd_of_jobs_before_the_reply_does_not_block_it() {
    let mut before = others(1..500);
    before.insert(250, (JOB, "app.service", "done"));
    let script = Script { before, ..Script::default() };
    assert_eq!(try_restart(script).await, Ok(JobResult::Done));
}

#[tokio::test]
async fn a_host_that_shuts_down_proves_nothing() {
    for refusal in [
        Refusal::ShuttingDown("no".into()),
        Refusal::TransactionIsDestructive("it has 'stop' queued".into()),
    ] {
        let script = Script { refusal: Some(refusal), ..Script::default() };
        let result = try_restart(script).await;
        assert!(matches!(result, Err(JobError::ShuttingDown(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_unit_that_is_not_there_is_named() {
    let refusal = Some(Refusal::NoSuchUnit("Unit app.service not found.".into()));
    let result = try_restart(Script { refusal, ..Script::default() }).await;
    let Err(JobError::NoSuchUnit(message)) = result else { panic!("{result:?}") };
    assert!(message.contains("app.service"), "{message}");
}

#[tokio::test]
async fn another_refusal_is_a_failure_with_its_reason() {
    let refused = Some(Refusal::UnitMasked("Unit app.service is masked.".into()));
    let failure = refusal(try_restart(Script { refusal: refused, ..Script::default() }).await);
    assert_eq!(failure.kind, FailureKind::Local);
    for part in ["a restart", "app.service", "is masked"] {
        assert!(failure.message.contains(part), "{failure}");
    }
}

#[tokio::test]
async fn a_job_that_does_not_end_is_stuck() {
    let timeout = Duration::from_millis(50);
    for script in [
        Script { after: others(1..3), ..Script::default() },
        Script { silent: true, ..Script::default() },
    ] {
        let (manager, _systemd) = manager(script, timeout).await;
        let result = tokio::time::timeout(LONG, manager.try_restart(&app())).await;
        let Err(JobError::Stuck(failure)) = result.expect("it hangs") else { panic!("not stuck") };
        assert!(failure.message.contains("systemctl list-jobs"), "{failure}");
    }
}

#[tokio::test]
async fn a_lost_connection_ends_the_wait() {
    let result = try_restart(Script { hangs_up: true, ..Script::default() }).await;
    assert!(matches!(result, Err(JobError::Lost(_))), "{result:?}");
}

#[tokio::test]
async fn a_connection_lost_before_the_reply_ends_the_wait() {
    let (manager, systemd) = manager(Script { silent: true, ..Script::default() }, LONG).await;
    let unit = app();
    let hang_up = async {
        while systemd.calls.lock().unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
        systemd.connection.close().await.unwrap();
    };
    let both = async { tokio::join!(manager.try_restart(&unit), hang_up).0 };
    let result = tokio::time::timeout(LONG / 2, both).await.expect("it hangs");
    assert!(matches!(result, Err(JobError::Lost(_))), "{result:?}");
}

#[tokio::test]
async fn the_calls_are_the_documented_ones() {
    let after = vec![(JOB, "app.service", "done")];
    let (manager, systemd) = manager(Script { after, ..Script::default() }, LONG).await;
    manager.try_restart(&app()).await.unwrap();
    manager.restart(&app()).await.unwrap();
    manager.reset_failed("app.service").await.unwrap();
    let calls = systemd.calls.lock().unwrap();
    let expected = [
        "Subscribe",
        "RefUnit app.service",
        "TryRestartUnit app.service replace",
        "RestartUnit app.service replace",
        "ResetFailedUnit app.service",
    ];
    assert_eq!(*calls, expected);
}

#[tokio::test]
async fn a_second_subscription_is_no_error() {
    let subscription = Some(Refusal::AlreadySubscribed("twice".into()));
    let (connection, _systemd) = systemd(Script { subscription, ..Script::default() }).await;
    Manager::new(&connection, LONG).await.unwrap();
    let subscription = Some(Refusal::ShuttingDown("no".into()));
    let (connection, _systemd) = systemd(Script { subscription, ..Script::default() }).await;
    let error = Manager::new(&connection, LONG).await.unwrap_err();
    assert!(matches!(error, Error::Call { call: "Subscribe", .. }), "{error:?}");
}

#[tokio::test]
async fn nothing_to_reset_is_no_error() {
    let refusal = Some(Refusal::NoSuchUnit("Unit app.service not loaded.".into()));
    let (unloaded, _systemd) = manager(Script { refusal, ..Script::default() }, LONG).await;
    assert_eq!(unloaded.reset_failed("app.service").await, Ok(()));
    let refusal = Some(Refusal::UnitMasked("masked".into()));
    let (masked, _systemd) = manager(Script { refusal, ..Script::default() }, LONG).await;
    assert!(masked.reset_failed("app.service").await.is_err());
}

#[tokio::test]
async fn a_unit_is_read_anew_each_time() {
    let (manager, systemd) = manager(Script::default(), LONG).await;
    let state = manager.state(&app()).await.unwrap();
    assert_eq!((state.active.as_str(), state.sub.as_str()), ("active", "running"));
    assert_eq!((state.result.as_str(), state.main_status), ("success", 0));
    assert_eq!(state.invocation, "000102030405060708090a0b0c0d0e0f");
    assert_eq!((state.restarts, state.stopped_on_request), (0, false));

    // The unit died by itself, and was started again.
    *systemd.unit.lock().unwrap() = fake::Unit {
        restarts: 1,
        invocation: vec![255; 16],
        left: 8,
        ended: 7,
        ..Default::default()
    };
    let state = manager.state(&app()).await.unwrap();
    assert_eq!((state.restarts, state.stopped_on_request), (1, false));
    assert_eq!(state.invocation, "ff".repeat(16));

    // It was stopped: it left "active" before its main process ended. A stopped unit has no
    // invocation.
    let stopped = fake::Unit {
        active: "inactive",
        invocation: vec![],
        left: 7,
        ended: 8,
        ..Default::default()
    };
    *systemd.unit.lock().unwrap() = stopped.clone();
    let state = manager.state(&app()).await.unwrap();
    assert_eq!((state.active.as_str(), state.stopped_on_request), ("inactive", true));
    assert_eq!(state.invocation, "");
    assert!(state.was_started && !state.transient);

    for (told, unit) in [
        (true, fake::Unit { active: "deactivating", left: 7, ended: 0, ..stopped.clone() }),
        // Stopped, and killed by the signal that was to stop it.
        (true, fake::Unit { active: "failed", result: "signal", ..stopped.clone() }),
        // Never active: systemd stopped what did not come up.
        (false, fake::Unit { active: "failed", started: 9, ended: 10, ..stopped.clone() }),
        (false, fake::Unit { active: "failed", result: "watchdog", ..stopped.clone() }),
        (true, fake::Unit { active: "active", left: 0, job: 7, ..stopped }),
    ] {
        *systemd.unit.lock().unwrap() = unit.clone();
        let state = manager.state(&app()).await.unwrap();
        assert_eq!(state.stopped_on_request, told, "{unit:?}");
    }
    assert_eq!(manager.state(&app()).await.unwrap().job.as_deref(), Some("stop"));
}

/// A launcher that fails before it says that the container runs proves nothing against the image,
/// whatever the type of its unit.
#[tokio::test]
async fn only_a_run_that_became_active_has_announced_itself() {
    let (manager, systemd) = manager(Script::default(), LONG).await;
    for (announced, started, entered) in
        [(true, 5, 6), (true, 5, 5), (false, 9, 6), (false, 5, 0), (false, 0, 0), (false, 0, 6)]
    {
        *systemd.unit.lock().unwrap() = fake::Unit { started, entered, ..Default::default() };
        let state = manager.state(&app()).await.unwrap();
        assert_eq!(state.announced, announced, "started {started}, active {entered}");
    }
}

/// A program may say by itself that it stops (`STOPPING=1`), and leaves its active state as by a stop.
#[tokio::test]
async fn a_stop_that_nobody_asked_for_is_none() {
    let after = vec![(JOB, "app.service", "done")];
    let (manager, systemd) = manager(Script { after, ..Script::default() }, LONG).await;
    let _attention = manager.delay_shutdown("a test").await;
    assert_eq!(manager.try_restart(&app()).await, Ok(JobResult::Done));
    let now = || u64::try_from(job_log::now().as_micros()).unwrap();
    let stopping = fake::Unit {
        active: "deactivating",
        started: now(),
        left: now() + 1,
        ended: 0,
        ..Default::default()
    };
    *systemd.unit.lock().unwrap() = stopping.clone();
    assert!(!manager.state(&app()).await.unwrap().stopped_on_request);

    // Of what came before it was listened there is nothing to say.
    *systemd.unit.lock().unwrap() = fake::Unit { started: 5, left: 6, ..stopping };
    assert!(manager.state(&app()).await.unwrap().stopped_on_request);
}

/// Its properties come in two answers, and in between the program may end.
#[tokio::test]
async fn a_crash_between_two_answers_is_no_stop() {
    let (manager, systemd) = manager(Script::default(), LONG).await;
    let crashed = fake::Unit {
        active: "failed",
        left: 9,
        ended: 8,
        result: "exit-code",
        ..Default::default()
    };
    let meanwhile = Some(Box::new(crashed));
    *systemd.unit.lock().unwrap() = fake::Unit { meanwhile, ..Default::default() };
    assert!(!manager.state(&app()).await.unwrap().stopped_on_request);
}

/// systemd is off the bus for a moment when its package is upgraded: that fails no update.
#[tokio::test]
async fn a_systemd_that_executes_itself_anew_is_asked_again() {
    let away = || fdo::Error::NoReply("it left".into());
    let unreadable = vec![away(), fdo::Error::NameHasNoOwner("gone".into()), away()];
    let (manager, _systemd) = manager(Script { unreadable, ..Script::default() }, LONG).await;
    assert_eq!(manager.state(&app()).await.unwrap().active, "active");
}

#[tokio::test]
async fn a_systemd_that_stays_away_is_a_failure() {
    let unreadable = vec![fdo::Error::NoReply("it left".into()); 100_000];
    let (manager, _systemd) = manager(Script { unreadable, ..Script::default() }, LONG).await;
    let patience = Duration::from_millis(150);
    let failure = manager.state_within(&app(), patience).await.unwrap_err();
    assert!(failure.message.contains("it left"), "{failure}");
}

#[tokio::test]
async fn a_unit_that_cannot_be_read_is_named() {
    let unreadable = vec![fdo::Error::AccessDenied("not for you".into())];
    let (manager, _systemd) = manager(Script { unreadable, ..Script::default() }, LONG).await;
    let failure = manager.state(&app()).await.unwrap_err();
    for part in ["LoadUnit", "app.service", "not for you"] {
        assert!(failure.message.contains(part), "{failure}");
    }
}

/// Of a unit that is forgotten when it stops, nobody can say whether it was asked to.
#[tokio::test]
async fn units_are_kept_loaded_as_long_as_a_shutdown_is_delayed() {
    let after = vec![(JOB, "app.service", "done")];
    let (manager, systemd) = manager(Script { after, ..Script::default() }, LONG).await;
    let attention = manager.delay_shutdown("updating").await;
    for unit in ["app.service", "app.service", "other.service"] {
        manager.restart(&unit.parse().unwrap()).await.unwrap();
    }
    let references = || -> Vec<String> {
        let calls = systemd.calls.lock().unwrap();
        calls.iter().filter(|call| call.contains("efUnit")).cloned().collect()
    };
    assert_eq!(references(), ["RefUnit app.service", "RefUnit other.service"]);
    drop(attention);
    tokio::time::timeout(LONG, async {
        while references().len() < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("they stay loaded");
    assert_eq!(references()[2..], ["UnrefUnit app.service", "UnrefUnit other.service"]);
}

/// systemd goes on counting where it is asked for a restart that it was about to make itself.
#[tokio::test]
async fn a_restart_before_ours_is_none_of_the_run_that_we_asked_for() {
    let after = vec![(JOB, "app.service", "done")];
    let (manager, systemd) = manager(Script { after, ..Script::default() }, LONG).await;
    let restarts = async |count| {
        systemd.unit.lock().unwrap().restarts = count;
        manager.state(&app()).await.unwrap().restarts
    };
    assert_eq!(restarts(2).await, 2);
    manager.restart(&app()).await.unwrap();
    assert_eq!(restarts(2).await, 0);
    assert_eq!(restarts(3).await, 1);
    manager.reset_failed("app.service").await.unwrap();
    assert_eq!(restarts(1).await, 1);
}
