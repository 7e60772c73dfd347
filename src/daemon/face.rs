//! What the daemon shows of itself: properties on the bus, a line in `systemctl status`.
//!
//! What must not live here: what it is doing, and when it wakes; both are arguments.

use super::bus::{Activity, Outbox, Properties, Signal};
use super::schedule::Calendar;
use crate::systemd::notify;

/// The two faces, towards the bus and towards systemd.
#[derive(Debug)]
pub(super) struct Face {
    signals: Outbox,
    /// Why the newest configuration is not in force.
    rejected: Option<String>,
}

impl Face {
    pub(super) fn new(signals: Outbox) -> Self {
        Self { signals, rejected: None }
    }

    /// Why the newest configuration is not in force; `None` where it is.
    pub(super) fn reject(&mut self, why: Option<String>) {
        self.rejected = why;
    }

    pub(super) fn show(&self, activity: Activity, calendar: &Calendar) {
        self.show_with(activity, calendar, &self.line(activity, calendar));
    }

    /// The last that is shown. `why` is for `systemctl status`.
    pub(super) fn stopping(&self, calendar: &Calendar, why: &str) {
        notify::stopping();
        self.show_with(Activity::Stopping, calendar, why);
    }

    fn show_with(&self, activity: Activity, calendar: &Calendar, line: &str) {
        let (last_check, next_check) = (calendar.last_check(), calendar.next_check());
        let properties = Properties { activity, last_check, next_check };
        self.signals.send(Signal::Properties(properties));
        notify::status(line);
    }

    fn line(&self, activity: Activity, calendar: &Calendar) -> String {
        let mut line = activity.as_str().to_owned();
        if let Some(last) = calendar.last_check() {
            line.push_str(&format!("; last check {last:.0}"));
        }
        match calendar.next_check() {
            Some(next) => line.push_str(&format!("; next check {next:.0}")),
            None => line.push_str("; checks are started by a timer"),
        }
        if let Some(rejected) = &self.rejected {
            line.push_str("; ");
            line.push_str(rejected);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::daemon::bus::outbox;

    #[test]
    fn the_line_says_what_when_and_what_is_wrong() {
        let mut face = Face::new(outbox().0);
        let mut calendar = Calendar::new(None, Timestamp::UNIX_EPOCH, 0.0);
        let line = face.line(Activity::Idle, &calendar);
        assert_eq!(line, "idle; checks are started by a timer");
        calendar.checked(Timestamp::UNIX_EPOCH);
        face.reject(Some("configuration rejected".into()));
        assert_eq!(
            face.line(Activity::Updating, &calendar),
            "updating; last check 1970-01-01T00:00:00Z; checks are started by a timer; \
             configuration rejected"
        );
    }
}
