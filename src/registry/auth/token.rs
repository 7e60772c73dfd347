//! Bearer tokens (distribution, "Token Authentication Specification" and "OAuth2 Token
//! Authentication"): fetched from the realm, kept until they expire, shared by all who need the
//! same.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::challenge::Bearer;
use super::credentials::{Credential, Fingerprint, Secret};
use super::login::{Attempt, Login};
use super::rejections::{Rejections, Stamp};
use super::table::Table;
use crate::model::failure::excerpt;
use crate::registry::body;
use crate::registry::error::{Denial, Problem};
use crate::registry::host::Host;
use crate::registry::transport::{Ask, Transport, authority, has_plain_host};

/// The largest answer of a realm accepted, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// A token is not used in its last seconds: the request takes time, too.
const MARGIN: Duration = Duration::from_secs(5);

/// In messages.
const FOR_TOKEN: &str = "the request for a token";

/// So many tokens are kept, and so many logins.
const MOST: usize = 1024;

/// The tokens and logins of one client.
#[derive(Debug)]
pub(crate) struct Tokens {
    slots: Table<Key, Slot>,
    /// A login is another one once its file has changed, so that it is tried again.
    logins: Table<(String, Fingerprint, Option<Stamp>), Login>,
    rejections: Rejections,
}

type Slot = tokio::sync::Mutex<Option<Token>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    realm: String,
    service: String,
    scope: String,
    credential: Option<Fingerprint>,
}

/// A token as a header.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    expires: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// What a token is wanted for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) host: &'a Host,
    pub(crate) bearer: &'a Bearer,
    pub(crate) scope: &'a str,
    pub(crate) credential: Option<&'a Credential>,
    /// Whether a realm at this `HOST:PORT` is declared insecure in its own right.
    pub(crate) insecure: &'a dyn Fn(&str) -> bool,
    /// A token that the registry has just refused.
    pub(crate) not: Option<&'a HeaderValue>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    pub(crate) fn new(rejections: Option<PathBuf>) -> Self {
        Self {
            slots: Table::new(MOST),
            logins: Table::new(MOST),
            rejections: Rejections::at(rejections),
        }
    }

    /// A token, and whether it was just fetched. All who want the same wait for one request.
    pub(crate) async fn get(
        &self,
        transport: &Transport,
        wanted: Wanted<'_>,
        time: Duration,
    ) -> Result<(HeaderValue, bool), Problem> {
        let slot = self.slot(&wanted);
        let mut slot = slot.lock().await;
        let kept = slot.as_ref().filter(|token| token.expires > Instant::now());
        if let Some(token) = kept.filter(|token| Some(&token.header) != wanted.not) {
            return Ok((token.header.clone(), false));
        }
        *slot = None;
        let request = fetch(transport, wanted, time);
        let token = match wanted.credential {
            Some(credential) => {
                let (peer, place) = (&wanted.host.registry, &wanted.bearer.realm);
                let attempt = self.attempt(peer, place, wanted.scope, credential);
                self.login(place, credential).attempt(attempt, request, |_| true).await?
            }
            None => request.await?,
        };
        let header = token.header.clone();
        *slot = Some(token);
        Ok((header, true))
    }

    /// What is known of `credential` at `place`.
    pub(crate) fn login(&self, place: &str, credential: &Credential) -> Arc<Login> {
        self.logins.get((place.to_owned(), credential.fingerprint(), credential.stamp))
    }

    /// What `credential` is used for.
    pub(crate) fn attempt<'a>(
        &'a self,
        peer: &'a str,
        place: &'a str,
        scope: &'a str,
        credential: &'a Credential,
    ) -> Attempt<'a> {
        Attempt { peer, place, scope, credential, rejections: &self.rejections }
    }

    fn slot(&self, wanted: &Wanted<'_>) -> Arc<Slot> {
        self.slots.get(Key {
            realm: wanted.bearer.realm.clone(),
            service: wanted.bearer.service.clone(),
            scope: wanted.scope.to_owned(),
            credential: wanted.credential.map(Credential::fingerprint),
        })
    }
}

