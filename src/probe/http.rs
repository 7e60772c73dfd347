//! Probes by HTTP.

use std::time::Duration;

use reqwest::redirect::Policy;

/// A service of this host is asked directly, whatever proxy leads out of it.
pub(super) async fn ask(url: &str, time: Duration) -> Result<(), String> {
    // The client wants one, whether it is used or not; that there is one already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(time)
        .user_agent(concat!("updaterd/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| causes(&error))?;
    let answer = client.get(url).send().await.map_err(|error| causes(&error))?;
    match answer.status().as_u16() {
        200..=399 => Ok(()),
        status => Err(format!("it answered with the status {status}")),
    }
}

/// The last cause: what comes before says only that a request failed.
fn causes(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
