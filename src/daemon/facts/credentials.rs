//! Credentials that are gone after the next boot: in files on a tmpfs, for registries that no lasting
//! file has any for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::plan::doctor::Volatile;
use crate::registry::{Options, login};

/// statfs(2)
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// In the files that are searched for credentials.
pub(super) fn volatile() -> Vec<Volatile> {
    let files = Options::default().paths.authfiles;
    let is_volatile = |file: &Path| {
        let near = file.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        rustix::fs::statfs(near).is_ok_and(|found| found.f_type == TMPFS)
    };
    of(&files, is_volatile, login::registries)
}

fn of(
    files: &[PathBuf],
    is_volatile: impl Fn(&Path) -> bool,
    registries: impl Fn(&Path) -> Option<BTreeSet<String>>,
) -> Vec<Volatile> {
    // What is no such file is told of by those who need it.
    let of_file = |file: &PathBuf| registries(file).unwrap_or_default();
    let (gone, stay): (Vec<&PathBuf>, Vec<&PathBuf>) =
        files.iter().partition(|file| is_volatile(file));
    let lasting: BTreeSet<String> = stay.iter().flat_map(|file| of_file(file)).collect();
    let Some(place) = stay.first() else { return vec![] };
    let volatile = gone.into_iter().filter_map(|file| {
        let lost: Vec<String> = of_file(file).difference(&lasting).cloned().collect();
        (!lost.is_empty()).then(|| Volatile {
            file: file.clone(),
            registries: lost,
            lasting: (*place).clone(),
            is_there: registries(place).is_some(),
        })
    });
    volatile.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_elsewhere_is_no_loss() {
        let files = ["/run/containers/0/auth.json", "/root/auth.json"].map(PathBuf::from);
        let set = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let registries = |path: &Path| match path.to_str()? {
            "/run/containers/0/auth.json" => set(&["quay.io", "ghcr.io"]),
            _ => set(&["ghcr.io"]),
        };
        let on_run = |path: &Path| path.starts_with("/run");
        let found = of(&files, on_run, registries);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (only.registries.as_slice(), only.is_there),
            (&["quay.io".to_owned()][..], true)
        );
        assert_eq!(only.lasting, files[1]);
        assert_eq!(of(&files, |_| false, registries), []);
        assert_eq!(of(&files, on_run, |_| None), []);
    }
}
