use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::model::{Digest, Platform};

fn image(seed: &str) -> ImageIdentity {
    let digest = Digest::of(seed.as_bytes());
    ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
}

fn job() -> Probation {
    Probation {
        unit: "job.service".parse().unwrap(),
        engine: EngineKind::Native,
        source: ImageSource { reference: "quay.io/job:1".parse().unwrap(), authfile: None },
        old: image("old"),
        new: image("new"),
        moves_tag: true,
        in_company: false,
        beside: vec![],
        rollback: true,
        forward_only: false,
        since: at(0),
        after: "before".into(),
        trigger: "manual".into(),
        pass: None,
        state: State::Waiting { run: None },
    }
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(hours * 3600).unwrap()
}

fn run(invocation: &str, end: Option<End>) -> Run {
    Run { invocation: invocation.into(), end }
}

fn failed() -> End {
    End::Failed(Cause::RunFailed { result: "exit-code".into(), status: 1 })
}

fn seen(runs: &[Run]) -> Seen {
    Seen::Runs(runs.to_vec())
}

fn verdict(probation: &Probation, runs: &[Run]) -> Option<Verdict> {
    match next(probation, &seen(runs), at(1)) {
        State::Ending { verdict, .. } => Some(verdict),
        State::Waiting { .. } => None,
    }
}

#[test]
fn the_run_that_had_the_old_image_says_nothing() {
    for end in [None, Some(End::Well), Some(failed())] {
        assert_eq!(verdict(&job(), &[run("before", end)]), None);
    }
    assert_eq!(verdict(&job(), &[]), None);
}

#[test]
fn the_first_run_that_proves_anything_decides() {
    let well = || run("b", Some(End::Well));
    let bad = || run("c", Some(failed()));
    assert_eq!(verdict(&job(), &[well(), bad()]), Some(Verdict::Good));
    assert!(matches!(verdict(&job(), &[bad(), well()]), Some(Verdict::Failed { .. })));
    let stopped = run("a", Some(End::Unproven));
    assert_eq!(verdict(&job(), &[stopped.clone(), well()]), Some(Verdict::Good));
    assert_eq!(verdict(&job(), &[stopped]), None);
}

#[test]
fn a_run_that_goes_on_for_a_day_stays() {
    let mut probation = job();
    for (hour, ends) in [(1, false), (24, false), (25, true)] {
        let runs = seen(&[run("a", None)]);
        probation.state = next(&probation, &runs, at(hour));
        assert_eq!(due(&probation).is_some(), ends, "{hour}: {probation:?}");
    }
    let mut other = job();
    other.state = next(&other, &seen(&[run("a", None)]), at(1));
    other.state = next(&other, &seen(&[run("b", None)]), at(26));
    assert_eq!(due(&other), None, "another run, that has just begun");
}

#[test]
fn what_is_done_follows_the_verdict_and_the_policy() {
    let ending = |probation: Probation, verdict| Probation {
        state: State::Ending { verdict, run: None },
        ..probation
    };
    let bad =
        || Verdict::Failed { cause: Cause::RunFailed { result: "exit-code".into(), status: 1 } };
    let leave = Probation { rollback: false, ..job() };
    let never = Probation { forward_only: true, ..leave.clone() };
    for (probation, action, proof) in [
        (ending(job(), Verdict::Good), Action::Commit, false),
        (ending(job(), Verdict::Gone), Action::GiveBack, false),
        (ending(job(), Verdict::Replaced), Action::Leave, false),
        (ending(job(), bad()), Action::GiveBack, true),
        (ending(leave, bad()), Action::Leave, false),
        (ending(never, bad()), Action::Leave, true),
        (ending(Probation { in_company: true, ..job() }, bad()), Action::GiveBack, false),
        (ending(job(), Verdict::Failed { cause: Cause::Launcher }), Action::GiveBack, false),
    ] {
        assert_eq!(due(&probation), Some(action), "{probation:?}");
        assert_eq!(condemned(&probation).is_some(), proof, "{probation:?}");
    }
    assert_eq!(due(&job()), None);
}

/// All that can be seen of two runs, in any order of looks: each state is a waiting one in which
/// nothing is due, or an ending one that nothing changes any more.
#[test]
fn exhaustively_a_verdict_stands() {
    let ends = [None, Some(End::Well), Some(End::Unproven), Some(failed())];
    let mut looks = vec![Seen::UnitGone, Seen::OtherImage, seen(&[])];
    for first in &ends {
        looks.push(seen(&[run("before", None), run("a", first.clone())]));
        looks.extend(
            ends.iter().map(|second| seen(&[run("a", first.clone()), run("b", second.clone())])),
        );
    }
    let (mut known, mut open) = (HashSet::new(), vec![job()]);
    while let Some(probation) = open.pop() {
        if !known.insert(format!("{:?}", probation.state)) {
            continue;
        }
        for look in &looks {
            for hour in [1, 30] {
                let state = next(&probation, look, at(hour));
                match &probation.state {
                    State::Ending { .. } => assert_eq!(state, probation.state),
                    State::Waiting { .. } => assert_eq!(due(&probation), None),
                }
                open.push(Probation { state, ..probation.clone() });
            }
        }
    }
    assert!(known.len() > 8, "{}", known.len());
}

proptest! {
    #[test]
    fn a_good_run_is_never_held_against_the_image(
        ends in proptest::collection::vec(0u8..3, 0..6),
    ) {
        let mut runs: Vec<Run> = ends
            .iter()
            .enumerate()
            .map(|(number, end)| run(&number.to_string(), match end {
                0 => Some(End::Unproven),
                1 => Some(End::Well),
                _ => None,
            }))
            .collect();
        runs.insert(0, run("before", Some(failed())));
        let state = next(&job(), &seen(&runs), at(1));
        let good = State::Ending { verdict: Verdict::Good, run: None };
        let is_good = matches!(&state, State::Ending { verdict: Verdict::Good, .. });
        prop_assert_eq!(is_good, ends.contains(&1), "{:?} {:?}", state, good);
        let text = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}
