use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::model::{Digest, Failure, FailureKind, Platform};
use crate::plan::JobResult;

fn image(seed: &str) -> ImageIdentity {
    let digest = Digest::of(seed.as_bytes());
    ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
}

fn rollout(units: usize) -> Rollout {
    let step = |n: usize| Step {
        unit: format!("u{n}.service").parse().unwrap(),
        containers: vec![format!("c{n}")],
        old: image("old"),
        along: vec![],
        led: false,
    };
    Rollout {
        source: ImageSource { reference: "quay.io/app:1".parse().unwrap(), authfile: None },
        engine: EngineKind::Native,
        policy: Policy::Registry,
        new: image("new"),
        moves_tag: true,
        settled: vec![],
        steps: (0..units).map(step).collect(),
    }
}

fn crashed() -> Event {
    Event::Failed(Cause::RestartedItself { restarts: 1 })
}

fn not_begun() -> Event {
    Event::NotBegun(Cause::NotStarted { result: "masked".to_owned() })
}

fn canceled() -> Event {
    Event::Failed(Cause::Job { result: JobResult::Canceled })
}

/// Feeds events until the end, then successes.
fn run(rollout: &Rollout, events: &[Event]) -> Progress {
    let mut progress = Progress::start(rollout);
    let mut events = events.iter().cloned();
    for _ in 0..1000 {
        if progress.state == State::Ended {
            return progress;
        }
        let event = events.next().unwrap_or(Event::Succeeded);
        progress = next(rollout, progress, event, true);
    }
    panic!("no end: {progress:?}");
}

#[test]
fn a_good_image_is_committed() {
    let progress = run(&rollout(2), &[]);
    assert_eq!(progress.marks, [Mark::Updated, Mark::Updated]);
    assert!(!proves_image_bad(&progress));
}

#[test]
fn a_failing_canary_leaves_the_others_alone() {
    let ok = Event::Succeeded;
    let progress = run(&rollout(3), &[ok.clone(), ok.clone(), ok, crashed()]);
    assert_eq!(progress.marks, [Mark::PutBack, Mark::Untouched, Mark::Untouched]);
    assert!(proves_image_bad(&progress));
}

#[test]
fn a_later_failure_takes_the_earlier_ones_back() {
    let mut events = vec![Event::Succeeded; 1 + 4 + 2];
    events.push(crashed());
    let progress = run(&rollout(3), &events);
    assert_eq!(progress.marks, [Mark::PutBack, Mark::PutBack, Mark::Untouched]);
}

#[test]
fn what_the_image_did_not_do_is_not_held_against_it() {
    let progress = run(&rollout(1), &[Event::Succeeded, Event::Succeeded, canceled()]);
    assert_eq!(progress.marks, [Mark::PutBack]);
    assert!(!proves_image_bad(&progress));
}

/// What is not listed here as the image's doing is not.
#[test]
fn only_what_an_image_can_do_is_held_against_it() {
    let text = String::new;
    let failure = || Failure::new(FailureKind::StorageFull, "no space left on device");
    let job = |result| Cause::Job { result };
    for innocent in [
        job(JobResult::Canceled),
        job(JobResult::Dependency),
        job(JobResult::Skipped),
        job(JobResult::Other),
        job(JobResult::Done),
        Cause::StartedAnew,
        Cause::WrongImage { expected: Digest::of(b"new"), found: None },
        Cause::NotStarted { result: "start-limit-hit".to_owned() },
        Cause::FailedBefore { active: text(), result: text() },
        Cause::Needed { unit: "db.service".parse().unwrap() },
        Cause::Launcher,
        Cause::ShuttingDown { message: text() },
        Cause::BusLost { message: text() },
        Cause::ServiceStopping,
        Cause::Host { failure: failure() },
    ] {
        for event in [Event::Failed(innocent.clone()), Event::NotBegun(innocent.clone())] {
            let progress = run(&rollout(1), &[Event::Succeeded, Event::Succeeded, event]);
            assert!(!proves_image_bad(&progress), "{innocent:?}");
            assert_eq!(condemned_by(&rollout(1), &progress), None);
        }
    }
    for guilty in [job(JobResult::Failed), job(JobResult::Timeout), Cause::Unhealthy { streak: 3 }]
    {
        let events = [Event::Succeeded, Event::Succeeded, Event::Failed(guilty.clone())];
        assert!(proves_image_bad(&run(&rollout(1), &events)), "{guilty:?}");
    }
}

#[test]
fn an_old_image_that_fails_too_proves_nothing() {
    let ok = Event::Succeeded;
    let progress = run(
        &rollout(1),
        &[ok.clone(), ok.clone(), ok.clone(), crashed(), ok.clone(), ok, crashed()],
    );
    assert!(matches!(progress.marks[0], Mark::Stuck { .. }));
    assert!(progress.cause.is_some(), "both errors are kept");
    assert!(!proves_image_bad(&progress));
}

#[test]
fn only_the_unit_that_failed_proves_anything() {
    let ok = Event::Succeeded;
    let mut events = vec![ok.clone(); 1 + 4 + 2];
    // The second fails, and is stopped while it goes back; the first goes back and verifies.
    events.extend([
        crashed(),
        ok.clone(),
        Event::FoundStopped,
        ok.clone(),
        ok.clone(),
        ok.clone(),
        ok,
    ]);
    let progress = run(&rollout(2), &events);
    assert_eq!(progress.marks, [Mark::PutBack, Mark::Stopped]);
    assert!(!proves_image_bad(&progress));
}

