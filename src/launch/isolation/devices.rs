//! Which devices a container may open, where it could make itself a node of any: a program of ours
//! in its cgroup (`BPF_PROG_TYPE_CGROUP_DEVICE`), with the rules that other engines start from.
//!
//! A container without MKNOD and SYS_ADMIN needs none: it has the nodes that it was given, and its
//! file systems are mounted nodev.

use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::launch::storage::volume::Volume;

/// With these a container can make a node, or mount a file system that has it.
pub(crate) const REACH_DEVICES: [&str; 2] = ["MKNOD", "SYS_ADMIN"];

/// A device that may be opened; `None` is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(super) kind: Kind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: Access,
}

/// What may be done with a device, in the bits of `linux/bpf.h`. A node may be made of any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Access(pub(super) u32);

impl Access {
    pub(super) const READ: u32 = 2;
    pub(super) const WRITE: u32 = 4;
    const ALL: Self = Self(Self::READ | Self::WRITE);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Block = 1,
    Character = 2,
}

/// null, zero, full, random, urandom; tty, ptmx; all pseudo terminals.
const DEFAULT: [Device; 8] = [
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(1, Some(8)),
    character(1, Some(9)),
    character(5, Some(0)),
    character(5, Some(2)),
    character(136, None),
];

const fn character(major: u32, minor: Option<u32>) -> Device {
    Device { kind: Kind::Character, major: Some(major), minor, access: Access::ALL }
}

impl Device {
    /// The device that a file is the node of; `None` for any other file.
    pub(crate) fn of(file: &Metadata, read: bool, write: bool) -> Option<Self> {
        let kind = match file.file_type() {
            kind if kind.is_block_device() => Kind::Block,
            kind if kind.is_char_device() => Kind::Character,
            _ => return None,
        };
        let (major, minor) = (Some(libc::major(file.rdev())), Some(libc::minor(file.rdev())));
        let bit = |asked, bit| if asked { bit } else { 0 };
        let access = Access(bit(read, Access::READ) | bit(write, Access::WRITE));
        Some(Self { kind, major, minor, access })
    }
}

/// The default, those that are `given` by name or rule, and those bound into the container with
/// `dev`.
pub(crate) fn allowed(volumes: &[Volume], given: impl Iterator<Item = Device>) -> Vec<Device> {
    let bound = volumes.iter().filter(|volume| volume.options.has("dev")).filter_map(|volume| {
        let metadata = std::fs::metadata(volume.bound_path()?).ok()?;
        Device::of(&metadata, true, true)
    });
    DEFAULT.into_iter().chain(given).chain(bound).collect()
}

/// Whether processes of the cgroup are confined already.
pub(crate) fn is_confined(cgroup: &Path) -> io::Result<bool> {
    let directory = std::fs::File::open(cgroup)?;
    let mut query = Query { target: descriptor(&directory), attach_type: 6, ..Query::default() };
    // SAFETY: `query` lives through the call, which writes no further than its size.
    let result = unsafe {
        let size = size_of::<Query>();
        libc::syscall(libc::SYS_bpf, 16, std::ptr::from_mut(&mut query), size) // BPF_PROG_QUERY
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(query.count > 0) }
}

/// The arguments of bpf(2) for `BPF_PROG_QUERY`; without room for numbers, they are only counted.
#[derive(Debug, Default)]
#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    numbers: u64,
    count: u32,
    _padding: u32,
}

/// From here on, processes of the cgroup open no other devices. They may make nodes of any.
pub(crate) fn confine(cgroup: &Path, allowed: &[Device]) -> io::Result<()> {
    let directory = std::fs::File::open(cgroup)?;
    let program = load(&program(allowed))?;
    let attach = Attach {
        target: descriptor(&directory),
        program: descriptor(&program),
        attach_type: 6, // BPF_CGROUP_DEVICE
        flags: 2,       // BPF_F_ALLOW_MULTI: whatever else is there holds too.
    };
    bpf(8, &attach).map(|_| ()) // BPF_PROG_ATTACH
}

/// One instruction (`struct bpf_insn`, `linux/bpf.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: u32,
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: u32) -> Instruction {
    // A pair of bit fields, in the order of the machine.
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    Instruction { code, registers, offset, value }
}

/// Leaves the program with 1, "allowed", or 0.
const fn answer(allowed: bool) -> [Instruction; 2] {
    [instruction(0xb7, 0, 0, 0, allowed as u32), instruction(0x95, 0, 0, 0, 0)]
}

/// Skips `offset` instructions where `register` has one of the bits `value`.
const fn skip_if_any(register: u8, value: u32, offset: i16) -> Instruction {
    instruction(0x45, register, 0, offset, value)
}

/// Skips `offset` instructions where `register` is not `value`.
const fn skip_unless(register: u8, value: u32, offset: i16) -> Instruction {
    instruction(0x55, register, 0, offset, value)
}

