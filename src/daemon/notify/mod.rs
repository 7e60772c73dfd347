//! Hooks: a program or a webhook is told how updates ended.
//!
//! [`Scribe`] writes down what is to be told, before an update counts as ended; [`Deliverer`] tells it,
//! again and again until it is taken. What must not live here: what an update does about it; none waits
//! for a hook, and none fails by one.

mod command;
mod deliver;
mod desk;
mod webhook;

use std::collections::BTreeSet;

use deliver::Refusal;
use jiff::Timestamp;

pub use deliver::Deliverer;
pub use desk::Desk;

use super::journal;
use crate::config::{Scope, Settings};
use crate::crash::{Effect, around_call};
use crate::ledger::spool::{Notice, Spool};
use crate::model::OutcomeKind;
use crate::model::failure::chain;
use crate::update::Event;
use crate::update::port::Observer;

/// One way on which something is told.
#[derive(Debug)]
enum Way {
    Command(command::Command),
    Webhook(webhook::Webhook),
}

impl Way {
    /// What its notices are filed under, and what messages call it.
    fn name(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Webhook(_) => "webhook",
        }
    }

    async fn tell(&self, notice: &Notice) -> Result<(), Refusal> {
        let text = document(notice).to_string();
        match self {
            Self::Command(command) => command.tell(notice, &text).await,
            Self::Webhook(webhook) => webhook.tell(text).await,
        }
    }
}

/// The event as those who are told get it: updaterd.toml(5) has its keys.
fn document(notice: &Notice) -> serde_json::Value {
    let Event { unit, reference, old, new, detail, elapsed_ms, .. } = &notice.event;
    serde_json::json!({
        "version": 1,
        "id": notice.id,
        "at": notice.at,
        "host": notice.host,
        "outcome": notice.outcome,
        "message": notice.message,
        "unit": unit,
        "image": reference,
        "old": old,
        "new": new,
        "detail": detail,
        "elapsed_ms": elapsed_ms,
    })
}

/// The ways that the configuration names.
fn ways(scope: Scope, settings: &Settings) -> Vec<Way> {
    let notify = &settings.notify;
    let command = command::Command::new(scope, &notify.command, notify.timeout);
    let webhook = notify.webhook.clone();
    let webhook = webhook.map(|webhook| webhook::Webhook::new(webhook, notify.timeout));
    command.map(Way::Command).into_iter().chain(webhook.map(Way::Webhook)).collect()
}

/// Writes down what is to be told.
#[derive(Debug)]
pub struct Scribe {
    spool: Spool,
    ways: Vec<&'static str>,
    on: BTreeSet<OutcomeKind>,
    host: String,
    desk: Option<Desk>,
}

impl Observer for Scribe {
    fn event(&self, event: &Event) {
        let outcome = event.kind.outcome();
        let Some(outcome) = outcome.filter(|outcome| self.on.contains(outcome)) else { return };
        let message = journal::line(event);
        let notice = Notice::new(Timestamp::now(), self.host.clone(), outcome, event.clone());
        let notice = Notice { message, ..notice };
        for way in &self.ways {
            match around_call(Effect::Spool, || self.spool.put(way, &notice)) {
                Ok(0) => {}
                Ok(lost) => given_up(way, lost, "too many wait for it"),
                Err(error) => failing(way, &chain(&error)),
            }
        }
        if let Some(desk) = &self.desk {
            desk.wake();
        }
    }
}

/// Says that something will not be told.
fn given_up(way: &str, how_many: usize, why: &str) {
    let text = format!("notify: {how_many} not told by the {way}, given up: {why}");
    journal::note(&journal::message::NOTICE_GIVEN_UP, true, &text);
}

/// Says that something could not be told yet.
fn failing(way: &str, why: &str) {
    let text = format!("notify: the {way} failed: {why}");
    journal::note(&journal::message::NOTIFY_FAILED, true, &text);
}

/// Who tells at the end of a pass.
#[derive(Debug)]
pub enum Teller {
    /// The pass itself, which nobody outlives.
    Here(Deliverer),
    /// The service, beside its passes: also what another process left.
    Desk(Desk),
}

impl Teller {
    pub async fn tell(&self) {
        match self {
            Self::Here(deliverer) => deliverer.deliver_in_time().await,
            Self::Desk(desk) => desk.wake(),
        }
    }
}

/// Who writes down, and who tells, as the configuration has it; nobody where it names none. With a
/// `desk`, that has it told.
pub fn open(scope: Scope, settings: &Settings, desk: Option<&Desk>) -> Option<(Scribe, Deliverer)> {
    let ways = ways(scope, settings);
    if ways.is_empty() {
        return None;
    }
    let spool = Spool::new(&settings.paths.state.join("ledger"));
    let scribe = Scribe {
        spool: spool.clone(),
        ways: ways.iter().map(Way::name).collect(),
        on: settings.notify.on.clone(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        desk: desk.cloned(),
    };
    Some((scribe, Deliverer::new(spool, settings.notify.timeout, ways)))
}

#[cfg(test)]
mod tests;
