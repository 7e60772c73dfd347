//! Credentials that are gone after the next boot: in files on a tmpfs, for registries that no lasting
//! file has any for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::plan::doctor::Volatile;
use crate::registry::Options;

/// statfs(2)
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// containers-auth.json(5), as far as it says for whom.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: std::collections::BTreeMap<String, serde_json::Value>,
    cred_helpers: std::collections::BTreeMap<String, serde_json::Value>,
}

/// In the files that are searched for credentials.
pub(super) fn volatile() -> Vec<Volatile> {
    let files = Options::default().paths.authfiles;
    let is_volatile = |file: &Path| {
        let near = file.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        rustix::fs::statfs(near).is_ok_and(|found| found.f_type == TMPFS)
    };
    of(&files, is_volatile, |file| std::fs::read_to_string(file).ok())
}

fn of(
    files: &[PathBuf],
    is_volatile: impl Fn(&Path) -> bool,
    read: impl Fn(&Path) -> Option<String>,
) -> Vec<Volatile> {
    let registries = |file: &PathBuf| -> BTreeSet<String> {
        // What is no such file is told of by those who need it.
        let parsed: Option<AuthFile> = read(file).and_then(|text| serde_json::from_str(&text).ok());
        let AuthFile { auths, cred_helpers } = parsed.unwrap_or_default();
        auths.into_keys().chain(cred_helpers.into_keys()).collect()
    };
    let (gone, stay): (Vec<&PathBuf>, Vec<&PathBuf>) =
        files.iter().partition(|file| is_volatile(file));
    let lasting: BTreeSet<String> = stay.iter().flat_map(|file| registries(file)).collect();
    let Some(place) = stay.first() else { return vec![] };
    let volatile = gone.into_iter().filter_map(|file| {
        let registries: Vec<String> = registries(file).difference(&lasting).cloned().collect();
        (!registries.is_empty()).then(|| Volatile {
            file: file.clone(),
            registries,
            lasting: (*place).clone(),
            is_there: read(place).is_some(),
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
        let read = |path: &Path| match path.to_str()? {
            "/run/containers/0/auth.json" => {
                Some(r#"{"auths": {"quay.io": {"auth": "x"}, "ghcr.io": {}}}"#.to_owned())
            }
            _ => Some(r#"{"auths": {"ghcr.io": {}}}"#.to_owned()),
        };
        let on_run = |path: &Path| path.starts_with("/run");
        let found = of(&files, on_run, read);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (only.registries.as_slice(), only.is_there),
            (&["quay.io".to_owned()][..], true)
        );
        assert_eq!(only.lasting, files[1]);
        assert_eq!(of(&files, |_| false, read), []);
        assert_eq!(of(&files, on_run, |_| Some("no JSON".into())), []);
    }
}
