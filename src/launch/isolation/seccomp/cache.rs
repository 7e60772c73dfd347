//! Compiled filters in files: what a profile was compiled to, kept as long as the running state, and
//! what a container has, for those who enter it later.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::process::geteuid;

use crate::disk;
use crate::launch::isolation::seccomp::profile::Host;
use crate::launch::isolation::seccomp::{Filter, Instruction};
use crate::model::Digest;

/// What a file begins with; another number for another meaning of the same profile.
const FORMAT: &[u8; 8] = b"seccomp1";
/// Flags behind the format, and the instructions behind both.
const HEADER: usize = 12;
const INSTRUCTION: usize = 8;
/// As many as a filter may have.
const LARGEST: u64 = (HEADER + INSTRUCTION * 4096) as u64;
/// Profiles change: of so many compiled ones none is missed.
const FULL: usize = 64;

/// The name of what `profile` is compiled to for a container on this host.
pub(crate) fn key(profile: &[u8], host: Host<'_>) -> String {
    let mut text = FORMAT.to_vec();
    let capabilities = host.capabilities.bounding.iter().map(String::as_str);
    let parts = [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, host.kernel];
    for part in parts.into_iter().chain(capabilities) {
        text.extend_from_slice(part.as_bytes());
        text.push(0);
    }
    text.push(0);
    text.extend_from_slice(profile);
    Digest::of(&text).hex()
}

/// The filter in a file; `None` where there is none to be trusted: only one that is ours, that nobody
/// else can write, and that is whole.
pub(crate) fn read(path: &Path) -> Option<Filter> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let ours = metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o022 == 0;
    if !metadata.is_file() || !ours || metadata.len() > LARGEST {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    from_bytes(&bytes)
}

/// Keeps a filter, whole or not at all.
pub(crate) fn write(path: &Path, filter: &Filter) -> io::Result<()> {
    let aside = path.with_extension(std::process::id().to_string());
    let written = create(&aside)
        .and_then(|mut file| file.write_all(&to_bytes(filter)))
        .and_then(|()| fs::rename(&aside, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&aside);
    })
}

/// As [`write()`], in a directory that is made where it is not there and emptied where it is full.
pub(crate) fn keep(directory: &Path, key: &str, filter: &Filter) -> io::Result<()> {
    disk::make_private(directory)?;
    let kept: Vec<_> = fs::read_dir(directory)?.flatten().collect();
    if kept.len() >= FULL {
        for entry in kept {
            let _ = fs::remove_file(entry.path());
        }
    }
    write(&directory.join(key), filter)
}

/// A new file that only we can read; one of an earlier process of this number gives way.
fn create(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn to_bytes(filter: &Filter) -> Vec<u8> {
    let mut bytes = FORMAT.to_vec();
    bytes.extend_from_slice(&filter.flags.to_ne_bytes());
    for Instruction { code, jt, jf, k } in &filter.program {
        bytes.extend_from_slice(&code.to_ne_bytes());
        bytes.extend_from_slice(&[*jt, *jf]);
        bytes.extend_from_slice(&k.to_ne_bytes());
    }
    bytes
}

fn from_bytes(bytes: &[u8]) -> Option<Filter> {
    let (flags, instructions) = bytes.strip_prefix(FORMAT)?.split_first_chunk()?;
    let (instructions, []) = instructions.as_chunks::<INSTRUCTION>() else { return None };
    let instruction = |[a, b, jt, jf, k @ ..]: &[u8; INSTRUCTION]| Instruction {
        code: u16::from_ne_bytes([*a, *b]),
        jt: *jt,
        jf: *jf,
        k: u32::from_ne_bytes(*k),
    };
    let program: Vec<_> = instructions.iter().map(instruction).collect();
    (!program.is_empty()).then_some(Filter { program, flags: u32::from_ne_bytes(*flags) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::launch::isolation::capability::Capabilities;

    fn filter() -> Filter {
        let mut filter = Filter::default_for(&Capabilities::default()).unwrap();
        filter.flags = 5;
        filter
    }

    #[test]
    fn what_was_kept_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("seccomp");
        keep(&cache, "key", &filter()).unwrap();
        keep(&cache, "key", &filter()).unwrap();
        assert_eq!(read(&cache.join("key")).unwrap(), filter());
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
        assert_eq!(fs::metadata(&cache).unwrap().mode() & 0o777, 0o700);
        for number in 0..100 {
            keep(&cache, &format!("other{number}"), &filter()).unwrap();
        }
        assert!(fs::read_dir(&cache).unwrap().count() <= FULL);
    }

    #[test]
    fn only_what_is_ours_is_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(read(&path).is_none());
        write(&path, &filter()).unwrap();
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(read(&link).is_none());
        for (mode, trusted) in [(0o600, true), (0o644, true), (0o620, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_some(), trusted, "{mode:o}");
        }
        write(&path, &filter()).unwrap();
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
            assert!(read(&path).is_none());
        }
    }

    #[test]
    fn half_a_file_is_none() {
        let bytes = to_bytes(&filter());
        assert_eq!(from_bytes(&bytes).unwrap(), filter());
        for length in [0, 7, 8, 11, 12, 13, bytes.len() - 1] {
            assert!(from_bytes(&bytes[..length]).is_none(), "{length}");
        }
        assert!(from_bytes(&[b"seccomp0", &bytes[8..]].concat()).is_none());
    }

    #[test]
    fn a_key_is_of_all_that_counts() {
        let with = |name: &str| Capabilities {
            bounding: [name.to_owned()].into(),
            ..Capabilities::default()
        };
        let (a, b) = (with("CHOWN"), with("KILL"));
        let host = |capabilities, kernel| Host { capabilities, kernel };
        let keys = [
            key(b"{}", host(&a, "6.1")),
            key(b"{}", host(&b, "6.1")),
            key(b"{}", host(&a, "6.2")),
            key(b"{ }", host(&a, "6.1")),
        ];
        let different: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }
}
