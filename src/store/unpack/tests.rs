use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tar::{EntryType as T, Header};
use tempfile::TempDir;

use super::*;

mod hostile;

/// A tar archive with entries that no well-meant builder would write.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn header(kind: T, name: &[u8], link: &[u8], size: u64) -> Header {
        let mut header = Header::new_ustar();
        let bytes = header.as_mut_bytes();
        bytes[..name.len()].copy_from_slice(name);
        bytes[157..157 + link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o640);
        header.set_mtime(1_000_000_000);
        let own = rustix::process::geteuid().as_raw();
        header.set_uid(own.into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header
    }

    fn raw(mut self, mut header: Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &str) -> Self {
        let header = Self::header(T::Regular, name.as_bytes(), b"", data.len() as u64);
        self.raw(header, data.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        let mut header = Self::header(T::Directory, name.as_bytes(), b"", 0);
        header.set_mode(0o755);
        self.raw(header, b"")
    }

    fn link(self, kind: T, name: &str, target: &str) -> Self {
        self.raw(Self::header(kind, name.as_bytes(), target.as_bytes(), 0), b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..9)
                .map(|digits| rest + digits)
                .find(|length| length.to_string().len() + rest == *length);
            data.extend_from_slice(format!("{} {key}=", length.unwrap()).as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.raw(Self::header(T::XHeader, b"pax", b"", data.len() as u64), &data)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// Unpacks into `outer/layer`, with a bystander beside it that must stay as it is.
    fn unpack(self) -> (TempDir, Result<(), Fault>) {
        self.unpack_within(&Limits::default())
    }

    fn unpack_within(self, limits: &Limits) -> (TempDir, Result<(), Fault>) {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("layer")).unwrap();
        std::fs::write(outer.path().join("bystander"), "untouched").unwrap();
        let root = open_root(&outer.path().join("layer")).unwrap();
        let result = unpack(root, &self.end()[..], limits);
        let names: Vec<_> = std::fs::read_dir(outer.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 2, "something was made outside of the layer: {names:?}");
        let bystander = std::fs::read_to_string(outer.path().join("bystander")).unwrap();
        assert_eq!(bystander, "untouched");
        (outer, result)
    }

    fn unpacked(self) -> TempDir {
        let (outer, result) = self.unpack();
        result.unwrap();
        outer
    }

    fn refused(self) -> Fault {
        let (_outer, result) = self.unpack();
        result.unwrap_err()
    }
}

fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        crate::tests::skip(&format!("{test} needs root"));
    }
    root
}

fn text(dir: &TempDir, path: &str) -> String {
    std::fs::read_to_string(dir.path().join("layer").join(path)).unwrap()
}

