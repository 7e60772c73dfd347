//! `updater-launch stage`: a pull for the service of an ordinary user, which is in no user namespace
//! and could not give files their owners. It asks on standard input and is answered on standard
//! output (see [`Request`]).

use crate::launch::command::pull::run;
use crate::launch::place::Place;
use crate::launch::{Error, say};
use crate::model::{Failure, ImageIdentity};
use crate::registry::{Client, Options};
use crate::store::pull::{Request, pull_within};
use crate::store::unpack::Limits;

pub(crate) fn stage(place: &Place) -> Result<u8, Error> {
    let request = serde_json::from_reader(std::io::stdin()).map_err(Error::Json)?;
    let answer = run(carry_out(place, request))?;
    say(serde_json::to_string(&answer).map_err(Error::Json)?)?;
    Ok(0)
}

async fn carry_out(place: &Place, request: Request) -> Result<ImageIdentity, Failure> {
    let store = crate::store::Store::open(&place.state)?;
    let options = Options { paths: place.registries.clone(), ..Options::of(&place.state) };
    let client = Client::new(&options)?;
    let Request { source, want, min_free } = request;
    let limits = Limits::leaving(min_free);
    Ok(pull_within(&store, &client, &source, want, &(), &limits).await?.identity)
}
