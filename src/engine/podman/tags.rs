//! What names stand for in Podman's storage: seen in one list of all images, moved one by one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::document::Listed;
use super::image::Facts;
use super::told::Told;
use super::{Podman, names, words};
use crate::model::{Failure, ImageIdentity};

/// How long a name is taken to stand for what it was seen or set to: rollouts that end at the same
/// time look together.
const FRESH: Duration = Duration::from_secs(2);

/// What names stand for, as far as that is known.
#[derive(Debug, Default)]
pub(super) struct Tags {
    seen: RefCell<BTreeMap<String, Seen>>,
    /// When the images were listed last, if that is not forgotten.
    listed: Cell<Option<Instant>>,
    /// Held by who lists the images, or moves a name.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Seen {
    /// The image's ID.
    id: String,
    at: Instant,
}

impl Tags {
    /// Others may have moved names since.
    pub(super) fn forget(&self) {
        self.seen.borrow_mut().clear();
        self.listed.set(None);
    }

    fn id(&self, name: &str) -> Option<String> {
        self.seen.borrow().get(name).map(|seen| seen.id.clone())
    }

    fn is_certain(&self, name: &str, id: &str) -> bool {
        let seen = self.seen.borrow();
        seen.get(name).is_some_and(|seen| seen.id == id && seen.at.elapsed() < FRESH)
    }

    fn set(&self, name: &str, id: &str) {
        let seen = Seen { id: id.to_owned(), at: Instant::now() };
        self.seen.borrow_mut().insert(name.to_owned(), seen);
    }

    /// What is on a shelf, the newest first.
    fn on(&self, shelf: &str) -> Vec<(u64, String)> {
        let seen = self.seen.borrow();
        let own = seen.iter().filter_map(|(name, seen)| match names::place(name)? {
            (own, number) if own == shelf => Some((number, seen.id.clone())),
            _ => None,
        });
        let mut own: Vec<(u64, String)> = own.collect();
        own.sort_by(|a, b| b.cmp(a));
        own
    }

    /// Takes a list for what it is that was begun at this time: what was set since then is newer.
    fn see(&self, images: &[Listed], at: Instant) {
        let mut listed = BTreeMap::new();
        let named = images.iter().flat_map(|Listed { id, names, .. }| {
            names.iter().map(move |name| (name.clone(), id.clone()))
        });
        for (name, id) in named {
            // In two stores for two images: which of them counts is for Podman to say.
            let known = listed.entry(name).or_insert_with(|| Some(id.clone()));
            *known = known.take().filter(|known| known == &id);
        }
        let listed = listed.into_iter().filter_map(|(name, id)| Some((name, Seen { id: id?, at })));
        let mut seen = self.seen.borrow_mut();
        seen.retain(|_, seen| seen.at >= at);
        for (name, found) in listed {
            seen.entry(name).or_insert(found);
        }
        self.listed.set(Some(at));
    }
}

impl Podman {
    /// What the image of this name is.
    pub(super) async fn named(&self, name: &str) -> Result<Option<Facts>, Failure> {
        self.list_once().await?;
        let known = self.tags.id(name).and_then(|id| self.images.borrow().get(&id).cloned());
        if known.is_some() {
            return Ok(known);
        }
        Ok(self.facts(&[name.to_owned()]).await?.into_iter().next())
    }

    /// Lists the images, unless that was done since the inventory.
    async fn list_once(&self) -> Result<(), Failure> {
        self.list_unless(|_| true).await
    }

    /// Lists the images, unless somebody did just now.
    pub(super) async fn list_anew(&self) -> Result<(), Failure> {
        self.list_unless(|listed| listed.elapsed() < FRESH).await
    }

    async fn list_unless(&self, good: impl Fn(Instant) -> bool) -> Result<(), Failure> {
        let _turn = self.tags.turn.lock().await;
        if !self.tags.listed.get().is_some_and(good) {
            self.list_and_see().await?.without_problems();
        }
        Ok(())
    }

    /// Lists the images, for who wants to know more than their names.
    pub(super) async fn list_images(&self) -> Result<Told<Listed>, Failure> {
        let _turn = self.tags.turn.lock().await;
        self.list_and_see().await
    }

    /// The caller has the turn.
    async fn list_and_see(&self) -> Result<Told<Listed>, Failure> {
        let begun = Instant::now();
        let images = self.list("/images/json", ["images", "--format=json"]).await?;
        self.tags.see(&images.documents, begun);
        Ok(images)
    }

    /// Whether names were looked at since the inventory, as whoever moves one does.
    pub(super) fn has_looked_at_names(&self) -> bool {
        self.tags.listed.get().is_some()
    }

    /// Moves a name, unless it was seen just now to stand for that image.
    pub(super) async fn move_tag(&self, name: &str, image: &ImageIdentity) -> Result<(), Failure> {
        let id = self.id_of(image).await?;
        self.move_to(name, &id).await
    }

    /// A list of images that is under way while a name moves may say either, and would have the last
    /// word on it: so none is.
    async fn move_to(&self, name: &str, id: &str) -> Result<(), Failure> {
        let _turn = self.tags.turn.lock().await;
        if self.tags.is_certain(name, id) {
            return Ok(());
        }
        self.set_tag(name, id).await?;
        self.tags.set(name, id);
        Ok(())
    }

