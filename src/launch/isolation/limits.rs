//! Resource limits of a container's programs (getrlimit(2)), and `--ulimit`.

use std::collections::BTreeMap;

use oci_spec::OciSpecError;
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

/// As Podman has it: so many open files and processes, where the launcher's own hard limit (the
/// unit's `LimitNOFILE=`, `LimitNPROC=`) does not say less. Soft and hard limit are the same.
const MOST: u64 = 1_048_576;

/// The names of `--ulimit`, and what each is.
const NAMES: [(&str, PosixRlimitType, Resource); 15] = [
    ("core", PosixRlimitType::RlimitCore, Resource::Core),
    ("cpu", PosixRlimitType::RlimitCpu, Resource::Cpu),
    ("data", PosixRlimitType::RlimitData, Resource::Data),
    ("fsize", PosixRlimitType::RlimitFsize, Resource::Fsize),
    ("locks", PosixRlimitType::RlimitLocks, Resource::Locks),
    ("memlock", PosixRlimitType::RlimitMemlock, Resource::Memlock),
    ("msgqueue", PosixRlimitType::RlimitMsgqueue, Resource::Msgqueue),
    ("nice", PosixRlimitType::RlimitNice, Resource::Nice),
    ("nofile", PosixRlimitType::RlimitNofile, Resource::Nofile),
    ("nproc", PosixRlimitType::RlimitNproc, Resource::Nproc),
    ("rss", PosixRlimitType::RlimitRss, Resource::Rss),
    ("rtprio", PosixRlimitType::RlimitRtprio, Resource::Rtprio),
    ("rttime", PosixRlimitType::RlimitRttime, Resource::Rttime),
    ("sigpending", PosixRlimitType::RlimitSigpending, Resource::Sigpending),
    ("stack", PosixRlimitType::RlimitStack, Resource::Stack),
];

/// Soft and hard; the highest number is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Pair {
    soft: u64,
    hard: u64,
}

/// What a container's programs are limited to, by name; all other limits are the launcher's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits(BTreeMap<String, Pair>);

/// Why a limit cannot be set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidLimit {
    #[error("--ulimit {0:?} is neither NAME=SOFT[:HARD] nor \"host\"")]
    Form(String),
    #[error("--ulimit {0:?}: there is no such limit; those that are: {names}", names = names())]
    Unknown(String),
    #[error("--ulimit {0:?}: the soft limit is above the hard one")]
    Above(String),
    #[error(
        "--ulimit {name}: the hard limit here is {here}, and raising it needs CAP_SYS_RESOURCE; a \
         unit raises it with Limit{setting}=", setting = name.to_uppercase()
    )]
    Raised { name: String, here: u64 },
}

fn names() -> String {
    NAMES.map(|(name, ..)| name).join(", ")
}

impl Limits {
    /// Those of a container without `--ulimit`, from this process's own.
    pub(crate) fn current() -> Self {
        let most = |resource| {
            let most = hard(resource).min(MOST);
            Pair { soft: most, hard: most }
        };
        let both = [("nofile", Resource::Nofile), ("nproc", Resource::Nproc)];
        Self(both.map(|(name, resource)| (name.to_owned(), most(resource))).into())
    }

    /// Those of a container with `words`, the values of `--ulimit`; `host` are all the launcher's.
    pub(crate) fn new(words: &[String]) -> Result<Self, InvalidLimit> {
        let host = words.iter().any(|word| word == "host");
        let mut limits = if host { Self(BTreeMap::new()) } else { Self::current() };
        for word in words.iter().filter(|word| *word != "host") {
            let (name, pair) = read(word)?;
            limits.0.insert(name.to_owned(), pair);
        }
        Ok(limits)
    }

    /// Whether this process may set them.
    ///
    /// # Errors
    /// The first that it may not.
    pub(crate) fn check(&self) -> Result<(), InvalidLimit> {
        let power = caps::Capability::CAP_SYS_RESOURCE;
        let powerful = caps::has_cap(None, caps::CapSet::Effective, power).unwrap_or(false);
        for (name, pair) in &self.0 {
            let here = resource(name).map_or(u64::MAX, hard);
            if pair.hard > here && !powerful {
                return Err(InvalidLimit::Raised { name: name.clone(), here });
            }
        }
        Ok(())
    }

