//! Units of `podman kube play`: whether their YAML lets a start ask the registry.

use std::path::{Path, PathBuf};

use crate::model::UnitName;

/// The unit that Podman brings along; its instance is the path of the YAML.
const TEMPLATE: &str = "podman-kube@";

/// The longest file that is looked into, in bytes.
const MAX: u64 = 1 << 20;

/// Whether a start of the unit may ask the registry for an image that is there. Podman 4.3 does,
/// whatever the tag, unless the YAML says otherwise; where that cannot be read, it may.
pub(super) fn may_ask(unit: &UnitName) -> bool {
    yaml(unit).and_then(|path| read(&path)).is_none_or(|text| !all_are_kept(&text))
}

fn yaml(unit: &UnitName) -> Option<PathBuf> {
    let instance = unit.as_str().strip_prefix(TEMPLATE)?.strip_suffix(".service")?;
    let path = PathBuf::from(unescape(instance)?);
    path.is_absolute().then_some(path)
}

/// What `%I` is (systemd.unit(5)).
fn unescape(instance: &str) -> Option<String> {
    let mut parts = instance.replace('-', "/");
    while let Some(at) = parts.find("\\x") {
        let code = u8::from_str_radix(parts.get(at + 2..at + 4)?, 16).ok()?;
        // Others are parts of a character.
        let character = char::from(code).is_ascii_graphic().then(|| char::from(code))?;
        parts.replace_range(at..at + 4, character.encode_utf8(&mut [0; 4]));
    }
    Some(parts)
}

fn read(path: &Path) -> Option<String> {
    let is_short = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= MAX);
    if is_short { std::fs::read_to_string(path).ok() } else { None }
}

/// Whether there is a policy for each image, and none of them asks. Of YAML, only one key on a line
/// is understood: what is written otherwise counts as not said.
fn all_are_kept(text: &str) -> bool {
    let value = |line: &str, key: &str| {
        let line = line.trim().trim_start_matches("- ").trim_start();
        let value = line.strip_prefix(key)?.split(" #").next().unwrap_or_default().trim();
        Some(value.trim_matches(['"', '\'']).to_ascii_lowercase())
    };
    let images = text.lines().filter_map(|line| value(line, "image:")).count();
    let policies = text.lines().filter_map(|line| value(line, "imagePullPolicy:"));
    let kept = policies.filter(|policy| matches!(policy.as_str(), "ifnotpresent" | "never"));
    images > 0 && kept.count() == images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_a_path() {
        let path = |unit: &str| yaml(&unit.parse().unwrap());
        let expected = Some(PathBuf::from("/srv/my-app.yaml"));
        assert_eq!(path("podman-kube@-srv-my\\x2dapp.yaml.service"), expected);
        for other in ["app.service", "podman-kube@app.service", "podman-kube@-a\\x.service"] {
            assert_eq!(path(other), None, "{other}");
        }
    }

    #[test]
    fn each_image_needs_its_policy() {
        let one = "  containers:\n  - image: quay.io/a:1\n    name: a\n";
        let kept = "    imagePullPolicy: \"IfNotPresent\" # why\n";
        for (text, expected) in [
            (String::new(), false),
            (one.into(), false),
            (format!("{one}{kept}"), true),
            (format!("{one}{kept}{one}"), false),
            (format!("{one}{kept}{one}    imagePullPolicy: Always\n"), false),
            (format!("{one}{kept}{one}    imagePullPolicy: Never\n"), true),
            (format!("{one}#{kept}"), false),
        ] {
            assert_eq!(all_are_kept(&text), expected, "{text}");
        }
    }
}
