//! Every crate that is built in here has a licence that `deny.toml` allows, comes from a registry,
//! and is not banned there. `cargo deny check` says the same and more, where it is installed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::process::Command;

/// What `deny.toml` says that is held here.
struct Rules {
    licences: BTreeSet<String>,
    /// Crates that name no licence but bring its text, which someone has read.
    clarified: BTreeSet<String>,
    /// Crates that the programs must not be built from; tests may.
    banned: BTreeSet<String>,
}

impl Rules {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let rules: toml::Table = toml::from_str(&text).unwrap();
        let list = |section: &str, key: &str| rules[section][key].as_array().unwrap().clone();
        let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
        Self {
            licences: list("licenses", "allow").iter().map(text).collect(),
            clarified: list("licenses", "clarify").iter().map(|own| text(&own["crate"])).collect(),
            banned: list("bans", "deny").iter().map(|ban| text(&ban["name"])).collect(),
        }
    }
}

#[test]
fn every_crate_is_allowed() {
    let rules = Rules::read();
    let mut complaints = Vec::new();
    let metadata = metadata();
    let shipped = shipped(&metadata);
    assert!(shipped.len() > 50, "cargo metadata named only {} packages", shipped.len());
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        match package["license"].as_str() {
            Some(expression) if allows(&rules.licences, expression) => {}
            Some(expression) => complaints.push(format!("{name}: licence {expression}")),
            None if rules.clarified.contains(name) => {}
            None => complaints.push(format!("{name}: no licence")),
        }
        if rules.banned.contains(name) && shipped.contains(package["id"].as_str().unwrap()) {
            complaints.push(format!("{name}: banned by deny.toml"));
        }
        let registry = |source: &str| source.starts_with("registry+");
        let own = name == env!("CARGO_PKG_NAME");
        if !own && !package["source"].as_str().is_some_and(registry) {
            complaints.push(format!("{name}: not from a registry: {}", package["source"]));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What `cargo metadata` says of this package and all it is built and tested from, on this
/// platform.
fn metadata() -> serde_json::Value {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The IDs of the packages that the programs are built from: those reached without development
/// dependencies.
fn shipped(metadata: &serde_json::Value) -> BTreeSet<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let mut reached = BTreeSet::new();
    let mut open = vec![metadata["resolve"]["root"].as_str().unwrap()];
    while let Some(id) = open.pop() {
        if !reached.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                open.push(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    reached
}

/// Whether an SPDX expression can be met with the licences in `allowed`. `AND` binds closer than
/// `OR`; old manifests write `/` for `OR`.
fn allows(allowed: &BTreeSet<String>, expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut position = 0;
    let met = alternatives(allowed, &tokens, &mut position);
    assert_eq!(position, tokens.len(), "not an SPDX expression: {expression}");
    met
}

fn alternatives(allowed: &BTreeSet<String>, tokens: &[&str], position: &mut usize) -> bool {
    let mut met = conjunction(allowed, tokens, position);
    while tokens.get(*position) == Some(&"OR") {
        *position += 1;
        met |= conjunction(allowed, tokens, position);
    }
    met
}

fn conjunction(allowed: &BTreeSet<String>, tokens: &[&str], position: &mut usize) -> bool {
    let mut met = licence(allowed, tokens, position);
    while tokens.get(*position) == Some(&"AND") {
        *position += 1;
        met &= licence(allowed, tokens, position);
    }
    met
}

fn licence(allowed: &BTreeSet<String>, tokens: &[&str], position: &mut usize) -> bool {
    let Some(name) = tokens.get(*position) else { return false };
    *position += 1;
    if *name == "(" {
        let met = alternatives(allowed, tokens, position);
        *position += 1; // the closing parenthesis
        return met;
    }
    if tokens.get(*position) == Some(&"WITH") {
        *position += 2;
        let name = tokens[*position - 3..*position].join(" ");
        return allowed.contains(&name);
    }
    allowed.contains(*name)
}

#[test]
fn reads_spdx_expressions() {
    let allowed: BTreeSet<String> =
        ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR MIT) AND (GPL-3.0)", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(allows(&allowed, expression), expected, "{expression}");
    }
}
