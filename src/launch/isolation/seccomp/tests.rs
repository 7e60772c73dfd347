use std::collections::BTreeSet;

use super::table::Call;
use super::*;

pub(super) fn with(names: &[&str]) -> Capabilities {
    let bounding = names.iter().map(|name| (*name).to_owned()).collect();
    Capabilities { bounding, ..Capabilities::default() }
}

/// A call, as the kernel shows it to a filter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) architecture: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

pub(super) fn asked(architecture: u32, number: Call, first: u64) -> Asked {
    let number = u32::try_from(number).unwrap();
    Asked { architecture, number, arguments: [first, 0, 0, 0, 0, 0] }
}

/// What a program answers, for the few instructions that filters are made of.
pub(super) fn run(program: &[Instruction], call: Asked) -> u32 {
    let (mut at, mut value) = (0, 0u32);
    loop {
        let instruction = &program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
        match (u32::from(instruction.code), instruction.k) {
            (0x20, 0) => value = call.number,
            (0x20, 4) => value = call.architecture,
            (0x20, offset) => {
                let argument = call.arguments[(offset as usize - 16) / 8];
                value = (argument >> (8 * (offset % 8))) as u32;
            }
            (0x54, mask) => value &= mask,
            (0x15, other) => at += jump(value == other),
            (0x25, other) => at += jump(value > other),
            (0x35, other) => at += jump(value >= other),
            (0x05, past) => at += past as usize,
            (0x06, answer) => return answer,
            (code, _) => panic!("{code:x}"),
        }
    }
}

fn answer(names: &[&str], call: Asked) -> u32 {
    run(&Filter::default_for(&with(names)).unwrap().program, call)
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
    let eperm = errno(libc::EPERM);
    let is = |names: &[&str], call| answer(names, asked(NATIVE, call, 0x2000_0000));
    for call in [libc::SYS_mount, libc::SYS_clone, libc::SYS_bpf, libc::SYS_keyctl] {
        assert_eq!(is(&[], call), eperm, "{call}");
    }
    for call in [libc::SYS_mount, libc::SYS_clone, libc::SYS_bpf, libc::SYS_clone3] {
        assert_eq!(is(&["SYS_ADMIN"], call), ALLOW, "{call}");
    }
    assert_eq!(is(&["SYS_ADMIN"], libc::SYS_keyctl), eperm);
    assert_eq!(is(&["BPF"], libc::SYS_bpf), ALLOW);
    assert_eq!(is(&[], libc::SYS_clone3), errno(libc::ENOSYS));
}

#[test]
fn the_program_is_short_whatever_the_capabilities() {
    let one = table::WITH_CAPABILITY.iter().map(|(name, _)| vec![*name]);
    for names in one.chain([vec![]]) {
        let filter = Filter::default_for(&with(&names)).unwrap();
        // The kernel's own work grows with it: 4800 instructions took it 1.6 ms.
        assert!(filter.program.len() < 700, "{names:?}: {}", filter.program.len());
    }
}

/// The tables say it: each number, each answer.
#[test]
fn every_number_is_answered_by_its_list() {
    let filter = Filter::default_for(&with(&["SYS_TIME"])).unwrap();
    let open: BTreeSet<Call> = table::WITH_CAPABILITY
        .iter()
        .filter(|(name, _)| *name == "SYS_TIME")
        .flat_map(|(_, calls)| *calls)
        .copied()
        .collect();
    let closed: BTreeSet<Call> =
        table::WITH_CAPABILITY.iter().flat_map(|(_, calls)| *calls).copied().collect();
    for number in 0..1024 {
        let expected = if open.contains(&number)
            || table::ALLOWED.contains(&number)
            || table::ALLOWED_HERE.contains(&number)
        {
            ALLOW
        } else if table::WITHHELD.contains(&number) || closed.contains(&number) {
            errno(libc::EPERM)
        } else {
            errno(libc::ENOSYS)
        };
        assert_eq!(run(&filter.program, asked(NATIVE, number, 0)), expected, "{number}");
    }
    for number in [0x4000_0000, 0x4000_0001, u32::MAX - 1, u32::MAX] {
        let call = Asked { number, ..asked(NATIVE, 0, 0) };
        assert_eq!(run(&filter.program, call), errno(libc::ENOSYS), "{number:x}");
    }
}

/// The kernel takes an argument's lower half only: the upper half hides nothing.
#[test]
fn the_upper_half_of_an_argument_hides_nothing() {
    let vsock = u64::from(libc::AF_VSOCK.unsigned_abs());
    for first in [vsock, vsock | 1 << 32, vsock | 0xffff_ffff << 32] {
        let call = asked(NATIVE, libc::SYS_socket, first);
        assert_eq!(answer(&[], call), errno(libc::EPERM), "{first:x}");
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
    const EXIT: Call = 1;
    const KEYCTL: Call = 288;
    const UNSHARE: Call = 310;
    const SOCKET: Call = 359;
    const OPENAT2: Call = 437;
    let is = |architecture, call, first| answer(&[], asked(architecture, call, first));
    assert_eq!(is(I386, EXIT, 0), ALLOW);
    assert_eq!(is(I386, OPENAT2, 0), ALLOW);
    assert_eq!(is(I386, KEYCTL, 0), errno(libc::EPERM));
    assert_eq!(is(I386, UNSHARE, 0), errno(libc::EPERM));
    assert_eq!(is(I386, SOCKET, u64::from(libc::AF_VSOCK as u32)), errno(libc::EPERM));
    assert_eq!(is(I386, SOCKET, u64::from(libc::AF_UNIX as u32)), ALLOW);
    assert_eq!(is(I386, 435, 0), errno(libc::ENOSYS));
    assert_eq!(is(NATIVE, libc::SYS_write, 0), ALLOW);
    assert_eq!(is(NATIVE, libc::SYS_keyctl, 0), errno(libc::EPERM));
    assert_eq!(is(0xc000_00b7, 1, 0), KILL_PROCESS);
}

/// The error number of a call with one argument, the others 0.
fn made(call: Call, argument: u64) -> Option<i32> {
    // SAFETY: none of the calls below touches memory with these arguments.
    let result = unsafe { libc::syscall(call, argument, 0, 0, 0, 0, 0) };
    if result == -1 { io::Error::last_os_error().raw_os_error() } else { None }
}

/// In a thread: a filter holds for the thread that loaded it.
#[test]
fn the_kernel_answers_as_the_table_says() {
    let answers = std::thread::spawn(|| {
        let filter = Filter::default_for(&with(&[])).unwrap();
        // SAFETY: sets a flag of this thread; what an ordinary user needs to load a filter.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        filter.load().unwrap();
        [
            made(libc::SYS_getppid, 0),
            made(libc::SYS_keyctl, 0),
            made(libc::SYS_unshare, 0),
            made(libc::SYS_clone3, 0),
            made(999, 0),
            made(libc::SYS_socket, u64::from(libc::AF_VSOCK.unsigned_abs())),
            made(libc::SYS_personality, 0xffff_ffff),
            made(libc::SYS_personality, 0x0400_0000),
            made(libc::SYS_clone, u64::from(libc::CLONE_NEWUSER.unsigned_abs())),
        ]
    })
    .join()
    .unwrap();
    let (eperm, enosys) = (Some(libc::EPERM), Some(libc::ENOSYS));
    let expected = [None, eperm, eperm, enosys, enosys, eperm, None, eperm, eperm];
    assert_eq!(answers, expected);
}
