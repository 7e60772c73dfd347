//! Maps between the users (or groups) of a user namespace and those outside of it
//! (user_namespaces(7)). Pure.

use std::ops::Range;

/// So many IDs in a row, inside and outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) inside: u32,
    pub(crate) outside: u32,
    pub(crate) count: u32,
}

/// A whole map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdMap(Vec<Line>);

impl IdMap {
    /// The map of an ordinary user: root inside is `own` outside, and the `ranges` follow from 1 on,
    /// as far as there are numbers.
    pub(crate) fn of_user(own: u32, ranges: &[Range<u32>]) -> Self {
        let mut lines = vec![Line { inside: 0, outside: own, count: 1 }];
        let mut next = 1u32;
        for range in ranges {
            // The highest number is none: chown(2) takes it for "leave as it is".
            let count = (range.end - range.start).min(u32::MAX - next);
            if count > 0 {
                lines.push(Line { inside: next, outside: range.start, count });
                next += count;
            }
        }
        Self(lines)
    }

    /// As newuidmap(1) takes it: three numbers for each line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let words = |line: &Line| [line.inside, line.outside, line.count].map(|n| n.to_string());
        self.0.iter().flat_map(words).collect()
    }
}

/// The lines of the text of `/proc/PID/uid_map`, or `gid_map`: inside, outside, count.
pub(crate) fn lines(text: &str) -> Vec<(u32, u32, u32)> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    text.lines().filter_map(line).collect()
}

/// Who `inside` is outside.
pub(crate) fn outside(text: &str, inside: u32) -> Option<u32> {
    lines(text).into_iter().find_map(|(first, outside, count)| {
        outside.checked_add(inside.checked_sub(first).filter(|past| *past < count)?)
    })
}

/// Whether the text of `/proc/PID/uid_map`, or `gid_map`, has the ID `inside`.
pub(crate) fn has(text: &str, inside: u32) -> bool {
    outside(text, inside).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_root_inside_and_the_ranges_follow() {
        let map = IdMap::of_user(4000, &[100_000..165_536, 7..9]);
        assert_eq!(map.arguments().join(" "), "0 4000 1 1 100000 65536 65537 7 2",);
        assert_eq!(IdMap::of_user(5, &[]).arguments().join(" "), "0 5 1");
    }

    #[test]
    fn a_map_has_what_its_lines_have() {
        let text = "         0       4000          1\n         1     100000      65536\n";
        assert!(has(text, 0) && has(text, 5) && has(text, 65_536));
        assert_eq!(outside(text, 5), Some(100_004));
        assert!(!has(text, 65_537) && !has("0 4000 1", 5) && !has("", 0));
    }

    #[test]
    fn no_map_exceeds_the_numbers_there_are() {
        let map = IdMap::of_user(1, &[0..u32::MAX, 0..10]);
        assert_eq!(map.arguments().join(" "), format!("0 1 1 1 0 {}", u32::MAX - 1));
    }
}
