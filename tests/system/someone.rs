//! An ordinary user of the host, with linger: a manager, a bus, and containers of their own.

use crate::host::{Host, Outcome, seconds};

/// Where their containers and images are.
pub(crate) const STORE: &str = "/home/someone/.local/share/updaterd";
pub(crate) const RUN: &str = "/run/user/4000/updaterd";

/// `someone`, number 4000, whose containers' users are 100000 to 165535 on the host.
pub(crate) struct Someone<'host> {
    host: &'host Host,
}

impl<'host> Someone<'host> {
    /// Makes the user, and waits until their manager is there.
    pub(crate) fn new(host: &'host Host) -> Self {
        // An overlay, as the box's own root is one, can be no overlay's upper directory.
        host.sh("mount -t tmpfs -o mode=755 tmpfs /home
             useradd --create-home --uid 4000 someone
             echo someone:100000:65536 | tee /etc/subuid > /etc/subgid
             loginctl enable-linger someone");
        host.wait_for("systemctl is-active user@4000.service", seconds(20));
        let manager = "systemctl --user --machine=someone@ is-active dbus.socket";
        host.wait_for(manager, seconds(20));
        Self { host }
    }

    /// Runs a shell script as the user, in a service of their manager.
    pub(crate) fn run(&self, script: &str) -> Outcome {
        let quoted = script.replace('\'', "'\\''");
        self.host.run(&format!(
            "systemd-run --machine=someone@ --user --pipe --wait --quiet --collect \
             --working-directory=/home/someone /bin/bash -euc '{quoted}'"
        ))
    }

    /// Runs a script that must succeed, and gives what it printed, trimmed.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        let outcome = self.run(script);
        assert!(outcome.status == 0, "{script}\n{}", outcome.describe());
        outcome.stdout.trim().to_owned()
    }

    /// Runs a script that must fail with `status`.
    #[track_caller]
    pub(crate) fn fails(&self, status: i32, script: &str) -> Outcome {
        let outcome = self.run(script);
        assert!(outcome.status == status, "{script}: not {status}\n{}", outcome.describe());
        outcome
    }

    /// Runs a container of the name in the background, in a service of its own, and keeps it.
    pub(crate) fn launch(&self, name: &str, flags: &str, image: &str, command: &str) {
        self.sh(&format!(
            "systemd-run --user --quiet --collect --unit launch-{name} -p Type=notify \
             -p NotifyAccess=main -p Delegate=yes -p KillMode=mixed \
             updater-launch run --name {name} {flags} {image} {command}"
        ));
    }

    /// Writes and starts a unit of the user's that runs a container of its name.
    pub(crate) fn start(&self, name: &str, flags: &str, image: &str, command: &str) {
        self.write(name, flags, image, command);
        self.sh(&format!("systemctl --user start {name}.service"));
    }

    /// Writes the unit and has the manager read it.
    pub(crate) fn write(&self, name: &str, flags: &str, image: &str, command: &str) {
        let text = format!(
            "[Service]\nType=notify\nNotifyAccess=main\nDelegate=yes\nKillMode=mixed\n\
             TimeoutStartSec=30\nTimeoutStopSec=15\n\
             ExecStart=/usr/bin/updater-launch run --rm --replace --name %N {flags} {image} \
             {command}\n"
        );
        self.write_unit(name, &text);
    }

    /// Writes `name.service` and has the manager read it.
    pub(crate) fn write_unit(&self, name: &str, text: &str) {
        let path = format!("/home/someone/.config/systemd/user/{name}.service");
        self.host.write(&path, text);
        self.host.sh("chown -R someone: /home/someone/.config");
        self.sh("systemctl --user daemon-reload");
    }

    /// One property of a unit of the user's.
    pub(crate) fn property(&self, unit: &str, property: &str) -> String {
        self.sh(&format!("systemctl --user show --value --property={property} {unit}"))
    }

    /// What `/app/version` says in the user's running container `name`; empty where none runs.
    pub(crate) fn version(&self, name: &str) -> String {
        self.run(&format!("updater-launch exec {name} cat /app/version")).stdout.trim().to_owned()
    }
}
