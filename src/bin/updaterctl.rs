//! `updaterctl`, what operators and scripts call. See [`updaterd::ctl`].

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use jiff::Timestamp;
use updaterd::ctl::access::Access;
use updaterd::ctl::args::{self, Arguments};
use updaterd::ctl::command::{self, Output, Style};
use updaterd::ctl::here::Here;
use updaterd::ctl::remote::Remote;
use updaterd::ctl::{Error, exit};
use updaterd::daemon::host;
use updaterd::model::failure::chain;
use updaterd::terminal::Terminal;

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(&error));
    let as_podman = matches!(arguments.command, args::Command::AutoUpdate(_));
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Output)
        .and_then(|runtime| {
            let output = runtime.block_on(run(&arguments));
            // Who interrupts does not wait for a pull that unpacks; it is begun anew.
            runtime.shutdown_background();
            output
        })
        .and_then(|output| print(&output));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if as_podman => {
            eprintln!("Error: {}", chain(&error));
            ExitCode::from(exit::AS_PODMAN)
        }
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// A command line that makes no sense, and `--help`, which does.
fn refuse(error: &clap::Error) -> ! {
    if error.use_stderr() && args::is_auto_update(std::env::args_os()) {
        let text = error.to_string();
        eprint!("Error: {}", text.trim_start_matches("error: "));
        std::process::exit(i32::from(exit::AS_PODMAN));
    }
    error.exit()
}

async fn run(arguments: &Arguments) -> Result<Output, Error> {
    let scope = arguments.global.scope();
    let style = Style {
        terminal: Terminal::of_stdout(),
        json: arguments.global.json,
        now: Timestamp::now(),
    };
    // Without a bus there is no service to ask: this process does it.
    let remote = match arguments.command.needs_service() {
        true => host::connect(scope).await.ok().map(Remote::over),
        false => None,
    };
    let person = io::stderr().is_terminal() && !arguments.global.json;
    let here = Here { scope, progress: person.then(Default::default) };
    command::run(arguments, &Access::new(remote, here), style).await
}

/// A reader that went away (`| head`) is no failure.
fn print(output: &Output) -> Result<u8, Error> {
    // Who does not listen to complaints has the exit code.
    let _ = io::stderr().write_all(output.complaint.as_bytes());
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output.text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::DONE),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(output.code),
    }
}
