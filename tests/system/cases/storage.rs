//! What containers keep, share and are given: volumes, mounts, devices, secrets.

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::registry::{offer_image, prepare, prepare_image};
use crate::someone::Someone;

cases![
    named_volumes_outlive_containers,
    anonymous_volumes_go_with_their_container,
    volumes_begin_as_the_image_has_it,
    a_volume_is_filled_whole_or_not_at_all,
    volumes_in_memory_are_shared_and_go,
    a_volume_of_a_directory_of_the_host,
    options_of_volumes,
    owners_as_they_are_mapped,
    mounts_by_keys,
    mounts_that_propagate,
    volumes_of_another_container,
    memory_of_a_container,
    devices_by_name,
    secrets_are_seen_by_their_container_alone,
    storage_that_cannot_be_had,
    what_an_ordinary_user_keeps_and_gives,
];

const RUN: &str = "updater-launch run --rm --network none";

/// A shell script in a container.
fn inside(flags: &str, image: &str, script: &str) -> String {
    format!("{RUN} {flags} {image} sh -c '{script}'")
}

/// A container in the background.
fn start(host: &Host, name: &str, flags: &str, image: &str) {
    host.sh(&format!(
        "updater-launch run -d --name {name} --stop-timeout 0 --network none {flags} {image} sleep 1000"
    ));
}

fn exec(host: &Host, name: &str, script: &str) -> String {
    host.sh(&format!("updater-launch exec {name} sh -c '{script}'"))
}

fn supervisor(host: &Host, name: &str) -> String {
    host.sh(&format!("updater-launch inspect --format '{{{{.State.ConmonPid}}}}' {name}"))
}

fn volumes(host: &Host) -> String {
    host.sh("updater-launch volume ls --quiet")
}

fn named_volumes_outlive_containers(host: &Host) {
    let app = prepare(host);
    host.sh(&inside("-v data:/data", &app, "echo kept > /data/file"));
    assert_eq!(host.sh(&inside("-v data:/d:ro", &app, "cat /d/file; touch /d/x || true")), "kept");
    assert_eq!(volumes(host), "data");
    assert_eq!(host.sh("updater-launch volume create --label a=b --label c more"), "more");
    host.fails(125, "updater-launch volume create more");
    host.sh("updater-launch volume create --ignore more");
    let shown = &host.json("updater-launch volume inspect more")[0];
    assert_eq!(shown["Labels"]["a"], "b");
    assert_eq!(shown["Driver"], "local");
    assert_eq!(shown["Mountpoint"], "/var/lib/updaterd/volumes/more/_data");
    assert_eq!(
        host.sh("updater-launch volume ls -q --filter label=a=b --filter dangling=true"),
        "more"
    );
    assert!(host.sh("updater-launch volume ls").starts_with("DRIVER  VOLUME NAME\nlocal   data"));
    host.sh("updater-launch volume exists data");
    host.fails(1, "updater-launch volume exists dat");

    start(host, "web", "-v data:/data", &app);
    let refused = host.fails(2, "updater-launch volume rm data");
    assert!(refused.stderr.contains("in use by container web"), "{}", refused.describe());
    host.fails(1, "updater-launch volume rm none");
    // Nobody is there who could agree.
    assert_eq!(host.sh("updater-launch volume prune --all < /dev/null"), "");
    assert_eq!(host.sh("echo y | updater-launch volume prune --all"), "more");
    host.sh("updater-launch stop web");
    host.fails(2, "updater-launch volume rm data");
    assert_eq!(host.sh("updater-launch volume rm --force data"), "data");
    assert_eq!(volumes(host), "");
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}

