//! `--tmpfs TARGET[:OPTIONS]` (podman-run(1)).

use crate::launch::storage::flags::volume::refused;
use crate::launch::storage::volume::{InvalidVolume, Options, Source, Volume, target};

/// Reads one. It begins with what the image has there, unless its options say `notmpcopyup`.
pub(crate) fn parse(text: &str) -> Result<Volume, InvalidVolume> {
    let (at, words) = text.split_once(':').unwrap_or((text, ""));
    let mut asked = Asked::new();
    if words.is_empty() {
        asked.options.set("noexec");
    }
    for word in words.split(',').filter(|word| !word.is_empty()) {
        if !asked.apply(word) {
            return Err(refused(text, word, "is not known"));
        }
    }
    asked.at(at)
}

/// A tmpfs while its options are read.
pub(super) struct Asked {
    pub(super) options: Options,
    data: Vec<String>,
    filled: bool,
}

impl Asked {
    pub(super) fn new() -> Self {
        Self { options: Options::new(&["nosuid", "nodev"]), data: Vec::new(), filled: true }
    }

    /// Whether `word` is an option of a tmpfs; it is set then.
    pub(super) fn apply(&mut self, word: &str) -> bool {
        match word {
            "ro" | "rw" | "suid" | "nosuid" | "dev" | "nodev" | "exec" | "noexec" => {
                self.options.set(word);
            }
            "U" => self.options.chown = true,
            "tmpcopyup" | "notmpcopyup" => self.filled = word == "tmpcopyup",
            _ => match word.split_once('=') {
                Some(("size" | "mode" | "nr_inodes" | "uid" | "gid", value))
                    if !value.is_empty() =>
                {
                    self.data.retain(|have| have.split('=').next() != word.split('=').next());
                    self.data.push(word.to_owned());
                }
                _ => return false,
            },
        }
        true
    }

    pub(super) fn at(self, at: &str) -> Result<Volume, InvalidVolume> {
        let source = Source::Tmpfs { data: self.data, filled: self.filled };
        Ok(Volume { source, target: target(at)?, options: self.options })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_are_the_mounts_or_the_file_systems() {
        let read = |text: &str| match parse(text).unwrap() {
            Volume { source: Source::Tmpfs { data, filled }, options, .. } => {
                (options.words.join(","), data.join(","), filled)
            }
            other => panic!("{other:?}"),
        };
        let of = |words: &str, data: &str, filled| (words.to_owned(), data.to_owned(), filled);
        assert_eq!(read("/t"), of("nosuid,nodev,noexec", "", true));
        assert_eq!(
            read("/t:rw,size=1m,mode=1777"),
            of("nosuid,nodev,rw", "size=1m,mode=1777", true)
        );
        assert_eq!(read("/t:exec,suid,notmpcopyup"), of("nodev,exec,suid", "", false));
        assert_eq!(read("/t:size=1m,size=2m").1, "size=2m");
        assert!(parse("/t:U").unwrap().options.chown);
        for wrong in ["t", "/t:size", "/t:size=", "/t:lowerdir=/", "/proc"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,60}", more in "[/t.:,=rosize]{0,30}") {
            for text in [text, more] {
                let _ = parse(&text);
            }
        }
    }
}
