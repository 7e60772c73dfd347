//! Short names: which images a name without a registry may stand for (containers-registries.conf(5),
//! "Short-Name Aliasing").
//!
//! What must not live here: which of them is there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{FileFault, Problem};
use super::options::Paths;
use super::registries_conf::Registries;
use super::{Error, files};
use crate::model::failure::excerpt;
use crate::model::{InvalidReference, Reference};

/// The registry of names that were given here.
pub const HERE: &str = "localhost";

/// A name of the transport of registries is one of Docker Hub's, as it is for Docker.
const TRANSPORT: &str = "docker://";
const HUB: &str = "docker.io";

/// What registries.conf says of names without a registry.
#[derive(Debug, Clone, Default)]
pub struct ShortNames {
    aliases: BTreeMap<String, Alias>,
    search: Vec<String>,
    /// The file that names the registries to search.
    listed_by: Option<PathBuf>,
    mode: Mode,
}

#[derive(Debug, Clone)]
struct Alias {
    /// Registry and repository; `None` where it was taken back.
    name: Option<String>,
    file: PathBuf,
}

/// `short-name-mode`. There is nobody here to be asked which of several is meant: what two of them say of
/// that is the same then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    #[default]
    #[serde(alias = "disabled", alias = "")]
    Permissive,
    Enforcing,
}

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) search: Option<Vec<String>>,
    pub(super) mode: Option<Mode>,
    pub(super) aliases: BTreeMap<String, String>,
}

/// The file in which Podman notes which of several people chose.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Chosen {
    aliases: BTreeMap<String, String>,
}

/// What a name may stand for, the likeliest first, and how that is known. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    pub references: Vec<Reference>,
    how: How,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    Alias { name: String, file: PathBuf },
    Search { name: String, file: PathBuf },
    Hub { name: String },
}

/// Why a name stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error(transparent)]
    Name(#[from] InvalidReference),
    #[error(
        "short name {name:?} is no alias, and no unqualified-search-registries are in {}: name the registry, as in \"registry.example/{name}\"",
        file.as_ref().map_or("any registries.conf".to_owned(), |file| file.display().to_string())
    )]
    Nowhere { name: String, file: Option<PathBuf> },
    #[error(
        "short name {name:?} may be {names}, and short-name-mode is \"enforcing\": there is nobody here to be asked which; name the registry, or add an alias to {}",
        file.display()
    )]
    Ambiguous { name: String, names: String, file: PathBuf },
}

impl ShortNames {
    /// Reads them.
    ///
    /// # Errors
    /// Where a file of registries.conf(5) cannot be read.
    pub fn load(paths: &Paths) -> Result<Self, Error> {
        Ok(Registries::load(paths)?.short_names)
    }

    /// What may be pulled for `name`, which has no registry.
    ///
    /// # Errors
    /// Where nothing may be, or too much.
    pub fn to_pull(&self, name: &str) -> Result<Candidates, Unresolved> {
        if let Some(name) = name.strip_prefix(TRANSPORT) {
            let references = vec![at(HUB, name)?];
            return Ok(Candidates { references, how: How::Hub { name: name.to_owned() } });
        }
        // What is no name anywhere.
        at(HERE, name)?;
        let (repository, rest) = split(name);
        if let Some((alias, file)) = self.alias(repository) {
            let references = vec![format!("{alias}{rest}").parse()?];
            let how = How::Alias { name: repository.to_owned(), file: file.to_owned() };
            return Ok(Candidates { references, how });
        }
        let references = self.searched(name)?;
        let Some(file) = self.listed_by.clone().filter(|_| !references.is_empty()) else {
            let file = self.listed_by.clone();
            return Err(Unresolved::Nowhere { name: name.to_owned(), file });
        };
        if references.len() > 1 && self.mode == Mode::Enforcing {
            let names: Vec<String> = references.iter().map(Reference::to_string).collect();
            let names = names.join(" or ");
            return Err(Unresolved::Ambiguous { name: name.to_owned(), names, file });
        }
        Ok(Candidates { references, how: How::Search { name: repository.to_owned(), file } })
    }

    /// What `name` may be in storage, in the order in which it is looked for: its alias, what was given
    /// that name here, the registries that are searched, and Docker Hub. None for what is no name.
    pub fn in_storage(&self, name: &str) -> Vec<Reference> {
        if let Some(name) = name.strip_prefix(TRANSPORT) {
            return at(HUB, name).into_iter().collect();
        }
        let (repository, rest) = split(name);
        let alias = self.alias(repository).map(|(alias, _)| format!("{alias}{rest}").parse());
        let alias = alias.and_then(Result::ok);
        let here = at(HERE, name).ok();
        let searched = self.searched(name).unwrap_or_default();
        alias.into_iter().chain(here).chain(searched).chain(at(HUB, name)).collect()
    }

    fn alias(&self, repository: &str) -> Option<(&str, &Path)> {
        let alias = self.aliases.get(repository)?;
        Some((alias.name.as_deref()?, &alias.file))
    }

    fn searched(&self, name: &str) -> Result<Vec<Reference>, InvalidReference> {
        self.search.iter().map(|registry| at(registry, name)).collect()
    }

