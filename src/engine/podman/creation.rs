//! What the command that made a container says of its next start.

use super::kube;
use crate::model::{Asker, Asking, Container, Policy, Reference};

/// The shortest beginning of an ID that is taken for one.
const DIGITS: usize = 12;

/// Whether the image was named by its ID: such a container gets the same image at each start.
pub(super) fn names_id(command: &[String], id: &str) -> bool {
    command.iter().any(|word| {
        let digits = word.strip_prefix("sha256:").unwrap_or(word);
        digits.len() >= DIGITS && id.starts_with(digits)
    })
}

/// Whether the container's start asks the registry, and how, where it is kept up to date from there.
pub(super) fn asks_itself(container: &Container, command: &[String]) -> Option<Asker> {
    let unit = container.unit.as_ref()?;
    let reference = &container.source.reference;
    if container.policy != Ok(Policy::Registry) || reference.digest().is_some() {
        return None;
    }
    let how = match pull_policy(command, reference) {
        Some(policy) => Asking::Pull(policy.to_owned()),
        // No command made it: `kube play` did.
        None if command.is_empty() && kube::may_ask(unit) => Asking::KubePlay,
        None => return None,
    };
    Some(Asker { unit: unit.clone(), container: container.name.clone(), how })
}

/// The value of `--pull`, where it asks the registry for an image that is there.
fn pull_policy<'a>(command: &'a [String], reference: &Reference) -> Option<&'a str> {
    // What follows the image is the container's own command.
    let is_image = |word: &&String| word.parse::<Reference>().is_ok_and(|word| &word == reference);
    let flags: Vec<&str> =
        command.iter().take_while(|word| !is_image(word)).map(String::as_str).collect();
    let joined = flags.iter().filter_map(|word| word.strip_prefix("--pull="));
    let apart = flags.windows(2).filter(|pair| pair[0] == "--pull").map(|pair| pair[1]);
    joined.chain(apart).find(|policy| {
        ["always", "newer", "ifnewer"].iter().any(|asks| asks.eq_ignore_ascii_case(policy))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn an_id_is_no_name() {
        let id = "0123456789abcdef".repeat(4);
        for (line, expected) in [
            ("podman run 0123456789ab", true),
            (&format!("podman run sha256:{id} sh"), true),
            ("podman run quay.io/a sh", false),
            ("podman run 0123", false),
            ("", false),
        ] {
            assert_eq!(names_id(&words(line), &id), expected, "{line}");
        }
    }

    #[test]
    fn a_flag_of_the_container_s_own_command_is_none() {
        let reference = "quay.io/a:1".parse().unwrap();
        for (line, expected) in [
            ("podman run --pull=newer quay.io/a:1", Some("newer")),
            ("podman run --pull Always quay.io/a:1", Some("Always")),
            ("podman run --pull=missing quay.io/a:1", None),
            ("podman run --pull never quay.io/a:1", None),
            ("podman run quay.io/a:1 tool --pull=always", None),
            ("podman run quay.io/a:1", None),
        ] {
            assert_eq!(pull_policy(&words(line), &reference), expected, "{line}");
        }
    }
}
