//! The devices of the host that a container is given by name (`--device`).

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

use crate::launch::isolation::devices::Device;
use crate::launch::storage::flags::device::{Access, DeviceFlag};
use crate::launch::storage::volume::Volume;

/// How deep a directory of devices may be.
const MAX_DEPTH: usize = 16;

/// A device as the container has it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    path: PathBuf,
    access: Access,
    /// Of the host.
    source: PathBuf,
    host: Metadata,
}

/// Why a device is not given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--device {path}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("--device {path} is no device, and no directory with devices", path = .0.display())]
    None(PathBuf),
    #[error(
        "--device {}: an ordinary user cannot keep a container to some permissions: leave them out",
        .0.display()
    )]
    Restricted(PathBuf),
    #[error(
        "--device {device} lies in the volume at {volume}: it would be made on the host", device = device.display(),
        volume = volume.display()
    )]
    InVolume { device: PathBuf, volume: PathBuf },
}

/// The devices that `flags` name now; of a directory, all below it.
pub(crate) fn find(flags: &[DeviceFlag]) -> Result<Vec<Node>, Error> {
    let mut nodes: Vec<Node> = Vec::new();
    for flag in flags {
        let before = nodes.len();
        add(&mut nodes, &flag.host, &flag.container, flag.access, 0)
            .map_err(|source| Error::Io { path: flag.host.clone(), source })?;
        if nodes.len() == before {
            return Err(Error::None(flag.host.clone()));
        }
    }
    // Of one place, what was said last.
    let mut seen = std::collections::BTreeSet::new();
    nodes.reverse();
    nodes.retain(|node| seen.insert(node.path.clone()));
    nodes.reverse();
    Ok(nodes)
}

fn add(
    nodes: &mut Vec<Node>,
    host: &Path,
    path: &Path,
    access: Access,
    depth: usize,
) -> std::io::Result<()> {
    let metadata = std::fs::metadata(host)?;
    let kind = metadata.file_type();
    if kind.is_block_device() || kind.is_char_device() {
        let source = host.to_owned();
        nodes.push(Node { path: path.to_owned(), access, source, host: metadata });
    } else if kind.is_dir() && depth < MAX_DEPTH {
        for entry in std::fs::read_dir(host)? {
            let entry = entry?;
            // A link is another name of what is there, or leads elsewhere.
            if !entry.file_type()?.is_symlink() {
                add(nodes, &entry.path(), &path.join(entry.file_name()), access, depth + 1)?;
            }
        }
    }
    Ok(())
}

/// Refuses devices in volumes: the runtime makes nodes when volumes are mounted, on the host then.
/// `volumes` are at their places.
pub(crate) fn refuse_in_volumes(nodes: &[Node], volumes: &[Volume]) -> Result<(), Error> {
    for node in nodes {
        if let Some(volume) = volumes.iter().find(|volume| node.path.starts_with(&volume.target)) {
            let (device, volume) = (node.path.clone(), volume.target.clone());
            return Err(Error::InVolume { device, volume });
        }
    }
    Ok(())
}

impl Node {
    /// As the runtime makes it: with owner and mode of the host's.
    pub(crate) fn to_spec(&self) -> Result<LinuxDevice, OciSpecError> {
        let block = self.host.file_type().is_block_device();
        LinuxDeviceBuilder::default()
            .path(&self.path)
            .typ(if block { LinuxDeviceType::B } else { LinuxDeviceType::C })
            .major(i64::from(libc::major(self.host.rdev())))
            .minor(i64::from(libc::minor(self.host.rdev())))
            .file_mode(self.host.mode() & 0o777)
            .uid(self.host.uid())
            .gid(self.host.gid())
            .build()
    }

    /// The host's own node, for those who may make none.
    pub(crate) fn to_volume(&self) -> Result<Volume, Error> {
        if self.is_restricted() {
            return Err(Error::Restricted(self.source.clone()));
        }
        let words = ["noexec", "dev"].map(str::to_owned);
        Ok(Volume::bound(self.source.clone(), self.path.clone(), &words))
    }

    /// What the container may do with it.
    pub(crate) fn rule(&self) -> Option<Device> {
        Device::of(&self.host, self.access.read, self.access.write)
    }

    /// Whether the container may do less with it than its mode says.
    pub(crate) fn is_restricted(&self) -> bool {
        self.access != Access::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::storage::flags::device::parse;

    fn find_all(texts: &[&str]) -> Result<Vec<Node>, Error> {
        find(&texts.iter().map(|text| parse(text).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn devices_of_the_host_are_found() {
        let nodes =
            find_all(&["/dev/null:/dev/x/none:r", "/dev/zero", "/dev/full:/dev/zero"]).unwrap();
        let paths: Vec<_> = nodes.iter().map(|node| node.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/dev/x/none", "/dev/zero"]);
        assert!(nodes[0].is_restricted() && !nodes[1].is_restricted());
        let spec = nodes[1].to_spec().unwrap();
        assert_eq!((spec.major(), spec.minor(), spec.file_mode()), (1, 7, Some(0o666)));
        assert!(matches!(find_all(&["/dev/not-there"]), Err(Error::Io { .. })));
        let empty = tempfile::tempdir().unwrap();
        let flag = format!("{}:/dev/x", empty.path().display());
        assert!(matches!(find_all(&[&flag]), Err(Error::None(_))));
    }

    #[test]
    fn no_device_is_made_in_a_volume() {
        let nodes = find_all(&["/dev/null:/dev/x/none"]).unwrap();
        let at = |target: &str| [Volume::bound("/a".into(), target.into(), &[])];
        assert!(refuse_in_volumes(&nodes, &at("/dev/x")).is_err());
        assert!(refuse_in_volumes(&nodes, &at("/dev/xy")).is_ok());
    }
}
