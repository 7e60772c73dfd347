//! What an operator has a service asked, to see that it really serves.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A question that a service answers when it is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Probe {
    /// `http://…`: well is a status from 200 to 399. Redirections are not followed.
    Http(String),
    /// `tcp://HOST:PORT`: well is a connection that is taken.
    Tcp(String),
    /// A program with its arguments: well is an exit status of 0. No shell is between.
    Command(Vec<String>),
}

/// Why what was written is no probe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProbe {
    #[error(
        "{0:?} is no probe: it is \"http://HOST[:PORT]/PATH\", \"tcp://HOST:PORT\", or a list of a \
         program and its arguments, such as [\"/usr/bin/pg_isready\", \"-q\"]"
    )]
    Form(String),
    #[error("the program of a probe must be a path from the root, which {0:?} is not")]
    Program(String),
    #[error("a probe that is a list begins with the program, and this one is empty")]
    Empty,
}

/// As it is written down: a text, or a list.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list")]
enum Written {
    Text(String),
    List(Vec<String>),
}

impl TryFrom<Written> for Probe {
    type Error = InvalidProbe;

    fn try_from(written: Written) -> Result<Self, InvalidProbe> {
        match written {
            Written::Text(text) => question(text),
            Written::List(command) => match command.first() {
                None => Err(InvalidProbe::Empty),
                Some(program) if !program.starts_with('/') => {
                    Err(InvalidProbe::Program(program.clone()))
                }
                Some(_) => Ok(Self::Command(command)),
            },
        }
    }
}

fn question(text: String) -> Result<Probe, InvalidProbe> {
    let is_plain = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic());
    if let Some(rest) = text.strip_prefix("http://")
        && is_plain(rest)
        && !rest.starts_with(['/', ':', '?', '#'])
    {
        return Ok(Probe::Http(text));
    }
    if let Some(place) = text.strip_prefix("tcp://")
        && let Some((host, port)) = place.rsplit_once(':')
        && is_plain(host)
        && !host.contains('/')
        && port.parse::<u16>().is_ok_and(|port| port > 0)
    {
        return Ok(Probe::Tcp(place.to_owned()));
    }
    Err(InvalidProbe::Form(text))
}

impl From<Probe> for Written {
    fn from(probe: Probe) -> Self {
        match probe {
            Probe::Command(command) => Self::List(command),
            other => Self::Text(other.to_string()),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url),
            Self::Tcp(place) => write!(f, "tcp://{place}"),
            // Arguments may hold what is nobody's business.
            Self::Command(command) => {
                f.write_str(command.first().map(String::as_str).unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Probe, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn probes_are_read_and_written() {
        for json in [
            r#""http://127.0.0.1:8080/healthz""#,
            r#""http://[::1]/""#,
            r#""tcp://127.0.0.1:5432""#,
            r#""tcp://[::1]:53""#,
            r#"["/usr/bin/pg_isready","-q"]"#,
        ] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn what_is_no_probe_is_refused() {
        for json in [
            r#""""#,
            r#""https://127.0.0.1/""#,
            r#""http://""#,
            r#""http:///x""#,
            r#""http://a b/""#,
            r#""tcp://host""#,
            r#""tcp://host:0""#,
            r#""tcp://:80""#,
            r#""tcp://host:99999""#,
            r#""/usr/bin/true""#,
            r#"[]"#,
            r#"["true"]"#,
            "7",
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn arguments_are_not_shown() {
        let probe = read(r#"["/usr/bin/check","--password=secret"]"#).unwrap();
        assert_eq!(probe.to_string(), "/usr/bin/check");
    }
}
