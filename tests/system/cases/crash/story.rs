//! An update that is told again and again, each time with another new image, and that may be
//! interrupted: what the host is to be like afterwards.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::Value;

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::podman::{self, PodmanUnit};
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure};

/// Exit code of `updaterctl update`, as its manual has it.
const ROLLED_BACK: i32 = 4;
const NEEDS_OPERATOR: i32 = 5;

const SERVICE: &str = "updaterd.service";
/// The rollouts that have not ended.
const IN_FLIGHT: &str = "ls /var/lib/updaterd/ledger/rollouts 2> /dev/null | grep json";
/// What the hook was told.
const TOLD: &str = "journalctl --identifier=told --output=cat";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Native,
    Podman,
}

impl Engine {
    fn program(self) -> &'static str {
        match self {
            Self::Native => "updater-launch",
            Self::Podman => "podman",
        }
    }
}

/// How the new images are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plot {
    Update,
    /// They crash, and take `web.service` with them.
    WayBack,
    /// They crash, and the old one is not to meet what they did (`rollback = "never"`).
    Never,
}

/// `app.service`, which is updated, and `web.service`, which stops with it.
pub(super) struct Story<'host> {
    pub(super) host: &'host Host,
    registry: Registry<'host>,
    pub(super) engine: Engine,
    pub(super) plot: Plot,
    count: Cell<u32>,
    /// What `app` was left with by the last chapter.
    runs: RefCell<String>,
}

/// A new image behind the tag, and what was before.
pub(super) struct Chapter {
    pub(super) version: String,
    pub(super) digest: String,
    pub(super) before: String,
}

impl<'host> Story<'host> {
    pub(super) fn begin(host: &'host Host, engine: Engine, plot: Plot) -> Self {
        Self::begin_with(host, engine, plot, "")
    }

    /// With more lines for the service of `app`.
    pub(super) fn begin_with(host: &'host Host, engine: Engine, plot: Plot, service: &str) -> Self {
        let never = if plot == Plot::Never { "rollback = \"never\"\n" } else { "" };
        configure(
            host,
            &format!(
                "schedule = \"timer\"\nsettle = \"300ms\"\nkeep_images = 1\n{never}[notify]\n\
                 command = [\"/usr/local/bin/tell\"]\n\
                 on = [\"updated\", \"rolled-back\", \"needs-operator\"]\n"
            ),
        );
        host.write("/usr/local/bin/tell", "#!/bin/sh\nlogger -t told \"$(cat)\"\n");
        // Who dies here is not to come back by itself, and does so oftener than a service may.
        host.write(
            "/etc/systemd/system/updaterd.service.d/crash.conf",
            "[Unit]\nStartLimitIntervalSec=0\n\
             [Service]\nEnvironmentFile=-/run/crash.env\nRestart=no\nWatchdogSec=0\n",
        );
        host.write(
            "/etc/systemd/system/web.service",
            "[Unit]\nBindsTo=app.service\nAfter=app.service\nStartLimitIntervalSec=0\n[Service]\nExecStart=sleep infinity\n",
        );
        host.sh("chmod 755 /usr/local/bin/tell; systemctl daemon-reload");
        let registry = Registry::start(host);
        registry.push("app:latest", &Image::app("v0"));
        let reference = registry.reference("app:latest");
        match engine {
            Engine::Native => {
                ContainerUnit::new("app", &reference)
                    .unit_setting("StartLimitIntervalSec=0")
                    .setting(service)
                    .start(host);
            }
            Engine::Podman => {
                podman::configure(host);
                PodmanUnit::new("app", &reference).setting(service).start(host);
            }
        }
        host.sh("systemctl start web.service");
        let (count, runs) = (Cell::new(0), RefCell::new("v0".to_owned()));
        Self { host, registry, engine, plot, count, runs }
    }

    /// Another new image.
    pub(super) fn next(&self) -> Chapter {
        let number = self.count.get() + 1;
        self.count.set(number);
        let version = format!("v{number}");
        let image = match self.plot {
            Plot::Update => Image::app(&version),
            Plot::WayBack | Plot::Never => Image::crashing(&version),
        };
        let before = self.runs.borrow().clone();
        let digest = self.registry.push("app:latest", &image);
        Chapter { version, digest, before }
    }

    /// Updates, with what the service shall do at which point.
    pub(super) fn update(&self, order: &str) -> crate::host::Outcome {
        self.host.write("/run/crash.env", &format!("UPDATERD_CRASH_POINT={order}\n"));
        self.host.sh(&format!("systemctl stop {SERVICE}"));
        let outcome = self.host.run("updaterctl update");
        self.host.sh("rm /run/crash.env");
        outcome
    }

    /// The update dies at `point`.
    #[track_caller]
    pub(super) fn die(&self, point: &str) {
        let outcome = self.update(&format!("kill:{point}"));
        assert_ne!(outcome.status, 0, "{point}: {}", outcome.describe());
        let died = || self.host.property(SERVICE, "Result");
        self.host.wait_until(
            &format!("it dies at {point}: {}", outcome.describe()),
            seconds(5),
            || died() == "signal",
        );
    }

    /// The update dies after this time, if it takes so long.
    pub(super) fn die_after(&self, time: Duration) {
        self.host.sh(&format!(
            "systemctl stop {SERVICE}
             updaterctl update > /tmp/update 2>&1 & update=$!
             sleep {:.3}
             systemctl kill --signal=KILL {SERVICE} 2> /dev/null || true
             wait $update || true",
            time.as_secs_f64(),
        ));
    }

    /// The next start dies, too, after this time.
    pub(super) fn die_in_recovery(&self, time: Duration) {
        self.host.sh(&format!(
            "systemctl reset-failed {SERVICE}; systemctl start {SERVICE}
             sleep {:.3}; systemctl kill --signal=KILL {SERVICE} || true",
            time.as_secs_f64(),
        ));
    }

