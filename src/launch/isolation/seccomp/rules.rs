//! A policy in the words of the OCI runtime-spec, for runtimes that make a filter of their own from
//! them (`linux.seccomp`). Pure.
//!
//! They mean by it what libseccomp makes of it, and that knows less than a policy: a call has one
//! name for programs of all architectures, and of a call's rules, one without conditions hides the
//! others. So what is answered where no condition holds is told by conditions, too. Where a call is
//! answered differently to programs of two architectures, native programs have theirs.

use std::collections::BTreeMap;

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompFilterFlag, LinuxSeccompOperator as Operator, LinuxSyscall,
    LinuxSyscallBuilder,
};

use crate::launch::isolation::capability::Capabilities;
use crate::launch::isolation::seccomp::bpf::{Condition, Half, Policy, Rule, Test};
use crate::launch::isolation::seccomp::{ALLOW, KILL_PROCESS, NATIVE, default, names};

/// The rules of a container with `capabilities`, where nobody asks for others.
pub(crate) fn default_for(capabilities: &Capabilities) -> Result<LinuxSeccomp, OciSpecError> {
    from_policy(&default::policy(capabilities), 0)
}

/// The rules that mean what a policy does; `flags` are `SECCOMP_FILTER_FLAG_…`.
pub(super) fn from_policy(policy: &Policy, flags: u32) -> Result<LinuxSeccomp, OciSpecError> {
    // Programs of this machine are the first half.
    let otherwise = policy.halves.first().map_or(KILL_PROCESS, |half| half.otherwise);
    let mut calls: BTreeMap<&str, &[Rule]> = BTreeMap::new();
    for half in &policy.halves {
        for (number, rules) in &half.calls {
            if let Some(name) = names::name(half.architecture, *number).filter(|name| {
                // Both gates of i386 are opened for a call by libseccomp itself.
                !(names::is_gate(name) && rules.iter().any(|rule| !rule.conditions.is_empty()))
            }) {
                calls.entry(name).or_insert(rules);
            }
        }
    }
    let mut grouped: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut syscalls = Vec::new();
    for (name, rules) in calls {
        let mut plain = plain(rules);
        plain.retain(|rule| rule.answer != otherwise);
        let is_clear = plain.windows(2).all(|pair| pair[0].answer == pair[1].answer);
        if names::is_gated(name) && !is_clear && otherwise != ALLOW {
            // Behind a gate libseccomp sees no argument, and takes no two answers.
            plain.retain(|rule| rule.answer == ALLOW);
        }
        for rule in plain {
            if rule.conditions.is_empty() {
                grouped.entry(rule.answer).or_default().push(name.to_owned());
            } else {
                syscalls.push(syscall(vec![name.to_owned()], &rule)?);
            }
        }
    }
    for (answer, names) in grouped {
        syscalls.push(syscall(names, &Rule::always(answer))?);
    }
    let (action, number) = action(otherwise);
    let mut builder = LinuxSeccompBuilder::default()
        .default_action(action)
        .architectures(policy.halves.iter().map(architecture).collect::<Vec<_>>())
        .flags(filter_flags(flags))
        .syscalls(syscalls);
    if let Some(number) = number {
        builder = builder.default_errno_ret(number);
    }
    builder.build()
}

fn architecture(half: &Half) -> Arch {
    match (half.architecture, std::env::consts::ARCH) {
        (NATIVE, "x86_64") => Arch::ScmpArchX86_64,
        (NATIVE, "aarch64") => Arch::ScmpArchAarch64,
        (NATIVE, _) => Arch::ScmpArchRiscv64,
        _ => Arch::ScmpArchX86,
    }
}

fn filter_flags(bits: u32) -> Vec<LinuxSeccompFilterFlag> {
    let known = [
        (libc::SECCOMP_FILTER_FLAG_LOG, LinuxSeccompFilterFlag::SeccompFilterFlagLog),
        (libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow),
    ];
    let set = known.into_iter().filter(|(bit, _)| u64::from(bits) & *bit != 0);
    set.map(|(_, flag)| flag).collect()
}

