use std::collections::HashSet;

use proptest::prelude::*;

use super::due::{Action, waits_for_place};
use super::*;
use crate::model::{Digest, Failure, FailureKind, Platform};
use crate::plan::JobResult;

fn image(seed: &str) -> ImageIdentity {
    let digest = Digest::of(seed.as_bytes());
    ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
}

fn rollout(units: usize) -> Rollout {
    let step = |n: usize| {
        Step::alone(format!("u{n}.service").parse().unwrap(), vec![format!("c{n}")], image("old"))
    };
    Rollout {
        source: ImageSource { reference: "quay.io/app:1".parse().unwrap(), authfile: None },
        engine: EngineKind::Native,
        policy: Policy::Registry,
        new: image("new"),
        moves_tag: true,
        settled: vec![],
        with: vec![],
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

/// Begins with all whose turn it is.
fn begin_all(rollout: &Rollout, progress: Progress) -> Progress {
    let ready = ready(rollout, &progress);
    ready.into_iter().fold(progress, |progress, at| begin(rollout, progress, at))
}

/// The progress after `event` came of one thing that is due.
fn come(
    rollout: &Rollout,
    progress: Progress,
    at: Option<usize>,
    event: Event,
    rollback: bool,
) -> Progress {
    match at {
        Some(at) => advance(rollout, progress, at, event, rollback),
        None => next(rollout, progress, event),
    }
}

/// Feeds events to the first thing that is due, then successes.
fn run_with(rollout: &Rollout, events: &[Event], rollback: bool) -> Progress {
    let mut progress = Progress::start(rollout);
    let mut events = events.iter().cloned();
    for _ in 0..1000 {
        if progress.state == State::Ended {
            return progress;
        }
        progress = begin_all(rollout, progress);
        let at = due(rollout, &progress)[0].0;
        let event = events.next().unwrap_or(Event::Succeeded);
        progress = come(rollout, progress, at, event, rollback);
    }
    panic!("no end: {progress:?}");
}

fn run(rollout: &Rollout, events: &[Event]) -> Progress {
    run_with(rollout, events, true)
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
    // The second fails. The first goes back and verifies; the second is stopped on its way back.
    events.push(crashed());
    events.extend(vec![ok; 4]);
    events.extend([Event::Succeeded, Event::FoundStopped]);
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
    let events = [Event::Succeeded, Event::Succeeded, crashed()];
    let progress = run_with(&rollout(2), &events, false);
    let cause = Some(Cause::RestartedItself { restarts: 1 });
    assert_eq!(progress.marks, [Mark::Failed { cause }, Mark::Untouched]);
}

/// Three units of which the first has verified, and the others were begun with.
fn under_way() -> (Rollout, Progress) {
    let rollout = rollout(3);
    let mut progress = Progress::start(&rollout);
    for _ in 0..5 {
        progress = begin_all(&rollout, progress);
        let at = due(&rollout, &progress)[0].0;
        progress = come(&rollout, progress, at, Event::Succeeded, true);
    }
    assert_eq!(progress.marks, [Mark::Updated, Mark::Untouched, Mark::Untouched]);
    (rollout.clone(), begin_all(&rollout, progress))
}

fn places(rollout: &Rollout, progress: &Progress) -> Vec<Option<usize>> {
    due(rollout, progress).into_iter().map(|(at, _)| at).collect()
}

#[test]
fn when_the_canary_has_verified_the_others_go_side_by_side() {
    let two = rollout(2);
    let progress = next(&two, Progress::start(&two), Event::Succeeded);
    assert_eq!(ready(&two, &progress), [0], "the canary is alone");
    let (rollout, progress) = under_way();
    assert_eq!(places(&rollout, &progress), [Some(1), Some(2)]);
}

#[test]
fn a_canary_that_verified_nothing_is_followed_by_another() {
    let rollout = rollout(3);
    for found in [Event::FoundStopped, Event::FoundTransient] {
        let progress = next(&rollout, Progress::start(&rollout), Event::Succeeded);
        let progress = advance(&rollout, begin_all(&rollout, progress), 0, found, true);
        assert_eq!(ready(&rollout, &progress), [1]);
    }
}

#[test]
fn who_comes_after_another_waits_for_it() {
    let (mut rollout, progress) = under_way();
    rollout.steps[2].after = vec![1];
    let progress =
        Progress { marks: vec![Mark::Updated, Mark::Untouched, Mark::Untouched], ..progress };
    assert_eq!(ready(&rollout, &progress), [1]);
    let progress = begin_all(&rollout, progress);
    assert_eq!(ready(&rollout, &progress), Vec::<usize>::new());
    let progress = advance(&rollout, progress, 1, Event::FoundStopped, true);
    assert_eq!(ready(&rollout, &progress), [2]);
}

#[test]
fn those_under_way_go_back_when_one_fails_and_who_was_not_restarted_is_not() {
    let (rollout, progress) = under_way();
    let progress = advance(&rollout, progress, 1, Event::Succeeded, true);
    let progress = advance(&rollout, progress, 1, crashed(), true);
    assert_eq!(progress.marks[2], Mark::Withdrawing);
    assert_eq!(ready(&rollout, &progress), [0]);
    // It has started anew meanwhile, and got the new image.
    let moved = advance(&rollout, progress.clone(), 2, Event::FoundMoved, true);
    let actions = due(&rollout, &moved);
    assert!(matches!(
        actions[..],
        [(Some(1), Action::PutBack { .. }), (Some(2), Action::Restart { .. })]
    ));

    let (rollout, mut progress) = under_way();
    for at in [1, 1, 2, 2] {
        progress = advance(&rollout, progress, at, Event::Succeeded, true);
    }
    let progress = advance(&rollout, progress, 1, crashed(), true);
    assert_eq!(ready(&rollout, &progress), [0, 2], "what is watched is not watched to the end");
    assert!(waits_for_place(&rollout, &progress, 0) && !waits_for_place(&rollout, &progress, 2));
}

#[test]
fn a_unit_goes_back_after_those_that_come_after_it() {
    let mut rollout = rollout(3);
    rollout.steps[1].after = vec![0];
    let marks = vec![Mark::Updated, Mark::Updated, crashed_back()];
    let progress = Progress { state: State::Back, marks, cause: None, failed: Some(2) };
    assert_eq!(ready(&rollout, &progress), [1]);
    let progress = begin_all(&rollout, progress);
    assert_eq!(ready(&rollout, &progress), Vec::<usize>::new());
}

fn crashed_back() -> Mark {
    Mark::Returning { phase: Phase::Binding, trouble: None }
}

#[test]
fn a_tag_stands_for_one_old_image_at_a_time() {
    let mut rollout = rollout(3);
    rollout.steps[2].old = image("older");
    let marks = vec![crashed_back(), Mark::Updated, Mark::Updated];
    let progress = Progress { state: State::Back, marks, cause: None, failed: Some(0) };
    assert_eq!(ready(&rollout, &progress), [1, 2]);
    rollout.engine = EngineKind::Podman;
    assert_eq!(ready(&rollout, &progress), [1]);
}

#[test]
fn without_rollback_what_is_under_way_goes_on_and_nothing_else_begins() {
    let rollout = rollout(4);
    let moving = |phase| Mark::Moving { phase };
    let marks =
        vec![Mark::Updated, moving(Phase::Verifying), moving(Phase::Restarting), Mark::Untouched];
    let progress = Progress { state: State::Forward, marks, cause: None, failed: None };
    let progress = advance(&rollout, progress, 1, crashed(), false);
    assert_eq!(ready(&rollout, &progress), Vec::<usize>::new());
    assert_eq!(places(&rollout, &progress), [Some(2)]);
}

fn forward_only(units: usize, never: &[usize]) -> Rollout {
    let mut rollout = rollout(units);
    never.iter().for_each(|at| rollout.steps[*at].forward_only = true);
    rollout
}

fn halted() -> Mark {
    Mark::Halted { cause: Cause::RestartedItself { restarts: 1 }, trouble: None }
}

#[test]
fn a_unit_whose_data_migrates_forward_is_stopped_and_its_image_condemned() {
    let rollout = forward_only(2, &[0, 1]);
    let progress =
        run(&rollout, &[Event::Succeeded, Event::Succeeded, Event::Succeeded, crashed()]);
    assert_eq!(progress.marks, [halted(), Mark::Untouched]);
    assert!(proves_image_bad(&progress), "the next one is not to be stopped as well");
    assert_eq!(destined(&rollout, &rollout.steps[0], &progress.marks[0]), &rollout.new);
}

/// What others did to it, or to this host, is no reason to stop it.
#[test]
fn a_unit_whose_data_migrates_forward_is_left_where_its_image_did_nothing() {
    let dependent = Cause::Dependent { unit: "client.service".into(), why: "it failed".into() };
    for cause in [Cause::StartedAnew, dependent, Cause::Job { result: JobResult::Canceled }] {
        let rollout = forward_only(2, &[0, 1]);
        let failed = Event::Failed(cause.clone());
        let progress = run(&rollout, &[Event::Succeeded, Event::Succeeded, failed]);
        assert_eq!(progress.marks, [Mark::Failed { cause: Some(cause) }, Mark::Untouched]);
        assert!(!proves_image_bad(&progress));
    }
}

#[test]
fn who_failed_and_was_left_has_no_say_where_others_went_back() {
    let rollout = rollout(3);
    let failed = || Mark::Failed { cause: None };
    let old = |marks: &[Mark]| tagged(&rollout, 0, marks) == Some(&rollout.steps[1].old);
    assert!(old(&[failed(), Mark::PutBack, Mark::PutBack]));
    assert!(old(&[failed(), Mark::Stuck { cause: Cause::Launcher }, Mark::Untouched]));
    assert_eq!(tagged(&rollout, 0, &[failed(), Mark::Untouched]), Some(&rollout.new));
    assert_eq!(tagged(&rollout, 0, &[failed(), Mark::Updated]), Some(&rollout.new));
}

#[test]
fn who_never_goes_back_goes_on_while_others_go_back() {
    let rollout = forward_only(3, &[0, 2]);
    let verifying = || Mark::Moving { phase: Phase::Verifying };
    let marks = vec![Mark::Updated, verifying(), verifying()];
    let progress = Progress { state: State::Forward, marks, cause: None, failed: None };
    let progress = advance(&rollout, progress, 1, crashed(), true);
    assert_eq!(progress.state, State::Back);
    assert_eq!(ready(&rollout, &progress), Vec::<usize>::new());
    let actions = due(&rollout, &progress);
    assert!(matches!(
        actions[..],
        [(Some(1), Action::PutBack { .. }), (Some(2), Action::Verify { .. })]
    ));
    let halting = advance(&rollout, progress.clone(), 2, crashed(), false);
    assert!(matches!(due(&rollout, &halting)[1], (Some(2), Action::Halt { .. })));
    let progress = advance(&rollout, progress, 2, Event::Succeeded, false);
    assert_eq!(progress.marks[2], Mark::Moving { phase: Phase::Reviving });
}

#[test]
fn a_failed_download_touches_nothing() {
    let failure = Failure::new(FailureKind::StorageFull, "disk full");
    let rollout = rollout(2);
    let progress = run(&rollout, &[Event::Failed(Cause::Host { failure })]);
    assert_eq!(progress.marks, [Mark::Failed { cause: None }, Mark::Failed { cause: None }]);
}

/// Every state that any sequence of events can reach, in whatever order they come.
fn explore(rollout: &Rollout) {
    let events = || -> Vec<Event> {
        let found = [Event::FoundStopped, Event::FoundTransient, Event::FoundMoved];
        found.into_iter().chain([Event::Succeeded, not_begun(), crashed(), canceled()]).collect()
    };
    for rollback in [true, false] {
        let mut seen = HashSet::new();
        let mut open = vec![Progress::start(rollout)];
        while let Some(progress) = open.pop() {
            if !seen.insert(format!("{progress:?}")) {
                continue;
            }
            check_invariants(rollout, &progress, rollback);
            for at in ready(rollout, &progress) {
                open.push(begin(rollout, progress.clone(), at));
            }
            for (at, _) in due(rollout, &progress) {
                let come = |event| come(rollout, progress.clone(), at, event, rollback);
                let next: Vec<Progress> = events().into_iter().map(come).collect();
                next.iter().for_each(|next| check_step(rollout, &progress, next));
                open.extend(next);
            }
        }
        assert!(seen.len() > 8, "explored {} states", seen.len());
    }
}

/// Up to three units.
#[test]
fn exhaustively_every_state_has_an_action_and_an_end() {
    for (units, engine) in [
        (1, EngineKind::Native),
        (2, EngineKind::Native),
        (2, EngineKind::Podman),
        (3, EngineKind::Native),
    ] {
        let mut rollout = Rollout { engine, ..rollout(units) };
        rollout.steps[units - 1].after = vec![0].split_off(usize::from(units != 2));
        rollout.steps[units - 1].old = image("older");
        // Without bindings none goes back, or all do.
        rollout.steps[0].forward_only = units == 2 && engine == EngineKind::Native;
        explore(&rollout);
    }
}

/// Units 0 and 1 go together, each with an image of its own; the others come with the first's.
fn group(units: usize, engine: EngineKind) -> Rollout {
    let mut rollout = Rollout { engine, ..rollout(units) };
    let source = ImageSource { reference: "quay.io/db:1".parse().unwrap(), authfile: None };
    rollout.with = vec![Goal {
        source,
        engine,
        policy: Policy::Registry,
        new: image("new db"),
        moves_tag: true,
        settled: vec![],
    }];
    rollout.steps[1].goal = 1;
    for step in &mut rollout.steps[..2] {
        step.group = "web".parse().ok();
    }
    rollout
}

#[test]
fn exhaustively_groups_have_an_action_and_an_end() {
    for engine in [EngineKind::Native, EngineKind::Podman] {
        for carried in [false, true] {
            let mut two = group(2, engine);
            two.steps[1].carried_by = vec![0].split_off(usize::from(!carried));
            explore(&two);
            let mut three = group(3, engine);
            three.steps[1].carried_by = two.steps[1].carried_by.clone();
            three.steps[2].after = vec![0, 1].split_off(if carried { 0 } else { 2 });
            explore(&three);
            two.steps[usize::from(carried)].forward_only = true;
            explore(&two);
        }
    }
    // All three go together; two on one tag, which ran different images.
    let mut all = group(3, EngineKind::Podman);
    all.steps[2].group = all.steps[0].group.clone();
    all.steps[2].old = image("older");
    explore(&all);
}

/// What a crew may not do from one moment to the next.
fn check_step(rollout: &Rollout, before: &Progress, now: &Progress) {
    for at in 0..rollout.steps.len() {
        let others = || crew::crew(rollout, at).filter(|other| *other != at);
        let restarted = before.marks[at] == (Mark::Moving { phase: Phase::Restarting })
            && now.marks[at] == (Mark::Moving { phase: Phase::Verifying });
        let unbound = |other: usize| {
            let mark = &before.marks[other];
            matches!(mark, Mark::Untouched | Mark::Moving { phase: Phase::Binding })
        };
        assert!(!(restarted && others().any(unbound)), "restarted alone: {before:?}");
        let back = |phase| Mark::Returning { phase, trouble: None };
        let went_back =
            before.marks[at] == back(Phase::Restarting) && now.marks[at] == back(Phase::Verifying);
        let not_back = |other: usize| {
            let tag = !rollout.aim(&rollout.steps[at]).engine.has_bindings()
                && rollout.steps[other].goal == rollout.steps[at].goal;
            !tag && before.marks[other] == back(Phase::Binding)
        };
        assert!(!(went_back && others().any(not_back)), "put back alone: {before:?}");
    }
}

#[test]
fn those_that_go_together_are_bound_before_any_is_restarted_and_take_one_place() {
    let rollout = group(3, EngineKind::Native);
    let progress = next(&rollout, Progress::start(&rollout), Event::Succeeded);
    assert_eq!(ready(&rollout, &progress), [0], "the first has the place for all");
    assert!(waits_for_place(&rollout, &progress, 0));
    let progress = begin(&rollout, progress, 0);
    assert_eq!(ready(&rollout, &progress), [1]);
    assert!(!waits_for_place(&rollout, &progress, 1));
    let progress = begin(&rollout, progress, 1);
    let progress = advance(&rollout, progress, 0, Event::Succeeded, true);
    assert_eq!(places(&rollout, &progress), [Some(1)], "0 waits to be restarted");
    let progress = advance(&rollout, progress, 1, Event::Succeeded, true);
    let actions = due(&rollout, &progress);
    assert!(matches!(
        actions[..],
        [(Some(0), Action::TryRestart { .. }), (Some(1), Action::TryRestart { .. })]
    ));
}

#[test]
fn who_is_restarted_by_another_waits_for_that_one() {
    let mut rollout = group(2, EngineKind::Native);
    rollout.steps[1].carried_by = vec![0];
    let restarting = || Mark::Moving { phase: Phase::Restarting };
    let forward = |marks| Progress { state: State::Forward, marks, cause: None, failed: None };
    let progress = forward(vec![restarting(), restarting()]);
    assert_eq!(places(&rollout, &progress), [Some(0)]);
    let progress = advance(&rollout, progress, 0, Event::Succeeded, true);
    assert_eq!(places(&rollout, &progress), [Some(0), Some(1)]);
}

#[test]
fn what_follows_waits_until_all_that_go_together_have_verified() {
    let rollout = group(3, EngineKind::Native);
    let verifying = Mark::Moving { phase: Phase::Verifying };
    let marks = vec![Mark::Updated, verifying, Mark::Untouched];
    let progress = Progress { state: State::Forward, marks, cause: None, failed: None };
    assert_eq!(ready(&rollout, &progress), Vec::<usize>::new());
    let marks = vec![Mark::Updated, Mark::Updated, Mark::Untouched];
    assert_eq!(ready(&rollout, &Progress { marks, ..progress }), [2]);
}

#[test]
fn where_one_cannot_be_bound_none_of_them_is_restarted() {
    for rollback in [true, false] {
        let rollout = group(2, EngineKind::Native);
        let marks =
            vec![Mark::Moving { phase: Phase::Restarting }, Mark::Moving { phase: Phase::Binding }];
        let progress = Progress { state: State::Forward, marks, cause: None, failed: None };
        let progress = advance(&rollout, progress, 1, not_begun(), rollback);
        assert_eq!(progress.marks, [Mark::Withdrawing, Mark::Unbegun]);
        let progress = advance(&rollout, progress, 0, Event::Succeeded, rollback);
        assert_eq!(progress.marks, [Mark::Untouched, Mark::Unbegun]);
        assert_eq!(progress.state, State::Releasing);
    }
}

#[test]
fn all_that_go_together_go_back_and_who_failed_is_condemned_beside_the_others() {
    let rollout = group(2, EngineKind::Native);
    // Both are bound, restarted and watched; the second crashes.
    let mut events = vec![Event::Succeeded; 1 + 2 + 2];
    events.push(crashed());
    let progress = run(&rollout, &events);
    assert_eq!(progress.marks, [Mark::PutBack, Mark::PutBack]);
    assert!(condemned_by(&rollout, &progress).is_some());
}

fn check_invariants(rollout: &Rollout, progress: &Progress, rollback: bool) {
    let nothing = due(rollout, progress).is_empty() && ready(rollout, progress).is_empty();
    assert_eq!(nothing, progress.state == State::Ended, "{progress:?}");
    let under_way = |mark: &Mark| {
        matches!(
            mark,
            Mark::Moving { .. } | Mark::Returning { .. } | Mark::Withdrawing | Mark::Halting { .. }
        )
    };
    if matches!(progress.state, State::Committing | State::Releasing | State::Ended) {
        assert!(!progress.marks.iter().any(under_way), "{progress:?}");
    }
    if let State::Committing = progress.state {
        let moved = |m: &&Mark| matches!(m, Mark::Updated | Mark::Deferred);
        assert!(progress.marks.iter().any(|mark| moved(&mark)));
        assert!(progress.marks.iter().all(|mark| moved(&mark) || *mark == Mark::Stopped));
    }
    if progress.state == State::Forward && !progress.marks.contains(&Mark::Updated) {
        let moving = |at: &usize| matches!(progress.marks[*at], Mark::Moving { .. });
        let tried = (0..rollout.steps.len()).filter(moving);
        let crews: HashSet<_> = tried.map(|at| crew::crew(rollout, at).next()).collect();
        assert!(crews.len() <= 1, "one canary: {progress:?}");
    }
    let went_back = |mark: &Mark| matches!(mark, Mark::PutBack | Mark::Stuck { .. });
    if rollback && progress.state == State::Ended && progress.marks.iter().any(went_back) {
        let mut all = rollout.steps.iter().zip(&progress.marks);
        let left = all.any(|(step, mark)| *mark == Mark::Updated && !step.forward_only);
        assert!(!left, "one tag, one truth: {progress:?}");
    }
    for (step, mark) in rollout.steps.iter().zip(&progress.marks) {
        assert!(!(step.forward_only && went_back(mark) && !matches!(mark, Mark::Stuck { .. })));
    }
    if proves_image_bad(progress) {
        let failed = progress.failed.and_then(|at| progress.marks.get(at));
        let proven = matches!(failed, Some(Mark::PutBack | Mark::Halted { .. }));
        assert!(proven, "the unit that failed verified on the old image, or may not have it");
    }
}

proptest! {
    #[test]
    fn any_sequence_ends(
        picks in proptest::collection::vec((0u8..9, 0usize..6), 0..90),
        units in 1usize..6,
    ) {
        let rollout = rollout(units);
        let mut progress = Progress::start(&rollout);
        let mut picks = picks.into_iter();
        while progress.state != State::Ended {
            check_invariants(&rollout, &progress, true);
            progress = begin_all(&rollout, progress);
            let (pick, place) = picks.next().unwrap_or((8, 0));
            let event = match pick {
                0 => crashed(),
                1 => Event::FoundStopped,
                2 => canceled(),
                3 => not_begun(),
                4 => Event::FoundTransient,
                5 => Event::FoundMoved,
                _ => Event::Succeeded,
            };
            let due = places(&rollout, &progress);
            let text = serde_json::to_string(&progress).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Progress>(&text).unwrap(), &progress);
            progress = come(&rollout, progress, due[place % due.len()], event, true);
        }
        check_invariants(&rollout, &progress, true);
    }
}
