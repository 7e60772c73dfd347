//! The default filter of system calls: [`table`] compiled to BPF.
//!
//! Two filters are stacked: one lets through every call of the table and answers ENOSYS to all
//! others; one answers EPERM to those that are withheld, by number or by argument. The kernel
//! takes the stricter answer.

#[rustfmt::skip]
mod table;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::capability::Capabilities;
use table::Call;

/// Rules by call; an empty list matches whatever the arguments are.
type Rules = BTreeMap<Call, Vec<SeccompRule>>;

/// `AF_VSOCK` (vsock(7)): reaches the hypervisor, past every network namespace.
const VSOCK: u64 = libc::AF_VSOCK as u64;

/// Capabilities that [`load`] needs, and dropping them after it; no program starts with them.
pub(crate) const TO_LOAD: [&str; 2] = ["SYS_ADMIN", "SETPCAP"];

/// Compiles the filters for a container with `capabilities`, in the order they are loaded.
pub(crate) fn compile(
    capabilities: &Capabilities,
) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let refused = refused(capabilities)?;
    let mut allowed = Rules::new();
    allowed.extend(table::ALLOWED.iter().map(|call| (*call, Vec::new())));
    allowed.extend(table::ALLOWED_HERE.iter().map(|call| (*call, Vec::new())));
    allowed.extend(refused.keys().map(|call| (*call, Vec::new())));
    for (_, calls) in table::WITH_CAPABILITY {
        allowed.extend(calls.iter().map(|call| (*call, Vec::new())));
    }
    if capabilities.has("SYS_ADMIN") {
        // Its flags lie in memory, where no filter sees them; without the capability ENOSYS
        // sends the C library to clone(2).
        allowed.insert(libc::SYS_clone3, Vec::new());
    }
    let errno = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    let program = |rules, otherwise, matching| -> Result<BpfProgram, seccompiler::BackendError> {
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, otherwise, matching, arch)?.try_into()
    };
    Ok([
        program(allowed, errno(libc::ENOSYS), SeccompAction::Allow)?,
        program(refused, SeccompAction::Allow, errno(libc::EPERM))?,
    ])
}

/// The calls that are answered with EPERM.
fn refused(capabilities: &Capabilities) -> Result<Rules, seccompiler::BackendError> {
    let mut refused: Rules = table::WITHHELD.iter().map(|call| (*call, Vec::new())).collect();
    for (_, calls) in table::WITH_CAPABILITY {
        refused.extend(calls.iter().map(|call| (*call, Vec::new())));
    }
    for (capability, calls) in table::WITH_CAPABILITY {
        if capabilities.has(capability) {
            for call in *calls {
                refused.remove(call);
            }
        }
    }
    if !capabilities.has("SYS_ADMIN") {
        let mut rules = Vec::new();
        for flag in table::NAMESPACE_FLAGS {
            let flag = u64::from(flag.unsigned_abs());
            rules.push(rule(&[(0, SeccompCmpOp::MaskedEq(flag), flag)])?);
        }
        refused.insert(libc::SYS_clone, rules);
    }
    let vsock = rule(&[(0, SeccompCmpOp::Eq, VSOCK)])?;
    refused.insert(libc::SYS_socket, vec![vsock]);
    let others = table::PERSONALITIES.map(|value| (0, SeccompCmpOp::Ne, value));
    refused.insert(libc::SYS_personality, vec![rule(&others)?]);
    Ok(refused)
}

/// A rule that matches where all conditions hold: argument's index, comparison, value.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions
        .iter()
        .map(|(index, comparison, value)| {
            // 32 bits: the kernel ignores the upper half of these arguments.
            let width = SeccompCmpArgLen::Dword;
            SeccompCondition::new(*index, width, comparison.clone(), *value)
        })
        .collect::<Result<Vec<_>, _>>()?;
    SeccompRule::new(conditions)
}

/// Loads one filter for this thread. Needs CAP_SYS_ADMIN (or no_new_privs), as seccomp(2) says.
pub(crate) fn load(program: &BpfProgram) -> std::io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let description = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `description` and the program it points to live through the call, which only
    // reads them; `seccompiler::sock_filter` has the layout of the kernel's.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const description)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn with(names: &[&str]) -> Capabilities {
        let bounding = names.iter().map(|name| (*name).to_owned()).collect();
        Capabilities { bounding, ..Capabilities::default() }
    }

    #[test]
    fn each_call_is_in_one_list() {
        let mut seen = BTreeSet::new();
        for call in table::ALLOWED.iter().chain(table::ALLOWED_HERE).chain(table::WITHHELD) {
            assert!(seen.insert(*call), "{call} twice");
        }
        for (capability, calls) in table::WITH_CAPABILITY {
            for call in *calls {
                assert!(!seen.contains(call), "{call} of {capability} is in another list too");
            }
        }
    }

    #[test]
    fn capabilities_open_their_calls() {
        let none = refused(&with(&[])).unwrap();
        assert!(none.contains_key(&libc::SYS_mount) && none.contains_key(&libc::SYS_clone));
        assert!(none.contains_key(&libc::SYS_bpf) && none.contains_key(&libc::SYS_keyctl));
        let admin = refused(&with(&["SYS_ADMIN"])).unwrap();
        assert!(!admin.contains_key(&libc::SYS_mount) && !admin.contains_key(&libc::SYS_clone));
        assert!(!admin.contains_key(&libc::SYS_bpf) && admin.contains_key(&libc::SYS_keyctl));
        assert!(!refused(&with(&["BPF"])).unwrap().contains_key(&libc::SYS_bpf));
    }

    #[test]
    fn compiles_for_every_single_capability() {
        for (capability, _) in table::WITH_CAPABILITY {
            compile(&with(&[capability])).unwrap();
        }
    }

    /// In a thread: a filter holds for the thread that loaded it.
    #[test]
    fn the_filters_answer_as_the_table_says() {
        let answers = std::thread::spawn(|| {
            let programs = compile(&with(&[])).unwrap();
            // SAFETY: sets a flag of this thread; what an ordinary user needs to load a filter.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            programs.iter().for_each(|program| load(program).unwrap());
            [
                answer(libc::SYS_getppid, 0),
                answer(libc::SYS_keyctl, 0),
                answer(libc::SYS_unshare, 0),
                answer(libc::SYS_clone3, 0),
                answer(999, 0),
                answer(libc::SYS_socket, VSOCK),
                answer(libc::SYS_personality, 0xffff_ffff),
                answer(libc::SYS_personality, 0x0400_0000),
                answer(libc::SYS_clone, u64::from(libc::CLONE_NEWUSER.unsigned_abs())),
            ]
        })
        .join()
        .unwrap();
        let (eperm, enosys) = (Some(libc::EPERM), Some(libc::ENOSYS));
        let expected = [None, eperm, eperm, enosys, enosys, eperm, None, eperm, eperm];
        assert_eq!(answers, expected);
    }

    /// The error number of a call with one argument, the others 0.
    fn answer(call: Call, argument: u64) -> Option<i32> {
        // SAFETY: none of the calls above touches memory with these arguments.
        let result = unsafe { libc::syscall(call, argument, 0, 0, 0, 0, 0) };
        if result == -1 { std::io::Error::last_os_error().raw_os_error() } else { None }
    }
}
