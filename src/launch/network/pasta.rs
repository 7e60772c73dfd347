//! The network of an ordinary user's container: pasta(1), a process beside it that answers for the
//! host towards the container, and for the container towards the host. It has the host's addresses
//! and routes, needs no privilege, and publishes ports that the user may bind.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::launch::network::error::Error;
use crate::launch::network::namespace::Namespace;
use crate::launch::network::program;
use crate::launch::network::publish::{Protocol, Publish};

const NAME: &str = "pasta";
/// How long it may take until it is ready: it asks the kernel for routes, and binds ports.
const LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(1);
/// Where a container's questions for names are passed on to the host's server, which may listen on
/// the host's loopback only; Podman's address for it.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// A network namespace, and the process that serves it until this is dropped.
#[derive(Debug)]
pub(crate) struct Pasta {
    namespace: Namespace,
    program: PathBuf,
    arguments: Vec<String>,
    /// `None` where it has ended.
    process: Option<Served>,
    patience: Patience,
}

/// Killed when dropped.
#[derive(Debug)]
struct Served {
    child: Child,
    /// What it has to say of its end.
    errors: File,
    /// Somebody has waited for it: its number may be another process's by now.
    has_ended: bool,
}

impl Drop for Served {
    fn drop(&mut self) {
        if !self.has_ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Pasta {
    pub(crate) fn inherited(&self) -> PathBuf {
        self.namespace.inherited()
    }

    /// Takes in that a child of ours has ended, with this status; whether it was this one, and what
    /// it said.
    pub(crate) fn ended(&mut self, pid: i32, status: u8) -> Option<String> {
        let mut served = self.process.take_if(|served| served.child.id().cast_signed() == pid)?;
        served.has_ended = true;
        self.patience.ended(Instant::now());
        let said = heard(&mut served.errors).unwrap_or_default();
        Some(if said.is_empty() { format!("status {status}") } else { said })
    }

    /// When it is to be started again; `None` where it runs.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.process.is_some() { None } else { self.patience.due }
    }

    /// Whether it ended again and again, so that it will not do so less another time.
    pub(crate) fn is_lost(&self) -> bool {
        self.process.is_none() && self.patience.is_at_its_end()
    }

    /// Starts it once more, in the same namespace, and does not wait for it.
    pub(crate) fn start_again(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        self.patience.started(now);
        let started = run(&self.program, &self.arguments, &self.namespace);
        if started.is_err() {
            self.patience.ended(now);
        }
        self.process = Some(started?.0);
        Ok(())
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.namespace.descriptor()
    }
}

/// Makes a network namespace and has it served, with `ports` published; `options` are pasta's own.
///
/// The namespace belongs to the user namespace `users`, where there is one.
pub(crate) fn start(
    ports: &[Publish],
    options: &[String],
    users: Option<BorrowedFd<'_>>,
) -> Result<Pasta, Error> {
    let program = program::find(NAME).ok_or(Error::Missing {
        program: NAME,
        package: "passt",
        what: "carries the network of ordinary users' containers",
    })?;
    let arguments = arguments(ports, options)?;
    let namespace = Namespace::make(users)?;
    let (mut process, ready) = run(&program, &arguments, &namespace)?;
    wait(&mut process, &ready)?;
    let patience = Patience::new(Instant::now());
    Ok(Pasta { namespace, program, arguments, process: Some(process), patience })
}

/// Starts the program; what it writes its process ID to when it is ready, too.
fn run(
    program: &Path,
    arguments: &[String],
    namespace: &Namespace,
) -> Result<(Served, File), Error> {
    let failed = |source| Error::file("run", program, source);
    let (ready, errors) =
        (program::memory("ready").map_err(failed)?, program::memory("errors").map_err(failed)?);
    let given = namespace.descriptor().try_clone_to_owned().map_err(failed)?;
    let mut command = Command::new(program);
    // The namespace is its standard input: it has no other descriptor of ours.
    command.args(arguments).args(["--pid", "/proc/self/fd/1", "--netns", "/proc/self/fd/0"]);
    command.env_clear().env("PATH", program::PATH).current_dir("/").stdin(Stdio::from(given));
    command.stdout(Stdio::from(ready.try_clone().map_err(failed)?));
    command.stderr(Stdio::from(errors.try_clone().map_err(failed)?));
    program::confine(&mut command);
    let child = command.spawn().map_err(failed)?;
    Ok((Served { child, errors, has_ended: false }, ready))
}

/// Waits until it has written its process ID, which it does when it is ready.
fn wait(process: &mut Served, ready: &File) -> Result<(), Error> {
    let until = Instant::now() + LIMIT;
    let what = "set up the network";
    loop {
        let ended =
            process.child.try_wait().map_err(|source| Error::system("wait for pasta", source))?;
        if let Some(status) = ended {
            let said = heard(&mut process.errors);
            let said = said.map_err(|source| Error::system("hear pasta", source))?;
            let said = if said.is_empty() { status.to_string() } else { said };
            return Err(Error::Program { program: NAME, what, said });
        }
        if ready.metadata().is_ok_and(|file| file.len() > 0) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Error::Slow { program: NAME, what, limit: LIMIT });
        }
        std::thread::sleep(LOOK);
    }
}