/// The answer, and the number that goes with it.
fn action(answer: u32) -> (Action, Option<u32>) {
    let data = answer & libc::SECCOMP_RET_DATA;
    match answer & libc::SECCOMP_RET_ACTION_FULL {
        ALLOW => (Action::ScmpActAllow, None),
        libc::SECCOMP_RET_ERRNO => (Action::ScmpActErrno, Some(data)),
        libc::SECCOMP_RET_TRACE => (Action::ScmpActTrace, Some(data)),
        libc::SECCOMP_RET_TRAP => (Action::ScmpActTrap, None),
        libc::SECCOMP_RET_LOG => (Action::ScmpActLog, None),
        libc::SECCOMP_RET_KILL_THREAD => (Action::ScmpActKillThread, None),
        _ => (Action::ScmpActKillProcess, None),
    }
}

fn syscall(names: Vec<String>, rule: &Rule) -> Result<LinuxSyscall, OciSpecError> {
    let (action, number) = action(rule.answer);
    let mut builder = LinuxSyscallBuilder::default().names(names).action(action);
    if let Some(number) = number {
        builder = builder.errno_ret(number);
    }
    if !rule.conditions.is_empty() {
        builder =
            builder.args(rule.conditions.iter().map(argument).collect::<Result<Vec<_>, _>>()?);
    }
    builder.build()
}

fn argument(condition: &Condition) -> Result<LinuxSeccompArg, OciSpecError> {
    let builder = || LinuxSeccompArgBuilder::default().index(usize::from(condition.argument));
    let plain = |operator| builder().value(condition.value).op(operator);
    match condition.test {
        Test::Equal => plain(Operator::ScmpCmpEq),
        Test::NotEqual => plain(Operator::ScmpCmpNe),
        Test::Less => plain(Operator::ScmpCmpLt),
        Test::LessOrEqual => plain(Operator::ScmpCmpLe),
        Test::Greater => plain(Operator::ScmpCmpGt),
        Test::GreaterOrEqual => plain(Operator::ScmpCmpGe),
        Test::Masked(mask) => {
            builder().value(mask).value_two(condition.value).op(Operator::ScmpCmpMaskedEq)
        }
    }
    .build()
}

/// The same rules in any order: what the last one, without conditions, answers to the rest, is told
/// by conditions. Where the others are not of the kind that allows that, the rest is answered as by
/// no rule.
fn plain(rules: &[Rule]) -> Vec<Rule> {
    let Some((last, others)) = rules.split_last() else { return Vec::new() };
    if others.is_empty() || !last.conditions.is_empty() {
        return rules.to_vec();
    }
    let mut plain = others.to_vec();
    let cubes: Option<Vec<Cube>> = others.iter().map(Cube::of).collect();
    let argument = others.iter().flat_map(|rule| &rule.conditions).map(|it| it.argument).next();
    if let (Some(cubes), Some(argument)) = (cubes, argument) {
        let rest = Cube { argument, mask: 0, value: 0 }.without(&cubes);
        plain.extend(rest.into_iter().map(|cube| cube.answered(last.answer)));
    }
    plain
}

/// The values of an argument whose bits under a mask are these.
#[derive(Debug, Clone, Copy)]
struct Cube {
    argument: u8,
    mask: u64,
    value: u64,
}

impl Cube {
    fn of(rule: &Rule) -> Option<Self> {
        match rule.conditions.as_slice() {
            [Condition { argument, test: Test::Masked(mask), value }] => {
                Some(Self { argument: *argument, mask: *mask, value: value & mask })
            }
            _ => None,
        }
    }

    fn answered(self, answer: u32) -> Rule {
        let Self { argument, mask, value } = self;
        Rule { conditions: vec![Condition { argument, test: Test::Masked(mask), value }], answer }
    }

