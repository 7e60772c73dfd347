//! What of Podman's images may go, and its removal: by ID, which Podman refuses where a container is made
//! from the image or somebody has two names for it.

use std::collections::BTreeMap;

use super::document::Listed;
use super::told::Told;
use super::{Podman, names, words};
use crate::model::{Digest, EngineKind, Failure, ImageIdentity, Reference};
use crate::store::Pulled;
use crate::update::port::{self, Cleared, Clearing, Part, Pin, Shelf, Stock, Stored};

impl Podman {
    /// Notes that an image is wanted: where it is not there, it will be ours.
    pub(super) fn note_wanted(
        &self,
        reference: &Reference,
        image: &ImageIdentity,
        is_there: bool,
    ) -> Result<(), Failure> {
        Ok(self.notes.note_wanted(EngineKind::Podman, reference, image, is_there)?)
    }

    /// Everything in storage; what was noted and is not there is forgotten. Podman is not asked where we
    /// pulled nothing, and no name was looked at.
    pub(super) async fn take_inventory_of_images(&self) -> Result<Stock, Failure> {
        if self.notes.pulled(EngineKind::Podman)?.is_empty() && !self.has_looked_at_names() {
            return Ok(Stock::default());
        }
        let Told { documents: listed, problems } = self.list_images().await?;
        self.learn_ids(&listed, problems.is_empty()).await?;
        let noted = self.notes.pulled(EngineKind::Podman)?;
        let by_id: BTreeMap<Digest, Pulled> =
            noted.into_iter().filter_map(|pulled| Some((pulled.id.clone()?, pulled))).collect();
        let images = listed.iter().filter_map(|listed| stored(listed, &by_id));
        Ok(Stock { images: images.collect(), shelves: shelves(&listed), leftovers: false })
    }

    /// Which images they are that were noted before Podman had given them an ID.
    async fn learn_ids(&self, listed: &[Listed], are_all: bool) -> Result<(), Failure> {
        let noted = self.notes.pulled(EngineKind::Podman)?;
        let new = noted.iter().filter(|pulled| pulled.id.is_none());
        let names: Vec<String> =
            new.map(|pulled| pulled.reference.pinned(&pulled.target).to_string()).collect();
        let found = self.facts(&names).await?;
        let is_listed =
            |id: &Digest| listed.iter().any(|listed| digest(&listed.id).as_ref() == Some(id));
        Ok(self.notes.note_pulled(EngineKind::Podman, |pulled| {
            if pulled.id.is_none() {
                let by = |digest: &Digest| found.iter().find(|facts| facts.knows(digest));
                let known = by(&pulled.manifest).or_else(|| by(&pulled.target));
                pulled.id = known.and_then(|facts| digest(&facts.id));
            }
            !are_all || pulled.id.as_ref().is_some_and(is_listed)
        })?)
    }

    pub(super) async fn carry_out(&self, clearing: &Clearing) -> Result<Cleared, Failure> {
        if clearing.is_weighed {
            self.notes.note_needed(EngineKind::Podman, clearing.needed)?;
        }
        let mut cleared = Cleared::default();
        for pin in &clearing.unpin {
            cleared.failures.extend(self.untag(pin).await.err());
        }
        let ids: Vec<String> = clearing.remove.iter().map(|image| image.id.hex()).collect();
        if ids.is_empty() {
            return Ok(cleared);
        }
        let mut stuck = BTreeMap::new();
        // Podman goes on to the next where it refuses one; which those were is asked of each.
        if self.remove(&ids).await.is_err() {
            for id in ids {
                if let Err(failure) = self.remove(std::slice::from_ref(&id)).await
                    && !self.facts(std::slice::from_ref(&id)).await?.is_empty()
                {
                    stuck.extend(digest(&id).map(|id| (id, failure)));
                }
            }
        }
        let all = clearing.remove.iter().map(|image| image.id.clone());
        cleared.removed = all.filter(|id| !stuck.contains_key(id)).collect();
        let mut images = self.images.borrow_mut();
        images.retain(|id, _| digest(id).is_none_or(|id| !cleared.removed.contains(&id)));
        drop(images);
        self.notes.note_pulled(EngineKind::Podman, |pulled| {
            let Some(id) = &pulled.id else { return true };
            if let Some(failure) = stuck.get(id)
                && !std::mem::replace(&mut pulled.stuck, true)
            {
                // What was said is not said again.
                cleared.failures.push(failure.clone());
            }
            !cleared.removed.contains(id)
        })?;
        Ok(cleared)
    }

    async fn remove(&self, ids: &[String]) -> Result<(), Failure> {
        let mut arguments = words(["image", "rm"]);
        arguments.extend(ids.iter().map(Into::into));
        self.act(arguments, self.options.timeout).await.map(drop)
    }
}

fn digest(id: &str) -> Option<Digest> {
    format!("sha256:{id}").parse().ok()
}

fn stored(listed: &Listed, noted: &BTreeMap<Digest, Pulled>) -> Option<Stored> {
    let id = digest(&listed.id)?;
    let named = listed.repo_digests.iter().filter_map(|name| name.rsplit_once('@')?.1.parse().ok());
    let pulled = noted.get(&id);
    let known = pulled.map(|pulled| [pulled.target.clone(), pulled.manifest.clone()]);
    let digests = listed.digest.parse().into_iter().chain(named).chain(known.into_iter().flatten());
    // By a digest it is named for as long as it is there.
    let others = |name: &&String| !name.contains('@') && names::place(name).is_none();
    Some(Stored {
        digests: digests.collect(),
        held: listed.containers > 0 || listed.names.iter().any(|name| others(&name)),
        pulled: pulled.map(|pulled| port::Pulled {
            reference: pulled.reference.clone(),
            manifest: pulled.manifest.clone(),
            wanted: pulled.wanted,
        }),
        parts: vec![Part { id: id.clone(), size: listed.size }],
        id,
    })
}

/// What our own names keep, by their repositories.
fn shelves(listed: &[Listed]) -> Vec<Shelf> {
    let mut shelves: BTreeMap<&str, Vec<(u64, Pin)>> = BTreeMap::new();
    for listed in listed {
        for name in &listed.names {
            let (Some((shelf, number)), Some(image)) = (names::place(name), digest(&listed.id))
            else {
                continue;
            };
            shelves.entry(shelf).or_default().push((number, Pin { name: name.clone(), image }));
        }
    }
    let sorted = |mut pins: Vec<(u64, Pin)>| {
        pins.sort_by(|(a, a_pin), (b, b_pin)| (b, &b_pin.name).cmp(&(a, &a_pin.name)));
        Shelf(pins.into_iter().map(|(_, pin)| pin).collect())
    };
    shelves.into_values().map(sorted).collect()
}
