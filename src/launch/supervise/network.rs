//! A supervisor and the program that carries its containers' network: without it they are cut off,
//! and nobody but their supervisor notices.

use crate::launch::network::pasta::Pasta;
use crate::launch::supervise::{Stopping, Supervisor, Wish};
use crate::model::failure::chain;

/// Whether there still is a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    Yes,
    /// Its program ends whenever it is started.
    No,
}

/// Looks for the program among the children that have ended, with their status, and starts it again
/// when it is time for that. Connections are lost, the ports and the addresses are the same again.
pub(crate) fn look_after(pasta: &mut Pasta, ended: &[(i32, u8)]) -> Carried {
    for (pid, status) in ended {
        if let Some(said) = pasta.ended(*pid, *status) {
            eprintln!("Warning: pasta, which carries the network, has ended: {said}");
        }
    }
    if pasta.is_lost() {
        eprintln!("Error: there is no network any more: pasta ends as often as it is started");
        return Carried::No;
    }
    if pasta.due().is_some_and(|due| due <= std::time::Instant::now()) {
        match pasta.start_again() {
            Ok(()) => eprintln!("pasta is started again"),
            Err(error) => eprintln!("Warning: {}, to be tried again", chain(&error)),
        }
    }
    Carried::Yes
}

impl Supervisor<'_> {
    /// A container that is cut off for good has failed: whoever starts it again has it a network.
    pub(super) fn look_after_network(
        &mut self,
        ended: &[(i32, u8)],
        stopping: &mut Option<Stopping>,
    ) {
        if stopping.is_none()
            && let Some(pasta) = &mut self.network
            && look_after(pasta, ended) == Carried::No
        {
            self.begin_to_stop(Wish::Fail, None, stopping);
        }
    }
}
