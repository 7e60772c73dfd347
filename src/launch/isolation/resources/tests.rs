use proptest::prelude::*;

use super::*;

fn flags(set: impl FnOnce(&mut ResourceFlags)) -> ResourceFlags {
    let mut flags = ResourceFlags::default();
    set(&mut flags);
    flags
}

/// A host on which `/dev/vda` alone is a device.
fn number(path: &Path) -> io::Result<Option<(u32, u32)>> {
    match path.to_str() {
        Some("/dev/vda") => Ok(Some((254, 0))),
        Some("/dev/null") => Ok(None),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn read(set: impl FnOnce(&mut ResourceFlags)) -> Result<Resources, InvalidLimit> {
    Resources::read(&flags(set), number)
}

/// A cgroup that has these files, after the settings were written; what is in each.
fn written(resources: &Resources, files: &[&str]) -> Result<Vec<String>, NotApplied> {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::write(directory.path().join(file), "").unwrap();
    }
    apply(directory.path(), resources)?;
    let text = |file: &&str| std::fs::read_to_string(directory.path().join(file)).unwrap();
    Ok(files.iter().map(text).collect())
}

#[test]
fn memory_and_swap() {
    let files = ["memory.max", "memory.swap.max", "memory.low"];
    let some = |text: &str| Some(text.to_owned());
    let memory = read(|flags| flags.memory = some("1g")).unwrap();
    assert_eq!(written(&memory, &files).unwrap(), ["1073741824", "1073741824", ""]);
    assert_eq!(written(&memory, &["memory.max"]).unwrap(), ["1073741824"]);
    let both = |swap: &'static str| {
        read(move |flags| {
            flags.memory = some("100m");
            flags.memory_swap = some(swap);
            flags.memory_reservation = some("50m");
        })
    };
    let all = written(&both("150m").unwrap(), &files).unwrap();
    assert_eq!(all, ["104857600", "52428800", "52428800"]);
    assert_eq!(written(&both("-1").unwrap(), &files).unwrap()[1], "max");
    // Without swap accounting, a limit that was asked for is not passed over.
    let refused = written(&both("150m").unwrap(), &["memory.max", "memory.low"]).unwrap_err();
    assert!(refused.to_string().contains("memory.swap.max"), "{refused}");
    assert!(matches!(both("50m"), Err(InvalidLimit::Swap)));
    assert!(matches!(read(|f| f.memory_swap = some("1g")), Err(InvalidLimit::Swap)));
    assert!(matches!(read(|f| f.memory_swap = some("-1")), Err(InvalidLimit::Swap)));
    let above = read(|flags| {
        flags.memory = some("1m");
        flags.memory_reservation = some("2m");
    });
    assert!(matches!(above, Err(InvalidLimit::Reservation)));
    assert!(matches!(read(|f| f.memory_swappiness = Some(60)), Err(InvalidLimit::Swappiness)));
    assert!(read(|f| f.memory_swappiness = Some(-1)).unwrap().0.is_empty());
    assert!(read(|f| f.memory = some("lots")).is_err());
    assert!(read(|f| f.memory = some("0")).unwrap().0.is_empty());
}

#[test]
fn processors() {
    let max =
        |set: fn(&mut ResourceFlags)| written(&read(set).unwrap(), &["cpu.max"]).unwrap().remove(0);
    assert_eq!(max(|flags| flags.cpus = Some("0.5".into())), "50000 100000");
    assert_eq!(max(|flags| flags.cpu_quota = Some(20_000)), "20000 100000");
    assert_eq!(max(|flags| flags.cpu_quota = Some(-1)), "max 100000");
    assert_eq!(max(|flags| flags.cpu_period = Some(50_000)), "max 50000");
    let shares = read(|flags| flags.cpu_shares = Some(1024)).unwrap();
    assert_eq!(written(&shares, &["cpu.weight"]).unwrap(), ["100"]);
    let both = read(|flags| {
        flags.cpus = Some("1".into());
        flags.cpu_quota = Some(1000);
    });
    assert!(matches!(both, Err(InvalidLimit::Cpus)));
    assert!(read(|flags| flags.cpus = Some("many".into())).is_err());
    let sets = read(|flags| {
        flags.cpuset_cpus = Some("0-1,3".into());
        flags.cpuset_mems = Some("0".into());
    });
    assert_eq!(written(&sets.unwrap(), &["cpuset.cpus", "cpuset.mems"]).unwrap(), ["0-1,3", "0"]);
    assert!(read(|flags| flags.cpuset_cpus = Some("0;1".into())).is_err());
}

