//! How a container's process is run: by whom it is known, and what happens when it ends.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::launch::lifecycle::restart::Policy;

// How a container's process is run: by whom it is known, and what happens when it ends.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProcessFlags {
    /// When it ends by itself, start it again: no, on-failure[:COUNT], always or unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub(crate) restart: Policy,
    /// Give the container a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Keep standard input open, also while nobody is attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Run an init in front of the program: it passes signals on, and waits for orphans
    #[arg(long)]
    pub(crate) init: bool,
    /// The init on the host, instead of catatonit
    #[arg(long, value_name = "PATH")]
    pub(crate) init_path: Option<PathBuf>,
    /// Write the supervisor's process ID to a file: PIDFile= of a unit with Type=forking
    #[arg(long, value_name = "FILE")]
    pub(crate) conmon_pidfile: Option<PathBuf>,
    /// Write the process ID of the container's first process to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
    /// The runtime, by name or path: a flag of all commands.
    #[arg(skip)]
    pub(crate) runtime: Option<String>,
}

impl ProcessFlags {
    /// Whether people are expected to attach to it.
    pub(crate) fn can_be_talked_to(&self) -> bool {
        self.tty || self.interactive
    }
}
