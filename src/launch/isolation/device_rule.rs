//! Devices that are allowed by rule (`--device-cgroup-rule`), and all that a host has.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

use crate::launch::isolation::devices::{Access, Device, Kind};

/// A rule that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--device-cgroup-rule {0:?} is not \"a|b|c MAJOR:MINOR rwm\", with * for any number")]
pub(crate) struct InvalidRule(String);

/// A rule of `--device-cgroup-rule`: `c 189:* rwm`.
pub(crate) fn read(text: &str) -> Result<Vec<Device>, InvalidRule> {
    let invalid = || InvalidRule(text.chars().take(60).collect());
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [kind, numbers, access] = words[..] else { return Err(invalid()) };
    let kinds: &[Kind] = match kind {
        "a" => &[Kind::Block, Kind::Character],
        "b" => &[Kind::Block],
        "c" => &[Kind::Character],
        _ => return Err(invalid()),
    };
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse().map(Some).map_err(|_| invalid()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let bits = access.chars().map(|letter| match letter {
        'r' => Ok(Access::READ),
        'w' => Ok(Access::WRITE),
        // A node may be made of any device.
        'm' => Ok(0),
        _ => Err(invalid()),
    });
    let access = Access(bits.collect::<Result<Vec<_>, _>>()?.into_iter().fold(0, |a, b| a | b));
    let (major, minor) = (number(major)?, number(minor)?);
    Ok(kinds.iter().map(|kind| Device { kind: *kind, major, minor, access }).collect())
}

/// All devices of the host, for a container that is privileged: but for terminals, which it has its
/// own of, and for what is mounted below `/dev`.
pub(crate) fn of_host(directory: &Path) -> io::Result<Vec<LinuxDevice>> {
    const OWN: [&str; 6] = ["console", "fd", "mqueue", "ptmx", "pts", "shm"];
    let mut devices = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if OWN.iter().any(|own| entry.path() == Path::new("/dev").join(own)) {
            continue;
        }
        // What goes away meanwhile is not there.
        let Ok(metadata) = entry.metadata() else { continue };
        let typ = match metadata.file_type() {
            kind if kind.is_dir() => {
                devices.extend(of_host(&entry.path()).unwrap_or_default());
                continue;
            }
            kind if kind.is_block_device() => LinuxDeviceType::B,
            kind if kind.is_char_device() => LinuxDeviceType::C,
            _ => continue,
        };
        let device = LinuxDeviceBuilder::default()
            .path(entry.path())
            .typ(typ)
            .major(i64::from(libc::major(metadata.rdev())))
            .minor(i64::from(libc::minor(metadata.rdev())))
            .file_mode(metadata.mode() & 0o777)
            .uid(metadata.uid())
            .gid(metadata.gid())
            .build();
        devices.extend(device.ok());
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_dockers() {
        let one = |text: &str| read(text).unwrap().remove(0);
        let usb = one("c 189:* rwm");
        assert_eq!((usb.kind, usb.major, usb.minor), (Kind::Character, Some(189), None));
        assert_eq!(usb.access, Access(Access::READ | Access::WRITE));
        assert_eq!(one("b *:1 r").access, Access(Access::READ));
        assert_eq!(one("b *:1 m").access, Access(0));
        assert_eq!(read("a *:* rw").unwrap().len(), 2);
        for text in ["", "c", "c 1:1", "c 1 rwm", "x 1:1 rwm", "c 1:1 x", "c 1:-1 r", "c 1:1 r w"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_hosts_devices_are_listed() {
        let devices = of_host(Path::new("/dev")).unwrap();
        let has = |path: &str| devices.iter().any(|device| device.path() == Path::new(path));
        assert!(has("/dev/null") && !has("/dev/ptmx") && !has("/dev/pts/0"));
    }
}
