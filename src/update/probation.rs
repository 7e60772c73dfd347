//! What units that do not stay active were given, until their next run has ended: looked at by each
//! pass, and ended where that run tells ([`crate::plan::probation`]).

use super::hindered;
use super::port::{
    Clock, Engine, InFlight, Journal, Ledger, Manager, Observer, RunTold, UnitState, World,
};
use super::report::{Entry, Excerpt, Outcome, OutcomeKind, Report};
use super::restart::LAUNCHER_FAILED;
use super::updater::Updater;
use super::{Event, EventKind, Origin};
use crate::model::Failure;
use crate::plan::probation::{
    Action, End, Probation, Run, Seen, State, Verdict, condemned, due, next,
};
use crate::plan::rollout::{Mark, Step};
use crate::plan::{Cause, Quarantined};

const WELL: &str = "its first run with it ended well";
const GONE: &str = "the unit is not there any more";
const KEPT: &str =
    "it keeps the new image, for its data may be that one's alone (rollback = \"never\")";

/// What a stop may leave behind: the status of a launcher or a shell, and the signal itself.
const TERMINATED: [i32; 4] = [143, 137, 15, 9];

impl<W: World> Updater<W> {
    /// Writes down what the rollout's units are to prove yet, and forgets what they were to prove
    /// before and have another image for now.
    pub(super) fn put_on_probation(&self, flight: &InFlight) -> Result<(), Failure> {
        let ledger = self.world.ledger();
        let before = ledger.probations()?;
        let steps = flight.rollout.steps.iter().zip(&flight.progress.marks).enumerate();
        for (at, (step, mark)) in steps {
            if let (Mark::Deferred, Some(probation)) = (mark, begun(flight, at, step)) {
                ledger.save_probation(&probation)?;
                continue;
            }
            let as_it_was =
                matches!(mark, Mark::Untouched | Mark::Unbegun | Mark::Failed { cause: None });
            let aim = flight.rollout.aim(step);
            let own = |one: &&Probation| one.is_of(aim.engine, &step.unit, aim.reference());
            if !as_it_was && let Some(over) = before.iter().find(own) {
                ledger.end_probation(over)?;
            }
        }
        Ok(())
    }

    /// Looks at all that is on probation, and ends what can be ended. What fails is tried again by
    /// the next pass.
    pub(super) async fn look_at_probations(&self, report: &mut Report) -> Result<(), Failure> {
        for probation in self.world.ledger().probations()? {
            match self.look_at(probation).await {
                Ok(outcome) => report.outcomes.extend(outcome),
                Err(failure) => {
                    self.problem(&failure);
                    report.problems.push(failure);
                }
            }
        }
        Ok(())
    }

    async fn look_at(&self, mut probation: Probation) -> Result<Option<Outcome>, Failure> {
        if let State::Waiting { .. } = probation.state {
            let seen = self.seen_of(&probation).await?;
            let state = next(&probation, &seen, self.world.clock().now());
            if state != probation.state {
                probation.state = state;
                self.world.ledger().save_probation(&probation)?;
            }
        }
        match due(&probation) {
            Some(action) => self.end(&probation, action).await,
            None => Ok(None),
        }
    }

    async fn seen_of(&self, probation: &Probation) -> Result<Seen, Failure> {
        let Probation { unit, engine, new, since, .. } = probation;
        let state = self.world.manager().state(unit).await?;
        if !state.is_there && state.active != "active" && state.active != "activating" {
            return Ok(Seen::UnitGone);
        }
        let engine = self.world.engine(*engine)?;
        if !engine.gives(unit, probation.reference(), new).await? {
            return Ok(Seen::OtherImage);
        }
        // Where the journal cannot be read, the unit's last run is all that is known.
        let told = self.world.journal().runs(unit, *since).await.unwrap_or_default();
        Ok(Seen::Runs(runs(&told, &state)))
    }