#[test]
fn processes_and_keys() {
    let pids = |limit| read(move |flags| flags.pids_limit = Some(limit)).unwrap();
    assert_eq!(written(&pids(100), &["pids.max"]).unwrap(), ["100"]);
    assert_eq!(written(&pids(-1), &["pids.max"]).unwrap(), ["max"]);
    let conf = |word: &'static str| read(move |flags| flags.cgroup_conf = vec![word.into()]);
    assert_eq!(written(&conf("memory.high=1G").unwrap(), &["memory.high"]).unwrap(), ["1G"]);
    assert_eq!(conf("memory.high=1G").unwrap().controllers(), [("memory", "cgroup-conf")]);
    assert!(conf("cgroup.max.depth=2").unwrap().controllers().is_empty());
    for word in [
        "cgroup.procs=1",
        "cgroup.kill=1",
        "cgroup.subtree_control=-memory",
        "memory/../x=1",
        "memory.=1",
        "memory..x=1",
        "memory.high",
        "memory.high=",
        "nope.max=1",
        "=1",
    ] {
        assert!(matches!(conf(word), Err(InvalidLimit::Conf(_))), "{word}");
    }
}

#[test]
fn disks() {
    let weight = read(|flags| flags.blkio_weight = Some(1000)).unwrap();
    assert_eq!(written(&weight, &["io.bfq.weight", "io.weight"]).unwrap(), ["1000", ""]);
    assert_eq!(written(&weight, &["io.weight"]).unwrap(), ["10000"]);
    assert!(written(&weight, &[]).unwrap_err().to_string().contains("io.bfq.weight or io.weight"));
    let one = read(|flags| flags.blkio_weight_device = vec!["/dev/vda:10".into()]).unwrap();
    assert_eq!(written(&one, &["io.weight"]).unwrap(), ["254:0 1"]);
    let rates = read(|flags| flags.device_write_bps = vec!["/dev/vda:1m".into()]).unwrap();
    assert_eq!(written(&rates, &["io.max"]).unwrap(), ["254:0 wbps=1048576"]);
    let rates = read(|flags| flags.device_read_iops = vec!["/dev/vda:100".into()]).unwrap();
    assert_eq!(written(&rates, &["io.max"]).unwrap(), ["254:0 riops=100"]);
    for text in
        ["/dev/vda", "/dev/vda:", "/dev/vda:0", "vda:1", "/dev/vda:x", "/dev/null:1", "/no:1"]
    {
        assert!(read(|flags| flags.device_read_bps = vec![text.into()]).is_err(), "{text}");
    }
    assert!(read(|flags| flags.device_read_iops = vec!["/dev/vda:1m".into()]).is_err());
    assert!(read(|flags| flags.blkio_weight = Some(9)).is_err());
    assert_eq!(rates.controllers(), [("io", "device-read-iops")]);
}

#[test]
fn what_the_kernel_refuses_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("pids.max")).unwrap();
    let pids = read(|flags| flags.pids_limit = Some(7)).unwrap();
    let refused = apply(directory.path(), &pids).unwrap_err().to_string();
    assert!(refused.contains("--pids-limit") && refused.contains("\"7\""), "{refused}");
}

#[test]
fn kills_for_memory_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(out_of_memory(directory.path()), 0);
    let events = "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 1\n";
    std::fs::write(directory.path().join("memory.events"), events).unwrap();
    assert_eq!(out_of_memory(directory.path()), 2);
}

proptest! {
    /// Whatever is asked for, only files of the cgroup itself are named, and one line is written.
    #[test]
    fn settings_stay_in_the_cgroup(
        memory in proptest::option::of("\\PC{0,8}|[0-9]{1,6}[kmg]"),
        conf in "\\PC{0,20}|[a-z]{0,6}[./=a-z0-9\n]{0,20}",
        cpus in proptest::option::of("[0-9.]{0,6}"),
        rate in "/dev/vda:[0-9]{0,5}[kmg]?",
    ) {
        let resources = read(|flags| {
            flags.memory = memory;
            flags.cgroup_conf = vec![conf];
            flags.cpus = cpus;
            flags.device_read_bps = vec![rate];
        });
        for (file, value) in resources.iter().flat_map(|all| &all.0).flat_map(|set| &set.choices) {
            prop_assert!(!file.contains('/') && !value.contains('\n'), "{file} {value}");
        }
    }
}
