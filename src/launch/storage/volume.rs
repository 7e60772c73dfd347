//! What `--volume` and `--tmpfs` ask for, as mounts of the runtime's specification. Pure.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// One mount into the container, as the operator asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// The host's path to bind; `None` is a tmpfs.
    pub(crate) source: Option<PathBuf>,
    /// Absolute and without `..`; never `/`.
    pub(crate) target: PathBuf,
    /// Options in the words of mount(8).
    pub(crate) options: Vec<String>,
    /// A tmpfs that begins with what the image has there.
    pub(crate) filled: bool,
}

impl Volume {
    /// A directory of ours, with further options.
    pub(crate) fn bound(source: PathBuf, target: PathBuf, options: Vec<String>) -> Self {
        let mut words = Words::new(&["bind", "rprivate", "nosuid", "nodev"]);
        for option in options {
            let opposite = format!("no{option}");
            words.set(&option, &[&opposite]);
        }
        Self { source: Some(source), target, options: words.0, filled: false }
    }
}

/// A tmpfs on the places that programs write to, where the root file system is read-only and
/// nothing else was asked for there.
pub(crate) fn writable_places(volumes: &[Volume]) -> Vec<Volume> {
    let tmpfs = |(target, mode): (&str, &str)| Volume {
        source: None,
        target: target.into(),
        options: ["nosuid", "nodev", mode].map(str::to_owned).into(),
        filled: true,
    };
    [("/run", "mode=755"), ("/tmp", "mode=1777"), ("/var/tmp", "mode=1777")]
        .into_iter()
        .map(tmpfs)
        .filter(|place| volumes.iter().all(|volume| volume.target != place.target))
        .collect()
}

/// The targets that an image declares as its volumes, where nothing else was asked for. What is no
/// place for one is left out: others start such an image.
pub(crate) fn of_image(declared: &[String], volumes: &[Volume]) -> Vec<PathBuf> {
    let targets: BTreeSet<PathBuf> =
        declared.iter().filter_map(|target| absolute(target).ok()).collect();
    let is_free = |target: &PathBuf| volumes.iter().all(|volume| volume.target != *target);
    targets.into_iter().filter(is_free).collect()
}

/// Why a volume is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidVolume {
    #[error("{0:?} is not SOURCE:TARGET[:OPTIONS]")]
    Form(String),
    #[error("{0:?}: named and anonymous volumes are not there yet; name a directory of the host")]
    Named(String),
    #[error("{0:?}: the target must be an absolute path below /, without \"..\"")]
    Target(String),
    #[error("{0:?}: the container's own /dev and /proc cannot be replaced; mount below them")]
    Own(String),
    #[error("two mounts at {target}: leave one out", target = .0.display())]
    Twice(PathBuf),
    #[error("{volume:?}: option {option:?} is {reason}")]
    Option { volume: String, option: String, reason: &'static str },
}

/// Reads `SOURCE:TARGET[:OPTIONS]` (podman-run(1), `--volume`). A volume is `rprivate`, `nosuid`
/// and `nodev` unless its options say otherwise, and `ro` holds for what is mounted below it too.
/// `selinux` says whether the host enforces labels, without which `z` and `Z` mean nothing.
pub(crate) fn parse_bind(text: &str, selinux: bool) -> Result<Volume, InvalidVolume> {
    let mut parts = text.splitn(3, ':');
    let (source, target, options) = match (parts.next(), parts.next(), parts.next()) {
        (Some(source), Some(target), options) => (source, target, options.unwrap_or("")),
        (Some(only), None, _) if only.starts_with('/') => {
            return Err(InvalidVolume::Named(text.to_owned()));
        }
        _ => return Err(InvalidVolume::Form(text.to_owned())),
    };
    if source.is_empty() {
        return Err(InvalidVolume::Form(text.to_owned()));
    }
    if !source.starts_with(['/', '.']) {
        return Err(InvalidVolume::Named(text.to_owned()));
    }
    let refuse = |option: &str, reason| {
        Err(InvalidVolume::Option { volume: text.to_owned(), option: option.to_owned(), reason })
    };
    let mut words = Words::new(&["rbind", "rprivate", "nosuid", "nodev"]);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => words.set("rro", &["rw"]),
            "rw" => words.set("rw", &["rro"]),
            "bind" => words.set("bind", &["rbind"]),
            "rbind" => words.set("rbind", &["bind"]),
            "suid" | "dev" | "exec" => {
                let opposite = format!("no{option}");
                words.set(option, &[&opposite]);
            }
            "nosuid" | "nodev" | "noexec" => words.set(option, &[&option[2..]]),
            "z" | "Z" if selinux => {
                return refuse(option, "not there yet: label the directory yourself");
            }
            "z" | "Z" => {}
            "private" | "rprivate" => words.set(option, &["private", "rprivate"]),
            "shared" | "rshared" | "slave" | "rslave" => return refuse(option, "not there yet"),
            "U" | "O" | "copy" | "nocopy" | "idmap" => return refuse(option, "not there yet"),
            _ => return refuse(option, "not known"),
        }
    }
    Ok(Volume {
        source: Some(source.into()),
        target: absolute(target)?,
        options: words.0,
        filled: false,
    })
}

