//! Podman on the host: units as `podman generate systemd --new` writes them, and what runs in them.

use crate::host::{Host, seconds};
use crate::registry::Registry;
use crate::someone::Someone;
use crate::units::configure_quiet;

/// A unit that runs one container with Podman.
pub(crate) struct PodmanUnit {
    name: String,
    image: String,
    flags: Vec<String>,
    settings: Vec<String>,
    environment: bool,
}

/// Podman as it runs anywhere: without a pids controller, and where crun may not raise its limits.
pub(crate) fn configure(host: &Host) {
    host.write(
        "/etc/containers/containers.conf",
        "[containers]\npids_limit = 0\n[engine]\nruntime = \"runc\"\n",
    );
}

/// A host with Podman, an updater that does nothing by itself, and an empty registry.
pub(crate) fn prepare(host: &Host) -> Registry<'_> {
    configure(host);
    configure_quiet(host);
    Registry::start(host)
}

/// As [`configure`] for an ordinary user, on a host that has cgroup v2 alone.
///
/// Podman 4.3 asks of every line of /proc/self/cgroup whether the user owns that cgroup, and moves
/// itself, with `conmon`, out of its unit where they do not. Where the machine of the box has cgroup
/// v1 beside v2, there are lines that say `/`: of hierarchies that the box does not have.
pub(crate) fn configure_user(host: &Host) {
    host.write(
        "/home/someone/.config/containers/containers.conf",
        "[containers]\npids_limit = 0\n[engine]\nruntime = \"runc\"\n",
    );
    host.sh("chown -R someone: /home/someone/.config; chown someone: /sys/fs/cgroup");
}

impl PodmanUnit {
    /// `name.service`, with a container of the same name, updated from `image`'s registry.
    pub(crate) fn new(name: &str, image: &str) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            flags: vec!["--label io.containers.autoupdate=registry".into()],
            settings: Vec::new(),
            environment: true,
        }
    }

    /// Another flag of `podman run`.
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Another label instead of the one that asks for updates from the registry.
    pub(crate) fn policy(mut self, policy: &str) -> Self {
        self.flags.remove(0);
        self.flags.insert(0, format!("--label io.containers.autoupdate={policy}"));
        self
    }

    /// Without any label.
    pub(crate) fn unlabelled(mut self) -> Self {
        self.flags.remove(0);
        self
    }

    /// Other lines of `[Service]`; an `ExecStop=` comes before Podman's.
    pub(crate) fn setting(mut self, lines: &str) -> Self {
        self.settings.push(lines.into());
        self
    }

    /// Without `PODMAN_SYSTEMD_UNIT` in the unit's environment.
    pub(crate) fn unclaimed(mut self) -> Self {
        self.environment = false;
        self
    }

    /// Writes the unit; systemd is not told.
    pub(crate) fn write(self, host: &Host) -> Self {
        let text = self.text();
        host.write(&format!("/etc/systemd/system/{}.service", self.name), &text);
        self
    }

    /// The unit's text.
    pub(crate) fn text(&self) -> String {
        let environment =
            if self.environment { "Environment=PODMAN_SYSTEMD_UNIT=%n\n" } else { "" };
        let flags = self.flags.join(" ");
        let settings: String = self.settings.iter().map(|lines| format!("{lines}\n")).collect();
        let sdnotify = if flags.contains("--sdnotify") { "" } else { "--sdnotify=conmon " };
        format!(
            "[Service]\nType=notify\nNotifyAccess=all\n{environment}{settings}\
             TimeoutStartSec=30\nTimeoutStopSec=20\n\
             ExecStartPre=/bin/rm -f %t/%n.ctr-id\n\
             ExecStart=/usr/bin/podman run --cidfile=%t/%n.ctr-id --cgroups=no-conmon --rm \
             {sdnotify}-d --replace --name %N --network host --stop-timeout 1 {flags} {}\n\
             ExecStop=/usr/bin/podman stop --ignore -t 1 --cidfile=%t/%n.ctr-id\n\
             ExecStopPost=/usr/bin/podman rm -f --ignore -t 1 --cidfile=%t/%n.ctr-id\n",
            self.image,
        )
    }

    /// Writes the unit and starts it.
    pub(crate) fn start(self, host: &Host) -> Self {
        let unit = self.write(host);
        host.sh(&format!("systemctl daemon-reload; systemctl start {}.service", unit.name));
        unit
    }
}

impl Someone<'_> {
    /// Writes the unit for the user's own Podman, and starts it.
    pub(crate) fn start_podman(&self, unit: PodmanUnit) {
        let name = unit.name.clone();
        self.write_unit(&name, &unit.text());
        self.sh(&format!("systemctl --user start {name}.service"));
    }

    /// What `/app/version` says in a running container of the user's Podman.
    pub(crate) fn podman_version(&self, name: &str) -> String {
        self.run(&format!("podman exec {name} cat /app/version")).stdout.trim().to_owned()
    }
}

/// What `/app/version` says in Podman's running container `name`; empty where none runs.
pub(crate) fn version(host: &Host, name: &str) -> String {
    host.run(&format!("podman exec {name} cat /app/version")).stdout.trim().to_owned()
}

/// Waits until the container `name` runs `expected` and its unit is active.
#[track_caller]
pub(crate) fn wait_for_version(host: &Host, name: &str, expected: &str) {
    host.wait_until(&format!("{name} runs {expected}"), seconds(40), || {
        version(host, name) == expected
            && host.property(&format!("{name}.service"), "ActiveState") == "active"
    });
}

/// `pod-pod.service`, with a container for each of these images, called as its repository, and the units
/// that Podman writes for a pod.
pub(crate) fn start_pod(registry: &Registry, host: &Host, images: &[&str]) {
    host.sh("podman pod create --name pod --network host");
    for image in images {
        let (reference, label) =
            (registry.reference(image), "--label io.containers.autoupdate=registry");
        host.sh(&format!("podman create --pod pod --name {image} {label} {reference}:latest"));
    }
    host.sh("cd /etc/systemd/system
         podman generate systemd --new --files --name pod
         podman pod rm -f pod
         systemctl daemon-reload
         systemctl start pod-pod.service");
}
