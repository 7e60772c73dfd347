//! `--device HOST[:CONTAINER][:PERMISSIONS]` (podman-run(1)).

use std::path::PathBuf;

use crate::launch::storage::volume::target;

/// A device, or a directory of devices, of the host that the container is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceFlag {
    pub(crate) host: PathBuf,
    /// Below `/dev`, without `..`.
    pub(crate) container: PathBuf,
    pub(crate) access: Access,
}

/// What the container may do with a device besides making its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Access {
    pub(crate) const ALL: Self = Self { read: true, write: true };
}

/// Why a device is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidDevice {
    #[error(
        "--device {0:?} is not HOST[:CONTAINER][:PERMISSIONS], with absolute paths and r, w, m"
    )]
    Form(String),
    #[error("--device {0:?}: a device has its place below the container's /dev")]
    Place(String),
}

/// Reads one. Without permissions all are given.
pub(crate) fn parse(text: &str) -> Result<DeviceFlag, InvalidDevice> {
    let form = || InvalidDevice::Form(text.to_owned());
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, access) = match parts[..] {
        [host] => (host, host, Access::ALL),
        [host, second] => match access(second) {
            Some(access) => (host, host, access),
            None => (host, second, Access::ALL),
        },
        [host, container, letters] => (host, container, access(letters).ok_or_else(form)?),
        _ => return Err(form()),
    };
    if !host.starts_with('/') || !container.starts_with('/') {
        return Err(form());
    }
    let place = || InvalidDevice::Place(text.to_owned());
    let container = target(container).map_err(|_| place())?;
    if !container.starts_with("/dev") {
        return Err(place());
    }
    Ok(DeviceFlag { host: host.into(), container, access })
}

fn access(letters: &str) -> Option<Access> {
    let known = !letters.is_empty() && letters.chars().all(|c| matches!(c, 'r' | 'w' | 'm'));
    known.then(|| Access { read: letters.contains('r'), write: letters.contains('w') })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn devices_are_read() {
        let plain = parse("/dev/fuse").unwrap();
        assert_eq!((&*plain.container, plain.access), (Path::new("/dev/fuse"), Access::ALL));
        let read = parse("/dev/fuse:r").unwrap();
        assert_eq!(read.access, Access { read: true, write: false });
        let both = parse("/dev/sda:/dev//x/./y:rm").unwrap();
        assert_eq!((&*both.container, both.access.write), (Path::new("/dev/x/y"), false));
        for wrong in [
            "",
            "fuse",
            "/dev/fuse:x",
            "/dev/fuse:/x",
            "/dev/a:/dev/b:x",
            "/a:/dev/b:",
            "/a:/dev/../b",
            "/dev/a:/dev",
            "/a:/dev/b:r:w",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[/a.dev:rwm]{0,30}") {
            if let Ok(device) = parse(&text) {
                prop_assert!(device.container.starts_with("/dev") && device.container != Path::new("/dev"));
            }
        }
    }
}
