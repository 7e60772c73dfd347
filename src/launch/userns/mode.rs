//! What `--userns`, `--uidmap` and the flags beside them ask for (podman-run(1)). Pure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which user namespace a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Mode {
    /// That of the launcher.
    #[default]
    Host,
    /// One of its own, in which the calling user has this user and group ID; without one, the same
    /// as outside.
    KeepId { uid: Option<u32>, gid: Option<u32> },
    /// One of its own, which the calling user is not in.
    NoMap,
    /// One of its own, with IDs that no other container has; by default as many as its image needs.
    Auto { size: Option<u32> },
    /// That of the container with this name or ID.
    Container(String),
    /// The one at this path.
    Namespace(PathBuf),
}

/// Why flags do not say which user namespace a container has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMode {
    #[error(
        "{0:?} is no user namespace: expected host, auto[:size=N], \
         keep-id[:uid=N,gid=N], nomap, container:NAME, ns:PATH"
    )]
    Word(String),
    #[error("{0} is only supported in rootless mode")]
    OfCaller(&'static str),
    #[error("--userns=keep-id: {0:?} is neither uid=N nor gid=N")]
    Keep(String),
    #[error("--userns=auto: {0:?} is not size=N, of 1 to 4294967294 IDs")]
    Size(String),
    #[error("--userns=auto: {0:?} is not supported; say size=N, or use --uidmap and --gidmap")]
    Option(String),
    #[error("{0:?} is not CONTAINER-ID:HOST-ID[:COUNT]")]
    Map(String),
    #[error("the maps name the ID {0} of the container twice")]
    Twice(u32),
    #[error("--userns, --uidmap or --gidmap, and --subuidname or --subgidname exclude each other")]
    Several,
}

impl FromStr for Mode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        let unknown = || InvalidMode::Word(text.chars().take(60).collect());
        let (word, rest) = match text.split_once(':') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        match (word, rest) {
            ("" | "host", None) => Ok(Self::Host),
            ("auto", rest) => auto(rest.unwrap_or_default()),
            ("container", Some(name)) if !name.is_empty() => Ok(Self::Container(name.to_owned())),
            ("ns", Some(path)) if path.starts_with('/') => Ok(Self::Namespace(path.into())),
            ("keep-id", rest) => keep_id(rest.unwrap_or_default()),
            ("nomap", None) => Ok(Self::NoMap),
            _ => Err(unknown()),
        }
    }
}

fn keep_id(options: &str) -> Result<Mode, InvalidMode> {
    let (mut uid, mut gid) = (None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let wrong = || InvalidMode::Keep(option.chars().take(60).collect());
        let (key, number) = option.split_once('=').ok_or_else(wrong)?;
        let number = number.parse().ok().filter(|number| *number < u32::MAX);
        let number = Some(number.ok_or_else(wrong)?);
        match key {
            "uid" => uid = number,
            "gid" => gid = number,
            _ => return Err(wrong()),
        }
    }
    Ok(Mode::KeepId { uid, gid })
}

fn auto(options: &str) -> Result<Mode, InvalidMode> {
    let mut size = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let short = || option.chars().take(60).collect::<String>();
        let Some(number) = option.strip_prefix("size=") else {
            return Err(InvalidMode::Option(short()));
        };
        let number = number.parse().ok().filter(|number| (1..u32::MAX).contains(number));
        size = Some(number.ok_or_else(|| InvalidMode::Size(short()))?);
    }
    Ok(Mode::Auto { size })
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::KeepId { uid: None, gid: None } => f.write_str("keep-id"),
            Self::KeepId { uid: Some(uid), gid: None } => write!(f, "keep-id:uid={uid}"),
            Self::KeepId { uid: None, gid: Some(gid) } => write!(f, "keep-id:gid={gid}"),
            Self::KeepId { uid: Some(uid), gid: Some(gid) } => {
                write!(f, "keep-id:uid={uid},gid={gid}")
            }
            Self::NoMap => f.write_str("nomap"),
            Self::Auto { size: None } => f.write_str("auto"),
            Self::Auto { size: Some(size) } => write!(f, "auto:size={size}"),
            Self::Container(name) => write!(f, "container:{name}"),
            Self::Namespace(path) => write!(f, "ns:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = InvalidMode;

    fn try_from(text: String) -> Result<Self, InvalidMode> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn modes_are_podmans() {
        let read = |text: &str| text.parse::<Mode>();
        assert_eq!(read("").unwrap(), Mode::Host);
        assert_eq!(read("host").unwrap(), Mode::Host);
        assert_eq!(read("auto").unwrap(), Mode::Auto { size: None });
        assert_eq!(read("auto:size=2000").unwrap(), Mode::Auto { size: Some(2000) });
        assert_eq!(read("container:web").unwrap(), Mode::Container("web".into()));
        assert_eq!(read("ns:/proc/1/ns/user").unwrap().to_string(), "ns:/proc/1/ns/user");
        for wrong in ["Host", "auto:size=0", "auto:size=4294967295", "auto:uidmapping=0:1:2"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read("nomap").unwrap(), Mode::NoMap);
        assert_eq!(read("keep-id").unwrap(), Mode::KeepId { uid: None, gid: None });
        let both = Mode::KeepId { uid: Some(200), gid: Some(210) };
        assert_eq!(read("keep-id:gid=210,uid=200").unwrap(), both);
        for wrong in ["keep-id:uid", "keep-id:uid=x", "keep-id:size=1", "keep-id:uid=4294967295"] {
            assert!(matches!(read(wrong), Err(InvalidMode::Keep(_))), "{wrong}");
        }
        for wrong in ["container:", "ns:x", "ns", "nomap:x", "private"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written(text in "(host|nomap|keep-id|keep-id:uid=[0-9]{1,5}|keep-id:(uid=1,)?gid=[0-9]{1,9}|auto|auto:size=[0-9]{1,5}|container:[a-z]{1,4}|ns:/[a-z]{0,4})") {
            if let Ok(mode) = text.parse::<Mode>() {
                prop_assert_eq!(mode.to_string().parse::<Mode>().unwrap(), mode);
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Mode>();
        }
    }
}
