//! Which images stay in storage, and which go
//! ([decision 24](../../docs/decisions/0024-retention.md)).
//!
//! An image goes only if updaterd pulled it, and nothing holds it: no container, whether or not it
//! runs, no name that somebody gave it, no unit that may go back to it, no rollout that has not ended.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{Digest, Reference};

/// What the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many images that a unit ran stay for it, beside those that something else holds.
    pub keep: usize,
    /// What updaterd pulled may take so many bytes before images go that need not stay.
    pub budget: u64,
    /// So many images go at once, at most.
    pub at_once: usize,
}

/// What is in an engine's storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stock {
    pub images: Vec<Stored>,
    pub shelves: Vec<Shelf>,
    /// Whether there are parts that no image needs, nor will.
    pub leftovers: bool,
}

/// An image in storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// By which its engine removes it.
    pub id: Digest,
    /// All digests that it is known by.
    pub digests: Vec<Digest>,
    /// Where updaterd pulled it: which one it was, and when a pass wanted it last.
    pub pulled: Option<Pulled>,
    /// Whether a container, a binding or somebody's name holds it.
    pub held: bool,
    /// What it takes on the disk; images share parts.
    pub parts: Vec<Part>,
}

/// That updaterd pulled an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub reference: Reference,
    pub manifest: Digest,
    pub wanted: Timestamp,
}

/// A part of images, such as a layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub id: Digest,
    /// In bytes.
    pub size: u64,
}

/// What one unit ran for one reference, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf(pub Vec<Pin>);

/// Has one image stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// By which its engine takes it away.
    pub name: String,
    /// The image's [`Stored::id`].
    pub image: Digest,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clearing {
    /// Pins that go, by their names.
    pub unpin: Vec<String>,
    /// Images that go after that, the one first that was wanted longest ago.
    pub remove: Vec<Stored>,
    /// Whether parts go that no image needs.
    pub leftovers: bool,
    /// Whether there is a budget, and the following are known.
    pub is_weighed: bool,
    /// What updaterd pulled, and what of it stays, in bytes.
    pub taken: u64,
    /// What of it must stay, whatever the budget is.
    pub needed: u64,
}

impl Clearing {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.unpin.is_empty() && self.remove.is_empty() && !self.leftovers && !self.is_weighed
    }
}

/// Plans what goes. What was wanted since `since`, when the pass began, stays: what that pass did not
/// come to is not to be pulled twice. So do images with a digest in `under_way`.
pub fn clear(
    stock: &Stock,
    under_way: &BTreeSet<Digest>,
    since: Timestamp,
    limits: Limits,
) -> Clearing {
    let held: BTreeSet<&Digest> =
        stock.images.iter().filter(|image| image.held).map(|image| &image.id).collect();
    let stored: BTreeSet<&Digest> = stock.images.iter().map(|image| &image.id).collect();
    let (mut pinned, mut unpin) = (BTreeSet::new(), Vec::new());
    for shelf in &stock.shelves {
        let (stay, go) = shelf.sort_out(&stored, &held, limits.keep);
        pinned.extend(stay.iter().map(|pin| &pin.image));
        unpin.extend(go.into_iter().map(|pin| pin.name.clone()));
    }
    let may_go = |image: &&Stored| {
        !image.held
            && !pinned.contains(&image.id)
            && !image.digests.iter().any(|digest| under_way.contains(digest))
            && image.pulled.as_ref().is_some_and(|pulled| pulled.wanted < since)
    };
    let mut space = Space::of(&stock.images);
    let mut candidates: Vec<&Stored> = stock.images.iter().filter(may_go).collect();
    candidates.sort_by_key(|image| (image.pulled.as_ref().map(|pulled| pulled.wanted), &image.id));
    let mut remove = Vec::new();
    for image in &candidates {
        let is_over = limits.budget == 0 || space.taken > limits.budget;
        if remove.len() == limits.at_once || !is_over {
            break;
        }
        space.free(image);
        remove.push((*image).clone());
    }
    let taken = space.taken;
    candidates.iter().skip(remove.len()).for_each(|image| space.free(image));
    let is_weighed = limits.budget > 0;
    Clearing { unpin, remove, leftovers: stock.leftovers, is_weighed, taken, needed: space.taken }
}

impl Shelf {
    /// The pins that stay, and those that go. The newest `keep` images stay that nothing else holds:
    /// what runs, or has a name, is there anyway. An image that is gone needs none, nor does one twice.
    fn sort_out(
        &self,
        stored: &BTreeSet<&Digest>,
        held: &BTreeSet<&Digest>,
        keep: usize,
    ) -> (Vec<&Pin>, Vec<&Pin>) {
        let (mut left, mut seen) = (keep, BTreeSet::new());
        self.0.iter().partition(|pin| {
            let stays = left > 0 && stored.contains(&pin.image) && seen.insert(&pin.image);
            if stays && !held.contains(&pin.image) {
                left -= 1;
            }
            stays
        })
    }
}

/// What updaterd's images take together: a part that several have counts once, and one that an image of
/// somebody else has would be there without them.
struct Space<'a> {
    /// How many of updaterd's images have each part.
    users: BTreeMap<&'a Digest, usize>,
    taken: u64,
}

impl<'a> Space<'a> {
    fn of(images: &'a [Stored]) -> Self {
        let (own, others): (Vec<&Stored>, Vec<&Stored>) =
            images.iter().partition(|image| image.pulled.is_some());
        let others: BTreeSet<&Digest> = others.iter().flat_map(|image| image.ids()).collect();
        let mut space = Self { users: BTreeMap::new(), taken: 0 };
        for image in own {
            for part in image.distinct().filter(|part| !others.contains(&part.id)) {
                let users = space.users.entry(&part.id).or_default();
                if *users == 0 {
                    space.taken = space.taken.saturating_add(part.size);
                }
                *users += 1;
            }
        }
        space
    }

    /// One of updaterd's images goes.
    fn free(&mut self, image: &Stored) {
        for part in image.distinct() {
            let Some(users) = self.users.get_mut(&part.id) else { continue };
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.users.remove(&part.id);
                self.taken = self.taken.saturating_sub(part.size);
            }
        }
    }
}

impl Stored {
    fn ids(&self) -> impl Iterator<Item = &Digest> {
        self.parts.iter().map(|part| &part.id)
    }

    /// Its parts, each once.
    fn distinct(&self) -> impl Iterator<Item = &Part> {
        let mut seen = BTreeSet::new();
        self.parts.iter().filter(move |part| seen.insert(&part.id))
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
