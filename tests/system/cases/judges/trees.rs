//! The tree that an image is unpacked to is the one that Podman mounts of the same image.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::entry::Entry;
use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::podman::{configure, configure_user};
use crate::registry::{Registry, offer_image};
use crate::someone::Someone;
use crate::tree::{Comparison, Difference, names};

/// Where ours is mounted.
const OURS: &str = "/mnt";

/// `cap_net_bind_service=ep`, as linux/capability.h has it in revision 2.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(super) fn an_unpacked_tree_is_podmans(host: &Host) {
    configure(host);
    let image = offer_image(host, &hostile());
    host.sh(&format!("updater-launch pull {image}; podman pull -q {image}"));
    mount_ours(host, &host.json(&format!("updater-launch image inspect {image}")));
    let theirs = host.sh(&format!("podman image mount {image}"));
    judge(&Comparison::of(OURS, theirs), 2, &[]);
    // It is what a container finds.
    let look = "cat /swap-file/in /opaque/new /links/sub/three; ls /gone-dir";
    let seen = host.sh(&format!(
        "updater-launch run --rm --network none {image} sh -c '{look}; stat -c %a:%u:%g /suid /'"
    ));
    assert_eq!(seen, "innewoneanew\n4755:1:2\n751:3:4");
}

pub(super) fn a_users_tree_is_podmans(host: &Host) {
    let image = offer_image(host, &hostile());
    let someone = Someone::new(host);
    configure_user(host);
    someone.sh(&format!("updater-launch pull {image}; podman pull -q {image}"));
    let inspected = someone.sh(&format!("updater-launch image inspect {image}"));
    mount_ours(host, &serde_json::from_str(&inspected).unwrap());
    // Podman's mount is seen in its own namespace, and there for as long as somebody is in it.
    someone.sh(&format!(
        "systemd-run --user --quiet podman unshare sh -c \
           'podman image mount {image} > ~/mount; exec sleep 4713'"
    ));
    host.wait_for("pgrep -fx 'sleep 4713'", seconds(20));
    let theirs = host.sh("echo /proc/$(pgrep -fx 'sleep 4713')/root$(cat /home/someone/mount)");
    // Where Podman copies each layer for the next, a link with two names becomes two.
    let driver = someone.sh("podman info --format {{.Store.GraphDriverName}}");
    let copied: &[&str] = if driver == "vfs" { &["links/relative", "links/of-link"] } else { &[] };
    // Neither makes devices: no user can.
    judge(&Comparison::of(OURS, theirs), 0, copied);
}

/// Mounts the layers that an image is said to have.
fn mount_ours(host: &Host, inspected: &Value) {
    let data = &inspected[0]["GraphDriver"]["Data"];
    let layers = ["UpperDir", "LowerDir"].map(|key| data[key].as_str().unwrap()).join(":");
    let user = if layers.starts_with("/home") { ",userxattr" } else { "" };
    host.sh(&format!("mount -t overlay -o ro,lowerdir={layers}{user} overlay {OURS}"));
}

/// What is not the same is what decision 37 says: devices are left out, so many; directories that no layer
/// lists have no time of their own; and `/` is Podman's mount's.
#[track_caller]
fn judge(compared: &Comparison, devices: usize, also: &[&str]) {
    let unexpected = compared.differences.iter().filter(|difference| {
        let path = difference.path.as_path();
        let left_out = path.starts_with("devices") && difference.aspect == "presence";
        let made = ["app", "unlisted", "unlisted/parent"].map(Path::new).contains(&path);
        let known = path == Path::new("") || also.iter().any(|also| Path::new(also) == path);
        !(left_out || known || (made && difference.aspect == "time"))
    });
    let unexpected: Vec<String> = unexpected.map(ToString::to_string).collect();
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    let left_out = compared.differences.iter().filter(|one| one.aspect == "presence");
    assert_eq!(left_out.count(), devices, "{}", compared.told());
    assert!(compared.names > 60, "{} names only", compared.names);
}

/// Everything that an archive can say, in three layers.
fn hostile() -> Image {
    let (mut first, mut second, mut third) = (Layer::new(), Layer::new(), Layer::new());
    kinds().iter().chain(&odd_names()).chain(&to_be_changed()).for_each(|entry| first.add(entry));
    changes().iter().for_each(|entry| second.add(entry));
    for entry in [
        Entry::directory("./").mode(0o751).owner(3, 4).at("1600000000.5"),
        Entry::directory("opaque").mode(0o750),
        Entry::directory("gone-dir").at("1600000300.000000003"),
        Entry::file("gone-dir/anew", b"anew"),
        Entry::file(".wh.never-was", b""),
        Entry::file("opaque/.wh.new-too", b""),
    ] {
        third.add(&entry);
    }
    Image::app("v1").layer(first).layer(second).layer(third)
}

