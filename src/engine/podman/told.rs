//! A list of documents, each read by itself: one that is not as it should be is not the others' end.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::failure::plain;
use crate::model::{Failure, FailureKind};

/// What Podman told of several things.
#[derive(Debug)]
pub(super) struct Told<T> {
    pub(super) documents: Vec<T>,
    /// What is wrong with each of the others.
    pub(super) problems: Vec<Failure>,
}

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { documents: vec![], problems: vec![] }
    }
}

impl<T> Told<T> {
    pub(super) fn add(&mut self, more: Self) {
        self.documents.extend(more.documents);
        self.problems.extend(more.problems);
    }

    /// For those who can do nothing for what cannot be read.
    pub(super) fn without_problems(self) -> Vec<T> {
        for problem in &self.problems {
            tracing::debug!(%problem, "left out, ignoring");
        }
        self.documents
    }
}

impl<T: DeserializeOwned> Told<T> {
    /// Reads what `podman VERB` said.
    ///
    /// # Errors
    /// Where it is no list at all.
    pub(super) fn read(output: &[u8], verb: &str) -> Result<Self, Failure> {
        // Podman 4 prints nothing at all where there is nothing.
        if output.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let all: Option<Vec<Value>> =
            serde_json::from_slice(output).map_err(|error| unreadable(verb, "", &error))?;
        let mut told = Self::default();
        all.unwrap_or_default().iter().for_each(|document| told.take(document, verb));
        Ok(told)
    }

    /// Reads one document more.
    pub(super) fn take(&mut self, document: &Value, verb: &str) {
        match T::deserialize(document) {
            Ok(document) => self.documents.push(document),
            Err(error) => {
                let of = name(document).map(|name| format!(" of {}", plain(name)));
                self.problems.push(unreadable(verb, &of.unwrap_or_default(), &error));
            }
        }
    }
}

pub(super) fn unreadable(verb: &str, of: &str, error: &serde_json::Error) -> Failure {
    let message = format!("what \"podman {verb}\" says{of} cannot be read: {error}");
    Failure::new(FailureKind::InvalidContent, message)
}

/// What people know a thing by: a container, or an image.
fn name(document: &Value) -> Option<&str> {
    let text = |key: &str| document.get(key)?.as_str();
    let first = |key: &str| document.get(key)?.get(0)?.as_str();
    text("Name").or(first("Names")).or(first("RepoTags")).or(text("Id"))
}

#[cfg(test)]
mod tests {
    use super::super::document::{Container, Listed};
    use super::*;

    #[test]
    fn one_bad_document_is_a_problem_of_its_own() {
        let list = br#"[{"Id": "1"}, {"Id": 2, "Names": ["quay.io/app:1"]}, {"Id": "3"}]"#;
        let told = Told::<Listed>::read(list, "images").unwrap();
        assert_eq!(told.documents.len(), 2);
        let [problem] = &told.problems[..] else { panic!("{told:?}") };
        assert!(problem.message.contains("\"podman images\" says of quay.io/app:1"), "{problem}");
    }

    #[test]
    fn what_is_no_list_is_an_error_and_nothing_is_no_list() {
        assert!(Told::<Listed>::read(b"{}", "images").is_err());
        for nothing in [&b""[..], b"\n", b"null", b"[]"] {
            assert!(Told::<Listed>::read(nothing, "images").unwrap().documents.is_empty());
        }
    }

    #[test]
    fn times_below_nothing_are_nothing() {
        let list = br#"[{
            "Id": "1", "Name": "app", "Created": "2026-11-26T10:26:04Z", "Image": "2",
            "State": {"Health": {"Status": "starting", "FailingStreak": -1}},
            "Config": {"Healthcheck":
                {"StartPeriod": -1, "Interval": 1000000000, "Timeout": null, "Retries": -3}}
        }]"#;
        let told = Told::<Container>::read(list, "container inspect").unwrap();
        let [container] = &told.documents[..] else { panic!("{told:?}") };
        let check = container.config.healthcheck.clone().unwrap();
        assert_eq!((check.start_period, check.timeout, check.retries), (0, 0, 0));
        assert_eq!(check.interval, 1_000_000_000);
    }
}
