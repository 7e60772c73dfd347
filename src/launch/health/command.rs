//! What a check runs. Pure.

use serde::{Deserialize, Serialize};

/// A check's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Test {
    /// No check at all, whatever the image says.
    None,
    /// A program and its arguments.
    Words(Vec<String>),
}

/// Reads a flag's value (podman-run(1), `--health-cmd`): a command for the shell, a JSON list of
/// words, or `none`. `CMD`, `CMD-SHELL` and `NONE` in front mean what they mean in images. `None`
/// where there is nothing to run.
pub(crate) fn of_flag(text: &str) -> Option<Test> {
    if let Ok(words) = serde_json::from_str::<Vec<String>>(text) {
        let is_plain = words.first().is_some_and(|first| keyword(first).is_none());
        return match words.as_slice() {
            // As in Podman, one word may be a whole line.
            [line] if is_plain => shell(line),
            _ if is_plain => program(&words),
            _ => of_image(&words),
        };
    }
    let text = text.trim();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match keyword(first) {
        Some(Keyword::None) if rest.is_empty() => Some(Test::None),
        Some(Keyword::Program) => {
            program(&rest.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        }
        Some(Keyword::Shell) => shell(rest),
        _ => shell(text),
    }
}

/// Reads an image's `Healthcheck.Test` (docker's image specification, v1.2): the first word says
/// how the others are meant. `None` where that is nothing known.
pub(crate) fn of_image(words: &[String]) -> Option<Test> {
    let (first, rest) = words.split_first()?;
    match keyword(first)? {
        Keyword::None => Some(Test::None),
        Keyword::Program => program(rest),
        Keyword::Shell => shell(&rest.join(" ")),
    }
}

enum Keyword {
    None,
    Program,
    Shell,
}

fn keyword(word: &str) -> Option<Keyword> {
    match word {
        "none" | "NONE" => Some(Keyword::None),
        "CMD" => Some(Keyword::Program),
        "CMD-SHELL" => Some(Keyword::Shell),
        _ => None,
    }
}

fn program(words: &[String]) -> Option<Test> {
    words.first().filter(|word| !word.is_empty()).map(|_| Test::Words(words.to_vec()))
}

fn shell(line: &str) -> Option<Test> {
    let words = ["/bin/sh", "-c", line].map(str::to_owned);
    (!line.trim().is_empty()).then(|| Test::Words(words.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(test: Option<Test>) -> Vec<String> {
        match test {
            Some(Test::Words(words)) => words,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flag_is_a_line_or_a_list() {
        let shell = ["/bin/sh", "-c", "curl -f x || exit 1"];
        assert_eq!(words(of_flag("curl -f x || exit 1")), shell);
        assert_eq!(words(of_flag("CMD-SHELL curl -f x || exit 1")), shell);
        assert_eq!(words(of_flag("[\"curl -f x || exit 1\"]")), shell);
        assert_eq!(words(of_flag("[\"CMD-SHELL\", \"curl -f x || exit 1\"]")), shell);
        for list in ["[\"/check\", \"a b\"]", "[\"CMD\", \"/check\", \"a b\"]"] {
            assert_eq!(words(of_flag(list)), ["/check", "a b"]);
        }
        assert_eq!(words(of_flag("CMD /check a")), ["/check", "a"]);
        for none in ["none", "NONE", "[\"NONE\"]", "[\"none\"]"] {
            assert_eq!(of_flag(none), Some(Test::None), "{none}");
        }
        for nothing in ["", " ", "[]", "CMD", "CMD-SHELL", "[\"CMD\"]", "[\"\"]"] {
            assert_eq!(of_flag(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn an_image_says_how_its_words_are_meant() {
        let read = |list: &[&str]| {
            of_image(&list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(words(read(&["CMD-SHELL", "x && y"])), ["/bin/sh", "-c", "x && y"]);
        assert_eq!(words(read(&["CMD", "x", "y"])), ["x", "y"]);
        assert_eq!(read(&["NONE"]), Some(Test::None));
        for unknown in [&[][..], &["x"], &["CMD"]] {
            assert_eq!(read(unknown), None);
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,60}") {
            let _ = of_flag(&text);
        }
    }
}
