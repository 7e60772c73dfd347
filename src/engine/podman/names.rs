//! Names of our own in Podman's storage.

use crate::model::{Digest, Reference, UnitName};

/// What our names begin with.
const OURS: &str = "localhost/updaterd/keep/";

/// The repository of ours whose tags are the images that `unit` ran for `reference`, numbered as they
/// came. A name keeps an image from `podman image prune`, and its digests from being forgotten.
pub(super) fn shelf(unit: &UnitName, reference: &Reference) -> String {
    let stem = unit.as_str().trim_end_matches(".service").to_ascii_lowercase();
    let readable: String = stem
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    // What the readable part leaves out is in the digest.
    let digest = Digest::of(format!("{unit} {reference}").as_bytes());
    let readable: String = readable.chars().take(40).collect();
    format!("{OURS}u-{readable}-{}", digest.short()).replace("--", "-")
}

/// The repository and the number of a name of ours; `None` of any other name.
pub(super) fn place(name: &str) -> Option<(&str, u64)> {
    let (shelf, tag) = name.strip_prefix(OURS).and(name.rsplit_once(':'))?;
    Some((shelf, tag.parse().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_differ_and_are_known_again() {
        let reference: Reference = "quay.io/a:1".parse().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for unit in ["app.service", "App.service", "a\\x2dpp@1.service", "_.service"] {
            let shelf = shelf(&unit.parse().unwrap(), &reference);
            let name = format!("{shelf}:12");
            assert_eq!(name.parse::<Reference>().unwrap().to_string(), name);
            assert_eq!(place(&name), Some((shelf.as_str(), 12)));
            assert!(seen.insert(shelf));
        }
        let long = format!("{}.service", "a@".repeat(100));
        let name = shelf(&long.parse().unwrap(), &reference);
        assert!(name.parse::<Reference>().is_ok(), "{name}");
        for others in ["quay.io/a:1", "localhost/updaterd/keeper:1"] {
            assert_eq!(place(others), None);
        }
    }
}
