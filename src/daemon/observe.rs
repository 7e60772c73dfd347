//! Who hears of a pass's events: the journal, the bus, systemd's status line.

use std::rc::Rc;

use bytesize::ByteSize;

use super::bus::{Change, Outbox, Signal};
use super::journal;
use crate::config::Scope;
use crate::model::OutcomeKind;
use crate::systemd::notify;
use crate::update::port::{Observer, Pulling};
use crate::update::{Event, EventKind};

/// Tells each event to several observers, in order.
#[derive(Clone, Default)]
pub struct Observers(Vec<Rc<dyn Observer>>);

impl Observers {
    /// These and one more.
    #[must_use]
    pub fn with(mut self, observer: impl Observer + 'static) -> Self {
        self.0.push(Rc::new(observer));
        self
    }
}

impl Observer for Observers {
    fn event(&self, event: &Event) {
        for observer in &self.0 {
            observer.event(event);
        }
    }

    fn pulling(&self, pulling: &Pulling) {
        for observer in &self.0 {
            observer.pulling(pulling);
        }
    }
}

/// Writes every event into the journal.
#[derive(Debug, Clone, Copy)]
pub struct Journal(pub Scope);

impl Observer for Journal {
    fn event(&self, event: &Event) {
        journal::record(self.0, event);
    }
}

/// Shows what is being done in `systemctl status`.
#[derive(Debug, Clone, Copy)]
pub struct StatusLine;

impl Observer for StatusLine {
    fn event(&self, event: &Event) {
        let shown = matches!(
            event.kind,
            EventKind::Staging
                | EventKind::Restarting
                | EventKind::Verifying
                | EventKind::RollingBack
                | EventKind::Resumed
        );
        if shown {
            notify::status(&journal::line(event));
        }
    }

    fn pulling(&self, pulling: &Pulling) {
        notify::status(&line(pulling));
    }
}

/// `pulling registry.example/app:1: 3.2 of 12.0 MiB`
fn line(pulling: &Pulling) -> String {
    let Pulling { reference, received, total, .. } = pulling;
    let percent = received.saturating_mul(100).checked_div(*total).unwrap_or(100);
    format!("pulling {reference}: {percent}% of {}", ByteSize::b(*total))
}

/// Makes D-Bus signals of events.
#[derive(Debug, Clone)]
pub struct Signals(pub Outbox);

impl Observer for Signals {
    fn event(&self, event: &Event) {
        for signal in signals(event) {
            self.0.send(signal);
        }
    }

    fn pulling(&self, pulling: &Pulling) {
        self.0.send(Signal::PullProgress {
            reference: pulling.reference.to_string(),
            new: pulling.new.to_string(),
            received: pulling.received,
            total: pulling.total,
        });
    }
}

fn signals(event: &Event) -> Vec<Signal> {
    let text = |value: Option<String>| value.unwrap_or_default();
    let change = || Change {
        unit: text(event.unit.as_ref().map(ToString::to_string)),
        reference: text(event.reference.as_ref().map(ToString::to_string)),
        old: text(event.old.as_ref().map(ToString::to_string)),
        new: text(event.new.as_ref().map(ToString::to_string)),
    };
    let finished = || {
        event.kind.outcome().map(|outcome| Signal::UpdateFinished {
            change: change(),
            outcome: outcome.name().to_owned(),
            detail: event.detail.clone(),
        })
    };
    match event.kind {
        EventKind::UpdateAvailable => vec![Signal::UpdateAvailable(change())],
        EventKind::Restarting => vec![Signal::UpdateStarted(change())],
        EventKind::RolledBack => {
            let back = Signal::RolledBack { change: change(), cause: event.detail.clone() };
            [Some(back), finished()].into_iter().flatten().collect()
        }
        _ => finished().into_iter().collect(),
    }
}

/// Has `observer` hear what a signal tells, as far as it does; not where another signal tells more.
pub fn hear(signal: &Signal, observer: &dyn Observer) {
    if let Some(event) = event(signal) {
        observer.event(&event);
    }
    if let Signal::PullProgress { reference, new, received, total } = signal
        && let (Ok(reference), Ok(new)) = (reference.parse(), new.parse())
    {
        observer.pulling(&Pulling { reference, new, received: *received, total: *total });
    }
}

fn event(signal: &Signal) -> Option<Event> {
    let (kind, change, detail) = match signal {
        Signal::UpdateAvailable(change) => (EventKind::UpdateAvailable, change, ""),
        Signal::UpdateStarted(change) => (EventKind::Restarting, change, ""),
        Signal::RolledBack { change, cause } => (EventKind::RolledBack, change, cause.as_str()),
        Signal::UpdateFinished { change, outcome, detail } => match OutcomeKind::named(outcome)? {
            OutcomeKind::RolledBack => return None,
            outcome => (EventKind::of(outcome), change, detail.as_str()),
        },
        Signal::PullProgress { .. } | Signal::Properties(_) => return None,
    };
    Some(Event {
        unit: change.unit.parse().ok(),
        reference: change.reference.parse().ok(),
        old: change.old.parse().ok(),
        new: change.new.parse().ok(),
        detail: detail.to_owned(),
        ..Event::new(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: EventKind) -> Vec<Signal> {
        signals(&Event { unit: Some("app.service".parse().unwrap()), ..Event::new(kind) })
    }

    #[test]
    fn a_rollback_is_two_signals() {
        let [Signal::RolledBack { .. }, Signal::UpdateFinished { change, outcome, .. }] =
            &of(EventKind::RolledBack)[..]
        else {
            panic!("{:?}", of(EventKind::RolledBack));
        };
        assert_eq!((change.unit.as_str(), outcome.as_str()), ("app.service", "rolled-back"));
    }

    #[test]
    fn each_end_is_told_once_to_who_listens() {
        for kind in [
            EventKind::UpdateAvailable,
            EventKind::Restarting,
            EventKind::Updated,
            EventKind::Reverted,
            EventKind::RolledBack,
            EventKind::UpdateFailed,
            EventKind::NotReached,
            EventKind::StoppedMeanwhile,
            EventKind::Deferred,
            EventKind::NeedsOperator,
            EventKind::Suspended,
        ] {
            let told = Event {
                unit: "app.service".parse().ok(),
                reference: "registry.example/app:1".parse().ok(),
                ..Event::new(kind)
            };
            let heard: Vec<Event> = signals(&told).iter().filter_map(event).collect();
            assert_eq!(heard, [told]);
        }
    }

    #[test]
    fn steps_between_are_none() {
        assert_eq!(of(EventKind::Verifying), []);
        assert!(matches!(of(EventKind::Restarting)[..], [Signal::UpdateStarted(_)]));
    }
}
