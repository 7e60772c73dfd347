//! The system tests: the real programs under a real systemd, with a real registry.
//!
//! Each test has a box of its own (`tests/box/boot`), booted for it and gone afterwards. This
//! program runs twice: outside it lists the tests, boots the boxes and reports; in the box, called
//! with `--inside NAME`, it is the test. So a test is local code on a host that is its own
//! ([`host::Host`]), and panics where something is not as it should be.
//!
//! `cargo test --test system -- --help` says how to call it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod agent;
mod cases;
mod demo;
mod forward;
mod host;
mod image;
mod impostor;
mod outside;
mod podman;
mod registry;
mod relay;
mod someone;
mod units;

use std::process::ExitCode;

use host::Host;

/// One test.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    run: fn(&Host),
}

/// How this program was called. Flags of the standard test runner that mean nothing here are
/// taken and ignored, since `cargo test -- FLAGS` hands them to every test program alike.
struct Arguments {
    list: bool,
    exact: bool,
    demo: bool,
    /// How many kills `make soak` wants.
    soak: Option<u32>,
    seed: Option<u64>,
    inside: Option<String>,
    filters: Vec<String>,
    skip: Vec<String>,
    boxes: Option<usize>,
}

const HELP: &str = "\
system [NAME-PART]...    run the tests whose names contain one of the parts; all without any
  --list                 only list them
  --exact                names, not parts of names
  --skip NAME-PART       leave these out
  --test-threads N       boxes at once
  --soak N               kill the service N times, at moments that chance picks; with a
                         NAME-PART only in that part
  --seed N               the same moments as another time
  --demo                 tell the story of `make demo` instead

UPDATERD_REQUIRE_SYSTEM=1 makes it fail, rather than skip, where no box can be booted.";

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut read = Self {
            list: false,
            exact: false,
            demo: false,
            soak: None,
            seed: None,
            inside: None,
            filters: Vec::new(),
            skip: Vec::new(),
            boxes: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let (flag, joined) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
                _ => (argument.as_str(), None),
            };
            let mut value = || {
                let value = joined.clone().or_else(|| arguments.next());
                value.ok_or_else(|| format!("{flag} needs a value"))
            };
            match flag {
                "--help" | "-h" => return Err(HELP.into()),
                "--list" => read.list = true,
                "--exact" => read.exact = true,
                "--demo" => read.demo = true,
                "--soak" => read.soak = Some(value()?.parse().map_err(|_| "--soak N")?),
                "--seed" => read.seed = Some(value()?.parse().map_err(|_| "--seed N")?),
                "--inside" => read.inside = Some(value()?),
                "--skip" => read.skip.push(value()?),
                "--test-threads" => {
                    read.boxes = Some(value()?.parse().map_err(|_| "--test-threads N")?);
                }
                "--color" | "--format" => drop(value()?),
                flag if flag.starts_with('-') => {}
                name => read.filters.push(name.to_owned()),
            }
        }
        Ok(read)
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |part: &String| if self.exact { name == part } else { name.contains(part) };
        (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skip.iter().any(matches)
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if let (Some("--agent"), Some(name)) = (words.next().as_deref(), words.next()) {
        agent::main(&name);
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(message) => {
            println!("{message}");
            return ExitCode::from(2);
        }
    };
    if let Some(name) = &arguments.inside {
        return inside(name);
    }
    if arguments.demo {
        return outside::demo();
    }
    if let Some(kills) = arguments.soak {
        let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
        println!("{kills} kills; again with --seed {seed}");
        let parts = cases::soak::parts(kills, seed).into_iter();
        let wanted = parts.filter(|part| arguments.wants(part)).collect();
        return outside::run(wanted, arguments.boxes);
    }
    let wanted: Vec<(String, Case)> =
        cases::all().into_iter().filter(|(name, _)| arguments.wants(name)).collect();
    if arguments.list {
        for (name, _) in wanted {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let names = wanted.into_iter().map(|(name, _)| name).collect();
    outside::run(names, arguments.boxes)
}

/// In the box: the test called `name`, or the demonstration. A panic ends it with 101.
fn inside(name: &str) -> ExitCode {
    let host = Host::install();
    if name == outside::DEMO {
        return demo::tell(&host);
    }
    if cases::soak::play(&host, name).is_some() {
        return ExitCode::SUCCESS;
    }
    match cases::all().into_iter().find(|(known, _)| known == name) {
        Some((_, case)) => {
            if let Some(runtime) = cases::runtime(name) {
                host.run_by(runtime);
            }
            (case.run)(&host);
        }
        None => panic!("there is no test called {name}"),
    }
    ExitCode::SUCCESS
}