    /// Brings a probation to its end, and says how it ended; `None` where nobody needs to know.
    async fn end(&self, probation: &Probation, action: Action) -> Result<Option<Outcome>, Failure> {
        let shared = action == Action::GiveBack && self.others_run(probation).await?;
        match action {
            Action::Commit => self.commit(probation).await?,
            Action::GiveBack if !shared => self.give_back(probation).await?,
            Action::GiveBack | Action::Leave => {}
        }
        let ledger = self.world.ledger();
        if !shared && let Some(cause) = condemned(probation) {
            let held = Quarantined {
                repository: probation.reference().name(),
                manifest: probation.new.manifest.clone(),
                since: self.world.clock().now(),
                unit: probation.unit.clone(),
                cause: cause.to_string(),
                beside: probation.beside.clone(),
            };
            let why = held.why();
            ledger.add_to_quarantine(held)?;
            self.tell_of(probation, EventKind::Quarantined, &why, None);
        }
        let outcome = outcome(probation, action, shared, self.since(probation));
        if let Some(outcome) = &outcome {
            self.put_off_hindered(probation, outcome)?;
            let logs = self.words_of(probation).await;
            let kind = match outcome.restored {
                true => EventKind::TakenBack,
                false => EventKind::of(outcome.result),
            };
            self.tell_of(probation, kind, &outcome.detail, Some(outcome.elapsed_ms));
            ledger.append(&Entry {
                ended: self.world.clock().now(),
                trigger: probation.trigger.clone(),
                pass: probation.pass,
                engine: Some(probation.engine),
                outcome: outcome.clone(),
                logs,
            })?;
        }
        ledger.end_probation(probation)?;
        Ok(outcome)
    }

    /// Where there is only the tag: whether others that run go by it, and are well.
    async fn others_run(&self, probation: &Probation) -> Result<bool, Failure> {
        if probation.engine.has_bindings() {
            return Ok(false);
        }
        let inventory = self.world.engine(probation.engine)?.inventory().await?;
        Ok(inventory.containers.iter().any(|container| {
            container.source.reference == *probation.reference()
                && container.unit.as_ref() != Some(&probation.unit)
                && container.runs(&probation.new.manifest)
        }))
    }

    async fn commit(&self, probation: &Probation) -> Result<(), Failure> {
        let Probation { unit, engine, new, .. } = probation;
        let reference = probation.reference();
        let engine = self.world.engine(*engine)?;
        if probation.moves_tag {
            engine.tag(reference, new).await?;
        }
        let tagged = engine.local(reference).await?;
        if tagged.is_some_and(|tagged| tagged.manifest == new.manifest) {
            engine.unbind(unit, reference).await?;
        }
        match probation.beside.is_empty() {
            true => Ok(()),
            false => self.forgive(vec![(reference, &new.manifest)]),
        }
    }

    async fn give_back(&self, probation: &Probation) -> Result<(), Failure> {
        let Probation { unit, engine, old, .. } = probation;
        let reference = probation.reference();
        let engine = self.world.engine(*engine)?;
        let tagged = engine.local(reference).await?;
        match tagged.is_some_and(|tagged| tagged.manifest == old.manifest) {
            true => engine.unbind(unit, reference).await,
            false => engine.bind(unit, reference, old).await,
        }
    }

    fn put_off_hindered(&self, probation: &Probation, outcome: &Outcome) -> Result<(), Failure> {
        let alone = condemned(probation).is_some();
        let State::Ending { verdict: Verdict::Failed { cause }, .. } = &probation.state else {
            return Ok(());
        };
        if alone || !matches!(outcome.result, OutcomeKind::RolledBack | OutcomeKind::NeedsOperator)
        {
            return Ok(());
        }
        let mut memory = self.world.ledger().memory()?;
        let (now, max) = (self.world.clock().now(), self.options.backoff_max);
        let (reference, new) = (probation.reference(), &probation.new.manifest);
        memory.put_offs.put_off(reference, new, cause.to_string(), now, max);
        self.world.ledger().save_memory(&memory)
    }

    /// What the run wrote last that failed.
    async fn words_of(&self, probation: &Probation) -> Vec<Excerpt> {
        let State::Ending { verdict: Verdict::Failed { .. }, run: Some(run) } = &probation.state
        else {
            return vec![];
        };
        let runs = std::slice::from_ref(run);
        vec![self.excerpt(probation.unit.to_string(), run.clone(), runs).await]
    }

    fn since(&self, probation: &Probation) -> u64 {
        let elapsed = self.world.clock().now().duration_since(probation.since);
        u64::try_from(elapsed.as_millis()).unwrap_or_default()
    }

    fn tell_of(&self, probation: &Probation, kind: EventKind, detail: &str, elapsed: Option<u64>) {
        let origin = Origin { started: probation.since, engine: probation.engine };
        self.world.observer().event(&Event {
            unit: Some(probation.unit.clone()),
            reference: Some(probation.reference().clone()),
            old: Some(probation.old.manifest.clone()),
            new: Some(probation.new.manifest.clone()),
            detail: detail.to_owned(),
            elapsed_ms: elapsed,
            origin: elapsed.map(|_| origin),
            ..Event::new(kind)
        });
    }
}

