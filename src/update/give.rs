//! What units are given for their next start: new images and old ones, by a binding or the tag.

use super::execute::{Begin, Course, came};
use super::port::{Engine, InFlight, World};
use super::under_way::Came;
use super::updater::Updater;
use crate::model::{Failure, Reference};
use crate::plan::Cause;
use crate::plan::rollout::goal::Aim;
use crate::plan::rollout::{self, Along, Mark, Rollout, Step};

impl<W: World> Updater<W> {
    pub(super) async fn stage_again(&self, rollout: &Rollout) -> Result<(), Failure> {
        for aim in rollout.aims() {
            self.world.engine(aim.engine)?.stage(aim.source, aim.new).await?;
        }
        Ok(())
    }

    /// Moves the tags that are to be moved. What only waits for its next run is verified by nobody yet;
    /// what an operator had units go back to was.
    pub(super) async fn move_tags(&self, flight: &InFlight) -> Result<(), Failure> {
        let InFlight { rollout, progress, undoes, .. } = flight;
        for (goal, aim) in rollout.aims().enumerate().filter(|(_, aim)| aim.moves_tag) {
            let mut own = rollout.steps.iter().zip(&progress.marks);
            let verified = own.any(|(step, mark)| step.goal == goal && *mark == Mark::Updated);
            if verified || undoes.is_some() {
                self.world.engine(aim.engine)?.tag(aim.reference(), aim.new).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn put_back(
        &self,
        engine: &W::Engine,
        step: &Step,
        flight: &InFlight,
        course: &Course,
    ) -> Came {
        let mut dependents = flight.dependents.get(&step.unit).cloned();
        if let Some(dependents) = &mut dependents {
            self.forget_stopped(step, dependents, &flight.boot, course).await;
        }
        // What a start limit keeps down is brought up by itself afterwards.
        let _ = self.reset_carried(step).await;
        let event = came(put_back(engine, step, flight.rollout.aim(step).reference()).await);
        Came { dependents, ..event.into() }
    }

    /// Takes back what a unit was given; it may have started by itself meanwhile.
    pub(super) async fn withdraw(
        &self,
        engine: &W::Engine,
        step: &Step,
        rollout: &Rollout,
        begin: Begin,
    ) -> rollout::Event {
        if let Err(failure) = put_back(engine, step, rollout.aim(step).reference()).await {
            return rollout::Event::Failed(Cause::Host { failure });
        }
        match self.recalled(&step.unit, begin).await {
            Ok(state) if state.is_stopped_for_good() || state.is_transient() => {}
            // A boot may have started it with what it was given.
            Ok(state) if state.is_down() && begin.is_resumed() => {
                return rollout::Event::FoundMoved;
            }
            _ if self.runs_new_image(step, rollout).await => return rollout::Event::FoundMoved,
            _ => {}
        }
        rollout::Event::Succeeded
    }
}

/// Gives a unit its new images; what it runs stays in storage.
pub(super) async fn promote<E: Engine>(
    engine: &E,
    step: &Step,
    rollout: &Rollout,
) -> Result<(), Failure> {
    let Aim { source, new, .. } = rollout.aim(step);
    let reference = &source.reference;
    engine.keep(&step.unit, reference, &step.old).await?;
    for Along { source, old, .. } in &step.along {
        engine.keep(&step.unit, &source.reference, old).await?;
    }
    let bound = async {
        for Along { source, new, .. } in &step.along {
            engine.bind(&step.unit, &source.reference, new).await?;
        }
        engine.bind(&step.unit, reference, new).await
    };
    let bound: Result<(), Failure> = bound.await;
    if let Err(failure) = &bound
        && let Err(back) = put_back(engine, step, reference).await
    {
        let message = format!("{failure}; and what was done cannot be undone: {back}");
        return Err(Failure::new(failure.kind.clone(), message));
    }
    bound
}

/// Gives a unit its old images.
async fn put_back<E: Engine>(
    engine: &E,
    step: &Step,
    reference: &Reference,
) -> Result<(), Failure> {
    for Along { source, old, .. } in &step.along {
        engine.bind(&step.unit, &source.reference, old).await?;
    }
    engine.bind(&step.unit, reference, &step.old).await
}
