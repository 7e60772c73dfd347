//! Probes by a program.

use std::process::Stdio;

use crate::program::{Group, child, ends_well};

pub(super) async fn ask(command: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("it names no program".to_owned());
    };
    let mut process = child(program.as_ref(), arguments);
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let spawned = process.spawn().map_err(|error| format!("{program} cannot be run: {error}"));
    let mut child = spawned?;
    let group = Group::of(&child);
    let ended = ends_well(&mut child, "").await.map_err(|error| error.to_string())?;
    group.release();
    ended
}
