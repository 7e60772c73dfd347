//! `--secret NAME[,KEY=VALUE…]` (podman-run(1)).

use std::path::PathBuf;

use crate::launch::lifecycle::name;
use crate::launch::storage::volume::target;

/// Where secrets lie in a container.
const DIRECTORY: &str = "/run/secrets";

/// A secret that the container is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretFlag {
    pub(crate) name: String,
    pub(crate) given: Given,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// As a file; the owner is the container's user unless it was said.
    File { target: PathBuf, uid: Option<u32>, gid: Option<u32>, mode: u32 },
    /// As an environment variable.
    Variable(String),
}

/// Why a secret is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSecret {
    #[error("--secret {0:?} does not begin with a secret's name")]
    Name(String),
    #[error("--secret {secret:?}: {option:?} {reason}")]
    Option { secret: String, option: String, reason: &'static str },
}

/// Reads one. Files are their owner's alone (0400).
pub(crate) fn parse(text: &str) -> Result<SecretFlag, InvalidSecret> {
    let refused = |option: &str, reason| InvalidSecret::Option {
        secret: text.to_owned(),
        option: option.to_owned(),
        reason,
    };
    let mut words = text.split(',');
    let name = words.next().unwrap_or_default();
    let name = name.strip_prefix("source=").unwrap_or(name);
    if !name::is_valid(name) {
        return Err(InvalidSecret::Name(text.to_owned()));
    }
    let (mut kind, mut place, mut uid, mut gid, mut mode) = ("mount", None, None, None, None);
    for word in words {
        let number = |value: &str| {
            value
                .parse::<u32>()
                .ok()
                .filter(|id| *id != u32::MAX)
                .map(Some)
                .ok_or_else(|| refused(word, "is no ID"))
        };
        match word.split_once('=').unwrap_or((word, "")) {
            ("type", value @ ("mount" | "env")) => kind = value,
            ("type", _) => return Err(refused(word, "is neither mount nor env")),
            ("target", value) if !value.is_empty() => place = Some(value),
            ("uid", value) => uid = number(value)?,
            ("gid", value) => gid = number(value)?,
            ("mode", value) => {
                let bits = u32::from_str_radix(value.trim_start_matches("0o"), 8).ok();
                let bits = bits.filter(|bits| bits & !0o777 == 0);
                mode = Some(bits.ok_or_else(|| refused(word, "is no mode, such as 0440"))?);
            }
            _ => return Err(refused(word, "is not known")),
        }
    }
    let given = if kind == "env" {
        if uid.is_some() || gid.is_some() || mode.is_some() {
            return Err(refused("type=env", "has no owner and no mode"));
        }
        let variable = place.unwrap_or(name);
        if variable.contains(['=', '\0']) {
            return Err(refused(variable, "is no name of a variable"));
        }
        Given::Variable(variable.to_owned())
    } else {
        let place = place.unwrap_or(name);
        let path =
            if place.starts_with('/') { place.to_owned() } else { format!("{DIRECTORY}/{place}") };
        let target =
            target(&path).map_err(|_| refused(place, "is no path below /, without \"..\""))?;
        if target == std::path::Path::new(DIRECTORY) {
            return Err(refused(place, "is no name of a file"));
        }
        Given::File { target, uid, gid, mode: mode.unwrap_or(0o400) }
    };
    Ok(SecretFlag { name: name.to_owned(), given })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_read() {
        let file = |text: &str| match parse(text).unwrap().given {
            Given::File { target, uid, gid, mode } => {
                (target.display().to_string(), uid, gid, mode)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(file("db"), ("/run/secrets/db".into(), None, None, 0o400));
        assert_eq!(
            file("db,target=sub/x,uid=7,gid=8,mode=0440"),
            ("/run/secrets/sub/x".into(), Some(7), Some(8), 0o440)
        );
        assert_eq!(file("source=db,type=mount,target=/etc/x").0, "/etc/x");
        assert_eq!(parse("db,type=env").unwrap().given, Given::Variable("db".into()));
        assert_eq!(parse("db,type=env,target=PW").unwrap().given, Given::Variable("PW".into()));
        for wrong in [
            "",
            ",x",
            "a/b",
            "db,type=x",
            "db,mode=9",
            "db,mode=7777",
            "db,uid=-1",
            "db,wild",
            "db,target=../x",
            "db,type=env,uid=1",
            "db,type=env,target=A=B",
            "db,target=.",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z]{0,3}(,[a-z]{0,6}=[a-z0-9./]{0,6}){0,3}") {
            let _ = parse(&text);
        }
    }
}
