//! `--security-opt` (podman-run(1)): what it asks for, in types. Pure.

use std::path::PathBuf;

use crate::launch::isolation::paths::{Pattern, Unmask};

/// All `--security-opt` of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Security {
    pub(crate) seccomp: Option<Seccomp>,
    pub(crate) no_new_privileges: bool,
    /// More paths that are hidden.
    pub(crate) mask: Vec<String>,
    pub(crate) unmask: Unmask,
    /// The profile's name, or `unconfined`.
    pub(crate) apparmor: Option<String>,
    /// Mount options of `/proc`.
    pub(crate) proc_options: Vec<String>,
    /// Labels of SELinux other than "none": only where there is SELinux.
    pub(crate) labels: Vec<String>,
}

/// The filter of system calls, where another one was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seccomp {
    Unconfined,
    /// A profile in a file.
    File(PathBuf),
}

/// Why an option cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidOption {
    #[error(
        "--security-opt {0:?} is not known: apparmor=, label=, mask=, no-new-privileges, proc-opts=, \
         seccomp=, systempaths=unconfined and unmask= are"
    )]
    Unknown(String),
    #[error("--security-opt no-new-privileges={0:?} is neither true nor false")]
    NotBoolean(String),
    #[error("--security-opt {option}: {path:?} is not a path from the root")]
    NotAbsolute { option: &'static str, path: String },
    #[error("--security-opt unmask={0:?}: only * and ? stand for something else")]
    Pattern(String),
    #[error("--security-opt {0:?} has no value")]
    Empty(String),
}

/// Why this host cannot do what was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error(
        "--security-opt apparmor={0}: AppArmor is not enabled on this host; leave it out, or say \
         apparmor=unconfined"
    )]
    AppArmor(String),
    #[error(
        "--security-opt label={0}: SELinux labels are not set by updater-launch; leave it out, or \
         say label=disable"
    )]
    SeLinux(String),
}

impl Security {
    /// Reads all words, each `NAME=VALUE`, or with a colon as Docker once had it.
    pub(crate) fn read(words: &[String]) -> Result<Self, InvalidOption> {
        let mut security = Self::default();
        for word in words {
            security.add(word)?;
        }
        Ok(security)
    }

    fn add(&mut self, word: &str) -> Result<(), InvalidOption> {
        let separator = if word.contains('=') { '=' } else { ':' };
        let unknown = || InvalidOption::Unknown(word.chars().take(80).collect());
        let (name, value) = match word.split_once(separator) {
            Some((_, "")) => return Err(InvalidOption::Empty(word.to_owned())),
            Some((name, value)) => (name, value),
            None if word == "no-new-privileges" => (word, "true"),
            None => return Err(unknown()),
        };
        match name {
            "seccomp" if value == "unconfined" => self.seccomp = Some(Seccomp::Unconfined),
            "seccomp" => self.seccomp = Some(Seccomp::File(value.into())),
            "no-new-privileges" => self.no_new_privileges = boolean(value)?,
            "mask" => {
                for path in value.split(':') {
                    self.mask.push(absolute("mask", path)?);
                }
            }
            "unmask" => self.unmask_all(value)?,
            "systempaths" if value == "unconfined" => self.unmask = Unmask::All,
            "apparmor" => self.apparmor = Some(value.to_owned()),
            "proc-opts" => self.proc_options.extend(value.split(',').map(str::to_owned)),
            "label" if ["disable", "nested"].contains(&value) => {}
            "label" => self.labels.push(value.to_owned()),
            _ => return Err(unknown()),
        }
        Ok(())
    }

    fn unmask_all(&mut self, value: &str) -> Result<(), InvalidOption> {
        for path in value.split(':') {
            if path.eq_ignore_ascii_case("all") {
                self.unmask = Unmask::All;
                continue;
            }
            let path = absolute("unmask", path)?;
            let pattern = Pattern::new(&path).ok_or(InvalidOption::Pattern(path))?;
            if let Unmask::Only(patterns) = &mut self.unmask {
                patterns.push(pattern);
            }
        }
        Ok(())
    }

    /// Whether this host has what is asked for: a named profile that nobody applies protects nobody.
    pub(crate) fn check(&self, apparmor: bool) -> Result<(), Unavailable> {
        match (self.profile(), self.labels.first()) {
            (Some(profile), _) if !apparmor => Err(Unavailable::AppArmor(profile.to_owned())),
            (_, Some(label)) => Err(Unavailable::SeLinux(label.clone())),
            _ => Ok(()),
        }
    }

    /// The AppArmor profile, where one was named.
    pub(crate) fn profile(&self) -> Option<&str> {
        self.apparmor.as_deref().filter(|profile| *profile != "unconfined")
    }
}

/// Whether the kernel applies AppArmor profiles (`/sys/module/apparmor/parameters/enabled`).
pub(crate) fn apparmor_is_enabled() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with('Y'))
}

fn absolute(option: &'static str, path: &str) -> Result<String, InvalidOption> {
    match path.starts_with('/') {
        true => Ok(path.to_owned()),
        false => Err(InvalidOption::NotAbsolute { option, path: path.to_owned() }),
    }
}

/// As Go's strconv.ParseBool reads it.
fn boolean(value: &str) -> Result<bool, InvalidOption> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(InvalidOption::NotBoolean(value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(words: &[&str]) -> Result<Security, InvalidOption> {
        Security::read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_podmans() {
        let security = read(&[
            "seccomp=/etc/p.json",
            "no-new-privileges",
            "mask=/a:/b",
            "unmask=/proc/acpi:/sys/*",
            "apparmor:unconfined",
            "proc-opts=hidepid=2,exec",
            "label=disable",
        ])
        .unwrap();
        assert_eq!(security.seccomp, Some(Seccomp::File("/etc/p.json".into())));
        assert!(security.no_new_privileges && security.profile().is_none());
        assert_eq!(security.mask, ["/a", "/b"]);
        assert_eq!(security.proc_options, ["hidepid=2", "exec"]);
        assert!(security.check(false).is_ok());
        assert!(!read(&["no-new-privileges=false"]).unwrap().no_new_privileges);
        assert_eq!(read(&["unmask=all"]).unwrap().unmask, Unmask::All);
        assert_eq!(read(&["systempaths=unconfined"]).unwrap().unmask, Unmask::All);
        assert_eq!(read(&["unmask=ALL", "unmask=/proc/acpi"]).unwrap().unmask, Unmask::All);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for word in [
            "",
            "x",
            "seccomp",
            "seccomp=",
            "nope=1",
            "no-new-privileges=maybe",
            "mask=proc",
            "unmask=proc",
            "unmask=/proc/[a]",
            "systempaths=x",
            "label=",
        ] {
            assert!(read(&[word]).is_err(), "{word}");
        }
    }

    #[test]
    fn what_the_host_does_not_have_is_refused() {
        let named = read(&["apparmor=mine"]).unwrap();
        assert_eq!(named.check(false), Err(Unavailable::AppArmor("mine".into())));
        assert!(named.check(true).is_ok());
        let label = read(&["label=type:spc_t"]).unwrap();
        assert_eq!(label.check(true), Err(Unavailable::SeLinux("type:spc_t".into())));
    }

    proptest! {
        #[test]
        fn never_panics(words in proptest::collection::vec("\\PC{0,30}", 0..4)) {
            let _ = Security::read(&words);
        }
    }
}
