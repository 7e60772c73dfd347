use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use futures_util::Stream;
use serde_json::json;
use tempfile::TempDir;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::model::{Failure, FailureKind, Reference};
use crate::registry::{Client, Options, Paths};
use crate::store::{Image, Which};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// A registry in memory that counts what it is asked for.
#[derive(Default)]
struct Fake {
    blobs: HashMap<Digest, Bytes>,
    index: Option<Digest>,
    manifest: Option<Digest>,
    media_type: &'static str,
    fetched: RefCell<HashMap<Digest, usize>>,
    /// How often it was to be asked though it was not reached before.
    asked_again: std::cell::Cell<usize>,
    /// A blob that stops coming after its first piece.
    stuck: Option<Digest>,
    /// Blobs each of which comes only when all have been asked for.
    together: Vec<Digest>,
    /// A blob whose first answers, so many, break off after a piece, and whether those that follow
    /// bring anything.
    breaks: Option<(Digest, usize, bool)>,
    /// Why the host's policy does not let it in, where it does not.
    kept_out: Option<&'static str>,
}

/// A layer as it is pushed: its blob, and what manifest and configuration say of it.
#[derive(Clone)]
struct Layer {
    blob: Vec<u8>,
    digest: Digest,
    diff_id: Digest,
    size: u64,
    media_type: &'static str,
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn layer_of(archive: &[u8], media_type: &'static str) -> Layer {
    let blob = match media_type {
        GZIP => {
            let fast = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
            encoder.write_all(archive).unwrap();
            encoder.finish().unwrap()
        }
        ZSTD => zstd::encode_all(archive, 1).unwrap(),
        _ => archive.to_vec(),
    };
    let (digest, size) = (Digest::of(&blob), blob.len() as u64);
    Layer { blob, digest, diff_id: Digest::of(archive), size, media_type }
}

fn layer(name: &str, data: &str) -> Layer {
    layer_of(&archive(&[(name, data.as_bytes())]), GZIP)
}

impl Fake {
    fn add(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest.clone(), bytes.into());
        digest
    }

    fn of(layers: &[Layer]) -> Self {
        Self::with(layers, OCI_MANIFEST, OCI_CONFIG)
    }

    fn with(layers: &[Layer], media_type: &'static str, config_type: &str) -> Self {
        let mut fake = Self { media_type, ..Self::default() };
        let platform = Platform::host();
        let ids: Vec<_> = layers.iter().map(|layer| &layer.diff_id).collect();
        let config = json!({
            "architecture": platform.architecture, "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": {"Cmd": ["sleep", "1"], "Labels": {"a": "b"}},
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let config = config.to_string().into_bytes();
        let size = config.len();
        let config = fake.add(config);
        let blobs: Vec<_> = layers
            .iter()
            .map(|layer| {
                fake.blobs.insert(layer.digest.clone(), layer.blob.clone().into());
                json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size})
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type,
            "config": {"mediaType": config_type, "digest": config, "size": size},
            "layers": blobs,
        });
        let manifest = fake.add(manifest.to_string().into_bytes());
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": media_type, "digest": manifest, "size": 1, "platform": platform},
        ]});
        fake.index = Some(fake.add(index.to_string().into_bytes()));
        fake.manifest = Some(manifest);
        fake
    }

    fn document(&self, digest: &Digest, media_type: &str) -> Document {
        let (media_type, digest) = (media_type.to_owned(), digest.clone());
        Document { media_type, bytes: self.blobs[&digest].clone(), digest }
    }

    fn fetched(&self, layer: &Layer) -> usize {
        self.fetched.borrow().get(&layer.digest).copied().unwrap_or(0)
    }
}

impl Remote for Fake {
    async fn target(&self, _: &ImageSource) -> Result<Digest, Failure> {
        Ok(self.index.clone().unwrap())
    }

    async fn documents(
        &self,
        _: &ImageSource,
        target: &Digest,
        _: &Platform,
    ) -> Result<Documents, Failure> {
        let index = self.index.as_ref().filter(|index| *index == target);
        Ok(Documents {
            index: index.map(|index| self.document(index, OCI_INDEX)),
            manifest: self.document(self.manifest.as_ref().unwrap(), self.media_type),
        })
    }

