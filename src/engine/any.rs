//! An engine of any kind, so that a host can have several.

use super::{Native, Podman};
use crate::model::{Digest, EngineKind, Failure, ImageIdentity, ImageSource, Reference, UnitName};
use crate::store::pull::Remote;
use crate::update::port::{Cleared, Clearing, Engine, Inventory, Running, Stock};

/// One of the engines of a host.
#[derive(Debug)]
pub enum Any<R> {
    Native(Native<R>),
    /// With the registries that tell how large an image is.
    Podman(Box<Podman>, R),
}

/// The same call for whichever it is.
macro_rules! either {
    ($any:expr, $engine:ident => $call:expr) => {
        match $any {
            Any::Native($engine) => $call,
            Any::Podman($engine, _) => $call,
        }
    };
}

impl<R: Remote> Engine for Any<R> {
    fn kind(&self) -> EngineKind {
        either!(self, engine => engine.kind())
    }

    async fn inventory(&self) -> Result<Inventory, Failure> {
        either!(self, engine => engine.inventory().await)
    }

    async fn local(&self, reference: &Reference) -> Result<Option<ImageIdentity>, Failure> {
        either!(self, engine => engine.local(reference).await)
    }

    async fn stage(&self, source: &ImageSource, image: &ImageIdentity) -> Result<(), Failure> {
        match self {
            Self::Native(engine) => engine.stage(source, image).await,
            Self::Podman(engine, remote) => engine.stage_from(remote, source, image).await,
        }
    }

    async fn keep(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        either!(self, engine => engine.keep(unit, reference, image).await)
    }

    async fn stock(&self, weighed: bool) -> Result<Stock, Failure> {
        either!(self, engine => engine.stock(weighed).await)
    }

    async fn clear(&self, clearing: &Clearing) -> Result<Cleared, Failure> {
        either!(self, engine => engine.clear(clearing).await)
    }

    async fn sweep(&self) -> Result<(), Failure> {
        either!(self, engine => engine.sweep().await)
    }

    async fn kept(
        &self,
        unit: &UnitName,
        reference: &Reference,
        known: &[Digest],
    ) -> Result<Vec<ImageIdentity>, Failure> {
        either!(self, engine => engine.kept(unit, reference, known).await)
    }

    async fn bind(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        either!(self, engine => engine.bind(unit, reference, image).await)
    }

    async fn tag(&self, reference: &Reference, image: &ImageIdentity) -> Result<(), Failure> {
        either!(self, engine => engine.tag(reference, image).await)
    }

    async fn unbind(&self, unit: &UnitName, reference: &Reference) -> Result<(), Failure> {
        either!(self, engine => engine.unbind(unit, reference).await)
    }

    async fn gives(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<bool, Failure> {
        either!(self, engine => engine.gives(unit, reference, image).await)
    }

    async fn running(
        &self,
        unit: &UnitName,
        reference: &Reference,
    ) -> Result<Vec<Running>, Failure> {
        either!(self, engine => engine.running(unit, reference).await)
    }
}