fn meta(dir: &TempDir, path: &str) -> std::fs::Metadata {
    std::fs::symlink_metadata(dir.path().join("layer").join(path)).unwrap()
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 100];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn files_links_modes_and_times() {
    let mut setuid = Tar::header(T::Regular, b"bin/su", b"", 1);
    setuid.set_mode(0o4755);
    let dir = Tar::default()
        .dir("etc")
        .pax(&[("mtime", b"1234567890.5"), ("path", b"etc/a\nb")])
        .file("x", "one")
        .raw(setuid, b"s")
        .link(T::Symlink, "abs", "/etc/passwd")
        .link(T::Link, "etc/hard", "etc/a\nb")
        .link(T::Fifo, "fifo", "")
        .unpacked();
    assert_eq!(text(&dir, "etc/hard"), "one");
    assert_eq!(meta(&dir, "etc/a\nb").ino(), meta(&dir, "etc/hard").ino());
    assert_eq!(meta(&dir, "bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(meta(&dir, "bin").mode() & 0o7777, 0o755, "a parent that is not listed");
    assert_eq!(meta(&dir, "etc").mtime(), 1_000_000_000, "although files were made in it");
    assert!(meta(&dir, "fifo").file_type().is_fifo());
    assert_eq!(meta(&dir, "abs").mtime(), 1_000_000_000);
    assert_eq!(std::fs::read_link(dir.path().join("layer/abs")).unwrap(), Path::new("/etc/passwd"));
    let plain = Tar::default().pax(&[("mtime", b"1234567890.5")]).file("x", "").unpacked();
    assert_eq!(
        (meta(&plain, "x").mtime(), meta(&plain, "x").mtime_nsec()),
        (1234567890, 500_000_000)
    );
}

#[test]
fn owners_and_long_names() {
    if !is_root("owners_and_long_names") {
        return;
    }
    let long = format!("d/{}", "n".repeat(200));
    let dir = Tar::default()
        .pax(&[("path", long.as_bytes()), ("uid", b"3000000"), ("gid", b"7")])
        .file("short", "x")
        .raw(
            Tar::header(T::GNULongName, b"@", b"", 151),
            format!("{}\0", "g".repeat(150)).as_bytes(),
        )
        .file("short", "y")
        .unpacked();
    assert_eq!((meta(&dir, &long).uid(), meta(&dir, &long).gid()), (3_000_000, 7));
    assert_eq!(text(&dir, &"g".repeat(150)), "y");
    let all_bits = Tar::default().pax(&[("uid", b"4294967295")]).file("x", "").refused();
    assert!(matches!(all_bits, Fault::Malformed(_)), "{all_bits}");
}

#[test]
fn dots_do_not_climb() {
    for name in ["../bystander", "a/../../bystander", "..", "a/.."] {
        let fault = Tar::default().file(name, "evil").refused();
        assert!(fault.to_string().contains(".."), "{fault}");
    }
    let dir = Tar::default().file("/bystander", "inside").file("./b", "inside").unpacked();
    assert_eq!(text(&dir, "bystander"), "inside");
}

#[test]
fn links_do_not_lead_out() {
    let outer = "../bystander";
    for (link, below) in [("/", "bystander"), ("..", "bystander"), ("../..", "bystander")] {
        let dir = Tar::default()
            .link(T::Symlink, "a", link)
            .file(&format!("a/{below}"), "evil")
            .unpacked();
        assert_eq!(text(&dir, "bystander"), "evil", "it lands in the layer's own root");
    }
    // A link to nothing in the layer is not made to lead somewhere.
    Tar::default().link(T::Symlink, "a", "/nowhere").file("a/x", "evil").refused();
    // A file replaces a link instead of being written through it.
    let dir = Tar::default().link(T::Symlink, "a", outer).file("a", "own").unpacked();
    assert_eq!(text(&dir, "a"), "own");
    // The times of a directory are not set through a link that took its place.
    Tar::default().dir("a/b").link(T::Symlink, "a", "..").unpacked();
}

#[test]
fn hard_links_do_not_lead_out() {
    Tar::default().link(T::Link, "a", "../bystander").refused();
    Tar::default().link(T::Symlink, "s", "..").link(T::Link, "a", "s/bystander").refused();
    Tar::default().link(T::Link, "a", "/bystander").refused();
    Tar::default().link(T::Link, "a", "/").refused();
    // The link itself gets the second name, not what it points at.
    let dir = Tar::default()
        .link(T::Symlink, "s", "../bystander")
        .link(T::Link, "a", "s")
        .file("a", "own")
        .unpacked();
    assert_eq!(text(&dir, "a"), "own");
    // A file that gets its own name again is still there.
    let dir = Tar::default().file("f", "kept").link(T::Link, "f", "f").unpacked();
    assert_eq!(text(&dir, "f"), "kept");
}

#[test]
fn whiteouts_and_opaque_directories() {
    let dir = Tar::default()
        .file("etc/.wh.gone", "")
        .file("var/.wh..wh..opq", "")
        .file("a/.wh..wh.plnk", "")
        .file(".wh.back", "")
        .dir("back")
        .unpacked();
    let gone = meta(&dir, "etc/gone");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let name = if rustix::process::geteuid().is_root() {
        "trusted.overlay.opaque"
    } else {
        "user.overlay.opaque"
    };
    for opaque in ["var", "back"] {
        let value = xattr(&dir.path().join("layer").join(opaque), name);
        assert_eq!(value.as_deref(), Some(&b"y"[..]), "{opaque}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("layer/a")).unwrap().count(), 0);
    for name in ["a/.wh...", "a/.wh..", "a/.wh."] {
        Tar::default().file(name, "").refused();
    }
    let dir = Tar::default().link(T::Symlink, "a", "/..").file("a/.wh.bystander", "").unpacked();
    assert!(meta(&dir, "bystander").file_type().is_char_device());
}

#[test]
fn devices_and_foreign_attributes_are_left_out() {
    let mut disk = Tar::header(T::Block, b"sda", b"", 0);
    disk.set_device_major(8).unwrap();
    let dir = Tar::default()
        .raw(disk, b"")
        .link(T::Char, "null", "")
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
            ("SCHILY.xattr.trusted.evil", b"1"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.mine", b"a=b\nc"),
        ])
        .dir("d")
        .unpacked();
    let layer = dir.path().join("layer");
    assert_eq!(std::fs::read_dir(&layer).unwrap().count(), 1);
    let d = layer.join("d");
    for name in ["trusted.overlay.redirect", "trusted.evil", "user.overlay.opaque"] {
        assert_eq!(xattr(&d, name), None, "{name}");
    }
    let mine = xattr(&d, "user.mine");
    assert!(mine.is_none_or(|value| value == b"a=b\nc"), "where the file system has them");
}

#[test]
fn the_last_record_counts_and_an_empty_one_takes_back() {
    let dir = Tar::default()
        .pax(&[("path", b"no"), ("mtime", b"7"), ("size", b"9")])
        .pax(&[("path", b""), ("mtime", b""), ("size", b"")])
        .file("kept", "text")
        .pax(&[("linkpath", b"no")])
        .pax(&[("linkpath", b"")])
        .link(T::Symlink, "link", "kept")
        .unpacked();
    assert_eq!((text(&dir, "link"), meta(&dir, "kept").mtime()), ("text".into(), 1_000_000_000));
    let records: &[(&str, &[u8])] = &[
        ("SCHILY.xattr.user.a", b"1"),
        ("SCHILY.xattr.user.a", b"2"),
        ("SCHILY.xattr.user.b", b"1"),
        ("SCHILY.xattr.user.b", b""),
    ];
    let tar = Tar::default().pax(records).dir("d").end();
    let entry = Archive::new(&tar[..]).next().unwrap().unwrap();
    let expected = [(b"user.a".to_vec(), b"2".to_vec()), (b"user.b".to_vec(), Vec::new())];
    assert_eq!(entry.xattrs, expected.into());
}

#[test]
fn file_capabilities_survive() {
    if !is_root("file_capabilities_survive") {
        return;
    }
    // VFS_CAP_REVISION_2 with the effective bit, cap_net_raw.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let record: &[(&str, &[u8])] = &[("SCHILY.xattr.security.capability", &capability)];
    let dir = Tar::default().pax(record).file("ping", "x").link(T::Link, "p", "ping").unpacked();
    let value = xattr(&dir.path().join("layer/p"), "security.capability");
    assert_eq!(value.as_deref(), Some(&capability[..]));
}

/// What a new file gets by itself is relied on only where it is what the entry says.
#[test]
fn owners_and_modes_are_the_entrys_whatever_a_directory_passes_on() {
    if !is_root("owners_and_modes_are_the_entrys_whatever_a_directory_passes_on") {
        return;
    }
    let made = |kind, name: &str, mode, gid| {
        let mut header = Tar::header(kind, name.as_bytes(), b"ours", 0);
        header.set_mode(mode);
        header.set_gid(gid);
        header
    };
    let entries = [
        (T::Regular, "open", 0o666, 0),
        (T::Directory, "plain", 0o777, 0),
        (T::Regular, "plain/setuid", 0o4755, 0),
        (T::Directory, "own", 0o2755, 0),
        (T::Directory, "own/below", 0o755, 0),
        (T::Directory, "staff", 0o2775, 50),
        (T::Regular, "staff/ours", 0o644, 0),
        (T::Regular, "staff/theirs", 0o644, 50),
        (T::Directory, "staff/below", 0o755, 0),
        (T::Symlink, "staff/link", 0o777, 0),
    ];
    let tar = entries.iter().fold(Tar::default(), |tar, (kind, name, mode, gid)| {
        tar.raw(made(*kind, name, *mode, *gid), b"")
    });
    let dir = tar.unpacked();
    for (kind, name, mode, gid) in entries {
        let found = meta(&dir, name);
        assert_eq!((found.uid(), u64::from(found.gid())), (0, gid), "{name}");
        assert!(kind == T::Symlink || found.mode() & 0o7777 == mode, "{name}: {:o}", found.mode());
    }
}

#[test]
fn what_comes_twice_is_replaced() {
    let dir = Tar::default()
        .dir("d")
        .file("d/below", "x")
        .link(T::Symlink, "d", "elsewhere")
        .file("f", "long text")
        .file("f", "short")
        .dir("f2")
        .dir("f2")
        .unpacked();
    assert!(meta(&dir, "d").is_symlink());
    assert_eq!(text(&dir, "f"), "short");
}

#[test]
fn bombs_are_stopped() {
    let limits = Limits { entries: 3, ..Limits::default() };
    let four = ["a", "b", "c", "d"].iter().fold(Tar::default(), |tar, name| tar.file(name, ""));
    assert!(matches!(four.unpack_within(&limits).1, Err(Fault::TooMany(3))));
    // An extended header that says it is 4 GiB long.
    let huge = Tar::header(T::XHeader, b"pax", b"", 1 << 32);
    assert!(matches!(Tar::default().raw(huge, b"").refused(), Fault::Malformed(_)));
    // Many small ones for one entry, which would add up.
    let value = vec![b'x'; 60_000];
    let many = (0..20)
        .fold(Tar::default(), |tar, n| tar.pax(&[(&format!("SCHILY.xattr.user.{n}"), &value)]));
    assert!(matches!(many.file("a", "").refused(), Fault::Malformed(_)));
    let names = (0..20).fold(Tar::default(), |tar, _| {
        tar.raw(Tar::header(T::GNULongLink, b"@", b"", value.len() as u64), &value)
    });
    assert!(matches!(names.file("a", "").refused(), Fault::Malformed(_)));
    // For each of many entries they do not.
    let apart = (0..20)
        .fold(Tar::default(), |tar, n| tar.pax(&[("comment", &value)]).file(&format!("f{n}"), ""));
    apart.unpacked();
    // A sparse file of 8 EiB in one block.
    let sparse = Tar::header(T::GNUSparse, b"s", b"", 0);
    assert!(matches!(Tar::default().raw(sparse, b"").refused(), Fault::Entry { .. }));
    Tar::default().pax(&[("GNU.sparse.major", b"1")]).file("s", "").refused();
    let no_room =
        Limits { min_free: MinFree { bytes: u64::MAX, percent: 100 }, ..Limits::default() };
    let fault = Tar::default().file("a", "x").unpack_within(&no_room).1.unwrap_err();
    assert_eq!(fault.kind(), FailureKind::StorageFull);
}

#[test]
fn broken_archives_are_refused() {
    let whole = Tar::default().file("a", &"x".repeat(1000)).end();
    let dir = tempfile::tempdir().unwrap();
    let root = || open_root(dir.path()).unwrap();
    let cut = unpack(root(), &whole[..700], &Limits::default());
    assert!(matches!(cut, Err(Fault::Truncated)), "{cut:?}");
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    let flipped = unpack(root(), &flipped[..], &Limits::default());
    assert!(matches!(flipped, Err(Fault::Malformed(_))), "{flipped:?}");
    let mut painted = whole.clone();
    painted[148..156].copy_from_slice(b"\x1b[31mred");
    let painted = unpack(root(), &painted[..], &Limits::default()).unwrap_err();
    assert!(matches!(&painted, Fault::Malformed(why) if !why.contains('\x1b')), "{painted:?}");
    let zero = Tar::default().pax(&[("path", b"a\0b")]).file("x", "").refused();
    assert!(matches!(zero, Fault::Entry { .. }), "{zero}");
    assert!(Tar::default().link(T::Symlink, "./", "x").unpack().1.is_err());
}

/// What the kernel makes of the whiteouts.
#[test]
fn overlayfs_shows_what_the_layers_say() {
    if !is_root("overlayfs_shows_what_the_layers_say") {
        return;
    }
    let lower = Tar::default()
        .file("etc/gone", "1")
        .file("etc/kept", "1")
        .file("var/old", "1")
        .file("again/old", "1")
        .unpacked();
    let upper = Tar::default()
        .file("etc/.wh.gone", "")
        .file("var/.wh..wh..opq", "")
        .file("var/new", "2")
        .file(".wh.again", "")
        .dir("again")
        .file("again/new", "2")
        .unpacked();
    let merged = tempfile::tempdir().unwrap();
    let options =
        format!("lowerdir={}/layer:{}/layer", upper.path().display(), lower.path().display());
    let options = std::ffi::CString::new(options).unwrap();
    let flags = rustix::mount::MountFlags::RDONLY;
    if let Err(cause) =
        rustix::mount::mount("overlay", merged.path(), "overlay", flags, options.as_c_str())
    {
        return crate::tests::skip(&format!("no overlay can be mounted here: {cause}"));
    }
    let list = |dir: &str| {
        let entries = std::fs::read_dir(merged.path().join(dir));
        entries.map(|found| found.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>())
    };
    let seen = ["etc", "var", "again"].map(list);
    rustix::mount::unmount(merged.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    let [etc, var, again] = seen.map(|names| names.unwrap_or_default());
    assert_eq!((etc, var), (vec!["kept".into()], vec!["new".into()]));
    assert_eq!(again, ["new"], "a directory made anew shows nothing of the old one");
}

#[test]
fn the_roots_own_mode() {
    let dir = Tar::default().dir("./").unpacked();
    assert_eq!(meta(&dir, "").permissions().mode() & 0o7777, 0o755);
    assert_eq!(meta(&dir, "").mtime(), 1_000_000_000);
}
