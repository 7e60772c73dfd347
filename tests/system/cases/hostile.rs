//! Images, and volumes that other containers have written, that try to have something done to the
//! host while a container is set up.

use crate::host::Host;
use crate::image::{Image, Layer};
use crate::registry::Registry;

cases![targets_stay_in_the_container, an_image_whose_directories_are_links, links_in_volumes,];

/// What must not change: a directory of the host, with a file, and what lies at its root.
const BAIT: &str = "/srv/bait";
const LOOK: &str = "ls -A / /etc /dev /run /proc/1/root/srv; find /srv/bait; cat /srv/bait/ptmx";

fn prepare(host: &Host, registry: &Registry<'_>, image: &Image) -> String {
    host.write(&format!("{BAIT}/ptmx"), "untouched\n");
    host.sh("mkdir -p /srv/data; echo mine > /srv/data/file; echo mine > /srv/data/ptmx; printf x > /srv/secret
             [ -e /var/lib/updaterd/secrets/s ] || updater-launch secret create s /srv/secret");
    registry.push("app:latest", image);
    let reference = registry.reference("app:latest");
    host.sh(&format!("updater-launch pull {reference}"));
    reference
}

fn links(links: &[(&str, &str)]) -> Image {
    let mut layer = Layer::new();
    for (link, to) in links {
        layer.link(link, to);
    }
    Image::app("v1").layer(layer)
}

fn run(host: &Host, flags: &str, image: &str, script: &str) -> crate::host::Outcome {
    host.run(&format!("updater-launch run --rm --network none {flags} {image} sh -c '{script}'"))
}

fn targets_stay_in_the_container(host: &Host) {
    let image = links(&[
        ("evil", "/"),
        ("up", "../../../.."),
        ("bait", BAIT),
        ("far", "../../../../srv/bait"),
        ("dangling", "/srv/bait/new"),
        ("d", "/dev"),
        ("var/deep", "../evil/srv/bait"),
    ]);
    let app = prepare(host, &Registry::start(host), &image);
    // The first run makes what runs make.
    run(host, "", &app, "true");
    let before = host.sh(LOOK);
    for target in [
        "/evil/srv/bait/x",
        "/up/srv/bait/x",
        "/bait/x",
        "/far/x",
        "/dangling/x",
        "/dangling",
        "/bait",
        "/far",
        "/var/deep/x",
        "/d/shm/x",
        "/d/x",
    ] {
        for flags in [
            format!("-v /srv/data:{target}"),
            format!("-v /srv/data/file:{target}"),
            format!("--tmpfs {target}"),
            format!("-v named:{target}"),
            format!("--mount type=image,src={app},dst={target}"),
            format!("--secret s,target={target}"),
            format!("-v /srv/data:{target} --read-only"),
        ] {
            let ran = run(
                host,
                &flags,
                &app,
                &format!("[ -e {target} ] && grep -c . /proc/self/mountinfo"),
            );
            assert_eq!(ran.status, 0, "{flags}: {}", ran.describe());
            assert_eq!(host.sh(LOOK), before, "{flags}");
        }
        // A directory that the program is to start in, and one that the image wants.
        let ran = run(host, &format!("--workdir {target}"), &app, "pwd");
        assert!([0, 125, 126].contains(&ran.status), "{}", ran.describe());
        assert_eq!(host.sh(LOOK), before, "--workdir {target}");
    }
    // There the runtime would make its nodes and links, in what is mounted.
    for target in ["/evil", "/up", "/d", "/evil/d", "/evil/proc", "/bait/../../d"] {
        for flags in [
            format!("-v /srv/data:{target}"),
            format!("--tmpfs {target}"),
            format!("-v named:{target}"),
        ] {
            let refused = run(host, &flags, &app, "true");
            assert_eq!(refused.status, 125, "{flags}: {}", refused.describe());
            assert!(refused.stderr.contains(target), "{flags}: {}", refused.describe());
            assert_eq!(
                host.sh("ls -A /srv/data; cat /srv/data/ptmx"),
                "file\nptmx\nmine",
                "{flags}"
            );
        }
    }
    // Two names of one place.
    let twice = run(host, "-v /srv/data:/d/x -v named:/dev/x", &app, "true");
    assert!(twice.status == 125 && twice.stderr.contains("/dev/x"), "{}", twice.describe());
    let device = run(host, "--device /dev/full:/dev/x/full -v /srv/data:/d/x", &app, "true");
    assert!(device.status == 125 && device.stderr.contains("on the host"), "{}", device.describe());
    assert_eq!(host.sh("ls -A /srv/data"), "file\nptmx");
    assert_eq!(host.sh(LOOK), before);
}

fn an_image_whose_directories_are_links(host: &Host) {
    let registry = Registry::start(host);
    for (link, works) in [
        ("dev", false),
        ("proc", false),
        ("sys", false),
        ("run", true),
        ("etc", true),
        ("tmp", true),
        ("var", true),
    ] {
        let app = prepare(host, &registry, &links(&[(link, BAIT)]));
        let before = host.sh(LOOK);
        for flags in [
            "",
            "--read-only",
            "--secret s",
            "--device /dev/full",
            "--user 1000",
            "--sdnotify container",
        ] {
            let command = format!(
                "NOTIFY_SOCKET=/run/systemd/notify updater-launch run --rm --network none {flags} {app} true"
            );
            let ran = host.run(&command);
            assert_eq!(ran.status == 0, works, "/{link}, {flags}: {}", ran.describe());
            assert!(
                works || ran.stderr.contains(&format!("/{link} is a link")),
                "{}",
                ran.describe()
            );
            assert_eq!(host.sh(LOOK), before, "/{link}, {flags}");
        }
    }
    // A file that is one of ours, elsewhere.
    for (link, to) in [
        ("etc/hosts", "/dev"),
        ("etc/hosts", BAIT),
        ("etc/hostname", "/proc/1/root/srv/bait/x"),
        ("run/notify", "/"),
        ("run/secrets", "/dev"),
    ] {
        let app = prepare(host, &registry, &links(&[(link, to)]));
        let before = host.sh(LOOK);
        host.run(&format!(
            "NOTIFY_SOCKET=/run/systemd/notify updater-launch run --rm --network none --secret s \
             --sdnotify container {app} true"
        ));
        assert_eq!(host.sh(LOOK), before, "{link} -> {to}");
    }
}

fn links_in_volumes(host: &Host) {
    let app = prepare(host, &Registry::start(host), &Image::app("v1"));
    let plant = "cd /v; ln -s /dev d; ln -s / r; ln -s /srv/bait out; ln -s ../../../../srv/bait up; mkdir -p a";
    run(host, "-v shared:/v", &app, plant);
    let before = host.sh(LOOK);
    for target in ["/v/out", "/v/out/x", "/v/up/x", "/v/a/../up"] {
        let ran = run(host, &format!("-v shared:/v -v /srv/data:{target}"), &app, "true");
        assert!([0, 125, 126].contains(&ran.status), "{}", ran.describe());
        assert_eq!(host.sh(LOOK), before, "{target}");
    }
    for target in ["/v/d", "/v/r"] {
        let refused = run(host, &format!("-v shared:/v -v /srv/data:{target}"), &app, "true");
        assert_eq!(refused.status, 125, "{}", refused.describe());
        assert!(refused.stderr.contains(target), "{}", refused.describe());
    }
    assert_eq!(host.sh("ls -A /srv/data"), "file\nptmx");
    // Nothing is made over, and nothing copied, through a link.
    run(host, "--user 1000 -v shared:/v:U", &app, "true");
    run(host, "-v shared:/v:O", &app, "rm -r /v/out/. 2> /dev/null; true");
    assert_eq!(host.sh(&format!("stat -c %u {BAIT} {BAIT}/ptmx")), "0\n0");
    assert_eq!(host.sh(LOOK), before);
}