    async fn admit(&self, source: &ImageSource, _: &Documents) -> Result<(), Failure> {
        match &self.kept_out {
            Some(why) => Err(Failure::new(
                FailureKind::Configuration,
                format!("{}: {why}", source.reference),
            )),
            None => Ok(()),
        }
    }

    fn try_again(&self, _: &ImageSource) {
        self.asked_again.set(self.asked_again.get() + 1);
    }

    async fn blob(
        &self,
        _: &ImageSource,
        digest: &Digest,
        _: u64,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Unpin, Failure> {
        let nth = {
            let mut fetched = self.fetched.borrow_mut();
            let count = fetched.entry(digest.clone()).or_default();
            *count += 1;
            *count
        };
        let bytes = self.blobs[digest].slice(usize::try_from(offset).unwrap()..);
        if let Some((broken, times, ends_well)) = &self.breaks
            && broken == digest
            && (nth <= *times || !ends_well)
        {
            let piece = bytes.slice(..if nth <= *times { 1000.min(bytes.len() / 2) } else { 0 });
            let broken_off = Failure::new(FailureKind::Unreachable, "broken off");
            let pieces = stream::iter([Ok(piece), Err(broken_off)]);
            return Ok(pieces.boxed_local().chain(stream::empty().boxed_local()));
        }
        let stuck = self.stuck.as_ref() == Some(digest);
        let step = if stuck { bytes.len() / 2 } else { 1000 };
        let pieces = bytes.chunks(step.max(1)).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        let alone = self.together.contains(digest);
        let pieces = stream::iter(pieces).then(move |piece| async move {
            let came = || self.together.iter().all(|one| self.fetched.borrow().contains_key(one));
            while alone && !came() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::task::yield_now().await;
            Ok(piece)
        });
        let count = if stuck { 1 } else { usize::MAX };
        let silence =
            if stuck { stream::pending().boxed_local() } else { stream::empty().boxed_local() };
        Ok(pieces.take(count).boxed_local().chain(silence))
    }
}

fn source() -> ImageSource {
    ImageSource { reference: reference(), authfile: None }
}

fn reference() -> Reference {
    "registry.example:5000/team/app:1".parse().unwrap()
}

fn want() -> Want {
    Want { target: None, platform: Platform::host() }
}

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One that does not wait: its time passes when all sleep.
fn impatient() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn run(store: &Store, fake: &Fake) -> Result<Image, Error> {
    runtime().block_on(pull(store, fake, &source(), want(), &())).map(Held::let_go)
}

fn entries(path: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Nothing is to be seen of an image, and nothing is left of the work.
#[track_caller]
fn assert_empty(store: &Store) {
    for dir in ["layers/sha256", "tmp", "images/blobs/sha256"] {
        assert_eq!(entries(&store.root().join(dir)), Vec::<std::path::PathBuf>::new());
    }
    assert!(store.images().unwrap().is_empty());
}

fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn pulls_once_and_tags_when_told() {
    let (_dir, store) = store();
    let layers = [
        layer("a", "1"),
        layer_of(&archive(&[("b", b"2")]), ZSTD),
        layer_of(&archive(&[("c", b"3")]), PLAIN),
        layer("a", "1"),
    ];
    let fake = Fake::of(&layers);
    let image = run(&store, &fake).unwrap();
    assert_eq!(image.identity.target, fake.index.clone().unwrap());
    assert_eq!(image.identity.manifest, fake.manifest.clone().unwrap());
    assert_eq!(image.identity.platform.architecture, Platform::host().architecture);
    let seen: Vec<_> = image
        .layers
        .iter()
        .map(|layer| std::fs::read_to_string(&entries(layer)[0]).unwrap())
        .collect();
    assert_eq!(seen, ["2", "3", "1"], "bottom first, the layer that comes twice on top");
    assert_eq!(image.created, Some("2026-01-02T03:04:05Z".parse().unwrap()));
    assert!(image.references.is_empty(), "a pull moves no tag");
    assert!(store.resolve(&reference()).unwrap().is_none());
    assert!(entries(&store.root().join("tmp")).is_empty());

    run(&store, &fake).unwrap();
    assert_eq!(fake.fetched(&layers[0]), 1);

    store.tag(&reference(), &image.identity.manifest).unwrap();
    let tagged = store.resolve(&reference()).unwrap().unwrap();
    assert_eq!((tagged.references.clone(), &tagged.identity), (vec![reference()], &image.identity));
    for digest in [&image.identity.manifest, &image.identity.target] {
        assert!(store.resolve(&reference().pinned(digest)).unwrap().is_some());
    }
    assert_eq!(store.images().unwrap().len(), 1);
}

#[test]
fn a_tag_moves_and_the_old_image_stays() {
    let (_dir, store) = store();
    let old = run(&store, &Fake::of(&[layer("a", "old")])).unwrap();
    store.tag(&reference(), &old.identity.manifest).unwrap();
    let new = run(&store, &Fake::of(&[layer("a", "new")])).unwrap();
    let now = |store: &Store| store.resolve(&reference()).unwrap().unwrap().identity;
    assert_eq!(now(&store), old.identity);
    store.tag(&reference(), &new.identity.manifest).unwrap();
    assert_eq!(now(&store), new.identity);
    assert_eq!(store.images().unwrap().len(), 2);
    store.tag(&reference(), &old.identity.manifest).unwrap();
    assert_eq!(now(&store), old.identity);
}

#[test]
fn an_index_made_anew_around_the_same_manifest() {
    let (_dir, store) = store();
    let mut fake = Fake::of(&[layer("a", "1")]);
    let old = run(&store, &fake).unwrap();
    store.tag(&reference(), &old.identity.manifest).unwrap();
    fake.index = Some(fake.add(br#"{"schemaVersion":2,"manifests":[]}"#.to_vec()));
    let new = run(&store, &fake).unwrap();
    assert_eq!(new.identity.manifest, old.identity.manifest);
    assert_eq!(Some(&new.identity.target), fake.index.as_ref());
    store.tag(&reference(), &new.identity.manifest).unwrap();
    assert_eq!(store.resolve(&reference()).unwrap().unwrap().identity, new.identity);
    assert!(store.resolve(&reference().pinned(&old.identity.target)).unwrap().is_some());
    assert_eq!(store.images().unwrap().len(), 1);
}

/// Else the next update would look for an image that runs on the oldest processor.
#[test]
fn a_variant_that_only_the_index_names_is_kept() {
    let (_dir, store) = store();
    let mut fake = Fake::of(&[layer("a", "1")]);
    let platform = Platform { variant: Some("v7".into()), ..Platform::host() };
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": Digest::of(b"other"), "size": 1},
        {"mediaType": OCI_MANIFEST, "digest": fake.manifest, "size": 1, "platform": platform},
    ]});
    fake.index = Some(fake.add(index.to_string().into_bytes()));
    let pulled = run(&store, &fake).unwrap();
    assert_eq!(pulled.identity.platform, platform);
    store.tag(&reference(), &pulled.identity.manifest).unwrap();
    assert_eq!(store.resolve(&reference()).unwrap().unwrap().identity, pulled.identity);
}

#[test]
fn bindings_are_kept_and_ended() {
    let (_dir, store) = store();
    let manifest = run(&store, &Fake::of(&[layer("a", "1")])).unwrap().identity.manifest;
    let unit = "app@1.service".parse().unwrap();
    assert_eq!(store.binding(&unit, &reference()).unwrap(), None);
    store.bind(&unit, &reference(), &manifest).unwrap();
    let again = Store::open(store.root()).unwrap();
    assert_eq!(again.binding(&unit, &reference()).unwrap(), Some(manifest.clone()));
    // A tag that somebody moves since counts again; moved back, it does not.
    let other = run(&store, &Fake::of(&[layer("a", "2")])).unwrap().identity.manifest;
    store.tag(&reference(), &other).unwrap();
    assert_eq!(store.binding(&unit, &reference()).unwrap(), None);
    store.bind(&unit, &reference(), &manifest).unwrap();
    assert_eq!(store.binding(&unit, &reference()).unwrap(), Some(manifest));
    assert!(store.bind(&unit, &reference(), &Digest::of(b"unknown")).is_err());
    store.unbind(&unit, &reference()).unwrap();
    store.unbind(&unit, &reference()).unwrap();
    assert_eq!(store.binding(&unit, &reference()).unwrap(), None);
    assert!(entries(&store.root().join("bindings")).is_empty());
}

#[test]
fn skopeo_reads_the_layout() {
    let (_dir, store) = store();
    let image = run(&store, &Fake::of(&[layer("a", "1")])).unwrap();
    store.tag(&reference(), &image.identity.manifest).unwrap();
    let images = store.root().join("images");
    let target = format!("oci:{}:{}", images.display(), reference());
    let output = match Command::new("skopeo").args(["inspect", &target]).output() {
        Err(cause) => return crate::tests::skip(&format!("skopeo cannot be run: {cause}")),
        Ok(output) => output,
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["Digest"], image.identity.manifest.to_string());
    assert_eq!(found["Labels"]["a"], "b");
}

#[test]
fn an_artifact_of_another_program_is_no_image() {
    let (_dir, store) = store();
    run(&store, &Fake::of(&[layer("a", "1")])).unwrap();
    let add = |document: serde_json::Value| {
        let bytes = document.to_string();
        let digest = Digest::of(bytes.as_bytes());
        std::fs::write(store.blob_path(&digest), &bytes).unwrap();
        json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": bytes.len()})
    };
    let mut config = add(json!({"name": "chart", "version": "1"}));
    config["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    let chart = add(json!({"schemaVersion": 2, "config": config, "layers": []}));
    let path = store.root().join("images/index.json");
    let mut index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().push(chart);
    std::fs::write(&path, index.to_string()).unwrap();
    assert_eq!(store.images().unwrap().len(), 1);
}

#[test]
fn an_image_of_docker_keeps_its_manifest() {
    let (_dir, store) = store();
    let docker = Layer { media_type: DOCKER_GZIP, ..layer("a", "1") };
    let fake = Fake::with(&[docker], DOCKER_MANIFEST, DOCKER_CONFIG);
    let image = run(&store, &fake).unwrap();
    assert_eq!(Some(&image.identity.manifest), fake.manifest.as_ref());
    let index = std::fs::read_to_string(store.root().join("images/index.json")).unwrap();
    assert!(index.contains(DOCKER_MANIFEST), "{index}");
}

#[test]
fn whatever_does_not_match_is_refused_and_removed() {
    let good = layer("a", &"text ".repeat(10_000));
    let half = &good.blob[..good.blob.len() / 2];
    let other = layer("a", "other");
    let broken = [
        (
            "truncated gzip",
            Layer {
                blob: half.to_vec(),
                size: half.len() as u64,
                digest: Digest::of(half),
                ..good.clone()
            },
        ),
        ("diff ID", Layer { diff_id: Digest::of(b"other"), ..good.clone() }),
        ("size", Layer { size: good.size + 1, ..good.clone() }),
        (
            "blob digest",
            Layer { blob: other.blob, size: other.size, diff_id: other.diff_id, ..good.clone() },
        ),
        (
            "no gzip",
            Layer {
                blob: b"plain".to_vec(),
                digest: Digest::of(b"plain"),
                size: 5,
                ..good.clone()
            },
        ),
        (
            "unknown compression",
            Layer { media_type: "application/vnd.oci.image.layer.v1.tar+xz", ..good.clone() },
        ),
        (
            "foreign",
            Layer {
                media_type: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                ..good.clone()
            },
        ),
        ("unknown", Layer { media_type: "text/plain", ..good.clone() }),
    ];
    for (what, bad) in broken {
        let (_dir, store) = store();
        let error = run(&store, &Fake::of(&[layer("fine", "x"), bad])).unwrap_err();
        assert_eq!(error.kind(), FailureKind::InvalidContent, "{what}: {error}");
        assert_empty(&store);
    }
    let (_dir, store) = store();
    let error = run(&store, &Fake::with(&[good], OCI_MANIFEST, "application/vnd.example+json"))
        .unwrap_err();
    assert!(error.to_string().contains("artifact"), "{error}");
    assert_empty(&store);
}

fn noise(length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect()
}

#[test]
fn a_download_that_breaks_off_goes_on() {
    let (_dir, store) = store();
    let big = layer_of(&archive(&[("noise", &noise(10_000))]), GZIP);
    let mut fake = Fake::of(std::slice::from_ref(&big));
    fake.breaks = Some((big.digest.clone(), 2, true));
    run(&store, &fake).unwrap();
    assert_eq!((fake.fetched(&big), fake.asked_again.get()), (3, 2));
}

#[test]
fn a_configuration_that_breaks_off_is_fetched_anew() {
    for (times, is_enough) in [(2, true), (3, false)] {
        let (_dir, store) = store();
        let mut fake = Fake::of(&[layer("a", "1")]);
        let manifest = &fake.blobs[fake.manifest.as_ref().unwrap()];
        let config = serde_json::from_slice::<Manifest>(manifest).unwrap().config.digest;
        fake.breaks = Some((config.clone(), times, true));
        let pulled = impatient().block_on(pull(&store, &fake, &source(), want(), &()));
        assert_eq!(fake.fetched.borrow()[&config], 3, "twice more, and no more than that");
        assert_eq!(pulled.is_ok(), is_enough);
    }
}

#[test]
fn whole_layers_of_a_pull_that_failed_are_kept() {
    let (_dir, store) = store();
    let big = layer_of(&archive(&[("noise", &noise(10_000))]), GZIP);
    let small = layer("small", "1");
    let mut fake = Fake::of(&[big.clone(), small.clone()]);
    fake.breaks = Some((big.digest.clone(), 1, false));
    let error = run(&store, &fake).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unreachable, "{error}");
    assert_eq!(fake.fetched(&big), 3, "no more without progress");
    assert!(store.images().unwrap().is_empty() && entries(&store.root().join("tmp")).is_empty());
    fake.breaks = None;
    run(&store, &fake).unwrap();
    assert_eq!((fake.fetched(&big), fake.fetched(&small)), (4, 1));
}

#[test]
fn the_first_bytes_say_how_a_layer_is_compressed() {
    let (_dir, store) = store();
    let of = |name, media_type| layer_of(&archive(&[(name, b"x")]), media_type);
    let layers = [
        Layer { media_type: ZSTD, ..of("a", GZIP) },
        Layer { media_type: PLAIN, ..of("b", ZSTD) },
        Layer { media_type: GZIP, ..of("c", PLAIN) },
    ];
    assert_eq!(run(&store, &Fake::of(&layers)).unwrap().layers.len(), 3);
}

#[test]
fn a_bomb_stops_at_its_limit() {
    let (_dir, store) = store();
    let fake = Fake::of(&[layer_of(&archive(&[("zeros", &vec![0; 4 << 20])]), GZIP)]);
    let refused = |fake: &Fake, limits: &Limits| {
        let pulled = runtime().block_on(pull_within(&store, fake, &source(), want(), &(), limits));
        assert_empty(&store);
        crate::model::failure::chain(&pulled.unwrap_err())
    };
    let size = Limits { bytes: 1 << 20, ..Limits::default() };
    assert!(refused(&fake, &size).contains("more than 1048576 bytes"));
    let ratio = Limits { ratio: 50, ratio_from: 1 << 20, ..Limits::default() };
    assert!(refused(&fake, &ratio).contains("as those of no image do"));
    let zstd = Fake::of(&[layer_of(&archive(&[("zeros", &vec![0; 4 << 20])]), ZSTD)]);
    assert!(refused(&zstd, &ratio).contains("as those of no image do"));
    // What is not compressed is what it is, and what is small may be of zeros.
    let plain = Fake::of(&[layer_of(&archive(&[("zeros", &vec![0; 4 << 20])]), PLAIN)]);
    runtime().block_on(pull_within(&store, &plain, &source(), want(), &(), &ratio)).unwrap();
    runtime().block_on(pull(&store, &zstd, &source(), want(), &())).unwrap();
}

#[test]
fn pulls_at_once_fetch_each_layer_once() {
    let (_dir, store) = store();
    let layers = [layer("a", &"1".repeat(100_000)), layer("b", "2"), layer("c", "3")];
    let fake = Fake::of(&layers);
    let (source, again) = (source(), Store::open(store.root()).unwrap());
    let both = runtime().block_on(async {
        let first = pull(&store, &fake, &source, want(), &());
        futures_util::future::join(first, pull(&again, &fake, &source, want(), &())).await
    });
    assert_eq!(both.0.unwrap().identity, both.1.unwrap().identity);
    for layer in &layers {
        assert_eq!(fake.fetched(layer), 1);
    }
    // The same from threads with runtimes of their own, for images that share a layer.
    let shared = layer("shared", "4");
    let fetched: usize = std::thread::scope(|scope| {
        let pulls = ["5", "6", "7"].map(|own| {
            let (store, shared) = (&store, &shared);
            scope.spawn(move || {
                let fake = Fake::of(&[shared.clone(), layer("own", own)]);
                run(store, &fake).unwrap();
                fake.fetched(shared)
            })
        });
        pulls.into_iter().map(|pull| pull.join().unwrap()).sum()
    });
    assert_eq!(fetched, 1);
    assert_eq!(store.images().unwrap().len(), 4);
}

#[test]
fn a_pull_that_is_dropped_leaves_whole_layers_only() {
    let (_dir, store) = store();
    let stuck = layer("big", &"x".repeat(300_000));
    let whole = layer("a", "1");
    let mut fake = Fake::of(&[whole.clone(), stuck.clone()]);
    fake.stuck = Some(stuck.digest.clone());
    let runtime = runtime();
    runtime.block_on(async {
        let source = source();
        let pulling = pull(&store, &fake, &source, want(), &());
        tokio::select! {
            _ = pulling => panic!("the blob never ends"),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    });
    drop(runtime);
    assert_eq!(fake.fetched(&stuck), 1);
    assert!(entries(&store.root().join("tmp")).is_empty(), "its threads have ended");
    let layers = entries(&store.root().join("layers/sha256"));
    assert_eq!(layers, [store.layer_path(&whole.diff_id)]);
    assert!(store.images().unwrap().is_empty());
    fake.stuck = None;
    run(&store, &fake).unwrap();
    assert_eq!(fake.fetched(&whole), 1, "what is whole is not fetched again");
}

/// A process that ends by SIGKILL, also where the test fails.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A layer that gets stuck, and a small one, in the pull of a process of its own, which the test `name` is run
/// again for; `None` in that process, when it is over.
fn stuck_process(name: &str, store: &Store) -> Option<(Killed, Fake, [Layer; 2])> {
    const STATE: &str = "UPDATERD_TEST_KILLED_PULL";
    let layers = [layer("a", "1"), layer("big", &"x".repeat(300_000))];
    let mut fake = Fake::of(&layers);
    if let Some(root) = std::env::var_os(STATE) {
        fake.stuck = Some(layers[1].digest.clone());
        let _ = run(&Store::open(Path::new(&root)).unwrap(), &fake);
        return None;
    }
    store.create().unwrap();
    let test = format!("store::pull::tests::{name}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    let child = command.args([&test, "--exact"]).env(STATE, store.root()).spawn().unwrap();
    let child = Killed(child);
    let tmp = store.root().join("tmp");
    until("one layer is whole, and one has begun to be", || {
        let is_whole = |work: &Path| crate::store::seal::whole_in(work).len() == 1;
        let begun = |work: &Path| work.join(layers[1].diff_id.hex()).is_dir();
        entries(&tmp).iter().any(|work| is_whole(work) && begun(work))
    });
    Some((child, fake, layers))
}

/// Nothing is to be seen of it; what was whole, the next pull need not fetch.
#[test]
fn a_pull_that_is_killed_leaves_whole_layers_to_the_next() {
    let (_dir, store) = store();
    let name = "a_pull_that_is_killed_leaves_whole_layers_to_the_next";
    let Some((child, fake, [small, stuck])) = stuck_process(name, &store) else { return };
    drop(child);
    let tmp = store.root().join("tmp");
    assert!(!entries(&tmp).is_empty());
    assert!(entries(&store.root().join("layers/sha256")).is_empty());
    assert!(store.images().unwrap().is_empty());
    run(&store, &fake).unwrap();
    assert!(entries(&tmp).is_empty(), "the next pull drops the work of the dead one");
    assert_eq!((fake.fetched(&small), fake.fetched(&stuck)), (0, 1));
    assert!(entries(&store.root().join("held")).is_empty());
    assert_eq!(store.check().unwrap().flaws, []);
}

#[test]
fn who_waits_for_a_process_that_is_killed_goes_on_for_it() {
    let (_dir, store) = store();
    let name = "who_waits_for_a_process_that_is_killed_goes_on_for_it";
    let Some((child, fake, [small, stuck])) = stuck_process(name, &store) else { return };
    let source = source();
    runtime().block_on(async {
        let waiting = std::pin::pin!(pull(&store, &fake, &source, want(), &()));
        let kill = async {
            tokio::time::sleep(4 * LOCK_POLL).await;
            assert_eq!((fake.fetched(&small), fake.fetched(&stuck)), (0, 0), "it waits");
            drop(child);
        };
        futures_util::future::join(waiting, kill).await.0.unwrap();
    });
    assert_eq!((fake.fetched(&small), fake.fetched(&stuck)), (0, 1));
    assert_eq!(store.check().unwrap().flaws, []);
}

/// Each waits for the other to begin.
#[test]
fn layers_come_side_by_side() {
    let (_dir, store) = store();
    let layers = [layer("a", &"1".repeat(100_000)), layer("b", &"2".repeat(100_000))];
    let together = layers.iter().map(|layer| layer.digest.clone()).collect();
    let fake = Fake { together, ..Fake::of(&layers) };
    let both = async {
        let source = source();
        let pulling = pull(&store, &fake, &source, want(), &());
        tokio::time::timeout(Duration::from_secs(20), pulling).await.map(|pulled| pulled.map(drop))
    };
    runtime().block_on(both).unwrap().unwrap();
}

#[test]
fn what_is_held_is_not_removed() {
    let (_dir, store) = store();
    let of = |seed: &str| Fake::of(&[layer("a", seed)]);
    let (first, second) = (of("1"), of("2"));
    let held = runtime().block_on(pull(&store, &first, &source(), want(), &())).unwrap();
    let other = run(&store, &second).unwrap();
    let again = Store::open(store.root()).unwrap();
    let forget = |image: &Image| again.forget(&image.identity.manifest, Which::Any).unwrap();
    assert_eq!((forget(&held), forget(&other)), (false, true));
    // Also where nothing but the holder knows of it.
    std::fs::write(store.root().join("images/index.json"), r#"{"schemaVersion":2}"#).unwrap();
    again.collect().unwrap();
    assert_eq!((held.layers[0].is_dir(), other.layers[0].is_dir()), (true, false));
    assert_eq!(again.check().unwrap().flaws, [], "what is held need not be there");
    // One that was found meanwhile is looked for again.
    assert!(store.hold(other).unwrap().is_none());
    let image = held.let_go();
    again.collect().unwrap();
    assert!(!image.layers[0].is_dir() && entries(&store.root().join("held")).is_empty());
    assert!(entries(&store.root().join("seals")).is_empty());
    // And one that has a name by now does not go for having none.
    let named = run(&store, &first).unwrap();
    store.tag(&reference(), &named.identity.manifest).unwrap();
    assert!(!store.forget(&named.identity.manifest, Which::Unnamed).unwrap());
    // Who brings an image for another process has that hold it.
    let holder = store.holder().unwrap();
    let name = holder.name().to_str().unwrap();
    again.hold_for(name, &named.identity.manifest).unwrap();
    assert!(again.hold_for("../held", &named.identity.manifest).is_err());
    assert!(!again.forget(&named.identity.manifest, Which::Any).unwrap());
    drop(holder);
    assert!(again.forget(&named.identity.manifest, Which::Any).unwrap());
}

/// A small disk, mounted for a test.
struct Disk(TempDir);

impl Disk {
    fn of(options: &std::ffi::CStr) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::NODEV;
        match rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, options) {
            Ok(()) => Some(Self(dir)),
            Err(cause) => {
                crate::tests::skip(&format!("no tmpfs can be mounted here: {cause}"));
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_told_and_cleaned() {
    let raw = layer_of(&archive(&[("noise", &noise(20 << 20))]), PLAIN);
    let zeros = layer_of(&archive(&[("zeros", &vec![0; 20 << 20])]), GZIP);
    // Before the download, in the middle of it with a reserve, and by ENOSPC without one.
    let none = Limits { min_free: MinFree { bytes: 0, percent: 0 }, ..Limits::default() };
    for (layer, limits, raw_size) in [
        (raw, Limits::default(), true),
        (zeros.clone(), Limits::default(), false),
        (zeros, none, false),
    ] {
        let Some(disk) = Disk::of(c"size=12m") else { return };
        let store = Store::open(disk.0.path()).unwrap();
        let small = self::layer("small", "1");
        let fake = Fake::of(&[small, layer]);
        let pulled =
            runtime().block_on(pull_within(&store, &fake, &source(), want(), &(), &limits));
        let error = pulled.unwrap_err();
        assert_eq!(error.kind(), FailureKind::StorageFull, "{error:?}");
        let told = crate::model::failure::chain(&error);
        assert_eq!(told.contains("are needed"), raw_size, "{told}");
        assert_empty(&store);
    }
}

#[test]
fn progress_is_told() {
    #[derive(Default)]
    struct Sum(RefCell<(u64, u64, usize)>);
    impl Progress for Sum {
        fn started(&self, _: &Digest, size: u64) {
            self.0.borrow_mut().0 += size;
        }
        fn advanced(&self, _: &Digest, bytes: u64) {
            self.0.borrow_mut().1 += bytes;
        }
        fn done(&self, _: &Digest) {
            self.0.borrow_mut().2 += 1;
        }
    }
    let (_dir, store) = store();
    let layers = [layer("a", &"1".repeat(100_000)), layer("b", "2")];
    let sum = Sum::default();
    let fake = Fake::of(&layers);
    runtime().block_on(pull(&store, &fake, &source(), want(), &sum)).unwrap();
    let size = layers.iter().map(|layer| layer.size).sum::<u64>();
    assert_eq!(*sum.0.borrow(), (size, size, 2));
}

/// Through the project's own registry client, over HTTP.
#[tokio::test(flavor = "current_thread")]
async fn pulls_over_http() {
    let (_dir, store) = store();
    let layers = [layer("a", &"1".repeat(300_000)), layer("b", "2")];
    let fake = Fake::of(&layers);
    let (blobs, index, manifest) =
        (fake.blobs.clone(), fake.index.clone().unwrap(), fake.manifest.clone().unwrap());
    let server = MockServer::start().await;
    let answer = move |request: &Request| {
        let name = request.url.path().rsplit('/').next().unwrap().to_owned();
        let digest = if name == "1" { index.clone() } else { name.parse().unwrap() };
        let kind = if digest == index {
            OCI_INDEX
        } else if digest == manifest {
            OCI_MANIFEST
        } else {
            "application/octet-stream"
        };
        ResponseTemplate::new(200)
            .set_body_raw(blobs[&digest].to_vec(), kind)
            .insert_header("docker-content-digest", digest.to_string())
    };
    Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
    let options =
        Options { tls_verify: Some(false), paths: Paths::default(), ..Options::default() };
    let client = Client::new(&options).unwrap();
    let reference = format!("{}/team/app:1", server.address()).parse().unwrap();
    let source = ImageSource { reference, authfile: None };
    let image = pull(&store, &client, &source, want(), &()).await.unwrap();
    assert_eq!(Some(&image.identity.target), fake.index.as_ref());
    assert_eq!(image.layers.len(), 2);
    let requests = server.received_requests().await.unwrap().len();
    assert_eq!(requests, 6, "HEAD, index, manifest, configuration, two layers");
    pull(&store, &client, &source, want(), &()).await.unwrap();
    assert_eq!(server.received_requests().await.unwrap().len(), 7, "a HEAD");
}

#[test]
fn what_the_host_does_not_let_in_is_not_fetched() {
    let (_dir, store) = store();
    let layer = layer("a", "1");
    let mut fake = Fake::of(std::slice::from_ref(&layer));
    fake.kept_out = Some("the rule says no");
    let error = run(&store, &fake).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Configuration);
    assert!(error.to_string().contains("the rule says no"), "{error}");
    assert_eq!(fake.fetched(&layer), 0);
    assert_empty(&store);
}
