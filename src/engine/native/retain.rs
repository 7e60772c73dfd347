//! What of the store may go, and its removal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::{Native, launcher};
use crate::model::{
    Digest, EngineKind, Failure, FailureKind, ImageIdentity, Reference, Scope, UnitName,
};
use crate::store::{Awaited, Error, Image, Pulled, Retirement, Store, Usage};
use crate::update::port::{self, Cleared, Clearing, Part, Pin, Shelf, Stock, Stored};

/// For so long, the whole layers of a pull that failed wait for another one.
const GIVEN_UP: SignedDuration = SignedDuration::from_hours(7 * 24);

impl<R> Native<R> {
    /// Has an image stay that is about to be staged, whoever prunes: until [`Native::let_go_of_staged`], or
    /// the end of this process. Until it is bound, nothing else says that it is needed.
    pub(super) fn hold_staged(&self, manifest: &Digest) -> Result<(), Error> {
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        if staged.is_none() {
            *staged = Some(self.store.holder()?);
        }
        staged.as_ref().map_or(Ok(()), |holder| holder.hold(manifest))
    }

    /// At the end of a pass: what it staged has a unit by now, or none wants it.
    pub(super) fn let_go_of_staged(&self) {
        *self.staged.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Removes what processes have left that died, and layers that no image needs, unless an update that
    /// did not come to its end may want them.
    pub(super) async fn sweep_store(&self) -> Result<(), Failure> {
        let pulled = self.store.pulled(EngineKind::Native)?;
        let there: BTreeSet<Digest> = self.store.manifests()?.into_iter().collect();
        let is_awaited =
            |pulled: &Pulled| !there.contains(&pulled.manifest) && !is_given_up(pulled);
        let asked = Retirement { manifests: vec![], leftovers: !pulled.iter().any(is_awaited) };
        let (store, leftovers) = (self.store.clone(), asked.leftovers);
        let looked = tokio::task::spawn_blocking(move || store.has_leftovers(leftovers));
        let died = |error| Failure::from_error(FailureKind::Local, &error);
        if looked.await.map_err(died)?? {
            self.remove(asked).await?;
        }
        Ok(())
    }

    /// Notes that an image is wanted: where it is not there, it will be ours.
    pub(super) fn note_wanted(
        &self,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        let is_there = self.store.image(&image.manifest)?.is_some();
        Ok(self.store.note_wanted(EngineKind::Native, reference, image, is_there)?)
    }

    /// Everything in the store, unless nothing of it could go.
    pub(super) fn take_stock(&self) -> Result<Stock, Error> {
        let store = &self.store;
        let noted = store.pulled(EngineKind::Native)?;
        let mut noted: BTreeMap<Digest, Pulled> =
            noted.into_iter().map(|pulled| (pulled.manifest.clone(), pulled)).collect();
        let shelves = shelves(store)?;
        if noted.is_empty() && shelves.is_empty() {
            return Ok(Stock::default());
        }
        let usage = Usage::read(store, &self.records)?;
        let images = store.images()?.into_iter().map(|image| {
            let pulled = noted.remove(&image.identity.manifest);
            let is_held = usage.is_held(&image.identity.manifest);
            stored(&image, pulled, is_held)
        });
        let images: Vec<Stored> = images.collect();
        // Of what was noted and is not there.
        let leftovers = noted.values().any(is_given_up);
        Ok(Stock { images, shelves, leftovers })
    }

    /// Says of what updaterd pulled how large it is. A layer never changes: each is looked at once.
    pub(super) async fn weigh(&self, mut stock: Stock) -> Result<Stock, Failure> {
        let (store, weights) = (self.store.clone(), Arc::clone(&self.weights));
        let work = tokio::task::spawn_blocking(move || {
            let mut known = weights.lock().unwrap_or_else(PoisonError::into_inner);
            for image in stock.images.iter_mut().filter(|image| image.pulled.is_some()) {
                for part in &mut image.parts {
                    part.size = match known.get(&part.id) {
                        Some(size) => *size,
                        None => {
                            // What cannot be looked at weighs nothing: nothing goes for its sake.
                            let size = store.weigh(&part.id).unwrap_or_default();
                            *known.entry(part.id.clone()).or_insert(size)
                        }
                    };
                }
            }
            stock
        });
        work.await.map_err(|error| Failure::from_error(FailureKind::Local, &error))
    }

    pub(super) async fn carry_out(&self, clearing: &Clearing) -> Result<Cleared, Failure> {
        if clearing.is_weighed {
            self.store.note_needed(EngineKind::Native, clearing.needed)?;
        }
        for pin in &clearing.unpin {
            if let Some((unit, reference, manifest)) = read_pin(pin) {
                self.store.let_go(&unit, &reference, &manifest)?;
            }
        }
        let manifests: Vec<Digest> = clearing.remove.iter().map(|image| image.id.clone()).collect();
        if manifests.is_empty() && !clearing.leftovers {
            return Ok(Cleared::default());
        }
        let asked = Retirement { manifests, leftovers: clearing.leftovers };
        Ok(match self.remove(asked.clone()).await {
            Ok(removed) => {
                let there: BTreeSet<Digest> = self.store.manifests()?.into_iter().collect();
                self.store.note_pulled(EngineKind::Native, |pulled| {
                    there.contains(&pulled.manifest)
                        || !is_given_up(pulled) && !removed.contains(&pulled.manifest)
                })?;
                Cleared { removed, failures: vec![] }
            }
            Err(failure) => {
                // What was said is not said again.
                let mut is_new = false;
                self.store.note_pulled(EngineKind::Native, |pulled| {
                    if asked.manifests.contains(&pulled.manifest) {
                        is_new |= !std::mem::replace(&mut pulled.stuck, true);
                    }
                    true
                })?;
                let failures = Some(failure).filter(|_| is_new).into_iter().collect();
                Cleared { removed: vec![], failures }
            }
        })
    }

    async fn remove(&self, asked: Retirement) -> Result<Vec<Digest>, Failure> {
        match self.scope {
            Scope::System => self.retire(asked).await,
            // Layers belong to the users of a user namespace.
            Scope::User => launcher::retire(self.store.root(), self.records.root(), &asked).await,
        }
    }

    /// Not on the thread that the bus and the watchdog wait for: an image may be millions of files. Dropped,
    /// it is soon over.
    async fn retire(&self, asked: Retirement) -> Result<Vec<Digest>, Failure> {
        let (store, records) = (self.store.clone(), self.records.clone());
        let awaited = Awaited::default();
        let brake = awaited.brake();
        let work = tokio::task::spawn_blocking(move || store.retire(&records, &asked, &brake));
        let died = |error| Failure::from_error(FailureKind::Local, &error);
        Ok(work.await.map_err(died)??)
    }
}

/// Of an image that is not there: whether its layers are not to be found by another pull any more. What
/// could not be removed before has none left but those.
fn is_given_up(pulled: &Pulled) -> bool {
    pulled.stuck || pulled.wanted.duration_until(Timestamp::now()) > GIVEN_UP
}

fn stored(image: &Image, pulled: Option<Pulled>, is_held: bool) -> Stored {
    let ImageIdentity { target, manifest, .. } = &image.identity;
    Stored {
        id: manifest.clone(),
        digests: vec![target.clone(), manifest.clone()],
        held: is_held || image.is_named,
        pulled: pulled.map(|pulled| port::Pulled {
            reference: pulled.reference,
            manifest: pulled.manifest,
            wanted: pulled.wanted,
        }),
        parts: image.layer_ids().map(|id| Part { id, size: 0 }).collect(),
    }
}

fn shelves(store: &Store) -> Result<Vec<Shelf>, Error> {
    let mut shelves = Vec::new();
    for (unit, kept) in store.kept_by_units()? {
        for (reference, manifests) in kept {
            let pin = |image: Digest| Pin { name: format!("{unit} {reference} {image}"), image };
            let pins = manifests.into_iter().map(pin).collect();
            shelves.push(Shelf { unit: Some(unit.clone()), pins });
        }
    }
    Ok(shelves)
}

/// A pin's name, as [`shelves`] writes it.
fn read_pin(name: &str) -> Option<(UnitName, Reference, Digest)> {
    let mut words = name.split(' ');
    let (unit, reference, manifest) = (words.next()?, words.next()?, words.next()?);
    Some((unit.parse().ok()?, reference.parse().ok()?, manifest.parse().ok()?))
}
