//! What the service tells its own manager (sd_notify(3)). Without a manager, nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service is up.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The service reads its configuration again; [`ready`] ends it.
pub fn reloading() {
    let mut state = vec![NotifyState::Reloading];
    state.extend(NotifyState::monotonic_usec_now().ok());
    tell(&state);
}

/// The service is on its way out.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The service is alive.
pub fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] is due: half of what the unit allows; `None` where it asks for none.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// A manager that does not listen is no reason to stop working.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot notify systemd, ignoring");
    }
}
