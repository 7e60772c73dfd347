//! The option `idmap` of a volume (podman-run(1)): by which mapping its files are shown. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::launch::storage::idmap::{Mapping, Range};

/// What was asked for; without a mapping, that of the container's user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Idmap {
    #[serde(flatten)]
    mapping: Mapping,
    /// Whether the other side of the mapping are users of the container, not of the host.
    #[serde(default)]
    of_container: Kinds,
}

/// Of which kind of ID something is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kinds {
    users: bool,
    groups: bool,
}

/// Why a mapping is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMapping {
    #[error("{0:?} is not uids=[@]FILE-HOST-COUNT[#…];gids=[@]FILE-HOST-COUNT[#…]")]
    Form(String),
    #[error(
        "idmap takes the mapping of the container's user namespace, and it has none: \
         say idmap=uids=FILE-HOST-COUNT, or --userns=auto"
    )]
    NoNamespace,
    #[error("{0}: not all of these are users of the container, by its user namespace")]
    NotThere(String),
}

impl Idmap {
    /// The mapping of IDs of the file system to those of the host; `own` is that of the container's
    /// user namespace.
    pub(crate) fn resolve(&self, own: Option<&Mapping>) -> Result<Mapping, InvalidMapping> {
        let own = || own.ok_or(InvalidMapping::NoNamespace);
        if self.mapping == Mapping::default() {
            return own().cloned();
        }
        let mut mapping = self.mapping.clone();
        let missing = || InvalidMapping::NotThere(self.to_string());
        if self.of_container.users {
            mapping.uids = through(&mapping.uids, &own()?.uids).ok_or_else(missing)?;
        }
        if self.of_container.groups {
            mapping.gids = through(&mapping.gids, &own()?.gids).ok_or_else(missing)?;
        }
        Ok(mapping)
    }
}

/// The ranges, with who their other side is by `own`; `None` where `own` has not all of them.
fn through(ranges: &[Range], own: &[Range]) -> Option<Vec<Range>> {
    let mut found = Vec::new();
    for range in ranges {
        let (mut file, mut inside, mut left) = (range.file, range.host, range.count);
        while left > 0 {
            let part =
                own.iter().find(|part| part.file <= inside && inside - part.file < part.count)?;
            let past = inside - part.file;
            let count = left.min(part.count - past);
            found.push(Range { file, host: part.host + past, count });
            (file, inside, left) = (file + count, inside + count, left - count);
        }
    }
    Some(found)
}

impl FromStr for Idmap {
    type Err = InvalidMapping;

    /// Reads `uids=0-1000-10#10-5000-1;gids=@0-100-10`. What is said of one kind only holds for
    /// both.
    fn from_str(text: &str) -> Result<Self, InvalidMapping> {
        let form = || InvalidMapping::Form(text.to_owned());
        let mut read = Self::default();
        for part in text.split(';') {
            let (kind, ranges) = part.split_once('=').ok_or_else(form)?;
            let (is_relative, ranges) = match ranges.strip_prefix('@') {
                Some(ranges) => (true, ranges),
                None => (false, ranges),
            };
            let ranges = ranges.split('#').map(range).collect::<Option<Vec<_>>>();
            let (ranges, users, groups) =
                (ranges.ok_or_else(form)?, &mut read.mapping.uids, &mut read.mapping.gids);
            match kind {
                "uids" if users.is_empty() => {
                    (*users, read.of_container.users) = (ranges, is_relative);
                }
                "gids" if groups.is_empty() => {
                    (*groups, read.of_container.groups) = (ranges, is_relative);
                }
                _ => return Err(form()),
            }
        }
        let (mapping, of) = (&mut read.mapping, &mut read.of_container);
        if mapping.uids.is_empty() {
            mapping.uids.clone_from(&mapping.gids);
            of.users = of.groups;
        } else if mapping.gids.is_empty() {
            mapping.gids.clone_from(&mapping.uids);
            of.groups = of.users;
        }
        Ok(read)
    }
}

