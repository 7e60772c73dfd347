//! `--tz`: the file that is a container's `/etc/localtime` (localtime(5)).

use std::path::{Component, Path, PathBuf};

/// A zone that is none, or not on this host.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidZone {
    #[error("--tz {0:?} is neither \"local\" nor the name of a zone, such as Europe/Berlin")]
    Form(String),
    #[error("--tz {zone}: no such zone in {directory} on this host", directory = directory.display())]
    Unknown { zone: String, directory: PathBuf },
}

/// The file of a zone below `directory`, such as /usr/share/zoneinfo, or the host's own.
pub(crate) fn file(zone: &str, directory: &Path) -> Result<PathBuf, InvalidZone> {
    if zone == "local" {
        return Ok("/etc/localtime".into());
    }
    let is_name = |part| matches!(part, Component::Normal(_));
    if zone.is_empty() || zone.contains('\0') || !Path::new(zone).components().all(is_name) {
        return Err(InvalidZone::Form(zone.chars().take(80).collect()));
    }
    let file = directory.join(zone);
    match file.is_file() {
        true => Ok(file),
        false => Err(InvalidZone::Unknown { zone: zone.to_owned(), directory: directory.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zones_are_files() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("Europe")).unwrap();
        std::fs::write(directory.path().join("Europe/Berlin"), "TZif").unwrap();
        let found = |zone: &str| file(zone, &directory.path().join(""));
        assert!(found("Europe/Berlin").is_ok());
        assert_eq!(found("local").unwrap(), Path::new("/etc/localtime"));
        assert!(matches!(found("Europe"), Err(InvalidZone::Unknown { .. })));
        for zone in ["", "../Europe/Berlin", "/etc/passwd", "Europe/../Europe/Berlin", "a\0b"] {
            assert!(matches!(found(zone), Err(InvalidZone::Form(_))), "{zone}");
        }
    }
}
