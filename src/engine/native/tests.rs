use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::model::Platform;
use crate::store::Which;
use crate::store::containers::Process;
use crate::store::pull::{Document, Documents};

/// No registry at all.
struct Nowhere;

fn gone() -> Failure {
    Failure::new(FailureKind::Unreachable, "nowhere")
}

impl Remote for Nowhere {
    async fn target(&self, _: &ImageSource) -> Result<Digest, Failure> {
        Err(gone())
    }
    async fn documents(
        &self,
        _: &ImageSource,
        _: &Digest,
        _: &Platform,
    ) -> Result<Documents, Failure> {
        Err(gone())
    }
    async fn admit(&self, _: &ImageSource, _: &Documents) -> Result<(), Failure> {
        Ok(())
    }
    fn try_again(&self, _: &ImageSource) {}
    async fn blob(
        &self,
        _: &ImageSource,
        _: &Digest,
        _: u64,
        _: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Unpin, Failure> {
        Ok(stream::iter([Err(gone())]))
    }
}

/// A registry with one image without layers, and without an index.
struct Single {
    manifest: Bytes,
    config: Bytes,
}

impl Single {
    fn of(architecture: &str) -> Self {
        let config = json!({
            "architecture": architecture, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let config = config.to_string();
        let manifest = json!({
            "schemaVersion": 2, "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": Digest::of(config.as_bytes()), "size": config.len()},
        });
        Self { manifest: manifest.to_string().into(), config: config.into() }
    }
}

impl Remote for Single {
    async fn target(&self, _: &ImageSource) -> Result<Digest, Failure> {
        Ok(Digest::of(&self.manifest))
    }
    async fn documents(
        &self,
        _: &ImageSource,
        target: &Digest,
        _: &Platform,
    ) -> Result<Documents, Failure> {
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let (bytes, digest) = (self.manifest.clone(), target.clone());
        Ok(Documents { index: None, manifest: Document { media_type, bytes, digest } })
    }
    async fn admit(&self, _: &ImageSource, _: &Documents) -> Result<(), Failure> {
        Ok(())
    }
    fn try_again(&self, _: &ImageSource) {}
    async fn blob(
        &self,
        _: &ImageSource,
        _: &Digest,
        _: u64,
        _: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Unpin, Failure> {
        Ok(stream::iter([Ok(self.config.clone())]))
    }
}

fn record(id: char, labels: &[(&str, &str)], image_labels: &[(&str, &str)]) -> Record {
    let map = |labels: &[(&str, &str)]| -> BTreeMap<String, String> {
        labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    };
    Record {
        id: id.to_string().repeat(64).parse().unwrap(),
        name: "web".into(),
        reference: "quay.io/a/b:1".parse().unwrap(),
        authfile: Some("/flag.json".into()),
        pod: None,
        allotted: None,
        image: ImageIdentity {
            target: Digest::of(b"i"),
            manifest: Digest::of(b"m"),
            platform: Platform::host(),
        },
        labels: map(labels),
        image_labels: map(image_labels),
        unit: Some("lie.service".parse().unwrap()),
        host: None,
        supervisor: Process::current().ok(),
        pid: None,
        cgroup: None,
        command: Vec::new(),
        created: Timestamp::UNIX_EPOCH,
        started: None,
        ended: None,
        restarts: 0,
        rootfs: "/r".into(),
        stop_signal: "SIGTERM".into(),
        stop_timeout: 10,
        log_driver: "none".into(),
        volumes: Vec::new(),
        mounted_images: Vec::new(),
        log: Default::default(),
        remove: true,
        cidfile: None,
    }
}

fn read(record: &Record) -> Option<Container> {
    container(record, |_| Ok(Some("true.service".parse().unwrap()))).unwrap()
}

#[test]
fn the_label_decides_and_the_operators_wins() {
    let (own, of_image) = ([(label::AUTOUPDATE, "local")], [(label::AUTOUPDATE, "registry")]);
    assert_eq!(read(&record('a', &[], &[])), None);
    assert_eq!(read(&record('a', &[], &of_image)).unwrap().policy, Ok(Policy::Registry));
    let container = read(&record('a', &own, &of_image)).unwrap();
    assert_eq!(container.policy, Ok(Policy::Local));
    assert_eq!(container.unit.unwrap().as_str(), "true.service");
    assert!(read(&record('a', &[(label::AUTOUPDATE, "x")], &[])).unwrap().policy.is_err());
}

/// A restart of a service for a container that somebody left behind in it would end the service.
#[test]
fn a_guest_belongs_to_no_unit_while_its_host_goes_on() {
    let mut left = record('a', &[(label::AUTOUPDATE, "registry")], &[]);
    left.host = Process::current().ok();
    let container = read(&left).unwrap();
    assert_eq!((container.unit, container.guest_of), (None, "true.service".parse().ok()));
    left.host.as_mut().unwrap().start_time += 1;
    let container = read(&left).unwrap();
    assert_eq!((container.unit, container.guest_of), ("true.service".parse().ok(), None));
}

#[test]
fn an_image_names_no_credentials_file() {
    let file = |labels: &[(&str, &str)], image_labels: &[(&str, &str)]| {
        authfile(&record('a', labels, image_labels)).unwrap()
    };
    let own = [(label::AUTHFILE, "/own.json")];
    let theirs = [(label::AUTHFILE, "/theirs.json")];
    assert_eq!(file(&own, &[]), PathBuf::from("/own.json"));
    assert_eq!(file(&[], &theirs), PathBuf::from("/flag.json"));
    assert_eq!(file(&theirs, &theirs), PathBuf::from("/flag.json"));
}

fn native(dir: &std::path::Path) -> Native<Nowhere> {
    let store = Store::open(&dir.join("state")).unwrap();
    Native::new(store, Records::open(&dir.join("run")), Nowhere, Scope::System)
}

#[tokio::test(flavor = "current_thread")]
async fn only_living_containers_are_in_the_inventory() {
    let dir = tempfile::tempdir().unwrap();
    let native = native(dir.path());
    let alive = record('a', &[(label::AUTOUPDATE, "registry")], &[]);
    let mut dead = record('b', &[(label::AUTOUPDATE, "registry")], &[]);
    dead.supervisor.as_mut().unwrap().start_time += 1;
    native.records.write(&alive).unwrap();
    native.records.write(&dead).unwrap();
    let broken = native.records.directory(&"c".repeat(64).parse().unwrap());
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("record.json"), "{").unwrap();
    let inventory = native.inventory().await.unwrap();
    assert_eq!(inventory.containers.len(), 1);
    assert_eq!(inventory.containers[0].id, alive.id);
    assert_ne!(inventory.containers[0].unit, alive.unit, "the record's unit is not believed");
    assert_eq!(inventory.problems.len(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn no_unit_is_pointed_at_an_image_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let native = native(dir.path());
    let record = record('a', &[], &[]);
    let unit = "app.service".parse().unwrap();
    let bound = native.bind(&unit, &record.reference, &record.image).await;
    assert_eq!(bound.unwrap_err().kind, FailureKind::NotFound);
    let tagged = native.tag(&record.reference, &record.image).await;
    assert_eq!(tagged.unwrap_err().kind, FailureKind::NotFound);
    let source = ImageSource { reference: record.reference.clone(), authfile: None };
    let staged = native.stage(&source, &record.image).await;
    assert_eq!(staged.unwrap_err().kind, FailureKind::Unreachable);
    native.unbind(&unit, &record.reference).await.unwrap();
    assert_eq!(native.local(&record.reference).await, Ok(None));
}

#[tokio::test(flavor = "current_thread")]
async fn an_image_for_another_processor_is_not_staged() {
    let own = Platform { variant: None, ..Platform::host() };
    for (architecture, accepted) in [(own.architecture.as_str(), true), ("pdp11", false)] {
        let dir = tempfile::tempdir().unwrap();
        let (native, source, image) = with_single(dir.path(), architecture);
        let staged = native.stage(&source, &image).await;
        let expected = format!("quay.io/a/b:1: is for linux/pdp11, the running image for {own}");
        match staged {
            Ok(()) => assert!(accepted, "{architecture}"),
            Err(failure) => {
                assert!(!accepted);
                assert_eq!(
                    (failure.kind, failure.message),
                    (FailureKind::InvalidContent, expected)
                );
            }
        }
    }
}

/// With its only image, for whoever runs on a processor like this one's.
fn with_single(
    dir: &std::path::Path,
    architecture: &str,
) -> (Native<Single>, ImageSource, ImageIdentity) {
    let own = Platform { variant: None, ..Platform::host() };
    let remote = Single::of(architecture);
    let digest = Digest::of(&remote.manifest);
    let store = Store::open(&dir.join("state")).unwrap();
    let native = Native::new(store, Records::open(&dir.join("run")), remote, Scope::System);
    let source = ImageSource { reference: record('a', &[], &[]).reference, authfile: None };
    (native, source, ImageIdentity { target: digest.clone(), manifest: digest, platform: own })
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_staged_stays_until_the_pass_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (native, source, image) = with_single(dir.path(), &Platform::host().architecture);
    native.stage(&source, &image).await.unwrap();
    // As another process does.
    let forget = || native.store.forget(&image.manifest, Which::Any).unwrap();
    assert!(!forget());
    native.bind(&"app.service".parse().unwrap(), &source.reference, &image).await.unwrap();
    native.stock(false).await.unwrap();
    assert!(forget());
}

#[tokio::test(flavor = "current_thread")]
async fn a_sweep_spares_what_an_update_may_want() {
    let dir = tempfile::tempdir().unwrap();
    let (native, source, image) = with_single(dir.path(), &Platform::host().architecture);
    native.sweep().await.unwrap();
    // A pull that was killed before its record, and one that nobody noted.
    native.stage(&source, &image).await.unwrap();
    native.stock(false).await.unwrap();
    assert!(native.store.forget(&image.manifest, Which::Any).unwrap());
    let layer = dir.path().join("state/layers/sha256").join(Digest::of(b"layer").hex());
    let work = dir.path().join("state/tmp/0123");
    std::fs::create_dir_all(&layer).unwrap();
    std::fs::create_dir_all(&work).unwrap();
    native.sweep().await.unwrap();
    assert!(layer.is_dir() && !work.exists());
    native.stage(&source, &image).await.unwrap();
    native.sweep().await.unwrap();
    assert!(!layer.exists() && native.store.has(&image.manifest).unwrap());
}
