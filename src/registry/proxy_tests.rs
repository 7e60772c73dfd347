//! The client with a proxy in between, on loopback. What a tunnel is, the tests under systemd show.

use wiremock::matchers::{header, header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::error::Problem;
use super::tests::options;
use super::{Client, Options, Proxies};
use crate::config::RegistrySettings;
use crate::model::failure::chain;
use crate::model::{Digest, FailureKind, ImageSource};

/// A client that goes through the proxy at this address, and an image of a registry behind it.
fn behind(proxy: &str, no_proxy: &[&str]) -> (Client, ImageSource) {
    let settings = RegistrySettings {
        proxy: Some(proxy.parse().unwrap()),
        no_proxy: no_proxy.iter().map(|host| (*host).to_owned()).collect(),
    };
    let proxies = Proxies::default().configured(&settings);
    let client = Client::new(&Options { proxies, ..options() }).unwrap();
    let reference = "registry.invalid:5000/app:1".parse().unwrap();
    (client, ImageSource { reference, authfile: None })
}

#[tokio::test]
async fn without_tls_the_proxy_is_asked_for_the_whole_url_by_who_may() {
    let proxy = MockServer::start().await;
    let digest = Digest::of(b"x");
    let answer =
        ResponseTemplate::new(200).insert_header("docker-content-digest", digest.to_string());
    let known = header("proxy-authorization", "Basic dTpodW50ZXIgMg==");
    let asked = || Mock::given(method("HEAD")).and(path("/v2/app/manifests/1"));
    asked().and(known).respond_with(answer).mount(&proxy).await;
    asked().respond_with(ResponseTemplate::new(407)).mount(&proxy).await;
    let named = |login: &str| format!("http://{login}{}", proxy.address());

    let (client, source) = behind(&named("u:hunter%202@"), &[]);
    assert_eq!(client.target(&source).await.unwrap(), digest);
    let (client, source) = behind(&named("u:hunter@"), &[]);
    let refused = client.target(&source).await.unwrap_err();
    assert!(matches!(refused.problem(), Problem::ProxyLogin { .. }), "{refused}");
    assert_eq!(refused.kind(), FailureKind::Unreachable);
    let told = format!("{} {refused:?}", chain(&refused));
    assert!(told.contains(&format!("the proxy http://{}, which", proxy.address())), "{told}");
    assert!(!told.contains("hunter"), "{told}");

    // A registry hears nothing of the proxy's login.
    let registry = MockServer::start().await;
    Mock::given(header_exists("proxy-authorization"))
        .respond_with(ResponseTemplate::new(500))
        .mount(&registry)
        .await;
    let answer =
        ResponseTemplate::new(200).insert_header("docker-content-digest", digest.to_string());
    Mock::given(method("HEAD")).respond_with(answer).mount(&registry).await;
    let (client, _) = behind(&named("u:hunter%202@"), &[]);
    let reference = format!("{}/app:1", registry.address()).parse().unwrap();
    let here = ImageSource { reference, authfile: None };
    assert_eq!(client.target(&here).await.unwrap(), digest);
}

#[tokio::test]
async fn a_dead_proxy_is_named_and_only_where_it_is_asked() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = format!("http://u:hunter2@{free}");
    for (no_proxy, is_named) in [(&[][..], true), (&["registry.invalid:5000"], false)] {
        let (client, source) = behind(&proxy, no_proxy);
        let failed = client.target(&source).await.unwrap_err();
        assert_eq!(failed.kind(), FailureKind::Unreachable);
        let told = format!("{} {failed:?}", chain(&failed));
        assert_eq!(told.contains(&format!("the proxy http://{free}, which")), is_named, "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
