//! From what a command line, an image and other containers say to the volumes of a new container.
//! They are its own from then on, whatever happens to those.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::launch::Error;
use crate::launch::args::{ImageVolume, StorageFlags};
use crate::launch::isolation::resources::size::parse_bytes;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::lifecycle::{containers, name};
use crate::launch::place::Place;
use crate::launch::storage::flags::device::{self, DeviceFlag};
use crate::launch::storage::flags::secret::{self, SecretFlag};
use crate::launch::storage::flags::{mount, tmpfs, volume};
use crate::launch::storage::secrets::Secrets;
use crate::launch::storage::volume::{Options, Relabel, Source, Volume, refuse_twice, target};
use crate::launch::storage::volumes::Volumes;
use crate::launch::storage::{devices, stage};
use crate::model::Digest;
use crate::store::containers::VolumeUse;

/// What a command line asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) volumes: Vec<Volume>,
    pub(crate) devices: Vec<DeviceFlag>,
    pub(crate) secrets: Vec<SecretFlag>,
    /// Bytes; 0 is no limit.
    pub(crate) shm_size: Option<u64>,
    from: Vec<From>,
}

/// `--volumes-from CONTAINER[:OPTIONS]`.
#[derive(Debug)]
struct From {
    container: String,
    read_only: Option<bool>,
    relabel: Option<Relabel>,
}

impl Asked {
    /// # Errors
    /// All that can be wrong with the flags.
    pub(crate) fn read(flags: &StorageFlags) -> Result<Self, Error> {
        let mut volumes = Vec::new();
        for text in &flags.volume {
            volumes.push(volume::parse(text)?);
        }
        for text in &flags.mount {
            volumes.push(mount::parse(text)?);
        }
        for text in &flags.tmpfs {
            volumes.push(tmpfs::parse(text)?);
        }
        refuse_twice(&volumes)?;
        let shm_size = flags.shm_size.as_ref().map(|text| {
            parse_bytes(text).ok_or_else(|| Error::Size { flag: "--shm-size", text: text.clone() })
        });
        Ok(Self {
            volumes,
            devices: flags
                .device
                .iter()
                .map(|text| device::parse(text))
                .collect::<Result<_, _>>()?,
            secrets: flags
                .secret
                .iter()
                .map(|text| secret::parse(text))
                .collect::<Result<_, _>>()?,
            shm_size: shm_size.transpose()?,
            from: flags.volumes_from.iter().map(|text| from(text)).collect::<Result<_, _>>()?,
        })
    }

    /// Looks whether what is asked of the host is there.
    pub(crate) fn look(&self) -> Result<(), Error> {
        for path in self.volumes.iter().filter_map(Volume::bound_path) {
            std::fs::metadata(path).map_err(|error| Error::file("use the volume", path, error))?;
        }
        devices::find(&self.devices)?;
        Ok(())
    }
}

fn from(text: &str) -> Result<From, Error> {
    let (container, words) = text.split_once(':').unwrap_or((text, ""));
    let refused = || Error::VolumesFrom(text.to_owned());
    if container.is_empty() {
        return Err(refused());
    }
    let mut from = From { container: container.to_owned(), read_only: None, relabel: None };
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" | "rw" => from.read_only = Some(word == "ro"),
            "z" => from.relabel = Some(Relabel::Shared),
            _ => return Err(refused()),
        }
    }
    Ok(from)
}

/// The volumes of a new container: those asked for, then those of other containers, then the
/// image's; one place has one.
pub(crate) fn settle(
    place: &Place,
    flags: &StorageFlags,
    declared: &[String],
) -> Result<Vec<Volume>, Error> {
    let asked = Asked::read(flags)?;
    let secrets = Secrets::open(place);
    for flag in &asked.secrets {
        secrets.find(&flag.name)?;
    }
    let mut volumes: BTreeMap<PathBuf, Volume> = BTreeMap::new();
    for volume in of_image(declared, flags.image_volume) {
        volumes.insert(volume.target.clone(), volume);
    }
    for from in &asked.from {
        for volume in of_container(place, from)? {
            volumes.insert(volume.target.clone(), volume);
        }
    }
    for volume in asked.volumes {
        volumes.insert(volume.target.clone(), volume);
    }
    let mut volumes: Vec<Volume> = volumes.into_values().collect();
    for volume in &mut volumes {
        name_it(place, volume)?;
    }
    Ok(volumes)
}