    async fn set_tag(&self, name: &str, id: &str) -> Result<(), Failure> {
        if let Some((repository, tag)) = name.rsplit_once(':')
            && !tag.contains('/')
            && self.post(&format!("/images/{id}/tag?repo={repository}&tag={tag}")).await.is_ok()
        {
            return Ok(());
        }
        self.act(words(["tag", id, name]), self.options.timeout).await.map(drop)
    }

    /// Moves a name that may have been moved long ago: one list of images tells for all.
    pub(super) async fn confirm_tag(
        &self,
        name: &str,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        let id = self.id_of(image).await?;
        self.list_anew().await?;
        if self.tags.id(name).as_ref() == Some(&id) {
            return Ok(());
        }
        self.move_to(name, &id).await
    }

    /// Has an image stay under the next name of a shelf, unless it has the newest one already.
    pub(super) async fn keep_on(&self, shelf: &str, image: &ImageIdentity) -> Result<(), Failure> {
        let id = self.id_of(image).await?;
        self.list_once().await?;
        let newest = self.tags.on(shelf).into_iter().next();
        if newest.as_ref().is_some_and(|(_, newest)| *newest == id) {
            return Ok(());
        }
        let number = newest.map_or(0, |(number, _)| number) + 1;
        self.move_to(&format!("{shelf}:{number}"), &id).await
    }

    /// The IDs of the images on a shelf, the newest first.
    pub(super) async fn on_shelf(&self, shelf: &str) -> Result<Vec<String>, Failure> {
        self.list_anew().await?;
        Ok(self.tags.on(shelf).into_iter().map(|(_, id)| id).collect())
    }

    /// Takes a name of ours away from its image.
    pub(super) async fn untag(&self, name: &str) -> Result<(), Failure> {
        let _turn = self.tags.turn.lock().await;
        let Some(id) = self.tags.id(name) else { return Ok(()) };
        let served = match name.rsplit_once(':') {
            Some((repository, tag)) => {
                self.post(&format!("/images/{id}/untag?repo={repository}&tag={tag}")).await.is_ok()
            }
            None => false,
        };
        if !served {
            self.act(words(["untag", &id, name]), self.options.timeout).await?;
        }
        self.tags.seen.borrow_mut().remove(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, run};
    use super::*;

    fn listed(id: &str, names: &[&str]) -> Listed {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Listed { id: id.into(), names, ..Listed::default() }
    }

    #[test]
    fn a_name_in_two_stores_stands_for_nothing_certain() {
        let (tags, now) = (Tags::default(), Instant::now());
        tags.see(&[listed("1", &["a:1", "b:1"]), listed("2", &["b:1", "c@sha256:3"])], now);
        assert_eq!(tags.id("a:1").as_deref(), Some("1"));
        assert!(tags.is_certain("a:1", "1") && !tags.is_certain("a:1", "2"));
        assert_eq!(tags.id("b:1"), None);
        tags.set("b:1", "2");
        assert!(tags.is_certain("b:1", "2"));
        tags.forget();
        assert_eq!(tags.id("a:1"), None);
    }

    #[test]
    fn the_newest_on_a_shelf_comes_first() {
        let tags = Tags::default();
        let own = |tag: &str| format!("localhost/updaterd/keep/u-app-1:{tag}");
        for (tag, id) in [("9", "a"), ("10", "b"), ("2", "c"), ("odd", "d")] {
            tags.set(&own(tag), id);
        }
        tags.set("localhost/updaterd/keep/u-app-12:11", "e");
        tags.set("quay.io/app:11", "f");
        let ids: Vec<String> =
            tags.on("localhost/updaterd/keep/u-app-1").into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, ["b", "a", "c", "d"]);
    }

    #[test]
    fn what_was_seen_long_ago_is_looked_at_again() {
        let tags = Tags::default();
        let Some(before) = Instant::now().checked_sub(FRESH) else { return };
        tags.see(&[listed("1", &["a:1"])], before);
        assert!(!tags.is_certain("a:1", "1"));
        assert_eq!(tags.id("a:1").as_deref(), Some("1"));
    }

    /// Another unit's list of images shows what was, and takes its time; a check beside it has
    /// forgotten what was set.
    #[test]
    fn a_name_that_moved_while_images_were_listed_moves_back() {
        let fake = Fake::new(
            r#"
            images*) cat tag >seen; sleep 0.2
                printf '[{"Id":"%s","Names":["quay.io/app:1"]}]' "$(cat seen)" ;;
            tag*) echo "$2" >tag ;;
            "#,
        );
        fake.write("tag", "old");
        let podman = fake.podman();
        run(async {
            let moved = async {
                while !fake.has("seen") {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let moved = podman.move_to("quay.io/app:1", "new").await;
                podman.tags.forget();
                moved
            };
            let (listed, moved) = tokio::join!(podman.list_anew(), moved);
            listed.and(moved).unwrap();
            podman.move_to("quay.io/app:1", "old").await.unwrap();
        });
        assert_eq!(fake.read("tag"), "old\n");
    }

    #[test]
    fn a_list_that_was_begun_before_a_name_was_moved_does_not_know_of_it() {
        let (tags, begun) = (Tags::default(), Instant::now());
        tags.set("a:1", "2");
        tags.see(&[listed("1", &["a:1", "b:1"]), listed("1", &["b:1"])], begun);
        assert_eq!(tags.id("a:1").as_deref(), Some("2"));
        assert_eq!(tags.id("b:1").as_deref(), Some("1"), "one image, listed twice");
    }
}
