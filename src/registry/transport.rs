//! HTTP clients: TLS with the system's roots and containers-certs.d(5), timeouts, redirections.
//!
//! One client serves all registries that have no certificates of their own, so that the system's
//! roots are in memory once. What must not live here: what a request or an answer means.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, Identity, Method, Response, StatusCode, Url};
use tokio::time::Instant;

use super::error::{ContentFault, FileFault, Problem};
use super::files;
use super::gate::lock;
use super::options::Options;
use crate::model::failure::excerpt;

const MAX_REDIRECTIONS: usize = 5;

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
    /// This host itself, which no proxy can reach.
    loopback: bool,
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
            let client =
                self.client(&certificates, !(ask.insecure && same_host), is_loopback(&url))?;
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
            let response = response.map_err(|cause| Problem::unreachable(&ask.peer, cause))?;
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

    fn client(&self, registry: &str, verify: bool, loopback: bool) -> Result<Client, Problem> {
        let own = Peer { own: Some(registry.to_owned()), verify, loopback };
        let shared = Peer { own: None, verify, loopback };
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(&own) {
            return Ok(client.clone());
        }
        let certificates = Certificates::load(registry, &self.options.paths.certs_dirs)?;
        let client = match (&certificates, clients.get(&shared)) {
            (None, Some(client)) => client.clone(),
            _ => self.build(&own, registry, certificates.as_ref())?,
        };
        if certificates.is_none() {
            clients.insert(shared, client.clone());
        }
        clients.insert(own, client.clone());
        Ok(client)
    }

    fn build(
        &self,
        peer: &Peer,
        registry: &str,
        certificates: Option<&Certificates>,
    ) -> Result<Client, Problem> {
        let Options { user_agent, timeouts, .. } = &*self.options;
        let mut builder = Client::builder()
            .user_agent(user_agent)
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.idle)
            .pool_idle_timeout(super::host::WARM)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(2 * STREAM_WINDOW)
            .tcp_nodelay(true);
        if peer.loopback {
            builder = builder.no_proxy();
        }
        if !peer.verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(certificates) = certificates {
            if peer.verify {
                builder = builder.tls_certs_merge(certificates.authorities.clone());
            }
            if let Some(identity) = &certificates.identity {
                builder = builder.identity(identity.clone());
            }
        }
        builder.build().map_err(|cause| Problem::Tls {
            registry: registry.to_owned(),
            source: Arc::new(cause.without_url()),
        })
    }
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
    let follows = secure && next.username().is_empty() && next.password().is_none();
    if follows && ask.body.is_none() { Ok(next) } else { Err(refused(ask, &next)) }
}

fn refused(ask: &Ask, url: &Url) -> Problem {
    // Path and query are left out: signed URLs are as good as a password.
    let shown = excerpt(&format!("{}://{}", url.scheme(), authority(url)));
    Problem::Content { peer: ask.peer.clone(), fault: ContentFault::Redirection(shown) }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// `HOST:PORT` as certs.d names it: the port only where it is written.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What a directory of certs.d holds for one registry.
#[derive(Debug)]
struct Certificates {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

impl Certificates {
    /// Reads the first of `directories` that has one for `registry`; `None` where none has.
    fn load(registry: &str, directories: &[PathBuf]) -> Result<Option<Self>, Problem> {
        let directory = directories.iter().map(|dir| dir.join(registry)).find(|dir| dir.is_dir());
        let Some(directory) = directory else { return Ok(None) };
        let at = |path: &Path, source| Problem::Certificates {
            registry: registry.to_owned(),
            path: path.to_owned(),
            source,
        };
        let found = files::list(&directory, &["crt", "cert", "key"])
            .map_err(|fault| at(&directory, fault))?;
        let mut certificates = Self { authorities: Vec::new(), identity: None };
        for path in &found {
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                Some("crt") => {
                    certificates.authorities.extend(authorities(path).map_err(|f| at(path, f))?);
                }
                Some("cert") if certificates.identity.is_none() => {
                    certificates.identity = Some(identity(path).map_err(|fault| at(path, fault))?);
                }
                Some("cert") => {
                    tracing::debug!(path = %path.display(), "second client certificate, ignoring");
                }
                _ if !path.with_extension("cert").exists() => {
                    let text = "the key has no client certificate (.cert) beside it".to_owned();
                    return Err(at(path, FileFault::Certificate(text)));
                }
                _ => {}
            }
        }
        Ok(Some(certificates))
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, FileFault> {
    let pem = files::read(path)?.unwrap_or_default();
    let fault = |text: &str| FileFault::Certificate(text.to_owned());
    let found = Certificate::from_pem_bundle(&pem).map_err(|_| fault("is not PEM"))?;
    if found.is_empty() { Err(fault("holds no certificate")) } else { Ok(found) }
}

fn identity(path: &Path) -> Result<Identity, FileFault> {
    let fault = |text: &str| FileFault::Certificate(text.to_owned());
    let no_key = || fault("the client certificate has no key (.key) beside it");
    let mut pem = files::read(&path.with_extension("key"))?.ok_or_else(no_key)?;
    pem.push(b'\n');
    pem.extend(files::read(path)?.unwrap_or_default());
    let unusable = |_| fault("client certificate and key are not a pair of PEM files");
    Identity::from_pem(&pem).map_err(unusable)
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

    #[test]
    fn knows_this_host() {
        for (url, loopback) in [
            ("http://localhost:5000/", true),
            ("http://127.0.0.1/", true),
            ("http://[::1]:5000/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), loopback, "{url}");
        }
    }

    #[test]
    fn broken_certificates_name_their_file() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("r.io:5000");
        std::fs::create_dir(&own).unwrap();
        let load = || Certificates::load("r.io:5000", &[directory.path().to_owned()]);
        assert!(load().unwrap().unwrap().authorities.is_empty());
        for name in ["lonely.key", "bad.crt", "lonely.cert"] {
            std::fs::write(own.join(name), "nonsense").unwrap();
            let problem = load().unwrap_err();
            assert!(problem.to_string().contains(name), "{problem}");
            std::fs::remove_file(own.join(name)).unwrap();
        }
    }
}
