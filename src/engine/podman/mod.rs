//! Podman, through its command line: a handful of calls for any number of containers, and no word of
//! what it says is believed further than `docs/architecture.md` allows.
//!
//! [`program`] is one call, [`document`] what comes of it, [`discover`], [`creation`] and [`image`]
//! what that means, [`presence`] whether there is anything to ask, [`query`] the calls that read, and
//! here are those that change something. [`events`] is what Podman's own log of events is told. Podman has no bindings: a promotion moves the tag
//! (`docs/decisions/0015-podman.md`).

mod creation;
mod discover;
mod document;
mod events;
mod image;
mod kube;
mod names;
mod presence;
mod program;
mod query;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};

use crate::model::{
    Digest, EngineKind, Failure, FailureKind, ImageIdentity, ImageSource, Platform, Reference,
    Scope, UnitName,
};
use crate::update::port::{Engine, Inventory, Running};
pub use events::Events;
use image::Facts;
pub use presence::Presence;
pub use program::Program;
use query::Look;

/// How long a pull may take.
const PULL: Duration = Duration::from_secs(60 * 60);

/// What Podman is called with, beside what each call has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub program: Program,
    /// How long a call that pulls nothing may take.
    pub timeout: Duration,
    /// Whose containers: root's under the host's manager, or the calling user's.
    pub scope: Scope,
    /// The credentials file of images whose container names none.
    pub authfile: Option<PathBuf>,
    /// As `--tls-verify`; `None` leaves it to registries.conf.
    pub tls_verify: Option<bool>,
    pub presence: Presence,
}

/// Podman's containers and images.
#[derive(Debug)]
pub struct Podman {
    options: Options,
    /// The platform of this machine.
    host: Platform,
    /// Whether this Podman is one that we know how to speak to: asked once.
    known: OnceCell<()>,
    /// What was learnt of images, by their ID.
    images: RefCell<BTreeMap<String, Facts>>,
    /// What ran at the last look.
    look: Mutex<Option<Look>>,
}

/// Arguments from words.
fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.into_iter().map(OsString::from).collect()
}

impl Podman {
    pub fn new(options: Options, host: Platform) -> Self {
        Self {
            options,
            host,
            known: OnceCell::new(),
            images: RefCell::default(),
            look: Mutex::default(),
        }
    }

    /// Calls Podman for an effect.
    async fn act(&self, arguments: Vec<OsString>, time: Duration) -> Result<Vec<u8>, Failure> {
        self.known().await?;
        let program = &self.options.program;
        let said = program.call(&arguments, time).await?;
        if said.success { Ok(said.output) } else { Err(program.failure(&arguments, &said)) }
    }

    /// `podman pull` by digest: the tag stays where it is.
    async fn pull(&self, source: &ImageSource, image: &ImageIdentity) -> Result<(), Failure> {
        let mut arguments = words(["pull"]);
        let authfile = source.authfile.as_deref().or(self.options.authfile.as_deref());
        if let Some(authfile) = authfile {
            arguments.push(flag("--authfile=", authfile));
        }
        if let Some(verify) = self.options.tls_verify {
            arguments.push(format!("--tls-verify={verify}").into());
        }
        let Platform { os, architecture, .. } = &image.platform;
        if (os, architecture) != (&self.host.os, &self.host.architecture) {
            arguments.push(format!("--platform={}", image.platform).into());
        }
        let name = source.reference.pinned(&image.target);
        arguments.push(name.to_string().into());
        let output = self.act(arguments, PULL).await?;
        let said = String::from_utf8_lossy(&output).into_owned();
        let id = said.split_whitespace().next_back().unwrap_or_default().to_owned();
        let facts = self.facts(&[id]).await?;
        check_pulled(&source.reference, facts.first(), image)
    }

    /// The image that has this name.
    async fn named(&self, name: &str) -> Result<Option<Facts>, Failure> {
        Ok(self.facts(&[name.to_owned()]).await?.into_iter().next())
    }

    async fn move_tag(&self, name: &str, image: &ImageIdentity) -> Result<(), Failure> {
        let id = self.id_of(image).await?;
        self.act(words(["tag", &id, name]), self.options.timeout).await.map(drop)
    }

    /// Gives up a name of ours; the image goes with it where nobody else has a name for it or runs it.
    /// By its name, since Podman takes an ID for the last name whosesoever that is.
    async fn give_up(&self, name: &str) {
        if let Err(cause) = self.act(words(["image", "rm", name]), self.options.timeout).await {
            tracing::debug!(image = name, %cause, "a superseded image stays, ignoring");
        }
    }
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(path);
    flag
}

/// Whether what Podman pulled is what was planned.
fn check_pulled(
    reference: &Reference,
    pulled: Option<&Facts>,
    planned: &ImageIdentity,
) -> Result<(), Failure> {
    let refuse =
        |why: String| Err(Failure::new(FailureKind::InvalidContent, format!("{reference}: {why}")));
    let Some(pulled) = pulled else {
        return refuse("Podman pulled an image that it does not have".into());
    };
    if !pulled.is(planned) {
        let (got, expected) = (&pulled.identity.manifest, &planned.manifest);
        return refuse(format!("Podman pulled {got} where {expected} was expected"));
    }
    let (theirs, own) = (&pulled.identity.platform, &planned.platform);
    if (&theirs.os, &theirs.architecture) != (&own.os, &own.architecture) {
        return refuse(format!("is for {theirs}, the running image for {own}"));
    }
    Ok(())
}

impl Engine for Podman {
    fn kind(&self) -> EngineKind {
        EngineKind::Podman
    }

    async fn inventory(&self) -> Result<Inventory, Failure> {
        if !self.options.presence.has_run() {
            return Ok(Inventory::default());
        }
        let look = self.look_anew().await?;
        let inventory = self.take_stock(&look).await?;
        *self.look.lock().await = Some(look);
        Ok(inventory)
    }

    async fn local(&self, reference: &Reference) -> Result<Option<ImageIdentity>, Failure> {
        let facts = self.facts(&[reference.to_string()]).await?;
        Ok(facts.into_iter().next().map(|facts| facts.identity))
    }

    async fn stage(&self, source: &ImageSource, image: &ImageIdentity) -> Result<(), Failure> {
        let reference = &source.reference;
        let mut names = vec![reference.to_string(), reference.pinned(&image.target).to_string()];
        names.extend(self.known_image(image));
        if self.facts(&names).await?.iter().any(|facts| facts.is(image)) {
            return Ok(());
        }
        self.pull(source, image).await
    }

    /// Two stay: an update that fails keeps what runs, and must not cost what ran before that.
    async fn keep(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        let [newest, older] = names::kept(unit, reference);
        let before = self.named(&newest).await?;
        let Some(before) = before else { return self.move_tag(&newest, image).await };
        if before.is(image) {
            return Ok(());
        }
        let superseded = self.named(&older).await?;
        if superseded.is_some_and(|old| old.id != before.id && !old.is(image)) {
            self.give_up(&older).await;
        }
        self.move_tag(&older, &before.identity).await?;
        self.move_tag(&newest, image).await
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
        let kept = self.facts(&names::kept(unit, reference)).await?;
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
        self.move_tag(&reference.to_string(), image).await
    }

    async fn unbind(&self, _unit: &UnitName, _reference: &Reference) -> Result<(), Failure> {
        Ok(())
    }

    async fn running(
        &self,
        unit: &UnitName,
        reference: &Reference,
    ) -> Result<Vec<Running>, Failure> {
        self.watch(unit, reference).await
    }
}
