//! A Podman that is a shell script.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{Options, Podman, Presence, Program};
use crate::model::{MinFree, Platform, Scope};
use crate::registry::Proxies;
use crate::store::Store;

/// A directory with the program, in which it works as well.
pub(super) struct Fake(tempfile::TempDir);

impl Fake {
    /// `cases` are branches of a shell's `case "$*"`.
    pub(super) fn new(cases: &str) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        let directory = fake.0.path().display();
        let script = format!(
            "#!/bin/sh\ncd {directory}\necho \"$*\" >>calls\ncase \"$*\" in\n--version) echo podman \
             version 4.9.3 ;;\n{cases}\nesac\n"
        );
        // Written by a child: what this process has open for writing, another thread's child has open
        // too, and cannot be run.
        let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", write]).arg(fake.path("podman")).arg(script);
        assert!(shell.status().unwrap().success());
        fake
    }

    pub(super) fn podman(&self) -> Podman {
        let options = Options {
            program: Program {
                path: self.path("podman"),
                apart: false,
                shown: false,
                proxies: Proxies::default(),
            },
            timeout: Duration::from_secs(60),
            run: self.path("run"),
            scope: Scope::System,
            authfile: None,
            tls_verify: None,
            min_free: MinFree::DEFAULT,
            // Where a user's Podman leaves its traces.
            presence: Presence::of(Scope::User, |_| Some(self.path(""))).unwrap(),
        };
        Podman::new(options, Platform::host(), Store::open(&self.path("state")).unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.path(file).exists()
    }

    pub(super) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }
}

/// On one thread, as all of it is.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}
