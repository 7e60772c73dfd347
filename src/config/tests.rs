use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{MinFree, Rollback};

struct Roots(tempfile::TempDir);

impl Roots {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn load(&self) -> Result<Settings, Error> {
        let dirs = ["etc", "run", "lib"].map(|dir| self.0.path().join(dir));
        load_from(&dirs, paths())
    }
}

fn paths() -> Paths {
    Paths::of(Scope::System).unwrap()
}

fn defaults() -> Settings {
    Settings::new(Fragment::default(), paths())
}

/// The shipped file with its keys uncommented; the example of a unit's table included.
fn shipped() -> String {
    let text = include_str!("../../config/updaterd.toml");
    let key = |line: &str| {
        let line = line.strip_prefix('#')?;
        let is_key = line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        (is_key || line.starts_with('[')).then(|| line.to_owned())
    };
    text.lines().map(|line| key(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn the_shipped_file_says_the_defaults() {
    let plain = include_str!("../../config/updaterd.toml");
    assert_eq!(Roots::new().write("etc/updaterd.toml", plain).load().unwrap(), defaults());
    let mut uncommented = Roots::new().write("etc/updaterd.toml", &shipped()).load().unwrap();
    assert_eq!(uncommented.units.len(), 1);
    uncommented.units.clear();
    assert_eq!(uncommented, defaults());
}

#[test]
fn the_shipped_file_and_the_man_page_name_every_key() {
    // serde names every key it knows when it meets one that it does not.
    for (table, unknown) in [
        ("", "x = 1"),
        ("registry", "[registry]\nx = 1"),
        ("podman", "[podman]\nx = 1"),
        ("notify", "[notify]\nx = 1"),
        ("paths", "[paths]\nx = 1"),
        ("unit", "[unit.\"a.service\"]\nx = 1"),
    ] {
        let Err(Error::Invalid { message, .. }) =
            Roots::new().write("etc/updaterd.toml", unknown).load()
        else {
            panic!("{unknown} was accepted");
        };
        let keys: Vec<String> =
            message.split('`').skip(1).step_by(2).skip(1).map(str::to_owned).collect();
        assert!(!keys.is_empty(), "{message}");
        for key in keys.iter().filter(|key| {
            !matches!(key.as_str(), "registry" | "podman" | "notify" | "paths" | "unit")
        }) {
            assert!(
                shipped().contains(&format!("\n{key} = ")),
                "{table}: {key} is not in config/updaterd.toml"
            );
        }
    }
}

#[test]
fn without_files_the_defaults_hold() {
    assert_eq!(Roots::new().load().unwrap(), defaults());
}

#[test]
fn etc_hides_run_hides_lib() {
    let roots = Roots::new();
    roots.write("lib/updaterd.toml", "settle = \"1s\"\nrollback = false");
    roots.write("etc/updaterd.toml", "settle = \"3s\"");
    let settings = roots.load().unwrap();
    assert_eq!((settings.settle, settings.rollback), (Duration::from_secs(3), Rollback::Back));
}

#[test]
fn drop_ins_are_sorted_by_name_over_all_directories() {
    let roots = Roots::new();
    roots.write("etc/updaterd.toml", "settle = \"1s\"\n[unit.\"a.service\"]\nsettle = \"9s\"");
    roots.write("etc/updaterd.d/10-a.toml", "settle = \"2s\"");
    roots.write(
        "lib/updaterd.d/20-b.toml",
        "settle = \"3s\"\n[unit.\"a.service\"]\nrollback = false",
    );
    roots.write("lib/updaterd.d/10-a.toml", "settle = \"never read\"");
    roots.write("etc/updaterd.d/30-not-a-fragment.conf", "?");
    let settings = roots.load().unwrap();
    assert_eq!(settings.settle, Duration::from_secs(3));
    let unit = &settings.units[&"a.service".parse().unwrap()];
    assert_eq!((unit.settle, unit.rollback), (Some(Duration::from_secs(9)), Some(Rollback::Leave)));
}

#[test]
fn a_link_to_dev_null_masks() {
    let roots = Roots::new();
    roots
        .write("lib/updaterd.toml", "settle = \"1s\"")
        .write("lib/updaterd.d/a.toml", "rollback = false");
    fs::create_dir_all(roots.0.path().join("etc/updaterd.d")).unwrap();
    symlink("/dev/null", roots.0.path().join("etc/updaterd.toml")).unwrap();
    symlink("/dev/null", roots.0.path().join("etc/updaterd.d/a.toml")).unwrap();
    assert_eq!(roots.load().unwrap(), defaults());
}

#[test]
fn errors_say_where_and_what_was_expected() {
    for (text, place, expected) in [
        ("settle = \"1s\"\nsetle = \"2s\"", ":2:1: ", "did you mean `settle`?"),
        ("interval = 5", ":1:12: ", "expected a time such as \"90s\""),
        ("interval = \"5 parsecs\"", ":1:12: ", "\"6h 30m\""),
        ("interval = \"10ms\"", ":1:12: ", "at least \"1s\""),
        ("quarantine_expiry = \"nevr\"", ":1:21: ", "\"6h 30m\""),
        ("quarantine_expiry = \"0s\"", ":1:21: ", "at least \"1s\""),
        ("quarantine_expiry = 7", ":1:21: ", "or \"never\""),
        ("schedule = \"timr\"", ":1:12: ", "did you mean `timer`?"),
        ("checks_in_flight = 0", ":1:20: ", "from 1 to 256"),
        ("pull_reserve = 101", ":1:16: ", "from 0 to 100"),
        ("disk_budget = 5", ":1:15: ", "expected a size such as \"10GiB\""),
        ("disk_budget = \"5\"", ":1:15: ", "is not a size"),
        ("min_free = \"much\"", ":1:12: ", "is not a size such as \"10GiB\""),
        ("min_free = \"100%\"", ":1:12: ", "\"0%\" to \"99%\""),
        ("min_free = 7", ":1:12: ", "a share such as \"5%\", or a list of both"),
        ("[paths]\nstate = \"var\"", ":2:9: ", "from the root"),
        ("[unit.app]\nsettle = \"1s\"", ":1:", "not the name of a service unit"),
        ("[unit.\"a.service\"]\nsettel = \"1s\"", ":2:1: ", "did you mean `settle`?"),
        ("[unit.\"a.service\"]\nprobe = \"https://h/\"", ":2:9: ", "tcp://HOST:PORT"),
        ("[unit.\"a.service\"]\nprobe = [\"true\"]", ":2:9: ", "path from the root"),
        ("[unit.\"a.service\"]\nprobe = 7", ":2:9: ", "a text or a list"),
        ("[registry]\nproxy = \"socks5://secret@p\"", ":2:9: ", "a proxy of another kind"),
        ("[notify]\non = [\"rolledback\"]", ":2:", "did you mean `rolled-back`?"),
        ("[notify]\ncommand = [\"mail\"]", ":2:11: ", "path from the root"),
        ("[notify]\nwebhook = \"ftp://secret\"", ":2:11: ", "https://HOST"),
        ("[unit.\"a.service\"]\ngroup = \"a b\"", ":2:9: ", "the name of a group"),
        ("mode = \"atuo\"", ":1:8: ", "\"auto\", \"approve\""),
        ("window = \"daily\"", ":1:10: ", "how long it stays open"),
        ("window = 7", ":1:10: ", "or a list of them"),
        ("window = [\"25:00 for 1h\"]", ":1:10: ", "out of its range"),
        ("[unit.\"a.service\"]\nwindow = \"2:00 Mars/Base for 1h\"", ":2:10: ", "Mars/Base"),
        ("rollback = \n", ":1:", ""),
        ("rollback = \"nver\"", ":1:12: ", "true, false or \"never\""),
        ("[unit.\"a.service\"]\nrollback = 1", ":2:12: ", "true, false or \"never\""),
    ] {
        let error = Roots::new().write("etc/updaterd.toml", text).load().unwrap_err().to_string();
        assert!(error.contains(&format!("etc/updaterd.toml{place}")), "{text}: {error}");
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn what_stays_free_is_a_size_or_a_share_or_both() {
    for (text, bytes, percent) in [
        ("\"1.5GiB\"", 3 << 29, 100),
        ("\"7%\"", u64::MAX, 7),
        ("[\"20%\", \"500MB\"]", 500_000_000, 20),
        ("\"0\"", 0, 100),
    ] {
        let text = format!("min_free = {text}\ndisk_budget = \"20GiB\"");
        let settings = Roots::new().write("etc/updaterd.toml", &text).load().unwrap();
        assert_eq!(
            (settings.min_free, settings.disk_budget),
            (MinFree { bytes, percent }, 20 << 30)
        );
    }
}

#[test]
fn a_file_without_end_is_refused() {
    let roots = Roots::new();
    roots.write("etc/updaterd.toml", &"#".repeat((1 << 20) + 1));
    assert!(matches!(roots.load(), Err(Error::Read { .. })));
}

proptest! {
    #[test]
    fn never_panics(text in "(\\PC|\n|=|\"){0,120}") {
        let _ = Fragment::parse(Path::new("x"), &text);
    }
}
