//! Whether there is room for what Podman is to pull. Podman itself begins, and finds out.
//!
//! What is already there is told by the layers of the images that were looked at, those that labelled
//! containers run above all: what an image has in common with one of them from the bottom up, Podman
//! neither fetches nor unpacks. What only others have in common with it counts as missing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::future;

use super::stage::Wanted;
use super::{Podman, words};
use crate::model::min_free::mebibytes;
use crate::model::{Digest, Failure, FailureKind, Reference};
use crate::store::pull::{Layer, Remote, layers};

/// The room on the disk of Podman's storage.
struct Room {
    place: PathBuf,
    free: u64,
    /// So much of it is to stay.
    reserve: u64,
    /// What is there, or will be: diff IDs from the bottom up.
    chains: BTreeSet<Vec<Digest>>,
}

impl Podman {
    /// Those that there is room for; who waits for another one is told. One of which it cannot be said
    /// how large it is has room: its pull says what is wrong.
    pub(super) async fn with_room(&self, remote: &impl Remote, wanted: Vec<Wanted>) -> Vec<Wanted> {
        if wanted.is_empty() {
            return wanted;
        }
        let mut room = match self.room().await {
            Ok(room) => room,
            Err(cause) => {
                tracing::debug!(%cause, "how much room Podman has is not known, ignoring");
                return wanted;
            }
        };
        let sizes = wanted.iter().map(|wanted| {
            let (target, platform) = (wanted.image.target.clone(), &wanted.image.platform);
            layers(remote, &wanted.source, target, platform)
        });
        let sizes = future::join_all(sizes).await;
        let mut fitting = Vec::new();
        for (wanted, size) in wanted.into_iter().zip(sizes) {
            match size.map(|layers| room.take(&wanted.source.reference, &layers)) {
                Ok(Err(full)) => wanted.end(Err(full)),
                Ok(Ok(())) => fitting.push(wanted),
                Err(cause) => {
                    tracing::debug!(%cause, "how large an image is, is not known, ignoring");
                    fitting.push(wanted);
                }
            }
        }
        fitting
    }

    async fn room(&self) -> Result<Room, Failure> {
        let place = self.graph_root.get_or_try_init(|| self.ask_graph_root()).await?.clone();
        let unknown = |cause: rustix::io::Errno| {
            let message = format!("cannot look at the disk of {}: {cause}", place.display());
            Failure::new(FailureKind::Local, message)
        };
        let seen = rustix::fs::statvfs(&place).map_err(unknown)?;
        let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
        let images = self.images.borrow();
        Ok(Room {
            free: bytes(seen.f_bavail),
            reserve: self.options.min_free.of(bytes(seen.f_blocks)),
            chains: images.values().flat_map(|image| chains(&image.layers)).collect(),
            place,
        })
    }

    async fn ask_graph_root(&self) -> Result<PathBuf, Failure> {
        let arguments = words(["info", "--format={{.Store.GraphRoot}}"]);
        let said = self.act(arguments, self.options.timeout).await?;
        Ok(Path::new(String::from_utf8_lossy(&said).trim()).to_owned())
    }
}

/// All beginnings of a stack of layers.
fn chains(layers: &[Digest]) -> impl Iterator<Item = Vec<Digest>> {
    (1..=layers.len()).map(|height| layers.iter().take(height).cloned().collect())
}

impl Room {
    /// Takes the room that an image needs: blobs, which Podman puts down before it unpacks them, and
    /// files.
    fn take(&mut self, image: &Reference, layers: &[Layer]) -> Result<(), Failure> {
        let ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let missing = chains(&ids).zip(layers).filter(|(chain, _)| !self.chains.contains(chain));
        let needed = missing.fold(0u64, |sum, (_, layer)| {
            sum.saturating_add(layer.compressed).saturating_add(layer.unpacked)
        });
        let left = self.free.checked_sub(needed).filter(|left| *left >= self.reserve);
        // What needs nothing takes nothing from anybody.
        let Some(left) = left.or((needed == 0).then_some(self.free)) else {
            let message = format!(
                "{image} does not fit on the disk of {}: the disk is full: about {} are needed, {} are \
                 free, and {} are to stay free (min_free): make room, or lower min_free",
                self.place.display(),
                mebibytes(needed),
                mebibytes(self.free),
                mebibytes(self.reserve)
            );
            return Err(Failure::new(FailureKind::StorageFull, message));
        };
        self.free = left;
        self.chains.extend(chains(&ids));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(seed: &str, compressed: u64) -> Layer {
        let diff_id = Digest::of(seed.as_bytes());
        Layer { diff_id, compressed: compressed << 20, unpacked: (compressed * 3) << 20 }
    }

    fn room(free: u64, there: &[&str]) -> Room {
        let there: Vec<Digest> = there.iter().map(|seed| Digest::of(seed.as_bytes())).collect();
        let chains = chains(&there).collect();
        Room { place: "/graph".into(), free: free << 20, reserve: 10 << 20, chains }
    }

    #[test]
    fn what_is_there_needs_no_room() {
        let image: Reference = "quay.io/app:1".parse().unwrap();
        let (base, own) = (layer("base", 100), layer("own", 5));
        let both = [base.clone(), own.clone()];
        let full = room(429, &[]).take(&image, &both).unwrap_err();
        assert_eq!(full.kind, FailureKind::StorageFull);
        for told in ["quay.io/app:1", "/graph", "420 MiB are needed", "429 MiB are", "10 MiB are"] {
            assert!(full.message.contains(told), "{full}");
        }
        assert!(room(430, &[]).take(&image, &both).is_ok());
        assert!(room(30, &["base", "other"]).take(&image, &both).is_ok());
        assert!(room(29, &["base"]).take(&image, &both).is_err());
        // A layer over another one has to be unpacked anew.
        assert!(room(429, &["other", "base"]).take(&image, &both).is_err());
        assert!(room(1, &["base", "own"]).take(&image, &both).is_ok(), "nothing is pulled");
    }

    #[test]
    fn several_share_the_room_and_what_they_have_in_common() {
        let image: Reference = "quay.io/app:1".parse().unwrap();
        let mut room = room(460, &[]);
        let of = |own: &str| [layer("base", 100), layer(own, 10)];
        room.take(&image, &of("one")).unwrap();
        assert!(room.take(&image, &of("two")).is_err(), "{}", room.free >> 20);
        assert!(room.take(&image, &of("one")).is_ok());
    }
}
