//! The outer half: boots a box for each test, reports, and tells why where none can be booted.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What `--inside` is called with for the demonstration.
pub(crate) const DEMO: &str = "demonstration";

const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/box/boot");
/// What is called in the box, beside systemd.
const TOOLS: &[&str] = &[
    "make",
    "docker-registry",
    "busybox",
    "openssl",
    "skopeo",
    "dbus-daemon",
    "strace",
    "podman",
    "runc",
    "buildah",
    "mkfs.ext4",
];
/// The longest a test may take; it hangs, then.
const TIME_LIMIT: Duration = Duration::from_secs(240);
/// How much of a failed test's journal is shown. All of it is kept beside the test programs.
const JOURNAL_TAIL: usize = 80;

/// Runs the tests called `names`, `boxes` at once, and exits with success if all passed.
pub(crate) fn run(names: Vec<String>, boxes: Option<usize>) -> ExitCode {
    if names.is_empty() {
        return ExitCode::SUCCESS;
    }
    if let Err(reason) = bootable() {
        return refuse(&reason);
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    // Half of what a test takes is waiting.
    let boxes = boxes.unwrap_or(processors.min(4) + 1).clamp(1, names.len());
    println!("\nrunning {} system tests, {boxes} at once", names.len());
    let started = Instant::now();
    let total = names.len();
    let waiting = Mutex::new(VecDeque::from(names));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..boxes {
            scope.spawn(|| {
                loop {
                    let Some(name) = waiting.lock().unwrap().pop_front() else { break };
                    if let Err(failure) = run_one(&name) {
                        failures.lock().unwrap().push((name, failure));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    for (name, failure) in &failures {
        println!("\n---- {name} ----\n{failure}");
    }
    if !failures.is_empty() {
        println!("\nfailed:");
        failures.iter().for_each(|(name, _)| println!("    {name}"));
    }
    println!("\nsystem tests took {:.1} s", started.elapsed().as_secs_f64());
    println!("{} passed, {} failed", total - failures.len(), failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one test in a box of its own and prints its line; gives what to show if it failed.
fn run_one(name: &str) -> Result<(), String> {
    let journal = scratch().join(format!("{}.journal", name.replace("::", ".")));
    let started = Instant::now();
    let limit = crate::cases::soak::time_limit(name).unwrap_or(TIME_LIMIT);
    let output = boot(name, &journal, limit).stdin(Stdio::null()).output().unwrap();
    let passed = output.status.success();
    let verdict = if passed { "ok" } else { "FAILED" };
    println!("test {name} ... {verdict} ({:.1} s)", started.elapsed().as_secs_f64());
    std::io::stdout().flush().unwrap();
    if passed {
        let _ = fs::remove_file(journal);
        return Ok(());
    }
    Err(describe(&output, &journal))
}

fn describe(output: &Output, journal: &Path) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let lines = fs::read(journal).map(|bytes| text(&bytes)).unwrap_or_default();
    // What was before the test began is the same each time.
    let own = lines.split_once("The box is up.\n").map_or(lines.as_str(), |(_boot, own)| own);
    let all: Vec<&str> = own.lines().collect();
    let tail = all[all.len().saturating_sub(JOURNAL_TAIL)..].join("\n");
    format!(
        "{}\n{}\n{}\n-- the end of its journal ({}) --\n{tail}",
        text(&output.stdout),
        text(&output.stderr),
        output.status,
        journal.display(),
    )
}

/// The box for the test `name`, with this program called again in it.
fn boot(name: &str, journal: &Path, limit: Duration) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(BOOT);
    command.arg("--time-limit").arg(limit.as_secs().to_string());
    // They may lie on a file system of their own, or below /tmp, which is the box's.
    command.arg("--bind-ro").arg(env!("CARGO_MANIFEST_DIR"));
    command.arg("--bind-ro").arg(this.parent().unwrap());
    command.arg("--bind-ro").arg(crate::host::programs());
    command.arg("--journal").arg(journal);
    command.arg("--").arg(&this).args(["--inside", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn scratch() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("system");
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// `Err` says why the tests cannot run on this machine.
fn bootable() -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &&str| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|directory| directory.join(tool).is_file())
    };
    let missing: Vec<&str> = TOOLS.iter().copied().filter(|tool| !there(tool)).collect();
    let output = Command::new(BOOT).arg("true").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{BOOT}: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(format!("missing: {missing} (tests/install-dependencies.sh installs them)"));
    }
    Ok(())
}

fn refuse(reason: &str) -> ExitCode {
    if std::env::var_os("UPDATERD_REQUIRE_SYSTEM").is_some_and(|value| value == "1") {
        println!("system tests cannot run here, and UPDATERD_REQUIRE_SYSTEM=1 wants them:");
        println!("  {reason}");
        return ExitCode::FAILURE;
    }
    println!("\nsystem tests skipped: {reason}\n");
    ExitCode::SUCCESS
}

/// Boots a box for a person to watch.
pub(crate) fn demo() -> ExitCode {
    if let Err(reason) = bootable() {
        eprintln!("the demonstration cannot run here: {reason}");
        return ExitCode::FAILURE;
    }
    let journal = scratch().join("demonstration.journal");
    let status = boot(DEMO, &journal, TIME_LIMIT).stdin(Stdio::null()).status().unwrap();
    if status.success() {
        return ExitCode::SUCCESS;
    }
    eprintln!("the story did not go as told ({status}); the journal: {}", journal.display());
    ExitCode::FAILURE
}
