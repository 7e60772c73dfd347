//! A program is told on its standard input.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command as Process;

use super::Refusal;
use crate::config::Scope;
use crate::ledger::spool::Notice;
use crate::program::unit::{Unit, apart};
use crate::program::{Group, child, ends_well};

/// What the program of a host may do: ask whoever is there, and read what everybody may. The service has
/// more, and may not give a child less: another user needs a capability that it has not.
const LEAST: [&str; 6] = [
    "DynamicUser=yes",
    "CapabilityBoundingSet=",
    "PrivateDevices=yes",
    "ProtectHome=yes",
    "ProtectProc=invisible",
    "SystemCallArchitectures=native",
];

/// A program that is told.
#[derive(Debug)]
pub(super) struct Command {
    program: String,
    arguments: Vec<String>,
    /// Whether it runs in a unit of its own, as a user of its own.
    apart: bool,
    timeout: Duration,
}

impl Command {
    /// `None` where no program is named.
    pub(super) fn new(scope: Scope, words: &[String], timeout: Duration) -> Option<Self> {
        let (program, arguments) = words.split_first()?;
        let apart = scope == Scope::System;
        Some(Self { program: program.clone(), arguments: arguments.to_owned(), apart, timeout })
    }

    /// Gives it `text`, JSON, and waits for its end.
    pub(super) async fn tell(&self, notice: &Notice, text: &str) -> Result<(), Refusal> {
        let program = &self.program;
        let failed = |error: io::Error| Refusal {
            why: format!("{program} cannot be run: {error}"),
            heard: false,
        };
        let input = format!("{text}\n");
        let mut child = self.process(notice).spawn().map_err(failed)?;
        let group = Group::of(&child);
        match tokio::time::timeout(self.timeout, ends_well(&mut child, &input)).await {
            Ok(ended) => {
                let told = ended.map_err(failed)?;
                // What it left behind goes on.
                group.release();
                told.map_err(|why| Refusal { why, heard: true })
            }
            Err(_) => {
                let why = format!("{program} has not ended after {} s", self.timeout.as_secs());
                Err(Refusal { why, heard: false })
            }
        }
    }

    fn process(&self, notice: &Notice) -> Process {
        let Self { program, arguments, .. } = self;
        let environment = environment(notice);
        let mut process = match self.apart {
            true => {
                let unit = Unit {
                    description: "updaterd tells how an update ended",
                    properties: &LEAST,
                    environment: environment.map(|(name, value)| (name, value.into())).into(),
                    limit: self.timeout,
                };
                apart(unit, program.as_ref(), arguments)
            }
            false => {
                let mut own = child(program.as_ref(), arguments);
                own.envs(environment);
                own
            }
        };
        process.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        process
    }
}

/// What a script wants to know without reading JSON. Who may ask systemd for a unit's properties sees
/// it: it is no secret.
fn environment(notice: &Notice) -> [(&'static str, String); 5] {
    let text = |value: Option<String>| value.unwrap_or_default();
    [
        ("UPDATERD_ID", notice.id.clone()),
        ("UPDATERD_OUTCOME", notice.outcome.name().to_owned()),
        ("UPDATERD_UNIT", text(notice.event.unit.as_ref().map(ToString::to_string))),
        ("UPDATERD_IMAGE", text(notice.event.reference.as_ref().map(ToString::to_string))),
        ("UPDATERD_MESSAGE", notice.message.clone()),
    ]
}