/// Reads `TARGET[:OPTIONS]` (podman-run(1), `--tmpfs`). It begins with what the image has there,
/// unless its options say `notmpcopyup`.
pub(crate) fn parse_tmpfs(text: &str) -> Result<Volume, InvalidVolume> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let refuse = |option: &str, reason| {
        Err(InvalidVolume::Option { volume: text.to_owned(), option: option.to_owned(), reason })
    };
    let mut filled = true;
    let mut words = Words::new(&["nosuid", "nodev"]);
    if options.is_empty() {
        words.set("noexec", &[]);
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').map_or(option, |(name, _)| name) {
            "ro" => words.set("ro", &["rw"]),
            "rw" => words.set("rw", &["ro"]),
            "suid" | "dev" | "exec" => {
                let opposite = format!("no{option}");
                words.set(option, &[&opposite]);
            }
            "nosuid" | "nodev" | "noexec" => words.set(option, &[&option[2..]]),
            "size" | "mode" | "nr_inodes" | "uid" | "gid" if option.contains('=') => {
                words.set(option, &[]);
            }
            "tmpcopyup" | "notmpcopyup" => filled = option == "tmpcopyup",
            _ => return refuse(option, "not known"),
        }
    }
    Ok(Volume { source: None, target: absolute(target)?, options: words.0, filled })
}

/// Refuses volumes that would hide each other.
pub(crate) fn refuse_twice(volumes: &[Volume]) -> Result<(), InvalidVolume> {
    let mut seen = BTreeSet::new();
    match volumes.iter().find(|volume| !seen.insert(&volume.target)) {
        Some(volume) => Err(InvalidVolume::Twice(volume.target.clone())),
        None => Ok(()),
    }
}

/// Mount options in order, each once.
struct Words(Vec<String>);

impl Words {
    fn new(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn set(&mut self, word: &str, instead_of: &[&str]) {
        self.0.retain(|have| have != word && !instead_of.contains(&have.as_str()));
        self.0.push(word.to_owned());
    }
}

/// An absolute path below the root, `.` and doubled slashes removed.
fn absolute(text: &str) -> Result<PathBuf, InvalidVolume> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(text: &str) -> String {
        parse_bind(text, false).unwrap().options.join(",")
    }

    #[test]
    fn volumes_are_private_without_devices_unless_said_otherwise() {
        assert_eq!(options("/a:/b"), "rbind,rprivate,nosuid,nodev");
        assert_eq!(options("/a:/b:ro,z"), "rbind,rprivate,nosuid,nodev,rro");
        assert_eq!(options("/a:/b:dev,suid,bind,private"), "dev,suid,bind,private");
        assert_eq!(options("./a:/b:rw,noexec"), "rbind,rprivate,nosuid,nodev,rw,noexec");
        let volume = parse_bind("/a:/b//./c/", false).unwrap();
        assert_eq!(volume.target, Path::new("/b/c"));
    }

    #[test]
    fn refuses_what_is_not_there() {
        for (text, part) in [
            ("data:/b", "named"),
            ("/b", "anonymous"),
            ("", "SOURCE:TARGET"),
            (":/b", "SOURCE:TARGET"),
            ("/a:b", "absolute"),
            ("/a:/", "below /"),
            ("/a:/b/../..", "without"),
            ("/dev:/dev", "own"),
            ("/a:/b:U", "not there yet"),
            ("/a:/b:rslave", "not there yet"),
            ("/a:/b:ro,shared", "not there yet"),
            ("/a:/b:wild", "not known"),
        ] {
            let message = parse_bind(text, false).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        assert!(parse_bind("/a:/b:Z", true).is_err());
    }

    #[test]
    fn one_target_takes_one_mount() {
        let volumes = |texts: [&str; 2]| texts.map(|text| parse_tmpfs(text).unwrap());
        let error = refuse_twice(&volumes(["/a/b", "/a//b/"])).unwrap_err();
        assert_eq!(error, InvalidVolume::Twice("/a/b".into()));
        assert!(refuse_twice(&volumes(["/a", "/a/b"])).is_ok());
    }

    #[test]
    fn a_read_only_root_has_places_to_write() {
        let asked = [parse_tmpfs("/tmp:size=1m").unwrap()];
        let places = writable_places(&asked);
        let targets: Vec<_> = places.iter().map(|place| place.target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/run", "/var/tmp"]);
        let declared = ["/data", "/tmp/", "data", "/", "/dev", "/data/"].map(str::to_owned);
        assert_eq!(of_image(&declared, &asked), [PathBuf::from("/data")]);
    }

    #[test]
    fn options_of_a_filled_tmpfs_stay() {
        let options = ["dev", "noexec", "ro", "suid"].map(str::to_owned).to_vec();
        let bound = Volume::bound("/from".into(), "/to".into(), options);
        assert_eq!(bound.options.join(","), "bind,rprivate,dev,noexec,ro,suid");
    }

    #[test]
    fn tmpfs_options() {
        let words = |text| parse_tmpfs(text).unwrap().options.join(",");
        assert_eq!(words("/t"), "nosuid,nodev,noexec");
        assert_eq!(words("/t:rw,size=1m,mode=1777"), "nosuid,nodev,rw,size=1m,mode=1777");
        assert_eq!(words("/t:exec,suid"), "nodev,exec,suid");
        assert!(parse_tmpfs("/t").unwrap().filled);
        assert!(!parse_tmpfs("/t:notmpcopyup").unwrap().filled);
        assert!(parse_tmpfs("t").is_err());
        assert!(parse_tmpfs("/t:size").is_err());
        assert!(parse_tmpfs("/t:lowerdir=/").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,60}", more in "[/a.:,=roz]{0,30}") {
            for text in [text, more] {
                let _ = parse_bind(&text, true);
                let _ = parse_tmpfs(&text);
            }
        }

        #[test]
        fn targets_stay_below_the_root(text in "[/a.:]{0,20}") {
            if let Ok(volume) = parse_bind(&text, false) {
                prop_assert!(volume.target.is_absolute());
                prop_assert!(volume.target.components().count() > 1);
                prop_assert!(!volume.target.components().any(|c| c == Component::ParentDir));
            }
        }
    }
}