fn anonymous_volumes_go_with_their_container(host: &Host) {
    let declared = serde_json::json!({ "/data": {} });
    let app = prepare_image(host, &Image::app("v1").with("Volumes", declared));
    let mounted = "grep -c \" /data \\| /own \" /proc/mounts";
    assert_eq!(host.sh(&inside("-v /own", &app, mounted)), "2");
    assert_eq!(volumes(host), "");
    assert_eq!(host.sh("ls /var/lib/updaterd/volumes"), "");
    assert_eq!(
        host.sh(&inside("--image-volume=ignore", &app, "grep -c /data /proc/mounts || true")),
        "0"
    );

    start(host, "web", "", &app);
    exec(host, "web", "echo mine > /data/file");
    assert_eq!(volumes(host).len(), 64);
    host.sh("updater-launch stop web; updater-launch start web");
    assert_eq!(exec(host, "web", "cat /data/file"), "mine");
    host.sh("updater-launch rm --force web");
    assert_eq!(volumes(host).len(), 64);
    assert_eq!(host.sh("updater-launch volume prune --force").len(), 64);
    start(host, "web", "", &app);
    host.sh("updater-launch rm --force --volumes web");
    assert_eq!(volumes(host), "");

    // Whoever is killed, and a host that loses its power, cannot remove anything.
    start(host, "web", "--rm", &app);
    host.sh(&format!("kill -KILL {}", supervisor(host, "web")));
    host.wait_for("updater-launch ps -q; [ -z \"$(ls /var/lib/updaterd/volumes)\" ]", seconds(5));
    start(host, "web", "--rm", &app);
    host.sh(&format!("kill -KILL {}; rm -r /run/updaterd/containers", supervisor(host, "web")));
    host.wait_for("updater-launch ps -q; [ -z \"$(ls /var/lib/updaterd/volumes)\" ]", seconds(5));
}

fn filled() -> Image {
    let mut layer = Layer::new();
    layer.directory("data", 0o750);
    layer.file("data/file", 0o640, b"from the image\n");
    Image::app("v1").layer(layer)
}

fn volumes_begin_as_the_image_has_it(host: &Host) {
    let app = prepare_image(host, &filled());
    let look = "cat /data/file; stat -c %a /data; rm /data/file";
    assert_eq!(host.sh(&inside("-v data:/data", &app, look)), "from the image\n750");
    // Only the first who uses it finds that.
    assert_eq!(host.sh(&inside("-v data:/data", &app, "ls -A /data")), "");
    assert_eq!(
        host.sh(&inside("-v bare:/data:nocopy", &app, "ls -A /data; stat -c %a /data")),
        "750"
    );
    let owned = inside("--user 1000 -v new:/new", &app, "stat -c %u:%g /new; touch /new/x");
    assert_eq!(host.sh(&owned), "1000:1001");
    // What was put there before is what there is.
    host.sh("updater-launch volume create given; touch /var/lib/updaterd/volumes/given/_data/mine");
    assert_eq!(host.sh(&inside("-v given:/data", &app, "ls -A /data")), "mine");
}

fn a_volume_is_filled_whole_or_not_at_all(host: &Host) {
    let mut layer = Layer::new();
    layer.directory("data", 0o755);
    for number in 0..3000 {
        layer.file(&format!("data/{number}"), 0o644, b"x");
    }
    let app = prepare_image(host, &Image::app("v1").layer(layer));
    let count = inside("-v data:/data", &app, "ls /data | wc -l");
    let half = "/var/lib/updaterd/volumes/data/_filling";
    // Killed while it fills: half of it is there, beside the volume.
    host.sh(&format!(
        "for try in $(seq 20); do
           updater-launch volume rm data > /dev/null 2>&1 || true
           {RUN} --name web -v data:/data {app} true & pid=$!
           until [ -d {half} ] || ! kill -0 $pid 2> /dev/null; do :; done
           kill -KILL $pid 2> /dev/null; wait $pid || true
           [ ! -d {half} ] || exit 0
         done; exit 1"
    ));
    assert_eq!(host.sh("ls -A /var/lib/updaterd/volumes/data/_data"), "");
    assert_eq!(host.sh(&count), "3000");
    host.sh(&format!("[ ! -e {half} ]"));
}

