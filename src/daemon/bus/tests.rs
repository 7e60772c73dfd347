use std::os::unix::net::UnixStream;

use futures_util::StreamExt;
use zbus::connection::Builder;
use zbus::{Connection, Guid, Proxy};

use super::*;

/// Both ends of a connection without a bus, and what the service's main loop would get.
async fn pair() -> (Service, Connection, mpsc::Receiver<Request>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (server, client) = tokio::join!(
        Builder::unix_stream(ours).server(Guid::generate()).p2p().build(),
        Builder::unix_stream(theirs).p2p().build(),
    );
    let (sender, requests) = mpsc::channel(8);
    let service = Service::serve(server.unwrap(), sender, outbox().0.fence()).await.unwrap();
    (service, client.unwrap(), requests)
}

async fn proxy(client: &Connection) -> Proxy<'static> {
    Proxy::new(client, NAME, PATH, INTERFACE).await.unwrap()
}

/// Answers every call with what it is, as the main loop would with a document.
async fn echo(mut requests: mpsc::Receiver<Request>) {
    while let Some(Request { call, reply }) = requests.recv().await {
        let answer = match &call {
            Call::Check => Err(Error::Busy("updaterd has it".into())),
            other => Ok(format!("{other:?}")),
        };
        let _ = reply.send(answer);
    }
}

