//! What a container's cgroup has used (the kernel's `admin-guide/cgroup-v2`). Where a controller is
//! not there for it, nothing is known.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::launch::view::container::Container;
use crate::launch::view::words;

/// What stands for what is not known.
pub(crate) const UNKNOWN: &str = "--";

/// A look at one container.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    at: Timestamp,
    started: Timestamp,
    /// In microseconds.
    cpu: Option<u64>,
    memory: Option<u64>,
    /// `None`: as much as the host has.
    memory_limit: Option<u64>,
    pids: Option<u64>,
    /// Bytes read and written.
    block: Option<(u64, u64)>,
    /// Bytes received and sent.
    network: Option<(u64, u64)>,
}

impl Sample {
    /// Of a container that runs; of another nothing is known.
    pub(crate) fn take(container: &Container) -> Self {
        let pid = container.pid();
        let group = cgroup_of(pid).unwrap_or_else(|| PathBuf::from("/nonexistent"));
        let read = |file: &str| std::fs::read_to_string(group.join(file)).ok();
        let number = |file: &str| read(file).and_then(|text| text.trim().parse::<u64>().ok());
        let now = Timestamp::now();
        Self {
            at: now,
            started: container.record.started.unwrap_or(now),
            cpu: read("cpu.stat").and_then(|text| keyed(&text, "usage_usec")),
            memory: number("memory.current"),
            memory_limit: number("memory.max"),
            pids: number("pids.current"),
            block: read("io.stat").map(|text| block(&text)),
            network: network(pid),
        }
    }

    /// In words, and percent since the look before, or, without one, since the start.
    pub(crate) fn row(&self, container: &Container, before: Option<&Self>, whole: bool) -> Value {
        let unknown = || UNKNOWN.to_owned();
        let share = |used: u64, from: Timestamp| {
            let time = self.at.duration_since(from).as_secs_f64();
            if time > 0.0 { used as f64 / 1_000_000.0 / time * 100.0 } else { 0.0 }
        };
        let percent = |part: f64| format!("{part:.2}%");
        let average = self.cpu.map(|used| share(used, self.started));
        let recent = match (self.cpu, before.and_then(|before| Some((before.cpu?, before.at)))) {
            (Some(now), Some((then, at))) => Some(share(now.saturating_sub(then), at)),
            _ => average,
        };
        let all = total_memory();
        let limit = self.memory_limit.map_or(all, |limit| limit.min(all));
        let memory = self.memory.map(|used| {
            (
                format!("{} / {}", words::size(used), words::size(limit)),
                used as f64 / limit.max(1) as f64 * 100.0,
            )
        });
        let pair = |pair: Option<(u64, u64)>| {
            pair.map_or_else(unknown, |(a, b)| format!("{} / {}", words::size(a), words::size(b)))
        };
        let id = &container.record.id;
        let cpu_time = self.cpu.map(|used| format!("{:.6}s", used as f64 / 1_000_000.0));
        json!({
            "ID": if whole { id.as_str() } else { id.short() },
            "Name": container.record.name,
            "CPUPerc": recent.map_or_else(unknown, percent),
            "AVGCPU": average.map_or_else(unknown, percent),
            "CPUTime": cpu_time.clone().unwrap_or_else(unknown),
            "UpTime": cpu_time.unwrap_or_else(unknown),
            "MemUsage": memory.as_ref().map_or_else(unknown, |(text, _)| text.clone()),
            "MemPerc": memory.as_ref().map_or_else(unknown, |(_, part)| percent(*part)),
            "MemLimit": limit,
            "NetIO": pair(self.network),
            "BlockIO": pair(self.block),
            "PIDS": self.pids.map_or_else(unknown, |count| count.to_string()),
        })
    }
}

/// What `--format json` calls the fields of a row.
pub(crate) fn document(row: &Value) -> Value {
    json!({
        "id": row["ID"], "name": row["Name"], "cpu_time": row["CPUTime"],
        "cpu_percent": row["CPUPerc"], "avg_cpu": row["AVGCPU"], "mem_usage": row["MemUsage"],
        "mem_percent": row["MemPerc"], "net_io": row["NetIO"], "block_io": row["BlockIO"],
        "pids": row["PIDS"],
    })
}

/// Where a process really is, wherever its record says that it was.
fn cgroup_of(pid: i32) -> Option<PathBuf> {
    if pid == 0 {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = crate::model::cgroup::path_in(&text)?.to_owned();
    Some(Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')))
}

/// The number behind a key of a flat keyed file.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// The sums of `rbytes=` and `wbytes=`.
fn block(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let words = text.split_whitespace().filter_map(|word| word.strip_prefix(key));
        words.filter_map(|number| number.parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

/// What went through the interfaces of the container's own network; `None` where it has the host's.
fn network(pid: i32) -> Option<(u64, u64)> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let own = namespace(&pid.to_string())?;
    if Some(own) == namespace("self") {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let (mut received, mut sent) = (0u64, 0u64);
    for line in text.lines() {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let mut numbers =
            numbers.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
        if name.trim() != "lo" {
            received = received.saturating_add(numbers.next().unwrap_or(0));
            sent = sent.saturating_add(numbers.nth(7).unwrap_or(0));
        }
    }
    Some((received, sent))
}

fn total_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok()
    });
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files() {
        assert_eq!(keyed("usage_usec 12\nuser_usec 3\n", "usage_usec"), Some(12));
        let stat = "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=7 rios=1\n";
        assert_eq!(block(stat), (15, 27));
    }
}