/// What an image declares as its volumes. What is no place for one is left out: others start such
/// an image.
fn of_image(declared: &[String], how: ImageVolume) -> Vec<Volume> {
    let source = |how| match how {
        ImageVolume::Anonymous => {
            Source::Volume { name: String::new(), anonymous: true, subpath: None }
        }
        _ => Source::Tmpfs { data: Vec::new(), filled: true },
    };
    let targets = declared.iter().filter_map(|text| target(text).ok());
    let volume = |target| Volume {
        source: source(how),
        target,
        options: Options::new(&["rbind", "nosuid", "nodev"]),
    };
    targets.filter(|_| how != ImageVolume::Ignore).map(volume).collect()
}

fn of_container(place: &Place, from: &From) -> Result<Vec<Volume>, Error> {
    let record = containers::find(place, &from.container)?;
    let mut volumes = Definition::read(place, &record.id)?.volumes;
    for volume in &mut volumes {
        match from.read_only {
            Some(true) => volume.options.set("rro"),
            Some(false) => volume.options.set("rw"),
            None => {}
        }
        if from.relabel.is_some() && !matches!(volume.source, Source::Tmpfs { .. }) {
            volume.options.relabel = from.relabel;
        }
        // They go with the container that they were made for.
        if let Source::Volume { anonymous, .. } = &mut volume.source {
            *anonymous = false;
        }
    }
    Ok(volumes)
}

/// Gives an anonymous volume a name, and an image mount the image that its reference names now.
fn name_it(place: &Place, volume: &mut Volume) -> Result<(), Error> {
    match &mut volume.source {
        Source::Volume { name, anonymous: true, .. } if name.is_empty() => {
            let id = name::new_id();
            let id = id.ok_or_else(|| Error::system("make a name", std::io::ErrorKind::Other))?;
            id.as_str().clone_into(name);
        }
        Source::Image { reference, manifest, .. } => {
            let image = place.store()?.resolve(reference)?;
            let missing = || stage::Error::NoImage { image: reference.to_string() };
            *manifest = Some(image.ok_or_else(missing)?.identity.manifest);
        }
        _ => {}
    }
    Ok(())
}

/// The named volumes among them, for the container's record.
pub(crate) fn used(volumes: &[Volume]) -> Vec<VolumeUse> {
    let of = |volume: &Volume| match &volume.source {
        Source::Volume { name, anonymous, .. } => {
            Some(VolumeUse { name: name.clone(), anonymous: *anonymous })
        }
        _ => None,
    };
    volumes.iter().filter_map(of).collect()
}

/// The images that are mounted among them, for the container's record.
pub(crate) fn images(volumes: &[Volume]) -> Vec<Digest> {
    let of = |volume: &Volume| match &volume.source {
        Source::Image { manifest, .. } => manifest.clone(),
        _ => None,
    };
    volumes.iter().filter_map(of).collect()
}

/// Makes the named volumes that are not there yet.
pub(crate) fn make_volumes(place: &Place, uses: &[VolumeUse]) -> Result<(), Error> {
    let volumes = Volumes::open(place);
    for used in uses {
        volumes.ensure(&used.name, used.anonymous)?;
    }
    Ok(())
}

/// Whether something of the host lies around a path of the container.
pub(crate) fn is_hosts(volumes: &[Volume], path: &Path) -> bool {
    let around =
        |volume: &Volume| volume.bound_path().is_some() && path.starts_with(&volume.target);
    volumes.iter().any(around)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_volumes() {
        let declared = ["/data", "/tmp/", "data", "/", "/dev", "/data/x/../y"].map(str::to_owned);
        let targets = |how| {
            let volumes = of_image(&declared, how);
            volumes.iter().map(|volume| volume.target.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(targets(ImageVolume::Anonymous), ["/data", "/tmp"]);
        assert_eq!(targets(ImageVolume::Tmpfs), ["/data", "/tmp"]);
        assert!(targets(ImageVolume::Ignore).is_empty());
    }

    #[test]
    fn volumes_of_others() {
        let read = |text| from(text).map(|from| (from.container, from.read_only));
        assert_eq!(read("web").unwrap(), ("web".into(), None));
        assert_eq!(read("web:ro,z").unwrap(), ("web".into(), Some(true)));
        assert!(read(":ro").is_err() && read("web:wild").is_err());
    }
}
