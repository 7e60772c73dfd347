//! Pulls: of a large image, about 350 MiB compressed, a gigabyte in 30,000 files, six layers, to memory and
//! to a disk; and of an image that has one new layer of six, from a registry 20 ms away.

use std::time::Duration;

use crate::floor;
use crate::host::Host;
use crate::image::{Image, Layer};
use crate::measure::{Bound, Cost, Goal, cost, row};
use crate::registry::{Access, Registry};
use crate::relay;

const LAYERS: usize = 6;
const FILES: usize = 5_000;
/// A third of each file does not compress; the rest nearly vanishes.
const FILE_SIZE: usize = 34_500;
const RUNS: usize = 3;

const OURS: &str = "/var/lib/updaterd";
const THEIRS: &str = "/var/lib/containers";

/// The argument that makes a process [`push`].
pub(crate) const PUSH: &str = "push-large";

/// Makes the image and pushes it, in a process of its own: a process passes its size on to the
/// children whose memory is measured.
pub(crate) fn push(host: &Host) {
    let registry = Registry::start(host);
    registry.push("large:latest", &layered("v1", FILES, LAYERS));
    registry.down();
}

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    println!("(making the image)");
    let this = std::env::current_exe().unwrap();
    host.sh(&format!("{} --inside {PUSH}", this.display()));
    let registry = Registry::start(host);
    let image = registry.reference("large:latest");
    let floor = floor::of(&registry, "large");
    let (ours, theirs) = both(host, "memory", &image, |_| {
        host.sh(&format!("rm -rf {OURS}/*; podman rmi --all --force > /dev/null 2>&1 || true"));
    });
    host.sh("podman rmi --all --force > /dev/null");
    let disk = Disk::begin(host);
    let (ours_on_disk, theirs_on_disk) =
        both(host, "ext4", &image, |directory| disk.anew(directory));
    disk.end();
    registry.down();
    println!("the floor: {floor:.2?}");
    let mut goals = vec![
        Goal {
            what: "pull to memory, times faster than Podman",
            measured: theirs.wall.as_secs_f64() / ours.wall.as_secs_f64(),
            wanted: Bound::AtLeast(6.0),
        },
        Goal {
            what: "pull to memory, times the floor",
            measured: ours.wall.as_secs_f64() / floor.as_secs_f64(),
            wanted: Bound::AtMost(1.3),
        },
        Goal {
            what: "pull to ext4, flushed, times faster than Podman's, which is not",
            measured: theirs_on_disk.wall.as_secs_f64() / ours_on_disk.wall.as_secs_f64(),
            wanted: Bound::AtLeast(3.0),
        },
        Goal {
            what: "memory of a pull, MiB resident",
            measured: ours.memory.max(ours_on_disk.memory),
            wanted: Bound::AtMost(16.0),
        },
    ];
    goals.push(one_new_layer(host));
    goals
}

/// The fastest of a few pulls of each engine, each to a store that `empty` has emptied.
fn both(host: &Host, medium: &str, image: &str, empty: impl Fn(&str)) -> (Cost, Cost) {
    let best = |directory: &str, program: &str| {
        let costs = (0..RUNS).map(|_| {
            empty(directory);
            host.sh("sync");
            cost(program, &["pull", "--quiet", image])
        });
        costs.min_by_key(|cost| cost.wall).unwrap()
    };
    let ours = best(OURS, "updater-launch");
    let theirs = best(THEIRS, "podman");
    row(&format!("updater-launch pull, {medium}"), ours);
    row(&format!("podman pull, {medium}"), theirs);
    (ours, theirs)
}

/// A real disk: ext4 in a file on whatever the build lies on. A new one for each pull, because ext4 makes
/// files slowly for a while where it has removed many.
struct Disk<'host> {
    host: &'host Host,
}

impl<'host> Disk<'host> {
    const FILE: &'static str = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-disk");

    fn begin(host: &'host Host) -> Self {
        host.sh("[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
             for n in {0..15}; do [ -e /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done");
        Self { host }
    }

    fn anew(&self, directory: &str) {
        self.end();
        let file = Self::FILE;
        self.host.sh(&format!(
            "truncate --size=6G {file}; mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 {file}
             mount -o loop {file} {directory}"
        ));
    }

    fn end(&self) {
        let file = Self::FILE;
        self.host.sh(&format!(
            "for at in {OURS} {THEIRS}; do
               umount --lazy $at/storage/overlay 2> /dev/null || true
               if [ \"$(findmnt --noheadings --output FSTYPE --mountpoint $at)\" = ext4 ]; then umount $at; fi
             done
             rm -f {file}"
        ));
    }
}

/// What an update fetches that changes one layer of six.
fn one_new_layer(host: &Host) -> Goal {
    const NEAR: u16 = 5001;
    const FAR: u16 = 5002;
    let registry = Registry::start_with(host, Access::Tls, NEAR);
    host.sh(&format!(
        "cp -r /etc/containers/certs.d/localhost:{NEAR} /etc/containers/certs.d/localhost:{FAR}"
    ));
    relay::start(FAR, NEAR, Duration::from_millis(20));
    registry.push("old:latest", &layered("v1", 50, LAYERS));
    let registry_of = |name: &str| format!("localhost:{FAR}/{name}:latest");
    let next = |run: usize| format!("next{run}");
    for run in 0..RUNS {
        registry
            .push(&format!("{}:latest", next(run)), &layered(&format!("v{}", run + 2), 50, LAYERS));
    }
    let best = |program: &str| {
        host.sh(&format!("{program} pull --quiet {}", registry_of("old")));
        let costs =
            (0..RUNS).map(|run| cost(program, &["pull", "--quiet", &registry_of(&next(run))]));
        costs.min_by_key(|cost| cost.wall).unwrap()
    };
    let (ours, theirs) = (best("updater-launch"), best("podman"));
    host.sh("podman rmi --all --force > /dev/null");
    registry.down();
    row("updater-launch pull, a new layer", ours);
    row("podman pull, a new layer", theirs);
    Goal {
        what: "pull of one new layer of six, times faster than Podman",
        measured: theirs.wall.as_secs_f64() / ours.wall.as_secs_f64(),
        wanted: Bound::AtLeast(2.5),
    }
}

/// An image whose last layer depends on its version, with as many files in each other one.
fn layered(version: &str, files: usize, layers: usize) -> Image {
    let mut random = fastrand::Rng::with_seed(1);
    let mut image = Image::app("base");
    for number in 0..layers {
        if number + 1 == layers {
            random = fastrand::Rng::with_seed(version.bytes().map(u64::from).sum());
        }
        let mut layer = Layer::new();
        for file in 0..files {
            let mut content = vec![b'x'; FILE_SIZE];
            random.fill(&mut content[..FILE_SIZE * 35 / 100]);
            if file % 100 == 0 {
                layer.directory(&format!("data/{number}/{}", file / 100), 0o755);
            }
            layer.file(&format!("data/{number}/{}/{file}", file / 100), 0o644, &content);
        }
        image = image.layer(layer);
    }
    image
}
