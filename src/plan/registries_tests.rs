use std::time::Duration;

use super::*;

const MAX: Duration = Duration::from_secs(3600);

fn source(image: &str) -> ImageSource {
    ImageSource {
        reference: format!("registry.example/{image}:1").parse().unwrap(),
        authfile: None,
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "no")
}

fn limited(seconds: Option<u64>) -> Failure {
    failure(FailureKind::RateLimited(seconds.map(Duration::from_secs)))
}

/// What is remembered after these answers for `a`, `b`, … of one host.
fn after(before: &Memory, answers: &[Option<&Failure>]) -> Memory {
    let sources: Vec<ImageSource> =
        ('a'..).take(answers.len()).map(|name| source(&name.to_string())).collect();
    let replies: Vec<Reply<'_>> = sources
        .iter()
        .zip(answers)
        .map(|(source, failure)| Reply {
            source,
            host: Some("registry.example"),
            failure: *failure,
        })
        .collect();
    let mut memory = before.clone();
    let moment = Moment { now: Timestamp::UNIX_EPOCH, backoff_max: MAX, random: 1.0 };
    memory.remember(before, &replies, moment);
    memory
}

fn held(memory: &Memory, image: &str, by_person: bool) -> bool {
    let now = Timestamp::UNIX_EPOCH;
    memory.held(&source(image), Some("registry.example"), now, by_person).is_some()
}

fn of_host(memory: &Memory) -> Option<(u32, i64)> {
    let backoff = memory.registries.backoff("registry.example")?;
    Some((backoff.failures, backoff.until.as_second()))
}

#[test]
fn a_limit_is_the_hosts_and_the_longest_wait_counts() {
    let (short, long) = (limited(Some(30)), limited(Some(100)));
    let memory = after(&Memory::default(), &[None, Some(&short), Some(&long), Some(&short)]);
    assert_eq!(of_host(&memory), Some((1, 160)));
    assert!(held(&memory, "never-asked-for", true), "not even for a person");
    assert!(memory.backoff(&source("b")).is_none(), "it is not the image's");
    let last = memory.registries.get("registry.example").unwrap().last_failure.clone().unwrap();
    assert_eq!(last.failure, long);
}

#[test]
fn silence_is_the_hosts_where_nobody_was_answered() {
    let down = failure(FailureKind::Unreachable);
    let memory = after(&Memory::default(), &[Some(&down), Some(&down)]);
    assert_eq!(of_host(&memory), Some((1, 60)));
    assert!(held(&memory, "a", false) && !held(&memory, "a", true));
    let again = after(&memory, &[Some(&down)]);
    assert_eq!(of_host(&again), Some((2, 120)));

    let one = after(&Memory::default(), &[Some(&down), None]);
    assert_eq!(of_host(&one), None);
    assert!(held(&one, "a", false) && !held(&one, "b", false));
}

#[test]
fn any_other_failure_is_of_one_image() {
    let answers = [
        FailureKind::ServerError,
        FailureKind::NotFound,
        FailureKind::Unauthorized,
        FailureKind::InvalidContent,
    ];
    for kind in answers {
        let memory = after(&Memory::default(), &[Some(&failure(kind))]);
        assert_eq!(of_host(&memory), None);
        assert!(held(&memory, "a", false) && !held(&memory, "b", false));
    }
    // Both at once: each keeps its own.
    let memory =
        after(&Memory::default(), &[Some(&failure(FailureKind::NotFound)), Some(&limited(None))]);
    assert!(of_host(&memory).is_some());
    assert!(memory.backoff(&source("a")).is_some() && memory.backoff(&source("b")).is_none());
}

#[test]
fn an_answer_ends_it_and_what_it_was_stays_known() {
    let down = failure(FailureKind::Unreachable);
    let memory = after(&after(&Memory::default(), &[Some(&down)]), &[None]);
    assert_eq!(of_host(&memory), None);
    assert!(!held(&memory, "a", false));
    let known = memory.registries.get("registry.example").unwrap();
    assert_eq!(known.last_failure.as_ref().unwrap().failure, down);
    let mut memory = memory;
    memory.registries.retain(|host| host != "registry.example");
    assert_eq!(memory.registries, Registries::default());
}

#[test]
fn what_is_held_is_neither_asked_nor_forgotten() {
    let memory = after(&Memory::default(), &[Some(&limited(Some(30)))]);
    assert_eq!(after(&memory, &[]), memory);
}
