//! The end of a rollout's hold on its units: each gets what it is destined to have, by the tag or by a
//! binding.

use super::execute::Begin;
use super::port::{Engine, World};
use super::updater::Updater;
use crate::model::{Failure, FailureKind, ImageIdentity};
use crate::plan::rollout::{self, Event, Mark, Progress, Rollout, Step, destined};

impl<W: World> Updater<W> {
    /// Leaves every unit with what it is destined to have: by the tag where that says the same,
    /// else by a binding. Units that were not reached have no binding of this rollout.
    pub(super) async fn release(
        &self,
        rollout: &Rollout,
        progress: &Progress,
        begin: Begin,
    ) -> Result<(), Failure> {
        for goal in 0..rollout.aims().count() {
            self.release_image(rollout, goal, progress, begin).await?;
        }
        Ok(())
    }

    async fn release_image(
        &self,
        rollout: &Rollout,
        goal: usize,
        progress: &Progress,
        begin: Begin,
    ) -> Result<(), Failure> {
        let Some(aim) = rollout.aims().nth(goal) else { return Ok(()) };
        let engine = self.world.engine(aim.engine)?;
        if !aim.engine.has_bindings() {
            return self.settle_tag(engine, rollout, goal, progress, begin).await;
        }
        let reference = aim.reference();
        let tagged = engine.local(reference).await?.map(|image| image.manifest);
        let own = rollout.steps.iter().zip(&progress.marks);
        for (step, mark) in own.filter(|(step, _)| step.goal == goal) {
            let image = destined(rollout, step, mark);
            if tagged.as_ref() == Some(&image.manifest) {
                engine.unbind(&step.unit, reference).await?;
            } else if !matches!(mark, Mark::Untouched | Mark::Unbegun) {
                engine.bind(&step.unit, reference, image).await?;
            }
        }
        if tagged.as_ref() == Some(&aim.new.manifest) {
            for unit in aim.settled {
                engine.unbind(unit, reference).await?;
            }
        }
        Ok(())
    }

    /// Where there is only the tag, it says what all get. Units that were not reached may have
    /// started by themselves while it said something else: they go back with it.
    async fn settle_tag(
        &self,
        engine: &W::Engine,
        rollout: &Rollout,
        goal: usize,
        progress: &Progress,
        begin: Begin,
    ) -> Result<(), Failure> {
        let Some(aim) = rollout.aims().nth(goal) else { return Ok(()) };
        let Some(image) = rollout::tagged(rollout, goal, &progress.marks) else { return Ok(()) };
        let reference = aim.reference();
        engine.tag(reference, image).await?;
        if image == aim.new {
            return Ok(());
        }
        let own = rollout.steps.iter().zip(&progress.marks);
        let unreached = own.filter(|(step, _)| step.goal == goal);
        for (step, _) in unreached.filter(|(_, mark)| matches!(mark, Mark::Untouched)) {
            if self.has_strayed(engine, step, rollout, image, begin).await? {
                self.bring_back(step, begin).await?;
            }
        }
        Ok(())
    }

    /// Whether a unit that nobody stopped does not run `image`.
    async fn has_strayed(
        &self,
        engine: &W::Engine,
        step: &Step,
        rollout: &Rollout,
        image: &ImageIdentity,
        begin: Begin,
    ) -> Result<bool, Failure> {
        let running = engine.running(&step.unit, rollout.aim(step).reference()).await?;
        if !running.is_empty() {
            return Ok(running.iter().any(|running| !running.runs(&image.manifest)));
        }
        let state = self.recalled(&step.unit, begin).await?;
        let failed = state.active == "failed" || (state.is_down() && begin.is_resumed());
        Ok(failed && !state.is_stopped_for_good())
    }

    async fn bring_back(&self, step: &Step, begin: Begin) -> Result<(), Failure> {
        match self.start_again(&step.unit, begin).await {
            Event::Failed(cause) | Event::NotBegun(cause) => {
                let message = format!("{} took the new image by itself: {cause}", step.unit);
                Err(Failure::new(FailureKind::Local, message))
            }
            _ => Ok(()),
        }
    }
}
