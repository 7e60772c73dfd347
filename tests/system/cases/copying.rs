//! `cp`, `save` and `load`.

use super::commands::prepare;
use crate::host::Host;
use crate::image::{Image, Layer};
use crate::registry::prepare_image;

cases![
    files_go_both_ways,
    copies_stay_in_the_containers_root,
    archives_of_dockers_are_saved_and_loaded,
    archives_of_oci_are_saved_and_loaded,
];

fn files_go_both_ways(host: &Host) {
    let app = prepare(host);
    host.sh("mkdir -p /srv/site/sub; echo one > /srv/site/index; echo two > /srv/site/sub/page; \
             chmod 640 /srv/site/index; ln -s index /srv/site/link; chown -R 7:8 /srv/site");
    host.sh(&format!(
        "updater-launch run -d --name web --user 1000:1001 --network host {app} sleep 4711"
    ));
    // Running.
    host.sh("updater-launch cp /srv/site web:/tmp/new");
    assert_eq!(host.sh("updater-launch exec web cat /tmp/new/sub/page /tmp/new/link"), "two\none");
    assert_eq!(
        host.sh("updater-launch exec web stat -c '%u:%g %a' /tmp/new/index"),
        "1000:1001 640"
    );
    host.sh("updater-launch cp /srv/site/. web:/tmp/new; updater-launch cp /srv/site web:/tmp/new");
    assert_eq!(host.sh("updater-launch exec web ls /tmp/new"), "index\nlink\nsite\nsub");
    host.sh("cd /srv; updater-launch cp --archive=false site/index web:/tmp/kept");
    assert_eq!(host.sh("updater-launch exec web stat -c %u:%g /tmp/kept"), "7:8");
    host.sh(
        "updater-launch cp web:/app/version /tmp/version; updater-launch cp web:/tmp/new /tmp/out",
    );
    assert_eq!(
        host.sh("cat /tmp/version /tmp/out/site/sub/page; stat -c %u /tmp/out/index"),
        "v1\ntwo\n0"
    );
    // As archives.
    assert_eq!(host.sh("updater-launch cp web:/tmp/new/sub - | tar tf -"), "sub/\nsub/page");
    host.sh("tar -C /srv -cf - site | updater-launch cp - web:/app");
    assert_eq!(host.sh("updater-launch exec web cat /app/site/index"), "one");
    // Not running: what was written is kept.
    host.sh("updater-launch stop --time 0 web");
    host.sh("updater-launch cp /srv/site/index web:/app/later; updater-launch cp web:/tmp/new/sub/page /tmp/page");
    assert_eq!(
        host.sh("cat /tmp/page; updater-launch cp web:/app/later - | tar xOf -"),
        "two\none"
    );
    host.sh("updater-launch create --name other --network host --user 5 localhost:5000/app:latest");
    host.sh("updater-launch cp web:/tmp/new other:/copied; updater-launch cp other:/copied/sub/page /tmp/page2");
    assert_eq!(host.sh("cat /tmp/page2"), "two");
    for (wrong, word) in [
        ("/srv/site /tmp/x", "CONTAINER:PATH"),
        ("web:/nothing /tmp/x", "/nothing"),
        ("nothing:/x /tmp/x", "nothing"),
        ("/srv/site web:/no/such/place", "/no/such"),
        ("/srv/site/index web:/none/", "/none"),
        ("/srv/site web:/app/version", "version"),
    ] {
        let refused = host.fails(125, &format!("updater-launch cp {wrong}"));
        assert!(refused.stderr.contains(word), "{wrong}: {}", refused.describe());
    }
    host.sh("updater-launch start web; updater-launch rm --force --time 0 web other");
    assert_eq!(host.sh("ls /var/lib/updaterd/containers; grep rootfs /proc/mounts || true"), "");
}

fn copies_stay_in_the_containers_root(host: &Host) {
    let app = prepare(host);
    host.sh("mkdir -p /srv/outside; echo host > /srv/outside/file; echo new > /tmp/file");
    let script = "sh -c 'ln -s /srv/outside /evil; ln -s ../../../../../srv /up; \
                  ln -s /srv/outside/file /secret; ln -s /proc/1/root /magic; mkdir -p /srv/outside; exec sleep 4711'";
    host.sh(&format!("updater-launch run -d --name web --network host {app} {script}"));
    host.wait_for("updater-launch exec web test -d /srv/outside", crate::host::seconds(5));
    for target in ["/evil/in", "/up/outside/in2"] {
        host.sh(&format!("updater-launch cp /tmp/file web:{target}"));
    }
    assert_eq!(host.sh("ls /srv/outside"), "file");
    assert_eq!(host.sh("updater-launch exec web ls /srv/outside"), "in\nin2");
    host.fails(125, "updater-launch cp web:/secret /tmp/stolen");
    host.fails(125, "updater-launch cp web:/magic/etc/hostname /tmp/stolen");
    assert_ne!(host.run("test -e /tmp/stolen").status, 0);
    // An archive that leads up is refused.
    host.sh("cd /tmp; tar -cPf up.tar --transform 's,^file,../../file,' file");
    let up = host.fails(125, "updater-launch cp - web:/app < /tmp/up.tar");
    assert!(up.stderr.contains("lead out"), "{}", up.describe());
    // A setuid program of the container's is none of the host's.
    host.sh("updater-launch exec web sh -c 'cp /bin/busybox /su; chmod 4755 /su'");
    host.sh("updater-launch cp web:/su /tmp/su");
    assert_eq!(host.sh("stat -c %a /tmp/su"), "755");
}

