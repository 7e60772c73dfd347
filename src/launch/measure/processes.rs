//! The processes of a container, from proc(5), described in the words of podman-top(1).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::launch::storage::rootfs::read_in;

/// What can be shown of a process.
pub(crate) const DESCRIPTORS: &str = "args, comm, etime, gid, group, hpid, huser, nice, pcpu, pgid, \
                                      pid, ppid, rss, state, time, tty, uid, user, vsz";
/// What is shown by default.
pub(crate) const USUAL: [&str; 8] = ["user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args"];

/// A process, as the kernel describes it.
#[derive(Debug)]
pub(crate) struct Process {
    host_pid: i32,
    /// In the container.
    pid: i64,
    uid: u32,
    gid: u32,
    comm: String,
    args: String,
    /// The fields of proc_pid_stat(5) from the third on.
    stat: Vec<String>,
}

/// What all processes are described by.
#[derive(Debug)]
pub(crate) struct Surroundings {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    uid_map: Vec<[u32; 3]>,
    gid_map: Vec<[u32; 3]>,
    /// From host to container.
    pids: BTreeMap<i64, i64>,
    uptime: f64,
    ticks: f64,
}

/// All processes in the process ID namespace of `init`, by their IDs in it, and what they are
/// described by.
pub(crate) fn of(init: i32) -> (Vec<Process>, Surroundings) {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(&init.to_string());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let inside = numbers.filter(|pid| wanted.is_some() && namespace(pid) == wanted);
    let mut processes: Vec<Process> = inside.filter_map(|pid| read(&pid)).collect();
    processes.sort_by_key(|process| process.pid);
    let root = PathBuf::from(format!("/proc/{init}/root"));
    let surroundings = Surroundings {
        users: names_in(&root, "/etc/passwd"),
        groups: names_in(&root, "/etc/group"),
        uid_map: map_of(&format!("/proc/{init}/uid_map")),
        gid_map: map_of(&format!("/proc/{init}/gid_map")),
        pids: processes.iter().map(|process| (i64::from(process.host_pid), process.pid)).collect(),
        uptime: std::fs::read_to_string("/proc/uptime")
            .ok()
            .and_then(|text| text.split(' ').next()?.parse().ok())
            .unwrap_or(0.0),
        ticks: rustix::param::clock_ticks_per_second() as f64,
    };
    (processes, surroundings)
}

fn read(pid: &str) -> Option<Process> {
    let text = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok();
    let status = String::from_utf8_lossy(&text("status")?).into_owned();
    let field =
        |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let last = |key: &str| field(key)?.split_whitespace().next_back()?.parse().ok();
    let effective = |key: &str| field(key)?.split_whitespace().nth(1)?.parse().ok();
    let stat = String::from_utf8_lossy(&text("stat")?).into_owned();
    let (_, fields) = stat.rsplit_once(") ")?;
    let arguments = text("cmdline")?;
    let arguments: Vec<_> = arguments
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let comm = field("Name").unwrap_or_default().trim().to_owned();
    let args = arguments.join(" ").trim().to_owned();
    Some(Process {
        host_pid: pid.parse().ok()?,
        pid: last("NSpid")?,
        uid: effective("Uid")?,
        gid: effective("Gid")?,
        args: if args.is_empty() { format!("[{comm}]") } else { args },
        comm,
        stat: fields.split_whitespace().map(str::to_owned).collect(),
    })
}

impl Process {
    /// A field of proc_pid_stat(5), by its number there.
    fn field(&self, number: usize) -> &str {
        number.checked_sub(3).and_then(|at| self.stat.get(at)).map(String::as_str).unwrap_or("0")
    }

    fn number(&self, number: usize) -> f64 {
        self.field(number).parse().unwrap_or(0.0)
    }