    /// The update is under way, and stands still at `point`.
    #[track_caller]
    pub(super) fn stand_still(&self, point: &str) {
        self.host.write("/run/crash.env", &format!("UPDATERD_CRASH_POINT=stop:{point}\n"));
        self.host.sh(&format!(
            "systemctl stop {SERVICE}; rm -f /tmp/status
             (set +e; updaterctl update > /tmp/update 2>&1; echo $? > /tmp/status) > /dev/null 2>&1 &"
        ));
        let state =
            "cut -d ' ' -f 3 /proc/$(systemctl show --value -p MainPID updaterd.service)/stat";
        self.host.wait_for(&format!("[ $({state}) = T ]"), seconds(20));
        self.host.sh("rm /run/crash.env");
    }

    /// It goes on to its end.
    #[track_caller]
    pub(super) fn go_on(&self) {
        self.host.sh(&format!("systemctl kill --signal=CONT {SERVICE}"));
        self.host.wait_for("test -s /tmp/status", seconds(40));
    }

    /// What `app` runs now is what the next chapter begins with.
    pub(super) fn remember(&self) {
        *self.runs.borrow_mut() = self.version();
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.host.run(IN_FLIGHT).status == 0
    }

    /// Nothing of it is left, for another story in the same box.
    pub(super) fn close(&self) {
        self.host
            .sh("systemctl stop updaterd.service app.service web.service registry-5000.service
             systemctl reset-failed; rm -rf /var/lib/updaterd/* /run/updaterd/*");
    }

    /// The next start, and all that it has to bring to an end.
    #[track_caller]
    pub(super) fn start_again(&self) {
        self.host.sh(&format!("systemctl reset-failed {SERVICE}; systemctl start {SERVICE}"));
        self.host.wait_for(&format!("! {IN_FLIGHT}"), seconds(40));
    }

    pub(super) fn version(&self) -> String {
        let program = self.engine.program();
        self.host.run(&format!("{program} exec app cat /app/version")).stdout.trim().to_owned()
    }

    /// The ends that the history has of this image.
    pub(super) fn ends(&self, chapter: &Chapter) -> Vec<String> {
        let history = self.host.json("updaterctl history --json");
        let of_it = |entry: &&Value| entry["new"] == chapter.digest.as_str();
        let entries = history.as_array().unwrap().iter().filter(of_it);
        entries.map(|entry| entry["result"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn is_quarantined(&self, chapter: &Chapter) -> bool {
        let held = self.host.json("updaterctl quarantine list --json");
        held.to_string().contains(&chapter.digest)
    }

    /// The manifest behind the tag, and whatever holds against it.
    pub(super) fn tag(&self) -> (String, String) {
        let reference = self.registry.reference("app:latest");
        let inspect = format!("{} image inspect --format '{{{{.Digest}}}}'", self.engine.program());
        let bindings = self.host.run("ls /var/lib/updaterd/bindings 2> /dev/null").stdout;
        (self.host.sh(&format!("{inspect} {reference}")), bindings)
    }

    /// Whatever happened: who ran runs, on an image that the tag stands for; the history says what
    /// became of it, once, and so it is held against the image or not. `begun`: whether it was in flight.
    /// Says whether it came to its end.
    #[track_caller]
    pub(super) fn is_sound(&self, chapter: &Chapter, begun: bool, at: &str) -> bool {
        let ends = self.ends(chapter);
        let runs = self.version();
        if begun || !ends.is_empty() {
            assert_eq!(ends, [self.end()], "{at}: once in the history");
        }
        let is_over = !ends.is_empty();
        assert_eq!(self.is_quarantined(chapter), is_over && self.plot != Plot::Update, "{at}");
        let stays = if is_over { self.expected(chapter) } else { &chapter.before };
        assert_eq!(&runs, stays, "{at}: its image; its ends: {ends:?}");
        if self.plot == Plot::Never {
            return is_over;
        }
        for unit in ["app.service", "web.service"] {
            assert_eq!(self.host.property(unit, "ActiveState"), "active", "{at}: {unit}");
        }
        let (tagged, bindings) = self.tag();
        let is_new = tagged == chapter.digest;
        assert_eq!((is_new, bindings.as_str()), (runs == chapter.version, ""), "{at}: {tagged}");
        *self.runs.borrow_mut() = runs;
        is_over
    }

    /// As if there had been no interruption: the next update ends as it deserves to.
    #[track_caller]
    pub(super) fn goes_on(&self, chapter: &Chapter, at: &str) {
        let outcome = self.host.run("updaterctl update");
        let expected = match self.plot {
            Plot::Update => 0,
            Plot::WayBack => ROLLED_BACK,
            Plot::Never => NEEDS_OPERATOR,
        };
        assert_eq!(outcome.status, expected, "{at}: {}", outcome.describe());
        self.is_sound(chapter, true, at);
    }

    /// Who wants to hear how it ended was told.
    #[track_caller]
    pub(super) fn is_told(&self, chapter: &Chapter) {
        let (digest, end) = (&chapter.digest, self.end());
        self.host.wait_for(&format!("{TOLD} | grep {digest} | grep -q '\"{end}\"'"), seconds(20));
    }

    fn end(&self) -> &'static str {
        match self.plot {
            Plot::Update => "updated",
            Plot::WayBack => "rolled-back",
            Plot::Never => "needs-operator",
        }
    }

    fn expected<'a>(&self, chapter: &'a Chapter) -> &'a String {
        static NOTHING: String = String::new();
        match self.plot {
            Plot::Update => &chapter.version,
            Plot::WayBack => &chapter.before,
            Plot::Never => &NOTHING,
        }
    }
}
