//! Brings an image into the store: documents first, then all missing layers, then one record.
//!
//! What must not live here: HTTP (see [`Remote`]), tags (a pull moves none).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use self::patience::Patience;
use self::underway::Underway;
use super::erase::Awaited;
use super::image::{Blob, MAX_DOCUMENT, Manifest, offered_variant, platform_of};
use super::unpack::{self, Limits};
use super::{Error, Held, Store};
use crate::disk::Lock;
use crate::model::{Digest, Failure, FailureKind, ImageIdentity, ImageSource, MinFree, Platform};
use crate::registry::document;

mod commit;
mod heap;
mod layer;
mod patience;
mod progress;
mod remote;
mod room;
mod underway;

pub(super) use commit::keep;
pub use heap::share_heap;
pub use layer::LayerFault;
pub use progress::{Far, Gauge, Progress, broken_off};
pub use remote::{Document, Documents, Remote};
pub use room::{Layer, Offer};

/// Layers that are fetched at once: two keep two cores busy, more only cost memory.
const AT_ONCE: usize = 2;
/// Layers that overlayfs can stack (`OVL_MAX_STACK`).
pub const MAX_LAYERS: usize = 500;
/// How often a layer that another process fetches, and a store that is tidied, is looked after: the
/// thread that asks has others to serve.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Which image is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The index's or manifest's digest; `None`: what the reference points at now.
    pub target: Option<Digest>,
    pub platform: Platform,
}

/// One pull that another process is asked for, as JSON; its answer is a `Result` of the image's
/// identity and a [`Failure`](crate::model::Failure).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub source: ImageSource,
    pub want: Want,
    #[serde(default)]
    pub min_free: MinFree,
    /// Bytes a second, at the most.
    pub rate: Option<u64>,
}

/// A layer of the image that is not in the store yet.
#[derive(Debug, Clone)]
struct Missing {
    diff_id: Digest,
    blob: Blob,
}

/// The documents of an image, checked.
#[derive(Debug)]
struct Plan {
    documents: Documents,
    config: Bytes,
    config_digest: Digest,
    identity: ImageIdentity,
    layers: Vec<Missing>,
}

/// Brings the image into the store, with [`Limits`] as they are by default; see [`pull_within`].
pub async fn pull(
    store: &Store,
    remote: &impl Remote,
    source: &ImageSource,
    want: Want,
    progress: &dyn Progress,
) -> Result<Held, Error> {
    pull_within(store, remote, source, want, progress, &Limits::default()).await
}

/// Brings the image into the store and moves no tag. An image that is there already costs nothing,
/// a layer that is there, or that another process is fetching, is not fetched. Nobody removes the image
/// as long as what is given back is there.
///
/// Where the registry fails in the middle, or the future is dropped, layers that are whole by then are
/// kept for the next time, and the rest is removed: by threads that the runtime waits for when it is
/// dropped itself. Killed, it leaves nothing that anybody sees, and work of which the next pull keeps
/// whole layers, too. Needs a tokio runtime with time.
///
/// # Errors
/// [`Error::kind`] says `StorageFull` for a full disk, `InvalidContent` for anything that is not
/// what its digest or the specification says.
pub async fn pull_within(
    store: &Store,
    remote: &impl Remote,
    source: &ImageSource,
    want: Want,
    progress: &dyn Progress,
    limits: &Limits,
) -> Result<Held, Error> {
    let target = match want.target.or_else(|| source.reference.digest().cloned()) {
        Some(target) => target,
        None => remote.target(source).await.map_err(Error::Remote)?,
    };
    let here = store.resolve(&source.reference.pinned(&target))?;
    if let Some(image) = here.filter(|image| want.platform.accepts(&image.identity.platform))
        && let Some(held) = store.hold(image)?
    {
        return Ok(held);
    }
    store.create()?;
    let kept = loop {
        match store.try_lock_shared()? {
            Some(lock) => break lock,
            None => tokio::time::sleep(LOCK_POLL).await,
        }
    };
    let mut plan = plan(remote, source, target, &want.platform).await?;
    let holder = store.holder()?;
    holder.hold(&plan.identity.manifest)?;
    let is_missing = |layer: &Missing| !store.layer_path(&layer.diff_id).is_dir();
    plan.layers.retain(is_missing);
    let fetching = claim(store, &mut plan.layers).await?;
    let own: Vec<_> = plan.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let (awaited, dead) = (Awaited::default(), store.clone());
    let brake = awaited.brake();
    // With the locks, should nobody wait for it any more.
    let bury = move || {
        dead.bury(&own, &brake);
        (fetching, kept)
    };
    let (fetching, kept) = blocking(source, bury).await?;
    drop(awaited);
    plan.layers.retain(is_missing);
    let underway = Arc::new(Underway::new(store, store.pull_workspace()?, fetching, kept));
    if !plan.layers.is_empty() {
        let fetched = fetch(remote, source, &plan.layers, &underway, progress, limits).await;
        if let Err(error) = fetched {
            if !is_passing(&error) {
                underway.forget();
            }
            // Not on the thread that the bus and the watchdog wait for.
            blocking(source, move || drop(underway)).await?;
            return Err(error);
        }
    }
    let manifest = plan.identity.manifest.clone();
    let committing = store.clone();
    // A commit that has begun goes on to its end, and keeps its locks so long.
    let commit = move || {
        underway.forget();
        commit::commit(&committing, &underway.workspace, &plan)
    };
    blocking(source, commit).await??;
    store.held_image(holder, &manifest)?.ok_or(Error::NoSuchImage(manifest))
}