fn volumes_in_memory_are_shared_and_go(host: &Host) {
    let app = prepare_image(host, &filled());
    host.sh("updater-launch volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m,noexec fast");
    let mounts = "grep -c /volumes/fast/_data /proc/mounts || true";
    start(host, "one", "--rm -v fast:/data", &app);
    assert_eq!(host.sh(mounts), "1");
    exec(host, "one", "echo hello > /data/x");
    let look = "cat /data/x /data/file; grep \" /data \" /proc/mounts";
    let told = host.sh(&inside("-v fast:/data", &app, look));
    assert!(
        told.starts_with("hello\nfrom the image\ntmpfs /data tmpfs rw,nosuid,nodev,noexec"),
        "{told}"
    );
    assert!(told.contains("size=1024k"), "{told}");
    assert_eq!(host.sh(mounts), "1");
    host.sh("updater-launch stop one");
    assert_eq!(host.sh(mounts), "0");
    // One who was killed leaves the mount to the next.
    start(host, "two", "--rm -v fast:/data", &app);
    host.sh(&format!("kill -KILL {}", supervisor(host, "two")));
    assert_eq!(host.sh(mounts), "1");
    host.wait_for(&format!("updater-launch ps; [ \"$({mounts})\" = 0 ]"), seconds(5));
    assert_eq!(host.sh("ls /run/updaterd/volumes"), "");
    host.sh("updater-launch volume rm fast");
}

fn a_volume_of_a_directory_of_the_host(host: &Host) {
    let app = prepare(host);
    host.write("/srv/data/file", "of the host\n");
    host.sh("updater-launch volume create -o type=none -o device=/srv/data -o o=bind,ro bound");
    let look = "cat /data/file; touch /data/x || true";
    assert_eq!(host.sh(&inside("-v bound:/data", &app, look)), "of the host");
    host.sh("updater-launch volume rm bound; [ -e /srv/data/file ]");
    let refused = host.fails(125, "updater-launch volume create -o type=nfs -o device=:/x other");
    assert!(refused.stderr.contains("systemd.mount"), "{}", refused.describe());
}

fn options_of_volumes(host: &Host) {
    let app = prepare(host);
    host.write("/srv/data/deep/file", "kept\n");
    host.sh("ln -s /etc/passwd /srv/data/link");
    let look =
        "echo changed > /data/deep/file; rm -r /data/link; cat /data/deep/file; touch /data/new";
    assert_eq!(host.sh(&inside("-v /srv/data:/data:O", &app, look)), "changed");
    assert_eq!(host.sh("cat /srv/data/deep/file; ls /srv/data"), "kept\ndeep\nlink");
    start(host, "web", "-v /srv/data:/data:O", &app);
    exec(host, "web", "touch /data/new");
    host.sh("updater-launch stop web; updater-launch start web");
    assert_eq!(exec(host, "web", "ls /data"), "deep\nlink");
    host.sh("mount -m -t tmpfs none /srv/up; mkdir /srv/up/upper /srv/up/work");
    let kept = "-v /srv/data:/data:O,upperdir=/srv/up/upper,workdir=/srv/up/work";
    host.sh(&inside(kept, &app, "touch /data/new"));
    host.sh("[ -e /srv/up/upper/new ] && [ ! -e /srv/data/new ]");

    host.sh(&inside("--user 1000 -v /srv/data:/data:U", &app, "echo mine > /data/deep/file"));
    assert_eq!(
        host.sh("stat -c %u /srv/data /srv/data/deep/file /srv/data/link /etc/passwd"),
        "1000\n1000\n1000\n0"
    );
    let refused = host.fails(125, &inside("-v /etc:/data:U", &app, "true"));
    assert!(refused.stderr.contains("system"), "{}", refused.describe());
    let mounts = |options: &str| {
        host.sh(&inside(
            &format!("-v /srv/data:/data:{options}"),
            &app,
            "grep \" /data \" /proc/mounts",
        ))
    };
    assert!(mounts("noexec").contains("nosuid,nodev,noexec"));
    assert!(!mounts("exec,suid,dev").contains("no"), "{}", mounts("exec,suid,dev"));
    assert!(mounts("ro,z").contains(" ro,"));
}

fn owners_as_they_are_mapped(host: &Host) {
    let app = prepare(host);
    host.sh("mount -m -t tmpfs none /srv/data; touch /srv/data/root; install -o 5 -g 6 /dev/null /srv/data/other");
    let look = "stat -c %u:%g /data/root /data/other; touch /data/new";
    let flags = "--user 1000:1000 -v \"/srv/data:/data:idmap=uids=0-1000-1;gids=0-1000-1#6-66-1\"";
    host.sh("chmod 777 /srv/data");
    assert_eq!(host.sh(&inside(flags, &app, look)), "1000:1000\n65534:66");
    assert_eq!(host.sh("stat -c %u:%g /srv/data/new"), "0:0");
    let refused = host.fails(125, &inside("-v /srv/data:/data:idmap", &app, "true"));
    assert!(refused.stderr.contains("user namespace"), "{}", refused.describe());
}

