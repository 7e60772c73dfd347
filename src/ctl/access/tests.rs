use std::cell::Cell;

use super::*;
use crate::ctl::remote::tests::connected;
use crate::daemon::api::Error as ApiError;

/// Answers with empty documents, and counts how often it was opened.
#[derive(Default)]
struct Here(Cell<usize>);

struct Empty;

impl Embedded for &Here {
    type Api = Empty;

    fn open(&self) -> Result<Empty, Error> {
        self.0.set(self.0.get() + 1);
        Ok(Empty)
    }

    fn validate(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Api for Empty {
    async fn check(&self) -> Result<Checked, ApiError> {
        Err(ApiError::Failed("here".into()))
    }

    async fn update(&self, _: &[UnitName], _: Trigger) -> Result<Report, ApiError> {
        Ok(Report { outcomes: vec![], skipped: vec![], problems: vec![] })
    }

    async fn units(&self) -> Result<Vec<UnitStatus>, ApiError> {
        Ok(vec![])
    }

    async fn history(&self, _: Option<&UnitName>, _: usize) -> Result<Vec<Entry>, ApiError> {
        Ok(vec![])
    }

    async fn quarantine(&self) -> Result<Vec<Quarantined>, ApiError> {
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
    assert_eq!(access.service().await.unwrap(), None);
    access.update(&[], Trigger::Timer).await.unwrap();
    let error = access.check().await.unwrap_err();
    assert_eq!(error.to_string(), "here");
    assert_eq!(here.0.get(), 2);
}

#[tokio::test]
async fn with_a_service_this_process_does_nothing() {
    let here = Here::default();
    let (remote, _service) = connected(|_| Err(ApiError::Busy("there".into()))).await;
    let access = Access::new(Some(remote), &here);
    assert_eq!(access.service().await.unwrap().unwrap().state, "idle");
    let error = access.update(&[], Trigger::Manual).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.exit_code()), ("there", crate::ctl::exit::BUSY));
    assert!(error.hint().is_some());
    assert_eq!(here.0.get(), 0);
}
