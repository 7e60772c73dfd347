use proptest::prelude::*;

use super::super::tests::{Asked, asked, run, with};
use super::*;

fn compiled(text: &str, names: &[&str]) -> Result<Filter, InvalidProfile> {
    let capabilities = with(names);
    compile(text.as_bytes(), Host { capabilities: &capabilities, kernel: "6.1.0-13-amd64" })
}

/// What a profile of these rules, else ENOSYS, answers to a call.
fn answer(rules: &str, names: &[&str], call: Asked) -> u32 {
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [{rules}]}}"#
    );
    run(&compiled(&text, names).unwrap().program, call)
}

fn problem(text: &str) -> String {
    crate::model::failure::chain(&compiled(text, &[]).unwrap_err())
}

fn rule(more: &str) -> String {
    format!(r#"{{"names": ["mount"], "action": "SCMP_ACT_ALLOW"{more}}}"#)
}

const MOUNT: i64 = libc::SYS_mount;

#[test]
fn the_first_rule_that_matches_answers() {
    let two = r#"{"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
        {"name": "mount", "action": "SCMP_ACT_ERRNO", "errno": "EACCES"},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW"}"#;
    assert_eq!(answer(two, &[], asked(NATIVE, libc::SYS_read, 0)), ALLOW);
    assert_eq!(answer(two, &[], asked(NATIVE, MOUNT, 0)), errno(libc::EACCES));
    assert_eq!(answer(two, &[], asked(NATIVE, libc::SYS_write, 0)), errno(libc::ENOSYS));
}

#[test]
fn every_action_has_its_answer() {
    for (name, expected) in [
        ("ALLOW\"", ALLOW),
        ("LOG\"", libc::SECCOMP_RET_LOG),
        ("KILL\"", libc::SECCOMP_RET_KILL_THREAD),
        ("KILL_THREAD\"", libc::SECCOMP_RET_KILL_THREAD),
        ("KILL_PROCESS\"", libc::SECCOMP_RET_KILL_PROCESS),
        ("TRAP\"", libc::SECCOMP_RET_TRAP),
        ("TRACE\", \"errnoRet\": 7", libc::SECCOMP_RET_TRACE | 7),
        ("ERRNO\"", libc::SECCOMP_RET_ERRNO | 1),
        ("ERRNO\", \"errnoRet\": 0", libc::SECCOMP_RET_ERRNO),
        ("ERRNO\", \"errno\": \"EINVAL\"", libc::SECCOMP_RET_ERRNO | 22),
    ] {
        let rules = format!(r#"{{"names": ["mount"], "action": "SCMP_ACT_{name}}}"#);
        assert_eq!(answer(&rules, &[], asked(NATIVE, MOUNT, 0)), expected, "{name}");
    }
}

#[test]
fn every_operator_compares_64_bits() {
    const BIG: u64 = 0x1_0000_0005;
    const WHOLE: u64 = u64::MAX;
    type Holds = fn(u64) -> bool;
    let operators: [(&str, Holds); 7] = [
        ("NE", |x| x != BIG),
        ("LT", |x| x < BIG),
        ("LE", |x| x <= BIG),
        ("EQ", |x| x == BIG),
        ("GE", |x| x >= BIG),
        ("GT", |x| x > BIG),
        ("MASKED_EQ", |x| x & BIG == 5),
    ];
    for (name, holds) in operators {
        let rules = rule(&format!(
            r#", "args": [{{"index": 2, "value": {BIG}, "valueTwo": 5, "op": "SCMP_CMP_{name}"}}]"#
        ));
        for value in [0, 4, 5, 6, BIG - 1, BIG, BIG + 1, 5 << 32, 1 << 32, 2 << 32, WHOLE] {
            let call = Asked { arguments: [9, 9, value, 9, 9, 9], ..asked(NATIVE, MOUNT, 0) };
            let allowed = answer(&rules, &[], call) == ALLOW;
            assert_eq!(allowed, holds(value), "{name} {value:x}");
        }
    }
}

#[test]
fn conditions_of_one_argument_are_alternatives_others_are_not() {
    let equal = |index: u8, value: u8| {
        format!(r#"{{"index": {index}, "value": {value}, "op": "SCMP_CMP_EQ"}}"#)
    };
    let either = rule(&format!(r#", "args": [{}, {}]"#, equal(0, 1), equal(0, 2)));
    let both = rule(&format!(r#", "args": [{}, {}]"#, equal(0, 1), equal(1, 2)));
    let allowed = |rules: &str, first, second| {
        let call = Asked { arguments: [first, second, 0, 0, 0, 0], ..asked(NATIVE, MOUNT, 0) };
        answer(rules, &[], call) == ALLOW
    };
    assert!(allowed(&either, 1, 0) && allowed(&either, 2, 0) && !allowed(&either, 3, 0));
    assert!(allowed(&both, 1, 2) && !allowed(&both, 1, 3) && !allowed(&both, 2, 2));
}

#[test]
fn rules_are_for_those_they_name() {
    let here = go_architecture();
    let is = |more: String, names: &[&str]| {
        answer(&rule(&more), names, asked(NATIVE, MOUNT, 0)) == ALLOW
    };
    let caps = |kind: &str| format!(r#", "{kind}": {{"caps": ["CAP_SYS_ADMIN"]}}"#);
    assert!(is(caps("includes"), &["SYS_ADMIN"]) && !is(caps("includes"), &[]));
    assert!(!is(caps("excludes"), &["SYS_ADMIN"]) && is(caps("excludes"), &[]));
    let arches = |kind: &str, arch: &str| format!(r#", "{kind}": {{"arches": ["{arch}"]}}"#);
    assert!(is(arches("includes", here), &[]) && !is(arches("includes", "s390x"), &[]));
    assert!(!is(arches("excludes", here), &[]) && is(arches("excludes", "s390x"), &[]));
    let kernel = |kind: &str, version: &str| format!(r#", "{kind}": {{"minKernel": "{version}"}}"#);
    assert!(is(kernel("includes", "6.1"), &[]) && !is(kernel("includes", "6.10"), &[]));
    assert!(!is(kernel("excludes", "4.8"), &[]) && is(kernel("excludes", "7.0"), &[]));
    assert!(is(r#", "includes": {}, "excludes": {}, "args": null"#.to_owned(), &[]));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn architectures_are_those_of_the_profile() {
    use super::super::I386;
    let with_map = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]},
                    {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [{"names": ["mount", "socket"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let program = compiled(with_map, &[]).unwrap().program;
    let eperm = errno(libc::EPERM);
    assert_eq!(run(&program, asked(NATIVE, MOUNT, 0)), eperm);
    assert_eq!(run(&program, asked(I386, 21, 0)), eperm);
    assert_eq!(run(&program, asked(I386, MOUNT, 0)), ALLOW);
    // socketcall(2), where its first argument says "socket" and "bind".
    assert_eq!(run(&program, asked(I386, 102, 1)), eperm);
    assert_eq!(run(&program, asked(I386, 102, 2)), ALLOW);
    // x32 calls by another number what is refused.
    assert_eq!(run(&program, asked(NATIVE, 0x4000_0000 + MOUNT, 0)), KILL_PROCESS);
    let native = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}"#;
    let program = compiled(native, &[]).unwrap().program;
    assert_eq!(run(&program, asked(I386, 21, 0)), KILL_PROCESS);
    assert_eq!(run(&program, asked(NATIVE, MOUNT, 0)), ALLOW);
}

#[test]
fn what_cannot_be_carried_out_is_named() {
    let in_rule = |more: &str| {
        let rule = format!(r#"{{"names": ["read", "mount"], {more}}}"#);
        problem(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#))
    };
    let argument =
        |text: &str| in_rule(&format!(r#""action": "SCMP_ACT_ALLOW", "args": [{text}]"#));
    for (said, part) in [
        (in_rule(r#""action": "SCMP_ACT_NOTIFY""#), "rule 1 (read, mount): SCMP_ACT_NOTIFY"),
        (in_rule(r#""action": "ALLOW""#), "action \"ALLOW\""),
        (in_rule(r#""action": "SCMP_ACT_ERRNO", "errno": "EWHAT""#), "EWHAT"),
        (in_rule(r#""action": "SCMP_ACT_ERRNO", "errnoRet": 4096"#), "4096"),
        (in_rule(r#""action": "SCMP_ACT_ALLOW", "only": 1"#), "only"),
        (argument(r#"{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}"#), "no argument 6"),
        (argument(r#"{"index": 0, "value": 0, "op": "EQ"}"#), "operator \"EQ\""),
        (problem("{}"), "defaultAction"),
        (problem("nonsense"), "not a seccomp profile"),
        (problem(r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}"#), "listenerPath"),
        (problem(r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}"#), "flag \"X\""),
        (problem(r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]}"#), "\"X\""),
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_profile_larger_than_the_kernel_takes_is_refused() {
    let conditions: Vec<_> = (0..900)
        .map(|value| format!(r#"{{"index": 0, "value": {value}, "op": "SCMP_CMP_EQ"}}"#))
        .collect();
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}, {}]}}"#,
        rule(&format!(r#", "args": [{}]"#, conditions.join(","))),
        rule("").replace("mount", "read"),
    );
    let said = problem(&text);
    assert!(said.contains("4096"), "{said}");
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,200}") {
        let _ = compiled(&text, &[]);
    }

    #[test]
    fn a_program_is_sound_whatever_the_rules(
        rules in proptest::collection::vec((0u32..450, 0u8..7, 0u8..6, any::<u64>()), 0..60),
        number in any::<u32>(),
        first in any::<u64>(),
    ) {
        let mut policy = Policy { halves: vec![], others: KILL_PROCESS };
        let mut calls = BTreeMap::new();
        for (call, kind, argument, value) in rules {
            let test = [Test::Equal, Test::NotEqual, Test::Less, Test::LessOrEqual, Test::Greater,
                Test::GreaterOrEqual, Test::Masked(value)][usize::from(kind)];
            let conditions = match value % 3 {
                0 => vec![],
                _ => vec![Condition { argument, test, value }],
            };
            insert(&mut calls, call, &[Rule { conditions, answer: call }]);
        }
        policy.halves.push(Half { architecture: NATIVE, calls, otherwise: ALLOW, foreign: None });
        let program = bpf::compile(&policy).unwrap();
        for number in [number, number % 450] {
            let call = Asked { number, ..asked(NATIVE, 0, first) };
            let answered = run(&program, call);
            prop_assert!(answered == ALLOW || answered == number);
        }
    }
}
