//! The project's own engine: records that `updater-launch` writes, and the project's own store.
//!
//! Labels are not believed further than `docs/architecture.md` allows: an image steers neither
//! which file credentials come from nor which unit is restarted.

mod advance;
mod launcher;
mod retain;

use self::advance::Onlooker;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::model::{
    Container, Digest, EngineKind, Failure, FailureKind, ImageIdentity, ImageSource, MinFree,
    Policy, Reference, Scope, UnitName, cgroup, label,
};
use crate::store::containers::{Record, Records};
use crate::store::pull::{Remote, Request, Want, pull_within};
use crate::store::unpack::Limits;
use crate::store::{Error, Holder, Store};
use crate::update::port::{Cleared, Clearing, Engine, Health, Inventory, Observer, Running, Stock};

/// So many images are pulled at the same time: one that is slow does not hold up the others.
const STAGED_AT_ONCE: usize = 4;

/// The engine over one store, its containers' records, and the registries it pulls from.
#[derive(Debug, Clone)]
pub struct Native<R> {
    store: Store,
    records: Records,
    remote: R,
    /// Whose units the containers are in.
    scope: Scope,
    /// What pulls leave free of the disk.
    min_free: MinFree,
    /// Bytes a second with which pulls may come, at the most.
    rate: Option<u64>,
    onlooker: Onlooker,
    pulls: Arc<Semaphore>,
    /// Has what is staged stay until the pass has ended.
    staged: Arc<Mutex<Option<Holder>>>,
    /// What layers take, as far as that was looked at.
    weights: Arc<Mutex<BTreeMap<Digest, u64>>>,
}

impl<R: Remote> Native<R> {
    pub fn new(store: Store, records: Records, remote: R, scope: Scope) -> Self {
        let pulls = Arc::new(Semaphore::new(STAGED_AT_ONCE));
        Self {
            store,
            records,
            remote,
            scope,
            min_free: MinFree::DEFAULT,
            rate: None,
            onlooker: Onlooker::default(),
            pulls,
            staged: Arc::default(),
            weights: Arc::default(),
        }
    }

    /// The same; pulls leave so much free of the disk.
    #[must_use]
    pub fn leaving(self, min_free: MinFree) -> Self {
        Self { min_free, ..self }
    }

    /// The same; pulls come with so many bytes a second at the most, one after the other: side by side none
    /// would be there any sooner. Pulls of this process are slowed down by `remote` itself.
    #[must_use]
    pub fn no_faster_than(self, rate: Option<u64>) -> Self {
        let at_once = if rate.is_some() { 1 } else { STAGED_AT_ONCE };
        Self { rate, pulls: Arc::new(Semaphore::new(at_once)), ..self }
    }

    /// The same; `observer` hears how far pulls have come.
    #[must_use]
    pub fn seen_by(self, observer: impl Observer + 'static) -> Self {
        Self { onlooker: Onlooker::new(observer), ..self }
    }

    /// The records of containers that run now in the care of a unit's process, and what cannot be
    /// read.
    fn running_records(&self) -> Result<(Vec<Record>, Vec<Failure>), Failure> {
        let found = self.records.all()?;
        let running = found.records.into_iter().filter(Record::is_supervised).collect();
        Ok((running, found.problems.into_iter().map(Failure::from).collect()))
    }
}

impl<R: Remote> Engine for Native<R> {
    fn kind(&self) -> EngineKind {
        EngineKind::Native
    }

    async fn inventory(&self) -> Result<Inventory, Failure> {
        let (records, mut problems) = self.running_records()?;
        let mut containers = Vec::new();
        for record in records {
            match container(&record, |record| unit_of(record, self.scope)) {
                Ok(container) => containers.extend(container),
                Err(problem) => problems.push(problem),
            }
        }
        Ok(Inventory { containers, problems, ..Inventory::default() })
    }

    async fn local(&self, reference: &Reference) -> Result<Option<ImageIdentity>, Failure> {
        Ok(self.store.resolve(reference)?.map(|image| image.identity))
    }

    async fn stage(&self, source: &ImageSource, image: &ImageIdentity) -> Result<(), Failure> {
        self.hold_staged(&image.manifest)?;
        self.note_wanted(&source.reference, image)?;
        // It is never closed.
        let _one_of_few = self.pulls.acquire().await;
        let want = Want { target: Some(image.target.clone()), platform: image.platform.clone() };
        let advance = self.onlooker.at(source, image);
        let staged = match self.scope {
            Scope::System => {
                let limits = Limits::leaving(self.min_free);
                let pulled =
                    pull_within(&self.store, &self.remote, source, want, &advance, &limits).await;
                pulled?.let_go().identity
            }
            // Only in a user namespace have files the owners that the image says.
            Scope::User => {
                let min_free = self.min_free;
                let rate = self.rate;
                let request = Request { source: source.clone(), want, min_free, rate };
                launcher::stage(self.store.root(), self.records.root(), &request, &advance).await?
            }
        };
        check_staged(&source.reference, &staged, image)
    }

    async fn keep(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        self.complete(&image.manifest)?;
        Ok(self.store.keep(unit, reference, &image.manifest)?)
    }

    async fn kept(
        &self,
        unit: &UnitName,
        reference: &Reference,
        known: &[Digest],
    ) -> Result<Vec<ImageIdentity>, Failure> {
        let kept = self.store.kept_by(unit)?.remove(reference).unwrap_or_default();
        let more = kept.iter().filter(|manifest| !known.contains(manifest));
        let mut found = Vec::new();
        for manifest in known.iter().chain(more) {
            found.extend(self.store.image(manifest)?.map(|image| image.identity));
        }
        Ok(found)
    }

