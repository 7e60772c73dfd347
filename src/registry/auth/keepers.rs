//! Who is asked for a login, and in which order: `credential-helpers` of containers-registries.conf(5).

use std::path::{Path, PathBuf};

/// The word that stands for the credentials files there.
const FILES: &str = "containers-auth.json";

/// Those who keep logins, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct Keepers {
    pub(in crate::registry) order: Vec<Keeper>,
    /// The file that names them.
    pub(in crate::registry) named_by: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) enum Keeper {
    /// The credentials files of containers-auth.json(5), and the programs that these name.
    Files,
    /// `docker-credential-NAME`, for every registry.
    Program(String),
}

/// The files alone.
impl Default for Keepers {
    fn default() -> Self {
        Self { order: vec![Keeper::Files], named_by: PathBuf::new() }
    }
}

impl Keepers {
    /// As a file lists them; an empty list is none.
    pub(in crate::registry) fn listed(names: Vec<String>, file: &Path) -> Self {
        if names.is_empty() {
            return Self::default();
        }
        let keeper = |name: String| match name.as_str() {
            FILES => Keeper::Files,
            _ => Keeper::Program(name),
        };
        let order = names.into_iter().map(keeper).collect();
        Self { order, named_by: file.to_owned() }
    }

    /// The program that is asked before the files, or in their place; `None` where they go first.
    pub(in crate::registry) fn before_files(&self) -> Option<&str> {
        match self.order.first() {
            Some(Keeper::Program(name)) => Some(name),
            _ => None,
        }
    }
}
