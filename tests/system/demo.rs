//! `make demo`: the main job, for a person to watch.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure, invocation, version};

/// How long each chapter may take.
const PATIENCE: Duration = seconds(30);

/// A teller of the story, who looks at the clock.
struct Teller<'host> {
    host: &'host Host,
    started: Instant,
}

impl Teller<'_> {
    fn chapter(&self, title: &str) {
        println!("\n[{:5.1} s] {title}", self.started.elapsed().as_secs_f64());
    }

    fn line(&self, text: &str) {
        println!("          {text}");
    }

    fn shows(&self, command: &str) {
        println!("\n$ {command}");
        println!("{}", self.host.sh(command));
    }

    /// Waits for an outcome in the journal of `app.service`, and tells it.
    #[track_caller]
    fn awaits(&self, message: &str, count: usize) {
        let selection = format!("MESSAGE_ID={message}");
        let mut last = String::new();
        self.host.wait_until(&selection, PATIENCE, || {
            let said = self.host.journal(&selection);
            let lines: Vec<&str> = said.lines().collect();
            last = lines.last().copied().unwrap_or_default().to_owned();
            lines.len() >= count
        });
        self.line(&last);
    }
}

const UPDATED: &str = "bcab17d2d3a8428888aa816337cefbf4";
const ROLLED_BACK: &str = "95b6ed3598b842ccb1c1378eed8bc8d5";

/// Tells the story; panics where it does not go as told.
pub(crate) fn tell(host: &Host) -> ExitCode {
    let teller = Teller { host, started: Instant::now() };
    teller.chapter("a registry, with image v1 as app:latest");
    let registry = Registry::start(host);
    let app = registry.reference("app:latest");
    let v1 = registry.push("app:latest", &Image::app("v1"));
    teller.line(&v1);

    teller.chapter("app.service starts a container of it");
    ContainerUnit::new("app", &app).start(host);
    teller.line(&host.sh("grep ExecStart /etc/systemd/system/app.service"));
    assert_eq!(version(host, "app"), "v1");

    teller.chapter("updaterd.service starts; it checks every second here");
    configure(host, "interval = \"1s\"\njitter = \"0s\"\nsettle = \"3s\"\n");
    host.sh("systemctl start updaterd.service");
    teller.line(&host.property("updaterd.service", "StatusText"));

    teller.chapter("v2 is pushed");
    let pushed = Instant::now();
    teller.line(&registry.push("app:latest", &Image::app("v2")));
    teller.awaits(UPDATED, 1);
    assert_eq!(version(host, "app"), "v2");
    teller.line(&format!("v2 runs, {:.1} s after the push", pushed.elapsed().as_secs_f64()));

    teller.chapter("v3 is pushed, which crashes after a moment");
    let pushed = Instant::now();
    let v3 = registry.push("app:latest", &Image::crashing_later("v3"));
    teller.line(&v3);
    teller.awaits(ROLLED_BACK, 1);
    assert_eq!(version(host, "app"), "v2");
    teller.line(&format!("v2 runs again, {:.1} s after the push", pushed.elapsed().as_secs_f64()));

    teller.chapter("three checks later");
    let settled = invocation(host, "app");
    let requests = registry.requests().len();
    host.wait_until("three checks", PATIENCE, || registry.requests().len() >= requests + 3);
    assert_eq!(invocation(host, "app"), settled, "v3 was tried again");
    teller.line("app.service was not restarted: v3 is quarantined");

    teller.chapter("v4 is pushed");
    let pushed = Instant::now();
    teller.line(&registry.push("app:latest", &Image::app("v4")));
    teller.awaits(UPDATED, 2);
    assert_eq!(version(host, "app"), "v4");
    teller.line(&format!("v4 runs, {:.1} s after the push", pushed.elapsed().as_secs_f64()));

    teller.shows("updaterctl status");
    teller.shows("updaterctl history");
    teller.shows("journalctl --no-pager --output=short-precise --unit=app.service");
    println!("\nThe story went as told, in {:.0} s.", teller.started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
