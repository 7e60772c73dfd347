//! Time and memory of a command, and goals to hold them against.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What one run of a command took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// User and system time of the process and of the children it waited for.
    pub(crate) cpu: Duration,
    /// The largest resident size of the process or of one of those children, MiB.
    pub(crate) memory: f64,
}

/// The argument that makes a process [`report`].
pub(crate) const REPORT: &str = "report-cost";

/// Runs a command that must succeed, from a process of its own: a process passes its size on to the
/// children whose memory is measured, and this one has grown.
pub(crate) fn cost(program: &str, arguments: &[&str]) -> Cost {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args(["--inside", REPORT, program])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [wall, cpu, memory] = numbers[..] else { panic!("{text}") };
    Cost {
        wall: Duration::from_micros(wall),
        cpu: Duration::from_micros(cpu),
        memory: memory as f64 / 1024.0,
    }
}

/// Runs a command and prints what it took: wall clock and CPU in microseconds, memory in KiB.
#[expect(clippy::zombie_processes, reason = "it is waited for with wait4(2)")]
pub(crate) fn report(words: &[String]) -> ExitCode {
    let started = Instant::now();
    let child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (status, usage) = wait(&child);
    let wall = started.elapsed().as_micros();
    let time = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    println!("{wall} {} {}", time(usage.ru_utime) + time(usage.ru_stime), usage.ru_maxrss);
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits for a child and asks the kernel what it used, which the standard library does not tell.
fn wait(child: &Child) -> (ExitStatus, libc::rusage) {
    let mut status = 0;
    // SAFETY: all fields of rusage are numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the types that wait4(2) writes.
    let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    assert_eq!(waited, child.id() as i32, "wait4: {}", std::io::Error::last_os_error());
    (ExitStatus::from_raw(status), usage)
}

/// The middle one of an odd number of values.
pub(crate) fn median<T: PartialOrd>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let middle = values.len() / 2;
    values.swap_remove(middle)
}

/// A figure beside the one it should reach.
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) measured: f64,
    pub(crate) wanted: Bound,
}

pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    pub(crate) fn reached(&self) -> bool {
        match self.wanted {
            Bound::AtLeast(bound) => self.measured >= bound,
            Bound::AtMost(bound) => self.measured <= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.reached() { "reached" } else { "MISSED" };
        let (relation, bound) = match self.wanted {
            Bound::AtLeast(bound) => ("at least", bound),
            Bound::AtMost(bound) => ("at most", bound),
        };
        write!(f, "{verdict}: {}: {:.2}, wanted {relation} {bound}", self.what, self.measured)
    }
}

/// One line of a comparison's table.
pub(crate) fn row(who: &str, cost: Cost) {
    println!(
        "{who:<34} {:9.1} ms wall {:9.1} ms CPU {:7.1} MiB",
        milliseconds(cost.wall),
        milliseconds(cost.cpu),
        cost.memory
    );
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
