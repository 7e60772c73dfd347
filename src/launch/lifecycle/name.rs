//! Names and IDs of containers.

use crate::model::ContainerId;

/// Whether `text` can name a container: `[a-zA-Z0-9][a-zA-Z0-9_.-]*` (podman-run(1), `--name`),
/// at most 255 bytes, because it becomes part of file names.
pub(crate) fn is_valid(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.len() <= 255
        && text.bytes().all(word)
}

/// A value parser for clap.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    if is_valid(text) {
        Ok(text.to_owned())
    } else {
        Err("names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*".to_owned())
    }
}

/// A new random container ID. `None` where the kernel gives no random bytes.
pub(crate) fn new_id() -> Option<ContainerId> {
    let mut raw = [0u8; 32];
    let filled = rustix::rand::getrandom(&mut raw, rustix::rand::GetRandomFlags::empty()).ok()?;
    if filled != raw.len() {
        return None;
    }
    raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_podman() {
        for good in ["a", "web-1", "systemd-app.x_y", "9"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "a b", "a/b", "ä", &"a".repeat(256)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn ids_differ() {
        assert_ne!(new_id().unwrap(), new_id().unwrap());
    }
}