    /// What is in this one, and in none of `others`, which are of the same argument: in parts that
    /// have nothing in common.
    fn without(self, others: &[Self]) -> Vec<Self> {
        let meets = |other: &&Self| (self.value ^ other.value) & self.mask & other.mask == 0;
        let meeting: Vec<Self> = others.iter().filter(meets).copied().collect();
        let Some(first) = meeting.first() else { return vec![self] };
        if meeting.iter().any(|other| other.mask & !self.mask == 0) {
            return Vec::new();
        }
        let open = first.mask & !self.mask;
        let bit = 1 << (u64::BITS - 1 - open.leading_zeros());
        let half = |value| Self { mask: self.mask | bit, value: self.value | value, ..self };
        [half(0), half(bit)].into_iter().flat_map(|half| half.without(&meeting)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::launch::isolation::seccomp::tests::with;

    fn holds(condition: &Condition, value: u64) -> bool {
        match condition.test {
            Test::Masked(mask) => value & mask == condition.value & mask,
            Test::Equal => value == condition.value,
            test => panic!("{test:?} is in no rule of ours"),
        }
    }

    fn answers(rules: &[Rule], value: u64) -> Vec<u32> {
        let matching = rules
            .iter()
            .filter(|rule| rule.conditions.iter().all(|condition| holds(condition, value)));
        matching.map(|rule| rule.answer).collect()
    }

    fn values() -> impl Strategy<Value = u64> {
        let low = prop_oneof![
            Just(0u64),
            Just(8),
            Just(0x2_0000),
            Just(0x2_0008),
            Just(0xffff_ffff),
            Just(40),
            (0..32u32).prop_map(|bit| 1 << bit),
            any::<u32>().prop_map(u64::from),
        ];
        (low, prop_oneof![Just(0u64), any::<u32>().prop_map(u64::from)])
            .prop_map(|(low, high)| low | high << 32)
    }

    proptest! {
        /// However they are ordered: exactly one answers, and it is the policy's.
        #[test]
        fn rules_without_order_mean_the_same(value in values()) {
            let policy = default::policy(&with(&["CHOWN"]));
            for half in &policy.halves {
                for rules in half.calls.values().filter(|rules| rules.len() > 1) {
                    let first = answers(rules, value).into_iter().next();
                    let unordered = answers(&plain(rules), value);
                    prop_assert!(unordered.iter().all(|answer| Some(*answer) == first));
                    prop_assert!(!unordered.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_filter_is_told_by_names() {
        let rules = default_for(&with(&["SYS_CHROOT"])).unwrap();
        assert_eq!(rules.default_action(), Action::ScmpActErrno);
        assert_eq!(rules.default_errno_ret(), Some(libc::ENOSYS.unsigned_abs()));
        let of = |name: &str| {
            let named = |call: &&LinuxSyscall| call.names().iter().any(|have| have == name);
            rules.syscalls().iter().flatten().filter(named).collect::<Vec<_>>()
        };
        let [read] = of("read")[..] else { panic!() };
        assert!(read.action() == Action::ScmpActAllow && read.args().is_none());
        let [mount] = of("mount")[..] else { panic!() };
        let refused = (Action::ScmpActErrno, Some(libc::EPERM.unsigned_abs()));
        assert_eq!((mount.action(), mount.errno_ret()), refused);
        assert!(of("clone").len() > 2 && of("clone").iter().all(|call| call.args().is_some()));
        assert!(of("socket").len() > 20 && of("keyctl_nothing").is_empty());
    }

    /// For native programs only is the answer theirs; of these few calls, 32-bit programs get it,
    /// too.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn where_programs_of_two_kinds_are_told_the_same() {
        let policy = default::policy(&with(&[]));
        let [native, other] = &policy.halves[..] else { panic!() };
        let mut different = Vec::new();
        for (number, rules) in &native.calls {
            let name = names::name(native.architecture, *number).unwrap_or_default();
            let Some(theirs) = names::number(other.architecture, name) else { continue };
            let refused = vec![Rule::always(other.otherwise)];
            let theirs = other.calls.get(&theirs).unwrap_or(&refused);
            if theirs != rules {
                different.push(name);
            }
        }
        assert_eq!(different, [""; 0]);
    }
}
