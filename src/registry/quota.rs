//! What a host says of its limit on pulls, in the headers of an answer.
//!
//! `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`, as Docker Hub has them. A
//! limit without a window says nothing of pulls: some front ends count requests a minute so.

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::model::failure::excerpt;
use crate::update::port::Budget;

/// The longest window that is believed, in seconds: a week.
const MAX_WINDOW: u64 = 7 * 24 * 3600;

/// The budget that an answer tells of, where it does.
pub(super) fn budget(headers: &HeaderMap, now: Timestamp) -> Option<Budget> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let (limit, window) = counted(text("ratelimit-limit")?)?;
    let (remaining, also) = counted(text("ratelimit-remaining")?)?;
    let window = window.or(also).filter(|window| (1..=MAX_WINDOW).contains(window))?;
    let counted_for = text("docker-ratelimit-source").map(excerpt);
    Some(Budget { limit, remaining, window, counted_for, seen: now })
}

/// `100;w=21600`, of a list the first.
fn counted(text: &str) -> Option<(u64, Option<u64>)> {
    let mut parts = text.split(',').next()?.split(';').map(str::trim);
    let number = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((number, window))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn told(limit: &'static str, remaining: &'static str) -> Option<(u64, u64, u64)> {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-limit", HeaderValue::from_static(limit));
        headers.insert("ratelimit-remaining", HeaderValue::from_static(remaining));
        let Budget { limit, remaining, window, .. } = budget(&headers, Timestamp::UNIX_EPOCH)?;
        Some((limit, remaining, window))
    }

    #[test]
    fn reads_what_docker_hub_says() {
        assert_eq!(told("100;w=21600", "76;w=21600"), Some((100, 76, 21600)));
        assert_eq!(told("100", " 0 ; w=21600"), Some((100, 0, 21600)));
        assert_eq!(told("100;w=21600, 500;w=86400", "76"), Some((100, 76, 21600)));
    }

    #[test]
    fn anything_else_says_nothing() {
        for (limit, remaining) in [
            ("100", "76"),
            ("", ""),
            ("many;w=21600", "76"),
            ("100;w=0", "76"),
            ("-1;w=60", "76"),
            ("100;w=99999999999", "76"),
            ("99999999999999999999;w=60", "76"),
        ] {
            assert_eq!(told(limit, remaining), None, "{limit:?} {remaining:?}");
        }
        assert_eq!(budget(&HeaderMap::new(), Timestamp::UNIX_EPOCH), None);
    }
}
