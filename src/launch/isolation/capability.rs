//! Which capabilities(7) a container's process has. Pure, but for [`available`].

use std::collections::BTreeSet;

/// What a container has without flags: Podman's eleven.
const DEFAULT: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Capability sets of a process, names without `CAP_`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Capabilities {
    /// What the process and its descendants can ever have.
    pub(crate) bounding: BTreeSet<String>,
    /// Effective and permitted.
    pub(crate) effective: BTreeSet<String>,
    /// Ambient and inheritable: what a process that is not root keeps over execve(2).
    pub(crate) ambient: BTreeSet<String>,
}

/// A name that is no capability.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a capability, such as NET_ADMIN or CAP_NET_ADMIN, or \"all\"")]
pub(crate) struct InvalidCapability(pub(crate) String);

impl Capabilities {
    /// The sets for a process of user `uid` (podman-run(1), `--cap-add`, `--cap-drop`): root has
    /// all of them in effect; another user only those that were added by name. "all" are those
    /// that are `available` here.
    pub(crate) fn new(
        add: &[String],
        drop: &[String],
        uid: u32,
        available: &BTreeSet<String>,
    ) -> Result<Self, InvalidCapability> {
        let add = Request::read(add)?;
        let drop = Request::read(drop)?;
        let mut bounding: BTreeSet<String> = if drop.all {
            BTreeSet::new()
        } else if add.all {
            available.clone()
        } else {
            DEFAULT.map(str::to_owned).into()
        };
        bounding.extend(add.named.iter().cloned());
        bounding.retain(|name| !drop.named.contains(name));
        let effective = if uid == 0 {
            bounding.clone()
        } else {
            add.named.intersection(&bounding).cloned().collect()
        };
        let ambient = if uid == 0 { BTreeSet::new() } else { effective.clone() };
        Ok(Self { bounding, effective, ambient })
    }

    /// Whether the process can ever have `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.bounding.contains(name)
    }
}

#[derive(Default)]
struct Request {
    all: bool,
    named: BTreeSet<String>,
}

impl Request {
    fn read(words: &[String]) -> Result<Self, InvalidCapability> {
        let mut request = Self::default();
        let names = known();
        for word in words.iter().flat_map(|words| words.split(',')) {
            let upper = word.to_ascii_uppercase();
            let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if name == "ALL" {
                request.all = true;
            } else if names.contains(name) {
                request.named.insert(name.to_owned());
            } else {
                return Err(InvalidCapability(word.chars().take(60).collect()));
            }
        }
        Ok(request)
    }
}

/// Every capability of Linux, without `CAP_`.
pub(crate) fn known() -> BTreeSet<String> {
    names(caps::all())
}

/// Those that this process can give away: a unit's `CapabilityBoundingSet=` may leave some out.
pub(crate) fn available() -> BTreeSet<String> {
    caps::read(None, caps::CapSet::Bounding).map_or_else(|_| known(), names)
}

fn names(capabilities: caps::CapsHashSet) -> BTreeSet<String> {
    let short = |name: String| name.strip_prefix("CAP_").unwrap_or(&name).to_owned();
    capabilities.into_iter().map(|capability| short(capability.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sets(add: &[&str], drop: &[&str], uid: u32) -> Capabilities {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        Capabilities::new(&words(add), &words(drop), uid, &known()).unwrap()
    }

    #[test]
    fn root_has_the_default_in_effect() {
        let root = sets(&[], &[], 0);
        assert_eq!(root.bounding.len(), 11);
        assert_eq!(root.effective, root.bounding);
        assert!(root.ambient.is_empty());
    }

    #[test]
    fn others_have_only_what_was_added() {
        let user = sets(&["cap_net_raw,sys_time"], &["SYS_TIME"], 1000);
        assert_eq!(user.effective, ["NET_RAW".to_owned()].into());
        assert_eq!(user.ambient, user.effective);
        assert_eq!(user.bounding.len(), 12);
    }

    #[test]
    fn all_adds_and_drops() {
        assert!(sets(&["all"], &["SYS_ADMIN"], 0).bounding.len() > 30);
        assert!(!sets(&["all"], &["SYS_ADMIN"], 0).has("SYS_ADMIN"));
        let here = ["CHOWN".to_owned(), "MKNOD".to_owned()].into();
        let all = Capabilities::new(&["all".into()], &[], 0, &here).unwrap();
        assert_eq!(all.bounding, here);
        assert_eq!(sets(&["CHOWN"], &["ALL"], 0).bounding, ["CHOWN".to_owned()].into());
        assert!(Capabilities::new(&["NOPE".into()], &[], 0, &known()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(words in proptest::collection::vec("\\PC{0,20}", 0..4)) {
            let _ = Capabilities::new(&words, &words, 0, &known());
        }
    }
}
