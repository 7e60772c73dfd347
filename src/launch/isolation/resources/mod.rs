//! Resource limits of a whole container: from flags ([`Resources`], pure) to files of its cgroup
//! ([`apply`]).

mod io_device;
pub(crate) mod size;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use io_device::Device;

use crate::launch::args::ResourceFlags;

/// A limit that is not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidLimit {
    #[error("--{flag} {value:?} is not {wanted}")]
    Value { flag: &'static str, value: String, wanted: &'static str },
    #[error("--memory-swap is memory and swap together: it needs --memory, and is not below it")]
    Swap,
    #[error("--memory-reservation is above --memory")]
    Reservation,
    #[error("--memory-swappiness: cgroup v2 has no such setting, leave it out")]
    Swappiness,
    #[error("--cpus says the same as --cpu-quota and --cpu-period: leave it, or those, out")]
    Cpus,
    #[error("--cgroup-conf {0:?} is not KEY=VALUE with a key of cgroup v2, such as memory.high")]
    Conf(String),
    #[error("--{flag}: {path} is not a block device")]
    NoDevice { flag: &'static str, path: PathBuf, source: Option<io::Error> },
}

/// Why a limit that is one does not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotApplied {
    #[error("--{flag}: this kernel has no {file} in cgroup {directory}")]
    Missing { flag: &'static str, file: String, directory: PathBuf },
    #[error("--{flag}: {value:?} cannot be written to {file} of cgroup {directory}")]
    Refused {
        flag: &'static str,
        value: String,
        file: String,
        directory: PathBuf,
        source: io::Error,
    },
}

/// The settings of a container's cgroup, in the order in which they are written.
#[derive(Debug, Default)]
pub(crate) struct Resources(Vec<Setting>);

#[derive(Debug, PartialEq, Eq)]
struct Setting {
    /// Who asked for it.
    flag: &'static str,
    /// The controller whose file it is; `None` where every cgroup has it.
    controller: Option<String>,
    /// File and value; the first file that is there takes its value.
    choices: Vec<(String, String)>,
    /// Whether nobody has to hear of a kernel without the file.
    optional: bool,
}

impl Resources {
    /// What the flags ask for. Paths of devices are looked up by `number`: major, minor.
    pub(crate) fn read(
        flags: &ResourceFlags,
        number: impl Fn(&Path) -> io::Result<Option<(u32, u32)>>,
    ) -> Result<Self, InvalidLimit> {
        let mut resources = Self::default();
        resources.memory(flags)?;
        resources.cpu(flags)?;
        resources.cpusets(flags)?;
        if let Some(limit) = flags.pids_limit {
            let value = if limit <= 0 { "max".to_owned() } else { limit.to_string() };
            resources.set("pids-limit", "pids.max", value);
        }
        resources.io(flags, &number)?;
        for word in &flags.cgroup_conf {
            let (key, value) = conf(word).ok_or_else(|| InvalidLimit::Conf(word.clone()))?;
            resources.set("cgroup-conf", key, value.to_owned());
        }
        Ok(resources)
    }

    /// Each controller that is needed, with the first flag that needs it.
    pub(crate) fn controllers(&self) -> Vec<(&str, &'static str)> {
        let mut seen = BTreeSet::new();
        let named = self.0.iter().filter_map(|set| Some((set.controller.as_deref()?, set.flag)));
        named.filter(|(controller, _)| seen.insert(*controller)).collect()
    }

