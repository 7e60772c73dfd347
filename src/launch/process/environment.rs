//! The container's environment: image, files, flags. Pure; the caller reads files and its own
//! environment.

use std::collections::BTreeMap;

/// What a container gets where neither image nor operator sets it.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables by name; a later setting replaces an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment(BTreeMap<String, String>);

/// Why a setting of a variable is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidVariable {
    #[error("{0:?} has no name before the \"=\"")]
    NoName(String),
    #[error("{0:?} has a NUL or, in its name, white space")]
    Character(String),
    #[error("{0:?} is not NAME=TEXT, or a \"${{\" in it has no end")]
    Merge(String),
}

/// What a container takes of its surroundings and of its image (podman-run(1), `--env-host`,
/// `--env-merge`, `--unsetenv`).
#[derive(Debug, Default)]
pub(crate) struct Inherited<'a> {
    /// `NAME=VALUE` of the host; whatever the image sets wins.
    pub(crate) host: &'a [String],
    /// `NAME=VALUE` of the image.
    pub(crate) image: &'a [String],
    /// `NAME=TEXT` with names of both in it.
    pub(crate) merged: &'a [String],
    /// Names that are left out.
    pub(crate) unset: &'a [String],
    /// All of the above is left out.
    pub(crate) nothing: bool,
}

/// The names that `--http-proxy` passes on; each also in capitals.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];

impl Inherited<'_> {
    /// What of it a container starts with.
    pub(crate) fn environment(&self) -> Result<Environment, InvalidVariable> {
        let mut environment = Environment::default();
        if self.nothing {
            return Ok(environment);
        }
        for variable in self.host.iter().chain(self.image) {
            environment.inherit(variable);
        }
        for setting in self.merged {
            let expanded = expand(setting, &environment.0)?;
            environment.apply(&expanded, &BTreeMap::new())?;
        }
        for name in self.unset {
            environment.0.remove(name);
        }
        Ok(environment)
    }
}

