//! Answers, read with limits: whole small bodies, the registry's own error texts, `Retry-After`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use super::error::{ContentFault, Problem};
use crate::model::failure::excerpt;

/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How much of an error's body is read, in bytes.
const MAX_ERROR: u64 = 8 * 1024;

/// The whole body, `limit` bytes at most: a larger `Content-Length` is refused before anything is
/// read, a body without one is cut off at the limit.
pub(super) async fn whole(
    mut response: Response,
    peer: &str,
    what: &'static str,
    limit: u64,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::Content {
        peer: peer.to_owned(),
        fault: ContentFault::TooLarge { what, limit },
    };
    let announced = response.content_length().unwrap_or(0);
    if announced > limit {
        return Err(too_large());
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(announced.min(64 * 1024)).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(|cause| broken_off(peer, cause))? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

pub(super) fn broken_off(peer: &str, cause: reqwest::Error) -> Problem {
    let source = std::sync::Arc::new(cause.without_url());
    Problem::BrokenOff { peer: peer.to_owned(), source }
}

/// The problem that an answer without success is.
pub(super) async fn status_problem(
    response: Response,
    peer: &str,
    request: &'static str,
) -> Problem {
    let status = response.status();
    let limited = status == reqwest::StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    let header = limited.then(|| retry_after(response.headers(), jiff::Timestamp::now())).flatten();
    let body = error_text(response, peer).await;
    // GitHub's registry says it in the text.
    let text = body.as_deref().filter(|_| limited).and_then(retry_after_in_text);
    Problem::Status {
        peer: peer.to_owned(),
        request,
        status,
        detail: body,
        retry_after: header.or(text),
    }
}

/// What a realm says that does not take an identity token (RFC 6749, section 5.2): what else it told, where it
/// says so, beside the problem that its status is.
pub(super) async fn grant_problem(
    response: Response,
    peer: &str,
    request: &'static str,
) -> (Problem, Option<String>) {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let status = response.status();
    let body = whole(response, peer, "error", MAX_ERROR).await.unwrap_or_default();
    let text = text_in(&body);
    let refusal = serde_json::from_slice(&body).ok();
    let refusal = refusal.filter(|Refusal { error, .. }| error == "invalid_grant");
    let detail = refusal.map(|Refusal { error, error_description }| {
        let description = excerpt(error_description.trim());
        if description.is_empty() { error } else { description }
    });
    let peer = peer.to_owned();
    (Problem::Status { peer, request, status, detail: text, retry_after: None }, detail)
}

/// What the registry itself says of an error (distribution-spec, "Error Codes").
pub(super) async fn error_text(response: Response, peer: &str) -> Option<String> {
    text_in(&whole(response, peer, "error", MAX_ERROR).await.ok()?)
}

fn text_in(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let errors: Errors = serde_json::from_slice(body).ok()?;
    let first = errors.errors.into_iter().next()?;
    let text = if first.message.is_empty() { first.code } else { first.message };
    Some(excerpt(text.trim())).filter(|text| !text.is_empty())
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// `retry-after: 1.5s, allowed: 44000/minute`
fn retry_after_in_text(text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once("retry-after: ")?;
    let time = rest.split([',', ' ']).next()?;
    let split = time.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = time.split_at(split);
    let unit = match unit {
        "µs" | "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    Duration::try_from_secs_f64(seconds).ok().map(|wait| wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn reads_both_forms_of_retry_after() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
            ("Fri, 02 Jan 2026 03:00:00 GMT", Some(0)),
            ("999999999", Some(24 * 3600)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn reads_retry_after_from_a_message() {
        for (text, expected) in [
            ("retry-after: 531.5ms, allowed: 44000/minute", Some(Duration::from_micros(531_500))),
            ("retry-after: 2s", Some(Duration::from_secs(2))),
            ("retry-after: never", None),
            ("slow down", None),
        ] {
            assert_eq!(retry_after_in_text(text), expected, "{text}");
        }
    }
}