/// Whether the next attempt may have more luck, and is glad of what this one has done.
fn is_passing(error: &Error) -> bool {
    matches!(
        error.kind(),
        FailureKind::Unreachable | FailureKind::ServerError | FailureKind::RateLimited(_)
    )
}

/// Runs what waits for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(
    source: &ImageSource,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::Died(Box::new(source.reference.clone())))
}

/// Fetches manifest and configuration and checks that they make an image.
async fn plan(
    remote: &impl Remote,
    source: &ImageSource,
    target: Digest,
    platform: &Platform,
) -> Result<Plan, Error> {
    let documents = remote.documents(source, &target, platform).await.map_err(Error::Remote)?;
    remote.admit(source, &documents).await.map_err(Error::Remote)?;
    let manifest = manifest(source, &documents)?;
    let config_digest = manifest.config.digest.clone();
    let Configuration { bytes: config, parsed, layers } =
        configuration(remote, source, manifest).await?;
    let digest = documents.manifest.digest.clone();
    let index = documents.index.as_ref();
    let platform =
        platform_of(&parsed, || index.and_then(|index| offered_variant(&index.bytes, &digest)));
    let identity = ImageIdentity { target, manifest: digest, platform };
    Ok(Plan { documents, config, config_digest, identity, layers })
}

/// The manifest of an image, and of nothing else.
fn manifest(source: &ImageSource, documents: &Documents) -> Result<Manifest, Error> {
    let refuse = |why: String| Error::refused(&source.reference, &why);
    let manifest: Manifest = serde_json::from_slice(&documents.manifest.bytes)
        .map_err(|cause| refuse(format!("the manifest cannot be read: {cause}")))?;
    if !manifest.is_image() {
        let kind = shown(manifest.artifact_type());
        return Err(refuse(format!("an artifact of the type {kind:?}, not a container image")));
    }
    Ok(manifest)
}

/// An image's configuration, and the layers that its manifest and it agree on: bottom first, none twice.
struct Configuration {
    bytes: Bytes,
    parsed: ImageConfiguration,
    layers: Vec<Missing>,
}

/// Fetches the configuration and checks that it is the manifest's.
async fn configuration(
    remote: &impl Remote,
    source: &ImageSource,
    manifest: Manifest,
) -> Result<Configuration, Error> {
    let refuse = |why: String| Error::refused(&source.reference, &why);
    let bytes = small_blob(remote, source, &manifest.config).await?;
    let parsed: ImageConfiguration = document::parse(&bytes)
        .map_err(|cause| refuse(format!("the image configuration cannot be read: {cause}")))?;
    let ids = parsed.rootfs().diff_ids();
    if ids.len() != manifest.layers.len() || ids.len() > MAX_LAYERS {
        let (layers, ids) = (manifest.layers.len(), ids.len());
        return Err(refuse(format!(
            "{layers} layers and {ids} diff IDs; they must be as many, and {MAX_LAYERS} at most"
        )));
    }
    let mut seen = HashSet::new();
    let mut layers = Vec::new();
    for (blob, id) in manifest.layers.into_iter().zip(ids) {
        layer::check_type(&blob.media_type).map_err(&refuse)?;
        let diff_id: Digest = id.parse().map_err(|_| refuse(format!("diff ID {:?}", shown(id))))?;
        if seen.insert(diff_id.clone()) {
            layers.push(Missing { diff_id, blob });
        }
    }
    Ok(Configuration { bytes, parsed, layers })
}

