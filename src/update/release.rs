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
        let engine = self.world.engine(rollout.engine)?;
        if !rollout.engine.has_bindings() {
            return self.settle_tag(engine, rollout, progress, begin).await;
        }
        let reference = rollout.reference();
        let tagged = engine.local(reference).await?.map(|image| image.manifest);
        for (step, mark) in rollout.steps.iter().zip(&progress.marks) {
            let image = destined(rollout, step, mark);
            if tagged.as_ref() == Some(&image.manifest) {
                engine.unbind(&step.unit, reference).await?;
            } else if !matches!(mark, Mark::Untouched | Mark::Unbegun) {
                engine.bind(&step.unit, reference, image).await?;
            }
        }
        if tagged.as_ref() == Some(&rollout.new.manifest) {
            for unit in &rollout.settled {
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
        progress: &Progress,
        begin: Begin,
    ) -> Result<(), Failure> {
        let Some(image) = rollout::tagged(rollout, &progress.marks) else { return Ok(()) };
        let reference = rollout.reference();
        engine.tag(reference, image).await?;
        if image == &rollout.new {
            return Ok(());
        }
        let unreached = rollout.steps.iter().zip(&progress.marks);
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
        let running = engine.running(&step.unit, rollout.reference()).await?;
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
