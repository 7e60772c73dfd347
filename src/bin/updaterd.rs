//! `updaterd`, the service. See [`updaterd::daemon`].

use std::process::ExitCode;

use clap::Parser as _;
use updaterd::daemon::args::Arguments;
use updaterd::daemon::{journal, start};
use updaterd::model::failure::chain;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    journal::install();
    updaterd::store::pull::share_heap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match &runtime {
        Ok(runtime) => runtime
            .block_on(start::start(arguments))
            .map_err(|error| (error.exit_code(), chain(&error))),
        Err(error) => Err((1, chain(error))),
    };
    match result {
        Ok(()) if arguments.check_config => {
            println!("The configuration is good.");
            ExitCode::SUCCESS
        }
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            eprintln!("error: {text}");
            ExitCode::from(code)
        }
    }
}
