//! What things cost, in figures that are the same on every machine: requests, bytes, system calls,
//! processes. Times and memory are `make bench`'s.

use std::time::Duration;

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::podman::{self, PodmanUnit};
use crate::registry::{Access, Registry};
use crate::relay;
use crate::units::{ContainerUnit, configure, configure_quiet, version};

cases![
    a_pass_without_news_starts_nothing_and_writes_nothing,
    an_update_fetches_what_is_new,
    what_is_unchanged_costs_a_fifth_of_podmans_bytes,
    a_pull_is_flushed_once,
    a_file_costs_four_system_calls,
    a_start_moves_nobody_and_flushes_nothing,
    a_supervisor_is_small_and_sleeps,
];

/// What a system call did: its name, and the line that strace(1) has for it.
struct Call {
    name: String,
    line: String,
}

/// The system calls of strace's `file`, in their order.
fn calls(host: &Host, file: &str) -> Vec<Call> {
    let text = host.sh(&format!("cat {file}"));
    let call = |line: &str| {
        // The process, the name, an opening parenthesis; else a signal, an end, or the second half
        // of a call that another process interrupted.
        let (name, _) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        let named = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        named.then(|| Call { name: name.to_owned(), line: line.to_owned() })
    };
    text.lines().filter_map(call).collect()
}

/// The system calls of the running service while `work` is done.
fn calls_of_service(host: &Host, work: &str) -> Vec<Call> {
    let pid = host.property("updaterd.service", "MainPID");
    host.sh(&format!(
        "strace --quiet=all --follow-forks --string-limit=100 --output=/tmp/trace --attach={pid} \
           > /tmp/strace 2>&1 & strace=$!
         until grep -q '^TracerPid:[[:space:]]*[1-9]' /proc/{pid}/status; do :; done
         {work}
         kill -INT $strace; wait $strace || true"
    ));
    calls(host, "/tmp/trace")
}

#[track_caller]
fn assert_none(calls: &[Call], names: &[&str]) {
    for call in calls {
        let thread = call.line.contains("CLONE_THREAD");
        assert!(!names.contains(&&*call.name) || thread, "{}", call.line);
    }
}

/// No process but its own, no write to a disk, and a bounded number of system calls for each image.
fn a_pass_without_news_starts_nothing_and_writes_nothing(host: &Host) {
    let registry = Registry::start(host);
    configure(host, "interval = \"1h\"\njitter = \"0s\"\n");
    let add = |name: &str| {
        let image = format!("{name}:latest");
        registry.push(&image, &Image::app("v1"));
        ContainerUnit::new(name, &registry.reference(&image)).start(host);
    };
    add("app");
    host.sh("systemctl start updaterd.service; updaterctl update");
    let one = calls_of_service(host, "updaterctl update");
    let others = ["a", "b", "c", "d", "e"];
    others.iter().for_each(|name| add(name));
    host.sh("updaterctl update");
    let six = calls_of_service(host, "updaterctl update");
    for pass in [&one, &six] {
        assert_none(pass, &["execve", "execveat", "fork", "vfork", "clone", "clone3"]);
        assert_none(pass, &["fsync", "fdatasync", "syncfs", "sync", "unlink"]);
    }
    let more = six.len().saturating_sub(one.len()) / others.len();
    // Measured: 186 and 41, give or take two; most of the first look for files that are not there.
    assert!(one.len() < 230 && more < 60, "{} for one image, {more} for each more", one.len());
}

/// The manifest, the configuration and the new layer: not a byte of what is there.
fn an_update_fetches_what_is_new(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    let v2 = Image::app("v2");
    let manifest = registry.size(&registry.push("app:latest", &v2));
    let built = v2.build();
    let expected = manifest + (built.config.len() + built.layers.last().unwrap().len()) as u64;
    let (requests, bytes) = (registry.requests().len(), registry.bytes_sent());
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    assert_eq!(registry.requests().len(), requests + 4, "{:?}", registry.requests());
    assert_eq!(registry.bytes_sent() - bytes, expected);
}

/// Each engine's units on images of the same registry, over TLS: one connection and one request an
/// image, and of all that goes over the wire a fifth of what Podman's look at the same costs.
fn what_is_unchanged_costs_a_fifth_of_podmans_bytes(host: &Host) {
    let (near, far, images) = (5001, 5002, 10);
    podman::configure(host);
    configure_quiet(host);
    let registry = Registry::start_with(host, Access::Tls, near);
    host.sh(&format!(
        "cp -r /etc/containers/certs.d/localhost:{near} /etc/containers/certs.d/localhost:{far}"
    ));
    let carried = relay::start(far, near, Duration::ZERO);
    for number in 0..images {
        registry.push(&format!("app{number}:latest"), &Image::app(&format!("v{number}")));
        let image = format!("localhost:{far}/app{number}:latest");
        ContainerUnit::new(&format!("app{number}"), &image).place(host);
    }
    host.sh(&format!("systemctl daemon-reload; systemctl start app{{0..{}}}", images - 1));
    let (connections, bytes) = (carried.connections(), carried.bytes());
    let requests = registry.requests().len();
    host.sh("updaterctl check");
    let ours = carried.bytes() - bytes;
    assert_eq!(carried.connections() - connections, 1);
    assert_eq!(registry.requests().len() - requests, images, "{:?}", registry.requests());
    host.sh(&format!("systemctl stop app{{0..{}}}", images - 1));

    for number in 0..images {
        PodmanUnit::new(&format!("pod{number}"), &format!("localhost:{far}/app{number}:latest"))
            .write(host);
    }
    host.sh(&format!("systemctl daemon-reload; systemctl start pod{{0..{}}}", images - 1));
    let bytes = carried.bytes();
    host.sh("podman auto-update --dry-run");
    let theirs = carried.bytes() - bytes;
    assert!(ours * 5 <= theirs, "{ours} bytes, Podman {theirs}");
}

