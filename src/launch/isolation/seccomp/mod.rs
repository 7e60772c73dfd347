//! The default filter of system calls: [`table`] compiled to BPF.
//!
//! Two filters are stacked: one lets through every call of the table and answers ENOSYS to all
//! others; one answers EPERM to those that are withheld, by number or by argument. The kernel
//! takes the stricter answer. On x86_64 each has a second half, for 32-bit programs.

mod calls;
#[rustfmt::skip]
mod table;
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
mod table_32;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::launch::isolation::capability::Capabilities;
use calls::Calls;
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
    let native = compile_for(&Calls::native(), capabilities)?;
    #[cfg(target_arch = "x86_64")]
    let native = {
        let [allowed, refused] = compile_for(&Calls::of_32_bit(), capabilities)?;
        let [native_allowed, native_refused] = native;
        [with_32_bit(&allowed, &native_allowed), with_32_bit(&refused, &native_refused)]
    };
    Ok(native)
}

/// A program that goes on with `first` for calls of a 32-bit program, else with `native`: by
/// itself that would kill the caller, silently.
#[cfg(target_arch = "x86_64")]
fn with_32_bit(first: &BpfProgram, native: &BpfProgram) -> BpfProgram {
    use seccompiler::sock_filter as Instruction;
    /// The architecture in `struct seccomp_data`, and that of i386 (`linux/audit.h`).
    const ARCHITECTURE: u32 = 4;
    const I386: u32 = 0x4000_0003;
    // Each begins with three instructions that look at the architecture; `first` for the wrong one.
    let first = first.get(3..).unwrap_or_default();
    // As many as a filter may have, at most.
    let length = u32::try_from(first.len()).unwrap_or(u32::MAX);
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let skip = (libc::BPF_JMP | libc::BPF_JA) as u16;
    let mut program = vec![
        Instruction { code: load, jt: 0, jf: 0, k: ARCHITECTURE },
        Instruction { code: equal, jt: 1, jf: 0, k: I386 },
        Instruction { code: skip, jt: 0, jf: 0, k: length },
    ];
    program.extend_from_slice(first);
    program.extend_from_slice(native);
    program
}

fn compile_for(
    calls: &Calls,
    capabilities: &Capabilities,
) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let refused = refused(calls, capabilities)?;
    let mut allowed = Rules::new();
    allowed.extend(calls.allowed.iter().map(|call| (*call, Vec::new())));
    allowed.extend(refused.keys().map(|call| (*call, Vec::new())));
    for (_, calls) in &calls.with_capability {
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
fn refused(calls: &Calls, capabilities: &Capabilities) -> Result<Rules, seccompiler::BackendError> {
    let mut refused: Rules = calls.withheld.iter().map(|call| (*call, Vec::new())).collect();
    for (_, calls) in &calls.with_capability {
        refused.extend(calls.iter().map(|call| (*call, Vec::new())));
    }
    for (capability, calls) in &calls.with_capability {
        if capabilities.has(capability) {
            for call in calls {
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
        refused.insert(calls.clone, rules);
    }
    let vsock = rule(&[(0, SeccompCmpOp::Eq, VSOCK)])?;
    refused.insert(calls.socket, vec![vsock]);
    let others = table::PERSONALITIES.map(|value| (0, SeccompCmpOp::Ne, value));
    refused.insert(calls.personality, vec![rule(&others)?]);
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
        let calls = Calls::native();
        let none = refused(&calls, &with(&[])).unwrap();
        assert!(none.contains_key(&libc::SYS_mount) && none.contains_key(&libc::SYS_clone));
        assert!(none.contains_key(&libc::SYS_bpf) && none.contains_key(&libc::SYS_keyctl));
        let admin = refused(&calls, &with(&["SYS_ADMIN"])).unwrap();
        assert!(!admin.contains_key(&libc::SYS_mount) && !admin.contains_key(&libc::SYS_clone));
        assert!(!admin.contains_key(&libc::SYS_bpf) && admin.contains_key(&libc::SYS_keyctl));
        assert!(!refused(&calls, &with(&["BPF"])).unwrap().contains_key(&libc::SYS_bpf));
    }

    #[test]
    fn compiles_for_every_single_capability() {
        for (capability, _) in table::WITH_CAPABILITY {
            compile(&with(&[capability])).unwrap();
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_of_32_bit_programs_are_in_one_list() {
        let mut seen = BTreeSet::new();
        for call in table_32::ALLOWED.iter().chain(table_32::WITHHELD) {
            assert!(seen.insert(*call) && *call < table_32::SHARED, "{call} twice");
        }
        for (capability, calls) in table_32::WITH_CAPABILITY {
            for call in *calls {
                assert!(!seen.contains(call), "{call} of {capability} is in another list too");
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_32_bit_program_has_its_own_numbers() {
        const EXIT: u32 = 1;
        const KEYCTL: u32 = 288;
        const UNSHARE: u32 = 310;
        const SOCKET: u32 = 359;
        const OPENAT2: u32 = 437;
        let (native, i386) = (0xc000_003e, 0x4000_0003);
        let (allow, kill) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_KILL_PROCESS);
        let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
        let programs = compile(&with(&[])).unwrap();
        // The kernel takes the stricter answer: here, the lower one.
        let answer = |arch, call, argument| {
            programs.iter().map(|program| run(program, arch, call, argument)).min().unwrap()
        };
        assert_eq!(answer(i386, EXIT, 0), allow);
        assert_eq!(answer(i386, OPENAT2, 0), allow);
        assert_eq!(answer(i386, KEYCTL, 0), errno(libc::EPERM));
        assert_eq!(answer(i386, UNSHARE, 0), errno(libc::EPERM));
        assert_eq!(answer(i386, SOCKET, libc::AF_VSOCK as u32), errno(libc::EPERM));
        assert_eq!(answer(i386, SOCKET, libc::AF_UNIX as u32), allow);
        assert_eq!(answer(i386, 435, 0), errno(libc::ENOSYS));
        assert_eq!(answer(native, libc::SYS_write as u32, 0), allow);
        assert_eq!(answer(native, libc::SYS_keyctl as u32, 0), errno(libc::EPERM));
        assert_eq!(answer(0xc000_00b7, 1, 0), kill);
    }

    /// What a program answers, for the few instructions that filters are made of.
    #[cfg(target_arch = "x86_64")]
    fn run(program: &BpfProgram, arch: u32, call: u32, argument: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let instruction = &program[at];
            at += 1;
            let jump =
                |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
            match (u32::from(instruction.code), instruction.k) {
                (0x20, 0) => value = call,
                (0x20, 4) => value = arch,
                (0x20, 16) => value = argument,
                (0x20, _) => value = 0,
                (0x54, mask) => value &= mask,
                (0x15, other) => at += jump(value == other),
                (0x05, past) => at += past as usize,
                (0x06, answer) => return answer,
                (code, _) => panic!("{code:x}"),
            }
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
