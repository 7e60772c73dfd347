//! What names stand for in Podman's storage: seen in one list of all images, moved one by one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::document::Listed;
use super::image::Facts;
use super::{Podman, words};
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
    /// IDs of images that were kept, and need not stay.
    superseded: RefCell<Vec<String>>,
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
        // Whatever has a name again is to stay.
        self.superseded.borrow_mut().retain(|superseded| superseded != id);
    }

    /// Takes a list for what it is that was begun at this time: what was set since then is newer.
    fn see(&self, images: Vec<Listed>, at: Instant) {
        let mut listed = BTreeMap::new();
        let named = images.into_iter().flat_map(|Listed { id, names, .. }| {
            names.into_iter().map(move |name| (name, id.clone()))
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
            let begun = Instant::now();
            let images = self.list("/images/json", ["images", "--format=json"]).await?;
            self.tags.see(images.without_problems(), begun);
        }
        Ok(())
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

    /// Has an image stay under the newest of the names; what had that goes on to the older one, and
    /// what had the older one is superseded.
    pub(super) async fn keep_as(
        &self,
        [newest, older]: &[String; 2],
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        let id = self.id_of(image).await?;
        self.list_once().await?;
        let before = self.tags.id(newest);
        if before.as_ref() == Some(&id) {
            return Ok(());
        }
        let superseded = self.tags.id(older).filter(|old| before.is_some() && old != &id);
        if let Some(before) = &before {
            self.move_to(older, before).await?;
        }
        self.move_to(newest, &id).await?;
        let superseded = superseded.filter(|old| before.as_ref() != Some(old));
        self.tags.superseded.borrow_mut().extend(superseded);
        Ok(())
    }

    /// Removes the images that were kept and need not stay, where nobody else has a name for them:
    /// an ID is good for the last name, whosesoever that is. What somebody runs Podman itself refuses
    /// to remove, and goes on to the next.
    pub(super) async fn drop_superseded(&self) {
        let mut ids = self.tags.superseded.take();
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            return;
        }
        if let Err(cause) = self.remove_nameless(&ids).await {
            tracing::debug!(?ids, %cause, "superseded images stay, ignoring");
        }
    }

    async fn remove_nameless(&self, ids: &[String]) -> Result<(), Failure> {
        let ids = self.nameless(ids).await?;
        if ids.is_empty() {
            return Ok(());
        }
        let mut arguments = words(["image", "rm"]);
        arguments.extend(ids.iter().map(Into::into));
        self.act(arguments, self.options.timeout).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, run};
    use super::*;

    fn listed(id: &str, names: &[&str]) -> Listed {
        Listed { id: id.into(), names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn a_name_in_two_stores_stands_for_nothing_certain() {
        let (tags, now) = (Tags::default(), Instant::now());
        tags.see(vec![listed("1", &["a:1", "b:1"]), listed("2", &["b:1", "c@sha256:3"])], now);
        assert_eq!(tags.id("a:1").as_deref(), Some("1"));
        assert!(tags.is_certain("a:1", "1") && !tags.is_certain("a:1", "2"));
        assert_eq!(tags.id("b:1"), None);
        tags.set("b:1", "2");
        assert!(tags.is_certain("b:1", "2"));
        tags.forget();
        assert_eq!(tags.id("a:1"), None);
    }

    #[test]
    fn what_has_a_name_again_is_not_superseded() {
        let tags = Tags::default();
        tags.superseded.borrow_mut().extend(["1".to_owned(), "2".to_owned()]);
        tags.set("a:1", "1");
        assert_eq!(tags.superseded.take(), ["2"]);
    }

    #[test]
    fn what_was_seen_long_ago_is_looked_at_again() {
        let tags = Tags::default();
        let Some(before) = Instant::now().checked_sub(FRESH) else { return };
        tags.see(vec![listed("1", &["a:1"])], before);
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
        tags.see(vec![listed("1", &["a:1", "b:1"]), listed("1", &["b:1"])], begun);
        assert_eq!(tags.id("a:1").as_deref(), Some("2"));
        assert_eq!(tags.id("b:1").as_deref(), Some("1"), "one image, listed twice");
    }
}
