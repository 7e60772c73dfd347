//! Podman, through its command line: a handful of calls for any number of containers, and no word of
//! what it says is believed further than `docs/architecture.md` allows.
//!
//! [`program`] is one call, [`document`] what comes of it and [`told`] the list of them, [`discover`], [`creation`] and [`image`]
//! what that means, [`presence`] whether there is anything to ask, [`query`] the calls that read,
//! [`service`] a faster way for most of them; [`room`] whether there is room for a pull, [`stage`] pulls, [`tags`] moves names, [`retain`] removes, [`events`] is what Podman's own log of events is told. Podman
//! has no bindings: a promotion moves the tag (`docs/decisions/0015-podman.md`).

mod creation;
mod discover;
mod document;
mod events;
#[cfg(test)]
mod fake;
mod image;
mod kube;
mod look;
mod names;
mod presence;
mod program;
mod query;
mod retain;
mod room;
mod service;
mod stage;
mod tags;
mod told;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};

use crate::model::{
    Digest, EngineKind, Failure, ImageIdentity, ImageSource, MinFree, Platform, Reference, Scope,
    UnitName,
};
use crate::registry;
use crate::store::Store;
use crate::store::pull::Remote;
use crate::update::port::{Cleared, Clearing, Engine, Inventory, Running, Stock};
pub use events::Events;
use image::Facts;
use look::Look;
pub use presence::Presence;
pub use program::Program;
use service::Service;
use stage::Staging;
use tags::Tags;

/// What Podman is called with, beside what each call has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub program: Program,
    /// How long a call that pulls nothing may take.
    pub timeout: Duration,
    /// Where the socket of Podman's service may lie.
    pub run: PathBuf,
    /// Whose containers: root's under the host's manager, or the calling user's.
    pub scope: Scope,
    /// The credentials file of images whose container names none.
    pub authfile: Option<PathBuf>,
    /// As `--tls-verify`; `None` leaves it to registries.conf.
    pub tls_verify: Option<bool>,
    pub presence: Presence,
    /// What pulls leave free of the disk.
    pub min_free: MinFree,
}

/// Podman's containers and images. Without a registry at hand, as [`Engine::stage`] has none, it is not
/// known how much room a pull needs: see [`Podman::stage_from`].
#[derive(Debug)]
pub struct Podman {
    options: Options,
    /// The platform of this machine.
    host: Platform,
    /// Where it is noted what we pulled; Podman's images are elsewhere.
    notes: Store,
    /// Whether this Podman is one that we know how to speak to: asked once.
    known: OnceCell<()>,
    /// Where its storage lies: asked once.
    graph_root: OnceCell<PathBuf>,
    /// What was learnt of images, by their ID.
    images: RefCell<BTreeMap<String, Facts>>,
    /// What ran at the last look.
    look: Mutex<Option<Look>>,
    /// What is to be pulled.
    staging: Staging,
    /// What names stand for.
    tags: Tags,
    service: Service,
}

/// Arguments from words.
fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.into_iter().map(OsString::from).collect()
}

impl Podman {
    /// `notes` is where it is noted what was pulled.
    pub fn new(options: Options, host: Platform, notes: Store) -> Self {
        Self {
            options,
            host,
            notes,
            known: OnceCell::new(),
            graph_root: OnceCell::new(),
            images: RefCell::default(),
            look: Mutex::default(),
            staging: Staging::default(),
            tags: Tags::default(),
            service: Service::default(),
        }
    }

    /// As [`Engine::stage`]; what would not leave enough of the disk free, as `remote` tells, is refused.
    pub(super) async fn stage_from(
        &self,
        remote: &impl Remote,
        source: &ImageSource,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        self.stage_with_others(Some(remote), source, image).await
    }

    /// Calls Podman for an effect.
    async fn act(&self, arguments: Vec<OsString>, time: Duration) -> Result<Vec<u8>, Failure> {
        self.known().await?;
        let program = &self.options.program;
        let said = program.call(&arguments, time).await?;
        if said.success { Ok(said.output) } else { Err(program.failure(&arguments, &said)) }
    }
}

impl Engine for Podman {
    fn kind(&self) -> EngineKind {
        EngineKind::Podman
    }

    async fn inventory(&self) -> Result<Inventory, Failure> {
        if !self.options.presence.has_run() {
            return Ok(Inventory::default());
        }
        self.tags.forget();
        let (inventory, look) = self.inventory_and_look().await?;
        *self.look.lock().await = Some(look);
        Ok(inventory)
    }

    async fn local(&self, reference: &Reference) -> Result<Option<ImageIdentity>, Failure> {
        Ok(self.named(&reference.to_string()).await?.map(|facts| facts.identity))
    }

    async fn stage(&self, source: &ImageSource, image: &ImageIdentity) -> Result<(), Failure> {
        self.stage_with_others(None::<&registry::Client>, source, image).await
    }

    async fn keep(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        self.keep_on(&names::shelf(unit, reference), image).await
    }

    async fn stock(&self, _weighed: bool) -> Result<Stock, Failure> {
        match self.options.presence.has_run() {
            true => self.take_inventory_of_images().await,
            false => Ok(Stock::default()),
        }
    }

    async fn clear(&self, clearing: &Clearing) -> Result<Cleared, Failure> {
        self.carry_out(clearing).await
    }

    async fn kept(
        &self,
        unit: &UnitName,
        reference: &Reference,
        known: &[Digest],
    ) -> Result<Vec<ImageIdentity>, Failure> {
        if !self.options.presence.has_run() {
            return Ok(vec![]);
        }
        let kept = self.facts(&self.on_shelf(&names::shelf(unit, reference)).await?).await?;
        let stored = self.all_images().await?;
        let mut found: Vec<ImageIdentity> = Vec::new();
        for manifest in known {
            // In the words of who asks: Podman may know it by others too.
            let image = stored.iter().find(|facts| facts.digests.contains(manifest));
            let identity = image.map(|facts| facts.identity.clone());
            found.extend(
                identity.map(|image| ImageIdentity { manifest: manifest.clone(), ..image }),
            );
        }
        let more = kept.into_iter().filter(|kept| !found.iter().any(|image| kept.is(image)));
        let more: Vec<ImageIdentity> = more.map(|kept| kept.identity).collect();
        found.extend(more);
        Ok(found)
    }

    async fn bind(
        &self,
        _unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        self.move_tag(&reference.to_string(), image).await
    }

    async fn tag(&self, reference: &Reference, image: &ImageIdentity) -> Result<(), Failure> {
        self.confirm_tag(&reference.to_string(), image).await
    }

    async fn unbind(&self, _unit: &UnitName, _reference: &Reference) -> Result<(), Failure> {
        Ok(())
    }

    async fn gives(
        &self,
        _unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<bool, Failure> {
        // Whatever was seen by an earlier pass may have moved since.
        self.list_anew().await?;
        let named = self.named(&reference.to_string()).await?;
        Ok(named.is_some_and(|facts| facts.is(image)))
    }

    async fn running(
        &self,
        unit: &UnitName,
        reference: &Reference,
    ) -> Result<Vec<Running>, Failure> {
        self.watch(unit, reference).await
    }
}
