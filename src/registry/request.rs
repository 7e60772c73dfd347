//! One request for one image: authenticated, once more with a fresh token where a kept one is
//! stale, and its refusals told apart.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};

use super::auth::challenge::Challenge;
use super::auth::credentials::Credential;
use super::auth::token::{Tokens, Wanted, basic};
use super::body;
use super::error::{Denial, Problem};
use super::host::Host;
use super::registries_conf::Registries;
use super::transport::{Ask, Transport, authority};
use crate::model::FailureKind;

/// An image's repository at its host, with the credentials for it.
#[derive(Debug)]
pub(super) struct Repository<'a> {
    pub(super) transport: &'a Transport,
    pub(super) tokens: &'a Tokens,
    pub(super) host: Arc<Host>,
    /// Empty for the registry itself.
    pub(super) path: String,
    pub(super) credential: Option<Credential>,
    /// Why there is none, where that is somebody's failure.
    pub(super) missing: Option<Problem>,
    /// What is declared of other hosts that its realm may be on.
    pub(super) registries: &'a Registries,
    pub(super) tls_verify: Option<bool>,
    /// For fetching a token.
    pub(super) time: Duration,
    /// Before a request that came to nothing is sent once more.
    pub(super) pause: Duration,
}

/// What is asked of a repository.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) method: Method,
    /// Below the repository: `manifests/1.2`.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) time: Duration,
    /// In messages: "HEAD of the manifest".
    pub(super) name: &'static str,
}

/// How a request was authenticated.
enum Proof {
    None,
    Basic(HeaderValue),
    Kept(HeaderValue),
    Fresh(HeaderValue),
}

/// What one request has tried already. What was learnt earlier may be out of date, so each of these
/// is done once and then believed.
#[derive(Default)]
struct Tried {
    learned: bool,
    refreshed: bool,
    rescoped: bool,
    changed: bool,
    hiccup: bool,
    /// The challenge that was forgotten, because this came of it.
    forgotten: Option<(Challenge, Problem)>,
}

impl Tried {
    /// Whether `problem`, met on the way to a proof, may come of a challenge that is out of date: it
    /// was kept, and nobody has judged the credentials, which must not be tried again and again, or said
    /// that too much is asked.
    fn forgets(&self, problem: &Problem) -> bool {
        let kept = !(self.learned || self.refreshed || self.rescoped || self.changed);
        let judged =
            matches!(problem.kind(), FailureKind::Unauthorized | FailureKind::RateLimited(_));
        kept && self.forgotten.is_none() && !judged
    }
}

/// Notes that something is tried; `false` where it was before.
fn once(tried: &mut bool) -> bool {
    !std::mem::replace(tried, true)
}

