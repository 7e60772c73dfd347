use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::daemon::flight::{Braked, Connect, Flight};
use crate::model::{
    Container, Digest, EngineKind, Failure, FailureKind, ImageIdentity, ImageSource, Platform,
    Policy, Reference,
};
use crate::plan::Followers;
use crate::update::port::{
    Clock, Engine, Inventory, JobError, JobResult, Journal, Manager, Registry, Running, Standing,
    UnitState,
};

/// One container, `app.service`, whose registry offers what it runs.
struct Host {
    ledger: Ledger,
    manager: Braked<NoBus>,
    flight: Flight,
}

struct NoBus;

impl Connect for NoBus {
    type Manager = Unreachable;

    async fn connect(&self) -> Result<Unreachable, Failure> {
        Err(Failure::new(FailureKind::Local, "no bus"))
    }
}

struct Unreachable;

impl Manager for Unreachable {
    type Delay = ();

    async fn delay_shutdown(&self, _: &str) {}

    async fn boot(&self) -> String {
        String::new()
    }

    async fn is_shutting_down(&self) -> bool {
        false
    }

    async fn state(&self, _: &UnitName) -> Result<UnitState, Failure> {
        unreachable!("there is no bus")
    }

    async fn try_restart(&self, _: &UnitName) -> Result<JobResult, JobError> {
        unreachable!("there is no bus")
    }

    async fn restart(&self, _: &UnitName) -> Result<JobResult, JobError> {
        unreachable!("there is no bus")
    }

    async fn start(&self, _: &str) -> Result<JobResult, JobError> {
        unreachable!("there is no bus")
    }

    async fn stop(&self, _: &UnitName) -> Result<JobResult, JobError> {
        unreachable!("there is no bus")
    }

    async fn reset_failed(&self, _: &str) -> Result<(), Failure> {
        unreachable!("there is no bus")
    }

    async fn standing(&self, _: &str) -> Result<Standing, Failure> {
        unreachable!("there is no bus")
    }

    async fn job_ended(&self, _: &[UnitName]) {
        unreachable!("nothing is on probation")
    }

