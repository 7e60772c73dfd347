//! `--sysctl`: kernel parameters of the container's own namespaces, and of no other.

use std::collections::BTreeMap;
use std::path::Path;

/// Parameters of the IPC namespace (ipc_namespaces(7)), besides `fs.mqueue.*`.
const OF_IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Parameters by their names.
pub(crate) type Parameters = BTreeMap<String, String>;

/// Why a parameter cannot be set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidParameter {
    #[error("--sysctl {0:?} is not NAME=VALUE")]
    Form(String),
    #[error("--sysctl {0}: the parameter is the whole host's, not one of a namespace")]
    Global(String),
    #[error("--sysctl {name}: the container has no {namespace} namespace of its own")]
    OfHost { name: String, namespace: &'static str },
    #[error("--sysctl {0}: this kernel has no such parameter")]
    Missing(String),
}

/// Which namespaces a container has of its own, or shares with another container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own {
    pub(crate) ipc: bool,
    pub(crate) network: bool,
    pub(crate) uts: bool,
}

/// Reads all words, each `NAME=VALUE`.
pub(crate) fn read(words: &[String], own: Own) -> Result<Parameters, InvalidParameter> {
    let pair = |word: &String| {
        let form = || InvalidParameter::Form(word.chars().take(80).collect());
        let (name, value) = word.split_once('=').ok_or_else(form)?;
        let (name, value) = (name.trim(), value.trim());
        if !is_name(name) || value.is_empty() || value.contains(['\0', '\n']) {
            return Err(form());
        }
        check(name, own)?;
        Ok((name.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

/// Whether the kernel has the parameters, below `directory` (`/proc/sys`): those of interfaces, which
/// only the container may have, are left to the start.
pub(crate) fn check_there(
    parameters: &Parameters,
    directory: &Path,
) -> Result<(), InvalidParameter> {
    let of_interface = |name: &str| {
        name.starts_with("net.") && [".conf.", ".neigh."].iter().any(|part| name.contains(part))
    };
    let is_there = |name: &str| directory.join(name.replace('.', "/")).exists();
    match parameters.keys().find(|name| !of_interface(name) && !is_there(name)) {
        Some(name) => Err(InvalidParameter::Missing(name.clone())),
        None => Ok(()),
    }
}

/// The runtime turns dots into slashes below `/proc/sys`: no part may lead anywhere else.
fn is_name(name: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    name.contains('.') && name.chars().all(of_name) && name.split(['.', '/']).all(|p| !p.is_empty())
}

fn check(name: &str, own: Own) -> Result<(), InvalidParameter> {
    let (is_own, namespace) = if OF_IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        (own.ipc, "IPC")
    } else if name.starts_with("net.") {
        (own.network, "network")
    } else if name == "kernel.domainname" {
        (own.uts, "UTS")
    } else {
        return Err(InvalidParameter::Global(name.to_owned()));
    };
    match is_own {
        true => Ok(()),
        false => Err(InvalidParameter::OfHost { name: name.to_owned(), namespace }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Own = Own { ipc: true, network: true, uts: true };
    const NONE: Own = Own { ipc: false, network: false, uts: false };

    fn one(word: &str, own: Own) -> Result<Parameters, InvalidParameter> {
        read(&[word.to_owned()], own)
    }

    #[test]
    fn parameters_of_a_namespace_are_set() {
        for word in [
            "net.ipv4.ip_forward=1",
            "kernel.msgmax=65536",
            "fs.mqueue.msg_max=20",
            "kernel.domainname=x",
            "net.ipv4.ping_group_range=0 0",
        ] {
            assert!(one(word, ALL).is_ok(), "{word}");
            assert!(matches!(one(word, NONE), Err(InvalidParameter::OfHost { .. })), "{word}");
        }
        assert_eq!(one("kernel.sem = 1 2 3 4", ALL).unwrap()["kernel.sem"], "1 2 3 4");
    }

    #[test]
    fn the_hosts_are_refused() {
        for word in [
            "kernel.core_pattern=x",
            "vm.swappiness=1",
            "kernel.hostname=x",
            "kernel.shm_next_id=1",
            "fs.file-max=9",
        ] {
            assert!(matches!(one(word, ALL), Err(InvalidParameter::Global(_))), "{word}");
        }
    }

    #[test]
    fn names_do_not_lead_elsewhere() {
        for word in [
            "net/../kernel/core_pattern=x",
            "net...kernel.core_pattern=x",
            "net./../../kernel.core_pattern=x",
            "net.a/../../b=x",
            "net.=x",
            ".net.a=x",
            "net.a",
            "net.a=",
            "net.a=x\ny",
            "net.\u{e4}=1",
        ] {
            assert!(matches!(one(word, ALL), Err(InvalidParameter::Form(_))), "{word}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_have_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("net")).unwrap();
        std::fs::write(directory.path().join("net/there"), "").unwrap();
        let there = |word| check_there(&one(word, ALL).unwrap(), directory.path());
        assert!(there("net.there=1").is_ok());
        assert_eq!(there("net.none=1"), Err(InvalidParameter::Missing("net.none".into())));
        assert!(there("net.ipv4.conf.eth0.forwarding=1").is_ok());
    }

    proptest! {
        #[test]
        fn what_is_read_stays_below_its_directory(word in "[a-z./=]{0,30}|\\PC{0,30}") {
            for name in one(&word, ALL).unwrap_or_default().keys() {
                prop_assert!(!name.replace('.', "/").split('/').any(str::is_empty));
            }
        }
    }
}
