use serde_json::json;

use super::*;
use crate::engine::podman::image::Facts;
use crate::model::{Digest, Platform};

const APP: &str = "0::/system.slice/app.service\n";
const SCOPE: &str = "0::/machine.slice/libpod-1.scope\n";

fn document(name: &str, labels: &[(&str, &str)], pod: &str) -> document::Container {
    let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
    serde_json::from_value(json!({
        "Id": "a".repeat(64), "Name": name, "Created": "2026-11-26T10:26:04.438869307Z",
        "Image": "b".repeat(64), "ImageName": "quay.io/a/b:1", "Pod": pod, "IsInfra": false,
        "State": {"Pid": 2, "ConmonPid": 1, "Health": {"Status": "", "FailingStreak": 0, "Log": null}},
        "Config": {"Labels": labels},
    }))
    .unwrap()
}

fn facts(labels: &[(&str, &str)]) -> Facts {
    let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
    let (index, manifest) = (Digest::of(b"index"), Digest::of(b"manifest"));
    let document = serde_json::from_value(json!({
        "Id": "b".repeat(64), "Digest": index,
        "RepoDigests": [format!("quay.io/a/b@{index}"), format!("quay.io/a/b@{manifest}")],
        "Architecture": "amd64", "Os": "linux", "Labels": labels,
    }))
    .unwrap();
    Facts::new(document, &Platform::host()).unwrap()
}

fn owner_in(found: &document::Container, conmon: &str, main: &str) -> Owner {
    let cgroup_of = |pid| Some(if pid == 1 { conmon.to_owned() } else { main.to_owned() });
    owner_by(found, cgroup_of, Scope::System)
}

#[test]
fn a_unit_owns_what_its_cgroup_holds() {
    let claims = |unit| document("app", &[(label::PODMAN_UNIT, unit)], "");
    let app = Some("app.service".parse().unwrap());
    // The supervisor is in the unit, or the program itself is.
    for (conmon, main) in [(APP, SCOPE), (SCOPE, APP)] {
        assert_eq!(owner_in(&claims("app.service"), conmon, main).unit, app);
    }
    // An image's label names a unit whose cgroup holds nothing of it.
    let hostile = owner_in(&claims("dbus.service"), APP, SCOPE);
    assert_eq!(hostile.unit, None);
    assert_eq!(hostile.claimed.as_deref(), Some("dbus.service"));
    // Started by a unit and not made by it: a restart would not take another image.
    assert_eq!(owner_in(&document("app", &[], ""), APP, SCOPE), Owner::default());
}

#[test]
fn a_container_is_what_its_own_labels_say() {
    let labels = [(label::AUTOUPDATE, "image"), (label::AUTHFILE, "/own.json")];
    let found = document("app", &labels, "");
    let own = container(&found, Owner::default(), &facts(&[])).unwrap().unwrap();
    assert_eq!(own.policy, Ok(Policy::Registry));
    assert_eq!(own.source.authfile, Some("/own.json".into()));
    assert!(own.runs(&Digest::of(b"index")) && own.runs(&Digest::of(b"manifest")));
    assert_eq!(own.image.manifest, Digest::of(b"manifest"));
    let of_image = container(&found, Owner::default(), &facts(&labels)).unwrap().unwrap();
    assert_eq!(of_image.source.authfile, None, "an image names no credentials file");
    assert_eq!(of_image.policy, Ok(Policy::Registry));
    assert_eq!(container(&document("x", &[], ""), Owner::default(), &facts(&[])), Ok(None));
}

#[test]
fn what_has_no_name_is_told() {
    let mut found = document("app", &[(label::AUTOUPDATE, "registry")], "");
    found.image_name = "app".into();
    let failure = container(&found, Owner::default(), &facts(&[])).unwrap_err();
    assert!(failure.message.contains("container app") && failure.message.contains("short name"));
}

#[test]
fn health_is_read_where_somebody_checks() {
    let mut found = document("app", &[], "");
    assert_eq!(health(&found), None);
    found.state.health.status = "starting".into();
    assert_eq!(health(&found), None, "nobody checks");
    let second = 1_000_000_000;
    found.config.healthcheck = Some(document::Healthcheck {
        start_period: 5 * second,
        interval: second,
        timeout: 2 * second,
        retries: 3,
    });
    assert_eq!(health(&found).unwrap().patience.as_secs(), 14);
}

#[test]
fn an_image_without_names_is_known_by_what_was_learnt() {
    let before = facts(&[]);
    let nameless = document::Image {
        id: before.id.clone(),
        digest: Digest::of(b"index").to_string(),
        repo_digests: vec![],
        repo_tags: vec![],
        architecture: "amd64".into(),
        os: "linux".into(),
        variant: None,
        labels: Default::default(),
        root_fs: Default::default(),
    };
    let now = Facts::new(nameless, &Platform::host()).unwrap();
    assert!(now.is(&before.identity), "by its index, for its platform");
    let merged = now.with(Some(&before));
    assert!(merged.digests.contains(&Digest::of(b"manifest")));
}
