use std::os::unix::net::UnixStream;

use tokio::sync::mpsc;
use zbus::connection::Builder;
use zbus::{Guid, fdo};

use super::*;
use crate::daemon::bus::{Service, outbox};
use crate::daemon::request::{Call, Request};

/// The client and the real service, peer to peer; `answer` stands in for the main loop.
pub(crate) async fn connected(
    answer: impl Fn(&Call) -> Result<String, Error> + Send + 'static,
) -> (Remote, Service) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (server, client) = tokio::join!(
        Builder::unix_stream(ours).server(Guid::generate()).p2p().build(),
        Builder::unix_stream(theirs).p2p().build(),
    );
    let (sender, mut requests) = mpsc::channel::<Request>(8);
    let service = Service::serve(server.unwrap(), sender, outbox().0.fence()).await.unwrap();
    tokio::spawn(async move {
        while let Some(Request { call, reply }) = requests.recv().await {
            let _ = reply.send(answer(&call));
        }
    });
    (Remote::over(client.unwrap()), service)
}

#[tokio::test]
async fn speaks_what_the_service_speaks() {
    let (remote, _service) = connected(|call| match call {
        Call::Update { units, trigger: Trigger::Timer } if units.len() == 1 => {
            Ok(r#"{"outcomes":[],"skipped":[],"problems":[]}"#.into())
        }
        Call::History(HistoryQuery { limit: 3, since: Some(_), .. }) | Call::ListUnits => {
            Ok("[]".into())
        }
        Call::Check => Ok("{}".into()),
        other => Err(Error::Busy(format!("{other:?}"))),
    })
    .await;
    let app: UnitName = "app.service".parse().unwrap();
    let report =
        remote.starting().update(std::slice::from_ref(&app), Trigger::Timer).await.unwrap();
    assert!(report.outcomes.is_empty());
    let query = HistoryQuery {
        units: vec![app],
        since: Some(jiff::Timestamp::UNIX_EPOCH),
        outcomes: vec![crate::update::OutcomeKind::Updated],
        limit: 3,
    };
    assert_eq!(remote.running().history(&query).await.unwrap(), []);
    assert_eq!(remote.running().units().await.unwrap(), []);
    let busy = remote.starting().clear_quarantine(None).await.unwrap_err();
    assert!(matches!(busy, RemoteError::Service(Error::Busy(_))), "{busy:?}");
    let unreadable = remote.running().check().await.unwrap_err();
    assert!(matches!(unreadable, RemoteError::Bus { .. }), "{unreadable:?}");
    let properties = remote.properties().await.unwrap();
    assert_eq!((&*properties.state, &*properties.next_check), ("idle", ""));
    assert_eq!(properties.version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn tells_absence_from_refusal() {
    let of = |error: fdo::Error| classify(zbus::Error::FDO(Box::new(error)));
    for absent in [
        fdo::Error::ServiceUnknown("no such name".into()),
        fdo::Error::NameHasNoOwner("nobody".into()),
    ] {
        assert!(matches!(of(absent), RemoteError::Absent));
    }
    assert!(matches!(of(fdo::Error::AccessDenied("policy".into())), RemoteError::Denied));
    let RemoteError::Bus { message, .. } = of(fdo::Error::SpawnFailed("exit 1".into())) else {
        panic!("a service that does not start is not absent");
    };
    assert!(message.contains("exit 1"), "{message}");
}
