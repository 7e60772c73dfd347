//! containers-registries.conf(5), version 2: where an image is really fetched from, which mirrors are
//! asked before, and whether a registry is insecure or blocked.
//!
//! A name without a registry is no reference: what it stands for, `short_names` says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::auth::keepers::Keepers;
use super::error::{FileFault, Problem};
use super::files;
use super::mirror::{Asked, Mirror};
use super::options::Paths;
use super::short_names::{self, ShortNames};
use crate::model::Reference;
use crate::model::failure::excerpt;

/// The registries that the files configure, by prefix.
#[derive(Debug, Default)]
pub(super) struct Registries {
    by_prefix: BTreeMap<String, Registry>,
    /// Who keeps logins for them.
    pub(super) keepers: Keepers,
    pub(super) short_names: ShortNames,
}

/// One `[[registry]]` table. Keys that do not concern this program are passed over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Registry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror: Vec<Mirror>,
    mirror_by_digest_only: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Document {
    registry: Vec<Registry>,
    credential_helpers: Option<Vec<String>>,
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<short_names::Mode>,
    aliases: BTreeMap<String, String>,
    /// Version 1 had `[registries.search]` and its like.
    registries: Option<serde::de::IgnoredAny>,
}

/// Where an image is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// The registry, with its port: the name of credentials and certificates.
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) insecure: bool,
}

/// Who is asked for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    /// In this order, before the registry itself.
    pub(super) mirrors: Vec<Location>,
    pub(super) primary: Location,
}