impl Repository<'_> {
    /// Sends `query`; the answer has a status of success.
    ///
    /// At most six requests: one that learns how to authenticate, one with a token, one with a
    /// fresh token, one with a wider scope, one with another kind or place of authentication
    /// than before, and one in the place of another that came to nothing ([`Repository::bears_with`]).
    pub(super) async fn send(&self, query: &Query) -> Result<Response, Problem> {
        let sent = self.converse(query).await;
        match (sent, &self.missing) {
            // It wants a login, and there might have been one.
            (Err(refused), Some(missing)) if refused.kind() == FailureKind::Unauthorized => {
                Err(missing.clone())
            }
            (sent, _) => sent,
        }
    }

    async fn converse(&self, query: &Query) -> Result<Response, Problem> {
        let mut first = self.host.enter().await?;
        let mut tried = Tried::default();
        let mut stale = None;
        loop {
            let challenge = self.host.challenge(&self.path);
            let proof = self.prove(challenge.as_ref(), stale.as_ref()).await;
            if let Err(problem) = &proof
                && self.bears_with(problem, &mut tried.hiccup).await
            {
                continue;
            }
            if let (Err(problem), Some(used)) = (&proof, &challenge)
                && tried.forgets(problem)
            {
                self.host.forget(&self.path, used);
                tried.forgotten = Some((used.clone(), problem.clone()));
                continue;
            }
            // Nobody of this host's gets further without whom it has say who they are.
            let no_proof = proof.is_err();
            let sent = match proof {
                Ok(proof) => self.exchange(query, &proof).await.map(|response| (proof, response)),
                Err(problem) => Err(problem),
            };
            // Who waits for the first one's answer waits on.
            if let Err(problem) = &sent
                && self.bears_with(problem, &mut tried.hiccup).await
            {
                continue;
            }
            match &sent {
                Ok(_) => self.host.answered(),
                Err(problem) if first.is_some() || no_proof || problem.is_of_the_host() => {
                    self.host.failed(problem);
                }
                Err(_) => {}
            }
            drop(first.take());
            let (proof, response) = sent?;
            if response.status() != StatusCode::UNAUTHORIZED {
                match self.checked(query, response).await {
                    Err(problem) if self.bears_with(&problem, &mut tried.hiccup).await => continue,
                    checked => return self.noted(checked),
                }
            }
            let Some(offered) = Challenge::from_headers(response.headers()) else {
                return Err(self.denied(response, Denial::UnsupportedScheme).await);
            };
            self.host.learn(&self.path, &offered);
            match tried.forgotten.take() {
                // Nothing was out of date.
                Some((used, problem)) if used.is_like(&offered) => return Err(problem),
                _ => {}
            }
            let wider = match &offered {
                Challenge::Bearer(bearer) => self.host.learn_scope(&self.path, bearer),
                Challenge::Basic => false,
            };
            let other = !challenge.is_some_and(|used| used.is_like(&offered));
            let denial = match proof {
                Proof::None => Denial::NoCredentials,
                _ => Denial::NoAccess,
            };
            let again = match proof {
                Proof::None => other && once(&mut tried.learned),
                Proof::Kept(header) => {
                    stale = Some(header);
                    once(&mut tried.refreshed)
                }
                Proof::Basic(_) | Proof::Fresh(_) => {
                    (wider && once(&mut tried.rescoped)) || (other && once(&mut tried.changed))
                }
            };
            if !again {
                return Err(self.denied(response, denial).await);
            }
        }
    }

    async fn prove(
        &self,
        challenge: Option<&Challenge>,
        stale: Option<&HeaderValue>,
    ) -> Result<Proof, Problem> {
        match (challenge, &self.credential) {
            (None, _) => Ok(Proof::None),
            (Some(Challenge::Basic), Some(credential)) => {
                Ok(Proof::Basic(basic(&self.host.registry, credential)?))
            }
            (Some(Challenge::Basic), None) => Ok(Proof::None),
            (Some(Challenge::Bearer(bearer)), credential) => {
                let scope = self.host.scope(&self.path);
                let insecure =
                    |authority: &str| self.registries.is_insecure(authority, self.tls_verify);
                let wanted = Wanted {
                    host: &self.host,
                    bearer,
                    scope: &scope,
                    credential: credential.as_ref(),
                    insecure: &insecure,
                    not: stale,
                };
                let (header, fresh) = self.tokens.get(self.transport, wanted, self.time).await?;
                Ok(if fresh { Proof::Fresh(header) } else { Proof::Kept(header) })
            }
        }
    }

    async fn exchange(&self, query: &Query, proof: &Proof) -> Result<Response, Problem> {
        let (Proof::Basic(header), Some(credential)) = (proof, &self.credential) else {
            let header = match proof {
                Proof::Kept(header) | Proof::Fresh(header) => Some(header),
                Proof::None | Proof::Basic(_) => None,
            };
            return self.connect(query, header).await;
        };
        let login = self.tokens.login(&self.host.authority, credential);
        let request = async {
            let response = self.connect(query, Some(header)).await?;
            // Where it wants tokens by now, it has not judged the credentials.
            let wants_token = || {
                matches!(Challenge::from_headers(response.headers()), Some(Challenge::Bearer(_)))
            };
            if response.status() == StatusCode::UNAUTHORIZED && !wants_token() {
                return Err(self.denied(response, Denial::Rejected).await);
            }
            Ok(response)
        };
        let accepts = |response: &Response| response.status() != StatusCode::UNAUTHORIZED;
        let Host { registry, authority, .. } = &*self.host;
        let attempt = self.tokens.attempt(registry, authority, &self.path, credential);
        login.attempt(attempt, request, accepts).await
    }

    /// Sends by HTTPS; where a registry that is declared insecure does not speak it, by HTTP.
    async fn connect(
        &self,
        query: &Query,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Problem> {
        let scheme = self.host.scheme();
        let sent = self.transfer(query, scheme, authorization).await;
        let Err(Problem::Unreachable { source, .. }) = &sent else { return sent };
        if scheme == "http" {
            // It may have got TLS meanwhile: the next request tries that first again.
            self.host.use_plain_http(false);
            return sent;
        }
        if !self.host.insecure || !source.is_connect() {
            return sent;
        }
        let plain = self.transfer(query, "http", authorization).await;
        match &plain {
            // What TLS servers say to plain HTTP: then TLS was what failed.
            Ok(response) if response.status() == StatusCode::BAD_REQUEST => sent,
            Ok(_) => {
                self.host.use_plain_http(true);
                plain
            }
            Err(_) => plain,
        }
    }

    /// Sends once. A 401 of this answer is the registry's own: one of a redirection's target would
    /// have the password sent to a realm of its choice.
    async fn transfer(
        &self,
        query: &Query,
        scheme: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Problem> {
        let ask = self.ask(query, scheme, authorization)?;
        let response = self.transport.send(&ask).await?;
        if ask.is_answered_by(&response) {
            self.host.note_budget(response.headers());
        }
        if response.status() == StatusCode::UNAUTHORIZED && !ask.is_answered_by(&response) {
            let peer = authority(response.url());
            return Err(body::status_problem(response, &peer, query.name).await);
        }
        Ok(response)
    }

    fn ask(
        &self,
        query: &Query,
        scheme: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Ask, Problem> {
        let root = format!("{scheme}://{}/v2/", self.host.authority);
        let url = match self.path.as_str() {
            "" => root,
            path => format!("{root}{path}/{}", query.path),
        };
        let url: Url = url
            .parse()
            .map_err(|error| Problem::malformed(&self.host.registry, "registry's name", error))?;
        Ok(Ask {
            method: query.method.clone(),
            url,
            peer: self.host.registry.clone(),
            headers: query.headers.clone(),
            authorization: authorization.cloned(),
            body: None,
            insecure: self.host.insecure,
            time: query.time,
        })
    }

    async fn checked(&self, query: &Query, response: Response) -> Result<Response, Problem> {
        if response.status().is_success() {
            return Ok(response);
        }
        Err(body::status_problem(response, &self.host.registry, query.name).await)
    }

    /// Too much is asked of the host: that is everybody's failure.
    fn noted(&self, checked: Result<Response, Problem>) -> Result<Response, Problem> {
        checked.inspect_err(|problem| {
            if matches!(problem.kind(), FailureKind::RateLimited(_)) {
                self.host.failed(problem);
            }
        })
    }

    /// Whether a request that ended so is to be sent once more: a connection that was reset, a server
    /// that is being replaced. Returns when it is time. `tried` says whether it was done already.
    ///
    /// A host that fails all the time is not asked twice for everything: see [`Host::bears`].
    pub(super) async fn bears_with(&self, problem: &Problem, tried: &mut bool) -> bool {
        let Some(asked) = problem.passes_after().filter(|_| !*tried && self.host.bears()) else {
            return false;
        };
        *tried = true;
        let pause = asked.max(self.pause);
        tracing::debug!(host = %self.host.authority, ?pause, "asking once more: {problem}");
        tokio::time::sleep(pause).await;
        true
    }

    async fn denied(&self, response: Response, why: Denial) -> Problem {
        let detail = body::error_text(response, &self.host.registry).await;
        // With credentials, "none were found" would be a lie.
        let why = match (why, &self.credential) {
            (Denial::NoAccess, None) => Denial::NoCredentials,
            (why, _) => why,
        };
        let credentials = self.credential.as_ref().map(|credential| credential.origin.clone());
        Problem::Unauthorized { peer: self.host.registry.clone(), why, credentials, detail }
    }
}
