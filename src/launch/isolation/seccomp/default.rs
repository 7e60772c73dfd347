//! The default policy: the tables, for a container's capabilities. Pure.

use std::collections::BTreeMap;

use crate::launch::isolation::capability::Capabilities;
use crate::launch::isolation::seccomp::bpf::{Condition, Half, Policy, Rule, Test};
use crate::launch::isolation::seccomp::calls::Calls;
use crate::launch::isolation::seccomp::table::{self, Call};
use crate::launch::isolation::seccomp::{ALLOW, KILL_PROCESS, NATIVE, errno};

/// `AF_VSOCK` (vsock(7)): reaches the hypervisor, past every network namespace.
const VSOCK: u64 = libc::AF_VSOCK as u64;
/// The kernel ignores the upper half of the arguments that are looked at.
const LOWER_HALF: u64 = 0xffff_ffff;

/// The policy of a container with `capabilities`: calls of no list are answered with ENOSYS, those
/// that are withheld, by number or by argument, with EPERM. On x86_64 there is a part for 32-bit
/// programs, too.
pub(super) fn policy(capabilities: &Capabilities) -> Policy {
    let halves = vec![
        half(NATIVE, &Calls::native(), capabilities),
        #[cfg(target_arch = "x86_64")]
        half(super::I386, &Calls::of_32_bit(), capabilities),
    ];
    Policy { halves, others: KILL_PROCESS }
}

fn half(architecture: u32, lists: &Calls, capabilities: &Capabilities) -> Half {
    let mut calls = BTreeMap::new();
    let mut answer = |call: Call, rules: Vec<Rule>| {
        // All numbers of the tables are small and positive.
        calls.extend(u32::try_from(call).ok().map(|number| (number, rules)));
    };
    let refused = || vec![Rule::always(errno(libc::EPERM))];
    let allowed = || vec![Rule::always(ALLOW)];
    lists.allowed.iter().for_each(|call| answer(*call, allowed()));
    lists.withheld.iter().for_each(|call| answer(*call, refused()));
    for (_, calls) in &lists.with_capability {
        calls.iter().for_each(|call| answer(*call, refused()));
    }
    // A call of several capabilities is there with one of them.
    for (name, calls) in &lists.with_capability {
        if capabilities.has(name) {
            calls.iter().for_each(|call| answer(*call, allowed()));
        }
    }
    if capabilities.has("SYS_ADMIN") {
        // Its flags lie in memory, where no filter sees them; without the capability ENOSYS
        // sends the C library to clone(2).
        answer(libc::SYS_clone3, allowed());
    } else {
        let flags = table::NAMESPACE_FLAGS.map(|flag| u64::from(flag.unsigned_abs()));
        answer(lists.clone, but(flags.map(|flag| (Test::Masked(flag), flag, errno(libc::EPERM)))));
    }
    let lower = |value, answer| (Test::Masked(LOWER_HALF), value, answer);
    answer(lists.socket, but([lower(VSOCK, errno(libc::EPERM))]));
    let known = table::PERSONALITIES.map(|value| lower(value, ALLOW));
    answer(lists.personality, [first_argument(known), refused()].concat());
    Half { architecture, calls, otherwise: errno(libc::ENOSYS), foreign: None }
}

/// Allowed, but for these values of the first argument.
fn but<const N: usize>(exceptions: [(Test, u64, u32); N]) -> Vec<Rule> {
    [first_argument(exceptions), vec![Rule::always(ALLOW)]].concat()
}

fn first_argument<const N: usize>(cases: [(Test, u64, u32); N]) -> Vec<Rule> {
    let rule = |(test, value, answer)| Rule {
        conditions: vec![Condition { argument: 0, test, value }],
        answer,
    };
    cases.into_iter().map(rule).collect()
}