impl Location {
    /// The host, with its port, that serves the registry.
    pub(super) fn authority(&self) -> &str {
        // Docker Hub's registry does not live under the name that its images have.
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// Registry and repository: what credentials are looked up by.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl Registries {
    /// Reads the first main file that exists, then every drop-in that belongs to it over it.
    pub(super) fn load(paths: &Paths) -> Result<Self, Problem> {
        let mut registries = Self::default();
        let at = |path: &Path, source| Problem::RegistriesConf { path: path.to_owned(), source };
        let mut drop_ins: &[PathBuf] = &[];
        for main in &paths.registries_conf {
            drop_ins = &main.drop_ins;
            let path = &main.file;
            if let Some(bytes) = files::read(path).map_err(|fault| at(path, fault))? {
                registries.merge(path, &bytes).map_err(|fault| at(path, fault))?;
                break;
            }
        }
        for directory in drop_ins {
            let found = files::list(directory, &["conf"]).map_err(|fault| at(directory, fault))?;
            for path in &found {
                let bytes = files::read(path).map_err(|fault| at(path, fault))?;
                let bytes = bytes.unwrap_or_default();
                registries.merge(path, &bytes).map_err(|fault| at(path, fault))?;
            }
        }
        if let Some(file) = &paths.short_name_aliases {
            registries.short_names.add_chosen(file)?;
        }
        Ok(registries)
    }

    /// Adds what one file says: a table of the same prefix replaces the earlier one, as do lists.
    pub(super) fn merge(&mut self, path: &Path, bytes: &[u8]) -> Result<(), FileFault> {
        let syntax = |line, what: &str| FileFault::Syntax { line, what: excerpt(what) };
        let text = std::str::from_utf8(bytes)
            .map_err(|error| syntax(line_of(bytes, error.valid_up_to()), "is not UTF-8"))?;
        let document: Document = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            syntax(line_of(bytes, at), error.message())
        })?;
        if document.registries.is_some() {
            let what =
                "[registries.…] is the old version 1 of this file; write [[registry]] tables";
            return Err(syntax(first_line_with(text, "[registries"), what));
        }
        if let Some(names) = document.credential_helpers {
            self.keepers = Keepers::listed(names, path);
        }
        let said = short_names::Written {
            search: document.unqualified_search_registries,
            mode: document.short_name_mode,
            aliases: document.aliases,
        };
        self.short_names
            .merge(path, said)
            .map_err(|(key, what)| syntax(first_line_with(text, key), &what))?;
        for mut registry in document.registry {
            if registry.prefix.is_empty() {
                registry.prefix.clone_from(&registry.location);
            }
            let named = registry.prefix.trim_end_matches('/').to_owned();
            let wildcard = named.starts_with("*.");
            if named.is_empty() || named.contains("://") || registry.location.contains("://") {
                let what = "a [[registry]] needs \"prefix\" or \"location\", without http(s)://";
                return Err(syntax(first_line_with(text, "[[registry]]"), what));
            }
            if registry.location.is_empty() && !wildcard {
                registry.location.clone_from(&named);
            }
            if named.starts_with('*') && !wildcard {
                let what = "a wildcard stands for subdomains: \"*.example.com\"";
                return Err(syntax(first_line_with(text, "[[registry]]"), what));
            }
            let digest_only = registry.mirror_by_digest_only;
            if let Some(what) = registry.mirror.iter().find_map(|mirror| mirror.fault(digest_only))
            {
                return Err(syntax(first_line_with(text, "[[registry.mirror]]"), what));
            }
            self.by_prefix.insert(named, registry);
        }
        Ok(())
    }

    /// Where `reference` is fetched from, mirrors aside: by the longest prefix that matches it.
    pub(super) fn locate(
        &self,
        reference: &Reference,
        tls_verify: Option<bool>,
    ) -> Result<Location, Problem> {
        let name = reference.name();
        match self.entry(&name, reference) {
            None => location(&name, false, tls_verify),
            Some((prefix, registry, _)) if registry.blocked => {
                Err(Problem::Blocked { prefix: prefix.to_owned() })
            }
            Some((_, registry, _)) if registry.location.is_empty() => {
                location(&name, registry.insecure, tls_verify)
            }
            Some((_, registry, rest)) => {
                location(&moved(&registry.location, rest), registry.insecure, tls_verify)
            }
        }
    }

    /// Who is asked for `reference`, when it is asked for that.
    pub(super) fn sources(
        &self,
        reference: &Reference,
        asked: Asked,
        tls_verify: Option<bool>,
    ) -> Result<Sources, Problem> {
        let primary = self.locate(reference, tls_verify)?;
        let name = reference.name();
        let mut mirrors = Vec::new();
        if let Some((_, registry, rest)) = self.entry(&name, reference) {
            let digest_only = registry.mirror_by_digest_only;
            for mirror in registry.mirror.iter().filter(|it| it.serves(asked, digest_only)) {
                mirrors.push(location(
                    &moved(&mirror.location, rest),
                    mirror.insecure,
                    tls_verify,
                )?);
            }
        }
        Ok(Sources { mirrors, primary })
    }

    /// The table with the longest prefix that matches, and what follows that in `name`.
    fn entry<'a>(
        &'a self,
        name: &'a str,
        reference: &Reference,
    ) -> Option<(&'a str, &'a Registry, &'a str)> {
        let matching = self.by_prefix.iter().filter_map(|(prefix, registry)| {
            Some((prefix.as_str(), registry, rest(name, reference, prefix)?))
        });
        matching.max_by_key(|(prefix, ..)| prefix.len())
    }
}

fn moved(to: &str, rest: &str) -> String {
    format!("{}{rest}", to.trim_end_matches('/'))
}

/// The grammar of a reference says whether a rewritten name can be asked for at all.
fn location(name: &str, insecure: bool, tls_verify: Option<bool>) -> Result<Location, Problem> {
    let parsed: Result<Reference, _> = name.parse();
    match parsed {
        Ok(parsed) => Ok(Location {
            registry: parsed.registry().to_owned(),
            repository: parsed.repository().to_owned(),
            insecure: tls_verify.map_or(insecure, |verify| !verify),
        }),
        Err(_) => Err(Problem::InvalidLocation { location: excerpt(name) }),
    }
}

