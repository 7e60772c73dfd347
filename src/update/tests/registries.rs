//! Registries that are dead or busy, and the others beside them.

use std::rc::Rc;

use tokio::time::Instant;

use super::fake::{Busy, Dead};
use super::*;
use crate::plan::{Budget, Reason};

const ANSWER: Duration = Duration::from_millis(20);

/// `count` units, each on an image of its own at `registry`, which has nothing new.
fn units_at(host: &Host, registry: &str, count: usize) {
    for number in 0..count {
        let image_there = reference(&format!("{registry}/app{number}:1"));
        let name = unit(&format!("{}-{number}.service", registry.replace(['.', ':'], "-")));
        host.references.borrow_mut().insert(name.clone(), image_there.clone());
        host.tags.borrow_mut().insert(image_there.clone(), image("old"));
        host.remote.borrow_mut().insert(image_there, Ok(image("old")));
        host.begin(&name);
    }
}

fn kill(host: &Host, registry: &str) -> Rc<Dead> {
    let dead = Rc::new(Dead::default());
    host.dead.borrow_mut().insert(registry.to_owned(), Rc::clone(&dead));
    dead
}

/// How long a pass took, and how long it was until the last answer.
fn timed_pass(host: &Host) -> (Duration, Duration) {
    run(async {
        let start = Instant::now();
        let updater = updater(host);
        updater.update(&[], Trigger::Schedule).await.unwrap();
        let last = host.answered.take().into_iter().max().unwrap();
        (start.elapsed(), last - start)
    })
}

#[test]
fn a_dead_registry_costs_one_wait_and_the_others_nothing() {
    let host = Host::default();
    host.answer_time.set(ANSWER);
    // It sorts before the other one.
    units_at(&host, "10.255.255.1:5000", 50);
    units_at(&host, "live.example", 50);
    let dead = kill(&host, "10.255.255.1:5000");
    let (whole, live) = timed_pass(&host);
    assert_eq!(host.heads.get(), 50);
    assert!(live <= ANSWER * 7, "50 images, 8 at once and then 16: {live:?}");
    assert!(whole < Duration::from_secs(11), "{whole:?}");
    assert_eq!(dead.connections.get(), 1);
}

#[test]
fn however_many_are_dead_the_others_do_not_wait() {
    let host = Host::default();
    host.answer_time.set(ANSWER);
    for number in 10..50 {
        let registry = format!("dead{number}.example");
        units_at(&host, &registry, 3);
        kill(&host, &registry);
    }
    units_at(&host, "live.example", 20);
    let (whole, live) = timed_pass(&host);
    assert!(live <= ANSWER * 3, "{live:?}");
    assert!(whole < Duration::from_secs(11), "{whole:?}");
}

#[test]
fn a_registry_that_is_back_is_asked_at_the_next_pass() {
    let host = Host::default();
    units_at(&host, "dead.example", 3);
    let dead = kill(&host, "dead.example");
    let plan = run(updater(&host).check(&[])).unwrap().plan;
    assert!(plan.skipped.iter().all(|skipped| skipped.reason.is_error()), "{plan:?}");
    run(updater(&host).check(&[])).unwrap();
    assert_eq!(dead.connections.get(), 2, "a new pass finds out anew");
    host.dead.borrow_mut().clear();
    let plan = run(updater(&host).check(&[])).unwrap().plan;
    assert_eq!((host.heads.get(), plan.skipped.len()), (3, 3));
    assert!(plan.skipped.iter().all(|skipped| !skipped.reason.is_error()), "{plan:?}");
}

