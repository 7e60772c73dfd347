//! `updater-launch stage`: a pull for the service of an ordinary user, which is in no user namespace
//! and could not give files their owners. It asks on standard input and is answered on standard
//! output (see [`Request`]).

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::launch::command::pull::{broken_off, run};
use crate::launch::place::Place;
use crate::launch::{Error, say};
use crate::model::{Digest, Failure, ImageIdentity};
use crate::registry::{Client, Options};
use crate::store::pull::{Far, Progress, Request, pull_within};
use crate::store::unpack::Limits;

pub(crate) fn stage(place: &Place) -> Result<u8, Error> {
    let request = serde_json::from_reader(std::io::stdin()).map_err(Error::Json)?;
    let answer = run(carry_out(place, request))?;
    say(serde_json::to_string(&answer).map_err(Error::Json)?)?;
    Ok(0)
}

async fn carry_out(place: &Place, request: Request) -> Result<ImageIdentity, Failure> {
    let store = crate::store::Store::open(&place.state)?;
    let Request { source, want, min_free, rate } = request;
    let options = Options { paths: place.registries.clone(), rate, ..Options::of(&place.state) };
    let client = Client::new(&options)?;
    let limits = Limits::leaving(min_free);
    Ok(pull_within(&store, &client, &source, want, &Lines::default(), &limits).await?.identity)
}

/// How often it is said how far it has come.
const OFTEN: Duration = Duration::from_millis(500);

/// How far the pull has come, as lines before the answer. Who does not read them is not waited for: the
/// answer will fail.
#[derive(Default)]
struct Lines {
    far: Cell<Far>,
    said: Cell<Option<Instant>>,
}

impl Lines {
    fn is(&self, far: Far) {
        self.far.set(far);
        let is_new = self.said.get().is_none_or(|said| said.elapsed() >= OFTEN);
        if (is_new || far.received == far.total)
            && let Ok(line) = serde_json::to_string(&far)
        {
            self.said.set(Some(Instant::now()));
            let _ = say(line);
        }
    }
}

impl Progress for Lines {
    fn planned(&self, bytes: u64) {
        self.is(Far { received: 0, total: bytes });
    }

    fn advanced(&self, _layer: &Digest, bytes: u64) {
        self.is(self.far.get().and(bytes));
    }

    fn broke_off(&self, layer: &Digest, failure: &Failure, wait: Duration) {
        eprintln!("{}", broken_off(layer, failure, wait));
    }
}
