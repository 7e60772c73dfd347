//! What can be wrong with the configuration.

use std::io;
use std::path::PathBuf;

/// An error that says where it is and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}:{line}:{column}: {message}", path = path.display())]
    Invalid { path: PathBuf, line: usize, column: usize, message: String },
    #[error(
        "the environment variable {variable} is not set: log in, or run \
         \"loginctl enable-linger\" and use \"systemctl --user\""
    )]
    NoUserDirectory { variable: &'static str },
}

impl Error {
    /// Turns a TOML error into one that a person finds the place of.
    pub(super) fn from_toml(path: PathBuf, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let message = with_suggestion(error.message());
        Self::Invalid { path, line, column, message }
    }
}

/// Names the key that was probably meant, where serde names those that it knows.
fn with_suggestion(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = message.strip_prefix("unknown field").or(message.strip_prefix("unknown variant"));
    let (Some(_), [given, known @ ..]) = (unknown, &*quoted) else { return message.to_owned() };
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(given, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match near {
        Some((_, near)) => format!("{message}; did you mean `{near}`?"),
        None => message.to_owned(),
    }
}
