//! What is mounted into a container besides the kernel's file systems, as it was asked for. Pure;
//! a container's definition keeps it.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::launch::storage::flags::idmap::{Idmap, InvalidMapping};
use crate::model::{Digest, Reference};

/// One mount into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) source: Source,
    /// Absolute and without `..`; never `/`.
    pub(crate) target: PathBuf,
    pub(crate) options: Options,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Source {
    /// A file or directory of the host.
    Bind { path: PathBuf },
    /// A named volume. An anonymous one has no name until its container is made.
    Volume {
        name: String,
        #[serde(default)]
        anonymous: bool,
        /// A directory in it, instead of the whole.
        #[serde(default)]
        subpath: Option<PathBuf>,
    },
    Tmpfs {
        /// Options of the file system: `size=1m`.
        data: Vec<String>,
        /// Whether it begins with what the image has there.
        filled: bool,
    },
    /// The files of another image.
    Image {
        reference: Box<Reference>,
        /// Which image that was when the container was made.
        #[serde(default)]
        manifest: Option<Digest>,
        /// Whether it can be written to; what is written goes with the container's end.
        #[serde(default)]
        writable: bool,
        #[serde(default)]
        subpath: Option<PathBuf>,
    },
}

/// How it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    /// In the words of mount(8).
    pub(crate) words: Vec<String>,
    #[serde(default)]
    pub(crate) propagation: Propagation,
    /// Whether its files are made the container's user's (`U`).
    #[serde(default)]
    pub(crate) chown: bool,
    /// Whether a volume begins with what the image has there.
    #[serde(default = "yes")]
    pub(crate) copy: bool,
    /// Whether what the container changes goes elsewhere, and where (`O`).
    #[serde(default)]
    pub(crate) overlay: Option<Upper>,
    #[serde(default)]
    pub(crate) idmap: Option<Idmap>,
    /// On hosts with SELinux.
    #[serde(default)]
    pub(crate) relabel: Option<Relabel>,
}

/// Where changes go: by default beside the container's own, and away with its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upper {
    pub(crate) upper: Option<PathBuf>,
    pub(crate) work: Option<PathBuf>,
}

/// Who may use the files besides this container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Relabel {
    Shared,
    Private,
}

/// Which mounts made later are seen on both sides (mount_namespaces(7), "Shared subtrees").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Propagation {
    Private,
    #[default]
    Rprivate,
    Slave,
    Rslave,
    Shared,
    Rshared,
}

fn yes() -> bool {
    true
}

impl Propagation {
    /// By its name among the options of mount(8).
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let all =
            [Self::Private, Self::Rprivate, Self::Slave, Self::Rslave, Self::Shared, Self::Rshared];
        all.into_iter().find(|propagation| propagation.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Rprivate => "rprivate",
            Self::Slave => "slave",
            Self::Rslave => "rslave",
            Self::Shared => "shared",
            Self::Rshared => "rshared",
        }
    }

    /// Whether the container's mounts are seen on the host.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::Rshared)
    }

    pub(crate) fn is_private(self) -> bool {
        matches!(self, Self::Private | Self::Rprivate)
    }

    pub(crate) fn is_recursive(self) -> bool {
        matches!(self, Self::Rprivate | Self::Rslave | Self::Rshared)
    }
}

impl Options {
    pub(crate) fn new(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            propagation: Propagation::default(),
            chown: false,
            copy: true,
            overlay: None,
            idmap: None,
            relabel: None,
        }
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|have| have == word)
    }

    /// Sets one of mount(8)'s words, last, in the place of what it contradicts.
    pub(crate) fn set(&mut self, word: &str) {
        let opposite = match word {
            "ro" | "rro" => vec!["rw", "ro", "rro"],
            "rw" => vec!["ro", "rro"],
            "bind" => vec!["rbind"],
            "rbind" => vec!["bind"],
            _ => Vec::new(),
        };
        let negated = word.strip_prefix("no").map_or_else(|| format!("no{word}"), str::to_owned);
        self.words
            .retain(|have| have != word && *have != negated && !opposite.contains(&have.as_str()));
        self.words.push(word.to_owned());
    }

    /// Whether what is mounted below comes along.
    pub(crate) fn is_recursive(&self) -> bool {
        self.has("rbind")
    }
}

