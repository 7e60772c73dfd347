//! What became of a unit that an earlier process of the service began with, where systemd cannot say it
//! any more.
//!
//! systemd forgets a unit that is down and that nothing refers to: when it was stopped, when it ended
//! by itself, and also when its failure was reset, as is done before each restart. A process that is
//! killed between that and the restart leaves a unit that looks as if nobody had ever started it.

use super::execute::Begin;
use super::port::{Journal as _, Manager as _, UnitState, World};
use super::updater::Updater;
use crate::model::{Failure, UnitName};

/// Whether two boots are one. One that is not known may be any: what ran runs again then.
pub(super) fn is_same_boot(then: &str, now: &str) -> bool {
    then.is_empty() || now.is_empty() || then == now
}

impl<W: World> Updater<W> {
    /// The unit's state. Of one that ran in this boot when its rollout began, and that systemd has
    /// forgotten since, the journal says whether somebody stopped it. Where that cannot be read it
    /// was not: it ran before, and runs again.
    pub(super) async fn recalled(
        &self,
        unit: &UnitName,
        begin: Begin,
    ) -> Result<UnitState, Failure> {
        let state = self.world.manager().state(unit).await?;
        let Begin::Resumed { since: Some(since) } = begin else { return Ok(state) };
        if state.active != "inactive" || state.was_started || state.job.is_some() {
            return Ok(state);
        }
        let stopped = self.world.journal().tells_of_a_stop(unit, since).await;
        if let Err(cause) = &stopped {
            tracing::debug!(%unit, %cause, "whether it was stopped is not known, ignoring");
        }
        let stopped_on_request = stopped.unwrap_or(false);
        Ok(UnitState { was_started: true, stopped_on_request, ..state })
    }
}