    /// Those of a program that enters the container: no higher than may be set from here.
    pub(crate) fn within_reach(mut self) -> Self {
        for (name, pair) in &mut self.0 {
            let here = resource(name).map_or(u64::MAX, hard);
            *pair = Pair { soft: pair.soft.min(here), hard: pair.hard.min(here) };
        }
        self
    }

    /// As `inspect` shows them.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let number = |limit: u64| i64::try_from(limit).unwrap_or(-1);
        let one = |(name, pair): (&String, &Pair)| {
            let name = format!("RLIMIT_{}", name.to_uppercase());
            serde_json::json!({"Name": name, "Soft": number(pair.soft), "Hard": number(pair.hard)})
        };
        self.0.iter().map(one).collect()
    }

    pub(crate) fn to_spec(&self) -> Result<Vec<PosixRlimit>, OciSpecError> {
        let typ = |name: &str| NAMES.iter().find(|(known, ..)| *known == name).map(|found| found.1);
        let known = self.0.iter().filter_map(|(name, pair)| Some((typ(name)?, pair)));
        known
            .map(|(typ, Pair { soft, hard })| {
                PosixRlimitBuilder::default().typ(typ).soft(*soft).hard(*hard).build()
            })
            .collect()
    }
}

fn resource(name: &str) -> Option<Resource> {
    NAMES.iter().find(|(known, ..)| *known == name).map(|found| found.2)
}

/// This process's own hard limit.
fn hard(resource: Resource) -> u64 {
    getrlimit(resource).maximum.unwrap_or(u64::MAX)
}

fn read(word: &str) -> Result<(&str, Pair), InvalidLimit> {
    let form = || InvalidLimit::Form(word.chars().take(80).collect());
    let (name, values) = word.split_once('=').ok_or_else(form)?;
    // As getrlimit(2) and Docker name them, too.
    let lower = name.to_lowercase();
    let short = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    let known = NAMES.iter().find(|(known, ..)| *known == short);
    let Some((name, ..)) = known else { return Err(InvalidLimit::Unknown(name.to_owned())) };
    let number = |text: &str| match text {
        "-1" | "unlimited" => Some(u64::MAX),
        text => text.parse().ok(),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let soft = number(soft).ok_or_else(form)?;
    let hard = number(hard).ok_or_else(form)?;
    if soft > hard {
        Err(InvalidLimit::Above(word.to_owned()))
    } else {
        Ok((name, Pair { soft, hard }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new(words: &[&str]) -> Result<Limits, InvalidLimit> {
        Limits::new(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn limits_are_soft_and_hard() {
        let limits = new(&["nofile=10:20", "core=0", "RLIMIT_STACK=-1", "nofile=11:20"]).unwrap();
        assert_eq!(limits.0["nofile"], Pair { soft: 11, hard: 20 });
        assert_eq!(limits.0["core"], Pair { soft: 0, hard: 0 });
        assert_eq!(limits.0["stack"], Pair { soft: u64::MAX, hard: u64::MAX });
        assert_eq!(limits.to_spec().unwrap().len(), 4, "and nproc");
        assert!(new(&["host"]).unwrap().0.is_empty());
        assert_eq!(new(&["host", "core=0"]).unwrap().0.len(), 1);
        assert_eq!(new(&[]).unwrap(), Limits::current());
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for word in ["", "nofile", "nofile=", "nofile=x", "nofile=1:2:3", "nofile=-2", "hosts"] {
            assert!(matches!(new(&[word]), Err(InvalidLimit::Form(_))), "{word}");
        }
        assert!(matches!(new(&["files=1"]), Err(InvalidLimit::Unknown(_))));
        assert!(matches!(new(&["nofile=2:1"]), Err(InvalidLimit::Above(_))));
    }

    #[test]
    fn whoever_enters_gets_no_more_than_there_is() {
        let limits = new(&["nofile=-1"]).unwrap().within_reach();
        assert_eq!(limits.0["nofile"].hard, hard(Resource::Nofile));
    }

    proptest! {
        #[test]
        fn never_panics(words in proptest::collection::vec("\\PC{0,20}|nofile=.{0,9}", 0..4)) {
            let _ = Limits::new(&words);
        }
    }
}
