//! A container in a list (podman-ps(1)).

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::launch::network::mode::Mode;
use crate::launch::network::publish::Publish;
use crate::launch::network::show as network;
use crate::launch::place::Place;
use crate::launch::view::container::Container;
use crate::launch::view::host_config::mounts;
use crate::launch::view::inspect::Size;
use crate::launch::view::words;
use crate::model::ContainerId;

/// The longest command shown, in characters.
const COMMAND: usize = 17;

/// What `--format json` has of it.
pub(crate) fn json(
    place: &Place,
    container: &Container,
    size: Option<Size>,
    now: Timestamp,
) -> Value {
    let record = &container.record;
    json!({
        "AutoRemove": record.remove,
        "CIDFile": record.cidfile.as_deref().unwrap_or("".as_ref()),
        "Command": record.command,
        "Created": record.created.as_second(),
        "CreatedAt": words::ago(record.created, now),
        "Exited": container.state() == "exited",
        "ExitedAt": record.ended.map_or(-62135596800, |ended| ended.at.as_second()),
        "ExitCode": container.exit_code(),
        "Id": record.id,
        "Image": record.reference,
        "ImageID": container.image_id(),
        "IsInfra": false,
        "Labels": container.labels(),
        "Mounts": targets(container),
        "Names": [record.name],
        "Namespaces": {},
        "Networks": networks(container),
        "Pid": container.pid(),
        "Pod": record.pod.as_ref().map(ContainerId::as_str).unwrap_or_default(),
        "PodName": container.pod.as_deref().unwrap_or_default(),
        "Ports": network::list(&ports(place, container)),
        "Restarts": record.restarts,
        "Size": size.map(|size| json!({"rwSize": size.writable, "rootFsSize": size.all})),
        "StartedAt": record.started.map_or(-62135596800, |time| time.as_second()),
        "State": container.state(),
        "Status": status(container, now),
        "Unit": record.unit,
    })
}

/// The same for templates: in words, and IDs short unless `whole`.
pub(crate) fn fields(
    place: &Place,
    container: &Container,
    size: Option<Size>,
    whole: bool,
    now: Timestamp,
) -> Value {
    let record = &container.record;
    let mut fields = json(place, container, size, now);
    let short = |id: &str| if whole { id.to_owned() } else { id.chars().take(12).collect() };
    let mut set = |name: &str, value: Value| fields[name] = value;
    set("ID", short(record.id.as_str()).into());
    set("ImageID", short(&container.image_id()).into());
    set("Pod", short(record.pod.as_ref().map(ContainerId::as_str).unwrap_or_default()).into());
    set("Command", command(&record.command, whole).into());
    set("Names", record.name.clone().into());
    set("CreatedAt", record.created.to_string().into());
    set("CreatedHuman", words::ago(record.created, now).into());
    set("RunningFor", words::ago(record.created, now).into());
    set("Mounts", targets(container).join(",").into());
    set("Networks", networks(container).join(",").into());
    set("Ports", network::summary(&ports(place, container)).into());
    set("Unit", record.unit.as_ref().map(ToString::to_string).unwrap_or_default().into());
    let size = size
        .map(|size| format!("{} (virtual {})", words::size(size.writable), words::size(size.all)));
    set("Size", size.unwrap_or_default().into());
    fields
}

/// `Up 3 minutes ago`, `Up 3 minutes ago (healthy)`, `Exited (0) 2 hours ago`, `Created`.
pub(crate) fn status(container: &Container, now: Timestamp) -> String {
    let record = &container.record;
    match container.state() {
        "running" => {
            let up = words::ago(record.started.unwrap_or(now), now);
            match &container.health {
                Some(health) => format!("Up {up} ({})", health.status),
                None => format!("Up {up}"),
            }
        }
        "exited" => match record.ended {
            Some(ended) => format!("Exited ({}) {}", ended.status, words::ago(ended.at, now)),
            // Nobody saw it: its supervisor was killed, or the power cut.
            None => format!("Exited ({})", container.exit_code()),
        },
        state => {
            let mut letters = state.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect())
                .unwrap_or_default()
        }
    }
}

fn command(words: &[String], whole: bool) -> String {
    let words = words.join(" ");
    match words.char_indices().nth(COMMAND) {
        Some((end, _)) if !whole => format!("{}...", words.get(..end).unwrap_or_default()),
        _ => words,
    }
}

fn targets(container: &Container) -> Vec<String> {
    let target = |mount: Value| mount["Destination"].as_str().map(str::to_owned);
    mounts(container).into_iter().filter_map(target).collect()
}

/// The networks that it was made with.
pub(super) fn networks(container: &Container) -> Vec<String> {
    let flags = container.definition.iter().map(|definition| &definition.create.network);
    let modes = flags.filter(|_| container.record.pod.is_none()).map(Mode::parse);
    modes
        .flatten()
        .flat_map(|mode| mode.networks().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The published ports. What cannot be read keeps nobody from the list.
fn ports(place: &Place, container: &Container) -> Vec<Publish> {
    network::ports(place, &container.record).unwrap_or_default()
}
