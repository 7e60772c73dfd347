//! HTTP clients: TLS with the system's roots and containers-certs.d(5), timeouts, redirections.
//!
//! One client serves all registries that have no certificates of their own, so that the system's
//! roots are in memory once. What must not live here: what a request or an answer means.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, Method, Proxy, Response, StatusCode, Url};
use tokio::time::Instant;

use super::certificates::Certificates;
use super::error::{ContentFault, Problem};
use super::gate::lock;
use super::options::Options;
use super::proxy::Misnamed;
use crate::model::failure::excerpt;

const MAX_REDIRECTIONS: usize = 5;

/// What a proxy says that wants to know who asks; no registry does.
const REFUSED_BY_PROXY: StatusCode = StatusCode::PROXY_AUTHENTICATION_REQUIRED;

/// How many bytes of a blob may be on their way, or waiting to be stored: 50 MiB/s at a round trip
/// of 20 ms, without megabytes of memory.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// The clients made so far. Certificates are read once for each registry.
#[derive(Debug)]
pub(super) struct Transport {
    clients: Mutex<HashMap<Peer, Client>>,
    options: Arc<Options>,
}

/// Whom a client is for: a host and port with certificates of its own, or (`None`) all others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Peer {
    own: Option<String>,
    verify: bool,
}

/// One request, with all that may be asked of it.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    /// The name of certificates and in messages, where it is not what the URL says.
    pub(super) peer: String,
    pub(super) headers: HeaderMap,
    /// Sent to the URL's own origin only.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) body: Option<String>,
    /// Plain HTTP and unverified TLS are accepted.
    pub(super) insecure: bool,
    /// For the whole request, its body and redirections included.
    pub(super) time: Duration,
}

impl Ask {
    /// Whether whom we asked has answered, and not somebody it has sent us to, who saw no
    /// credentials and whose word about them counts for nothing.
    pub(super) fn is_answered_by(&self, response: &Response) -> bool {
        response.url().origin() == self.url.origin()
    }
}

impl Transport {
    pub(super) fn new(options: Arc<Options>) -> Self {
        // Another part of the program may have installed it already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { clients: Mutex::default(), options }
    }

    /// Sends, and follows redirections. The answer may have any status that is no redirection.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Response, Problem> {
        let start = Instant::now();
        let mut url = ask.url.clone();
        let mut authorization = ask.authorization.clone();
        for _ in 0..=MAX_REDIRECTIONS {
            let same_host = url.host_str() == ask.url.host_str();
            let certificates =
                if url.origin() == ask.url.origin() { ask.peer.clone() } else { authority(&url) };
            let client = self.client(&certificates, !(ask.insecure && same_host))?;
            let via = self.options.proxies.of(&url).map_err(|source| misnamed(ask, source))?;
            let request = || {
                let left = ask.time.saturating_sub(start.elapsed());
                let request = client.request(ask.method.clone(), url.clone());
                let mut request = request.headers(ask.headers.clone()).timeout(left);
                if let Some(value) = &authorization {
                    request = request.header(AUTHORIZATION, value.clone());
                }
                match &ask.body {
                    Some(body) => request.body(body.clone()),
                    None => request,
                }
            };
            let response = match request().send().await {
                // A kept connection that the other side was just closing: everything asked here
                // may be asked twice.
                Err(cause) if !cause.is_connect() && !cause.is_timeout() => request().send().await,
                sent => sent,
            };
            let response = match (response, via) {
                (Err(cause), via) => return Err(Problem::unreachable(&ask.peer, via, cause)),
                (Ok(response), Some(via)) if response.status() == REFUSED_BY_PROXY => {
                    return Err(Problem::ProxyLogin { peer: ask.peer.clone(), via });
                }
                (Ok(response), _) => response,
            };
            if !is_redirection(response.status()) {
                return Ok(response);
            }
            url = redirection(ask, &url, response.headers())?;
            if url.origin() != ask.url.origin() {
                authorization = None;
            }
        }
        Err(refused(ask, &url))
    }

    fn client(&self, registry: &str, verify: bool) -> Result<Client, Problem> {
        let own = Peer { own: Some(registry.to_owned()), verify };
        let shared = Peer { own: None, verify };
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(&own) {
            return Ok(client.clone());
        }
        let certificates = Certificates::load(registry, &self.options.paths.certs_dirs)?;
        let client = match (&certificates, clients.get(&shared)) {
            (None, Some(client)) => client.clone(),
            _ => self.build(verify, registry, certificates.as_ref())?,
        };
        if certificates.is_none() {
            clients.insert(shared, client.clone());
        }
        clients.insert(own, client.clone());
        Ok(client)
    }

    fn build(
        &self,
        verify: bool,
        registry: &str,
        certificates: Option<&Certificates>,
    ) -> Result<Client, Problem> {
        let Options { user_agent, timeouts, proxies, .. } = &*self.options;
        let mut builder = Client::builder()
            .user_agent(user_agent)
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.idle)
            .pool_idle_timeout(super::host::WARM)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(2 * STREAM_WINDOW)
            .tcp_nodelay(true)
            // It would go by the environment, and pass over what makes no sense there.
            .no_proxy();
        if proxies.are_there() {
            let proxies = proxies.clone();
            builder = builder.proxy(Proxy::custom(move |url| proxies.of(url).ok()??.url()));
        }
        if !verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(certificates) = certificates {
            if verify {
                let authorities = certificates.authorities.iter();
                let known = authorities.map(|der| Certificate::from_der(der));
                let known: Result<Vec<_>, _> = known.collect();
                builder = builder.tls_certs_merge(known.map_err(|cause| tls(registry, cause))?);
            }
            if certificates.has_own() {
                builder = builder.tls_backend_preconfigured(certificates.tls(registry, verify)?);
            }
        }
        builder.build().map_err(|cause| tls(registry, cause))
    }
}

