//! One store, and several processes at it: pulls, starts, updates, checks and removals at once, some of which
//! are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure_quiet, version, wait_for_version};

cases![
    layers_are_fetched_once_by_all,
    a_start_of_the_service_clears_up,
    what_is_written_into_a_layer_is_told,
    everybody_at_once,
];

const STATE: &str = "/var/lib/updaterd";

/// The names in a directory of the store.
fn names(host: &Host, directory: &str) -> BTreeSet<String> {
    host.sh(&format!("ls {STATE}/{directory}")).lines().map(str::to_owned).collect()
}

/// What all of the images have in common: some files, and a megabyte that cannot be compressed.
fn common() -> Layer {
    let mut layer = Layer::new();
    for number in 0..300 {
        layer.file(&format!("common/{number}"), 0o644, format!("{number}\n").as_bytes());
    }
    let mut noise = vec![0; 1 << 20];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    layer.file("common/noise", 0o644, &noise);
    layer
}

fn image(version: &str) -> Image {
    Image::app(version).layer(common())
}

/// How often each blob was asked for, by its digest.
fn blobs(registry: &Registry<'_>) -> BTreeMap<String, usize> {
    let mut blobs = BTreeMap::new();
    for request in registry.requests().iter().filter(|request| request.starts_with("GET ")) {
        if let Some((_, rest)) = request.split_once("/blobs/") {
            let digest = rest.split(' ').next().unwrap();
            *blobs.entry(digest.to_owned()).or_default() += 1;
        }
    }
    blobs
}

/// Points the process to be stopped at, and waits until it is.
fn stopped_pull(host: &Host, reference: &str) -> String {
    host.sh(&format!(
        "UPDATERD_CRASH_POINT=stop:before-commit-pull updater-launch pull {reference} \
           > /tmp/stopped 2>&1 & echo $! > /tmp/pid"
    ));
    let pid = host.sh("cat /tmp/pid");
    host.wait_for(&format!("[ $(cut -d ' ' -f 3 /proc/{pid}/stat) = T ]"), seconds(20));
    pid
}

fn layers_are_fetched_once_by_all(host: &Host) {
    let registry = Registry::start(host);
    let images = ["a", "b", "c", "d"].map(|name| {
        registry.push(&format!("team/{name}:1"), &image(name));
        registry.reference(&format!("team/{name}:1"))
    });
    // One has brought its layers, and is killed before it has an image of them.
    let pid = stopped_pull(host, &images[0]);
    let pulls: Vec<String> = images
        .iter()
        .chain(&images)
        .map(|image| format!("updater-launch pull {image} > /dev/null & pulls+=($!)"))
        .collect();
    host.sh(&format!(
        "pulls=(); {}
         kill -KILL {pid}
         for pull in ${{pulls[@]}}; do wait $pull; done",
        pulls.join("\n")
    ));
    let configurations = host.sh("updater-launch images --quiet --no-trunc");
    let mut blobs = blobs(&registry);
    blobs.retain(|digest, _| !configurations.contains(digest.as_str()));
    assert_eq!(blobs.len(), 2 + images.len(), "the base, what is common, and one of each");
    assert!(blobs.values().all(|times| *times == 1), "{blobs:?}");
    host.sh("updater-launch image check");
    assert_eq!(names(host, "layers/sha256").len(), blobs.len());
    assert_eq!(names(host, "tmp"), BTreeSet::new());
}

fn a_start_of_the_service_clears_up(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    let [kept, removed, killed, living] = ["a", "b", "c", "d"].map(|name| {
        registry.push(&format!("{name}:1"), &Image::app(name));
        registry.reference(&format!("{name}:1"))
    });
    let die = |point: &str, command: &str| {
        let order = format!("UPDATERD_CRASH_POINT=kill:{point}");
        assert_eq!(host.run(&format!("{order} updater-launch {command}")).status, 137, "{point}");
    };
    let clears_up = |what: &str, done: &dyn Fn() -> bool| {
        host.sh("systemctl restart updaterd.service");
        host.wait_until(what, seconds(20), done);
    };
    let count = |directory: &str| names(host, directory).len();
    host.sh(&format!("updater-launch pull {kept}; updater-launch pull {removed}"));
    // One that lives, one that died in the middle, and what a third has left long ago.
    let pid = stopped_pull(host, &living);
    die("before-commit-pull", &format!("pull {killed}"));
    let digest = "0".repeat(64);
    host.sh(&format!(
        "cd {STATE}; mkdir -p tmp/0123/{digest}/etc held/0123; touch held/0123/{digest} locks/{digest}"
    ));
    let there = host.sh(&format!("ls -lR {STATE}/tmp {STATE}/held"));
    assert_eq!([count("tmp"), count("held"), count("layers/sha256")], [3, 3, 5], "{there}");
    clears_up("who lives has its work, and no layer goes with it", &|| {
        [count("tmp"), count("held"), count("layers/sha256")] == [1, 1, 5]
    });
    host.wait_for(&format!("[ ! -e {STATE}/locks/{digest} ]"), seconds(20));
    host.sh(&format!("kill -CONT {pid}"));
    host.wait_for(&format!("! kill -0 {pid}"), seconds(20));
    host.sh(&format!("updater-launch image check; updater-launch image exists {living}"));
    clears_up("the layer goes that no image has", &|| count("layers/sha256") == 4);
    // Out of sight, and not deleted yet.
    die("before-erase", &format!("rmi {removed}"));
    assert_eq!([count("tmp"), count("layers/sha256")], [1, 3]);
    clears_up("the deletion goes on", &|| count("tmp") == 0);
    host.sh("updater-launch image check");
    for image in [kept, living] {
        host.sh(&format!("updater-launch run --rm --network host {image} cat /app/version"));
    }
}

