//! Which system calls a container's programs may make: a filter of our own ([`table`]), or that of a
//! profile in a file.
//!
//! The filter that is there without flags is compiled at each start, in 0.15 ms; the kernel takes as
//! long to take it. What a profile is compiled to is kept ([`cache`]).

mod bpf;
pub(crate) mod cache;
mod calls;
mod default;
mod names;
pub(crate) mod profile;
pub(crate) mod rules;
#[rustfmt::skip]
mod table;
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
mod table_32;

use std::io;

use libc::sock_filter as Instruction;

use crate::launch::isolation::capability::Capabilities;
pub(crate) use bpf::TooLong;

/// `AUDIT_ARCH_…` of this machine and of its 32-bit programs (`linux/audit.h`).
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const NATIVE: u32 = 0xc000_00f3;
#[cfg(target_arch = "x86_64")]
const I386: u32 = 0x4000_0003;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL_PROCESS: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// Capabilities that [`Filter::load`] needs, and dropping them after it; no program starts with them.
pub(crate) const TO_LOAD: [&str; 2] = ["SYS_ADMIN", "SETPCAP"];

/// The answer "this call failed with that error".
const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (number.unsigned_abs() & libc::SECCOMP_RET_DATA)
}

/// A filter, ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_…`.
    flags: u32,
}

impl Filter {
    /// The filter of a container with `capabilities`, where nobody asks for another.
    pub(crate) fn default_for(capabilities: &Capabilities) -> Result<Self, TooLong> {
        Ok(Self { program: bpf::compile(&default::policy(capabilities))?, flags: 0 })
    }

    /// Loads it for this thread. Needs CAP_SYS_ADMIN or `no_new_privs`, as seccomp(2) says.
    pub(crate) fn load(&self) -> io::Result<()> {
        let length = u16::try_from(self.program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let description =
            libc::sock_fprog { len: length, filter: self.program.as_ptr().cast_mut() };
        // SAFETY: `description` and the program it points to live through the call, which only
        // reads them.
        let result = unsafe {
            let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, self.flags);
            libc::syscall(libc::SYS_seccomp, mode, flags, &raw const description)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests;