impl Registries {
    /// Whether the host of `authority` (`HOST` or `HOST:PORT`) is declared insecure as a whole.
    pub(super) fn is_insecure(&self, authority: &str, tls_verify: Option<bool>) -> bool {
        // Prefixes match names of images: any will do that no entry is likely to be for.
        let named: Result<Reference, _> = format!("{authority}/any").parse();
        let located = named.ok().and_then(|named| self.locate(&named, tls_verify).ok());
        located.is_some_and(|location| location.insecure)
    }
}

/// What follows `prefix` in `name`; `None` where it does not match. A prefix ends where a
/// component does: `r.io` does not match `r.io:5000`, which is another registry.
fn rest<'a>(name: &'a str, reference: &Reference, prefix: &str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let (domain, path) = domain.split_once('/').unwrap_or((domain, ""));
        let host = reference.registry();
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        let suits = |host: &str| host.len() > domain.len() && host.ends_with(domain);
        let length = if suits(host) {
            host.len()
        } else if suits(bare) {
            bare.len()
        } else {
            return None;
        };
        let rest = &name[length..];
        if path.is_empty() {
            return Some(rest);
        }
        return rest.strip_prefix('/')?.strip_prefix(path).filter(|rest| at_boundary(rest));
    }
    match name.strip_prefix(prefix) {
        Some(rest) if at_boundary(rest) => Some(rest),
        Some(_) => None,
        // A prefix may go on to one tag or digest.
        None => {
            let ended = reference.to_string() == prefix;
            ended.then_some("")
        }
    }
}

fn at_boundary(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count()
}

