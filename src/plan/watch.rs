//! The second look at what keeps units from images: pulls take hours at times, in which windows close
//! and operators change their minds.

use std::collections::BTreeSet;
use std::rc::Rc;

use jiff::Timestamp;

use super::decide::{Skipped, watched};
use super::gate::{Gate, describe};
use super::{Gates, Holds, Reason, Rollout, Step};
use crate::model::{Container, Digest, Reference, UnitName};

/// What is looked at before a rollout begins. Once it has begun, it comes to its end.
#[derive(Debug, Clone)]
pub struct Watch {
    gates: Rc<Gates>,
    /// Units that get an image with the rollout, by the tag, without being of it.
    others: BTreeSet<(UnitName, Reference, Digest)>,
}

impl Watch {
    /// Of a rollout that was planned with these `gates`, where these `containers` ran.
    pub fn new(gates: Rc<Gates>, rollout: &Rollout, containers: &[Container]) -> Self {
        let others = rollout.aims().flat_map(|aim| {
            let (reference, manifest) = (aim.reference().clone(), aim.new.manifest.clone());
            let units = watched(aim.engine, &reference, &manifest, containers).into_iter();
            units.map(move |unit| (unit, reference.clone(), manifest.clone()))
        });
        Self { gates, others: others.collect() }
    }

    /// What is left alone for now, where anything keeps a unit of the rollout from its image at `now`:
    /// all of it. `holds` are those that there are by now.
    pub fn withheld(&self, rollout: &Rollout, holds: Holds, now: Timestamp) -> Vec<Skipped> {
        let gates = Gates { holds, ..(*self.gates).clone() };
        let own = |step: &Step| {
            let aim = rollout.aim(step);
            gates.of(&step.unit, aim.reference(), &aim.new.manifest, now)
        };
        let of_others = self
            .others
            .iter()
            .map(|(unit, reference, manifest)| (unit, gates.of(unit, reference, manifest, now)));
        let mut all = rollout.steps.iter().map(|step| (&step.unit, own(step))).chain(of_others);
        let Some((first, found)) = all.find(|(_, gates)| !gates.is_empty()) else { return vec![] };
        let reason = |step: &Step, own: Vec<Gate>| match own.is_empty() {
            false => {
                let manifest = rollout.aim(step).new.manifest.clone();
                Reason::Gated { manifest, gates: own, staged: true }
            }
            true => Reason::WaitsForUnit { other: Some(first.clone()), why: describe(&found) },
        };
        let skipped = |step: &Step| Skipped {
            unit: Some(step.unit.clone()),
            container: step.containers.join(", "),
            reference: rollout.aim(step).reference().clone(),
            image: step.old.clone(),
            reason: reason(step, own(step)),
        };
        rollout.steps.iter().map(skipped).collect()
    }
}