/// Of a layer with so many small files, all of them root's.
fn calls_of_pull(host: &Host, files: usize) -> Vec<Call> {
    let registry = Registry::start(host);
    let mut layer = Layer::new();
    for number in 0..files {
        layer.file(&format!("app/{number}"), 0o644, b"x");
    }
    registry.push("app:latest", &Image::app("v1").layer(layer));
    host.sh(&format!(
        "strace --quiet=all --follow-forks --string-limit=200 --output=/tmp/trace \
         updater-launch pull {}",
        registry.reference("app:latest")
    ));
    calls(host, "/tmp/trace")
}

/// Made as what it is, written, its time set, closed; what there is besides does not depend on it.
fn a_file_costs_four_system_calls(host: &Host) {
    let files = 500;
    let calls = calls_of_pull(host, files);
    let count = |name: &str| calls.iter().filter(|call| call.name == name).count();
    for name in ["openat", "write", "utimensat", "close"] {
        assert!((files..files + 150).contains(&count(name)), "{name}: {}", count(name));
    }
    for name in ["fchown", "fchownat", "fchmod", "fchmodat", "fstat", "newfstatat", "openat2"] {
        assert!(count(name) < 60, "{name}: {}", count(name));
    }
}

/// However many files: they are on the disk before the one record that makes an image of them.
fn a_pull_is_flushed_once(host: &Host) {
    let calls = calls_of_pull(host, 500);
    let positions = |wanted: &dyn Fn(&Call) -> bool| -> Vec<usize> {
        (0..calls.len()).filter(|at| wanted(&calls[*at])).collect()
    };
    let flushes = positions(&|call| call.name == "syncfs");
    let files = positions(&|call| matches!(&*call.name, "fsync" | "fdatasync"));
    // The last but one: the tag comes after it.
    let records = positions(&|call| {
        call.name.starts_with("rename") && call.line.contains("/images/index.json\"")
    });
    let [flush] = flushes[..] else { panic!("{} flushes", flushes.len()) };
    let [.., record, _tag] = records[..] else { panic!("{} records", records.len()) };
    assert!(flush < record, "the record came first");
    assert!(files.len() < 20, "{} files flushed one by one", files.len());
}

/// The launcher, the process that is born in the container's cgroup, the runtime's own two: no
/// other program is started, nobody waits to be moved to a cgroup, and no disk is waited for.
fn a_start_moves_nobody_and_flushes_nothing(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let image = registry.reference("app:latest");
    host.sh(&format!("updater-launch pull {image}"));
    host.sh(&format!(
        "strace --quiet=all --follow-forks --string-limit=200 --decode-fds=path --output=/tmp/trace \
         updater-launch run --rm --network host {image} cat /proc/self/cgroup \
           > /tmp/inside"
    ));
    // The root of its own namespace: it was there before that was made.
    assert_eq!(host.sh("tail -n 1 /tmp/inside"), "0::/");
    let calls = calls(host, "/tmp/trace");
    let named = |names: &[&str]| -> Vec<&Call> {
        calls.iter().filter(|call| names.contains(&&*call.name)).collect()
    };
    let programs: Vec<&str> =
        named(&["execve"]).iter().filter_map(|call| call.line.split('"').nth(1)).collect();
    assert_eq!(programs, ["/usr/bin/updater-launch", "/bin/cat"]);
    let forks = named(&["fork", "vfork", "clone", "clone3"]);
    assert_eq!(forks.len(), 3, "{} forks", forks.len());
    assert!(forks[0].line.contains("CLONE_INTO_CGROUP"), "{}", forks[0].line);
    // What the runtime writes into the list of the cgroup's processes is thrown away.
    let first = |name: &str, part: &str| {
        calls.iter().position(|call| call.name == name && call.line.contains(part))
    };
    let covered = first("mount", "\"/dev/null\", \"/sys/fs/cgroup/");
    assert!(covered.is_some() && covered < first("write", "/cgroup.procs"), "it was moved there");
    for call in named(&["fsync", "fdatasync", "syncfs", "sync"]) {
        assert!(call.line.contains("</run/"), "{}", call.line);
    }
    // Measured: 2050; a debug build looks at each descriptor before it closes it.
    assert!(calls.len() < 2800, "{} system calls", calls.len());
}

/// Where nothing happens, who waits for a container does nothing, and has little memory.
fn a_supervisor_is_small_and_sleeps(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let image = registry.reference("app:latest");
    ContainerUnit::new("app", &image).start(host);
    host.sh(&format!("updater-launch run --detach --name back --network host {image}"));
    for name in ["app", "back"] {
        let inspect = format!("updater-launch inspect --format '{{{{.State.ConmonPid}}}}' {name}");
        let pid = host.sh(&inspect);
        host.wait_for(&format!("updater-launch logs {name} | grep started"), seconds(20));
        let private = format!(
            "awk '/^Private_/ {{ sum += $2 }} END {{ print sum }}' /proc/{pid}/smaps_rollup"
        );
        let private: u64 = host.sh(&private).parse().unwrap();
        assert!(private <= 1024, "the supervisor of {name} has {private} KiB for itself");
        let switches = || host.sh(&format!("grep ctxt_switches /proc/{pid}/status"));
        let before = switches();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(switches(), before, "the supervisor of {name} woke up");
    }
}
