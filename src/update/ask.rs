//! Asking the registries of one pass: hosts side by side, so that none waits for another.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::port::{Clock, Registry, World};
use super::updater::Updater;
use crate::model::{Container, Digest, Failure, FailureKind, ImageSource, Platform, Policy};
use crate::plan::decide::wants_check;
use crate::plan::{Backoff, FairQueue, Memory};

/// What the registry said of one source.
pub(super) enum Answer {
    Target(Digest),
    Failed(Failure),
    Held(Backoff),
}

impl<W: World> Updater<W> {
    /// One HEAD for each distinct source, however many containers use it.
    pub(super) async fn ask(
        &self,
        containers: &[&Container],
        asked_by_person: bool,
        memory: &mut Memory,
    ) -> BTreeMap<ImageSource, Answer> {
        let sources: BTreeSet<&ImageSource> = containers
            .iter()
            .filter(|container| wants_check(container) == Some(Policy::Registry))
            .map(|container| &container.source)
            .collect();
        let now = self.world.clock().now();
        let mut answers = BTreeMap::new();
        let mut open = Vec::new();
        for source in sources {
            match memory.backoff(source).filter(|held| held.holds(now, asked_by_person)) {
                Some(held) => {
                    answers.insert(source.clone(), Answer::Held(held.clone()));
                }
                None => open.push(source.clone()),
            }
        }
        let registry = self.world.registry();
        let ask = async |source: &ImageSource| registry.target(source).await;
        for (source, reply) in self.ask_all(open, |source| source, ask).await {
            let answer = match reply {
                Ok(target) => {
                    memory.answered(&source);
                    Answer::Target(target)
                }
                Err(failure) => Answer::Failed(failure),
            };
            answers.insert(source, answer);
        }
        answers
    }

    /// Learns of the images behind changed targets, for the platforms that the running images have.
    /// Where that fails, it is the answer for all containers on the same source.
    pub(super) async fn identify(
        &self,
        containers: &[&Container],
        answers: &mut BTreeMap<ImageSource, Answer>,
        memory: &mut Memory,
    ) {
        let mut unknown: BTreeSet<(ImageSource, Digest, Platform)> = BTreeSet::new();
        for container in containers {
            let Container { source, image, .. } = container;
            let Some(Answer::Target(target)) = answers.get(source) else { continue };
            let of_registry = wants_check(container) == Some(Policy::Registry);
            let known = memory.identity(&source.reference, target, &image.platform).is_some();
            if of_registry && !known && !container.runs(target) {
                unknown.insert((source.clone(), target.clone(), image.platform.clone()));
            }
        }
        let registry = self.world.registry();
        let ask = async |(source, target, platform): &(ImageSource, Digest, Platform)| {
            registry.identify(source, target, platform).await
        };
        for ((source, ..), reply) in self.ask_all(unknown, |(source, ..)| source, ask).await {
            match reply {
                Ok(image) => memory.learn(&source.reference, image),
                Err(failure) => drop(answers.insert(source, Answer::Failed(failure))),
            }
        }
    }

    /// Asks all questions, those of one host beside those of the others.
    async fn ask_all<Q, A>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        source_of: impl Fn(&Q) -> &ImageSource,
        ask: impl AsyncFn(&Q) -> Result<A, Failure>,
    ) -> Vec<(Q, Result<A, Failure>)> {
        let mut replies = Vec::new();
        let mut by_host = Vec::new();
        for question in questions {
            match self.world.registry().host(source_of(&question)).await {
                Ok(host) => by_host.push((host, question)),
                Err(failure) => replies.push((question, Err(failure))),
            }
        }
        let mut queue = FairQueue::new(self.options.in_flight(), by_host);
        let mut under_way = FuturesUnordered::new();
        let ask = &ask;
        loop {
            while let Some((whom, question)) = queue.pop() {
                under_way.push(async move {
                    let reply = ask(&question).await;
                    (whom, question, reply)
                });
            }
            let Some((whom, question, reply)) = under_way.next().await else { return replies };
            let silent = |failure: &Failure| matches!(failure.kind, FailureKind::Unreachable);
            queue.ended(whom, !reply.as_ref().is_err_and(silent));
            replies.push((question, reply));
        }
    }
}