fn name_of(error: zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(name, ..) => name.to_string(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn methods_become_calls() {
    let (_service, client, requests) = pair().await;
    tokio::spawn(echo(requests));
    let proxy = proxy(&client).await;
    let answer: String = proxy.call("Update", &(vec!["app"], "timer")).await.unwrap();
    assert_eq!(answer, r#"Update { units: [UnitName("app.service")], trigger: Timer }"#);
    let answer: String = proxy.call("Rollback", &(vec!["app"], "")).await.unwrap();
    assert_eq!(answer, r#"Rollback { units: [UnitName("app.service")], to: None }"#);
    let none: Result<String, _> = proxy.call("Rollback", &(Vec::<&str>::new(), "")).await;
    assert!(name_of(none.unwrap_err()).ends_with("InvalidArguments"));
    let none = &[][..] as &[&str];
    let answer: String = proxy.call("GetHistory", &(none, "", none, u32::MAX)).await.unwrap();
    let query = "HistoryQuery { units: [], since: None, outcomes: [], limit: 10000 }";
    assert_eq!(answer, format!("History({query})"));
    let asked = (vec!["app"], "2026-11-26T20:00:00Z", vec!["rolled-back"], 3u32);
    let answer: String = proxy.call("GetHistory", &asked).await.unwrap();
    let query = "units: [UnitName(\"app.service\")], since: Some(2026-11-26T20:00:00Z), \
                 outcomes: [RolledBack], limit: 3";
    assert_eq!(answer, format!("History(HistoryQuery {{ {query} }})"));
    for (since, outcomes) in [("soon", &[][..]), ("", &["sideways"])] {
        let refused: Result<String, _> =
            proxy.call("GetHistory", &(none, since, outcomes, 3u32)).await;
        assert!(name_of(refused.unwrap_err()).ends_with("InvalidArguments"));
    }
    let answer: String = proxy.call("ClearQuarantine", &("",)).await.unwrap();
    assert_eq!(answer, "ClearQuarantine { what: None }");
    let answer: String = proxy.call("ListUnits", &()).await.unwrap();
    assert_eq!(answer, "ListUnits");
}

/// What a program may rely on is written down.
#[tokio::test]
async fn the_manual_page_has_every_member() {
    let (_service, client, _requests) = pair().await;
    let page = include_str!("../../../docs/man/org.updaterd.Updater1.5");
    let introspectable = "org.freedesktop.DBus.Introspectable";
    let object = Proxy::new(&client, NAME, PATH, introspectable).await.unwrap();
    let xml: String = object.call("Introspect", &()).await.unwrap();
    let (_, own) = xml.split_once(&format!("<interface name=\"{INTERFACE}\">")).unwrap();
    let own = own.split("</interface>").next().unwrap();
    let mut members = 0;
    for line in own.lines().map(str::trim_start) {
        let member = ["<method name=\"", "<signal name=\"", "<property name=\""]
            .iter()
            .find_map(|tag| line.strip_prefix(tag));
        let Some((name, _)) = member.and_then(|member| member.split_once('"')) else { continue };
        let told = |line: &str| line.starts_with(".B") && line.split(' ').nth(1) == Some(name);
        assert!(page.lines().any(told), "{name} is not in the page");
        members += 1;
    }
    assert!(members >= 15, "{own}");
    for error in ["Busy", "InvalidArguments", "Failed"] {
        assert!(page.contains(&format!(".B {ERROR_PREFIX}.{error}\n")), "{error}");
    }
}

#[tokio::test]
async fn errors_have_stable_names() {
    let (_service, client, requests) = pair().await;
    tokio::spawn(echo(requests));
    let proxy = proxy(&client).await;
    let busy = proxy.call::<_, _, String>("Check", &()).await.unwrap_err();
    assert_eq!(name_of(busy), "org.updaterd.Updater1.Error.Busy");
    for (units, trigger) in [(vec!["a/b"], "manual"), (vec![], "nobody"), (vec![], "recovery")] {
        let bad = proxy.call::<_, _, String>("Update", &(units, trigger)).await.unwrap_err();
        assert_eq!(name_of(bad), "org.updaterd.Updater1.Error.InvalidArguments");
    }
}

#[tokio::test]
async fn a_loop_that_has_ended_is_an_error_not_silence() {
    let (_service, client, requests) = pair().await;
    drop(requests);
    let error = proxy(&client).await.call::<_, _, String>("Check", &()).await.unwrap_err();
    assert_eq!(name_of(error), "org.updaterd.Updater1.Error.Failed");
}

#[tokio::test]
async fn properties_change_with_a_signal() {
    let (service, client, _requests) = pair().await;
    let proxy = proxy(&client).await;
    let version: String = proxy.get_property("Version").await.unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let mut changes = proxy.receive_property_changed::<String>("State").await;
    // The first item is the value there is.
    assert_eq!(changes.next().await.unwrap().get().await.unwrap(), "idle");
    let updating = Properties {
        activity: Activity::Updating,
        last_check: Timestamp::from_second(0).ok(),
        next_check: None,
    };
    service.emit(&Signal::Properties(updating)).await.unwrap();
    assert_eq!(changes.next().await.unwrap().get().await.unwrap(), "updating");
    let last: String = proxy.get_property("LastCheck").await.unwrap();
    assert_eq!(last, "1970-01-01T00:00:00Z");
    let next: String = proxy.get_property("NextCheck").await.unwrap();
    assert_eq!(next, "");
}

#[tokio::test]
async fn signals_carry_unit_image_and_digests() {
    let (service, client, _requests) = pair().await;
    let proxy = proxy(&client).await;
    let mut signals = proxy.receive_all_signals().await.unwrap();
    let change = Change {
        unit: "app.service".into(),
        reference: "registry.example/app:1".into(),
        old: "sha256:0".into(),
        new: "sha256:1".into(),
    };
    let sent = [
        Signal::UpdateAvailable(change.clone()),
        Signal::UpdateStarted(change.clone()),
        Signal::RolledBack { change: change.clone(), cause: "it crashed".into() },
        Signal::UpdateFinished { change, outcome: "rolled-back".into(), detail: "why".into() },
    ];
    let mut seen = Vec::new();
    for signal in &sent {
        service.emit(signal).await.unwrap();
        let message = signals.next().await.unwrap();
        let member = message.header().member().unwrap().to_string();
        seen.push(format!("{member}{}", message.body().signature()));
    }
    let expected = ["UpdateAvailable", "UpdateStarted", "RolledBack", "UpdateFinished"];
    assert!(seen.iter().zip(expected).all(|(seen, name)| seen.starts_with(name)), "{seen:?}");
}
