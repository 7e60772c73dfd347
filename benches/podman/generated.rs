//! Units as `podman generate systemd --new` writes them. For the launcher, nothing in them changes
//! but the program's name.

use crate::host::Host;

/// Who runs the containers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Engine {
    Ours,
    Podman,
}

impl Engine {
    pub(crate) const BOTH: [Self; 2] = [Self::Ours, Self::Podman];

    /// The program that takes Podman's words.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Ours => "updater-launch",
            Self::Podman => "podman",
        }
    }

    /// Who waits for a running container.
    pub(crate) fn supervisor(self) -> &'static str {
        match self {
            Self::Ours => "updater-launch",
            Self::Podman => "conmon",
        }
    }
}

/// Units of one engine, `NAME0.service` and so on, on one image.
pub(crate) struct Units<'a> {
    host: &'a Host,
    /// As a shell expands it.
    pub(crate) names: String,
    pub(crate) count: usize,
    name: &'a str,
}

impl<'a> Units<'a> {
    pub(crate) fn write(
        host: &'a Host,
        engine: Engine,
        name: &'a str,
        images: &[String],
        more: &str,
    ) -> Self {
        for (number, image) in images.iter().enumerate() {
            let text = text(engine.program(), &format!("{name}{number}"), image, more);
            host.write(&format!("/etc/systemd/system/{name}{number}.service"), &text);
        }
        host.sh("systemctl daemon-reload");
        let count = images.len();
        let names = format!("{name}{{0..{}}}.service", count - 1);
        Self { host, names, count, name }
    }

    pub(crate) fn start(&self) {
        self.host.sh(&format!("systemctl start {}", self.names));
    }

    pub(crate) fn stop(&self) {
        self.host.sh(&format!("systemctl stop {}", self.names));
    }

    /// The main processes: those that wait for the containers.
    pub(crate) fn main_processes(&self) -> Vec<String> {
        let names = (0..self.count).map(|number| format!("{}{number}.service", self.name));
        names.map(|name| self.host.property(&name, "MainPID")).collect()
    }

    /// How many are active.
    pub(crate) fn active(&self) -> usize {
        let states = self.host.run(&format!("systemctl is-active {}", self.names)).stdout;
        states.lines().filter(|state| *state == "active").count()
    }
}

fn text(program: &str, name: &str, image: &str, more: &str) -> String {
    format!(
        "[Service]\nType=notify\nNotifyAccess=all\nEnvironment=PODMAN_SYSTEMD_UNIT=%n\n\
         Restart=no\nTimeoutStartSec=120\nTimeoutStopSec=70\n\
         ExecStartPre=/bin/rm -f %t/%n.ctr-id\n\
         ExecStart=/usr/bin/{program} run --cidfile=%t/%n.ctr-id --cgroups=no-conmon --rm \
         --sdnotify=conmon -d --replace --name {name} --network host {more} {image}\n\
         ExecStop=/usr/bin/{program} stop --ignore -t 10 --cidfile=%t/%n.ctr-id\n\
         ExecStopPost=/usr/bin/{program} rm -f --ignore -t 10 --cidfile=%t/%n.ctr-id\n",
    )
}