fn mounts_by_keys(host: &Host) {
    let app = prepare_image(host, &filled());
    host.write("/srv/data/deep/file", "of the host\n");
    let bind = "--mount type=bind,src=/srv/data,dst=/b,ro";
    assert_eq!(host.sh(&inside(bind, &app, "cat /b/deep/file; touch /b/x || true")), "of the host");
    let tmpfs = "--mount type=tmpfs,dst=/data,tmpfs-size=1m,tmpfs-mode=700";
    let told =
        host.sh(&inside(tmpfs, &app, "cat /data/file; stat -c %a /data; grep /data /proc/mounts"));
    assert!(
        told.starts_with("from the image\n700\ntmpfs /data tmpfs") && told.contains("size=1024k"),
        "{told}"
    );
    let made_over = "--user 1000 --mount type=tmpfs,dst=/t,U,notmpcopyup";
    assert_eq!(host.sh(&inside(made_over, &app, "stat -c %u /t; touch /t/x")), "1000");
    let named = "--mount type=volume,src=data,dst=/data";
    assert_eq!(
        host.sh(&inside(named, &app, "cat /data/file; mkdir /data/sub; echo in > /data/sub/x")),
        "from the image"
    );
    let below = "--mount type=volume,src=data,dst=/s,subpath=sub";
    assert_eq!(host.sh(&inside(below, &app, "ls /s")), "x");
    // A volume's links are its container's words: they lead nowhere outside of it.
    host.sh(&inside("-v data:/data", &app, "ln -s /etc /data/out; ln -s sub /data/in"));
    assert_eq!(
        host.sh(&inside(&below.replace("sub,", "").replace("=sub", "=in"), &app, "ls /s")),
        "x"
    );
    host.fails(125, &inside(&below.replace("=sub", "=out"), &app, "true"));

    let image = format!("--mount type=image,src={app},dst=/i");
    assert_eq!(
        host.sh(&inside(&image, &app, "cat /i/data/file; touch /i/x || true")),
        "from the image"
    );
    let writable = format!("{image},rw=true");
    assert_eq!(host.sh(&inside(&writable, &app, "rm /i/data/file; touch /i/x; ls /i/data")), "");
    let part = format!("{image},subpath=data");
    assert_eq!(host.sh(&inside(&part, &app, "ls /i")), "file");
    let missing =
        host.fails(125, &inside("--mount type=image,src=quay.io/no/image:1,dst=/i", &app, "true"));
    assert!(missing.stderr.contains("quay.io/no/image:1"), "{}", missing.describe());
}

fn mounts_that_propagate(host: &Host) {
    let app = prepare(host);
    host.sh("mount -m -t tmpfs none /srv/vol; mount --make-shared /srv/vol; mkdir /srv/vol/a /srv/vol/b");
    let seen = |name: &str| exec(host, name, "grep -c \" /v/a \" /proc/mounts || true");
    let flags = "--rm --cap-add SYS_ADMIN --security-opt label=disable";
    let flags = flags.split(" --security-opt").next().unwrap();
    for (option, from_host, to_host) in [
        ("private", "0", "0"),
        ("slave", "1", "0"),
        ("rslave", "1", "0"),
        ("shared", "1", "1"),
        ("rshared", "1", "1"),
    ] {
        start(host, "web", &format!("{flags} -v /srv/vol:/v:{option}"), &app);
        host.sh("mount -t tmpfs none /srv/vol/a");
        assert_eq!(seen("web"), from_host, "{option}");
        exec(host, "web", "mount -t tmpfs none /v/b");
        assert_eq!(host.sh("grep -c /srv/vol/b /proc/mounts || true"), to_host, "{option}");
        host.sh("umount /srv/vol/a; umount /srv/vol/b || true");
        assert_eq!(seen("web"), "0", "{option}");
        host.sh("updater-launch rm --force web");
    }
    // What is mounted below comes along, and propagates where that was asked for.
    host.sh(
        "mount -t tmpfs none /srv/vol/a; mount --make-shared /srv/vol/a; mkdir /srv/vol/a/deep",
    );
    for (option, expected) in [("slave", "0"), ("rslave", "1")] {
        start(host, "web", &format!("{flags} -v /srv/vol:/v:{option}"), &app);
        host.sh("mount -t tmpfs none /srv/vol/a/deep");
        let deep = exec(host, "web", "grep -c \" /v/a/deep \" /proc/mounts || true");
        assert_eq!(deep, expected, "{option}");
        host.sh("umount /srv/vol/a/deep; updater-launch rm --force web");
    }
    host.sh("mount -m -t tmpfs none /srv/own; mount --make-private /srv/own");
    for option in ["shared", "rslave"] {
        let refused = host.fails(125, &inside(&format!("-v /srv/own:/v:{option}"), &app, "true"));
        assert!(
            refused.stderr.contains("/srv/own") && refused.stderr.contains("make-shared"),
            "{}",
            refused.describe()
        );
    }
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}

