//! Probes by a program.

use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// So much of what it says on standard error is told.
const MAX_SAID: u64 = 512;

pub(super) async fn ask(command: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("it names no program".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let mut said = Vec::new();
    if let Some(mut errors) = child.stderr.take() {
        // What cannot be read is not told.
        let _ = (&mut errors).take(MAX_SAID).read_to_end(&mut said).await;
        // A program that goes on saying more is not held up.
        tokio::io::copy(&mut errors, &mut tokio::io::sink()).await.ok();
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let line = said.trim().lines().next_back().unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    Err(if line.is_empty() { status.to_string() } else { format!("{status}: {line}") })
}
