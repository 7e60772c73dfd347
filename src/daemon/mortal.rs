//! The ports of this host with a crash point before and after each effect ([`crate::crash`]): whatever
//! an update does to the world goes through them. What only looks has none.
//!
//! Architecture invariant: every method is written out here, also where a port has a default: else that
//! would be called, and not the port behind it.

use std::time::Duration;

use crate::crash::{Effect, around, around_call};
use crate::model::{Digest, EngineKind, Failure, ImageIdentity, ImageSource, Reference, UnitName};
use crate::plan::probation::Probation;
use crate::plan::{Approvals, Followers, Holds, Memory, Quarantine, Quarantined};
use crate::update::Entry;
use crate::update::port::{
    Cleared, Clearing, Engine, InFlight, Inventory, JobError, JobResult, Ledger, Manager, Running,
    Standing, Stock, UnitState,
};

/// A port at whose effects the process may be killed by a test.
#[derive(Debug)]
pub struct Mortal<P>(pub P);

impl<E: Engine> Engine for Mortal<E> {
    fn kind(&self) -> EngineKind {
        self.0.kind()
    }

    async fn inventory(&self) -> Result<Inventory, Failure> {
        self.0.inventory().await
    }

    async fn local(&self, reference: &Reference) -> Result<Option<ImageIdentity>, Failure> {
        self.0.local(reference).await
    }

    async fn stage(&self, source: &ImageSource, image: &ImageIdentity) -> Result<(), Failure> {
        around(Effect::Stage, self.0.stage(source, image)).await
    }

    async fn keep(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        around(Effect::Keep, self.0.keep(unit, reference, image)).await
    }

    async fn stock(&self, weighed: bool) -> Result<Stock, Failure> {
        self.0.stock(weighed).await
    }

    async fn clear(&self, clearing: &Clearing) -> Result<Cleared, Failure> {
        around(Effect::Clear, self.0.clear(clearing)).await
    }

    async fn kept(
        &self,
        unit: &UnitName,
        reference: &Reference,
        known: &[Digest],
    ) -> Result<Vec<ImageIdentity>, Failure> {
        self.0.kept(unit, reference, known).await
    }

    async fn bind(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        around(Effect::Bind, self.0.bind(unit, reference, image)).await
    }

    async fn tag(&self, reference: &Reference, image: &ImageIdentity) -> Result<(), Failure> {
        around(Effect::Tag, self.0.tag(reference, image)).await
    }

    async fn unbind(&self, unit: &UnitName, reference: &Reference) -> Result<(), Failure> {
        around(Effect::Unbind, self.0.unbind(unit, reference)).await
    }

    async fn gives(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<bool, Failure> {
        self.0.gives(unit, reference, image).await
    }

    async fn running(
        &self,
        unit: &UnitName,
        reference: &Reference,
    ) -> Result<Vec<Running>, Failure> {
        self.0.running(unit, reference).await
    }
}

impl<M: Manager> Manager for Mortal<M> {
    type Delay = M::Delay;

    async fn delay_shutdown(&self, why: &str) -> M::Delay {
        self.0.delay_shutdown(why).await
    }

    async fn boot(&self) -> String {
        self.0.boot().await
    }

    async fn is_shutting_down(&self) -> bool {
        self.0.is_shutting_down().await
    }

    fn is_winding_down(&self) -> bool {
        self.0.is_winding_down()
    }

    async fn state(&self, unit: &UnitName) -> Result<UnitState, Failure> {
        self.0.state(unit).await
    }

    async fn try_restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        around(Effect::TryRestart, self.0.try_restart(unit)).await
    }

    async fn restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        around(Effect::Restart, self.0.restart(unit)).await
    }

    async fn start(&self, unit: &str) -> Result<JobResult, JobError> {
        around(Effect::Start, self.0.start(unit)).await
    }

    async fn stop(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        around(Effect::Stop, self.0.stop(unit)).await
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), Failure> {
        around(Effect::ResetFailed, self.0.reset_failed(unit)).await
    }

    async fn standing(&self, unit: &str) -> Result<Standing, Failure> {
        self.0.standing(unit).await
    }

    async fn followers(&self, unit: &str) -> Result<Followers, Failure> {
        self.0.followers(unit).await
    }

    async fn job_ended(&self, units: &[UnitName]) {
        self.0.job_ended(units).await;
    }

    fn now(&self) -> Duration {
        self.0.now()
    }
}

impl<L: Ledger> Ledger for Mortal<L> {
    fn mend(&self) -> Result<Vec<String>, Failure> {
        around_call(Effect::Mend, || self.0.mend())
    }

    fn damage(&self) -> Result<Vec<String>, Failure> {
        self.0.damage()
    }

    fn quarantine(&self) -> Result<Quarantine, Failure> {
        self.0.quarantine()
    }

    fn add_to_quarantine(&self, entry: Quarantined) -> Result<(), Failure> {
        around_call(Effect::Quarantine, || self.0.add_to_quarantine(entry))
    }

    fn drop_from_quarantine(&self, over: &dyn Fn(&Quarantined) -> bool) -> Result<(), Failure> {
        around_call(Effect::Release, || self.0.drop_from_quarantine(over))
    }

    fn holds(&self) -> Result<Holds, Failure> {
        self.0.holds()
    }

    fn approvals(&self) -> Result<Approvals, Failure> {
        self.0.approvals()
    }

    fn memory(&self) -> Result<Memory, Failure> {
        self.0.memory()
    }

    fn save_memory(&self, memory: &Memory) -> Result<(), Failure> {
        around_call(Effect::SaveMemory, || self.0.save_memory(memory))
    }

    fn in_flight(&self) -> Result<Vec<InFlight>, Failure> {
        self.0.in_flight()
    }

    fn save_rollout(&self, rollout: &InFlight) -> Result<(), Failure> {
        around_call(Effect::SaveRollout, || self.0.save_rollout(rollout))
    }

    fn end_rollout(&self, rollout: &InFlight) -> Result<(), Failure> {
        around_call(Effect::EndRollout, || self.0.end_rollout(rollout))
    }

    fn probations(&self) -> Result<Vec<Probation>, Failure> {
        self.0.probations()
    }

    fn save_probation(&self, probation: &Probation) -> Result<(), Failure> {
        around_call(Effect::SaveProbation, || self.0.save_probation(probation))
    }

    fn end_probation(&self, probation: &Probation) -> Result<(), Failure> {
        around_call(Effect::EndProbation, || self.0.end_probation(probation))
    }

    fn append(&self, entry: &Entry) -> Result<(), Failure> {
        around_call(Effect::Append, || self.0.append(entry))
    }
}

/// What is kept is the same, whoever may die over it.
impl<P> AsRef<P> for Mortal<P> {
    fn as_ref(&self) -> &P {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    /// What a block that begins with `head` holds.
    fn block<'a>(text: &'a str, head: &str) -> &'a str {
        text.split_once(head).unwrap().1.split("\n}\n").next().unwrap()
    }

    #[test]
    fn every_method_of_a_port_is_written_out() {
        let (ports, own) = (include_str!("../update/port.rs"), include_str!("mortal.rs"));
        for port in ["Engine", "Manager", "Ledger"] {
            let own = block(own, &format!("> {port} for Mortal<"));
            for line in block(ports, &format!("pub trait {port} {{")).lines() {
                let line = line.trim_start().trim_start_matches("async ");
                let Some(method) = line.strip_prefix("fn ") else { continue };
                let name = method.split('(').next().unwrap();
                assert!(own.contains(&format!("fn {name}(")), "{port}::{name}");
            }
        }
    }
}
