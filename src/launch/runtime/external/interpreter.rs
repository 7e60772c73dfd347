//! What the kernel needs to run a file: the interpreter of a script, the loader of a program
//! (execve(2), elf(5)).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// As much of a script as the kernel reads (`BINPRM_BUF_SIZE`).
const LINE: usize = 256;
/// The segment that names a loader.
const PT_INTERP: u32 = 3;

/// What a file needs to be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Program(PathBuf),
    /// It is neither a script nor a program.
    Unknown,
}

/// Reads the beginning of a file.
pub(super) fn of(file: &impl FileExt) -> io::Result<Needs> {
    let mut start = [0u8; LINE];
    let length = fill(file, &mut start, 0)?;
    let start = &start[..length];
    if let Some(line) = start.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let words = line.split(|byte| [b' ', b'\t', b'\0'].contains(byte));
        let first = words.into_iter().find(|word| !word.is_empty());
        return Ok(first.map_or(Needs::Unknown, |word| Needs::Program(path(word))));
    }
    if start.starts_with(b"\x7fELF") { loader(file, start) } else { Ok(Needs::Unknown) }
}

/// Whether this host runs files of other forms, too (`binfmt_misc`).
pub(super) fn others_are_known() -> bool {
    let entries = std::fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name != "status" && name != "register")
}

/// Of a program: the file that its segment for it names.
fn loader(file: &impl FileExt, start: &[u8]) -> io::Result<Needs> {
    let number = |bytes: &[u8], at: usize, size: usize| -> Option<u64> {
        let bytes = bytes.get(at..at + size)?;
        let add = |number, byte: &u8| number << 8 | u64::from(*byte);
        // Of the other byte order no program runs on these machines.
        Some(bytes.iter().rev().fold(0, add))
    };
    let is_64 = start.get(4) == Some(&2);
    // Where the table of segments is, the size of an entry, and how many there are; in an entry,
    // where its bytes are and how many.
    let (table, size, count, offset, length) =
        if is_64 { ((32, 8), 54, 56, (8, 8), (32, 8)) } else { ((28, 4), 42, 44, (4, 4), (16, 4)) };
    let header =
        number(start, table.0, table.1).zip(number(start, size, 2)).zip(number(start, count, 2));
    let Some(((table, size), count)) = header else { return Ok(Needs::Unknown) };
    for index in 0..count.min(64) {
        let mut entry = [0u8; 64];
        let room = usize::try_from(size).unwrap_or(0).min(entry.len());
        let read = fill(file, &mut entry[..room], table.saturating_add(index * size))?;
        let entry = &entry[..read];
        if number(entry, 0, 4) != Some(PT_INTERP.into()) {
            continue;
        }
        let place = number(entry, offset.0, offset.1).zip(number(entry, length.0, length.1));
        let Some((at, length)) = place else { return Ok(Needs::Unknown) };
        let mut name = vec![0u8; usize::try_from(length).unwrap_or(0).min(4096)];
        let read = fill(file, &mut name, at)?;
        let name = name[..read].split(|byte| *byte == 0).next().unwrap_or_default();
        return Ok(Needs::Program(path(name)));
    }
    Ok(Needs::Nothing)
}

fn fill(file: &impl FileExt, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            // Further than any file goes: nothing is there.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn path(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn needs(bytes: &[u8]) -> Needs {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        of(&file).unwrap()
    }

    #[test]
    fn scripts_and_programs_name_what_they_need() {
        let program = |path: &str| Needs::Program(path.into());
        assert_eq!(needs(b"#! /bin/sh -e\necho"), program("/bin/sh"));
        assert_eq!(needs(b"#!/bin/a"), program("/bin/a"));
        assert_eq!(needs(b"#!\n"), Needs::Unknown);
        assert_eq!(needs(b""), Needs::Unknown);
        assert_eq!(needs(b"echo hi"), Needs::Unknown);
        let own = std::fs::File::open("/proc/self/exe").unwrap();
        let Needs::Program(loader) = of(&own).unwrap() else { panic!() };
        assert!(loader.exists(), "{}", loader.display());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for class in [b"\x7fELF\x01", b"\x7fELF\x02"] {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&[&class[..], &bytes].concat()).unwrap();
                // What names a place that no file has is an error.
                let _ = of(&file);
            }
        }
    }
}