    async fn stock(&self, weighed: bool) -> Result<Stock, Failure> {
        self.let_go_of_staged();
        let stock = self.take_stock()?;
        if weighed { self.weigh(stock).await } else { Ok(stock) }
    }

    async fn clear(&self, clearing: &Clearing) -> Result<Cleared, Failure> {
        self.carry_out(clearing).await
    }

    async fn sweep(&self) -> Result<(), Failure> {
        self.sweep_store().await
    }

    async fn bind(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        self.complete(&image.manifest)?;
        Ok(self.store.bind(unit, reference, &image.manifest)?)
    }

    async fn tag(&self, reference: &Reference, image: &ImageIdentity) -> Result<(), Failure> {
        self.complete(&image.manifest)?;
        Ok(self.store.tag(reference, &image.manifest)?)
    }

    async fn unbind(&self, unit: &UnitName, reference: &Reference) -> Result<(), Failure> {
        Ok(self.store.unbind(unit, reference)?)
    }

    async fn gives(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<bool, Failure> {
        let given = match self.store.binding(unit, reference)? {
            Some(bound) => Some(bound),
            None => self.local(reference).await?.map(|image| image.manifest),
        };
        Ok(given.as_ref() == Some(&image.manifest))
    }

    async fn running(
        &self,
        unit: &UnitName,
        reference: &Reference,
    ) -> Result<Vec<Running>, Failure> {
        let (records, _) = self.running_records()?;
        let mut found = Vec::new();
        for record in records.into_iter().filter(|record| record.reference == *reference) {
            if !record.is_guest() && unit_of(&record, self.scope)?.as_ref() == Some(unit) {
                let health = self.records.health(&record.id)?.map(|health| Health {
                    state: health.status,
                    failing_streak: health.failing_streak,
                    patience: health.patience(),
                });
                found.push(Running {
                    container: record.id,
                    image: record.image,
                    digests: Vec::new(),
                    restarts: 0,
                    health,
                });
            }
        }
        Ok(found)
    }
}

impl<R> Native<R> {
    /// A unit must never be pointed at an image whose layers are not all there.
    fn complete(&self, manifest: &Digest) -> Result<(), Failure> {
        match self.store.image(manifest)? {
            Some(_) => Ok(()),
            None => Err(Error::NoSuchImage(manifest.clone()).into()),
        }
    }
}

/// Whether what was staged is what was planned. A single manifest does not say which platform it is
/// for, only its configuration does: one for another processor would end as "exec format error".
fn check_staged(
    reference: &Reference,
    staged: &ImageIdentity,
    planned: &ImageIdentity,
) -> Result<(), Failure> {
    let refuse =
        |why: String| Err(Failure::new(FailureKind::InvalidContent, format!("{reference}: {why}")));
    if staged.manifest != planned.manifest {
        let (target, got, expected) = (&planned.target, &staged.manifest, &planned.manifest);
        return refuse(format!("{target} leads to {got} where {expected} was expected"));
    }
    let (theirs, own) = (&staged.platform, &planned.platform);
    if (&theirs.os, &theirs.architecture) != (&own.os, &own.architecture) {
        return refuse(format!("is for {theirs}, the running image for {own}"));
    }
    Ok(())
}

/// The container of a record, where it carries the update label.
fn container(
    record: &Record,
    unit_of: impl Fn(&Record) -> Result<Option<UnitName>, Failure>,
) -> Result<Option<Container>, Failure> {
    let policy = record.labels.get(label::AUTOUPDATE);
    let Some(policy) = policy.or_else(|| record.image_labels.get(label::AUTOUPDATE)) else {
        return Ok(None);
    };
    let source = ImageSource { reference: record.reference.clone(), authfile: authfile(record) };
    let (unit, guest_of) = match unit_of(record)? {
        unit if record.is_guest() => (None, unit),
        unit => (unit, None),
    };
    Ok(Some(Container {
        id: record.id.clone(),
        name: record.name.clone(),
        engine: EngineKind::Native,
        claimed: None,
        digests: vec![],
        unit,
        guest_of,
        policy: Policy::from_label(policy),
        group: own_label(record, label::GROUP).map(str::to_owned),
        source,
        image: record.image.clone(),
        created: record.created,
    }))
}

/// The operator's label, then the launcher's flag.
fn authfile(record: &Record) -> Option<PathBuf> {
    own_label(record, label::AUTHFILE).map(PathBuf::from).or_else(|| record.authfile.clone())
}

/// What an operator's label says. One that the image carries too may be the image's doing.
fn own_label<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let of_image = record.image_labels.contains_key(name);
    let own = record.labels.get(name).filter(|value| !of_image && !value.is_empty());
    own.map(String::as_str)
}

/// The unit whose cgroup really holds the launcher, whatever the record says. A launcher that has
/// ended meanwhile is in none.
fn unit_of(record: &Record, scope: Scope) -> Result<Option<UnitName>, Failure> {
    let Some(supervisor) = record.supervisor else { return Ok(None) };
    let path = format!("/proc/{}/cgroup", supervisor.pid);
    let text = match std::fs::read_to_string(&path) {
        Err(cause) if !record.is_supervised() => {
            tracing::debug!(container = %record.name, %cause, "ended while it was looked at, ignoring");
            return Ok(None);
        }
        text => text.map_err(|cause| {
            let message = format!("container {}: cannot read {path}: {cause}", record.name);
            Failure::new(FailureKind::Local, message)
        })?,
    };
    // The number may have gone to another process between the two looks.
    if !record.is_supervised() {
        return Ok(None);
    }
    Ok(cgroup::path_in(&text).and_then(|path| cgroup::service(path, scope)))
}

#[cfg(test)]
mod tests;
