//! Pulling, by digest, so that the tag stays where it is. Whoever asks at the same time is served
//! together: one look at what is there already, and few calls for many images.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::{Mutex, oneshot};

use super::image::Facts;
use super::program::Said;
use super::{Podman, words};
use crate::model::{Failure, FailureKind, ImageIdentity, ImageSource, Platform, Reference};
use crate::store::pull::Remote;

/// How long the pull of one image may take.
const PULL: Duration = Duration::from_secs(60 * 60);

/// So many calls pull at the same time: a slow registry holds up its own images only.
pub(super) const CALLS_AT_ONCE: usize = 4;

/// Images in one call, at most: a large one holds up those behind it.
const IN_ONE_CALL: usize = 8;

/// What is to be pulled.
#[derive(Debug, Default)]
pub(super) struct Staging {
    wanted: RefCell<Vec<Wanted>>,
    /// Held by who pulls for all that are waiting.
    turn: Mutex<()>,
}

/// An image that somebody waits for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) source: ImageSource,
    pub(super) image: ImageIdentity,
    outcome: oneshot::Sender<Result<(), Failure>>,
}

impl Wanted {
    /// What Podman is asked for.
    fn name(&self) -> String {
        self.source.reference.pinned(&self.image.target).to_string()
    }

    pub(super) fn end(self, outcome: Result<(), Failure>) {
        // Who waits no more is not told.
        let _ = self.outcome.send(outcome);
    }
}

impl Podman {
    pub(super) async fn stage_with_others(
        &self,
        remote: Option<&impl Remote>,
        source: &ImageSource,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        let (sender, outcome) = oneshot::channel();
        let (source, image) = (source.clone(), image.clone());
        self.staging.wanted.borrow_mut().push(Wanted { source, image, outcome: sender });
        // The others of a pass ask in the same moment.
        tokio::task::yield_now().await;
        let turn = self.staging.turn.lock().await;
        self.bring(remote, self.staging.wanted.take()).await;
        drop(turn);
        outcome.await.unwrap_or_else(|_| {
            Err(Failure::new(FailureKind::Local, "the pull was given up".to_owned()))
        })
    }

    /// Brings all of them into storage, and tells each who waits for it.
    async fn bring(&self, remote: Option<&impl Remote>, wanted: Vec<Wanted>) {
        self.service.begin();
        let mut names = Vec::new();
        for wanted in &wanted {
            names.extend([wanted.source.reference.to_string(), wanted.name()]);
            names.extend(self.known_image(&wanted.image));
        }
        let there = match self.facts(&names).await {
            Ok(there) => there,
            Err(failure) => return wanted.into_iter().for_each(|w| w.end(Err(failure.clone()))),
        };
        let is_there = |wanted: &Wanted| there.iter().any(|facts| facts.is(&wanted.image));
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for wanted in wanted {
            let is_there = is_there(&wanted);
            match self.note_wanted(&wanted.source.reference, &wanted.image, is_there) {
                Err(failure) => wanted.end(Err(failure)),
                Ok(()) if is_there => found.push(wanted),
                Ok(()) => missing.push(wanted),
            }
        }
        found.into_iter().for_each(|wanted| wanted.end(Ok(())));
        let missing = match remote {
            Some(remote) => self.with_room(remote, missing).await,
            None => missing,
        };
        let calls = calls(missing).into_iter().map(|call| self.pull(call));
        stream::iter(calls).buffer_unordered(CALLS_AT_ONCE).collect::<()>().await;
    }

    async fn pull(&self, wanted: Vec<Wanted>) {
        let all: Vec<&Wanted> = wanted.iter().collect();
        let mut outcomes = Vec::new();
        for (told, alone) in self.pull_together(&all).await.into_iter().zip(&wanted) {
            outcomes.push(match told {
                Some(outcome) => outcome,
                None => self.pull_alone(alone).await,
            });
        }
        wanted.into_iter().zip(outcomes).for_each(|(wanted, outcome)| wanted.end(outcome));
    }

    /// For the cause of a failure, which a call for several does not say of each.
    async fn pull_alone(&self, wanted: &Wanted) -> Result<(), Failure> {
        let told = self.pull_together(&[wanted]).await.into_iter().next().flatten();
        told.unwrap_or_else(|| check_pulled(&wanted.source.reference, None, &wanted.image))
    }

