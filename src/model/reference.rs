//! Image references: `registry.example:5000/team/app:1.2@sha256:…`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Digest;

/// A normalised, fully qualified image reference: `docker.io/library/nginx:latest`.
///
/// The grammar is that of the distribution project (`distribution/reference`, also in
/// containers-transports(5), "docker://"). A name without a registry is not accepted: which
/// registry it means is configuration, not grammar (see [`InvalidReference::ShortName`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The longest registry and repository, in bytes, as the distribution project has it. With any tag and
/// digest, what is written is never longer than what can be read.
const MAX_NAME: usize = 255;

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    #[error("image reference {0:?} is empty or longer than {max} bytes", max = Reference::MAX)]
    Length(String),
    #[error(
        "{0:?} is a short name: a fully-qualified image reference such as \"registry.example/app:1\" is needed"
    )]
    ShortName(String),
    #[error("image reference {reference:?}: {what}")]
    Part { reference: String, what: &'static str },
}

impl Reference {
    /// The longest reference accepted, in bytes.
    pub const MAX: usize = 1024;

    /// The registry as written, with its port: `quay.io`, `localhost:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository below the registry: `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` is filled in where neither tag nor digest was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository, without tag and digest: what a quarantine is keyed by.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository pinned to `digest`, without a tag.
    pub fn pinned(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("docker://").unwrap_or(text);
        let shown = || text.chars().take(200).collect::<String>();
        if text.is_empty() || text.len() > Self::MAX {
            return Err(InvalidReference::Length(shown()));
        }
        let fail = |what| InvalidReference::Part { reference: shown(), what };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest =
                    digest.parse().map_err(|_| fail("what follows @ is not a sha256 digest"))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (registry, path) =
            rest.split_once('/').ok_or_else(|| InvalidReference::ShortName(shown()))?;
        if !looks_like_registry(registry) {
            return Err(InvalidReference::ShortName(shown()));
        }
        if !is_registry(registry) {
            return Err(fail("the registry is not HOST or HOST:PORT"));
        }
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (path, None),
        };
        if tag.is_some_and(|tag| !valid_tag(tag)) {
            return Err(fail("the tag has characters that a tag cannot have, or more than 128"));
        }
        if !path.split('/').all(valid_component) {
            return Err(fail("the repository has characters that a repository cannot have"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        let registry = match registry.to_ascii_lowercase().as_str() {
            "index.docker.io" => "docker.io".to_owned(),
            other => other.to_owned(),
        };
        let official = registry == "docker.io" && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path.to_owned() };
        if registry.len() > MAX_NAME || repository.len() > MAX_NAME {
            return Err(fail("the registry or the repository has more than 255 characters"));
        }
        Ok(Self { registry, repository, tag, digest })
    }
}

/// The rule of the distribution project: a first component with a dot, a colon, or `localhost`.
fn looks_like_registry(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

/// Whether `text` is `HOST` or `HOST:PORT`.
pub(super) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("ipv6", if port.is_empty() { None } else { port.strip_prefix(':').or(Some("")) })
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let valid_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    host.split('.').all(label) && port.is_none_or(valid_port)
}

fn valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = tag.bytes().next().is_some_and(word);
    first && tag.len() <= 128 && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn valid_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Reference {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn normalises() {
        for (text, normal) in [
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
            ("docker://quay.io/a/b", "quay.io/a/b:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("localhost/app", "localhost/app:latest"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("[fe80::1]/app:x", "[fe80::1]/app:x"),
            ("Quay.IO/a__b/c-d.e:1", "quay.io/a__b/c-d.e:1"),
        ] {
            assert_eq!(parse(text).to_string(), normal);
        }
    }

    #[test]
    fn a_digest_needs_no_tag_and_keeps_one() {
        let digest = Digest::of(b"x");
        let pinned = parse(&format!("quay.io/a@{digest}"));
        assert_eq!((pinned.tag(), pinned.digest()), (None, Some(&digest)));
        assert_eq!(parse(&format!("quay.io/a:1@{digest}")).tag(), Some("1"));
    }

    /// Found by a fuzzer: with the tag that was filled in, or pinned, it was too long to be read again.
    #[test]
    fn the_longest_name_is_read_again_with_all_that_it_may_have() {
        let registry = format!("{}r", "r.".repeat(127));
        let (path, tag, digest) = ("p".repeat(255), "t".repeat(128), Digest::of(b"x"));
        let longest = format!("{registry}/{path}:{tag}@{digest}");
        for text in [&longest, &format!("{registry}/{path}"), &format!("{registry}/{path}:{tag}")] {
            let reference = parse(text);
            assert_eq!(parse(&reference.to_string()), reference);
            assert_eq!(parse(&reference.pinned(&digest).to_string()), reference.pinned(&digest));
        }
        let hub = format!("docker.io/{}", "p".repeat(248));
        for text in [format!("r.{registry}/a"), format!("r.io/{path}p"), hub] {
            let refused = text.parse::<Reference>();
            assert!(matches!(refused, Err(InvalidReference::Part { .. })), "{refused:?}");
        }
    }

    #[test]
    fn refuses() {
        assert!(matches!("nginx".parse::<Reference>(), Err(InvalidReference::ShortName(_))));
        assert!(matches!("team/nginx:1".parse::<Reference>(), Err(InvalidReference::ShortName(_))));
        for bad in [
            "",
            "quay.io/",
            "quay.io/A",
            "quay.io/a:",
            "quay.io/a:-x",
            "quay.io/a@sha256:1",
            "quay.io/a/../b",
            "quay.io:x/a",
            "quay.io:/a",
            "quay.io:0/a",
            "[::1/a",
            "[::1]x/a",
            "quay.io/a b",
            "quay.io/a___b",
            "-x.io/a",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<Reference>();
        }

        #[test]
        fn reads_what_it_writes(
            host in "[a-z][a-z0-9]{0,8}(\\.[a-z]{2,4}|:[1-9][0-9]{0,3})",
            path in "[a-z0-9]{1,5}([._-][a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,5}){0,2}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            digest in any::<Option<u8>>(),
        ) {
            let mut text = format!("{host}/{path}");
            if let Some(tag) = &tag { text.push_str(&format!(":{tag}")); }
            if let Some(seed) = digest { text.push_str(&format!("@{}", Digest::of(&[seed]))); }
            let reference = parse(&text);
            prop_assert_eq!(parse(&reference.to_string()), reference);
        }
    }
}
