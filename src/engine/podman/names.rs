//! Names of our own in Podman's storage.

use crate::model::{Digest, Reference, UnitName};

/// The name by which the image stays that `unit` ran for `reference` before its last update. A name
/// keeps an image from `podman image prune`, and its digests from being forgotten.
pub(super) fn kept(unit: &UnitName, reference: &Reference) -> String {
    let stem = unit.as_str().trim_end_matches(".service").to_ascii_lowercase();
    let readable: String = stem
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    // What the readable part leaves out is in the digest.
    let digest = Digest::of(format!("{unit} {reference}").as_bytes());
    let readable: String = readable.chars().take(40).collect();
    format!("localhost/updaterd/keep/u-{readable}-{}:previous", digest.short()).replace("--", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_differ() {
        let reference: Reference = "quay.io/a:1".parse().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for unit in ["app.service", "App.service", "a\\x2dpp@1.service", "_.service"] {
            let name = kept(&unit.parse().unwrap(), &reference);
            assert_eq!(name.parse::<Reference>().unwrap().to_string(), name);
            assert!(seen.insert(name));
        }
        let long = format!("{}.service", "a@".repeat(100));
        let name = kept(&long.parse().unwrap(), &reference);
        assert!(name.parse::<Reference>().is_ok(), "{name}");
    }
}