fn tls(registry: &str, cause: reqwest::Error) -> Problem {
    Problem::Tls { registry: registry.to_owned(), source: Arc::new(cause.without_url()) }
}

fn misnamed(ask: &Ask, source: Misnamed) -> Problem {
    Problem::Proxy { peer: ask.peer.clone(), source }
}

fn is_redirection(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where the answer sends us: never from HTTPS to HTTP, and never with credentials in the URL.
fn redirection(ask: &Ask, url: &Url, headers: &HeaderMap) -> Result<Url, Problem> {
    let next = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let next = next.and_then(|next| url.join(next).ok()).ok_or_else(|| {
        Problem::malformed(&ask.peer, "redirection", "it has no valid Location header")
    })?;
    let secure = next.scheme() == "https" || (next.scheme() == "http" && ask.insecure);
    let bare = next.username().is_empty() && next.password().is_none();
    let follows = secure && bare && has_plain_host(&next);
    if follows && ask.body.is_none() { Ok(next) } else { Err(refused(ask, &next)) }
}

fn refused(ask: &Ask, url: &Url) -> Problem {
    // Path and query are left out: signed URLs are as good as a password.
    let shown = excerpt(&format!("{}://{}", url.scheme(), authority(url)));
    Problem::Content { peer: ask.peer.clone(), fault: ContentFault::Redirection(shown) }
}

/// Whether the host of a URL is a name as DNS has them, or an address. Others said which it is, and a
/// directory of certs.d is called after it: `..` would be another one.
pub(super) fn has_plain_host(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_name = name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_plain));
    is_name || (host.starts_with('[') && host.ends_with(']'))
}

/// `HOST:PORT` as certs.d names it: the port only where it is written.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(url: &str, insecure: bool) -> Ask {
        Ask {
            method: Method::GET,
            url: url.parse().unwrap(),
            peer: "r.io".to_owned(),
            headers: HeaderMap::new(),
            authorization: None,
            body: None,
            insecure,
            time: Duration::from_secs(1),
        }
    }

    #[test]
    fn https_leads_to_http_only_for_the_insecure() {
        let mut headers = HeaderMap::new();
        for (location, insecure, follows) in [
            ("https://cdn.example/x?sig=hunter2", false, true),
            ("/elsewhere", false, true),
            ("http://cdn.example/x?sig=hunter2", false, false),
            ("http://cdn.example/x?sig=hunter2", true, true),
            ("https://u@cdn.example/", true, false),
            ("ftp://cdn.example/", true, false),
            ("https://../x", true, false),
            ("https://a..b/x", true, false),
            ("https://./x", true, false),
            ("https://my_bucket.s3.example./x", false, true),
            ("https://[::1]:5000/x", false, true),
            ("https://192.0.2.1/x", false, true),
        ] {
            headers.insert(LOCATION, HeaderValue::from_static(location));
            let ask = ask("https://r.io/v2/a/blobs/x", insecure);
            let next = redirection(&ask, &ask.url, &headers);
            assert_eq!(next.is_ok(), follows, "{location}");
            let text = next.err().map(|problem| problem.to_string()).unwrap_or_default();
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(
            redirection(
                &ask("https://r.io/", true),
                &ask("https://r.io/", true).url,
                &HeaderMap::new()
            )
            .is_err()
        );
    }
}
