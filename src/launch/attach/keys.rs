//! `--detach-keys`: what is typed to leave a program that goes on. Pure.

use std::str::FromStr;

/// A sequence of keys; none where nobody can leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys(Vec<u8>);

/// Podman's.
pub(crate) const DEFAULT: &str = "ctrl-p,ctrl-q";

impl Keys {
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }
}

impl FromStr for Keys {
    type Err = String;

    /// Letters, and `ctrl-` with a letter or one of `@ [ \ ] ^ _`, with commas between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::none());
        }
        let key = |word: &str| match word.strip_prefix("ctrl-").map(str::as_bytes) {
            Some([key @ (b'a'..=b'z')]) => Some(key - b'a' + 1),
            Some([key @ (b'@' | b'['..=b'_')]) => Some(key - b'@'),
            None if word.len() == 1 => word.bytes().next().filter(u8::is_ascii_alphabetic),
            _ => None,
        };
        let keys = text.split(',').map(key).collect::<Option<Vec<_>>>();
        keys.map(Self).ok_or_else(|| {
            "keys are a-z, A-Z, or ctrl- with a-z, @, [, \\, ], ^, _, with commas between"
                .to_owned()
        })
    }
}

/// Finds the keys in what is typed, piece by piece.
#[derive(Debug)]
pub(crate) struct Matcher {
    keys: Keys,
    /// So many of them have been typed, and are held back.
    typed: usize,
}

impl Matcher {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, typed: 0 }
    }

    /// What of `bytes` is the program's, and whether the keys are complete now.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let Keys(keys) = &self.keys;
        let mut theirs = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if keys.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == keys.len() {
                    self.typed = 0;
                    return (theirs, true);
                }
                continue;
            }
            theirs.extend_from_slice(&keys[..self.typed]);
            self.typed = usize::from(keys.len() > 1 && keys.first() == Some(byte));
            if self.typed == 0 {
                theirs.push(*byte);
            }
        }
        (theirs, false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_podmans() {
        assert_eq!(DEFAULT.parse(), Ok(Keys(vec![16, 17])));
        assert_eq!("a,ctrl-@,ctrl-_".parse(), Ok(Keys(vec![b'a', 0, 31])));
        assert_eq!("".parse(), Ok(Keys::none()));
        for text in [",", "ctrl-", "ctrl-ab", "ab", "ctrl-A", "1", "a,"] {
            assert!(text.parse::<Keys>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_typed_in_pieces_is_found() {
        let mut matcher = Matcher::new(DEFAULT.parse().unwrap());
        assert_eq!(matcher.take(b"ls\x10"), (b"ls".to_vec(), false));
        assert_eq!(matcher.take(b"\x10x"), (b"\x10\x10x".to_vec(), false));
        assert_eq!(matcher.take(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(matcher.take(b"\x11rest"), (Vec::new(), true));
        assert_eq!(Matcher::new(Keys::none()).take(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }

    proptest! {
        #[test]
        fn nothing_typed_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut matcher = Matcher::new("z".parse().unwrap());
            let bytes: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'z').collect();
            prop_assert_eq!(matcher.take(&bytes), (bytes, false));
        }

        #[test]
        fn never_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<Keys>();
        }
    }
}
