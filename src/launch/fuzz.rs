//! What fuzzers call, and the unit tests with random input: parsers of hostile or mistyped text. They
//! touch nothing of the host, but for a temporary directory; a panic, or an answer that contradicts another, is a fault.
#![allow(clippy::panic, clippy::expect_used, reason = "a fault is told by a panic")]

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use clap::Parser as _;
use rustix::fs::{Mode, OFlags};

use crate::launch::args::Create;
use crate::launch::command::{Arguments, Command};
use crate::launch::copy::unpack::{Owner, Target};
use crate::launch::isolation::capability::{Capabilities, known};
use crate::launch::isolation::limits::Limits;
use crate::launch::isolation::namespaces::Namespaces;
use crate::launch::isolation::resources::Resources;
use crate::launch::isolation::seccomp::profile::{Host, compile};
use crate::launch::isolation::security::Security;
use crate::launch::isolation::view::View;
use crate::launch::isolation::{device_rule, sysctl};
use crate::launch::lifecycle::asked;
use crate::launch::process::attributes::Attributes;
use crate::launch::process::environment::Environment;
use crate::launch::process::user::resolve;
use crate::launch::spec::{Program, Wanted, spec};
use crate::launch::storage::flags::{device, mount, secret, tmpfs, volume as bind};
use crate::launch::storage::mounts::{Kernel, Own};
use crate::launch::storage::volume::{Source, Volume};
use crate::launch::view::image;
use crate::store::fuzz::{Outer, mend};
use crate::store::{self, unpack};

/// A command line: words, each ended by a NUL.
pub fn arguments(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let words = std::iter::once("updater-launch").chain(text.split('\0'));
    let Ok(arguments) = Arguments::try_parse_from(words) else { return };
    match arguments.command {
        Command::Run(run) => of_create(&run.create),
        Command::Create(create) => of_create(&create.create),
        _ => {}
    }
}

/// What is kept of a container must be what it was made from, and all of it readable again.
fn of_create(create: &Create) {
    let kept = serde_json::to_string(create).expect("flags are text and numbers");
    let again: Create = serde_json::from_str(&kept).expect("what was written can be read");
    let twice = serde_json::to_string(&again).expect("flags are text and numbers");
    assert_eq!(kept, twice, "a definition changes when it is kept");
    let isolation = &create.isolation;
    let _ = asked::labels(&create.identity.label);
    let _ = Security::read(&isolation.security_opt);
    let _ = Limits::new(&isolation.ulimit);
    let _ = Resources::read(&create.resources, |_: &Path| Ok(Some((8, 0))));
    let _ = Capabilities::new(&isolation.cap_add, &isolation.cap_drop, 0, &known());
    for rule in &isolation.device_cgroup_rule {
        let _ = device_rule::read(rule);
    }
    let own = sysctl::Own { ipc: true, network: true, uts: true };
    for name in sysctl::read(&isolation.sysctl, own).unwrap_or_default().keys() {
        assert!(!name.contains(".."), "{name} leads elsewhere");
    }
}

/// The text of a volume, a mount, a tmpfs, a device or a secret.
pub fn volume(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = secret::parse(&text);
    if let Ok(device) = device::parse(&text) {
        assert!(device.container.starts_with("/dev/"), "{text:?} is at {:?}", device.container);
    }
    let read = [bind::parse(&text), mount::parse(&text), tmpfs::parse(&text)];
    for volume in read.into_iter().flatten() {
        let target = &volume.target;
        assert!(target.is_absolute() && target != Path::new("/"), "{text:?} is at {target:?}");
        let up = std::path::Component::ParentDir;
        assert!(target.components().all(|part| part != up), "{text:?} leads up");
    }
}

/// What a container is described from: lines of user, directory, host name, passwd(5), group(5), and
/// from then on of variables and volumes in turn.
pub fn spec_of_lines(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (user, directory, hostname) = (next(), next(), next());
    let (passwd, group) = (next().replace('\u{b}', "\n"), next().replace('\u{b}', "\n"));
    let Ok(user) = resolve(user, &passwd, &group) else { return };
    let mut environment = Environment::default();
    let mut volumes: Vec<Volume> = Vec::new();
    for (number, line) in lines.enumerate() {
        match number % 3 {
            0 => environment.inherit(line),
            1 => volumes.extend(bind::parse(line)),
            _ => volumes.extend(tmpfs::parse(line)),
        }
    }
    // Others are made binds before.
    volumes.retain(|volume| matches!(volume.source, Source::Bind { .. } | Source::Tmpfs { .. }));
    let capabilities = Capabilities::new(&[], &[], user.uid, &known());
    let wanted = Wanted {
        rootfs: Path::new("/rootfs"),
        own: Own { read_only: user.uid % 2 == 1, ..Own::default() },
        hostname,
        kernel: Kernel::default(),
        namespaces: &Namespaces::default(),
        view: View::default(),
        cgroup: "/a.service/payload",
        volumes: &volumes,
        files: &[],
        devices: &[],
        filter: None,
        annotations: std::collections::HashMap::new(),
        process: Program {
            user: &user,
            arguments: vec!["true".to_owned()],
            environment: environment.to_strings(),
            directory,
            capabilities: &capabilities.expect("the usual ones are known"),
            attributes: &Attributes::default(),
            terminal: false,
            borrowed: &[],
        },
    };
    let spec = spec(wanted).expect("nothing in it is left out");
    let mounts = spec.mounts().as_ref().expect("there are always some");
    for volume in &volumes {
        let at = |mount: &&oci_spec::runtime::Mount| *mount.destination() == volume.target;
        assert!(mounts.iter().filter(at).count() >= 1, "{volume:?} is not mounted");
    }
}

