//! An image as `podman inspect` and `podman images` show it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::launch::view::words;
use crate::model::Reference;
use crate::store::Image;

/// The whole document (podman-image-inspect(1)).
pub(crate) fn document(image: &Image) -> Value {
    let config = image.config.config().clone().unwrap_or_default();
    let history = image.config.history().iter().flatten();
    let layers: Vec<_> =
        image.layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    let labels = config.labels().clone().unwrap_or_default();
    let mut document = json!({
        "Id": image.id.hex(),
        "Digest": image.identity.manifest,
        "RepoTags": tags(image),
        "RepoDigests": digests(image),
        "Parent": "",
        "Comment": history.clone().last().and_then(|entry| entry.comment().clone()).unwrap_or_default(),
        "Created": image.config.created(),
        "Config": serde_json::to_value(&config).unwrap_or_default(),
        "Version": "",
        "Author": image.config.author().as_deref().unwrap_or_default(),
        "Architecture": image.config.architecture().to_string(),
        "Variant": image.identity.platform.variant,
        "Os": image.config.os().to_string(),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": "overlay", "Data": {"UpperDir": layers.first(), "LowerDir": layers.get(1..).unwrap_or_default().join(":")}},
        "RootFS": {"Type": "layers", "Layers": image.config.rootfs().diff_ids()},
        "Labels": labels,
        "Annotations": image.annotations,
        "ManifestType": image.media_type,
        "User": config.user().as_deref().unwrap_or_default(),
        "History": history.map(|entry| serde_json::to_value(entry).unwrap_or_default()).collect::<Vec<_>>(),
        "NamesHistory": tags(image),
        // The digest that the tag had in the registry, where that was an index's: of ours.
        "Target": image.identity.target,
    });
    if let Some(check) = &image.healthcheck {
        document["Healthcheck"] = check.clone();
    }
    document
}

/// `repository:tag`, sorted.
pub(crate) fn tags(image: &Image) -> Vec<String> {
    let mut tags: Vec<String> = image.references.iter().map(Reference::to_string).collect();
    tags.sort();
    tags
}

/// `repository@digest` for each repository: the manifest's, and the index's where there is one.
pub(crate) fn digests(image: &Image) -> Vec<String> {
    let mut digests = Vec::new();
    for reference in &image.references {
        for digest in [&image.identity.manifest, &image.identity.target] {
            digests.push(format!("{}@{digest}", reference.name()));
        }
    }
    digests.sort();
    digests.dedup();
    digests
}

/// What `--format json` of `images` has of it.
pub(crate) fn summary(image: &Image, containers: usize) -> Value {
    let labels = image.config.config().as_ref().and_then(|config| config.labels().clone());
    json!({
        "Id": image.id.hex(),
        "ParentId": "",
        "RepoTags": tags(image),
        "RepoDigests": digests(image),
        "Size": image.size,
        "SharedSize": 0,
        "VirtualSize": image.size,
        "Labels": labels,
        "Containers": containers,
        "Names": tags(image),
        "Digest": image.identity.manifest,
        "History": tags(image),
        "Dangling": image.references.is_empty(),
        "Arch": image.identity.platform.architecture,
        "Os": image.identity.platform.os,
        "Created": image.created.map_or(0, |time| time.as_second()),
        "CreatedAt": words::time(image.created),
    })
}

/// Rows for templates: one for each name; an image that has none still has one.
pub(crate) fn rows(image: &Image, whole: bool, now: Timestamp) -> Vec<Value> {
    let mut names: Vec<(String, String)> = image
        .references
        .iter()
        .map(|reference| (reference.name(), reference.tag().unwrap_or("<none>").to_owned()))
        .collect();
    names.sort();
    if names.is_empty() {
        names.push(("<none>".to_owned(), "<none>".to_owned()));
    }
    let id = if whole { image.id.to_string() } else { image.id.short() };
    let created = image.created.map_or_else(|| "N/A".to_owned(), |time| words::ago(time, now));
    let row = |(repository, tag): (String, String)| {
        let mut row = Map::new();
        for (field, value) in [
            ("Repository", Value::from(repository)),
            ("Tag", tag.into()),
            ("ID", id.clone().into()),
            ("Id", id.clone().into()),
            ("Digest", image.identity.manifest.to_string().into()),
            ("Created", created.clone().into()),
            ("CreatedSince", created.clone().into()),
            ("CreatedAt", words::time(image.created).into()),
            ("CreatedTime", words::time(image.created).into()),
            ("Size", words::spaced_size(image.size).into()),
            ("VirtualSize", image.size.into()),
            ("History", tags(image).join(", ").into()),
            ("ReadOnly", false.into()),
            ("RepoTags", tags(image).into()),
            ("RepoDigests", digests(image).into()),
            (
                "Labels",
                json!(image.config.config().as_ref().and_then(|config| config.labels().clone())),
            ),
            ("Names", tags(image).into()),
            ("Dangling", image.references.is_empty().into()),
            ("Os", image.identity.platform.os.clone().into()),
            ("Arch", image.identity.platform.architecture.clone().into()),
        ] {
            row.insert(field.to_owned(), value);
        }
        Value::Object(row)
    };
    names.into_iter().map(row).collect()
}