    /// The first flag, where there is any.
    pub(crate) fn first(&self) -> Option<&'static str> {
        self.0.first().map(|setting| setting.flag)
    }

    fn set(&mut self, flag: &'static str, file: &str, value: String) {
        self.choose(flag, vec![(file.to_owned(), value)]);
    }

    fn choose(&mut self, flag: &'static str, choices: Vec<(String, String)>) {
        let prefix = choices.first().and_then(|(file, _)| file.split_once('.')).map(|pair| pair.0);
        let controller = prefix.filter(|prefix| *prefix != "cgroup").map(str::to_owned);
        self.0.push(Setting { flag, controller, choices, optional: false });
    }

    fn memory(&mut self, flags: &ResourceFlags) -> Result<(), InvalidLimit> {
        let bytes = |flag, text: &Option<String>| {
            text.as_deref().map(|text| size::bytes(flag, text)).transpose()
        };
        let memory = bytes("memory", &flags.memory)?.filter(|bytes| *bytes > 0);
        let unlimited = flags.memory_swap.as_deref() == Some("-1");
        let swap = match unlimited {
            true => None,
            false => bytes("memory-swap", &flags.memory_swap)?.filter(|bytes| *bytes > 0),
        };
        let reservation = bytes("memory-reservation", &flags.memory_reservation)?;
        if flags.memory_swappiness.is_some_and(|value| value != -1) {
            return Err(InvalidLimit::Swappiness);
        }
        if let Some(memory) = memory {
            self.set("memory", "memory.max", memory.to_string());
            let swap = match (unlimited, swap) {
                (true, _) => "max".to_owned(),
                (false, Some(both)) => {
                    both.checked_sub(memory).ok_or(InvalidLimit::Swap)?.to_string()
                }
                // Podman's: as much swap as memory.
                (false, None) => memory.to_string(),
            };
            self.set("memory-swap", "memory.swap.max", swap);
            if let Some(setting) = self.0.last_mut() {
                // Without swap accounting there is no swap to be limited, where nobody asked.
                setting.optional = flags.memory_swap.is_none();
            }
        } else if swap.is_some() || unlimited {
            return Err(InvalidLimit::Swap);
        }
        match (reservation.filter(|bytes| *bytes > 0), memory) {
            (Some(reservation), Some(memory)) if reservation > memory => {
                return Err(InvalidLimit::Reservation);
            }
            (Some(reservation), _) => {
                self.set("memory-reservation", "memory.low", reservation.to_string());
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn cpu(&mut self, flags: &ResourceFlags) -> Result<(), InvalidLimit> {
        const PERIOD: u64 = 100_000;
        let parts = [flags.cpu_quota.is_some(), flags.cpu_period.is_some()];
        if flags.cpus.is_some() && parts.contains(&true) {
            return Err(InvalidLimit::Cpus);
        }
        let quota = match &flags.cpus {
            Some(text) => size::cpus(text)?.map(|cpus| (cpus * PERIOD as f64).round() as i64),
            None => flags.cpu_quota,
        };
        let flag = ["cpus", "cpu-quota"][usize::from(flags.cpus.is_none())];
        match (quota.filter(|quota| *quota != 0), flags.cpu_period.filter(|period| *period > 0)) {
            (None, None) => {}
            (quota, period) => {
                let quota = quota.filter(|quota| *quota > 0);
                let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
                let value = format!("{quota} {}", period.unwrap_or(PERIOD));
                self.set(flag, "cpu.max", value);
            }
        }
        if let Some(shares) = flags.cpu_shares.filter(|shares| *shares > 0) {
            self.set("cpu-shares", "cpu.weight", size::weight(shares).to_string());
        }
        Ok(())
    }

    fn cpusets(&mut self, flags: &ResourceFlags) -> Result<(), InvalidLimit> {
        let sets = [
            ("cpuset-cpus", "cpuset.cpus", &flags.cpuset_cpus),
            ("cpuset-mems", "cpuset.mems", &flags.cpuset_mems),
        ];
        for (flag, file, text) in sets {
            let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { continue };
            if !size::is_list(text) {
                let wanted = "a list of numbers, such as 0-3,5";
                return Err(InvalidLimit::Value { flag, value: text.to_owned(), wanted });
            }
            self.set(flag, file, text.to_owned());
        }
        Ok(())
    }

    fn io(
        &mut self,
        flags: &ResourceFlags,
        number: &impl Fn(&Path) -> io::Result<Option<(u32, u32)>>,
    ) -> Result<(), InvalidLimit> {
        if let Some(weight) = flags.blkio_weight.filter(|weight| *weight > 0) {
            let weight = io_device::weight("blkio-weight", weight)?;
            self.choose("blkio-weight", io_device::weights("", weight));
        }
        for text in &flags.blkio_weight_device {
            let device = Device::read("blkio-weight-device", text, number)?;
            let weight = io_device::weight("blkio-weight-device", device.rate)?;
            let choices = io_device::weights(&format!("{} ", device.number), weight);
            self.choose("blkio-weight-device", choices);
        }
        let rates = [
            ("device-read-bps", "rbps", &flags.device_read_bps),
            ("device-write-bps", "wbps", &flags.device_write_bps),
            ("device-read-iops", "riops", &flags.device_read_iops),
            ("device-write-iops", "wiops", &flags.device_write_iops),
        ];
        for (flag, key, texts) in rates {
            for text in texts {
                let device = Device::read(flag, text, number)?;
                self.set(flag, "io.max", format!("{} {key}={}", device.number, device.rate));
            }
        }
        Ok(())
    }
}

/// Major and minor number of the block device at a path; `None` of what is none.
pub(crate) fn block_device(path: &Path) -> io::Result<Option<(u32, u32)>> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let metadata = std::fs::metadata(path)?;
    let number = metadata.rdev();
    let is_block = metadata.file_type().is_block_device();
    Ok(is_block.then(|| (libc::major(number), libc::minor(number))))
}

/// A key of a controller, or one that bounds the tree itself; nothing that moves or ends processes.
fn conf(word: &str) -> Option<(&str, &str)> {
    const OF_TREE: [&str; 2] = ["cgroup.max.depth", "cgroup.max.descendants"];
    const CONTROLLERS: [&str; 9] =
        ["cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma"];
    let (key, value) = word.split_once('=')?;
    let (controller, rest) = key.split_once('.')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let known = CONTROLLERS.contains(&controller) || OF_TREE.contains(&key);
    let sound =
        !rest.is_empty() && rest.chars().all(is_name) && !rest.split('.').any(str::is_empty);
    (known && sound && !value.is_empty() && !value.contains(['\0', '\n'])).then_some((key, value))
}

/// Writes the settings into a cgroup, which may be any directory that has the files.
pub(crate) fn apply(directory: &Path, resources: &Resources) -> Result<(), NotApplied> {
    for setting in &resources.0 {
        let there = |(file, _): &&(String, String)| directory.join(file).exists();
        let Setting { flag, choices, optional, .. } = setting;
        match choices.iter().find(there) {
            Some((file, value)) => write(&directory.join(file), value).map_err(|source| {
                let (file, value, directory) = (file.clone(), value.clone(), directory.to_owned());
                NotApplied::Refused { flag, value, file, directory, source }
            })?,
            None if *optional => {}
            None => {
                let file = choices.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>();
                let (file, directory) = (file.join(" or "), directory.to_owned());
                return Err(NotApplied::Missing { flag, file, directory });
            }
        }
    }
    Ok(())
}

/// Each line by a write of its own: that is what the kernel reads.
fn write(path: &Path, value: &str) -> io::Result<()> {
    std::fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// How often the kernel killed a process of a cgroup because its memory was used up
/// (`memory.events`); 0 where it counts nothing.
pub(crate) fn out_of_memory(directory: &Path) -> u64 {
    let text = std::fs::read_to_string(directory.join("memory.events")).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