/// An archive that is copied into a container, or that images are read from. What the container has there
/// already are links that lead elsewhere.
pub fn archive(data: &[u8]) {
    unpack_in(&Outer::new(), &mend(data));
}

fn unpack_in(outer: &Outer, archive: &[u8]) {
    let root = outer.root();
    let make = || -> std::io::Result<OwnedFd> {
        std::fs::create_dir(root.join("a"))?;
        symlink("../..", root.join("a/up"))?;
        symlink(outer.path(), root.join("b"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&root, flags, Mode::empty())?)
    };
    let opened = make().expect("a new directory can be written");
    let limits = unpack::Limits { entries: 2000, ..unpack::Limits::DEFAULT };
    // Who is no root may give files to nobody.
    let owners = [Owner::Ours, Owner::Kept];
    let count = if rustix::process::geteuid().is_root() { 2 } else { 1 };
    for owner in owners.into_iter().take(count) {
        for directory in ["", "a", "b"] {
            let directory = directory.into();
            let _ = Target { root: opened.as_fd(), directory, owner, users: None }
                .unpack(archive, &limits);
            outer.check();
        }
    }
}

/// An image's configuration, and all that is shown of it.
pub fn image_config(data: &[u8]) {
    let Some(image) = store::fuzz::image(data) else { return };
    let _ = image::document(&image);
    let _ = image::summary(&image, 1);
    let _ = image::rows(&image, true, jiff::Timestamp::UNIX_EPOCH);
}

/// A seccomp profile: what compiles is a program that the kernel takes.
pub fn seccomp_profile(data: &[u8]) {
    let capabilities = Capabilities::default();
    let _ = compile(data, Host { capabilities: &capabilities, kernel: "6.1.0" });
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::archives::{archives, packed};

    /// Words that command lines are made of, and some that they are not.
    fn word() -> impl Strategy<Value = String> {
        let flags = [
            "--rm",
            "--name",
            "--memory=1g",
            "--cpus",
            "-v",
            "/a:/b:ro",
            "--tmpfs=/t",
            "--pid=host",
            "--ipc=container:x",
            "--security-opt",
            "seccomp=/p",
            "--ulimit=nofile=1:2",
            "--sysctl",
            "net.a=1",
            "--privileged",
            "--cap-add=all",
            "--device-cgroup-rule=c 1:1 r",
            "--network=none",
            "--label=a=b",
            "--env=A",
            "--oom-score-adj=-5",
            "--cgroup-conf=memory.high=1",
            "--umask=22",
        ];
        prop_oneof![4 => proptest::sample::select(flags.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,20}"]
    }

    proptest! {
        #[test]
        fn command_lines(words in vec(word(), 0..12), verb in "run|create|exec|\\PC{0,6}") {
            let line = format!("{verb}\0--network=host\0{}\0quay.io/a\0sh", words.join("\0"));
            arguments(line.as_bytes());
        }

        #[test]
        fn volumes(text in "[a-z/.:,=]{0,40}|\\PC{0,40}") {
            volume(text.as_bytes());
        }

        #[test]
        fn descriptions(lines in vec("[a-z0-9:/.,=]{0,30}|\\PC{0,30}", 0..16)) {
            spec_of_lines(lines.join("\n").as_bytes());
        }

        #[test]
        fn archives_into_containers(entries in archives()) {
            let outer = Outer::new();
            unpack_in(&outer, &packed(&entries, outer.path()));
        }

        #[test]
        fn configurations(text in "[\\[\\]{}:,\"a-z0-9]{0,100}") {
            image_config(format!(r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":[]}},"config":{{"Env":["{}"]}},"history":[{text}]}}"#, text.replace('"', "")).as_bytes());
        }

        #[test]
        fn profiles(data in vec(any::<u8>(), 0..200)) {
            seccomp_profile(&data);
        }
    }
}
