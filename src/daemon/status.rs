//! What systemd is told: ready, reloading, stopping, status line, watchdog (sd_notify(3)).
//!
//! Failures are ignored: nobody listens where the daemon was started by hand.

use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon's side of the notification protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notifier;

impl Notifier {
    /// The daemon answers calls.
    pub fn ready(self, status: &str) {
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being read again; [`Notifier::ready`] follows.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(_) => send(&[NotifyState::Reloading]),
        }
    }

    pub fn stopping(self, status: &str) {
        send(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// The line that `systemctl status` shows.
    pub fn status(self, line: &str) {
        send(&[NotifyState::Status(line)]);
    }

    pub fn watchdog(self) {
        send(&[NotifyState::Watchdog]);
    }

    /// How often to ping the watchdog: half of `WatchdogSec=`; `None` where it is not set.
    pub fn watchdog_period(self) -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }
}

fn send(state: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET= this does nothing; a socket that is gone is no reason to stop.
    let _ = sd_notify::notify(state);
}
