//! The pull of a large image: about 350 MiB compressed, a gigabyte in 30,000 files, six layers.

use crate::host::Host;
use crate::image::{Image, Layer};
use crate::measure::{Bound, Cost, Goal, cost, row};
use crate::registry::Registry;

const LAYERS: usize = 6;
const FILES: usize = 5_000;
/// A third of each file does not compress; the rest nearly vanishes.
const FILE_SIZE: usize = 34_500;
const RUNS: usize = 3;

/// The argument that makes a process [`push`].
pub(crate) const PUSH: &str = "push-large";

/// Makes the image and pushes it, in a process of its own: a process passes its size on to the
/// children whose memory is measured.
pub(crate) fn push(host: &Host) {
    let registry = Registry::start(host);
    registry.push("large:latest", &large());
    registry.down();
}

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    println!("(making the image)");
    let this = std::env::current_exe().unwrap();
    host.sh(&format!("{} --inside {PUSH}", this.display()));
    let registry = Registry::start(host);
    let image = registry.reference("large:latest");
    let ours = best(|| {
        host.sh("rm -rf /var/lib/updaterd/*");
        cost("updater-launch", &["pull", &image])
    });
    let theirs = best(|| {
        host.sh("podman rmi --all --force > /dev/null 2>&1 || true");
        cost("podman", &["pull", "--quiet", &image])
    });
    host.sh("podman rmi --all --force > /dev/null");
    registry.down();
    row("updater-launch pull", ours);
    row("podman pull", theirs);
    vec![
        Goal {
            what: "pull, times faster than Podman",
            measured: theirs.wall.as_secs_f64() / ours.wall.as_secs_f64(),
            wanted: Bound::AtLeast(5.0),
        },
        Goal {
            what: "memory of a pull, MiB resident",
            measured: ours.memory,
            wanted: Bound::AtMost(16.0),
        },
    ]
}

/// The fastest of a few runs, each on an empty store.
fn best(run: impl Fn() -> Cost) -> Cost {
    let costs = (0..RUNS).map(|_| run());
    costs.min_by_key(|cost| cost.wall).unwrap()
}

fn large() -> Image {
    let mut random = fastrand::Rng::with_seed(1);
    let mut image = Image::app("v1");
    for number in 0..LAYERS {
        let mut layer = Layer::new();
        for file in 0..FILES {
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