fn volumes_of_another_container(host: &Host) {
    let declared = serde_json::json!({ "/data": {} });
    let app = prepare_image(host, &filled().with("Volumes", declared));
    host.write("/srv/data/file", "of the host\n");
    start(host, "one", "-v named:/n -v /srv/data:/b:ro", &app);
    exec(host, "one", "echo mine > /data/x; echo named > /n/x");
    let look = "cat /data/x /n/x /b/file; touch /n/y && echo writes; touch /b/y || true";
    assert_eq!(
        host.sh(&inside("--volumes-from one", &app, look)),
        "mine\nnamed\nof the host\nwrites"
    );
    let told = host.sh(&inside(
        "--volumes-from one:ro --tmpfs /b",
        &app,
        "cat /n/x; touch /n/z || true; ls /b",
    ));
    assert_eq!(told, "named");
    // Not this container's own: they stay.
    assert_eq!(exec(host, "one", "cat /data/x"), "mine");
    host.fails(125, &inside("--volumes-from none", &app, "true"));
}

fn memory_of_a_container(host: &Host) {
    let app = prepare(host);
    let shm = "grep /dev/shm /proc/mounts";
    assert!(host.sh(&inside("", &app, shm)).contains("size=64000k"));
    assert!(host.sh(&inside("--shm-size 1m", &app, shm)).contains("size=1024k"));
    assert!(host.sh(&inside("--shm-size 0", &app, shm)).contains("size=0k"));
    let refused = host.fails(125, &inside("--shm-size much", &app, "true"));
    assert!(refused.stderr.contains("much"), "{}", refused.describe());
    let write =
        "for d in / /tmp /run /dev /dev/shm; do touch $d/x 2> /dev/null && echo $d; done; true";
    assert_eq!(host.sh(&inside("--read-only", &app, write)), "/tmp\n/run\n/dev\n/dev/shm");
    let frozen = "--read-only --read-only-tmpfs=false";
    assert_eq!(host.sh(&inside(frozen, &app, write)), "");
    assert_eq!(host.sh(&inside(frozen, &app, "echo x > /dev/null && echo written")), "written");
}