    /// `None` for a descriptor that there is not.
    pub(crate) fn show(&self, descriptor: &str, around: &Surroundings) -> Option<String> {
        let used = (self.number(14) + self.number(15)) / around.ticks;
        let age = (around.uptime - self.number(22) / around.ticks).max(0.0);
        let inside = |host: &str| {
            let host: i64 = host.parse().unwrap_or(0);
            // Whose parent is outside, has none.
            around.pids.get(&host).copied().unwrap_or(0).to_string()
        };
        let uid = within(&around.uid_map, self.uid);
        let gid = within(&around.gid_map, self.gid);
        let named = |names: &BTreeMap<u32, String>, id: u32| {
            names.get(&id).cloned().unwrap_or_else(|| id.to_string())
        };
        Some(match descriptor {
            "args" => self.args.clone(),
            "comm" => self.comm.clone(),
            "etime" => clock(age),
            "gid" => gid.to_string(),
            "group" => named(&around.groups, gid),
            "hpid" => self.host_pid.to_string(),
            "huser" => self.uid.to_string(),
            "nice" => self.field(19).to_owned(),
            "pcpu" => format!("{:.3}", if age > 0.0 { used / age * 100.0 } else { 0.0 }),
            "pgid" => inside(self.field(5)),
            "pid" => self.pid.to_string(),
            "ppid" => inside(self.field(4)),
            "rss" => (self.number(24) * rustix::param::page_size() as f64 / 1024.0).to_string(),
            "state" => self.field(3).to_owned(),
            "time" => clock(used),
            "tty" => terminal(self.field(7).parse().unwrap_or(0)),
            "uid" => uid.to_string(),
            "user" => named(&around.users, uid),
            "vsz" => (self.number(23) / 1024.0).to_string(),
            _ => return None,
        })
    }
}

/// The heading of a descriptor.
pub(crate) fn heading(descriptor: &str) -> String {
    match descriptor {
        "pcpu" => "%CPU".to_owned(),
        "etime" => "ELAPSED".to_owned(),
        "args" | "comm" => "COMMAND".to_owned(),
        other => other.to_uppercase(),
    }
}

/// As Podman prints times: `1m3.5s`.
fn clock(seconds: f64) -> String {
    let whole = seconds as u64;
    match (whole / 3600, whole / 60 % 60) {
        (0, 0) => format!("{seconds:.2}s"),
        (0, minutes) => format!("{minutes}m{:.2}s", seconds % 60.0),
        (hours, minutes) => format!("{hours}h{minutes}m{:.2}s", seconds % 60.0),
    }
}

/// By its number: proc_pid_stat(5), field 7.
fn terminal(number: u32) -> String {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    match major {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        5 => "console".to_owned(),
        _ => format!("{major}:{minor}"),
    }
}

fn names_in(root: &Path, file: &str) -> BTreeMap<u32, String> {
    let text = read_in(root, file).unwrap_or_default();
    let pair = |line: &str| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        Some((id.parse().ok()?, name.to_owned()))
    };
    // The first name of an ID counts.
    text.lines().rev().filter_map(pair).collect()
}

fn map_of(path: &str) -> Vec<[u32; 3]> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().filter_map(|number| number.parse().ok());
        Some([numbers.next()?, numbers.next()?, numbers.next()?])
    };
    text.lines().filter_map(line).collect()
}

/// An ID of ours, as the container has it (user_namespaces(7)).
fn within(map: &[[u32; 3]], id: u32) -> u32 {
    let holds = |[_, outside, count]: &&[u32; 3]| id >= *outside && id - outside < *count;
    map.iter().find(holds).map_or(65534, |[inside, outside, _]| inside.saturating_add(id - outside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_terminals() {
        let map = [[0, 100_000, 1000], [1000, 1000, 1]];
        assert_eq!([100_005, 1000, 7].map(|id| within(&map, id)), [5, 1000, 65534]);
        assert_eq!([0, 0x8803, 0x501].map(terminal), ["?", "pts/3", "console"]);
        assert_eq!(clock(3723.5), "1h2m3.50s");
    }

    #[test]
    fn this_process_is_found() {
        let own = std::process::id().cast_signed();
        let (processes, around) = of(own);
        let this = processes.iter().find(|process| process.host_pid == own).unwrap();
        for descriptor in DESCRIPTORS.split(", ").map(str::trim) {
            assert!(this.show(descriptor, &around).is_some(), "{descriptor}");
        }
        assert!(this.show("nothing", &around).is_none());
    }
}
