//! In front of a registry: wants tokens for passwords, passes requests on, and answers one of them wrong.

use std::sync::{Arc, Mutex};

use crate::impostor::{Answer, Impostor, Request, pass_on, response};
use crate::registry::{PASSWORD, USER};

/// What a request is let in with.
pub(crate) const TOKEN: &str = "a-token-that-nobody-else-may-see";

/// It listens until the test ends.
pub(crate) struct Front {
    impostor: Impostor,
    spoilt: Arc<Mutex<Vec<Spoilt>>>,
}

/// One request that goes wrong.
struct Spoilt {
    step: Step,
    /// How often it was seen, and how often it is still answered wrong.
    seen: usize,
    left: usize,
    spoil: Spoil,
}

/// Makes a wrong answer of the right one.
pub(crate) type Spoil = Box<dyn Fn(&Request, Vec<u8>) -> Answer + Send>;

/// A request of a pull: which it is, and how often the same was sent before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) line: String,
    pub(crate) before: usize,
}

impl Step {
    /// The requests of a pull in their order.
    pub(crate) fn all(lines: Vec<String>) -> Vec<Self> {
        let before = |at: usize| lines[..at].iter().filter(|line| **line == lines[at]).count();
        let step = |at: usize| Self { line: lines[at].clone(), before: before(at) };
        (0..lines.len()).map(step).collect()
    }
}

impl Front {
    /// At `port`, for the registry at `real`.
    pub(crate) fn start(port: u16, real: u16) -> Self {
        let front = Self { impostor: Impostor::start(port), spoilt: Arc::default() };
        let spoilt = Arc::clone(&front.spoilt);
        front.impostor.reply(move |request| {
            let right = right(port, real, request);
            match spoilt.lock().unwrap().iter_mut().find_map(|spoilt| spoilt.meets(request)) {
                Some(spoil) => spoil(request, right),
                None => right.into(),
            }
        });
        front
    }

    /// From now on the answer to this request is spoilt, and `times` altogether.
    pub(crate) fn spoil(&self, step: &Step, times: usize, spoil: Spoil) {
        let spoilt = Spoilt { step: step.clone(), seen: 0, left: times, spoil };
        self.spoilt.lock().unwrap().push(spoilt);
    }

    /// The requests since this was last asked, as `METHOD path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.impostor.requests()
    }
}

impl Spoilt {
    fn meets(&mut self, request: &Request) -> Option<&Spoil> {
        if request.line != self.step.line {
            return None;
        }
        self.seen += 1;
        let is_met = self.seen > self.step.before && self.left > 0;
        self.left -= usize::from(is_met);
        is_met.then_some(&self.spoil)
    }
}

/// What a registry with tokens answers.
fn right(port: u16, real: u16, request: &Request) -> Vec<u8> {
    let authorization = request.header("authorization").unwrap_or_default();
    if request.line.starts_with("GET /token") {
        return match authorization == basic() {
            true => token(),
            false => response("401 Unauthorized", &[], b""),
        };
    }
    match authorization == format!("Bearer {TOKEN}") {
        true => pass_on(real, request),
        false => response("401 Unauthorized", &[&challenge(port)], b""),
    }
}

/// A realm's answer.
pub(crate) fn token() -> Vec<u8> {
    let text = serde_json::json!({ "token": TOKEN, "expires_in": 300 }).to_string();
    response("200 OK", &["Content-Type: application/json"], text.as_bytes())
}

/// What the front at `port` wants.
pub(crate) fn challenge(port: u16) -> String {
    format!("WWW-Authenticate: Bearer realm=\"http://localhost:{port}/token\",service=\"front\"")
}

/// The header of the right user.
pub(crate) fn basic() -> String {
    format!("Basic {}", login())
}

/// User and password, as auth.json has them.
pub(crate) fn login() -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))
}