/// What a unit that was at work, and was given the new image, is to prove. What an operator had it go
/// back to, it had before.
fn begun(flight: &InFlight, at: usize, step: &Step) -> Option<Probation> {
    let found = flight.at_work.get(&step.unit).filter(|_| flight.undoes.is_none())?;
    let aim = flight.rollout.aim(step);
    Some(Probation {
        unit: step.unit.clone(),
        engine: aim.engine,
        source: aim.source.clone(),
        old: step.old.clone(),
        new: aim.new.clone(),
        moves_tag: aim.moves_tag,
        beside: step.beside.clone(),
        in_company: step.led || !step.along.is_empty(),
        rollback: flight.rollback.get(at).copied().unwrap_or(true),
        forward_only: step.forward_only,
        since: found.at,
        after: found.invocation.clone(),
        trigger: flight.trigger.clone(),
        pass: flight.pass,
        state: State::Waiting { run: None },
    })
}

fn outcome(
    probation: &Probation,
    action: Action,
    shared: bool,
    elapsed_ms: u64,
) -> Option<Outcome> {
    let State::Ending { verdict, .. } = &probation.state else { return None };
    let unit = &probation.unit;
    let mut restored = false;
    let (result, detail) = match verdict {
        Verdict::Replaced => return None,
        Verdict::Good => (OutcomeKind::Updated, WELL.to_owned()),
        Verdict::Gone => (OutcomeKind::NotReached, GONE.to_owned()),
        Verdict::Failed { cause } if shared => {
            let detail = format!(
                "{cause}; it keeps the new image, for others run that by the same tag: \
                 \"updaterctl rollback {unit}\" has all of them go back"
            );
            (OutcomeKind::NeedsOperator, detail)
        }
        Verdict::Failed { cause } => match action {
            Action::GiveBack if cause.blames_image() => {
                (OutcomeKind::RolledBack, cause.to_string())
            }
            Action::GiveBack => {
                restored = true;
                let detail = hindered::advice(false, unit, &probation.old, &cause.to_string());
                (OutcomeKind::NeedsOperator, detail)
            }
            _ if probation.forward_only => (OutcomeKind::NeedsOperator, format!("{cause}; {KEPT}")),
            _ => (OutcomeKind::Failed, cause.to_string()),
        },
    };
    Some(Outcome {
        unit: unit.clone(),
        reference: probation.reference().clone(),
        old: probation.old.manifest.clone(),
        new: probation.new.manifest.clone(),
        result,
        detail,
        restored,
        elapsed_ms,
    })
}

/// The runs of a unit: what the journal has of them, and the last as its manager has it, which alone
/// says that one is at work still.
fn runs(told: &[RunTold], state: &UnitState) -> Vec<Run> {
    let mut runs: Vec<Run> = told
        .iter()
        .map(|told| {
            let end = told.end(state).unwrap_or(End::Unproven);
            Run { invocation: told.invocation.clone(), end: Some(end) }
        })
        .collect();
    let open =
        told.iter().all(|told| told.invocation != state.invocation || told.end(state).is_none());
    if open && !state.invocation.is_empty() {
        let asked = told.iter().any(|told| told.invocation == state.invocation && told.stop_asked);
        let journal = told.iter().any(|told| told.invocation == state.invocation);
        runs.retain(|run| run.invocation != state.invocation);
        let end = match state.end(journal) {
            Some(_) if asked => Some(End::Unproven),
            end => end,
        };
        runs.push(Run { invocation: state.invocation.clone(), end });
    }
    runs
}

impl RunTold {
    /// How it ended, where the journal has that.
    fn end(&self, state: &UnitState) -> Option<End> {
        let result = self.result.as_deref()?;
        if self.stop_asked {
            return Some(End::Unproven);
        }
        let announced = state.announced && state.invocation == self.invocation;
        Some(end(result, self.status.unwrap_or_default(), announced))
    }
}

impl UnitState {
    /// How the unit's last run ended; `None` while it is at work. Without the journal nobody tells who
    /// sent a signal.
    fn end(&self, journal: bool) -> Option<End> {
        let over = matches!(self.active.as_str(), "inactive" | "failed") && !self.is_starting();
        if !over && self.sub != "auto-restart" {
            return None;
        }
        let terminated = !journal && TERMINATED.contains(&self.main_status);
        if self.stopped_on_request || !self.was_started || terminated {
            return Some(End::Unproven);
        }
        Some(end(&self.result, self.main_status, self.announced))
    }
}

fn end(result: &str, status: i32, announced: bool) -> End {
    match result {
        "success" => End::Well,
        // systemd did not even begin it, or its own condition was not met.
        "start-limit-hit" | "resources" | "exec-condition" => End::Unproven,
        // Behind a container that was started it is the program's own status.
        "exit-code" if status == LAUNCHER_FAILED && !announced => End::Failed(Cause::Launcher),
        result => End::Failed(Cause::RunFailed { result: result.to_owned(), status }),
    }
}