fn what_is_written_into_a_layer_is_told(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &image("v1"));
    let app = registry.reference("app:latest");
    // What a container does to its files is none of the layers'.
    host.sh(&format!(
        "updater-launch run --rm --network host {app} sh -c 'rm /common/1; echo x > /common/2; chmod 600 /bin'
         updater-launch image check"
    ));
    host.sh(&format!("echo changed > {STATE}/layers/sha256/*/common/7"));
    let told = host.fails(1, "updater-launch image check");
    assert!(told.stdout.contains("was changed since it was pulled"), "{}", told.describe());
    assert!(told.stdout.contains("common/7"), "{}", told.describe());
    host.sh(&format!("updater-launch rmi {app}; updater-launch pull {app}"));
    host.sh("updater-launch image check");
}

/// Who does what, again and again, until the time is over.
struct Crowd<'a> {
    host: &'a Host,
    images: Vec<String>,
    is_over: AtomicBool,
    /// What went wrong, and how often each thing was done.
    wrong: Mutex<Vec<String>>,
    done: Mutex<BTreeMap<String, u32>>,
}

impl Crowd<'_> {
    /// Does `what` with an image that chance picks; `expected` are the ends that it may have.
    fn does(&self, seed: u64, what: &str, expected: &[i32]) {
        let mut random = fastrand::Rng::with_seed(seed);
        while !self.is_over.load(Ordering::Relaxed) {
            let image = &self.images[random.usize(..self.images.len())];
            let command = what.replace("IMAGE", image);
            // Every third is killed, if it takes so long.
            let (command, expected) = if random.u8(..3) == 0 {
                let after = f64::from(random.u32(..250)) / 1000.0;
                (format!("timeout --signal=KILL {after} {command}"), [expected, &[137]].concat())
            } else {
                (command, expected.to_vec())
            };
            let outcome = self.host.run(&command);
            *self.done.lock().unwrap().entry(format!("{what} {}", outcome.status)).or_default() +=
                1;
            if !expected.contains(&outcome.status) {
                let told = format!("{command}: {}", outcome.describe());
                self.wrong.lock().unwrap().push(told);
            }
        }
    }

    /// A new version of what a unit runs, and an update to it.
    fn updates(&self, registry: &Registry<'_>) -> String {
        let mut number = 1;
        while !self.is_over.load(Ordering::Relaxed) {
            number += 1;
            registry.push("app:latest", &image(&format!("v{number}")));
            let outcome = self.host.run("updaterctl update");
            if outcome.status != 0 {
                let told = format!("update to v{number}: {}", outcome.describe());
                self.wrong.lock().unwrap().push(told);
            }
        }
        format!("v{number}")
    }
}

/// The layers that the images of the store are made of.
fn layers_of_images(host: &Host) -> BTreeSet<String> {
    let images = host.json("updater-launch image inspect $(updater-launch images --all --quiet)");
    let layers = images.as_array().unwrap().iter().flat_map(|image| {
        image["RootFS"]["Layers"].as_array().unwrap().iter().map(|layer| layer.as_str().unwrap())
    });
    layers.map(|layer| layer["sha256:".len()..].to_owned()).collect()
}

fn everybody_at_once(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &image("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    let images = ["a", "b", "c"].map(|name| {
        registry.push(&format!("{name}:1"), &image(name));
        registry.reference(&format!("{name}:1"))
    });
    let crowd = Crowd {
        host,
        images: images.to_vec(),
        is_over: AtomicBool::new(false),
        wrong: Mutex::default(),
        done: Mutex::default(),
    };
    let last = std::thread::scope(|scope| {
        let does = |seed, what: &'static str, expected: &'static [i32]| {
            let crowd = &crowd;
            scope.spawn(move || crowd.does(seed, what, expected));
        };
        does(1, "updater-launch run --rm --network none IMAGE cat /common/299", &[0]);
        does(2, "updater-launch run --rm --network none IMAGE cat /common/299", &[0]);
        does(3, "updater-launch pull --quiet IMAGE", &[0]);
        does(4, "updater-launch image prune --all --force", &[0]);
        // It is not there, or somebody has it.
        does(5, "updater-launch rmi IMAGE", &[0, 1, 2]);
        // What others remove meanwhile may be told to be missing.
        does(6, "updater-launch image check --quiet", &[0, 1]);
        let updates = scope.spawn(|| crowd.updates(&registry));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(100));
        }
        crowd.is_over.store(true, Ordering::Relaxed);
        updates.join().unwrap()
    });
    println!("{:#?}", crowd.done.lock().unwrap());
    let wrong = crowd.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    wait_for_version(host, "app", &last);
    let told = host.sh("updater-launch image prune --all --force; updater-launch image check");
    assert!(told.ends_with("nothing is missing or damaged"), "{told}");
    for image in &images {
        host.sh(&format!("updater-launch run --rm --network none {image} cat /app/version"));
    }
    assert_eq!(host.sh("updater-launch image check | wc -l"), "1");
    assert_eq!(version(host, "app"), last);
    // Nothing is left of anybody.
    assert_eq!(host.sh("updater-launch ps --all --format '{{.Names}}'"), "app");
    host.wait_until(
        "whose launcher was killed has brought its pull to an end",
        seconds(20),
        || names(host, "tmp").is_empty() && names(host, "held").is_empty(),
    );
    let layers = names(host, "layers/sha256");
    assert_eq!(layers, layers_of_images(host));
    assert!(names(host, "seals").is_subset(&layers));
    let locks = names(host, "locks");
    assert!(locks.iter().all(|name| name.len() < 64), "{locks:?}");
}