async fn fetch(
    transport: &Transport,
    wanted: Wanted<'_>,
    time: Duration,
) -> Result<Token, Problem> {
    let ask = ask(&wanted, time)?;
    let peer = ask.peer.clone();
    let response = transport.send(&ask).await?;
    match response.status() {
        StatusCode::OK => {}
        // Whom the realm redirects to has not seen the credentials.
        StatusCode::UNAUTHORIZED
            if wanted.credential.is_some() && ask.is_answered_by(&response) =>
        {
            let detail = body::error_text(response, &peer).await;
            return Err(rejected(peer, wanted.credential, detail));
        }
        StatusCode::BAD_REQUEST
            if is_exchange(wanted.credential) && ask.is_answered_by(&response) =>
        {
            let (problem, grant) = body::grant_problem(response, &peer, FOR_TOKEN).await;
            return Err(match grant {
                Some(detail) => rejected(peer, wanted.credential, Some(detail)),
                None => problem,
            });
        }
        _ => return Err(body::status_problem(response, &peer, FOR_TOKEN).await),
    }
    let bytes = body::whole(response, &peer, "token", MAX_ANSWER).await?;
    read(&peer, &bytes)
}

fn rejected(peer: String, credential: Option<&Credential>, detail: Option<String>) -> Problem {
    let credentials = credential.map(|credential| credential.origin.clone());
    Problem::Unauthorized { peer, why: Denial::Rejected, credentials, detail }
}

/// Whether an identity token is exchanged, which may be one that was taken back or has expired.
fn is_exchange(credential: Option<&Credential>) -> bool {
    credential.is_some_and(|credential| matches!(credential.secret, Secret::IdentityToken(_)))
}

fn ask(wanted: &Wanted<'_>, time: Duration) -> Result<Ask, Problem> {
    let Wanted { host, bearer, scope, credential, .. } = *wanted;
    let malformed = || Problem::malformed(&host.registry, "realm", "it is no http(s) URL");
    let mut url: Url = bearer.realm.parse().map_err(|_| malformed())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(malformed());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Problem::malformed(&host.registry, "realm", "it holds a user name"));
    }
    if !has_plain_host(&url) {
        return Err(Problem::malformed(&host.registry, "realm", "its host is no name of one"));
    }
    // What is declared of the registry's host is not said of another, which gets the password.
    let insecure =
        (host.insecure && is_host_of(&url, &host.authority)) || (wanted.insecure)(&authority(&url));
    if url.scheme() == "http" && !insecure {
        return Err(Problem::InsecureRealm {
            peer: host.registry.clone(),
            realm: excerpt(&authority(&url)),
        });
    }
    let mut headers = HeaderMap::new();
    let (mut method, mut body, mut authorization) = (Method::GET, None, None);
    if let Some(Credential { secret: Secret::IdentityToken(token), .. }) = credential {
        method = Method::POST;
        let form = "application/x-www-form-urlencoded";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
        body = Some(refresh_form(url.clone(), bearer, scope, token));
    } else {
        let mut query = url.query_pairs_mut();
        if !bearer.service.is_empty() {
            query.append_pair("service", &bearer.service);
        }
        // A login asks for none.
        if !scope.is_empty() {
            query.append_pair("scope", scope);
        }
        drop(query);
        if let Some(credential) = credential {
            authorization = Some(basic(&host.registry, credential)?);
        }
    }
    let peer = authority(&url);
    Ok(Ask { method, url, peer, headers, authorization, body, insecure, time })
}

/// Whether `url` leads to the host of `authority`, be it to another port.
fn is_host_of(url: &Url, authority: &str) -> bool {
    let own: Option<Url> = format!("{}://{authority}", url.scheme()).parse().ok();
    own.is_some_and(|own| own.host() == url.host())
}

/// The form of an OAuth2 refresh (RFC 6749, section 6).
fn refresh_form(mut url: Url, bearer: &Bearer, scope: &str, token: &str) -> String {
    url.set_query(None);
    url.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("service", &bearer.service)
        .append_pair("client_id", "updaterd")
        .append_pair("scope", scope)
        .append_pair("refresh_token", token);
    url.query().unwrap_or_default().to_owned()
}

/// The Basic header of `credential`.
pub(crate) fn basic(registry: &str, credential: &Credential) -> Result<HeaderValue, Problem> {
    let unsupported = || Problem::Unauthorized {
        peer: registry.to_owned(),
        why: Denial::UnsupportedScheme,
        credentials: Some(credential.origin.clone()),
        detail: None,
    };
    secret_header(&credential.basic().ok_or_else(unsupported)?).ok_or_else(unsupported)
}

