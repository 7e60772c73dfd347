use std::cell::Cell;

use bytes::Bytes;
use futures_util::Stream;
use serde_json::json;

use super::super::fake::{Fake, run};
use super::*;
use crate::model::{ImageIdentity, ImageSource, MinFree, Platform};
use crate::store::pull::{Document, Documents};

/// A registry with one image, of one layer of such a size; how often its configuration was asked for.
struct Single {
    size: u64,
    configurations: Cell<usize>,
}

impl Single {
    fn of(size: u64) -> Self {
        Self { size, configurations: Cell::default() }
    }

    fn config() -> Bytes {
        let rootfs = json!({"type": "layers", "diff_ids": [Digest::of(b"layer")]});
        json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).to_string().into()
    }
}

impl Remote for Single {
    async fn target(&self, _: &ImageSource) -> Result<Digest, Failure> {
        unreachable!("it is known already")
    }

    async fn documents(
        &self,
        _: &ImageSource,
        target: &Digest,
        _: &Platform,
    ) -> Result<Documents, Failure> {
        let config = Self::config();
        let manifest = json!({
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": Digest::of(&config), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                        "digest": Digest::of(b"blob"), "size": self.size}],
        });
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let (bytes, digest) = (manifest.to_string().into(), target.clone());
        Ok(Documents { index: None, manifest: Document { media_type, bytes, digest } })
    }

    async fn admit(&self, _: &ImageSource, _: &Documents) -> Result<(), Failure> {
        unreachable!("Podman looks itself")
    }

    fn try_again(&self, _: &ImageSource) {}

    async fn blob(
        &self,
        _: &ImageSource,
        _: &Digest,
        _: u64,
        _: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Unpin, Failure> {
        self.configurations.set(self.configurations.get() + 1);
        Ok(stream::iter([Ok(Self::config())]))
    }
}

/// How the pull of an image of such a size fails, how often its configuration was asked for, and what Podman was.
fn stage(size: u64, min_free: MinFree) -> (FailureKind, usize, String) {
    let fake = Fake::new(
        "image*) echo []; echo Error: image not known >&2; exit 125 ;;\n\
         info*) echo '{\"store\": {\"graphRoot\": \"/\"}}' ;;\n\
         pull*) echo Error: no route to host >&2; exit 125 ;;",
    );
    let mut podman = fake.podman();
    podman.options.min_free = min_free;
    let (remote, digest) = (Single::of(size), Digest::of(b"image"));
    let source = ImageSource { reference: "quay.io/app:1".parse().unwrap(), authfile: None };
    let (target, manifest) = (digest.clone(), digest);
    let image = ImageIdentity { target, manifest, platform: Platform::host() };
    let failure = run(podman.stage_from(&remote, &source, &image)).unwrap_err();
    (failure.kind, remote.configurations.get(), fake.read("calls"))
}

#[test]
fn what_is_there_is_looked_at_only_where_it_matters() {
    let little = MinFree { bytes: 1, percent: 1 };
    let (kind, configurations, calls) = stage(1, little);
    assert_ne!(kind, FailureKind::StorageFull);
    assert_eq!((configurations, calls.contains("pull ")), (0, true), "{calls}");
    let (kind, configurations, calls) = stage(1 << 50, little);
    assert_eq!((kind, configurations), (FailureKind::StorageFull, 1));
    assert!(!calls.contains("pull "), "{calls}");
    let (kind, configurations, calls) = stage(1 << 50, MinFree { bytes: 0, percent: 100 });
    assert_ne!(kind, FailureKind::StorageFull);
    assert_eq!((configurations, calls.contains("info ")), (0, false), "{calls}");
}

fn layer(seed: &str, mebibytes: u64) -> Layer {
    Layer { diff_id: Digest::of(seed.as_bytes()), room: mebibytes << 20 }
}

fn room(free: u64, there: &[&str]) -> Room {
    let there: Vec<Digest> = there.iter().map(|seed| Digest::of(seed.as_bytes())).collect();
    let chains = chains(&there).collect();
    Room { place: "/graph".into(), free: free << 20, reserve: 10 << 20, chains }
}

#[test]
fn what_is_there_needs_no_room() {
    let image: Reference = "quay.io/app:1".parse().unwrap();
    let (base, own) = (layer("base", 400), layer("own", 20));
    let both = [base.clone(), own.clone()];
    let full = room(429, &[]).take(&image, &both).unwrap_err();
    assert_eq!(full.kind, FailureKind::StorageFull);
    for told in ["quay.io/app:1", "/graph", "420 MiB are needed", "429 MiB are", "10 MiB are"] {
        assert!(full.message.contains(told), "{full}");
    }
    assert!(room(430, &[]).take(&image, &both).is_ok());
    assert!(room(30, &["base", "other"]).take(&image, &both).is_ok());
    assert!(room(29, &["base"]).take(&image, &both).is_err());
    // A layer over another one has to be unpacked anew.
    assert!(room(429, &["other", "base"]).take(&image, &both).is_err());
    assert!(room(1, &["base", "own"]).take(&image, &both).is_ok(), "nothing is pulled");
}

#[test]
fn several_share_the_room_and_what_they_have_in_common() {
    let image: Reference = "quay.io/app:1".parse().unwrap();
    let mut room = room(460, &[]);
    let of = |own: &str| [layer("base", 400), layer(own, 40)];
    room.take(&image, &of("one")).unwrap();
    assert!(room.take(&image, &of("two")).is_err(), "{}", room.free >> 20);
    assert!(room.take(&image, &of("one")).is_ok());
}
