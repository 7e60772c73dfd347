//! Sizes, shares and lists, as the flags have them. Pure.

use crate::launch::isolation::resources::InvalidLimit;

/// Bytes: a number, and one of b, k, m, g, t, p for powers of 1024, as Podman reads it (`1.5g`,
/// `64MB`, `1KiB`).
pub(super) fn bytes(flag: &'static str, text: &str) -> Result<u64, InvalidLimit> {
    let wanted = "a size, such as 512m or 1.5g";
    parse_bytes(text).ok_or_else(|| InvalidLimit::Value { flag, value: text.to_owned(), wanted })
}

/// The same, of any flag; `None` of what is no size.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit == "ib" => return None,
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    let bytes = number * 1024f64.powi(power);
    // Beyond 2^63 no cgroup counts.
    (bytes.is_finite() && (0.0..9.2e18).contains(&bytes)).then_some(bytes as u64)
}

/// `--cpus`: `None` is no limit.
pub(super) fn cpus(text: &str) -> Result<Option<f64>, InvalidLimit> {
    let wanted = "a number of CPUs, such as 1.5";
    let number = text.parse::<f64>().ok().filter(|number| (0.0..1e6).contains(number));
    let number =
        number.ok_or(InvalidLimit::Value { flag: "cpus", value: text.to_owned(), wanted })?;
    Ok((number > 0.0).then_some(number))
}

/// `cpu.weight` for the shares of cgroup v1: 2 is 1, the usual 1024 the usual 100, 262144 is 10000,
/// as runc and crun translate them since 2025: `10^((l² + 125 l) / 612 - 7 / 34)`, `l = log2(shares)`.
pub(super) fn weight(shares: u64) -> u64 {
    let log = (shares.clamp(2, 262_144) as f64).log2();
    let weight = 10f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0);
    // A hair above a whole number is that number.
    ((weight - 1e-9).ceil() as u64).clamp(1, 10_000)
}

/// Numbers and ranges, as cpuset(7) lists them.
pub(super) fn is_list(text: &str) -> bool {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok());
    let number = |text: &str| number(text).flatten() as Option<u32>;
    text.split(',').all(|part| match part.split_once('-') {
        None => number(part).is_some(),
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_podmans() {
        for (text, expected) in [
            ("0", 0),
            ("1024", 1024),
            ("1b", 1),
            ("1k", 1024),
            ("64MB", 64 << 20),
            ("1KiB", 1024),
            ("1.5g", 3 << 29),
            ("2 G", 2 << 30),
        ] {
            assert_eq!(parse_bytes(text), Some(expected), "{text}");
        }
        for text in ["", "-1", "1x", "m", "1.2.3", "1e3", "nan", "1ib", "99999p", "1 kk"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn shares_are_weights() {
        for (shares, expected) in
            [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (1 << 40, 10_000)]
        {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn lists_are_those_of_cpusets() {
        for text in ["0", "0-3", "0,2-3,7"] {
            assert!(is_list(text), "{text}");
        }
        for text in ["", "a", "3-1", "1,", "-1", "+1", "1-2-3", "0 1"] {
            assert!(!is_list(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,20}|[0-9.]{0,30}[kmgtpib]{0,3}") {
            let _ = parse_bytes(&text);
            let _ = cpus(&text);
            let _ = is_list(&text);
        }

        #[test]
        fn more_shares_are_no_less_weight(a in 0u64..300_000, b in 0u64..300_000) {
            prop_assert!(weight(a.min(b)) <= weight(a.max(b)));
        }
    }
}
