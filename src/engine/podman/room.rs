//! Whether there is room for what Podman is to pull. Podman itself begins, and finds out.
//!
//! Where all of it has room, whatever is there already, nobody is asked more than that. Only where it has
//! not, it counts what is missing: what an image has in common, from the bottom up, with one that was
//! looked at, those that labelled containers run above all, Podman neither fetches nor unpacks. What only others
//! have in common with it counts as missing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::stream::{self, StreamExt as _};

use super::document::Info;
use super::stage::{CALLS_AT_ONCE, Wanted};
use super::{Podman, words};
use crate::model::min_free::refusal;
use crate::model::{Digest, Failure, FailureKind, Reference};
use crate::store;
use crate::store::pull::{Layer, Offer, Remote};

/// The room on the disk of Podman's storage.
struct Room {
    place: PathBuf,
    free: u64,
    /// So much of it is to stay.
    reserve: u64,
    /// What is there, or will be, as chain IDs: a layer, and all below it.
    chains: BTreeSet<Digest>,
}

impl Podman {
    /// Those that there is room for; who waits for another one is told. One of which it cannot be said
    /// how large it is has room: its pull says what is wrong.
    pub(super) async fn with_room(&self, remote: &impl Remote, wanted: Vec<Wanted>) -> Vec<Wanted> {
        if wanted.is_empty() || self.options.min_free.is_off() {
            return wanted;
        }
        let mut room = match self.room().await {
            Ok(room) => room,
            Err(cause) => {
                tracing::debug!(%cause, "how much room Podman has is not known, ignoring");
                return wanted;
            }
        };
        let read = wanted.iter().map(|wanted| Offer::read(remote, &wanted.source, &wanted.image));
        let offers: Vec<_> = stream::iter(read).buffered(CALLS_AT_ONCE).collect().await;
        let all = offers.iter().flatten().map(Offer::most).fold(0, u64::saturating_add);
        if room.left(all).is_some() {
            return wanted;
        }
        let read = offers.into_iter().map(async |offer| offer?.layers(remote).await);
        let sizes: Vec<_> = stream::iter(read).buffered(CALLS_AT_ONCE).collect().await;
        wanted
            .into_iter()
            .zip(sizes)
            .filter_map(|(wanted, size)| room.admit(wanted, size))
            .collect()
    }

    async fn room(&self) -> Result<Room, Failure> {
        let place = self.graph_root.get_or_try_init(|| self.ask_graph_root()).await?.clone();
        let unknown = |cause: rustix::io::Errno| {
            let message = format!("cannot look at the disk of {}: {cause}", place.display());
            Failure::new(FailureKind::of_io(&cause.into()), message)
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
        let told = match self.get("/info").await {
            Ok(Some(told)) => told.to_vec(),
            _ => self.act(words(["info", "--format=json"]), self.options.timeout).await?,
        };
        let info: Info = serde_json::from_slice(&told).map_err(|error| {
            Failure::new(
                FailureKind::Local,
                format!("what podman info says cannot be read: {error}"),
            )
        })?;
        Ok(info.store.graph_root)
    }
}

/// The chain IDs of a stack of layers, as the image-spec makes them (`config.md`, "Layer ChainID").
fn chains<'a>(diff_ids: impl IntoIterator<Item = &'a Digest>) -> impl Iterator<Item = Digest> {
    diff_ids.into_iter().scan(None, |below: &mut Option<Digest>, layer| {
        *below = Some(match below {
            None => layer.clone(),
            Some(below) => Digest::of(format!("{below} {layer}").as_bytes()),
        });
        below.clone()
    })
}

impl Room {
    /// What is free beside so much more; `None` where that is less than what is to stay.
    fn left(&self, needed: u64) -> Option<u64> {
        self.free.checked_sub(needed).filter(|left| *left >= self.reserve)
    }

    /// Lets an image in, or tells who waits for it that there is no room.
    fn admit(
        &mut self,
        wanted: Wanted,
        layers: Result<Vec<Layer>, store::Error>,
    ) -> Option<Wanted> {
        match layers.map(|layers| self.take(&wanted.source.reference, &layers)) {
            Ok(Ok(())) => Some(wanted),
            Ok(Err(full)) => {
                wanted.end(Err(full));
                None
            }
            Err(cause) => {
                tracing::debug!(%cause, "how large an image is, is not known, ignoring");
                Some(wanted)
            }
        }
    }

    /// Takes the room that an image needs: blobs, which Podman puts down before it unpacks them, and
    /// files.
    fn take(&mut self, image: &Reference, layers: &[Layer]) -> Result<(), Failure> {
        let all: Vec<Digest> = chains(layers.iter().map(|layer| &layer.diff_id)).collect();
        let missing = all.iter().zip(layers).filter(|(chain, _)| !self.chains.contains(chain));
        let needed = missing.map(|(_, layer)| layer.room).fold(0, u64::saturating_add);
        // What needs nothing takes nothing from anybody.
        let Some(left) = self.left(needed).or((needed == 0).then_some(self.free)) else {
            let message = format!(
                "{image} does not fit on the disk of {}: {}",
                self.place.display(),
                refusal(needed, self.free, self.reserve)
            );
            return Err(Failure::new(FailureKind::StorageFull, message));
        };
        self.free = left;
        self.chains.extend(all);
        Ok(())
    }
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
