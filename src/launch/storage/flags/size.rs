//! Sizes as Podman takes them: `64m`, `1g`, `65536`, `64k`, `10b`.

/// Bytes; `None` where it is no size.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("64m", 64 << 20),
            ("1G", 1 << 30),
            ("10b", 10),
            ("5kb", 5 << 10),
            ("0", 0),
            ("2MiB", 2 << 20),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for wrong in ["", "m", "-1", "1x", "1.5g", "99999999999999t", "1 m"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