fn read(peer: &str, bytes: &[u8]) -> Result<Token, Problem> {
    let malformed = |why| Problem::malformed(peer, "token", why);
    // serde_json's own message could quote the token.
    let answer: Answer = serde_json::from_slice(bytes).map_err(|_| malformed("it is not JSON"))?;
    let token = [answer.token, answer.access_token].into_iter().flatten().find(|t| !t.is_empty());
    let token = token.ok_or_else(|| malformed("neither token nor access_token is there"))?;
    let header = secret_header(&format!("Bearer {token}"));
    let header = header.ok_or_else(|| malformed("it has characters a header cannot have"))?;
    // 60 s is what a client may assume where nothing, or less, is said.
    let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(0).clamp(60, 24 * 3600));
    Ok(Token { header, expires: Instant::now() + lifetime - MARGIN })
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_either_name() {
        for text in [
            r#"{"token":"abc"}"#,
            r#"{"access_token":"abc"}"#,
            r#"{"token":"","access_token":"abc"}"#,
        ] {
            assert_eq!(read("r", text.as_bytes()).unwrap().header, "Bearer abc", "{text}");
        }
    }

    #[test]
    fn refuses_others_without_quoting_them() {
        for text in ["", "{}", "hunter2", r#"{"token":"hunter2\n"}"#, r#"{"token":{"hunter2":1}}"#]
        {
            let problem = read("r", text.as_bytes()).unwrap_err();
            assert!(!format!("{problem} {problem:?}").contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_realm_in_plain_http_is_for_the_insecure_only() {
        // With what is declared insecure: only the registry's own host, or the realm's.
        for (realm, insecure, asked, verified) in [
            ("https://auth.example/t", "none", true, true),
            ("https://auth.example/t", "r.io:5000", true, true),
            ("https://auth.example/t", "auth.example", true, false),
            ("https://r.io/t", "none", true, true),
            ("https://r.io/t", "r.io:5000", true, false),
            ("http://r.io:5001/t", "r.io:5000", true, false),
            ("http://r.io/t", "none", false, true),
            ("http://auth.example/t", "none", false, true),
            ("http://auth.example/t", "r.io:5000", false, true),
            ("http://auth.example/t", "auth.example", true, false),
        ] {
            let host = Host::new("r.io:5000", "r.io:5000", insecure == "r.io:5000");
            let declared = |authority: &str| authority == insecure;
            let bearer = Bearer { realm: realm.into(), service: "s".into(), scope: None };
            let wanted = Wanted {
                host: &host,
                bearer: &bearer,
                scope: "x",
                credential: None,
                insecure: &declared,
                not: None,
            };
            match ask(&wanted, Duration::from_secs(1)) {
                Ok(ask) => {
                    assert!(asked && ask.url.query() == Some("service=s&scope=x"), "{realm}");
                    assert_eq!(ask.insecure, !verified, "{realm} {insecure}");
                }
                Err(problem) => {
                    assert!(
                        !asked && matches!(problem, Problem::InsecureRealm { .. }),
                        "{problem}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_realm_is_a_plain_url() {
        let host = Host::new("r.io", "r.io", true);
        let insecure = |_: &str| true;
        for (realm, asked) in [
            ("https://auth.r.io/t", true),
            ("https://[2001:db8::1]:8443/t", true),
            ("https://../t", false),
            ("https://./t", false),
            ("https://%2e%2e/t", false),
            ("https://a..b/t", false),
            ("https://hunter2@auth.r.io/t", false),
            ("https://u:hunter2@auth.r.io/t", false),
            ("ftp://auth.r.io/t", false),
            ("file:///etc/passwd", false),
            ("/token", false),
            ("", false),
        ] {
            let bearer = Bearer { realm: realm.into(), ..Bearer::default() };
            let wanted = Wanted {
                host: &host,
                bearer: &bearer,
                scope: "x",
                credential: None,
                insecure: &insecure,
                not: None,
            };
            match ask(&wanted, Duration::from_secs(1)) {
                Ok(ask) => assert!(asked && has_plain_host(&ask.url), "{realm}: {}", ask.url),
                Err(problem) => {
                    assert!(!asked && matches!(problem, Problem::Content { .. }), "{realm}");
                    assert!(!problem.to_string().contains("hunter2"), "{problem}");
                }
            }
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = read("r", br#"{"token":"hunter2"}"#).unwrap();
        assert!(!format!("{token:?} {:?}", token.header).contains("hunter2"));
    }

    #[test]
    fn a_lifetime_is_a_minute_at_least() {
        for (text, seconds) in [("", 60), (r#","expires_in":1"#, 60), (r#","expires_in":300"#, 300)]
        {
            let token = read("r", format!(r#"{{"token":"t"{text}}}"#).as_bytes()).unwrap();
            let left = token.expires.duration_since(Instant::now()) + MARGIN;
            assert_eq!(left.as_secs_f64().round(), f64::from(seconds));
        }
    }
}
