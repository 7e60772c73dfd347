//! Layers that want more than they say, and layers that cannot be.

use super::*;

/// A file with a name of any length.
fn file(tar: Tar, path: &str) -> Tar {
    tar.pax(&[("path", path.as_bytes())]).file("short", "")
}

fn deep(levels: usize) -> String {
    format!("{}f", "d/".repeat(levels))
}

#[test]
fn directories_that_no_entry_names_count_as_entries() {
    let limits = Limits { entries: 20, ..Limits::default() };
    let few = file(Tar::default(), &deep(19)).unpack_within(&limits).1;
    few.unwrap();
    let many = file(Tar::default(), &deep(20)).unpack_within(&limits).1;
    assert!(matches!(many, Err(Fault::TooMany(20))), "{many:?}");
    // Nor does it help to make them by what comes to nothing.
    let missing = Tar::default()
        .pax(&[("linkpath", deep(20).as_bytes())])
        .link(T::Link, "hard", "")
        .unpack_within(&limits)
        .1;
    assert!(matches!(missing, Err(Fault::TooMany(20))), "{missing:?}");
}

#[test]
fn a_name_leads_no_deeper_than_anybody_builds() {
    let dir = file(Tar::default(), &deep(256)).unpacked();
    assert!(dir.path().join("layer").join(deep(256)).exists());
    let fault = file(Tar::default(), &deep(257)).refused();
    assert!(matches!(fault, Fault::Entry { .. }), "{fault:?}");
    let linked = Tar::default()
        .pax(&[("linkpath", deep(257).as_bytes())])
        .link(T::Link, "hard", "")
        .refused();
    assert!(matches!(linked, Fault::Entry { .. }), "{linked:?}");
}

/// Some 60 bytes of a blob are 256 directories, and the free space is looked at while they come.
#[test]
fn the_last_inodes_are_not_taken() {
    if !is_root("the_last_inodes_are_not_taken") {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    let mounted =
        rustix::mount::mount("tmpfs", disk.path(), "tmpfs", flags, Some(c"nr_inodes=20000"));
    if let Err(cause) = mounted {
        return crate::tests::skip(&format!("no tmpfs can be mounted here: {cause}"));
    }
    let bomb = (0..100).fold(Tar::default(), |tar, n| file(tar, &format!("{n}/{}", deep(250))));
    let result = unpack(open_root(disk.path()).unwrap(), &bomb.end()[..], &Limits::default());
    let left = rustix::fs::statvfs(disk.path()).unwrap().f_favail;
    rustix::mount::unmount(disk.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(matches!(result, Err(Fault::NoInodes { reserve: 1000, .. })), "{result:?}");
    assert!(left > 400, "{left} inodes are left of a reserve of 1000");
}

#[test]
fn a_directory_without_an_entry_takes_the_place_of_what_came_before() {
    let dir = Tar::default()
        .file(".wh.gone", "")
        .file("gone/a/new", "text")
        .file("file", "old")
        .file("file/below", "text")
        .link(T::Symlink, "link", "file")
        .file("link/through", "text")
        .unpacked();
    assert_eq!(text(&dir, "gone/a/new"), "text");
    assert_eq!(text(&dir, "file/below"), "text");
    assert_eq!(text(&dir, "file/through"), "text");
    assert_eq!(meta(&dir, "gone").mode() & 0o7777, 0o755);
    let opaque = |path: &str| {
        let name = Privilege::current().opaque();
        xattr(&dir.path().join("layer").join(path), name).is_some()
    };
    assert!(opaque("gone"), "what the layers below have there is to stay hidden");
    assert!(!opaque("gone/a") && !opaque("file"));
    // What a link points at is not made into something else.
    let through = Tar::default().file("f", "").link(T::Symlink, "l", "f").file("l/x", "").refused();
    assert_eq!(through.kind(), FailureKind::InvalidContent, "{through:?}");
}

#[test]
fn what_cannot_be_is_the_images_fault() {
    let name = "n".repeat(300);
    let path = format!("{}f", format!("{}/", "n".repeat(250)).repeat(20));
    let zero: &[(&str, &[u8])] = &[("linkpath", b"a\0b")];
    for (what, tar) in [
        ("a long name", file(Tar::default(), &name)),
        ("a long path", file(Tar::default(), &path)),
        ("a long target", {
            let target = "t".repeat(5000);
            let long: &[(&str, &[u8])] = &[("linkpath", target.as_bytes())];
            Tar::default().pax(long).link(T::Symlink, "l", "")
        }),
        ("a link to nothing", Tar::default().link(T::Link, "a", "b")),
        ("a zero in a target", Tar::default().pax(zero).link(T::Symlink, "l", "")),
        ("an empty target", Tar::default().link(T::Symlink, "l", "")),
        ("a way in a circle", Tar::default().link(T::Symlink, "l", "l").file("l/x", "")),
        ("a way to nowhere", Tar::default().link(T::Symlink, "l", "/no").file("l/x", "")),
    ] {
        let fault = tar.refused();
        assert_eq!(fault.kind(), FailureKind::InvalidContent, "{what}: {fault:?}");
    }
    // The host's own.
    let denied = Fault::of_entry("a".to_owned(), io::ErrorKind::PermissionDenied.into());
    assert_eq!(denied.kind(), FailureKind::Local);
    let full = Fault::of_entry("a".to_owned(), Errno::NOSPC.into());
    assert_eq!(full.kind(), FailureKind::StorageFull);
}

#[test]
fn an_attribute_that_no_disk_takes_is_left_out_and_a_capability_is_not() {
    let large = vec![b'x'; 70_000];
    let dir = Tar::default()
        .pax(&[("SCHILY.xattr.user.", b"1"), ("SCHILY.xattr.user.large", &large)])
        .pax(&[(&format!("SCHILY.xattr.user.{}", "n".repeat(300)), b"1")])
        .file("f", "text")
        .unpacked();
    assert_eq!(text(&dir, "f"), "text");
    if !is_root("an_attribute_that_no_disk_takes_is_left_out_and_a_capability_is_not") {
        return;
    }
    let capability: &[(&str, &[u8])] = &[("SCHILY.xattr.security.capability", b"none")];
    let fault = Tar::default().pax(capability).file("f", "").refused();
    assert_eq!(fault.kind(), FailureKind::InvalidContent, "{fault:?}");
}

/// ext4 has one block for all attributes of a file, and says what it says of a full disk.
#[test]
fn attributes_that_this_disk_has_no_place_for_do_not_mean_that_it_is_full() {
    let value = vec![b'x'; 10_000];
    let dir = Tar::default().pax(&[("SCHILY.xattr.user.a", &value)]).file("f", "text").unpacked();
    assert_eq!(text(&dir, "f"), "text");
}
