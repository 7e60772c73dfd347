//! `updater-launch info`

use std::path::Path;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::launch::command::version;
use crate::launch::place::Place;
use crate::launch::runtime::Runtime;
use crate::launch::supervise::journal;
use crate::launch::view::container::state;
use crate::launch::view::words;
use crate::launch::{Error, print, say, show};
use crate::model::Platform;
use crate::terminal::template::Format;

#[derive(Debug, Args)]
pub(crate) struct Info {
    /// "json", or a Go template
    #[arg(short, long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Format,
}

pub(crate) fn info(place: &Place, chosen: &Runtime, flags: &Info) -> Result<u8, Error> {
    let document = json!({
        "host": host(chosen),
        "store": store(place)?,
        "version": version::document()["Client"],
    });
    match &flags.format {
        Format::Table => print(yaml(&document, 0))?,
        Format::Json => say(format_args!("{document:#}"))?,
        format => show(format, &[exported(&document)])?,
    }
    Ok(0)
}

fn host(chosen: &Runtime) -> Value {
    let platform = Platform::host();
    let name = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let memory = read("/proc/meminfo");
    let memory = |key: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    let release = read("/etc/os-release");
    let of_release = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or("unknown").trim_matches('"').to_owned()
    };
    let uptime = read("/proc/uptime");
    let uptime = uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let controllers = read("/sys/fs/cgroup/cgroup.controllers");
    json!({
        "arch": platform.architecture,
        "cgroupControllers": controllers.split_whitespace().collect::<Vec<_>>(),
        "cgroupManager": "systemd",
        "cgroupVersion": if controllers.is_empty() { "unknown" } else { "v2" },
        "cpus": std::thread::available_parallelism().map_or(1, usize::from),
        "distribution": {"distribution": of_release("ID"), "version": of_release("VERSION_ID")},
        "eventLogger": "file",
        "hostname": text(name.nodename()),
        "kernel": text(name.release()),
        "logDriver": if journal::is_there() { "journald" } else { "none" },
        "memFree": memory("MemFree"),
        "memTotal": memory("MemTotal"),
        "ociRuntime": runtime(chosen),
        "ociRuntimes": Runtime::all().iter().map(|one| (one.name().to_owned(), runtime(one)))
            .collect::<Map<_, _>>(),
        "os": platform.os,
        "security": {
            "apparmorEnabled": read("/sys/module/apparmor/parameters/enabled").trim() == "Y",
            "rootless": !rustix::process::getuid().is_root(),
            "seccompEnabled": Path::new("/proc/sys/kernel/seccomp").exists(),
            "selinuxEnabled": Path::new("/sys/fs/selinux/enforce").exists(),
        },
        "swapFree": memory("SwapFree"),
        "swapTotal": memory("SwapTotal"),
        "uptime": words::duration(std::time::Duration::from_secs(uptime)),
    })
}

/// One without a path is part of this program.
fn runtime(runtime: &Runtime) -> Value {
    json!({
        "name": runtime.name(),
        "path": runtime.path().unwrap_or("".as_ref()),
        "version": runtime.version(),
    })
}

fn store(place: &Place) -> Result<Value, Error> {
    let records = place.records().all()?.records;
    let count = |wanted: &str| records.iter().filter(|record| state(record) == wanted).count();
    let (running, paused) = (count("running"), count("paused"));
    Ok(json!({
        "containerStore": {
            "number": records.len(),
            "paused": paused,
            "running": running,
            "stopped": records.len() - running - paused,
        },
        "graphDriverName": "overlay",
        "graphRoot": place.state,
        "imageStore": {"number": place.store()?.images()?.len()},
        "runRoot": place.run,
        "volumePath": place.state.join("volumes"),
    }))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// What templates call it: Podman's documents and its templates differ by the first letter.
fn exported(value: &Value) -> Value {
    let name = |key: &str| match key {
        "cpus" => "CPUs".to_owned(),
        "ociRuntime" => "OCIRuntime".to_owned(),
        "ociRuntimes" => "OCIRuntimes".to_owned(),
        "cgroupVersion" => "CgroupsVersion".to_owned(),
        "apparmorEnabled" => "AppArmorEnabled".to_owned(),
        "seccompEnabled" => "SECCOMPEnabled".to_owned(),
        "selinuxEnabled" => "SELinuxEnabled".to_owned(),
        key => {
            let mut letters = key.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect())
                .unwrap_or_default()
        }
    };
    match value {
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| (name(key), exported(value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        value => value.clone(),
    }
}

/// A document of plain words and numbers, indented.
fn yaml(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match value {
                Value::Object(_) => format!("{indent}{key}:\n{}", yaml(value, depth + 1)),
                Value::Array(list) if !list.is_empty() => {
                    format!("{indent}{key}:\n{}", yaml(value, depth))
                }
                value => format!("{indent}{key}: {}\n", yaml(value, 0)),
            })
            .collect(),
        Value::Array(list) if list.is_empty() => "[]".to_owned(),
        Value::Array(list) => {
            list.iter().map(|value| format!("{indent}- {}\n", yaml(value, 0))).collect()
        }
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