fn devices_by_name(host: &Host) {
    let app = prepare(host);
    // A device of the host that is in no default list, and that this host itself can open.
    let numbers = host.sh("for numbers in '10 229' '10 237' '5 1' '4 0' '10 200'; do
             rm -f /srv/node; mknod -m 666 /srv/node c $numbers
             if (: < /srv/node) 2>/dev/null && (: > /srv/node) 2>/dev/null; then echo $numbers; break; fi
         done");
    assert_ne!(numbers, "", "no device to try with");
    let with = |flags: &str, script: &str| host.sh(&inside(flags, &app, script));
    let open =
        "(: < /dev/it) 2> /dev/null && echo read; (: > /dev/it) 2> /dev/null && echo write; true";
    for capability in ["", "--cap-add MKNOD", "--cap-add SYS_ADMIN"] {
        let given = |permissions: &str| {
            with(&format!("{capability} --device /srv/node:/dev/it{permissions}"), open)
        };
        assert_eq!(given(""), "read\nwrite", "{capability}");
        assert_eq!(given(":rwm"), "read\nwrite", "{capability}");
        assert_eq!(given(":r"), "read", "{capability}");
        assert_eq!(given(":w"), "write", "{capability}");
        assert_eq!(given(":m"), "", "{capability}");
    }
    // Not by another node of the same device either.
    let again = format!("mknod /dev/it c {numbers}; {open}");
    assert_eq!(with("--cap-add MKNOD --device /srv/node:/dev/other:r", &again), "read");
    assert_eq!(with("--cap-add MKNOD", &again), "");
    assert_eq!(
        with(
            "--user 1000 --device /srv/node:/dev/deep/er/it",
            "stat -c %a:%t /dev/deep/er/it | cut -d: -f1"
        ),
        "666"
    );
    host.sh("mkdir -p /srv/nodes/sub; cp -a /srv/node /srv/nodes/sub/it; cp -a /dev/full /srv/nodes/full");
    assert_eq!(with("--device /srv/nodes:/dev/many", "cd /dev/many; ls; ls sub"), "full\nsub\nit");
    let refused =
        host.fails(125, &inside("--cgroups=disabled --device /srv/node:/dev/it:r", &app, "true"));
    assert!(refused.stderr.contains("cgroup"), "{}", refused.describe());
    with("--cgroups=disabled --device /srv/node:/dev/it", "[ -c /dev/it ]");
    for (flags, cause) in [
        ("--device /dev/not-there", "/dev/not-there"),
        ("--device /etc/passwd:/dev/x", "no device"),
        ("--device /srv/node:/it", "below the container"),
        ("-v /srv/nodes:/dev/many --device /srv/node:/dev/many/it", "on the host"),
    ] {
        let refused = host.fails(125, &inside(flags, &app, "true"));
        assert!(refused.stderr.contains(cause), "{}", refused.describe());
    }
}

fn secrets_are_seen_by_their_container_alone(host: &Host) {
    let app = prepare(host);
    let id = host.sh("printf hunter2 | updater-launch secret create --label a=b db -");
    assert_eq!(id.len(), 25);
    host.fails(125, "printf other | updater-launch secret create db -");
    host.sh(
        "printf token77 > /srv/token; updater-launch secret create token /srv/token; rm /srv/token",
    );
    host.sh("WORD=s3same updater-launch secret create --env=true word WORD");
    assert!(
        host.sh("updater-launch secret ls").contains("db     file"),
        "{}",
        host.sh("updater-launch secret ls")
    );
    let shown = host.json("updater-launch secret inspect db");
    assert_eq!(shown[0]["Spec"]["Name"], "db");
    assert_eq!(shown[0]["ID"], id.as_str());
    host.sh(
        "updater-launch secret exists db; [ $(stat -c %a /var/lib/updaterd/secrets/db) = 600 ]",
    );
    host.fails(1, "updater-launch secret exists nothing");

    let look = "cat /run/secrets/db; stat -c \" %u:%g:%a\" /run/secrets/db; grep -c \"^tmpfs /run/secrets/db\" /proc/mounts";
    assert_eq!(host.sh(&inside("--secret db", &app, look)), "hunter2 0:0:400\n1");
    assert_eq!(host.sh(&inside("--user 1000 --secret db", &app, look)), "hunter2 1000:1001:400\n1");
    assert_eq!(
        host.sh(&inside("--secret db,uid=7,gid=8,mode=0440 --read-only", &app, look)),
        "hunter2 7:8:440\n1"
    );
    assert_eq!(
        host.sh(&inside("--secret db,target=/etc/deep/pw", &app, "cat /etc/deep/pw")),
        "hunter2"
    );
    let variable = "--secret word,type=env,target=WORD --secret token,type=env";
    assert_eq!(host.sh(&inside(variable, &app, "echo $WORD $token")), "s3same token77");

    start(host, "web", &format!("--secret db {variable}"), &app);
    assert_eq!(exec(host, "web", "echo $WORD"), "s3same");
    host.sh("for secret in hunter2 s3same token77; do
               if grep -r $secret /run/updaterd /var/lib/updaterd/containers; then exit 1; fi
               if updater-launch inspect web | grep $secret; then exit 1; fi
               if updater-launch secret inspect db word token | grep $secret; then exit 1; fi
             done
             ! grep -c '/secrets' /proc/mounts");
    // They are read anew at each start, and once given, kept.
    assert_eq!(host.sh("printf hunter3 | updater-launch secret create --replace db -").len(), 25);
    assert_eq!(exec(host, "web", "cat /run/secrets/db"), "hunter2");
    host.sh("updater-launch stop web; updater-launch start web");
    assert_eq!(exec(host, "web", "cat /run/secrets/db"), "hunter3");
    host.sh("updater-launch rm --force web; updater-launch secret rm db word token");
    let missing = host.fails(125, &inside("--secret db", &app, "true"));
    assert!(missing.stderr.contains("no secret \"db\""), "{}", missing.describe());
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}

fn storage_that_cannot_be_had(host: &Host) {
    let app = prepare(host);
    host.sh("mkdir -p /srv/data");
    for (flags, cause) in [
        ("-v /srv/none:/data", "/srv/none"),
        ("-v /srv/data:/data:wild", "wild"),
        ("-v /srv/data:data", "absolute"),
        ("-v da/ta:/data", "name"),
        ("--mount type=bind,src=/srv/none,dst=/data", "/srv/none"),
        ("--mount type=glob,src=/srv/*,dst=/data", "type=glob"),
        ("--mount type=bind,src=/srv/data", "target"),
        ("--tmpfs /data:wild=1", "wild"),
        ("--mount type=volume,src=v,dst=/data,subpath=none", "subpath"),
        ("--secret none", "no secret"),
        ("--secret db,type=odd", "type=odd"),
        ("-v /srv/data:/data --tmpfs /data", "two mounts at /data"),
        ("-v /srv/data:/dev", "/dev"),
    ] {
        let refused = host.fails(125, &inside(flags, &app, "true"));
        assert!(refused.stderr.contains(cause), "{flags}: {}", refused.describe());
    }
    assert_eq!(host.sh("updater-launch ps --all --quiet; ls /var/lib/updaterd/containers"), "");
    assert_eq!(
        host.sh("grep -c ' /var/lib/updaterd/\\| /run/updaterd/' /proc/mounts || true"),
        "0"
    );
}

fn what_an_ordinary_user_keeps_and_gives(host: &Host) {
    let declared = serde_json::json!({ "/own": {} });
    let app = offer_image(host, &filled().with("Volumes", declared));
    let someone = Someone::new(host);
    someone.sh(&format!("updater-launch pull {app}"));
    let look = "cat /data/file; stat -c %u:%a /data; echo mine > /data/file; touch /own/x";
    assert_eq!(someone.sh(&inside("-v data:/data", &app, look)), "from the image\n0:750");
    assert_eq!(someone.sh(&inside("-v data:/data", &app, "cat /data/file")), "mine");
    assert_eq!(someone.sh("updater-launch volume ls --quiet"), "data");
    let made_over = inside("--user app -v data:/data:U", &app, "touch /data/x; stat -c %u /data/x");
    assert_eq!(someone.sh(&made_over), "1000");
    assert_eq!(someone.sh(&inside("-v data:/data:O", &app, "rm /data/x; ls /data")), "file");
    assert_eq!(someone.sh(&inside("-v data:/data", &app, "ls /data")), "file\nx");
    someone.sh("updater-launch volume rm data");
    assert_eq!(someone.sh("ls ~/.local/share/updaterd/volumes"), "");
    someone.sh("printf hunter2 | updater-launch secret create db -");
    let secret = inside(
        "--user app --secret db",
        &app,
        "cat /run/secrets/db; stat -c :%u:%a /run/secrets/db",
    );
    assert_eq!(someone.sh(&secret), "hunter2:1000:400");
    let device = "--device /dev/full:/dev/it";
    assert_eq!(
        someone.sh(&inside(device, &app, "(echo x > /dev/it) 2> /dev/null || echo full")),
        "full"
    );
    let refused = someone.fails(125, &inside(&format!("{device}:r"), &app, "true"));
    assert!(refused.stderr.contains("permissions"), "{}", refused.describe());
    someone.sh("updater-launch volume create -o type=tmpfs fast");
    let refused = someone.fails(125, &inside("-v fast:/data", &app, "true"));
    assert!(refused.stderr.contains("ordinary users"), "{}", refused.describe());
    let refused = someone.fails(125, &inside("-v ~/.local:/data:shared", &app, "true"));
    assert!(refused.stderr.contains("shared"), "{}", refused.describe());
}
