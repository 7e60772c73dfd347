//! Registries that are dead or busy, and the others beside them.

use std::rc::Rc;

use tokio::time::Instant;

use super::fake::Dead;
use super::*;

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
