//! Which programs of others a unit calls for: told by how it calls `updater-launch`.

use std::collections::BTreeSet;

use crate::model::Scope;

/// A program that containers need, and its package on Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Helper {
    Netavark,
    AardvarkDns,
    Pasta,
    Catatonit,
    Newuidmap,
    Newgidmap,
}

impl Helper {
    pub fn program(self) -> &'static str {
        match self {
            Self::Netavark => "netavark",
            Self::AardvarkDns => "aardvark-dns",
            Self::Pasta => "pasta",
            Self::Catatonit => "catatonit",
            Self::Newuidmap => "newuidmap",
            Self::Newgidmap => "newgidmap",
        }
    }

    pub fn package(self) -> &'static str {
        match self {
            Self::Netavark => "netavark",
            Self::AardvarkDns => "aardvark-dns",
            Self::Pasta => "passt",
            Self::Catatonit => "catatonit",
            Self::Newuidmap | Self::Newgidmap => "uidmap",
        }
    }
}

/// What the unit with this text calls for; nothing where it does not run `updater-launch`.
pub fn needs(unit: &str, scope: Scope) -> BTreeSet<Helper> {
    let mut needed = BTreeSet::new();
    let joined = unit.replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| line.starts_with("Exec")) {
        let mut words = line.split_whitespace();
        if !words.any(|word| word.ends_with("updater-launch")) {
            continue;
        }
        let words: Vec<&str> = words.collect();
        let verb = words.iter().any(|word| matches!(*word, "run" | "create"));
        if !verb {
            continue;
        }
        if scope == Scope::User {
            needed.extend([Helper::Newuidmap, Helper::Newgidmap]);
        }
        if words.contains(&"--init") {
            needed.insert(Helper::Catatonit);
        }
        match network(&words) {
            Some("host" | "none") => {}
            Some(mode) if ["container:", "ns:"].iter().any(|alone| mode.starts_with(alone)) => {}
            Some(mode) if mode.starts_with("pasta") => drop(needed.insert(Helper::Pasta)),
            // A pod's members have the pod's network.
            None if words.iter().any(|word| word.starts_with("--pod=") || *word == "--pod") => {}
            None if scope == Scope::User => drop(needed.insert(Helper::Pasta)),
            // The network that all are on by default has no names.
            None | Some("bridge" | "private" | "default" | "podman") => {
                needed.insert(Helper::Netavark);
            }
            Some(_) => needed.extend([Helper::Netavark, Helper::AardvarkDns]),
        }
    }
    needed
}

/// The word after `--network`, without its options.
fn network<'a>(words: &[&'a str]) -> Option<&'a str> {
    let joined = words
        .iter()
        .find_map(|word| word.strip_prefix("--network=").or_else(|| word.strip_prefix("--net=")));
    let apart = words
        .iter()
        .position(|word| ["--network", "--net"].contains(word))
        .and_then(|at| words.get(at + 1));
    joined.or(apart.copied())
}

#[cfg(test)]
mod tests {
    use super::Helper::*;
    use super::*;

    fn of(flags: &str, scope: Scope) -> Vec<Helper> {
        let unit =
            format!("[Service]\nExecStart=/usr/bin/updater-launch run --rm \\\n {flags} app\n");
        needs(&unit, scope).into_iter().collect()
    }

    #[test]
    fn a_unit_calls_for_what_its_flags_say() {
        assert_eq!(of("", Scope::System), [Netavark]);
        assert_eq!(of("--network host --init", Scope::System), [Catatonit]);
        assert_eq!(of("--network=backend", Scope::System), [Netavark, AardvarkDns]);
        assert_eq!(of("--net pasta:-I,eth0", Scope::System), [Pasta]);
        assert_eq!(of("--network ns:/run/netns/x", Scope::System), []);
        assert_eq!(of("--pod=web", Scope::System), []);
        assert_eq!(of("", Scope::User), [Pasta, Newuidmap, Newgidmap]);
        let other = "[Service]\nExecStart=/usr/bin/podman run app\nExecStop=/usr/bin/updater-launch stop x\n";
        assert!(needs(other, Scope::User).is_empty());
    }
}
