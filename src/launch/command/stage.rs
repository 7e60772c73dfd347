//! `updater-launch stage`: a pull for the service of an ordinary user, which is in no user namespace
//! and could not give files their owners. It asks on standard input and is answered on standard
//! output (see [`Request`]).

use std::time::Duration;

use crate::launch::command::pull::run;
use crate::launch::place::Place;
use crate::launch::{Error, say};
use crate::model::{Digest, Failure, ImageIdentity};
use crate::registry::{Client, Options};
use crate::store::pull::{Far, Gauge, Progress, Request, broken_off, pull_within};
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
    let options = Options { rate, ..place.asking(None) };
    let client = Client::new(&options)?;
    let limits = Limits::leaving(min_free);
    let lines = Lines(Gauge::new(line));
    Ok(pull_within(&store, &client, &source, want, &lines, &limits).await?.identity)
}

/// Lines before the answer that say how far the pull has come. Who does not read them is not waited
/// for: the answer will fail.
struct Lines(Gauge<fn(Far)>);

fn line(far: Far) {
    if let Ok(line) = serde_json::to_string(&far) {
        let _ = say(line);
    }
}

impl Progress for Lines {
    fn planned(&self, bytes: u64) {
        self.0.planned(bytes);
    }

    fn advanced(&self, _layer: &Digest, bytes: u64) {
        self.0.advanced(bytes);
    }

    fn broke_off(&self, layer: &Digest, failure: &Failure, wait: Duration) {
        eprintln!("{}", broken_off(layer, failure, wait));
    }
}