impl Volume {
    /// A directory or file of ours, with further options.
    pub(crate) fn bound(source: PathBuf, target: PathBuf, more: &[String]) -> Self {
        let mut options = Options::new(&["bind", "nosuid", "nodev"]);
        more.iter().for_each(|option| options.set(option));
        Self { source: Source::Bind { path: source }, target, options }
    }

    /// The path of the host that is bound.
    pub(crate) fn bound_path(&self) -> Option<&Path> {
        match &self.source {
            Source::Bind { path } => Some(path),
            _ => None,
        }
    }
}

/// A tmpfs on the places that programs write to, where the root file system is read-only and
/// nothing else is mounted there.
pub(crate) fn writable_places() -> Vec<Volume> {
    let tmpfs = |(target, mode): (&str, &str)| Volume {
        source: Source::Tmpfs { data: vec![mode.to_owned()], filled: true },
        target: target.into(),
        options: Options::new(&["nosuid", "nodev"]),
    };
    [("/run", "mode=755"), ("/tmp", "mode=1777"), ("/var/tmp", "mode=1777")]
        .into_iter()
        .map(tmpfs)
        .collect()
}

/// Why a volume is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidVolume {
    #[error("{0:?} is not {1}")]
    Form(String, &'static str),
    #[error(
        "{0:?}: a volume's name has letters, digits, \"_\", \".\", \"-\", and begins with a letter or digit"
    )]
    Name(String),
    #[error("{0:?}: the target must be an absolute path below /, without \"..\"")]
    Target(String),
    #[error("{0:?}: the container's own /dev and /proc cannot be replaced; mount below them")]
    Own(String),
    #[error("two mounts at {target}: leave one out", target = .0.display())]
    Twice(PathBuf),
    #[error("{volume:?}: option {option:?} {reason}")]
    Option { volume: String, option: String, reason: &'static str },
    #[error("{0:?}")]
    Mapping(String, #[source] InvalidMapping),
    #[error("{0:?}")]
    Reference(String, #[source] crate::model::reference::InvalidReference),
}

/// Refuses volumes that would hide each other.
pub(crate) fn refuse_twice(volumes: &[Volume]) -> Result<(), InvalidVolume> {
    let mut seen = std::collections::BTreeSet::new();
    match volumes.iter().find(|volume| !seen.insert(&volume.target)) {
        Some(volume) => Err(InvalidVolume::Twice(volume.target.clone())),
        None => Ok(()),
    }
}

/// An absolute path below the root, `.` and doubled slashes removed.
pub(crate) fn target(text: &str) -> Result<PathBuf, InvalidVolume> {
    let refused = || InvalidVolume::Target(text.to_owned());
    if !text.starts_with('/') || text.contains('\0') {
        return Err(refused());
    }
    let mut path = PathBuf::from("/");
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(refused()),
        }
    }
    if path == Path::new("/") {
        return Err(refused());
    }
    // The runtime makes device nodes and links there: on the host, where the host's is mounted.
    if path == Path::new("/dev") || path == Path::new("/proc") {
        return Err(InvalidVolume::Own(text.to_owned()));
    }
    Ok(path)
}

/// A path below a volume's or an image's root, without `..`.
pub(crate) fn subpath(text: &str) -> Option<PathBuf> {
    let path = Path::new(text.trim_start_matches('/'));
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && !path.as_os_str().is_empty() && !text.contains('\0')).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_replace_their_opposites() {
        let more = ["dev", "noexec", "ro", "suid", "rro", "exec"].map(str::to_owned);
        let bound = Volume::bound("/from".into(), "/to".into(), &more);
        assert_eq!(bound.options.words.join(","), "bind,dev,suid,rro,exec");
    }

    #[test]
    fn one_target_takes_one_mount() {
        let at = |target: &str| Volume::bound("/a".into(), super::target(target).unwrap(), &[]);
        let error = refuse_twice(&[at("/a/b"), at("/a//b/")]).unwrap_err();
        assert_eq!(error, InvalidVolume::Twice("/a/b".into()));
        assert!(refuse_twice(&[at("/a"), at("/a/b")]).is_ok());
    }

    #[test]
    fn paths_below_a_root() {
        assert_eq!(subpath("/a/b").unwrap(), Path::new("a/b"));
        assert!(subpath("a/../b").is_none() && subpath("/").is_none());
    }
}