    async fn followers(&self, _: &str) -> Result<Followers, Failure> {
        unreachable!("there is no bus")
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

fn image() -> ImageIdentity {
    ImageIdentity {
        target: Digest::of(b"v1"),
        manifest: Digest::of(b"v1"),
        platform: Platform::host(),
    }
}

impl Registry for Host {
    async fn host(&self, source: &ImageSource) -> Result<String, Failure> {
        Ok(source.reference.registry().to_owned())
    }

    fn begin_pass(&self) {}

    fn budget(&self, _: &str) -> Option<crate::plan::Budget> {
        None
    }

    async fn target(&self, _: &ImageSource) -> Result<Digest, Failure> {
        Ok(image().target)
    }

    async fn identify(
        &self,
        _: &ImageSource,
        _: &Digest,
        _: &Platform,
    ) -> Result<ImageIdentity, Failure> {
        unreachable!("the digest has not changed")
    }
}

impl Engine for Host {
    fn kind(&self) -> EngineKind {
        EngineKind::Native
    }

    async fn inventory(&self) -> Result<Inventory, Failure> {
        let container = Container {
            id: "0".repeat(64).parse().unwrap(),
            name: "app".into(),
            engine: EngineKind::Native,
            claimed: None,
            digests: vec![],
            unit: "app.service".parse().ok(),
            guest_of: None,
            group: None,
            policy: Ok(Policy::Registry),
            source: ImageSource {
                reference: "registry.example/app:1".parse().unwrap(),
                authfile: None,
            },
            image: image(),
            created: Timestamp::UNIX_EPOCH,
        };
        Ok(Inventory { containers: vec![container], ..Inventory::default() })
    }

    async fn local(&self, _: &Reference) -> Result<Option<ImageIdentity>, Failure> {
        Ok(Some(image()))
    }

    async fn stage(&self, _: &ImageSource, _: &ImageIdentity) -> Result<(), Failure> {
        Ok(())
    }

    async fn keep(&self, _: &UnitName, _: &Reference, _: &ImageIdentity) -> Result<(), Failure> {
        Ok(())
    }

    async fn kept(
        &self,
        _: &UnitName,
        _: &Reference,
        _: &[Digest],
    ) -> Result<Vec<ImageIdentity>, Failure> {
        Ok(vec![image()])
    }

    async fn bind(&self, _: &UnitName, _: &Reference, _: &ImageIdentity) -> Result<(), Failure> {
        Ok(())
    }

    async fn tag(&self, _: &Reference, _: &ImageIdentity) -> Result<(), Failure> {
        Ok(())
    }

    async fn unbind(&self, _: &UnitName, _: &Reference) -> Result<(), Failure> {
        Ok(())
    }

    async fn gives(&self, _: &UnitName, _: &Reference, _: &ImageIdentity) -> Result<bool, Failure> {
        Ok(true)
    }

    async fn running(&self, _: &UnitName, _: &Reference) -> Result<Vec<Running>, Failure> {
        Ok(vec![])
    }
}

impl Journal for Host {
    async fn last(&self, _: &[String]) -> Result<Vec<String>, String> {
        unreachable!("nothing fails")
    }

    async fn tells_of_a_stop(&self, _: &UnitName, _: Timestamp) -> Result<bool, String> {
        unreachable!("nothing is taken up")
    }

    async fn runs(
        &self,
        _: &UnitName,
        _: Timestamp,
    ) -> Result<Vec<crate::update::port::RunTold>, String> {
        unreachable!("nothing is on probation")
    }
}

impl Clock for Host {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn zone(&self, _: Option<&str>) -> Option<jiff::tz::TimeZone> {
        Some(jiff::tz::TimeZone::UTC)
    }

    fn random(&self) -> f64 {
        0.5
    }

    async fn sleep(&self, _: Duration) {}
}

impl World for Host {
    type Registry = Self;
    type Engine = Self;
    type Manager = Braked<NoBus>;
    type Journal = Self;
    type Prober = crate::probe::Prober;
    type Ledger = Ledger;
    type Clock = Self;
    type Observer = Flight;

    fn registry(&self) -> &Self {
        self
    }

    fn engines(&self) -> &[Self] {
        std::slice::from_ref(self)
    }

    fn manager(&self) -> &Braked<NoBus> {
        &self.manager
    }

    fn journal(&self) -> &Self {
        self
    }

    fn prober(&self) -> &crate::probe::Prober {
        &crate::probe::Prober
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn clock(&self) -> &Self {
        self
    }

    fn observer(&self) -> &Flight {
        &self.flight
    }
}

fn pass(dir: &tempfile::TempDir) -> Pass<Host> {
    let flight = Flight::default();
    let host = Host {
        ledger: Ledger::new(&dir.path().join("ledger")),
        manager: Braked::new(NoBus, flight.clone()),
        flight,
    };
    let options = Options {
        checks_in_flight: 1,
        pull_reserve: 10,
        max_parallel: 4,
        settle: Duration::ZERO,
        rollback: crate::model::Rollback::Back,
        backoff_max: Duration::from_secs(3600),
        quarantine_expiry: None,
        rules: crate::model::Rules::default(),
        retention: crate::plan::retention::Limits { keep: 2, budget: 0, at_once: 10 },
        units: std::collections::BTreeMap::new(),
    };
    Pass::new(host, options, dir.path().join("run"), "test")
}

#[tokio::test]
async fn reading_works_on_a_fresh_host_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let pass = pass(&dir);
    assert_eq!(pass.check().await.unwrap().plan.skipped.len(), 1);
    assert_eq!(pass.units().await.unwrap()[0].unit, "app.service".parse().ok());
    assert_eq!(
        pass.history(&HistoryQuery { limit: 10, ..HistoryQuery::default() }).await.unwrap(),
        []
    );
    assert_eq!(pass.quarantine().await.unwrap(), []);
    pass.recover().await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn two_updates_at_once_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let pass = pass(&dir);
    let held = PassLock::try_acquire(&dir.path().join("run"), "somebody").unwrap();
    let error = pass.update(&[], Trigger::Manual).await.unwrap_err();
    assert!(matches!(&error, Error::Busy(text) if text.contains("somebody")), "{error:?}");
    assert!(matches!(pass.clear_quarantine(None).await, Err(Error::Busy(_))));
    drop(held);
    assert_eq!(pass.update(&[], Trigger::Manual).await.unwrap().outcomes, []);
}

#[tokio::test]
async fn an_unknown_unit_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let other = "other.service".parse().unwrap();
    let error = pass(&dir).update(&[other], Trigger::Manual).await.unwrap_err();
    assert!(error.to_string().contains("other.service"), "{error}");
}

#[tokio::test]
async fn quarantines_are_cleared_by_digest_prefix_or_repository() {
    let dir = tempfile::tempdir().unwrap();
    let pass = pass(&dir);
    let held = |repository: &str, manifest: &[u8]| Quarantined {
        repository: repository.into(),
        manifest: Digest::of(manifest),
        since: Timestamp::UNIX_EPOCH,
        unit: "app.service".parse().unwrap(),
        cause: "it crashed".into(),
        beside: vec![],
    };
    for (repository, manifest) in
        [("r.example/a", b"1"), ("r.example/a", b"2"), ("r.example/b", b"3")]
    {
        pass.ledger().add_to_quarantine(held(repository, manifest)).unwrap();
    }
    let short = Digest::of(b"1").short();
    assert_eq!(pass.clear_quarantine(Some(&short[..8])).await.unwrap(), []);
    assert_eq!(pass.clear_quarantine(Some(&short)).await.unwrap(), [held("r.example/a", b"1")]);
    let cleared = pass.clear_quarantine(Some("r.example/a")).await.unwrap();
    assert_eq!(cleared, [held("r.example/a", b"2")]);
    assert_eq!(pass.clear_quarantine(None).await.unwrap(), [held("r.example/b", b"3")]);
}

#[tokio::test]
async fn winding_down_keeps_units_from_being_restarted() {
    let flight = Flight::default();
    let manager = Braked::new(NoBus, flight.clone());
    let unit = "app.service".parse().unwrap();
    assert!(matches!(manager.try_restart(&unit).await, Err(JobError::Refused(_))));
    flight.wind_down();
    assert!(manager.is_winding_down());
    assert!(matches!(manager.try_restart(&unit).await, Err(JobError::ServiceStopping)));
    // The way back stays open.
    assert!(matches!(manager.restart(&unit).await, Err(JobError::Refused(_))));
}
