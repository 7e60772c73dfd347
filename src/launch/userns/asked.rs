//! What the flags ask of a user namespace, checked. Pure.

use std::path::PathBuf;

use crate::launch::args::UserNamespaceFlags;
use crate::launch::storage::idmap::{Mapping, Range};
use crate::launch::userns::Error;
use crate::launch::userns::caller::Within;
use crate::launch::userns::mode::{InvalidMode, Mode};
use crate::model::Scope;

/// Whose user namespace a container has, and what is mapped in its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Host,
    /// The calling user has these numbers; where there is none, the same as outside.
    KeepId {
        uid: Option<u32>,
        gid: Option<u32>,
    },
    NoMap,
    Auto {
        size: Option<u32>,
    },
    Mapped(Mapping),
    /// By the names of subuid(5) and subgid(5).
    Named {
        users: String,
        groups: String,
    },
    Container(String),
    At(PathBuf),
}

impl Asked {
    pub(crate) fn read(flags: &UserNamespaceFlags) -> Result<Self, InvalidMode> {
        let mode = flags.userns.clone();
        let is_mapped = !flags.uidmap.is_empty() || !flags.gidmap.is_empty();
        let is_named = flags.subuidname.is_some() || flags.subgidname.is_some();
        if usize::from(mode.is_some()) + usize::from(is_mapped) + usize::from(is_named) > 1 {
            return Err(InvalidMode::Several);
        }
        if is_mapped {
            return mapping(&flags.uidmap, &flags.gidmap).map(Self::Mapped);
        }
        if let Some(users) = flags.subuidname.as_ref().or(flags.subgidname.as_ref()) {
            let groups = flags.subgidname.as_ref().unwrap_or(users).clone();
            return Ok(Self::Named { users: users.clone(), groups });
        }
        Ok(match mode.unwrap_or_default() {
            Mode::Host => Self::Host,
            Mode::KeepId { uid, gid } => Self::KeepId { uid, gid },
            Mode::NoMap => Self::NoMap,
            Mode::Auto { size } => Self::Auto { size },
            Mode::Container(name) => Self::Container(name),
            Mode::Namespace(path) => Self::At(path),
        })
    }
}

/// Who the calling user is in a container that keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Who that is outside; `None` where other numbers were asked for.
    pub(crate) caller: Option<u32>,
}

impl Asked {
    /// Who the caller is inside, in the namespace that this process is in.
    pub(crate) fn kept_now(&self) -> Result<Option<Kept>, Error> {
        let Self::KeepId { uid, gid } = self else { return Ok(None) };
        let within = Within::current().map_err(Error::Prepare)?;
        let caller = (uid.is_none() && gid.is_none()).then_some(within.uid);
        Ok(self.kept(within).map(|(uid, gid)| Kept { uid, gid, caller }))
    }

    /// Refuses what only an ordinary user can have, for root.
    pub(crate) fn check(&self, scope: Scope) -> Result<(), InvalidMode> {
        match self {
            Self::KeepId { .. } if scope == Scope::System => Err(InvalidMode::OfCaller("keep-id")),
            Self::NoMap if scope == Scope::System => Err(InvalidMode::OfCaller("nomap")),
            _ => Ok(()),
        }
    }

    /// Which user and group the caller is in the container, where that was asked for.
    pub(crate) fn kept(&self, within: Within) -> Option<(u32, u32)> {
        match *self {
            Self::KeepId { uid, gid } => {
                Some((uid.unwrap_or(within.uid), gid.unwrap_or(within.gid)))
            }
            _ => None,
        }
    }
}

/// What is said of one kind only holds for both.
fn mapping(users: &[String], groups: &[String]) -> Result<Mapping, InvalidMode> {
    let users = if users.is_empty() { groups } else { users };
    let groups = if groups.is_empty() { users } else { groups };
    Ok(Mapping { uids: ranges(users)?, gids: ranges(groups)? })
}

fn ranges(words: &[String]) -> Result<Vec<Range>, InvalidMode> {
    let mut ranges: Vec<Range> = Vec::new();
    for word in words.iter().flat_map(|words| words.split(',')) {
        let range = range(word)
            .ok_or_else(|| InvalidMode::Map(word.chars().take(60).collect::<String>()))?;
        let overlaps = |other: &&Range| {
            range.file < other.file + other.count && other.file < range.file + range.count
        };
        if let Some(other) = ranges.iter().find(overlaps) {
            return Err(InvalidMode::Twice(range.file.max(other.file)));
        }
        ranges.push(range);
    }
    Ok(ranges)
}

fn range(word: &str) -> Option<Range> {
    // A sign means something else to Podman.
    let number = |text: &str| text.parse().ok().filter(|_: &u32| !text.starts_with('+'));
    let mut numbers = word.split(':').map(number);
    let (file, host) = (numbers.next()??, numbers.next()??);
    let count = numbers.next().unwrap_or(Some(1))?;
    let fits = |from: u32| from.checked_add(count).is_some();
    let is_whole = numbers.next().is_none() && count > 0 && fits(file) && fits(host);
    is_whole.then_some(Range { file, host, count })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flags(uidmap: &[&str], gidmap: &[&str]) -> UserNamespaceFlags {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        UserNamespaceFlags {
            uidmap: words(uidmap),
            gidmap: words(gidmap),
            ..UserNamespaceFlags::default()
        }
    }

    #[test]
    fn maps_hold_for_both_kinds() {
        let range = |file, host, count| Range { file, host, count };
        let read = Asked::read(&flags(&["0:1000:5", "10:7"], &[])).unwrap();
        let Asked::Mapped(mapping) = read else { panic!("{read:?}") };
        assert_eq!(mapping.uids, [range(0, 1000, 5), range(10, 7, 1)]);
        assert_eq!(mapping.gids, mapping.uids);
        let read = Asked::read(&flags(&["0:1:2"], &["0:3:4,9:9:9"])).unwrap();
        let Asked::Mapped(mapping) = read else { panic!("{read:?}") };
        assert_eq!(mapping.gids, [range(0, 3, 4), range(9, 9, 9)]);
        for wrong in ["", "0", "0:1:0", "a:1:1", "0:1:2:3", "+0:1:2", "0:4294967295:2"] {
            let refused = Asked::read(&flags(&[wrong], &[])).unwrap_err();
            assert!(matches!(refused, InvalidMode::Map(_)), "{wrong}: {refused:?}");
        }
        let twice = Asked::read(&flags(&["0:1000:5", "4:1:1"], &[])).unwrap_err();
        assert_eq!(twice, InvalidMode::Twice(4));
    }

    #[test]
    fn one_way_is_said_only() {
        let both = UserNamespaceFlags { userns: Some(Mode::Host), ..flags(&["0:1:1"], &[]) };
        assert_eq!(Asked::read(&both).unwrap_err(), InvalidMode::Several);
        let named =
            UserNamespaceFlags { subgidname: Some("b".into()), ..UserNamespaceFlags::default() };
        let expected = Asked::Named { users: "b".into(), groups: "b".into() };
        assert_eq!(Asked::read(&named).unwrap(), expected);
        assert_eq!(Asked::read(&UserNamespaceFlags::default()).unwrap(), Asked::Host);
    }

    proptest! {
        #[test]
        fn never_panics(words in proptest::collection::vec("[0-9:,+a]{0,30}", 0..3)) {
            let flags = UserNamespaceFlags { uidmap: words, ..UserNamespaceFlags::default() };
            let _ = Asked::read(&flags);
        }
    }
}