#[test]
fn a_registry_that_is_asked_too_much_is_left_alone_for_as_long_as_it_says() {
    let host = Host::default();
    units_at(&host, "busy.example", 40);
    let busy = Rc::new(Busy { left: 1.into(), ..Busy::default() });
    host.busy.borrow_mut().insert("busy.example".to_owned(), Rc::clone(&busy));
    let report = pass(&host);
    assert_eq!(busy.asked.get(), 2, "the second says it for all");
    let failed = |reason: &Reason| matches!(reason, Reason::CheckFailed { .. });
    assert_eq!(report.skipped.iter().filter(|it| failed(&it.reason)).count(), 39);

    // Neither a schedule nor a person asks again before it may be, whatever image it is about.
    units_at(&host, "busy.example", 41);
    for trigger in [Trigger::Schedule, Trigger::Manual] {
        let report = run(updater(&host).update(&[], trigger)).unwrap();
        let held = |reason: &Reason| matches!(reason, Reason::CoolingDown { .. });
        assert!(report.skipped.iter().all(|skipped| held(&skipped.reason)));
        assert_eq!(busy.asked.get(), 2);
    }
    busy.left.set(100);
    // Half a minute more than it asked for, so that not all come in one second.
    run(host.sleep(Duration::from_secs(331)));
    pass(&host);
    assert_eq!(busy.asked.get(), 2 + 41);
}

#[test]
fn a_dead_registry_is_not_waited_for_by_each_pass() {
    let host = Host::default();
    units_at(&host, "dead.example", 30);
    units_at(&host, "live.example", 1);
    let dead = kill(&host, "dead.example");
    timed_pass(&host);
    let (whole, _) = timed_pass(&host);
    assert!(whole < Duration::from_secs(1), "{whole:?}");
    assert_eq!(dead.connections.get(), 1);
}

fn budget(host: &Host, remaining: u64) {
    let seen = host.now();
    let budget = Budget { limit: 100, remaining, window: 3600, counted_for: None, seen };
    host.budgets.borrow_mut().insert("counts.example".to_owned(), budget);
}

/// Units at a registry that counts pulls, all with a new image there.
fn counted(units: usize, remaining: u64) -> Host {
    let host = Host::default();
    units_at(&host, "counts.example", units);
    for (number, remote) in host.remote.borrow_mut().values_mut().enumerate() {
        *remote = Ok(image(&format!("new{number}")));
    }
    budget(&host, remaining);
    host
}

fn put_off(report: &Report) -> usize {
    let spent = |reason: &Reason| matches!(reason, Reason::BudgetSpent { .. });
    report.skipped.iter().filter(|skipped| spent(&skipped.reason)).count()
}

#[test]
fn what_is_kept_back_is_not_spent_by_a_schedule() {
    // Ten are kept; each update takes two, one to look and one to pull.
    let host = counted(5, 16);
    let report = pass(&host);
    assert_eq!((report.outcomes.len(), put_off(&report)), (3, 2));
    assert_eq!((host.heads.get(), host.gets.get()), (5, 3), "questions cost nothing");

    // It is known by the next start.
    budget(&host, 10);
    let report = pass(&host);
    assert_eq!((report.outcomes.len(), put_off(&report)), (0, 2));
    host.budgets.borrow_mut().clear();
    let report = pass(&host);
    assert_eq!((report.outcomes.len(), put_off(&report)), (0, 2));
    let text = report.skipped.last().unwrap().reason.to_string();
    assert!(text.contains("10 of the 100 pulls of counts.example are left"), "{text}");

    run(host.sleep(Duration::from_secs(3600)));
    let report = pass(&host);
    assert_eq!((report.outcomes.len(), put_off(&report)), (2, 0), "the registry counts anew");
}

#[test]
fn a_person_may_have_what_is_kept_back_and_no_more() {
    let host = counted(5, 6);
    assert_eq!(put_off(&pass(&host)), 5);
    let report = run(updater(&host).update(&[], Trigger::Manual)).unwrap();
    assert_eq!((report.outcomes.len(), put_off(&report)), (3, 2));
    budget(&host, 0);
    let report = run(updater(&host).update(&[], Trigger::Manual)).unwrap();
    let text = report.skipped.last().unwrap().reason.to_string();
    assert!(text.contains("none of the 100 pulls of counts.example is left"), "{text}");
    assert!(!report.skipped.last().unwrap().reason.is_error());
}

#[test]
fn what_is_up_to_date_needs_no_budget() {
    let host = Host::default();
    units_at(&host, "counts.example", 5);
    budget(&host, 0);
    assert_eq!(put_off(&pass(&host)), 0);
}