fn kinds() -> Vec<Entry> {
    let (char_device, block_device) = (tar::EntryType::Char, tar::EntryType::Block);
    vec![
        Entry::file("suid", b"#!").mode(0o4755).owner(1, 2),
        Entry::file("sgid", b"#!").mode(0o2711).owner(1, 2),
        Entry::file("no-mode", b"secret").mode(0),
        Entry::directory("sticky").mode(0o1777),
        Entry::directory("sgid-dir").mode(0o2755).owner(5, 6),
        Entry::file("sgid-dir/of-root", b"root's group, and not the directory's"),
        Entry::directory("sgid-dir/below"),
        Entry::file("times", b"").at("1600000000.123456789"),
        Entry::file("old", b"").at("0.000000001"),
        Entry::directory("dir-time").at("1500000000.999999999"),
        Entry::file("dir-time/later", b""),
        Entry::file("capable", b"#!").mode(0o755).xattr("security.capability", CAPABILITY),
        Entry::file("noted", b"").xattr("user.note", b"x").xattr("user.bytes", b"\0\xff\n="),
        Entry::directory("noted-dir").xattr("user.note", b"of a directory"),
        Entry::directory("links"),
        Entry::directory("links/sub"),
        Entry::file("links/one", b"one").mode(0o640).owner(7, 8),
        Entry::hard_link("links/two", "links/one").mode(0o640).owner(7, 8),
        Entry::hard_link("links/sub/three", "links/one").mode(0o640).owner(7, 8),
        Entry::symlink("links/relative", "sub/../one").owner(7, 8).at("1600000001.25"),
        Entry::symlink("links/absolute", "/links/one"),
        Entry::symlink("links/dangling", "/no/such/place"),
        Entry::symlink("links/circle", "circle"),
        Entry::symlink("links/long", "x/".repeat(150)),
        Entry::hard_link("links/of-link", "links/relative").owner(7, 8),
        Entry::fifo("pipe").mode(0o620).owner(3, 4).at("1600000002.125"),
        Entry::directory("devices"),
        Entry::device(char_device, "devices/null", (1, 3)),
        Entry::device(block_device, "devices/loop", (7, 0)).mode(0o660).owner(0, 6),
        Entry::file("zeros", &vec![0; 1 << 20]),
        Entry::directory("empty"),
        Entry::directory("empty/deeper").mode(0o700),
        Entry::file("unlisted/parent/file", b"nobody lists my directories"),
    ]
}

fn odd_names() -> Vec<Entry> {
    let long = |count: usize| format!("names/{}", "directory/".repeat(count));
    vec![
        Entry::directory("names"),
        Entry::file(b"names/\xff\xfe-no-utf8", b"bytes"),
        Entry::symlink(b"names/\xfe-link", b"\xff\xfe-no-utf8"),
        Entry::file("names/new\nline \t\\ and \"quotes\"", b""),
        Entry::file("names/größe-日本-🦀", b""),
        Entry::file(format!("names/{}", "n".repeat(255)), b"as long as can be"),
        Entry::file(format!("{}gnu", long(15)), b"a long name of GNU's"),
        Entry::file("names/short", b"a long name of PAX's")
            .pax("path", format!("{}pax", long(30)).as_bytes()),
        Entry::symlink("names/link", "short").pax("linkpath", "l/".repeat(200).as_bytes()),
        Entry::file("names/.wh", b"no whiteout"),
        Entry::file("names/...", b"three dots"),
    ]
    .into_iter()
    .chain((1..=30).map(|count| Entry::directory(long(count))))
    .collect()
}

/// What the second layer changes.
fn to_be_changed() -> Vec<Entry> {
    vec![
        Entry::directory("opaque").mode(0o700),
        Entry::file("opaque/old", b"old"),
        Entry::directory("opaque/sub"),
        Entry::file("opaque/sub/old", b"old"),
        Entry::directory("gone"),
        Entry::file("gone/file", b"gone"),
        Entry::file("gone/stays", b"stays"),
        Entry::directory("gone-dir"),
        Entry::file("gone-dir/old", b"gone"),
        Entry::file("swap-file", b"a file"),
        Entry::directory("swap-dir"),
        Entry::file("swap-dir/old", b"old"),
        Entry::symlink("swap-link", "gone"),
        Entry::directory("dressed").owner(1, 1),
        Entry::file("dressed/inside", b"inside"),
        Entry::file("undressed", b"same").xattr("user.note", b"x").mode(0o4755),
        Entry::directory("over"),
        Entry::file("over/a", b"below"),
        Entry::hard_link("over/b", "over/a"),
    ]
}

