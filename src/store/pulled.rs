//! Which images updaterd pulled itself: only those does it ever remove.
//!
//! A pull is noted before its first byte, so that a crash leaves no image behind that nobody remembers;
//! what is noted and not in storage is forgotten by who looks at both.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::note::Note;
use super::{Error, Store};
use crate::model::{Digest, EngineKind, ImageIdentity, Reference};

/// Some ten thousand images. Nobody's updates wait for them: what is not known to be ours stays.
const PULLED: Note<Vec<Pulled>> =
    Note::new("pulled.json", 16 << 20, "the images that it named are removed by nobody but you");

/// An image that updaterd pulled, or began to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pulled {
    pub engine: EngineKind,
    /// What it was pulled for.
    pub reference: Reference,
    pub target: Digest,
    pub manifest: Digest,
    /// Its ID in the engine's storage, where that is known and not the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Digest>,
    /// When a pass wanted it last.
    pub wanted: Timestamp,
    /// That it could not be removed was said.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stuck: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Store {
    /// What updaterd pulled into the storage of `engine`.
    pub fn pulled(&self, engine: EngineKind) -> Result<Vec<Pulled>, Error> {
        let mut all = PULLED.read(self)?;
        all.retain(|pulled| pulled.engine == engine);
        Ok(all)
    }

    /// Notes that a pass wants an image, which is about to be pulled unless it `is_there`. Durable on
    /// return.
    pub fn note_wanted(
        &self,
        engine: EngineKind,
        reference: &Reference,
        image: &ImageIdentity,
        is_there: bool,
    ) -> Result<(), Error> {
        let wanted = Timestamp::now();
        PULLED.change(self, |all| {
            let is_it =
                |pulled: &&mut Pulled| pulled.engine == engine && pulled.manifest == image.manifest;
            match all.iter_mut().find(is_it) {
                Some(known) => {
                    known.wanted = wanted;
                    known.target = image.target.clone();
                }
                None if is_there => return false,
                None => all.push(Pulled {
                    engine,
                    reference: reference.clone(),
                    target: image.target.clone(),
                    manifest: image.manifest.clone(),
                    id: None,
                    wanted,
                    stuck: false,
                }),
            }
            true
        })
    }

    /// Changes what is noted of the storage of `engine`, where `change` says that it did: the rest is
    /// forgotten. Durable on return.
    pub fn note_pulled(
        &self,
        engine: EngineKind,
        mut change: impl FnMut(&mut Pulled) -> bool,
    ) -> Result<(), Error> {
        PULLED.change(self, |all| {
            let before = all.clone();
            all.retain_mut(|pulled| pulled.engine != engine || change(pulled));
            *all != before
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Platform;

    #[test]
    fn what_was_there_before_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let reference: Reference = "quay.io/app:1".parse().unwrap();
        let image = |seed: &str| {
            let digest = Digest::of(seed.as_bytes());
            ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
        };
        let (own, others) = (image("own"), image("others"));
        let want = |engine, image, is_there| {
            store.note_wanted(engine, &reference, image, is_there).unwrap();
        };
        want(EngineKind::Native, &others, true);
        want(EngineKind::Native, &own, false);
        want(EngineKind::Podman, &own, false);
        let first = store.pulled(EngineKind::Native).unwrap();
        assert_eq!(first.len(), 1);
        // It is there now, and ours as it was.
        want(EngineKind::Native, &own, true);
        let now = store.pulled(EngineKind::Native).unwrap();
        assert_eq!((now.len(), now[0].wanted >= first[0].wanted), (1, true));
        store.note_pulled(EngineKind::Native, |_| false).unwrap();
        assert_eq!(store.pulled(EngineKind::Native).unwrap(), []);
        assert_eq!(store.pulled(EngineKind::Podman).unwrap().len(), 1);
        // What it said is lost, and no more than that.
        std::fs::write(PULLED.path(&store), "[{").unwrap();
        assert_eq!(store.pulled(EngineKind::Podman).unwrap(), []);
        want(EngineKind::Native, &own, false);
        assert_eq!(store.pulled(EngineKind::Native).unwrap().len(), 1);
    }
}
