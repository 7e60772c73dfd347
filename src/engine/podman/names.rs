//! Names of our own in Podman's storage.

use crate::model::{Digest, Reference, UnitName};

/// The names by which images stay that `unit` ran for `reference`, the newest first. A name keeps an
/// image from `podman image prune`, and its digests from being forgotten.
pub(super) fn kept(unit: &UnitName, reference: &Reference) -> [String; 2] {
    let stem = unit.as_str().trim_end_matches(".service").to_ascii_lowercase();
    let readable: String = stem
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    // What the readable part leaves out is in the digest.
    let digest = Digest::of(format!("{unit} {reference}").as_bytes());
    let readable: String = readable.chars().take(40).collect();
    let stem =
        format!("localhost/updaterd/keep/u-{readable}-{}", digest.short()).replace("--", "-");
    ["previous", "older"].map(|tag| format!("{stem}:{tag}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_differ() {
        let reference: Reference = "quay.io/a:1".parse().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for unit in ["app.service", "App.service", "a\\x2dpp@1.service", "_.service"] {
            for name in kept(&unit.parse().unwrap(), &reference) {
                assert_eq!(name.parse::<Reference>().unwrap().to_string(), name);
                assert!(seen.insert(name));
            }
        }
        let long = format!("{}.service", "a@".repeat(100));
        let [name, _] = kept(&long.parse().unwrap(), &reference);
        assert!(name.parse::<Reference>().is_ok(), "{name}");
    }
}