fn first_line_with(text: &str, what: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(what)).map_or(1, |line| line + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::RegistriesConf;

    fn registries(text: &str) -> Registries {
        let mut registries = Registries::default();
        registries.merge(Path::new("f"), text.as_bytes()).unwrap();
        registries
    }

    fn locate(registries: &Registries, reference: &str) -> Result<Location, Problem> {
        registries.locate(&reference.parse().unwrap(), None)
    }

    #[track_caller]
    fn leads_to(text: &str, reference: &str, name: &str, insecure: bool) {
        let location = locate(&registries(text), reference).unwrap();
        assert_eq!((location.name().as_str(), location.insecure), (name, insecure), "{reference}");
    }

    #[test]
    fn the_longest_prefix_wins() {
        let text = r#"
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            location = "r.io"
            insecure = true
            [[registry]]
            prefix = "r.io/team"
            location = "inside:5000/mirror"
            [[registry]]
            prefix = "r.io/team/bad"
            blocked = true
        "#;
        leads_to(text, "r.io/app:1", "r.io/app", true);
        leads_to(text, "r.io/team/app:1", "inside:5000/mirror/app", false);
        leads_to(text, "r.io/teams/app:1", "r.io/teams/app", true);
        leads_to(text, "r.io:5000/app", "r.io:5000/app", false);
        leads_to(text, "other.io/app", "other.io/app", false);
        let blocked = locate(&registries(text), "r.io/team/bad/app");
        assert!(matches!(blocked, Err(Problem::Blocked { prefix }) if prefix == "r.io/team/bad"));
    }

    #[test]
    fn a_prefix_may_name_one_tag() {
        let text = "[[registry]]\nprefix = \"r.io/app:old\"\nblocked = true";
        assert!(locate(&registries(text), "r.io/app:old").is_err());
        leads_to(text, "r.io/app:new", "r.io/app", false);
    }

    #[test]
    fn wildcards_match_subdomains_only() {
        let text = r#"
            [[registry]]
            prefix = "*.corp.example"
            insecure = true
            [[registry]]
            prefix = "*.moved.example"
            location = "new.example/old"
        "#;
        leads_to(text, "a.corp.example/x", "a.corp.example/x", true);
        leads_to(text, "a.b.corp.example:5000/x", "a.b.corp.example:5000/x", true);
        leads_to(text, "corp.example/x", "corp.example/x", false);
        leads_to(text, "acorp.example/x", "acorp.example/x", false);
        leads_to(text, "a.moved.example/x/y", "new.example/old/x/y", false);
    }

    #[test]
    fn docker_hub_is_served_by_another_host() {
        let location = locate(&Registries::default(), "docker.io/nginx").unwrap();
        assert_eq!(location.authority(), "registry-1.docker.io");
        assert_eq!(location.name(), "docker.io/library/nginx");
    }

    #[test]
    fn a_mirror_is_not_taken_for_the_primary() {
        let text = "[[registry]]\nprefix = \"r.io\"\n[[registry.mirror]]\nlocation = \"m.io\"\ninsecure = true";
        leads_to(text, "r.io/app", "r.io/app", false);
    }

    /// The mirrors that are asked for a reference, in their order.
    fn mirrors(text: &str, reference: &str, asked: Asked) -> Vec<String> {
        let reference = reference.parse().unwrap();
        let sources = registries(text).sources(&reference, asked, None).unwrap();
        sources.mirrors.iter().map(Location::name).collect()
    }

    #[test]
    fn mirrors_are_asked_in_their_order_for_what_they_are_for() {
        let text = r#"
            [[registry]]
            prefix = "r.io/team"
            location = "origin.io/x"
            [[registry.mirror]]
            location = "one.io/cache/"
            [[registry.mirror]]
            location = "two.io"
            pull-from-mirror = "digest-only"
            [[registry.mirror]]
            location = "three.io:5000"
            pull-from-mirror = "tag-only"
        "#;
        let [one, two, three] = ["one.io/cache/app", "two.io/app", "three.io:5000/app"];
        let digest = format!("r.io/team/app@sha256:{}", "a".repeat(64));
        assert_eq!(mirrors(text, "r.io/team/app:1", Asked::Tag), [one, three]);
        assert_eq!(mirrors(text, "r.io/team/app:1", Asked::DigestOfTag), [one, two, three]);
        assert_eq!(mirrors(text, &digest, Asked::Digest), [one, two]);
        assert!(mirrors(text, "r.io/other:1", Asked::Tag).is_empty());
        leads_to(text, "r.io/team/app:1", "origin.io/x/app", false);
        let by_digest = "[[registry]]\nprefix = \"r.io\"\nmirror-by-digest-only = true\n\
                         [[registry.mirror]]\nlocation = \"one.io\"";
        assert!(mirrors(by_digest, "r.io/app:1", Asked::Tag).is_empty());
        assert_eq!(mirrors(by_digest, "r.io/app:1", Asked::DigestOfTag), ["one.io/app"]);
    }

    #[test]
    fn mirrors_that_make_no_sense_are_refused() {
        for (mirror, told) in [
            ("location = \"https://m.io\"", "without http"),
            ("insecure = true", "location"),
            ("location = \"m.io\"\npull-from-mirror = \"never\"", "never"),
            ("location = \"m.io\"\npull-from-mirror = \"all\"", "exclude each other"),
        ] {
            let text = format!(
                "[[registry]]\nprefix = \"r.io\"\nmirror-by-digest-only = true\n\
                 [[registry.mirror]]\n{mirror}"
            );
            let fault = Registries::default().merge(Path::new("f"), text.as_bytes()).unwrap_err();
            assert!(fault.to_string().contains(told), "{mirror}: {fault}");
        }
        let wildcard = b"[[registry]]\nprefix = \"*corp.example\"\ninsecure = true";
        assert!(Registries::default().merge(Path::new("f"), wildcard).is_err());
    }

    #[test]
    fn a_flag_overrides_insecure() {
        let registries = registries("[[registry]]\nlocation = \"r.io\"\ninsecure = true");
        let reference = "r.io/app".parse().unwrap();
        for (flag, insecure) in [(None, true), (Some(true), false), (Some(false), true)] {
            assert_eq!(registries.locate(&reference, flag).unwrap().insecure, insecure);
        }
    }

    #[test]
    fn a_host_as_a_whole() {
        let text = "[[registry]]\nlocation = \"a.io\"\ninsecure = true\n\
                    [[registry]]\nlocation = \"b.io/team\"\ninsecure = true";
        let registries = registries(text);
        for (host, insecure) in [("a.io", true), ("a.io:5000", false), ("b.io", false)] {
            assert_eq!(registries.is_insecure(host, None), insecure, "{host}");
        }
        assert!(!registries.is_insecure("a.io", Some(true)));
        assert!(registries.is_insecure("c.io", Some(false)));
    }

    #[test]
    fn errors_name_file_and_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registries.conf");
        let main = RegistriesConf { file: path.clone(), drop_ins: Vec::new() };
        let paths = Paths { registries_conf: vec![main], ..Paths::default() };
        for (text, line) in [
            ("\n[[registry]]\nlocation = 5\n", "line 3"),
            ("a = 1\n[registries.search]\nregistries = []\n", "line 2"),
            ("\n[[registry]]\ninsecure = true\n", "line 2"),
            ("[[registry]]\nlocation = \"https://r.io\"\n", "line 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let problem = Registries::load(&paths).unwrap_err();
            let message = crate::model::failure::chain(&problem);
            assert!(message.contains("registries.conf") && message.contains(line), "{message}");
        }
    }

    #[test]
    fn drop_ins_are_merged_over_the_first_file() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let table = |name: &str, insecure: bool| {
            format!("[[registry]]\nlocation = \"{name}\"\ninsecure = {insecure}\n")
        };
        let user = write("user.conf", &table("user.io", true));
        let system = write("system.conf", &table("system.io", true));
        write("d/10.conf", &format!("{}{}", table("a.io", true), table("b.io", true)));
        write("d/20.conf", &table("b.io", false));
        write("d/README", "not toml");
        write("system.d/10.conf", &table("c.io", true));
        let main = |file: PathBuf, dirs: &[&str]| {
            let drop_ins = dirs.iter().map(|dir| directory.path().join(dir)).collect();
            RegistriesConf { file, drop_ins }
        };
        let mut paths = Paths {
            registries_conf: vec![
                main(directory.path().join("none.conf"), &["system.d"]),
                main(user.clone(), &["none.d", "d"]),
                main(system, &["system.d", "d"]),
            ],
            ..Paths::default()
        };
        let registries = Registries::load(&paths).unwrap();
        for (registry, insecure) in [
            ("user.io", true),
            ("system.io", false),
            ("a.io", true),
            ("b.io", false),
            ("c.io", false),
        ] {
            let location = locate(&registries, &format!("{registry}/x")).unwrap();
            assert_eq!(location.insecure, insecure, "{registry}");
        }
        // Without any main file, the drop-ins of the last count.
        std::fs::remove_file(&user).unwrap();
        paths.registries_conf[2].file = directory.path().join("none.conf");
        let registries = Registries::load(&paths).unwrap();
        for (registry, insecure) in [("user.io", false), ("a.io", true), ("c.io", true)] {
            let location = locate(&registries, &format!("{registry}/x")).unwrap();
            assert_eq!(location.insecure, insecure, "{registry}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = Registries::default().merge(Path::new("f"), text.as_bytes());
        }

        #[test]
        fn any_prefix_leads_to_a_name_or_an_error(prefix in "[*]?[a-z.:/]{1,12}", location in "[a-z.:/]{0,12}") {
            let mut registries = Registries::default();
            let text = format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"");
            if registries.merge(Path::new("f"), text.as_bytes()).is_ok() {
                let _ = locate(&registries, "a.b.c/x/y:1");
            }
        }
    }
}
