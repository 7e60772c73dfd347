//! Subordinate IDs (subuid(5), subgid(5)): which of the host's users and groups belong to whom. Pure.

use std::ops::Range;

/// A user, as both files name one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) name: &'a str,
    /// The number of the user, in subgid(5) too; nobody is found by it where there is none.
    pub(crate) uid: Option<u32>,
}

/// The ranges that `text` gives to `owner`, in its order. A line that cannot be read is none: the
/// programs that check the map read the file again.
pub(crate) fn of(owner: Owner<'_>, text: &str) -> Vec<Range<u32>> {
    let number = owner.uid.map(|uid| uid.to_string());
    let is_owner = |name: &str| name == owner.name || Some(name) == number.as_deref();
    lines(text).filter(|(name, _)| is_owner(name)).map(|(_, range)| range).collect()
}

/// Where a range of `count` more would begin, past all that are given away already.
pub(crate) fn free(text: &str, count: u32) -> Option<u32> {
    // Below, distributions number people and services.
    const FIRST: u32 = 100_000;
    let start = lines(text).map(|(_, range)| range.end).max().unwrap_or(FIRST).max(FIRST);
    start.checked_add(count).map(|_| start)
}

fn lines(text: &str) -> impl Iterator<Item = (&str, Range<u32>)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, start, count) = (fields.next()?, fields.next()?, fields.next()?);
        let (start, count): (u32, u32) = (start.parse().ok()?, count.parse().ok()?);
        let end = start.checked_add(count)?;
        (count > 0 && !name.is_empty() && fields.next().is_none()).then_some((name, start..end))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "root:1:9\nsomeone:100000:65536\n# c\n4000:300000:10\nother:200000:65536\n\
                        someone:x:1\nsomeone:4294967295:2\nsomeone:7:0\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let of = |name, uid| of(Owner { name, uid }, TEXT);
        assert_eq!(of("someone", Some(4000)), [100_000..165_536, 300_000..300_010]);
        assert_eq!(of("someone", None), vec![100_000..165_536]);
        assert!(of("nobody", Some(65534)).is_empty());
    }

    #[test]
    fn what_is_free_comes_after_all_that_is_given_away() {
        assert_eq!(free(TEXT, 65_536), Some(300_010));
        assert_eq!(free("", 65_536), Some(100_000));
        assert_eq!(free("a:4294967000:200\n", 65_536), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)[a:0-9\n -]{0,100}") {
            let _ = of(Owner { name: "a", uid: Some(1) }, &text);
            let _ = free(&text, 65_536);
        }
    }
}
