//! All images of a pass are brought into storage before the first restart.

use futures_util::future;

use super::port::{Engine, Ledger, Observer, World};
use super::updater::Updater;
use super::{Event, EventKind};
use crate::model::{Failure, FailureKind, Policy};
use crate::plan::decide::Staging;
use crate::plan::registries::Reply;
use crate::plan::rollout::Rollout;
use crate::plan::rollout::goal::Aim;
use crate::plan::{Memory, Plan};

/// What became of the images of a plan.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Of each rollout.
    pub(super) rollouts: Vec<Result<(), Failure>>,
    /// Of what is pulled for units that wait.
    pub(super) ahead: Vec<Result<(), Failure>>,
}

/// Takes back, where pulls are given up in good order, that they took the process with them.
struct InOrder<'a, L: Ledger> {
    ledger: &'a L,
    memory: Memory,
}

impl<L: Ledger> Drop for InOrder<'_, L> {
    fn drop(&mut self) {
        // What cannot be written costs a pause before the next pull.
        let _ = self.ledger.save_memory(&self.memory);
    }
}

impl<W: World> Updater<W> {
    /// Brings all new images of the pass into storage before the first restart, also for units that wait
    /// for theirs; says of each rollout whether all of its images are there, and then of those. A failed
    /// one is backed off from like a failed check; `before` has the failures in a row.
    ///
    /// # Errors
    /// Where the ledger cannot be written.
    pub(super) async fn stage_all(
        &self,
        plan: &Plan,
        before: &Memory,
        memory: &mut Memory,
    ) -> Result<Staged, Failure> {
        if plan.rollouts.is_empty() && plan.staging.is_empty() {
            return Ok(Staged::default());
        }
        let ahead = || plan.staging.iter().map(Staging::aim);
        let aims = || plan.rollouts.iter().flat_map(Rollout::aims).chain(ahead());
        let registries = aims().filter(|aim| aim.policy == Policy::Registry);
        let hosts = self.hosts(registries.map(|aim| aim.source)).await;
        // An image that takes this process down with it must not do so again at once.
        let _in_order = InOrder { ledger: self.world.ledger(), memory: memory.clone() };
        let killed = Failure::new(FailureKind::Local, "its pull ended with the process");
        let alone = |source| Reply { source, host: None, failure: Some(&killed) };
        let replies: Vec<_> = aims().map(|aim| alone(aim.source)).collect();
        memory.remember(before, &replies, self.moment());
        self.world.ledger().save_memory(memory)?;
        let pulls = plan.rollouts.iter().map(|rollout| {
            let aims = rollout.aims().enumerate();
            future::join_all(aims.map(|(goal, aim)| self.stage(Some((rollout, goal)), aim)))
        });
        let ahead = future::join_all(ahead().map(|aim| self.stage(None, aim)));
        let (results, ahead) = future::join(future::join_all(pulls), ahead).await;
        let all = results.iter().flatten().chain(&ahead);
        let replies = aims().zip(all).map(|(aim, result)| {
            let failure = result.as_ref().err();
            Reply { source: aim.source, host: hosts.of(aim.source), failure }
        });
        let replies: Vec<_> = replies.collect();
        memory.remember(before, &replies, self.moment());
        self.learn_budgets(&hosts, memory);
        let rollouts = results.into_iter().map(|results| results.into_iter().collect()).collect();
        Ok(Staged { rollouts, ahead })
    }

    async fn stage(&self, goal: Option<(&Rollout, usize)>, aim: Aim<'_>) -> Result<(), Failure> {
        let Aim { source, new, .. } = aim;
        let about = |kind| Event {
            reference: Some(source.reference.clone()),
            new: Some(new.manifest.clone()),
            ..Event::new(kind)
        };
        self.world.observer().event(&about(EventKind::Staging));
        let engine = self.world.engine(aim.engine)?;
        // What runs is kept while the new image is pulled: the promotion has that much less to do, and
        // tells where it cannot be.
        let own = goal
            .into_iter()
            .flat_map(|(rollout, goal)| rollout.steps.iter().filter(move |step| step.goal == goal));
        let keeps = own.map(|step| engine.keep(&step.unit, &source.reference, &step.old));
        let (staged, _) = future::join(engine.stage(source, new), future::join_all(keeps)).await;
        staged?;
        self.world.observer().event(&about(EventKind::Staged));
        Ok(())
    }
}