/// Text from outside, for a message.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Fetches a blob that is kept in memory; from its beginning, where it breaks off.
async fn small_blob(
    remote: &impl Remote,
    source: &ImageSource,
    blob: &Blob,
) -> Result<Bytes, Error> {
    let refuse = |why: String| Error::refused(&source.reference, &why);
    if blob.size > MAX_DOCUMENT {
        return Err(refuse(format!("an image configuration of {} bytes", blob.size)));
    }
    let (mut patience, began) = (Patience::default(), Instant::now());
    let bytes = loop {
        let failure = match whole(remote, source, blob).await {
            Ok(bytes) => break bytes,
            Err(failure) => failure,
        };
        let Some(wait) = patience.after(&failure, true, 0, began.elapsed()) else {
            return Err(Error::Remote(failure));
        };
        tokio::time::sleep(wait).await;
        remote.try_again(source);
    };
    if bytes.len() as u64 != blob.size || Digest::of(&bytes) != blob.digest {
        return Err(refuse(format!("the image configuration is not {}", blob.digest)));
    }
    Ok(bytes.into())
}

/// What comes of a blob, up to one byte more than it should have.
async fn whole(
    remote: &impl Remote,
    source: &ImageSource,
    blob: &Blob,
) -> Result<Vec<u8>, Failure> {
    let mut stream = remote.blob(source, &blob.digest, blob.size, 0).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() as u64 > blob.size {
            break;
        }
    }
    Ok(bytes)
}

/// Takes the locks of all missing layers, waiting for other pulls that fetch one of them; layers
/// that these have brought are missing no more.
///
/// All locks at once, in one order for everybody, because they are held until the commit: no two
/// pulls wait for each other.
async fn claim(store: &Store, layers: &mut Vec<Missing>) -> Result<Vec<Lock>, Error> {
    layers.sort_by(|a, b| a.diff_id.cmp(&b.diff_id));
    let mut locks = Vec::with_capacity(layers.len());
    let mut missing = Vec::with_capacity(layers.len());
    for layer in layers.drain(..) {
        let lock = loop {
            match store.try_lock_layer(&layer.diff_id)? {
                Some(lock) => break lock,
                None => tokio::time::sleep(LOCK_POLL).await,
            }
        };
        if !store.layer_path(&layer.diff_id).is_dir() {
            locks.push(lock);
            missing.push(layer);
        }
    }
    *layers = missing;
    Ok(locks)
}

/// Fetches and unpacks the layers into the workspace, the largest first, and notes which are done.
/// When it returns, whatever the result, no thread works there any more.
async fn fetch(
    remote: &impl Remote,
    source: &ImageSource,
    layers: &[Missing],
    underway: &Arc<Underway>,
    progress: &dyn Progress,
    limits: &Limits,
) -> Result<(), Error> {
    let workspace = &underway.workspace;
    let space = |fault| Error::Space { image: Box::new(source.reference.clone()), source: fault };
    let sizes = layers.iter().map(|layer| layer.blob.unpacked(limits.expansion));
    let needed = sizes.fold(0, u64::saturating_add);
    let root = unpack::open_root(workspace.path())
        .map_err(|cause| Error::io("open", workspace.path(), cause))?;
    unpack::check_fits(&root, needed, limits).map_err(space)?;
    progress.planned(layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.blob.size)));
    let mut largest_first: Vec<_> = layers.iter().collect();
    largest_first.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));
    // Each thread holds a sender; the channel closes when the last is gone.
    let (working, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    let fetch_one = async |layer: &Missing| {
        let working = working.clone();
        layer::fetch(remote, source, layer, underway, working, progress, limits).await?;
        underway.done(&layer.diff_id);
        Ok(())
    };
    let fetching = stream::iter(largest_first).map(Ok).try_for_each_concurrent(AT_ONCE, fetch_one);
    let result = fetching.await;
    drop(working);
    gone.recv().await;
    result
}

#[cfg(test)]
mod tests;