    /// One call of Podman, and what came of each image; `None` where it does not tell. Podman goes on
    /// to the next image where one fails.
    async fn pull_together(&self, wanted: &[&Wanted]) -> Vec<Option<Result<(), Failure>>> {
        let outcomes = async {
            self.known().await?;
            let program = &self.options.program;
            let arguments = self.pull_arguments(wanted);
            let time = PULL.saturating_mul(u32::try_from(wanted.len()).unwrap_or(u32::MAX));
            let said = program.call(&arguments, time).await?;
            let text = String::from_utf8_lossy(&said.output);
            let ids: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let came = self.facts(&ids).await?;
            Ok(judge(wanted, &said, &ids, &came, || program.failure(&arguments, &said)))
        };
        let outcomes: Result<Vec<_>, Failure> = outcomes.await;
        outcomes.unwrap_or_else(|failure| vec![Some(Err(failure)); wanted.len()])
    }

    /// Of images for which the flags are the same.
    fn pull_arguments(&self, wanted: &[&Wanted]) -> Vec<OsString> {
        let mut arguments = words(["pull"]);
        if let Some(first) = wanted.first() {
            let authfile = first.source.authfile.as_deref().or(self.options.authfile.as_deref());
            arguments.extend(authfile.map(|authfile| flag("--authfile=", authfile)));
            let Platform { os, architecture, .. } = &first.image.platform;
            if (os, architecture) != (&self.host.os, &self.host.architecture) {
                arguments.push(format!("--platform={}", first.image.platform).into());
            }
        }
        if let Some(verify) = self.options.tls_verify {
            arguments.push(format!("--tls-verify={verify}").into());
        }
        arguments.extend(wanted.iter().map(|wanted| OsString::from(wanted.name())));
        arguments
    }
}

/// The images of each call: those of one registry, with the same credentials, for one platform.
fn calls(wanted: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    let size = wanted.len().div_ceil(CALLS_AT_ONCE).clamp(1, IN_ONE_CALL);
    let mut calls: BTreeMap<_, Vec<Vec<Wanted>>> = BTreeMap::new();
    for wanted in wanted {
        let authfile = wanted.source.authfile.clone();
        let platform = wanted.image.platform.to_string();
        let registry = wanted.source.reference.registry().to_owned();
        let calls = calls.entry((registry, authfile, platform)).or_default();
        match calls.last_mut() {
            Some(call) if call.len() < size => call.push(wanted),
            _ => calls.push(vec![wanted]),
        }
    }
    calls.into_values().flatten().collect()
}

/// What a call that said this means for each image.
fn judge(
    wanted: &[&Wanted],
    said: &Said,
    ids: &[String],
    came: &[Facts],
    failure: impl Fn() -> Failure,
) -> Vec<Option<Result<(), Failure>>> {
    let check =
        |wanted: &Wanted, facts| Some(check_pulled(&wanted.source.reference, facts, &wanted.image));
    if said.success {
        // An ID for each, in their order.
        let in_order = ids.len() == wanted.len();
        let of = |id: &String| came.iter().find(|facts| &facts.id == id);
        let pairs = wanted.iter().zip(ids);
        return match in_order {
            // What cannot be read is asked for alone, for the cause.
            true => pairs.map(|(wanted, id)| check(wanted, Some(of(id)?))).collect(),
            false => wanted.iter().map(|_| None).collect(),
        };
    }
    let found = |wanted: &Wanted| came.iter().find(|facts| facts.is(&wanted.image));
    let lost = wanted.iter().filter(|wanted| found(wanted).is_none()).count();
    let outcome = |wanted: &&Wanted| match found(wanted) {
        None if lost == 1 => Some(Err(failure())),
        None => None,
        facts => check(wanted, facts),
    };
    wanted.iter().map(outcome).collect()
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(path);
    flag
}

/// Whether what Podman pulled is what was planned.
fn check_pulled(
    reference: &Reference,
    pulled: Option<&Facts>,
    planned: &ImageIdentity,
) -> Result<(), Failure> {
    let refuse =
        |why: String| Err(Failure::new(FailureKind::InvalidContent, format!("{reference}: {why}")));
    let Some(pulled) = pulled else {
        return refuse("Podman pulled an image that it does not have".into());
    };
    if !pulled.is(planned) {
        let (got, expected) = (&pulled.identity.manifest, &planned.manifest);
        return refuse(format!("Podman pulled {got} where {expected} was expected"));
    }
    let (theirs, own) = (&pulled.identity.platform, &planned.platform);
    if (&theirs.os, &theirs.architecture) != (&own.os, &own.architecture) {
        return refuse(format!("is for {theirs}, the running image for {own}"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
