//! Files of `EnvironmentFile=` (systemd.exec(5)): variables as systemd reads them, which is not as a shell does.

use std::iter::Peekable;
use std::str::Chars;

/// The value of the variable `name`; the last one, where it is there more than once.
pub(super) fn value(text: &str, name: &str) -> Option<String> {
    let mut rest = text.chars().peekable();
    let mut found = None;
    while rest.peek().is_some() {
        skip(&mut rest, |c| c.is_whitespace());
        let key: String = take(&mut rest, |c| c != '=' && c != '\n');
        let is_comment = key.starts_with(['#', ';']);
        match rest.next() {
            Some('=') if !is_comment => {
                let value = assigned(&mut rest);
                if key.trim_end() == name {
                    found = Some(value);
                }
            }
            Some('=') => skip(&mut rest, |c| c != '\n'),
            _ => {}
        }
    }
    found
}

/// What follows `=`, to the end of its line: words in quotes or not, without a space at either end.
fn assigned(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    // How much of it stays: spaces at its end are none of it, unless they are quoted.
    let mut kept = 0;
    skip(rest, is_blank);
    while let Some(c) = rest.next() {
        match c {
            '\n' => break,
            '\'' => value.extend(std::iter::from_fn(|| rest.next().filter(|c| *c != '\''))),
            '"' => quoted(rest, &mut value),
            '\\' => value.extend(rest.next().filter(|c| *c != '\n')),
            c => value.push(c),
        }
        if !is_blank(c) {
            kept = value.len();
        }
    }
    value.truncate(kept);
    value
}

/// Between double quotes, a backslash stands before what would mean something else.
fn quoted(rest: &mut Peekable<Chars<'_>>, value: &mut String) {
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => match rest.next() {
                Some('\n') | None => {}
                Some(c @ ('"' | '\\' | '`' | '$')) => value.push(c),
                Some(other) => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

fn skip(rest: &mut Peekable<Chars<'_>>, mut is: impl FnMut(char) -> bool) {
    while rest.next_if(|c| is(*c)).is_some() {}
}

fn take(rest: &mut Peekable<Chars<'_>>, mut is: impl FnMut(char) -> bool) -> String {
    std::iter::from_fn(|| rest.next_if(|c| is(*c))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_systemd_reads_them() {
        for (text, expected) in [
            ("A=/x", Some("/x")),
            ("A=/x  \nB=2", Some("/x")),
            ("  A = /x", Some("/x")),
            ("A=1\nA=2\n", Some("2")),
            ("A='a b' # no comment", Some("a b # no comment")),
            ("A=\"a \\\"b\\\" \\c \"", Some("a \"b\" \\c ")),
            ("A=a\\\nb", Some("ab")),
            ("A=\"a\nb\"", Some("a\nb")),
            ("#A=1", None),
            ("# B='open\nA=1", Some("1")),
            ("; A=1\nAB=2\nexport A=3\nA\n=4", None),
            ("A=", Some("")),
            ("A='open", Some("open")),
            ("", None),
        ] {
            assert_eq!(value(text, "A").as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_nor_hangs(text in "[A=#;'\"\\\\ \n\\PC]{0,60}") {
            let _ = value(&text, "A");
        }
    }
}
