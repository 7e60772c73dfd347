//! Programs that run as units of their own, by systemd-run(1).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

pub const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

/// An argument that the program gets as it is. systemd puts the unit's variables in for `$NAME` and
/// `${NAME}`, and what they hold may come from anybody: in a script's text it would be carried out.
///
/// Not for the program's path, which is taken as it is.
pub fn literal(argument: &OsStr) -> OsString {
    let doubled = argument.as_bytes().iter().flat_map(|&byte| {
        let times = if byte == b'$' { 2 } else { 1 };
        std::iter::repeat_n(byte, times)
    });
    OsString::from_vec(doubled.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_is_left() {
        let written = |argument: &str| literal(argument.as_ref());
        assert_eq!(written("echo \"${MESSAGE}\" $UNIT"), "echo \"$${MESSAGE}\" $$UNIT");
        assert_eq!(written("a$$b"), "a$$$$b");
        assert_eq!(written("ä %n \\"), "ä %n \\");
        let odd = OsStr::from_bytes(b"\xff$");
        assert_eq!(literal(odd).as_bytes(), b"\xff$$");
    }
}