/// An image whose upper layers hide files and a whole directory of those below.
fn prepare_hiding(host: &Host) -> String {
    let (mut below, mut above) = (Layer::new(), Layer::new());
    for name in ["old/a", "old/b", "gone", "stays"] {
        below.file(name, 0o640, b"below");
    }
    above.file(".wh.gone", 0o644, b"");
    above.file("old/.wh..wh..opq", 0o644, b"");
    above.file("old/c", 0o4755, b"above");
    let image = Image::app("v1").layer(below).layer(above).with("User", "7");
    prepare_image(host, &image)
}

const LOOK: &str = "sh -c 'cat /app/version; find /old /gone /stays 2> /dev/null | sort; \
                    stat -c %a:%s /old/c; id -u'";
const SEEN: &str = "v1\n/old\n/old/c\n/stays\n4755:5\n7";

fn archives_of_dockers_are_saved_and_loaded(host: &Host) {
    let app = prepare_hiding(host);
    let run = || host.sh(&format!("updater-launch run --rm --network host {app} {LOOK}"));
    assert_eq!(run(), SEEN);
    let id = host.sh("updater-launch images -q --no-trunc");
    let saved = host.run(&format!("updater-launch save -o /tmp/app.tar {app}"));
    assert!(saved.status == 0 && saved.stderr.contains("packed anew"), "{}", saved.describe());
    host.sh(&format!("updater-launch rmi {app}"));
    assert_eq!(host.sh("updater-launch load -i /tmp/app.tar"), format!("Loaded image: {app}"));
    assert_eq!(run(), SEEN);
    let loaded = host.sh("updater-launch images -q --no-trunc");
    assert_ne!(loaded, id);
    // What was packed anew once is the same from then on.
    let again = host.run(&format!("updater-launch save {app} > /tmp/again.tar"));
    assert!(again.status == 0 && !again.stderr.contains("packed anew"), "{}", again.describe());
    // Podman takes it, and we take Podman's.
    let podman = "podman --root /tmp/podman";
    host.sh(&format!("{podman} load -q -i /tmp/app.tar"));
    assert_eq!(host.sh(&format!("{podman} images --no-trunc -q {app}")), loaded);
    host.sh(&format!("{podman} save -q -o /tmp/theirs.tar {app}; updater-launch rmi {app}"));
    host.sh("gzip -f /tmp/theirs.tar; updater-launch load < /tmp/theirs.tar.gz");
    assert_eq!(run(), SEEN);
    assert_eq!(host.sh("updater-launch images -q --no-trunc"), loaded);
    assert_eq!(host.sh("ls /var/lib/updaterd/tmp"), "");
    for (wrong, word) in [
        ("load -i /dev/null", "no archive"),
        ("load -i /nothing", "/nothing"),
        ("load -i /etc", "no archive"),
        ("save nothing", "nothing"),
    ] {
        let refused = host.fails(125, &format!("updater-launch {wrong} | cat"));
        assert!(refused.stderr.contains(word), "{}", refused.describe());
    }
    assert_eq!(host.sh("ls /var/lib/updaterd/tmp"), "");
}

fn archives_of_oci_are_saved_and_loaded(host: &Host) {
    let app = prepare_hiding(host);
    let run = || host.sh(&format!("updater-launch run --rm --network host {app} {LOOK}"));
    host.sh(&format!("updater-launch save -q --format oci-archive -o /tmp/app.tar {app}"));
    host.sh(&format!("updater-launch save -q --format oci-dir -o /tmp/app {app}"));
    // Others read both.
    for place in ["oci-archive:/tmp/app.tar", "oci:/tmp/app"] {
        let found = host.json(&format!("skopeo inspect {place}:{app}"));
        assert_eq!(found["Layers"].as_array().unwrap().len(), 4, "{found}");
    }
    host.sh(&format!("skopeo copy -q oci:/tmp/app:{app} oci-archive:/tmp/theirs.tar:{app}"));
    for input in ["/tmp/app.tar", "/tmp/app", "/tmp/theirs.tar"] {
        host.sh(&format!("updater-launch rmi {app}"));
        let loaded = host.sh(&format!("updater-launch load -i {input}"));
        assert_eq!(loaded, format!("Loaded image: {app}"));
        assert_eq!(run(), SEEN);
    }
    // What was changed on its way is not taken.
    host.sh("cd /tmp/app/blobs/sha256
         for f in *; do if [ $(stat -c %s $f) -gt 100000 ]; then printf x >> $f; fi; done");
    host.sh(&format!("updater-launch rmi {app}"));
    let changed = host.fails(125, "updater-launch load -i /tmp/app");
    assert!(changed.stderr.contains("sha256:"), "{}", changed.describe());
    assert_eq!(host.sh("updater-launch images -q"), "");
    host.fails(125, &format!("updater-launch save --format oci-dir {app}"));
}
