//! A webhook is told by POST.

use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;

use super::Refusal;
use crate::config;

/// An address that is told.
#[derive(Debug)]
pub(super) struct Webhook {
    at: config::Webhook,
    timeout: Duration,
}

impl Webhook {
    pub(super) fn new(at: config::Webhook, timeout: Duration) -> Self {
        Self { at, timeout }
    }

    /// Sends `text`, JSON. Redirections are not followed: a token goes nowhere else.
    pub(super) async fn tell(&self, text: String) -> Result<(), Refusal> {
        let unheard = |why: String| Refusal { why, heard: false };
        let token = self.at.token_file.as_deref().map(token).transpose().map_err(unheard)?;
        // That there is a provider already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(self.timeout)
            .user_agent(concat!("updaterd/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unheard(cause(&error)))?;
        let mut request = client.post(&self.at.url).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.body(text).send().await.map_err(|error| unheard(cause(&error)))?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            status => Err(Refusal { why: format!("it answered with {status}"), heard: true }),
        }
    }
}

fn token(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// The last cause. The errors before it name the address, which may hold a secret.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut last: &dyn std::error::Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    let is_first = std::ptr::addr_eq(last, std::ptr::from_ref(error));
    if is_first { "the request could not be made".to_owned() } else { last.to_string() }
}
