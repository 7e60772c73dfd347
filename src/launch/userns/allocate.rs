//! IDs for `--userns=auto`: a range of the pool that no other container has. Pure.

use std::ops::Range;

/// The first `count` IDs in a row of `pool` that are in none of `taken`, the lowest that there are.
pub(crate) fn first_free(pool: &[Range<u32>], taken: &[Range<u32>], count: u32) -> Option<u32> {
    let mut taken = taken.to_vec();
    taken.sort_by_key(|range| range.start);
    let in_one = |range: &Range<u32>| {
        let mut start = range.start;
        for other in &taken {
            let fits = start.checked_add(count).is_some_and(|end| end <= other.start);
            if !fits && other.end > start {
                start = other.end;
            } else if fits {
                break;
            }
        }
        start.checked_add(count).filter(|end| *end <= range.end).map(|_| start)
    };
    pool.iter().find_map(in_one)
}

/// How many IDs the users and groups of an image make necessary, by its passwd(5) and group(5).
pub(crate) fn needed(passwd: &str, group: &str) -> u32 {
    let highest = |text: &str, field: usize| {
        text.lines().filter_map(|line| line.split(':').nth(field)?.parse::<u32>().ok()).max()
    };
    // Nobody needs no user of his own; distributions give him one of the last.
    let ids = [highest(passwd, 2), highest(passwd, 3), highest(group, 2)];
    let highest = ids.into_iter().flatten().max().unwrap_or_default();
    highest.saturating_add(1).clamp(LEAST, MOST)
}

/// As Podman has them.
const LEAST: u32 = 1024;
const MOST: u32 = 65_536;

#[cfg(test)]
mod tests {
    use std::slice;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lowest_that_are_free() {
        let pool = [100..200, 300..1000];
        assert_eq!(first_free(&pool, &[], 50), Some(100));
        assert_eq!(first_free(&pool, slice::from_ref(&(100..150)), 50), Some(150));
        assert_eq!(first_free(&pool, &[160..170, 100..150], 50), Some(300));
        assert_eq!(first_free(&pool, &[0..120, 110..130], 50), Some(130));
        assert_eq!(first_free(&pool, slice::from_ref(&(300..310)), 700), None);
        assert_eq!(first_free(&[], &[], 1), None);
    }

    #[test]
    fn an_image_says_what_it_needs() {
        assert_eq!(needed("", ""), 1024);
        let passwd = "root:x:0:0::/:/bin/sh\napp:x:3000:3001::/:/bin/sh\n";
        assert_eq!(needed(passwd, "app:x:4000:\n"), 4001);
        assert_eq!(needed("nobody:x:4294967294:1::/:/", ""), 65_536);
    }

    proptest! {
        #[test]
        fn what_is_given_is_free(
            starts in proptest::collection::vec((0u32..2000, 1u32..300), 0..8),
            count in 1u32..400,
        ) {
            let pool = [100..900, 1000..1500];
            let taken: Vec<_> = starts.iter().map(|(start, n)| *start..start + n).collect();
            if let Some(start) = first_free(&pool, &taken, count) {
                let end = start + count;
                prop_assert!(pool.iter().any(|range| range.start <= start && end <= range.end));
                prop_assert!(taken.iter().all(|other| other.end <= start || end <= other.start));
            } else {
                // Nor is there a place that was passed over.
                for start in (100..1500u32).filter(|start| pool.iter().any(|r| r.contains(start))) {
                    let end = start + count;
                    let whole = pool.iter().any(|r| r.start <= start && end <= r.end);
                    let free = taken.iter().all(|o| o.end <= start || end <= o.start);
                    prop_assert!(!(whole && free), "{start}");
                }
            }
        }
    }
}