/// `NAME=TEXT` with each `$NAME`, `${NAME}`, `${NAME:-DEFAULT}` and `${NAME:+INSTEAD}` replaced; a
/// backslash keeps the next character as it is.
fn expand(setting: &str, known: &BTreeMap<String, String>) -> Result<String, InvalidVariable> {
    let invalid = || InvalidVariable::Merge(setting.chars().take(60).collect());
    let (name, mut rest) = setting.split_once('=').ok_or_else(invalid)?;
    let mut expanded = format!("{name}=");
    while let Some(at) = rest.find(['$', '\\']) {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = if rest.as_bytes()[at] == b'\\' {
            let mut characters = after.chars();
            expanded.extend(characters.next());
            characters.as_str()
        } else if let Some(inner) = after.strip_prefix('{') {
            let (inner, behind) = inner.split_once('}').ok_or_else(invalid)?;
            expanded.push_str(value(inner, known));
            behind
        } else {
            let end = after.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            let (name, behind) = after.split_at(end.unwrap_or(after.len()));
            expanded.push_str(if name.is_empty() { "$" } else { value(name, known) });
            behind
        };
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// What stands between `${` and `}`.
fn value<'a>(inner: &'a str, known: &'a BTreeMap<String, String>) -> &'a str {
    let set = |name: &str| known.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if let Some((name, default)) = inner.split_once(":-") {
        return set(name).unwrap_or(default);
    }
    match inner.split_once(":+") {
        Some((name, instead)) => set(name).map_or("", |_| instead),
        None => set(inner).unwrap_or_default(),
    }
}

impl Environment {
    /// Passes the host's proxies on, under the names it has them.
    pub(crate) fn apply_proxies(&mut self, host: &BTreeMap<String, String>) {
        for name in PROXIES.into_iter().flat_map(|name| [name.to_owned(), name.to_uppercase()]) {
            if let Some(value) = host.get(&name) {
                self.set(name, value);
            }
        }
    }

    /// Sets one variable, replacing an earlier value.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets a variable only where none of that name is set.
    pub(crate) fn set_default(&mut self, name: &str, value: impl Into<String>) {
        self.0.entry(name.to_owned()).or_insert_with(|| value.into());
    }

    /// Takes `NAME=VALUE` from an image, whatever the name: what others start must start here. What
    /// no environment can hold is left out.
    pub(crate) fn inherit(&mut self, variable: &str) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if !name.is_empty() && !variable.contains('\0') {
            self.set(name, value);
        }
    }

    /// Takes `NAME=VALUE`, or `NAME` for the value in `host` (nothing where the host has none),
    /// or `PREFIX*` for all of the host's names with that prefix (podman-run(1), `--env`).
    pub(crate) fn apply(
        &mut self,
        setting: &str,
        host: &BTreeMap<String, String>,
    ) -> Result<(), InvalidVariable> {
        let shown = || setting.chars().take(60).collect::<String>();
        let (name, value) = match setting.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (setting, None),
        };
        if name.is_empty() {
            return Err(InvalidVariable::NoName(shown()));
        }
        if setting.contains('\0') || name.contains(char::is_whitespace) {
            return Err(InvalidVariable::Character(shown()));
        }
        match (value, name.strip_suffix('*')) {
            (Some(value), _) => self.set(name, value),
            (None, Some(prefix)) => {
                for (name, value) in host.iter().filter(|(name, _)| name.starts_with(prefix)) {
                    self.set(name, value);
                }
            }
            (None, None) => {
                if let Some(value) = host.get(name) {
                    self.set(name, value);
                }
            }
        }
        Ok(())
    }

    /// Takes the lines of an `--env-file`: one setting a line, `#` comments, blank lines skipped.
    /// An error says the line's number, from 1.
    pub(crate) fn apply_file(
        &mut self,
        text: &str,
        host: &BTreeMap<String, String>,
    ) -> Result<(), (usize, InvalidVariable)> {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if !line.is_empty() && !line.starts_with('#') {
                self.apply(line, host).map_err(|error| (index + 1, error))?;
            }
        }
        Ok(())
    }

    /// `NAME=VALUE` strings, sorted by name.
    pub(crate) fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host() -> BTreeMap<String, String> {
        [("LANG", "C"), ("APP_A", "1"), ("APP_B", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn later_settings_win() {
        let mut environment = Environment::default();
        for setting in ["A=1", "A=2=3", "LANG", "MISSING", "APP_*", "EMPTY="] {
            environment.apply(setting, &host()).unwrap();
        }
        environment.set_default("A", "default");
        let expected = ["A=2=3", "APP_A=1", "APP_B=2", "EMPTY=", "LANG=C"];
        assert_eq!(environment.to_strings(), expected);
    }

    #[test]
    fn an_image_may_set_what_it_likes() {
        let mut environment = Environment::default();
        for variable in ["FOO BAR=x=y", "NONE", "=x", "", "A=\0", "LANG*"] {
            environment.inherit(variable);
        }
        assert_eq!(environment.to_strings(), ["FOO BAR=x=y", "LANG*=", "NONE="]);
    }

    #[test]
    fn what_is_inherited_can_be_merged_and_left_out() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (host, image) = (words(&["A=host", "B=host"]), words(&["A=image", "E="]));
        let merged = words(&["C=${A}-$B$", "D=${E:-x}${A:+y}${NONE}\\$A", "A=$A:more"]);
        let unset = words(&["B", "NONE"]);
        let all = |nothing| Inherited {
            host: &host,
            image: &image,
            merged: &merged,
            unset: &unset,
            nothing,
        };
        let expected = ["A=image:more", "C=image-host$", "D=xy$A", "E="];
        assert_eq!(all(false).environment().unwrap().to_strings(), expected);
        assert_eq!(all(true).environment().unwrap(), Environment::default());
        for wrong in ["A=${B", "A"] {
            let merged = words(&[wrong]);
            let wrong = Inherited { merged: &merged, ..Inherited::default() };
            assert!(wrong.environment().is_err());
        }
    }

    #[test]
    fn proxies_are_passed_on_under_the_hosts_names() {
        let host = [("http_proxy", "a"), ("NO_PROXY", "b"), ("proxy", "c")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut environment = Environment::default();
        environment.apply_proxies(&host.into());
        assert_eq!(environment.to_strings(), ["NO_PROXY=b", "http_proxy=a"]);
    }

    #[test]
    fn files_have_comments_and_line_numbers() {
        let mut environment = Environment::default();
        environment.apply_file("# c\n\n  A=x # kept\nB=\r\nLANG\n", &host()).unwrap();
        assert_eq!(environment.to_strings(), ["A=x # kept", "B=", "LANG=C"]);
        let error = environment.apply_file("A=1\n=2\n", &host()).unwrap_err();
        assert_eq!(error, (2, InvalidVariable::NoName("=2".into())));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,200}") {
            let mut environment = Environment::default();
            let _ = environment.apply(&text, &host());
            let _ = environment.apply_file(&text, &host());
            let _ = expand(&text, &host());
        }
    }
}
