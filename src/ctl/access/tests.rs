use std::cell::{Cell, RefCell};

use super::*;
use crate::ctl::remote::tests::connected;
use crate::daemon::api::{Error as ApiError, Held, HistoryQuery, Holding, RegistryStatus};
use crate::daemon::bus::{Change, Signal};
use crate::update::{Event, EventKind};

/// Answers with empty documents, counts how often it was opened, and looks on.
#[derive(Default)]
struct Here(Cell<usize>, Seen);

#[derive(Default)]
struct Seen(RefCell<Vec<EventKind>>);

impl Observer for Seen {
    fn event(&self, event: &Event) {
        self.0.borrow_mut().push(event.kind);
    }
}

struct Empty;

impl Embedded for &Here {
    type Api = Empty;

    fn open(&self) -> Result<Empty, Error> {
        self.0.set(self.0.get() + 1);
        Ok(Empty)
    }

    async fn auto_update(&self, _: &AutoUpdate) -> Result<AutoUpdated, Error> {
        let report = self.open()?.update(&[], Trigger::Manual).await?;
        Ok(AutoUpdated { containers: vec![], done: Done::Updated(report) })
    }

    async fn facts(&self, _: Result<Checked, String>, _: &[UnitStatus]) -> Result<Facts, Error> {
        unreachable!()
    }

    fn validate(&self) -> Result<(), Error> {
        Ok(())
    }

    fn onlooker(&self) -> Option<&dyn Observer> {
        Some(&self.1)
    }
}

impl Api for Empty {
    async fn check(&self) -> Result<Checked, ApiError> {
        Err(ApiError::Failed("here".into()))
    }

    async fn update(&self, _: &[UnitName], _: Trigger) -> Result<Report, ApiError> {
        Ok(Report::default())
    }

    async fn roll_back(&self, _: &[UnitName], _: Option<&str>) -> Result<Report, ApiError> {
        Ok(Report::default())
    }

    async fn units(&self) -> Result<Vec<UnitStatus>, ApiError> {
        Ok(vec![])
    }

    async fn registries(&self) -> Result<Vec<RegistryStatus>, ApiError> {
        Ok(vec![])
    }

    async fn history(&self, _: &HistoryQuery) -> Result<Vec<Entry>, ApiError> {
        Ok(vec![])
    }

    async fn hold(&self, _: &[UnitName], _: &Holding) -> Result<Hold, ApiError> {
        unreachable!("nobody holds anything")
    }

    async fn unhold(&self, _: &[UnitName]) -> Result<Vec<UnitName>, ApiError> {
        Ok(vec![])
    }

    async fn approve(&self, _: &[UnitName], _: Option<&str>) -> Result<Vec<Approval>, ApiError> {
        Ok(vec![])
    }

    async fn quarantine(&self) -> Result<Vec<Held>, ApiError> {
        Ok(vec![])
    }

    async fn clear_quarantine(&self, _: Option<&str>) -> Result<Vec<Quarantined>, ApiError> {
        Ok(vec![])
    }
}

#[tokio::test]
async fn without_a_bus_this_process_does_it() {
    let here = Here::default();
    let access = Access::new(None, &here);
    assert_eq!(access.service().await.unwrap(), Service::NoBus);
    access.update(&[], Trigger::Timer).await.unwrap();
    let error = access.check().await.unwrap_err();
    assert_eq!(error.to_string(), "here");
    assert_eq!(here.0.get(), 2);
}

#[tokio::test]
async fn with_a_service_this_process_does_nothing() {
    let here = Here::default();
    let (remote, _served) = connected(|_| Err(ApiError::Busy("there".into()))).await;
    let access = Access::new(Some(remote), &here);
    let Service::Running(service) = access.service().await.unwrap() else { panic!("not there") };
    assert_eq!(service.state, "idle");
    let error = access.update(&[], Trigger::Manual).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.exit_code()), ("there", crate::ctl::exit::BUSY));
    assert!(error.hint().is_some());
    assert_eq!(here.0.get(), 0);
}

#[tokio::test]
async fn who_looks_on_sees_what_the_service_does() {
    let here = Here::default();
    let (remote, service) = connected(|_| Ok("null".into())).await;
    let access = Access::new(Some(remote), &here);
    let change = Change {
        unit: "app.service".into(),
        reference: "registry.example/app:1".into(),
        old: String::new(),
        new: String::new(),
    };
    let seen = |times: usize| {
        let here = &here;
        async move {
            while here.1.0.borrow().len() < times {
                tokio::task::yield_now().await;
            }
        }
    };
    // The service works for as long as its signals take.
    let work = async {
        service.emit(&Signal::UpdateStarted(change.clone())).await.unwrap();
        seen(1).await;
        let (outcome, detail) = ("updated".into(), String::new());
        service.emit(&Signal::UpdateFinished { change, outcome, detail }).await.unwrap();
        seen(2).await;
    };
    let looked_on = access.looked_on(work);
    tokio::time::timeout(std::time::Duration::from_secs(10), looked_on).await.unwrap();
    assert_eq!(*here.1.0.borrow(), [EventKind::Restarting, EventKind::Updated]);
}
