//! Waiting for a command of `exec`.

use std::time::{Duration, Instant};

use crate::launch::Error;
use crate::launch::control::protocol::Request;
use crate::launch::network::pasta::Pasta;
use crate::launch::supervise::network::{Carried, look_after};
use crate::launch::supervise::traffic::Traffic;
use crate::launch::supervise::{Init, Signals, memory, part, poll_until};

/// How long a command that was told to end may take, before SIGKILL.
const PATIENCE_OF_EXEC: Duration = Duration::from_secs(10);

/// Waits for a health check; its exit status. Who ends us ends the command at once, with all that
/// it has started.
pub(crate) fn attend_check(mut command: Init, mut signals: Signals) -> Result<u8, Error> {
    loop {
        while let Some(signal) = signals.next() {
            if matches!(signal, libc::SIGTERM | libc::SIGHUP | libc::SIGINT) {
                command.kill_group();
            }
        }
        if let Some(status) = command.reap()? {
            return Ok(status);
        }
        poll_until(vec![((), signals.source())], None)?;
    }
}

/// Waits for the process that holds a pod's namespaces; its exit status. Whom its containers reach is
/// looked after meanwhile.
pub(crate) fn attend_pod(
    mut infra: Init,
    mut signals: Signals,
    mut network: Option<&mut Pasta>,
) -> Result<u8, Error> {
    let (mut kill_at, mut lost) = (None, false);
    memory::give_back();
    loop {
        while let Some(signal) = signals.next() {
            pass_on(&infra, signal, &mut kill_at);
        }
        let mut others = Vec::new();
        if let Some(status) = infra.reap_all(|pid, status| others.push((pid, status)))? {
            return Ok(if lost { status.max(1) } else { status });
        }
        let mut until = kill_at;
        if let Some(pasta) = network.as_deref_mut().filter(|_| kill_at.is_none() && !lost) {
            lost = look_after(pasta, &others) == Carried::No;
            until = pasta.due();
        }
        if lost || kill_at.is_some_and(|at| at <= Instant::now()) {
            infra.send(libc::SIGKILL);
            until = None;
        }
        poll_until(vec![((), signals.source())], until)?;
    }
}

/// Waits for a command in a container, and passes on what signals come; its exit status as that of
/// a container's. Who ends us ends the command. `traffic` is that of its terminal, where it has one.
pub(crate) fn attend(
    mut command: Init,
    mut signals: Signals,
    mut traffic: Option<Traffic<'_>>,
) -> Result<u8, Error> {
    let mut kill_at: Option<Instant> = None;
    memory::give_back();
    loop {
        while let Some(signal) = signals.next() {
            pass_on(&command, signal, &mut kill_at);
        }
        if let Some(status) = command.reap()? {
            if let Some(traffic) = &mut traffic {
                traffic.finish(&mut signals, None);
                part(traffic.control, status)?;
            }
            return Ok(status);
        }
        if kill_at.is_some_and(|at| at <= Instant::now()) {
            command.send(libc::SIGKILL);
        }
        let mut sources = vec![(None, signals.source())];
        if let Some(traffic) = &traffic {
            sources.extend(traffic.sources().into_iter().map(|(turn, fd)| (Some(turn), fd)));
        }
        let until = kill_at.filter(|at| *at > Instant::now());
        for turn in poll_until(sources, until)?.into_iter().flatten() {
            let request = traffic.as_mut().and_then(|traffic| traffic.take(turn));
            if let Some(Request::Signal(number)) = request {
                pass_on(&command, number.into(), &mut kill_at);
            }
        }
        if let Some(traffic) = &mut traffic {
            traffic.tidy();
        }
    }
}

fn pass_on(command: &Init, signal: i32, kill_at: &mut Option<Instant>) {
    if matches!(signal, libc::SIGTERM | libc::SIGHUP) {
        kill_at.get_or_insert_with(|| Instant::now() + PATIENCE_OF_EXEC);
    }
    if !matches!(signal, libc::SIGCHLD | libc::SIGURG) {
        command.send(signal);
    }
}
