//! Archives that nobody means well with: a few names again and again, as all kinds of things, and links
//! to wherever these lead.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tar::{EntryType, Header};

/// One entry. In the target of a link, a leading `@` stands for the directory beside whose files it is
/// unpacked.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    kind: EntryType,
    path: String,
    target: String,
    attribute: Option<&'static str>,
    mode: u32,
    owner: u64,
    data: &'static str,
}

/// Between one and forty entries.
pub(crate) fn archives() -> impl Strategy<Value = Vec<Entry>> {
    vec(entry(), 1..40)
}

fn entry() -> impl Strategy<Value = Entry> {
    use EntryType as T;
    let kinds = [
        T::Regular,
        T::Regular,
        T::Regular,
        T::Directory,
        T::Directory,
        T::Symlink,
        T::Symlink,
        T::Link,
        T::Link,
        T::Fifo,
        T::Char,
        T::Block,
        T::Continuous,
    ];
    let attributes = [
        "user.a",
        "user.",
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.opaque",
        "security.capability",
    ];
    let kind = select(kinds.to_vec());
    let attribute = option::weighted(0.1, select(attributes.to_vec()));
    let mode = select(vec![0o755, 0o644, 0o000, 0o4755, 0o2777, 0o1777]);
    let (owner, data) = (select(vec![0, 1000]), select(vec!["", "evil", "more evil"]));
    (kind, path(), target(), attribute, mode, owner, data).prop_map(
        |(kind, path, target, attribute, mode, owner, data)| Entry {
            kind,
            path,
            target,
            attribute,
            mode,
            owner,
            data,
        },
    )
}

/// Mostly names that are taken, so that an archive goes on.
fn path() -> impl Strategy<Value = String> {
    let usual = ["a", "b", "c", "up", "bystander", "root", "", "."];
    let marks = [".wh.a", ".wh.b", ".wh.up", ".wh..wh..opq", ".wh..wh.plnk"];
    let refused = ["..", ".wh.", ".wh...", "@"];
    let part = prop_oneof![
        30 => select(usual.to_vec()),
        3 => select(marks.to_vec()),
        1 => select(refused.to_vec()),
    ];
    (vec(part, 1..5), prop_oneof![4 => Just(""), 1 => Just("/")])
        .prop_map(|(parts, root)| format!("{root}{}", parts.join("/")))
}

fn target() -> impl Strategy<Value = String> {
    let part = select(vec!["..", "..", "a", "b", "c", "up", "bystander", "root", "."]);
    let start = prop_oneof![4 => Just(""), 1 => Just("/"), 1 => Just("@/"), 1 => Just("../")];
    (vec(part, 0..5), start).prop_map(|(parts, start)| format!("{start}{}", parts.join("/")))
}

/// The archive that the entries make.
pub(crate) fn packed(entries: &[Entry], outer: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    for entry in entries {
        if let Some(attribute) = entry.attribute {
            // "NN SCHILY.xattr.NAME=y\n", of two digits whichever it is.
            let length = 3 + "SCHILY.xattr.".len() + attribute.len() + 3;
            let record = format!("{length} SCHILY.xattr.{attribute}=y\n");
            append(&mut archive, EntryType::XHeader, entry, ("pax", b""), record.as_bytes());
        }
        let target = match entry.target.strip_prefix('@') {
            Some(below) => [outer.as_os_str().as_bytes(), below.as_bytes()].concat(),
            None => entry.target.as_bytes().to_vec(),
        };
        let is_file = matches!(entry.kind, EntryType::Regular | EntryType::Continuous);
        let data = if is_file { entry.data.as_bytes() } else { b"" };
        append(&mut archive, entry.kind, entry, (&entry.path, &target), data);
    }
    archive
}

fn append(
    archive: &mut Vec<u8>,
    kind: EntryType,
    entry: &Entry,
    (path, target): (&str, &[u8]),
    data: &[u8],
) {
    let mut header = Header::new_ustar();
    let bytes = header.as_mut_bytes();
    bytes[..path.len()].copy_from_slice(path.as_bytes());
    bytes[157..157 + target.len()].copy_from_slice(target);
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_mode(entry.mode);
    header.set_mtime(1_000_000_000);
    header.set_uid(entry.owner);
    header.set_gid(entry.owner);
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(data);
    archive.resize(archive.len().next_multiple_of(512), 0);
}
