//! The tables, one for each kind of program, in one form.

use crate::launch::isolation::seccomp::table;
use crate::launch::isolation::seccomp::table::Call;
#[cfg(target_arch = "x86_64")]
use crate::launch::isolation::seccomp::table_32;

/// The calls of programs of one kind, and the numbers of those whose arguments count.
pub(super) struct Calls {
    pub(super) allowed: Vec<Call>,
    pub(super) with_capability: Vec<(&'static str, Vec<Call>)>,
    pub(super) withheld: Vec<Call>,
    pub(super) clone: Call,
    pub(super) socket: Call,
    pub(super) personality: Call,
}

impl Calls {
    /// Of programs for this machine.
    pub(super) fn native() -> Self {
        let groups = table::WITH_CAPABILITY.iter();
        Self {
            allowed: [table::ALLOWED, table::ALLOWED_HERE].concat(),
            with_capability: groups.map(|(name, calls)| (*name, calls.to_vec())).collect(),
            withheld: table::WITHHELD.to_vec(),
            clone: libc::SYS_clone,
            socket: libc::SYS_socket,
            personality: libc::SYS_personality,
        }
    }

    /// Of 32-bit programs: their own numbers, and from [`table_32::SHARED`] on everybody's.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn of_32_bit() -> Self {
        let shared = |calls: Vec<Call>| {
            calls.into_iter().filter(|call| *call >= table_32::SHARED).collect::<Vec<_>>()
        };
        let native = Self::native();
        let own = table_32::WITH_CAPABILITY.iter().map(|(name, calls)| (*name, calls.to_vec()));
        let others = native.with_capability.into_iter().map(|(name, calls)| (name, shared(calls)));
        Self {
            allowed: [table_32::ALLOWED, &shared(native.allowed)].concat(),
            with_capability: own.chain(others).collect(),
            withheld: [table_32::WITHHELD, &shared(native.withheld)].concat(),
            clone: table_32::CLONE,
            socket: table_32::SOCKET,
            personality: table_32::PERSONALITY,
        }
    }
}
