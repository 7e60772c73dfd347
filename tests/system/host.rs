//! The host that a test has to itself: shell commands, files, waiting for conditions.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(40);

/// The directory of the programs under test.
pub(crate) fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_updaterd")).parent().unwrap()
}

/// A booted host with this project installed on it.
pub(crate) struct Host;

/// How a command ended and what it printed.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit status; 128 + n for a death by signal n, as a shell has it.
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Host {
    /// Installs the programs, units, D-Bus files and configuration with `make install`.
    pub(crate) fn install() -> Self {
        // One for the whole process: clients of registries that speak TLS ask for it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = Self;
        host.sh(&format!(
            "make --silent --no-print-directory -C {} install PREFIX=/usr BUILT={}
             systemctl daemon-reload
             systemd-tmpfiles --create /usr/lib/tmpfiles.d/updaterd.conf
             busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig",
            env!("CARGO_MANIFEST_DIR"),
            programs().display(),
        ));
        host.sh("mkdir -p /etc/containers/registries.conf.d");
        host
    }

    /// Has all containers made by an installed OCI runtime, whoever makes them.
    pub(crate) fn run_by(&self, runtime: &str) {
        self.sh("mkdir /usr/lib/box; mv /usr/bin/updater-launch /usr/lib/box/");
        self.write(
            "/usr/bin/updater-launch",
            &format!("#!/bin/sh\nexec /usr/lib/box/updater-launch --runtime {runtime} \"$@\"\n"),
        );
        self.sh("chmod 755 /usr/bin/updater-launch");
    }

    /// Runs a shell script to its end, whatever it is.
    pub(crate) fn run(&self, script: &str) -> Outcome {
        let mut command = Command::new("/bin/bash");
        command.args(["-euo", "pipefail", "-c", script]).stdin(Stdio::null()).current_dir("/");
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let signal = || std::os::unix::process::ExitStatusExt::signal(&output.status);
        Outcome {
            status: output.status.code().or_else(|| signal().map(|n| 128 + n)).unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a shell script that must succeed, and gives what it printed, trimmed.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        let outcome = self.run(script);
        assert!(outcome.status == 0, "{script}\n{}", outcome.describe());
        outcome.stdout.trim().to_owned()
    }

    /// Runs a shell script that must fail with `status`, and gives what it said.
    #[track_caller]
    pub(crate) fn fails(&self, status: i32, script: &str) -> Outcome {
        let outcome = self.run(script);
        assert!(outcome.status == status, "{script}: not {status}\n{}", outcome.describe());
        outcome
    }

    /// Runs a shell script that prints JSON.
    #[track_caller]
    pub(crate) fn json(&self, script: &str) -> serde_json::Value {
        let text = self.sh(script);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{script}: {error}\n{text}"))
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Waits until a shell script succeeds.
    #[track_caller]
    pub(crate) fn wait_for(&self, script: &str, limit: Duration) {
        let started = Instant::now();
        loop {
            let outcome = self.run(script);
            if outcome.status == 0 {
                return;
            }
            let waited = started.elapsed();
            assert!(waited < limit, "after {waited:.1?}, still:\n{script}\n{}", outcome.describe());
            std::thread::sleep(POLL);
        }
    }

    /// Waits until `condition` holds; `what` says which.
    #[track_caller]
    pub(crate) fn wait_until(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut() -> bool,
    ) {
        let started = Instant::now();
        while !condition() {
            let waited = started.elapsed();
            assert!(waited < limit, "after {waited:.1?}, still not: {what}");
            std::thread::sleep(POLL);
        }
    }

    /// The way out of a host, and the device that every Linux has for its users: pasta wants both.
    pub(crate) fn connect(&self) {
        self.sh(
            "ip link add out type veth peer name there; ip link set there up; ip link set out up
             ip addr add 192.0.2.1/24 dev out; ip route add default via 192.0.2.254
             umount /dev/net/tun 2> /dev/null || true
             mkdir -p /dev/net; rm -f /dev/net/tun; mknod -m 666 /dev/net/tun c 10 200",
        );
    }

    /// A network, `10.255.255.0/24`, whose packets nobody takes: a connection to a host there never
    /// comes about.
    pub(crate) fn black_hole(&self) {
        self.sh(
            "ip tuntap add dev void mode tun; ip link set void up; ip addr add 10.255.255.2/24 dev void",
        );
    }

    /// One property of a unit.
    pub(crate) fn property(&self, unit: &str, property: &str) -> String {
        self.sh(&format!("systemctl show --value --property={property} {unit}"))
    }

    /// The messages of a unit's journal, or of `journalctl` with any other selection.
    pub(crate) fn journal(&self, selection: &str) -> String {
        self.run(&format!("journalctl --sync; journalctl --no-pager --output=cat {selection}"))
            .stdout
    }
}

impl Outcome {
    pub(crate) fn describe(&self) -> String {
        format!("exit status {}\n{}{}", self.status, self.stdout, self.stderr)
    }

    /// Both outputs as one text, for what is said somewhere.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Seconds, for limits.
pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