fn changes() -> Vec<Entry> {
    vec![
        Entry::directory("opaque").mode(0o750),
        Entry::file("opaque/.wh..wh..opq", b""),
        Entry::file("opaque/new", b"new"),
        Entry::file("opaque/new-too", b"new"),
        Entry::directory("gone"),
        Entry::file("gone/.wh.file", b""),
        Entry::file(".wh.gone-dir", b""),
        Entry::directory("swap-file").at("1600000100.1"),
        Entry::file("swap-file/in", b"in"),
        Entry::file("swap-dir", b"a file now"),
        Entry::directory("swap-link"),
        Entry::directory("dressed").mode(0o711).owner(9, 10).at("1600000200.7"),
        Entry::file("undressed", b"same"),
        Entry::directory("over"),
        Entry::file("over/.wh.b", b""),
        Entry::file("over/a", b"above"),
        Entry::hard_link("over/c", "over/a"),
    ]
}

/// A large part of this machine, as Podman imports, changes and pushes it.
pub(super) fn a_real_root_is_podmans(host: &Host) {
    configure(host);
    let registry = Registry::start(host);
    let list: Vec<u8> = chosen().into_iter().flat_map(|path| [path, vec![0]].concat()).collect();
    fs::write("/tmp/list", list).unwrap();
    let (base, image) = (registry.reference("real:base"), registry.reference("real:latest"));
    host.sh(&format!(
        "tar --create --directory / --xattrs --xattrs-include='*' --format=pax --no-recursion \
           --null --files-from /tmp/list | podman import -q - {base}"
    ));
    host.sh("mkdir /tmp/context; cp /bin/busybox /tmp/context/");
    let run =
        |script: &str| format!("RUN {}\n", serde_json::json!(["/busybox", "sh", "-euc", script]));
    let steps = [REMOVE, REPLACE, DRESS].map(run).concat();
    host.write("/tmp/context/Containerfile", &format!("FROM {base}\nCOPY busybox /\n{steps}"));
    host.sh(&format!(
        "podman build -q --isolation chroot --network host --format oci -t {image} /tmp/context
         podman push -q --compression-format zstd {image}
         podman --root /tmp/theirs pull -q {image}
         updater-launch pull -q {image}"
    ));
    mount_ours(host, &host.json(&format!("updater-launch image inspect {image}")));
    let theirs = host.sh(&format!("podman --root /tmp/theirs image mount {image}"));
    let compared = Comparison::of(OURS, theirs);
    // No layer says anything of the root; each has its own default.
    let is_below = |difference: &&Difference| difference.path != Path::new("");
    assert_eq!(compared.differences.iter().filter(is_below).count(), 0, "{}", compared.told());
    assert!(compared.names > 6_000 && compared.bytes > 60 << 20, "{}", compared.names);
}

/// Directories and files go.
const REMOVE: &str = "cd /usr/share
    set -- $(/busybox ls -d */)
    /busybox rm -r $1 $2; /busybox rm /usr/bin/a*";
/// And come, some in another's place.
const REPLACE: &str = "cd /usr/share
    set -- $(/busybox ls -d */)
    /busybox rm -r $1 $2; /busybox mkdir $1; /busybox echo anew > ${1}anew; /busybox echo file > ${2%/}
    cd /usr/bin
    set -- $(/busybox ls)
    /busybox rm $1; /busybox mkdir $1; /busybox touch $1/in; /busybox mv $2 $3.moved
    /busybox ln $4 $4.linked; /busybox ln -s $4 $5.link
    /busybox dd if=/dev/null of=/sparse bs=1M seek=8; /busybox mkfifo /pipe";
/// And belong to others.
const DRESS: &str = "cd /usr/sbin
    set -- $(/busybox ls)
    /busybox chown 7:8 $1; /busybox chmod 4711 $2; /busybox chmod 1777 /usr/share
    /busybox touch -d 2001-02-03 $3; /busybox chown -h 7:8 /usr/bin/*.link";

/// The names of files and directories below `/usr`, some of each part of it, without the slash at the
/// beginning; a directory comes before what is in it.
fn chosen() -> Vec<Vec<u8>> {
    let mut chosen = vec![b"usr".to_vec()];
    for (part, names, mib) in
        [("bin", 1000, 30), ("sbin", 200, 5), ("share", 4500, 25), ("lib", 3500, 25)]
    {
        let mut budget = Budget { names, bytes: mib << 20, chosen: Vec::new() };
        budget.take(&Path::new("/usr").join(part));
        chosen.append(&mut budget.chosen);
    }
    chosen
}

struct Budget {
    names: usize,
    bytes: u64,
    chosen: Vec<Vec<u8>>,
}

impl Budget {
    fn take(&mut self, path: &Path) {
        let found = fs::symlink_metadata(path).unwrap();
        let size = if found.is_file() { found.len() } else { 0 };
        if self.names == 0 || size > self.bytes.min(4 << 20) {
            return;
        }
        self.names -= 1;
        self.bytes -= size;
        self.chosen.push(path.as_os_str().as_bytes()[1..].to_vec());
        if found.is_dir() {
            let mut below: Vec<PathBuf> = names(path).iter().map(|name| path.join(name)).collect();
            below.sort();
            below.iter().for_each(|path| self.take(path));
        }
    }
}