/// What is asked is in `struct bpf_cgroup_dev_ctx`: access and kind, major, minor.
fn program(allowed: &[Device]) -> Vec<Instruction> {
    const ACCESS: u8 = 2;
    const KIND: u8 = 3;
    const MAJOR: u8 = 4;
    const MINOR: u8 = 5;
    const MKNOD: u32 = 1;
    let mut program = vec![
        instruction(0x61, ACCESS, 1, 0, 0),
        instruction(0xbf, KIND, ACCESS, 0, 0),
        instruction(0x57, KIND, 0, 0, 0xffff),
        instruction(0x77, ACCESS, 0, 0, 16),
        instruction(0x61, MAJOR, 1, 4, 0),
        instruction(0x61, MINOR, 1, 8, 0),
        skip_unless(ACCESS, MKNOD, 2),
    ];
    program.extend(answer(true));
    for device in allowed {
        let mut conditions = vec![(KIND, device.kind as u32)];
        conditions.extend(device.major.map(|major| (MAJOR, major)));
        conditions.extend(device.minor.map(|minor| (MINOR, minor)));
        // Past the other conditions, what is asked beyond them, and the answer of two instructions.
        let past = (3..=conditions.len() as i16 + 2).rev();
        let skips = conditions.iter().zip(past);
        program.extend(skips.map(|((register, value), past)| skip_unless(*register, *value, past)));
        program.push(skip_if_any(ACCESS, Access::ALL.0 & !device.access.0, 2));
        program.extend(answer(true));
    }
    program.extend(answer(false));
    program
}

/// The arguments of bpf(2) for `BPF_PROG_LOAD`, as far as they are not 0.
#[repr(C)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

/// The arguments of bpf(2) for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let load = Load {
        program_type: 15, // BPF_PROG_TYPE_CGROUP_DEVICE
        count: u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
    };
    let loaded = bpf(5, &load)?; // BPF_PROG_LOAD
    let loaded = i32::try_from(loaded).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: a new descriptor, which nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(loaded) })
}

fn descriptor(of: &impl AsFd) -> u32 {
    of.as_fd().as_raw_fd().unsigned_abs()
}

fn bpf<T>(command: i32, arguments: &T) -> io::Result<i64> {
    // SAFETY: `arguments` and what they point to live through the call, which only reads them;
    // the size says how much of them there is.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(arguments), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::storage::flags::volume::parse;

    /// Runs the program as the kernel would, for the few instructions that it is made of.
    fn answers(program: &[Instruction], access: u32, kind: Kind, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind as u32, major, minor];
        let mut registers = [0u32; 11];
        let mut at = 0;
        loop {
            let Instruction { code, registers: pair, offset, value } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            at += 1;
            match code {
                0x61 => registers[to] = context[usize::try_from(offset).unwrap() / 4],
                0xbf => registers[to] = registers[from],
                0x57 => registers[to] &= value,
                0x77 => registers[to] >>= value,
                0x55 if registers[to] != value => at += usize::try_from(offset).unwrap(),
                0x45 if registers[to] & value != 0 => at += usize::try_from(offset).unwrap(),
                0x55 | 0x45 => {}
                0xb7 => registers[to] = value,
                0x95 => return registers[0] == 1,
                other => panic!("{other:x}"),
            }
        }
    }

    #[test]
    fn only_what_is_allowed_can_be_opened() {
        const READ: u32 = 2;
        let (kind, access) = (Kind::Block, Access::ALL);
        let disk = Device { kind, major: Some(254), minor: Some(1), access };
        let program = program(&[&DEFAULT[..], &[disk]].concat());
        for (allowed, kind, major, minor) in [
            (true, Kind::Character, 1, 3),
            (true, Kind::Character, 136, 77),
            (true, Kind::Block, 254, 1),
            (false, Kind::Block, 254, 0),
            (false, Kind::Character, 254, 1),
            (false, Kind::Block, 1, 3),
            (false, Kind::Character, 1, 11),
            (false, Kind::Character, 1, 1),
        ] {
            let answer = answers(&program, READ, kind, major, minor);
            assert_eq!(answer, allowed, "{kind:?} {major}:{minor}");
            assert!(answers(&program, 1, kind, major, minor), "a node may be made");
        }
    }

    #[test]
    fn a_device_may_be_for_reading_only() {
        let reader = Device { access: Access(Access::READ), ..character(10, Some(1)) };
        // Two rules for one device: what either allows.
        let writer = Device { access: Access(Access::WRITE), ..character(10, Some(2)) };
        let any = Device { major: None, minor: None, kind: Kind::Block, ..reader };
        let program = program(&[reader, writer, character(10, Some(3)), any]);
        let may = |access, minor| answers(&program, access, Kind::Character, 10, minor);
        assert!(may(2, 1) && !may(4, 1) && !may(6, 1));
        assert!(!may(2, 2) && may(4, 2) && !may(6, 2));
        assert!(may(6, 3) && may(1, 1) && may(3, 1) && !may(5, 1));
        assert!(
            answers(&program, 2, Kind::Block, 8, 1) && !answers(&program, 4, Kind::Block, 8, 1)
        );
    }

    #[test]
    fn a_device_that_was_asked_for_is_allowed() {
        let bind = |text| vec![parse(text).unwrap()];
        let allowed = |volumes: &[Volume]| allowed(volumes, std::iter::empty());
        let full = allowed(&bind("/dev/full:/dev/x:dev"));
        assert_eq!(full.last(), Some(&character(1, Some(7))));
        assert_eq!(allowed(&bind("/dev/full:/dev/x")).len(), DEFAULT.len());
        assert_eq!(allowed(&bind("/tmp:/x:dev")).len(), DEFAULT.len());
    }
}
