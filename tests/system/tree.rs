//! Compares two trees of files, name by name: what they hold, and all that inode(7) and xattr(7) know of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How much of two files is compared at once, in bytes.
const PIECE: usize = 1 << 20;

/// What is not the same in both.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) path: PathBuf,
    /// In which respect: "mode", "content", …
    pub(crate) aspect: &'static str,
    values: [String; 2],
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, aspect, values: [one, other] } = self;
        write!(f, "{path:?}: {aspect} {one} | {other}")
    }
}

/// Two trees that are gone through side by side.
pub(crate) struct Comparison {
    roots: [PathBuf; 2],
    /// The first name that each file with several had.
    links: [HashMap<(u64, u64), PathBuf>; 2],
    pub(crate) differences: Vec<Difference>,
    /// Names that were compared, and the bytes of files.
    pub(crate) names: usize,
    pub(crate) bytes: u64,
}

impl Comparison {
    /// Of everything below `one` and `other`, and of themselves.
    pub(crate) fn of(one: impl Into<PathBuf>, other: impl Into<PathBuf>) -> Self {
        let roots = [one.into(), other.into()];
        let (links, differences) = (Default::default(), Vec::new());
        let mut comparison = Self { roots, links, differences, names: 0, bytes: 0 };
        comparison.compare(Path::new(""));
        comparison
    }

    /// One line for each difference.
    pub(crate) fn told(&self) -> String {
        self.differences.iter().map(|difference| format!("{difference}\n")).collect()
    }

    fn at(&self, path: &Path) -> [PathBuf; 2] {
        self.roots.each_ref().map(|root| root.join(path))
    }

    fn differ(&mut self, path: &Path, aspect: &'static str, values: [impl fmt::Debug; 2]) {
        let values = values.map(|value| format!("{value:?}"));
        if values[0] != values[1] {
            self.differences.push(Difference { path: path.to_owned(), aspect, values });
        }
    }

    fn compare(&mut self, path: &Path) {
        self.names += 1;
        let paths = self.at(path);
        let [Ok(one), Ok(other)] = paths.each_ref().map(fs::symlink_metadata) else {
            let kinds = paths.map(|path| fs::symlink_metadata(path).map(|it| kind(&it)).ok());
            return self.differ(path, "presence", kinds);
        };
        let both = [&one, &other];
        if kind(&one) != kind(&other) {
            return self.differ(path, "kind", both.map(kind));
        }
        self.differ(path, "mode", both.map(|it| format!("{:o}", it.mode() & 0o7777)));
        self.differ(path, "owner", both.map(|it| (it.uid(), it.gid())));
        self.differ(path, "time", both.map(|it| (it.mtime(), it.mtime_nsec())));
        self.differ(path, "device", both.map(MetadataExt::rdev));
        self.differ(path, "attributes", paths.each_ref().map(|path| attributes(path)));
        if one.is_dir() {
            return self.directory(path, &paths);
        }
        self.links(path, both);
        if one.is_file() {
            self.content(path, &paths, both);
        } else if one.is_symlink() {
            self.differ(path, "target", paths.map(|path| fs::read_link(path).unwrap()));
        }
    }

    fn directory(&mut self, path: &Path, paths: &[PathBuf; 2]) {
        let names: BTreeSet<OsString> = paths.iter().flat_map(|path| names(path)).collect();
        for name in names {
            self.compare(&path.join(name));
        }
    }

    /// What is the same file in one is in the other.
    fn links(&mut self, path: &Path, both: [&Metadata; 2]) {
        self.differ(path, "number of names", both.map(MetadataExt::nlink));
        let mut first = [path.to_owned(), path.to_owned()];
        for (side, found) in both.into_iter().enumerate() {
            if found.nlink() > 1 {
                let inode = (found.dev(), found.ino());
                first[side] =
                    self.links[side].entry(inode).or_insert_with(|| path.to_owned()).clone();
            }
        }
        self.differ(path, "first name", first);
    }

    fn content(&mut self, path: &Path, paths: &[PathBuf; 2], both: [&Metadata; 2]) {
        if both[0].len() != both[1].len() {
            return self.differ(path, "size", both.map(Metadata::len));
        }
        self.bytes += both[0].len();
        let [mut one, mut other] = paths.each_ref().map(|path| File::open(path).unwrap());
        let mut pieces = [vec![0; PIECE], vec![0; PIECE]];
        let mut at = 0;
        loop {
            let count = one.read(&mut pieces[0]).unwrap();
            if count == 0 {
                return;
            }
            other.read_exact(&mut pieces[1][..count]).unwrap();
            if pieces[0][..count] != pieces[1][..count] {
                return self.differ(path, "content", [format!("from {at}"), "on".to_owned()]);
            }
            at += count;
        }
    }
}

/// The names in a directory.
pub(crate) fn names(directory: &Path) -> Vec<OsString> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn kind(metadata: &Metadata) -> &'static str {
    match metadata.file_type() {
        kind if kind.is_dir() => "directory",
        kind if kind.is_file() => "file",
        kind if kind.is_symlink() => "link",
        kind if kind.is_fifo() => "fifo",
        kind if kind.is_socket() => "socket",
        kind if kind.is_char_device() => "character device",
        _ => "block device",
    }
}

/// All that the caller may see.
fn attributes(path: &Path) -> BTreeMap<OsString, OsString> {
    let mut list = vec![0; 1 << 16];
    let size = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..size].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &OsStr| {
        let mut value = vec![0; 1 << 16];
        let size = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        OsString::from_vec(value[..size].to_vec())
    };
    names.map(OsStr::from_bytes).map(|name| (name.to_owned(), value(name))).collect()
}
