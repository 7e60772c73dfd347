//! Maps around the calling user, for ordinary users: whose own ID is 0 in the namespace that the
//! launcher is in, where those that were given away follow from 1 on ([`super::map::IdMap::of_user`]).

use crate::launch::storage::idmap::{Mapping, Range};
use crate::launch::userns::map;

/// The users and groups of the namespace that this process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Within {
    /// The caller's, outside of it.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// How many there are besides the caller.
    pub(crate) users: u32,
    pub(crate) groups: u32,
}

impl Within {
    pub(crate) fn current() -> std::io::Result<Self> {
        let read = |name| std::fs::read_to_string(format!("/proc/self/{name}"));
        Ok(Self::parse(&read("uid_map")?, &read("gid_map")?))
    }

    /// Reads `/proc/self/uid_map` and `gid_map`.
    fn parse(uids: &str, gids: &str) -> Self {
        let others = |text| {
            let counts = map::lines(text).into_iter().map(|(_, _, count)| count);
            counts.fold(0u32, u32::saturating_add).saturating_sub(1)
        };
        let own = |text| map::outside(text, 0).unwrap_or_default();
        Self { uid: own(uids), gid: own(gids), users: others(uids), groups: others(gids) }
    }

    /// The caller is `uid` and `gid`; all others are who they would be without.
    pub(crate) fn keeping(self, uid: u32, gid: u32) -> Mapping {
        Mapping { uids: keeping(uid, self.users), gids: keeping(gid, self.groups) }
    }

    /// The caller is nobody.
    pub(crate) fn without(self) -> Mapping {
        let all = |count| vec![Range { file: 0, host: 1, count }];
        Mapping { uids: all(self.users), gids: all(self.groups) }
    }
}

fn keeping(own: u32, others: u32) -> Vec<Range> {
    let mut ranges = vec![
        Range { file: 0, host: 1, count: own.min(others) },
        Range { file: own, host: 0, count: 1 },
        Range { file: own + 1, host: own + 1, count: others.saturating_sub(own) },
    ];
    ranges.retain(|range| range.count > 0);
    ranges
}

/// An ID of the namespace's `others`, and its root, that nobody has in a map: whose files are to be
/// shown as nobody's.
pub(crate) fn stranger(ranges: &[Range], others: u32) -> Option<u32> {
    let mut taken: Vec<_> = ranges.iter().map(|range| (range.host, range.count)).collect();
    taken.sort_unstable();
    let mut next = 0u32;
    for (first, count) in taken {
        if first > next {
            break;
        }
        next = next.max(first.saturating_add(count));
    }
    (next <= others).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(file: u32, host: u32, count: u32) -> Range {
        Range { file, host, count }
    }

    #[test]
    fn the_namespace_is_read() {
        let text = "         0       4000          1\n         1     100000      65536\n";
        let within = Within::parse(text, "0 5 1\n1 7 2\n3 100 10\n");
        assert_eq!(within, Within { uid: 4000, gid: 5, users: 65_536, groups: 12 });
        assert_eq!(Within::parse("0 4000 1", "0 5 1").users, 0);
    }

    #[test]
    fn maps_are_podmans() {
        let within = Within { uid: 4000, gid: 4000, users: 65_536, groups: 65_536 };
        let expected = [range(0, 1, 4000), range(4000, 0, 1), range(4001, 4001, 61_536)];
        assert_eq!(within.keeping(4000, 4000).uids, expected);
        let expected = [range(0, 1, 210), range(210, 0, 1), range(211, 211, 65_326)];
        assert_eq!(within.keeping(200, 210).gids, expected);
        assert_eq!(within.keeping(0, 0).uids, [range(0, 0, 1), range(1, 1, 65_536)]);
        // Beyond all that there are.
        let expected = [range(0, 1, 65_536), range(70_000, 0, 1)];
        assert_eq!(within.keeping(70_000, 1).uids, expected);
        assert_eq!(within.without().uids, [range(0, 1, 65_536)]);
    }

    #[test]
    fn a_stranger_is_in_no_map() {
        assert_eq!(stranger(&[range(0, 1, 10)], 100), Some(0));
        assert_eq!(stranger(&[range(5, 3, 2), range(0, 0, 3)], 100), Some(5));
        assert_eq!(stranger(&[range(0, 1, 100), range(7000, 0, 1)], 100), None);
        assert_eq!(stranger(&[], 0), Some(0));
    }
}
