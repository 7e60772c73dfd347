//! Units that run a container, and the service under test: what most tests begin with.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;

/// A unit that runs one container with `updater-launch`, as the README tells people to write it.
pub(crate) struct ContainerUnit {
    name: String,
    image: String,
    flags: Vec<String>,
    unit: String,
    kind: &'static str,
    service: Vec<String>,
    command: String,
}

impl ContainerUnit {
    /// `name.service`, with a container of the same name, updated from `image`'s registry.
    pub(crate) fn new(name: &str, image: &str) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            flags: vec!["--label io.containers.autoupdate=registry".into()],
            unit: String::new(),
            kind: "notify",
            service: Vec::new(),
            command: String::new(),
        }
    }

    /// Another flag of `updater-launch run`.
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Without the label that asks for updates.
    pub(crate) fn unlabelled(mut self) -> Self {
        self.flags.clear();
        self
    }

    /// Lines of `[Unit]`.
    pub(crate) fn unit_setting(mut self, lines: &str) -> Self {
        self.unit = format!("[Unit]\n{lines}\n");
        self
    }

    /// Another `Type=`.
    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// Another line of `[Service]`.
    pub(crate) fn setting(mut self, line: &str) -> Self {
        self.service.push(line.into());
        self
    }

    /// What the container runs instead of its image's command.
    pub(crate) fn command(mut self, command: &str) -> Self {
        self.command = command.into();
        self
    }

    /// READY comes from the program in the container (`Image::notifying`).
    pub(crate) fn notified_by_program(self) -> Self {
        self.flag("--sdnotify=container").flag("--volume /usr:/usr:ro")
    }

    /// Writes the unit and has systemd read it.
    pub(crate) fn write(self, host: &Host) -> Self {
        let unit = self.place(host);
        host.sh("systemctl daemon-reload");
        unit
    }

    /// Writes the unit; systemd is not told.
    pub(crate) fn place(self, host: &Host) -> Self {
        let flags = self.flags.join(" ");
        let network = if flags.contains("--network") || flags.contains("--pod ") {
            ""
        } else {
            "--network host "
        };
        let sdnotify = if flags.contains("--sdnotify") { "" } else { "--sdnotify=conmon " };
        // An instance has a sign in its name that no container may have.
        let container = if self.name.ends_with('@') { "%p" } else { "%N" };
        let text = format!(
            "{}[Service]\nType={}\nNotifyAccess=all\nDelegate=yes\nKillMode=mixed\n\
             TimeoutStartSec=30\nTimeoutStopSec=15\n{}\n\
             ExecStart=/usr/bin/updater-launch run --rm --replace --name {container} {sdnotify}\
             {network}{flags} {} {}\n",
            self.unit,
            self.kind,
            self.service.join("\n"),
            self.image,
            self.command,
        );
        host.write(&format!("/etc/systemd/system/{}.service", self.name), &text);
        self
    }

    /// Writes the unit and starts it.
    pub(crate) fn start(self, host: &Host) -> Self {
        let unit = self.write(host);
        host.sh(&format!("systemctl start {}.service", unit.name));
        unit
    }
}

/// What `/app/version` says in the running container `name`; empty where none runs.
pub(crate) fn version(host: &Host, name: &str) -> String {
    host.run(&format!("updater-launch exec {name} cat /app/version")).stdout.trim().to_owned()
}

/// Waits until the container `name` runs `expected` and its unit is active.
#[track_caller]
pub(crate) fn wait_for_version(host: &Host, name: &str, expected: &str) {
    host.wait_until(&format!("{name} runs {expected}"), seconds(40), || {
        version(host, name) == expected
            && host.property(&format!("{name}.service"), "ActiveState") == "active"
    });
}

/// The invocation of a unit: another one means that it was restarted.
pub(crate) fn invocation(host: &Host, name: &str) -> String {
    host.property(&format!("{name}.service"), "InvocationID")
}

/// An updater that does nothing by itself, and a registry with v1 of `app:latest`, whose reference
/// comes along.
pub(crate) fn begin(host: &Host) -> (Registry<'_>, String) {
    configure_quiet(host);
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let reference = registry.reference("app:latest");
    (registry, reference)
}

/// Configuration for tests: nothing by itself, a short settle time.
pub(crate) fn configure_quiet(host: &Host) {
    configure(host, "schedule = \"timer\"\nsettle = \"2s\"\n");
}

/// Configuration for tests of the daemon's own schedule.
pub(crate) fn configure_every_second(host: &Host) {
    configure(host, "interval = \"1s\"\njitter = \"0s\"\nsettle = \"2s\"\n");
}

pub(crate) fn configure(host: &Host, text: &str) {
    host.write("/etc/updaterd/updaterd.toml", text);
}