fn range(text: &str) -> Option<Range> {
    let mut numbers = text.split('-').map(|number| number.parse::<u32>().ok());
    let range = Range { file: numbers.next()??, host: numbers.next()??, count: numbers.next()?? };
    let fits = |from: u32| from.checked_add(range.count).is_some();
    let whole = numbers.next().is_none() && range.count > 0 && fits(range.file) && fits(range.host);
    whole.then_some(range)
}

impl fmt::Display for Idmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |ranges: &[Range], of_container: bool| {
            let text = |range: &Range| format!("{}-{}-{}", range.file, range.host, range.count);
            let at = if of_container { "@" } else { "" };
            format!("{at}{}", ranges.iter().map(text).collect::<Vec<_>>().join("#"))
        };
        let (mapping, of) = (&self.mapping, self.of_container);
        write!(f, "uids={};gids={}", join(&mapping.uids, of.users), join(&mapping.gids, of.groups))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn on(file: u32, host: u32, count: u32) -> Range {
        Range { file, host, count }
    }

    #[test]
    fn mappings_are_read() {
        let read = |text: &str| text.parse::<Idmap>();
        let mapping =
            read("uids=0-1000-10#10-5000-1;gids=0-100-10").unwrap().resolve(None).unwrap();
        assert_eq!(mapping.uids, [on(0, 1000, 10), on(10, 5000, 1)]);
        assert_eq!(mapping.gids, [on(0, 100, 10)]);
        let one = read("uids=0-1000-1").unwrap().resolve(None).unwrap();
        assert_eq!(one.gids, one.uids);
        for wrong in ["", "uids", "uids=", "uids=0-1", "uids=0-1-0", "uids=0-1-2-3", "u=0-1-2"] {
            assert!(matches!(read(wrong), Err(InvalidMapping::Form(_))), "{wrong}");
        }
        assert!(read("uids=0-4294967295-2").is_err() && read("uids=0-@1-2").is_err());
    }

    #[test]
    fn a_containers_users_are_found_on_the_host() {
        let own = Mapping { uids: vec![on(0, 100, 10), on(10, 500, 10)], gids: vec![on(0, 7, 3)] };
        let resolve = |text: &str| text.parse::<Idmap>().unwrap().resolve(Some(&own));
        assert_eq!(Idmap::default().resolve(Some(&own)).unwrap(), own);
        let mapping = resolve("uids=@1000-8-4;gids=1000-8-4").unwrap();
        assert_eq!(mapping.uids, [on(1000, 108, 2), on(1002, 500, 2)]);
        assert_eq!(mapping.gids, [on(1000, 8, 4)]);
        assert_eq!(resolve("gids=@5-2-1").unwrap().uids, [on(5, 102, 1)]);
        assert!(matches!(resolve("uids=@0-19-2"), Err(InvalidMapping::NotThere(_))));
        let relative: Idmap = "uids=@0-0-1".parse().unwrap();
        assert_eq!(relative.resolve(None), Err(InvalidMapping::NoNamespace));
        assert_eq!(Idmap::default().resolve(None), Err(InvalidMapping::NoNamespace));
    }

    #[test]
    fn what_was_kept_before_is_read() {
        let kept =
            r#"{"uids":[{"file":0,"host":9,"count":1}],"gids":[{"file":0,"host":8,"count":1}]}"#;
        let read: Idmap = serde_json::from_str(kept).unwrap();
        assert_eq!(read.to_string(), "uids=0-9-1;gids=0-8-1");
    }

    proptest! {
        #[test]
        fn what_is_read_is_written(text in "(uids|gids)=@?[0-9]{1,11}-[0-9]{1,11}-[0-9]{1,4}") {
            if let Ok(mapping) = text.parse::<Idmap>() {
                prop_assert_eq!(mapping.to_string().parse::<Idmap>().unwrap(), mapping);
            }
        }

        #[test]
        fn never_panics(text in "[uigds=0-9#;@-]{0,40}") {
            if let Ok(mapping) = text.parse::<Idmap>() {
                let own = Mapping { uids: vec![on(0, 100, 10)], gids: vec![on(3, 1, 1)] };
                let _ = mapping.resolve(Some(&own));
            }
        }
    }
}
