//! `--umask`. Pure.

/// Of a container's programs, whatever the unit's `UMask=` is.
pub(crate) const DEFAULT: u32 = 0o022;

/// An octal number of permissions.
pub(crate) fn parse(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mask = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mask.filter(|mask| *mask <= 0o777)
        .ok_or_else(|| "an octal number from 0 to 0777 is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_octal() {
        assert_eq!((parse("0022"), parse("77"), parse("0")), (Ok(0o22), Ok(0o77), Ok(0)));
        for text in ["", "8", "-1", "+7", "1000", "0x1", "777777777777777777777777"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
