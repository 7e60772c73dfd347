//! Holds the map of `docs/architecture.md`: which room may use which, how large a file may grow,
//! and what nothing may be named.
//!
//! It reads the source as text, which is enough because every path into another room is written
//! `crate::room::…` (or `updaterd::room::…` in a program).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each room, and the other rooms it may use. A new arrow is a decision: take it here, with a
/// reason in `docs/architecture.md`.
const ARROWS: &[(&str, &[&str])] = &[
    ("crash", &[]),
    ("disk", &[]),
    ("model", &[]),
    ("program", &["model"]),
    ("plan", &["model"]),
    ("update", &["model", "plan"]),
    ("config", &["disk", "model"]),
    ("policy", &["disk", "model"]),
    ("registry", &["program", "disk", "model", "config", "update", "policy"]),
    ("store", &["crash", "disk", "model", "config", "update", "registry"]),
    ("systemd", &["program", "model", "config", "update"]),
    ("probe", &["program", "model", "update"]),
    ("engine", &["program", "model", "config", "update", "registry", "store"]),
    ("ledger", &["disk", "model", "config", "plan", "update"]),
    (
        "daemon",
        &[
            "crash", "program", "model", "config", "plan", "update", "registry", "store", "engine",
            "systemd", "probe", "ledger", "terminal",
        ],
    ),
    ("terminal", &[]),
    ("ctl", &["model", "config", "plan", "update", "ledger", "daemon", "terminal"]),
    ("launch", &["disk", "model", "config", "store", "registry", "systemd", "terminal"]),
];

/// Rooms that use another only through one door, told by how the path goes on: the room, whom it
/// uses, and the one part of it.
const DOORS: &[(&str, &str, &str)] = &[
    // The edges implement the ports; they do not know the pipeline.
    ("registry", "update", "port"),
    ("store", "update", "port"),
    ("systemd", "update", "port"),
    ("probe", "update", "port"),
    ("engine", "update", "port"),
];

/// Rooms that decide and do not act: denied the clock, files, processes and async.
const PURE: &[&str] = &["model", "plan"];

/// The longest a file may grow, without its tests.
const MAX_LINES: usize = 450;

/// Names that say nothing of what a file holds.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every Rust file below `directory`, as (path from the package's root, text).
fn sources(directory: &str) -> Vec<(String, String)> {
    fn collect(directory: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join(directory), &mut found);
    found.sort();
    found
}

/// Whether a whole file is tests, told by its name: `tests.rs`, `decide_tests.rs`.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

/// The room a file of `src/` is in: its folder, or the file itself where a room is one file.
fn room(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap();
    inside.split(['/', '.']).next().unwrap()
}

/// The text without line comments, and without what follows the first `#[cfg(test)] mod`.
fn code(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let tests = line.trim() == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.trim().starts_with("mod "));
        if tests {
            break;
        }
        kept.push_str(line.split_once("//").map_or(line, |(before, _)| before));
        kept.push('\n');
    }
    kept
}

/// The paths that begin with `crate::`, as (room, what follows it). Grouped imports
/// (`crate::{model::Digest, plan}`) are taken apart.
fn uses(code: &str) -> BTreeSet<(String, String)> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    let mut add = |path: &str| {
        let room = word(path);
        let rest = path[room.len()..].strip_prefix("::").map(word).unwrap_or_default();
        found.insert((room, rest));
    };
    for (position, prefix) in code.match_indices("crate::") {
        let path = &code[position + prefix.len()..];
        let Some(group) = path.strip_prefix('{') else {
            add(path);
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    let member = group[start..at].trim();
                    if !member.is_empty() {
                        add(member);
                    }
                    start = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn arrows_point_one_way() {
    let mut complaints = Vec::new();
    for (path, text) in sources("src") {
        let own = room(&path).to_owned();
        if own == "lib" || own == "bin" || is_test(&path) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| *room == own) else {
            complaints.push(format!("{path}: the room {own} is not on the map"));
            continue;
        };
        for (used, part) in uses(&code(&text)) {
            let is_room = ARROWS.iter().any(|(room, _)| *room == used);
            if !is_room || used == own {
                continue;
            }
            if !allowed.contains(&used.as_str()) {
                complaints.push(format!("{path}: {own} must not use {used}"));
            }
            let door = DOORS.iter().find(|(from, to, _)| *from == own && *to == used);
            if door.is_some_and(|(_, _, door)| *door != part) {
                complaints.push(format!("{path}: {own} may use only part of {used}, not {part}"));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn files_stay_small() {
    let mut complaints = Vec::new();
    for (path, text) in sources("src") {
        let lines = code(&text).lines().count();
        if lines > MAX_LINES && !is_test(&path) {
            complaints.push(format!("{path}: {lines} lines without tests, over {MAX_LINES}"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn names_say_something() {
    let all = sources("src").into_iter().chain(sources("tests"));
    let empty = |path: &str| {
        path.split('/').any(|part| EMPTY_NAMES.contains(&part.trim_end_matches(".rs")))
    };
    let complaints: Vec<String> = all.map(|(path, _)| path).filter(|path| empty(path)).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn pure_rooms_deny_effects() {
    for pure in PURE {
        let path = root().join(format!("src/{pure}/mod.rs"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("#![deny(clippy::disallowed_methods)]"), "{}", path.display());
        for (path, text) in sources(&format!("src/{pure}")) {
            let code = code(&text);
            assert!(!code.contains("async fn") && !code.contains(".await"), "{path} is async");
        }
    }
}

/// A test that is not run tells nothing: `make test` promises that nothing was skipped.
#[test]
fn no_test_is_ignored() {
    let ignore = ["#[", "ignore"].concat();
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        assert!(!text.contains(&ignore), "{path}");
    }
}

#[test]
fn reads_paths_into_rooms() {
    let text = "use crate::{model::{Digest, UnitName}, plan};\nlet x = crate::store::Store::open();\n\
                // crate::daemon\nuse crate::update::port::Registry;\n#[cfg(test)]\nmod tests { use \
                crate::launch::x; }\n";
    let found = uses(&code(text));
    let expected = [("model", ""), ("plan", ""), ("store", "Store"), ("update", "port")];
    let owned = |(room, part): (&str, &str)| (room.to_owned(), part.to_owned());
    assert_eq!(found, expected.map(owned).into());
}