/// What it said, in one line.
fn heard(errors: &mut File) -> std::io::Result<String> {
    let mut said = String::new();
    errors.rewind()?;
    errors.read_to_string(&mut said)?;
    Ok(said.trim().replace('\n', ", "))
}

/// How often it is started again, and when: at once, then later each time; who ran for a while may
/// begin anew.
#[derive(Debug)]
struct Patience {
    since: Instant,
    /// How many ends in a row came soon.
    soon: u32,
    due: Option<Instant>,
}

impl Patience {
    /// Who ran so long had begun well.
    const WHILE: Duration = Duration::from_secs(30);
    const FIRST: Duration = Duration::from_millis(100);
    /// After so many it is lost: three seconds after the first.
    const MOST: u32 = 6;

    fn new(since: Instant) -> Self {
        Self { since, soon: 0, due: None }
    }

    fn started(&mut self, now: Instant) {
        (self.since, self.due) = (now, None);
    }

    fn ended(&mut self, now: Instant) {
        let ran = now.duration_since(self.since);
        self.soon = if ran < Self::WHILE { self.soon + 1 } else { 1 };
        let delay = match self.soon {
            0 | 1 => Duration::ZERO,
            more => Self::FIRST * 2u32.saturating_pow(more - 2),
        };
        self.due = Some(now + delay);
    }

    fn is_at_its_end(&self) -> bool {
        self.soon >= Self::MOST
    }
}

/// As Podman calls it: the host is not reached by its gateway's address, and no port of the host is
/// in the container.
fn arguments(ports: &[Publish], options: &[String]) -> Result<Vec<String>, Error> {
    let mut arguments: Vec<String> =
        ["--config-net", "--foreground", "--quiet", "--dns-forward"].map(str::to_owned).into();
    arguments.push(RESOLVER.to_string());
    let asked = |names: &[&str]| options.iter().any(|option| names.contains(&option.as_str()));
    if !asked(&["--map-gw"]) {
        arguments.push("--no-map-gw".to_owned());
    }
    for (flag, long, protocol) in
        [("-t", "--tcp-ports", Protocol::Tcp), ("-u", "--udp-ports", Protocol::Udp)]
    {
        let published: Vec<_> = ports.iter().filter(|port| port.protocol == protocol).collect();
        if published.is_empty() && !asked(&[flag, long]) {
            arguments.extend([flag.to_owned(), "none".to_owned()]);
        }
        for port in published {
            arguments.extend([flag.to_owned(), specification(port)]);
        }
    }
    if ports.iter().any(|port| port.protocol == Protocol::Sctp) {
        return Err(Error::Sctp);
    }
    for (flag, long) in [("-T", "--tcp-ns"), ("-U", "--udp-ns")] {
        if !asked(&[flag, long]) {
            arguments.extend([flag.to_owned(), "none".to_owned()]);
        }
    }
    arguments.extend(options.iter().filter(|option| *option != "--map-gw").cloned());
    Ok(arguments)
}

/// `[ADDRESS/]PORT[-PORT]:PORT[-PORT]`, the host's first.
fn specification(port: &Publish) -> String {
    let range = |first: u16| match port.count {
        1 => first.to_string(),
        count => format!("{first}-{}", first.saturating_add(count - 1)),
    };
    let address = port.host_ip.map(|ip| format!("{ip}/")).unwrap_or_default();
    // Its port of the host has been chosen by now.
    format!("{address}{}:{}", range(port.host.unwrap_or(port.container)), range(port.container))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(ports: &[&str], options: &[&str]) -> String {
        let ports: Vec<Publish> = ports.iter().map(|text| text.parse().unwrap()).collect();
        let options: Vec<String> = options.iter().map(|text| (*text).to_owned()).collect();
        arguments(&ports, &options).unwrap().join(" ")
    }

    #[test]
    fn patience_has_an_end() {
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let mut patience = Patience::new(begin);
        let mut now = at(10);
        let mut delays = Vec::new();
        while !patience.is_at_its_end() {
            patience.ended(now);
            let due = patience.due.unwrap();
            delays.push(due.duration_since(now).as_millis());
            (now, _) = (due, patience.started(due));
        }
        assert_eq!(delays, [0, 100, 200, 400, 800, 1600]);
        // Who ran for a while has all of it again.
        patience.started(at(10_000));
        patience.ended(at(50_000));
        assert!(!patience.is_at_its_end() && patience.due == Some(at(50_000)));
    }

    #[test]
    fn nothing_is_published_unless_it_is_said() {
        let plain = called(&[], &[]);
        assert!(plain.contains("--no-map-gw -t none -u none -T none -U none"), "{plain}");
    }

    #[test]
    fn ports_are_published() {
        let ports = ["8080:80", "127.0.0.1:53:5353/udp", "[::1]:7000-7002:70-72"];
        let text = called(&ports, &["--map-gw", "-T", "5432"]);
        assert!(text.contains("-t 8080:80 -t ::1/7000-7002:70-72 -u 127.0.0.1/53:5353"), "{text}");
        assert!(!text.contains("map-gw") && text.ends_with("-U none -T 5432"), "{text}");
        assert!(matches!(arguments(&["1:1/sctp".parse().unwrap()], &[]), Err(Error::Sctp)));
    }
}
