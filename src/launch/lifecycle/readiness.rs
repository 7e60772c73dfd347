//! What the service manager is told when a container has started.

use std::time::Duration;

use crate::launch::args::SdNotify;
use crate::launch::supervise::notify::Notifier;

/// Tells systemd which process to watch, and that the service is up where that is ours to say.
/// `inside` says whether the container speaks for itself.
pub(crate) fn announce(
    who: SdNotify,
    notifier: &Notifier,
    inside: bool,
    watchdog: Option<Duration>,
) {
    let main = format!("MAINPID={}", std::process::id());
    match who {
        SdNotify::Ignore => {}
        SdNotify::Container if inside => notifier.send(&main),
        SdNotify::Healthy => notifier.send(&main),
        SdNotify::Container | SdNotify::Conmon => notifier.send(&format!("{main}\nREADY=1")),
    }
    if let (Some(interval), SdNotify::Conmon) = (watchdog, who) {
        eprintln!(
            "Warning: the unit has WatchdogSec={}, and with --sdnotify=conmon the container has no \
             way to say WATCHDOG=1: use --sdnotify=container or healthy, ignoring",
            humantime::format_duration(interval)
        );
    }
}
