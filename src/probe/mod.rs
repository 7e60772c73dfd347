//! Edge: asks a service whether it is well.
//!
//! What must not live here: how often, for how long, and what an answer means for an update.

mod command;
mod http;

use std::time::Duration;

use crate::model::Probe;
use crate::update::port;

/// Asks from this process: what confines it, confines the probes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prober;

impl port::Prober for Prober {
    async fn ask(&self, probe: &Probe, time: Duration) -> Result<(), String> {
        let asked = async {
            match probe {
                Probe::Http(url) => http::ask(url, time).await,
                Probe::Tcp(place) => connect(place).await,
                Probe::Command(command) => command::ask(command).await,
            }
        };
        let late = |_| Err(format!("no answer within {} s", time.as_secs()));
        tokio::time::timeout(time, asked).await.unwrap_or_else(late)
    }
}

async fn connect(place: &str) -> Result<(), String> {
    match tokio::net::TcpStream::connect(place).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