    /// Takes what one file says over what others said before.
    ///
    /// # Errors
    /// What is wrong with it, in one line, and the beginning of the line in the file.
    pub(super) fn merge(
        &mut self,
        file: &Path,
        written: Written,
    ) -> Result<(), (&'static str, String)> {
        if let Some(registries) = written.search {
            if let Some(bad) = registries.iter().find(|registry| !is_registry(registry)) {
                let what = format!("{:?} is no registry, such as \"quay.io\"", excerpt(bad));
                return Err(("unqualified-search-registries", what));
            }
            self.search = registries;
            self.listed_by = Some(file.to_owned());
        }
        self.mode = written.mode.unwrap_or(self.mode);
        for (name, full) in written.aliases {
            check_alias(&name, &full).map_err(|why| {
                let alias = format!("{:?} = {:?}", excerpt(&name), excerpt(&full));
                ("[aliases]", format!("the alias {alias} {why}"))
            })?;
            let full = (!full.is_empty()).then_some(full);
            self.aliases.insert(name, Alias { name: full, file: file.to_owned() });
        }
        Ok(())
    }

    /// Takes over what Podman has noted of what people chose, which counts most.
    pub(super) fn add_chosen(&mut self, file: &Path) -> Result<(), Problem> {
        let at = |source| Problem::RegistriesConf { path: file.to_owned(), source };
        let bytes = files::read(file).map_err(at)?.unwrap_or_default();
        let syntax = |what: String| at(FileFault::Syntax { line: 1, what });
        let text = std::str::from_utf8(&bytes).map_err(|error| syntax(error.to_string()))?;
        let chosen: Chosen =
            toml::from_str(text).map_err(|error| syntax(excerpt(error.message())))?;
        let written = Written { aliases: chosen.aliases, ..Written::default() };
        self.merge(file, written).map_err(|(_, what)| syntax(what))
    }
}

/// `name` at a registry.
fn at(registry: &str, name: &str) -> Result<Reference, InvalidReference> {
    format!("{registry}/{name}").parse()
}

/// The repository that a name without a registry has, and its tag and digest.
fn split(name: &str) -> (&str, &str) {
    name.split_at(name.find([':', '@']).unwrap_or(name.len()))
}

fn is_registry(text: &str) -> bool {
    let reference = at(text, "x");
    !text.contains('/') && reference.is_ok()
}

/// An alias has a name without a registry, and stands for one with; neither has a tag or a digest.
fn check_alias(name: &str, full: &str) -> Result<(), &'static str> {
    let is_short = matches!(name.parse::<Reference>(), Err(InvalidReference::ShortName(_)));
    if !is_short || !split(name).1.is_empty() || at(HERE, name).is_err() {
        return Err("has no short name on its left, such as \"app\" or \"team/app\"");
    }
    let is_bare = |it: Reference| it.digest().is_none() && !is_tagged(full);
    if !full.is_empty() && !full.parse().is_ok_and(is_bare) {
        return Err(
            "has no image on its right with a registry and without a tag, such as \"quay.io/team/app\"",
        );
    }
    Ok(())
}

