//! Numbers of system calls by their names, for the programs that this machine runs.

use std::str::FromStr;

use crate::launch::isolation::seccomp::NATIVE;

#[cfg(target_arch = "aarch64")]
use syscalls::aarch64 as native;
#[cfg(target_arch = "riscv64")]
use syscalls::riscv64 as native;
#[cfg(target_arch = "x86_64")]
use syscalls::x86_64 as native;

/// The number of a call for programs of `architecture`; `None` where they have no call of that name.
pub(super) fn number(architecture: u32, name: &str) -> Option<u32> {
    let number = match architecture {
        NATIVE => native::Sysno::from_str(name).ok()?.id(),
        #[cfg(target_arch = "x86_64")]
        super::I386 => syscalls::x86::Sysno::from_str(name).ok()?.id(),
        _ => return None,
    };
    u32::try_from(number).ok()
}

/// The name of a call of programs of `architecture`, by its number.
pub(super) fn name(architecture: u32, number: u32) -> Option<&'static str> {
    let number = usize::try_from(number).ok()?;
    match architecture {
        NATIVE => Some(native::Sysno::new(number)?.name()),
        #[cfg(target_arch = "x86_64")]
        super::I386 => Some(syscalls::x86::Sysno::new(number)?.name()),
        _ => None,
    }
}

/// Whether a call stands for many others, by its first argument.
pub(super) fn is_gate(name: &str) -> bool {
    ["socketcall", "ipc"].contains(&name)
}

/// Whether a call is behind such a gate for some program.
pub(super) fn is_gated(name: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    return gate(name).is_some();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// socketcall(2) or ipc(2) of i386, and the value of its first argument that stands for the call
/// `name` (`linux/net.h`, `linux/ipc.h`).
#[cfg(target_arch = "x86_64")]
pub(super) fn gate(name: &str) -> Option<(&'static str, u64)> {
    const SOCKETS: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: [(&str, u64); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    let socket = SOCKETS.iter().zip(1..).find(|(call, _)| **call == name);
    let socket = socket.map(|(_, value)| ("socketcall", value));
    let ipc = IPC.iter().find(|(call, _)| *call == name).map(|(_, value)| ("ipc", *value));
    socket.or(ipc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_the_headers() {
        assert_eq!(number(NATIVE, "openat2"), u32::try_from(libc::SYS_openat2).ok());
        assert_eq!(number(NATIVE, "mount"), u32::try_from(libc::SYS_mount).ok());
        assert_eq!(number(NATIVE, "no_such_call"), None);
        #[cfg(target_arch = "x86_64")]
        {
            assert_eq!(number(super::super::I386, "mount"), Some(21));
            assert_eq!(number(super::super::I386, "_llseek"), Some(140));
            assert_eq!(number(NATIVE, "_llseek"), None);
            assert_eq!(gate("accept4"), Some(("socketcall", 18)));
            assert_eq!(gate("shmctl"), Some(("ipc", 24)));
            assert_eq!(gate("read"), None);
        }
    }
}
