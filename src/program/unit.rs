//! Programs as units of their own, by systemd-run(1).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

use tokio::process::Command;

use super::child;

const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

/// The unit of a program that does not run as our child, with our limits.
#[derive(Debug)]
pub struct Unit<'a> {
    pub description: &'a str,
    /// `NAME=VALUE`, as systemd.exec(5) and its like have them.
    pub properties: &'a [&'a str],
    /// All that it has in its environment. Who may ask systemd for a unit's properties sees it.
    pub environment: Vec<(&'a str, OsString)>,
    /// It ends by then: where we are killed, nobody else ends it.
    pub limit: Duration,
}

/// A program as a unit of its own, without a shell, with our standard streams.
pub fn apart(
    unit: Unit<'_>,
    program: &OsStr,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut words: Vec<OsString> =
        ["--quiet", "--pipe", "--wait", "--collect"].map(OsString::from).into();
    words.push(format!("--description={}", unit.description).into());
    words.extend(unit.properties.iter().map(|limit| format!("--property={limit}").into()));
    words.push(format!("--property=RuntimeMaxSec={}", unit.limit.as_secs()).into());
    words.extend(unit.environment.into_iter().map(|(name, value)| {
        let mut variable = OsString::from(format!("--setenv={name}="));
        variable.push(value);
        variable
    }));
    words.extend(["--".into(), program.to_owned()]);
    words.extend(arguments.into_iter().map(|argument| literal(argument.as_ref())));
    child(SYSTEMD_RUN.as_ref(), words)
}

/// An argument that the program gets as it is. systemd puts the unit's variables in for `$NAME` and
/// `${NAME}`, and what they hold may come from anybody: in a script's text it would be carried out.
///
/// Not for the program's path, which is taken as it is.
fn literal(argument: &OsStr) -> OsString {
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

    #[test]
    fn a_unit_has_what_it_is_given_and_its_arguments_as_they_are() {
        let unit = Unit {
            description: "calls it",
            properties: &["DynamicUser=yes"],
            environment: vec![("WHAT", "a $b".into())],
            limit: Duration::from_secs(7),
        };
        let command = apart(unit, "/opt/$it".as_ref(), ["${WHAT}"]);
        let words: Vec<&OsStr> = command.as_std().get_args().collect();
        let own = [
            "--description=calls it",
            "--property=DynamicUser=yes",
            "--property=RuntimeMaxSec=7",
            "--setenv=WHAT=a $b",
            "--",
            "/opt/$it",
            "$${WHAT}",
        ];
        assert_eq!(words[4..], own);
    }
}