#[test]
fn a_dependent_that_does_not_come_back_fails_the_update() {
    let ok = Event::Succeeded;
    let dead = || {
        let why = "failed".to_owned();
        Event::Failed(Cause::Dependent { unit: "web.service".to_owned(), why })
    };
    let mut events = vec![ok.clone(); 1 + 3];
    events.push(dead());
    let progress = run(&rollout(1), &events);
    assert_eq!(progress.marks, [Mark::PutBack]);
    assert!(proves_image_bad(&progress), "with the old image it came back");
    events.extend([ok.clone(), ok.clone(), ok, dead()]);
    let progress = run(&rollout(1), &events);
    assert!(matches!(progress.marks[0], Mark::Stuck { .. }));
    assert!(!proves_image_bad(&progress));
}

#[test]
fn what_was_not_begun_is_not_restarted_but_the_others_go_back() {
    let mut events = vec![Event::Succeeded; 1 + 4];
    events.push(not_begun());
    let progress = run(&rollout(3), &events);
    assert_eq!(progress.marks, [Mark::PutBack, Mark::Unbegun, Mark::Untouched]);
    assert!(!proves_image_bad(&progress));
}

#[test]
fn a_unit_stopped_meanwhile_commits_nothing_by_itself() {
    let progress = run(&rollout(1), &[Event::Succeeded, Event::Succeeded, Event::FoundStopped]);
    assert_eq!(progress.marks, [Mark::Stopped]);
}

#[test]
fn without_rollback_a_failure_stays() {
    let rollout = rollout(2);
    let mut progress = Progress::start(&rollout);
    for event in [Event::Succeeded, Event::Succeeded, crashed(), Event::Succeeded] {
        progress = next(&rollout, progress, event, false);
    }
    assert_eq!(progress.state, State::Ended);
    assert_eq!(progress.marks, [Mark::Failed, Mark::Untouched]);
}

#[test]
fn a_failed_download_touches_nothing() {
    let failure = Failure::new(FailureKind::StorageFull, "disk full");
    let rollout = rollout(2);
    let progress = run(&rollout, &[Event::Failed(Cause::Host { failure })]);
    assert_eq!(progress.marks, [Mark::Failed, Mark::Failed]);
}

/// Every state that any sequence of events can reach, for up to three units.
#[test]
fn exhaustively_every_state_has_an_action_and_an_end() {
    for units in 1..=3 {
        let rollout = rollout(units);
        for rollback in [true, false] {
            let mut seen = HashSet::new();
            let mut open = vec![Progress::start(&rollout)];
            while let Some(progress) = open.pop() {
                if !seen.insert(format!("{progress:?}")) {
                    continue;
                }
                check_invariants(&rollout, &progress);
                let others = [Event::FoundStopped, Event::FoundTransient, not_begun()];
                for event in others.into_iter().chain([Event::Succeeded, crashed(), canceled()]) {
                    open.push(next(&rollout, progress.clone(), event, rollback));
                }
            }
            assert!(seen.len() > 8, "explored {} states", seen.len());
        }
    }
}

fn check_invariants(rollout: &Rollout, progress: &Progress) {
    let nothing = action(rollout, progress) == Action::Nothing;
    assert_eq!(nothing, progress.state == State::Ended, "{progress:?}");
    if let State::Committing = progress.state {
        let moved = |m: &&Mark| matches!(m, Mark::Updated | Mark::Deferred);
        assert!(progress.marks.iter().any(|mark| moved(&mark)));
        assert!(progress.marks.iter().all(|mark| moved(&mark) || *mark == Mark::Stopped));
    }
    let went_back = |mark: &Mark| matches!(mark, Mark::PutBack | Mark::Stuck { .. });
    if progress.state == State::Ended && progress.marks.iter().any(went_back) {
        let left = progress.marks.contains(&Mark::Updated);
        assert!(!left, "one tag, one truth: {progress:?}");
    }
    if proves_image_bad(progress) {
        let failed = progress.failed.and_then(|at| progress.marks.get(at));
        assert_eq!(failed, Some(&Mark::PutBack), "the unit that failed verified on the old image");
    }
}

proptest! {
    #[test]
    fn any_sequence_ends(picks in proptest::collection::vec(0u8..8, 0..60), units in 1usize..6) {
        let events: Vec<Event> = picks
            .iter()
            .map(|pick| match pick {
                0 => crashed(),
                1 => Event::FoundStopped,
                2 => canceled(),
                3 => not_begun(),
                4 => Event::FoundTransient,
                _ => Event::Succeeded,
            })
            .collect();
        let rollout = rollout(units);
        let progress = run(&rollout, &events);
        check_invariants(&rollout, &progress);
    }

    #[test]
    fn what_is_written_is_read_again(picks in proptest::collection::vec(0u8..4, 0..20)) {
        let rollout = rollout(3);
        let mut progress = Progress::start(&rollout);
        for pick in picks {
            let event = if pick == 0 { crashed() } else { Event::Succeeded };
            progress = next(&rollout, progress, event, true);
            let text = serde_json::to_string(&progress).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Progress>(&text).unwrap(), &progress);
        }
    }
}
