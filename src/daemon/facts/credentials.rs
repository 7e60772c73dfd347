//! Credentials that are gone after the next boot: in files on a tmpfs, for registries that no lasting
//! file has any for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::daemon::api::UnitStatus;
use crate::model::Policy;
use crate::plan::doctor::{Reader, Volatile};
use crate::registry::{Options, login};

/// statfs(2)
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// In the files that are searched for credentials, and in those that are named: by the service's
/// environment, by ours, and for containers.
pub(super) fn volatile(of_service: Option<PathBuf>, containers: &[UnitStatus]) -> Vec<Volatile> {
    let paths = Options::default().paths;
    let is_volatile = |file: &Path| {
        let near = file.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        rustix::fs::statfs(near).is_ok_and(|found| found.f_type == TMPFS)
    };
    let ours = paths.authfile.filter(|own| of_service.as_ref() != Some(own));
    let named = of_service
        .map(|file| (file, Reader::Service))
        .into_iter()
        .chain(ours.map(|file| (file, Reader::Caller)))
        .chain(of_containers(containers))
        .collect();
    of(&paths.authfiles, named, is_volatile)
}

/// The files that labels and flags name for images that are checked at a registry.
fn of_containers(containers: &[UnitStatus]) -> Vec<(PathBuf, Reader)> {
    let mut units: BTreeMap<&Path, BTreeSet<String>> = BTreeMap::new();
    for status in containers {
        let running = status.running.as_ref();
        let running = running.filter(|running| running.policy == Policy::Registry.to_string());
        let file = running.and_then(|running| running.authfile.as_deref());
        if let (Some(file), Some(unit)) = (file, &status.unit) {
            units.entry(file).or_default().insert(unit.to_string());
        }
    }
    let named = units.into_iter();
    named.map(|(file, of)| (file.to_owned(), Reader::Units(of.into_iter().collect()))).collect()
}

fn of(
    searched: &[PathBuf],
    named: Vec<(PathBuf, Reader)>,
    is_volatile: impl Fn(&Path) -> bool,
) -> Vec<Volatile> {
    // What is no such file is told of by those who need it.
    let registries = |file: &Path| login::registries(file).unwrap_or_default();
    let (gone, stay): (Vec<&PathBuf>, Vec<&PathBuf>) =
        searched.iter().partition(|file| is_volatile(file));
    let Some(place) = stay.first() else { return vec![] };
    let elsewhere: BTreeSet<String> = stay.iter().flat_map(|file| registries(file)).collect();
    let searched = gone.into_iter().map(|file| {
        let lost = registries(file).difference(&elsewhere).cloned().collect();
        (file.clone(), Reader::Everybody, lost, (*place).clone())
    });
    // One that is named is the only one that is read.
    let named = named.into_iter().filter(|(file, _)| is_volatile(file)).map(|(file, reader)| {
        let lost = registries(&file).into_iter().collect();
        let lasting = file.file_name().map_or((*place).clone(), |name| place.with_file_name(name));
        (file, reader, lost, lasting)
    });
    let all =
        searched.chain(named).filter(|(_, _, lost, _): &(_, _, Vec<String>, _)| !lost.is_empty());
    let volatile = |(file, reader, registries, lasting): (_, _, _, PathBuf)| {
        let is_there = lasting.exists();
        Volatile { file, reader, registries, lasting, is_there }
    };
    all.map(volatile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below `run`, which is volatile, and `home`.
    struct Disks(tempfile::TempDir);

    impl Disks {
        fn new(files: &[(&str, &str)]) -> Self {
            let disks = Self(tempfile::tempdir().unwrap());
            for (name, text) in files {
                let path = disks.path(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            disks
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn found(&self, named: Vec<(PathBuf, Reader)>) -> Vec<Volatile> {
            let searched = ["run/auth.json", "home/auth.json"].map(|name| self.path(name));
            of(&searched, named, |path| path.starts_with(self.path("run")))
        }
    }

    #[test]
    fn what_lasts_elsewhere_is_no_loss() {
        let both = r#"{"auths": {"quay.io": {"auth": "x"}, "ghcr.io": {}}}"#;
        let one = r#"{"auths": {"ghcr.io": {}}}"#;
        let disks = Disks::new(&[("run/auth.json", both), ("home/auth.json", one)]);
        let found = disks.found(vec![]);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert_eq!(only.registries, ["quay.io"]);
        assert_eq!((&only.lasting, only.is_there), (&disks.path("home/auth.json"), true));
        std::fs::write(disks.path("run/auth.json"), "no JSON").unwrap();
        assert_eq!(disks.found(vec![]), []);
        std::fs::write(disks.path("run/auth.json"), one).unwrap();
        assert_eq!(disks.found(vec![]), []);
    }

    #[test]
    fn what_is_named_is_read_alone() {
        let one = r#"{"credHelpers": {"GHCR.io": "x"}}"#;
        let files = [("run/app.json", one), ("home/auth.json", one), ("home/other.json", one)];
        let disks = Disks::new(&files);
        let named = |name: &str| (disks.path(name), Reader::Service);
        let found = disks.found(vec![named("run/app.json"), named("home/other.json")]);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&only.file, &only.reader), (&disks.path("run/app.json"), &Reader::Service));
        assert_eq!(only.registries, ["ghcr.io"]);
        assert_eq!((&only.lasting, only.is_there), (&disks.path("home/app.json"), false));
    }
}