/// Whether a full name is written with a tag.
fn is_tagged(full: &str) -> bool {
    full.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::Alias { name, file } => {
                write!(f, "Resolved {name:?} as an alias ({})", file.display())
            }
            How::Search { name, file } => write!(
                f,
                "Resolving {name:?} using unqualified-search registries ({})",
                file.display()
            ),
            How::Hub { name } => write!(f, "Resolving {name:?} to {HUB}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(files: &[(&str, &str)]) -> ShortNames {
        let mut registries = Registries::default();
        for (file, text) in files {
            registries.merge(Path::new(file), text.as_bytes()).unwrap();
        }
        registries.short_names
    }

    fn pulled(names: &ShortNames, name: &str) -> Vec<String> {
        let candidates = names.to_pull(name).unwrap();
        candidates.references.iter().map(Reference::to_string).collect()
    }

    fn refused(names: &ShortNames, name: &str) -> String {
        names.to_pull(name).unwrap_err().to_string()
    }

    const TWO: &str = "unqualified-search-registries = [\"q.io\", \"localhost:5000\"]";
    const ALIASES: &str = "[aliases]\n\"app\" = \"r.io/team/app\"\n\"team/db\" = \"docker.io/db\"";

    #[test]
    fn an_alias_counts_before_the_registries() {
        let names = names(&[("/a", TWO), ("/b", ALIASES)]);
        let digest = crate::model::Digest::of(b"x");
        for (name, full) in [
            ("app", "r.io/team/app:latest".to_owned()),
            ("app:1", "r.io/team/app:1".to_owned()),
            (&format!("app@{digest}"), format!("r.io/team/app@{digest}")),
            ("team/db:2", "docker.io/library/db:2".to_owned()),
        ] {
            assert_eq!(pulled(&names, name), [full]);
        }
        let told = names.to_pull("app:1").unwrap().to_string();
        assert_eq!(told, "Resolved \"app\" as an alias (/b)");
        assert_eq!(pulled(&names, "other:1"), ["q.io/other:1", "localhost:5000/other:1"]);
        let told = names.to_pull("team/other").unwrap().to_string();
        assert_eq!(told, "Resolving \"team/other\" using unqualified-search registries (/a)");
        assert_eq!(pulled(&names, "docker://app"), ["docker.io/library/app:latest"]);
    }

    #[test]
    fn later_files_replace_and_take_back() {
        let later = "unqualified-search-registries = [\"z.io\"]\n[aliases]\n\"app\" = \"\"";
        let both = names(&[("/a", TWO), ("/b", ALIASES), ("/c", later)]);
        assert_eq!(pulled(&both, "app"), ["z.io/app:latest"]);
        assert_eq!(pulled(&both, "team/db"), ["docker.io/library/db:latest"]);
        let none = names(&[("/a", TWO), ("/c", "unqualified-search-registries = []")]);
        let told = refused(&none, "app:1");
        assert!(told.contains("\"app:1\" is no alias") && told.contains("in /c: "), "{told}");
        assert!(refused(&ShortNames::default(), "app").contains("in any registries.conf"));
    }

    #[test]
    fn nobody_is_asked() {
        let with = |mode: &str, registries: &str| {
            names(&[("/a", &format!("short-name-mode = \"{mode}\"\n{registries}"))])
        };
        for mode in ["permissive", "disabled", ""] {
            assert_eq!(pulled(&with(mode, TWO), "app").len(), 2, "{mode}");
        }
        let told = refused(&with("enforcing", TWO), "app:1");
        assert!(told.contains("q.io/app:1 or localhost:5000/app:1"), "{told}");
        assert!(told.contains("\"enforcing\"") && told.contains("alias to /a"), "{told}");
        let one = with("enforcing", "unqualified-search-registries = [\"q.io\"]");
        assert_eq!(pulled(&one, "app"), ["q.io/app:latest"]);
        // What a later file does not say, stays.
        let kept = names(&[("/a", "short-name-mode = \"enforcing\""), ("/b", TWO)]);
        assert!(kept.to_pull("app").is_err());
    }

    #[test]
    fn in_storage_it_is_looked_for_in_this_order() {
        let names = names(&[("/a", TWO), ("/b", ALIASES)]);
        let found = |name: &str| -> Vec<String> {
            names.in_storage(name).iter().map(Reference::to_string).collect()
        };
        let expected = [
            "r.io/team/app:1",
            "localhost/app:1",
            "q.io/app:1",
            "localhost:5000/app:1",
            "docker.io/library/app:1",
        ];
        assert_eq!(found("app:1"), expected);
        assert_eq!(found("docker://x"), ["docker.io/library/x:latest"]);
        assert!(found("No Name").is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, told) in [
            ("short-name-mode = \"strict\"", "strict"),
            ("unqualified-search-registries = [\"https://q.io\"]", "is no registry"),
            ("unqualified-search-registries = [\"q.io/team\"]", "is no registry"),
            ("unqualified-search-registries = \"q.io\"", "string"),
            ("[aliases]\n\"q.io/app\" = \"r.io/app\"", "no short name on its left"),
            ("[aliases]\n\"app:1\" = \"r.io/app\"", "no short name on its left"),
            ("[aliases]\n\"App\" = \"r.io/app\"", "no short name on its left"),
            ("[aliases]\napp = \"team/app\"", "no image on its right"),
            ("[aliases]\napp = \"r.io/app:latest\"", "no image on its right"),
            ("[aliases]\napp = \"r.io/app:1\"", "no image on its right"),
            ("[aliases]\napp = \"r.io/a\"\napp = \"r.io/b\"", "duplicate"),
        ] {
            let fault = Registries::default().merge(Path::new("f"), text.as_bytes()).unwrap_err();
            assert!(fault.to_string().contains(told), "{text}: {fault}");
        }
        let names = names(&[("/a", TWO)]);
        for name in ["App", "app:", "a b", "app@sha256:1", ""] {
            assert!(matches!(names.to_pull(name), Err(Unresolved::Name(_))), "{name}");
        }
    }

    #[test]
    fn what_podman_noted_counts_most() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("short-name-aliases.conf");
        let mut names = names(&[("/b", ALIASES)]);
        names.add_chosen(&file).unwrap();
        assert_eq!(pulled(&names, "app"), ["r.io/team/app:latest"]);
        std::fs::write(&file, format!("{TWO}\n[aliases]\n  app = \"z.io/app\"\n")).unwrap();
        names.add_chosen(&file).unwrap();
        assert_eq!(pulled(&names, "app"), ["z.io/app:latest"]);
        assert!(names.to_pull("other").is_err(), "nothing else of it counts");
        std::fs::write(&file, "[aliases").unwrap();
        assert!(names.add_chosen(&file).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(name in "[a-zA-Z0-9:/@._-]{0,40}|\\PC{0,40}") {
            let names = names(&[("/a", TWO), ("/b", ALIASES)]);
            let _ = (names.to_pull(&name), names.in_storage(&name));
        }
    }
}
