//! Forward proxies between a host and its registries: named by the environment, or by the configuration.

use crate::forward::Forward;
use crate::host::Host;
use crate::image::Image;
use crate::registry::{Access, Registry};
use crate::units::{ContainerUnit, configure_quiet, version};

cases![a_proxy_that_the_environment_names, a_proxy_that_the_configuration_names];

const PLAIN: &str = "registry.example:5000/app:latest";
const TLS: &str = "registry.example:5001/app:latest";

/// What a proxy is asked for each of them.
const TUNNEL: &str = "CONNECT registry.example:5001";
const WHOLE: &str = "HEAD http://registry.example:5000/v2/app/manifests/latest";

/// `alice:open sesame`, in a URL and in a header.
const LOGIN: &str = "alice:open%20sesame";
const BASIC: &str = "YWxpY2U6b3BlbiBzZXNhbWU=";

/// A proxy, and a registry without TLS and one with it, which only the proxy can reach.
fn begin(host: &Host) -> (Forward, [Registry<'_>; 2]) {
    let plain = Registry::start(host);
    let tls = Registry::start_with(host, Access::Tls, 5001);
    host.write(
        "/etc/containers/registries.conf.d/plain.conf",
        "[[registry]]\nlocation = \"registry.example:5000\"\ninsecure = true\n",
    );
    host.sh("cd /etc/containers/certs.d; cp -r localhost:5001 registry.example:5001");
    for registry in [&plain, &tls] {
        registry.push("app:latest", &Image::app("v1"));
    }
    (Forward::start(3128), [plain, tls])
}

fn a_proxy_that_the_environment_names(host: &Host) {
    let (forward, _registries) = begin(host);
    let pull =
        |environment: &str, image: &str| format!("{environment} updater-launch pull {image}");
    let asked = |begins: &str| forward.requests().iter().any(|asked| asked.starts_with(begins));
    let fails = |environment: &str, image: &str| {
        let command = format!("{environment} updater-launch pull --retry=0 {image}");
        let refused = host.fails(125, &command);
        assert!(!refused.said().contains("sesame"), "{}", refused.describe());
        refused.stderr
    };

    host.sh(&pull("HTTPS_PROXY=http://127.0.0.1:3128", TLS));
    assert!(asked(TUNNEL));
    host.sh(&pull("http_proxy=127.0.0.1:3128 https_proxy=127.0.0.1:3128", PLAIN));
    assert!(asked(WHOLE));
    host.sh(&pull("ALL_PROXY=http://127.0.0.1:3128", TLS));
    assert!(asked(TUNNEL));
    // Podman goes the same way.
    host.sh(&format!("HTTPS_PROXY=http://127.0.0.1:3128 podman pull --quiet {TLS}"));
    assert!(asked(TUNNEL));

    let all = "ALL_PROXY=http://127.0.0.1:3128";
    let told = fails(&format!("{all} NO_PROXY=other.example,registry.example:5001"), TLS);
    assert!(told.contains("registry.example:5001 cannot be reached: "), "{told}");
    host.write("/etc/hosts", "127.0.0.1 localhost registry.example\n");
    host.sh(&pull(&format!("{all} no_proxy=.other.example,registry.example"), TLS));
    assert_eq!(forward.requests(), [""; 0]);

    forward.want(BASIC);
    let with = |login: &str, image: &str| {
        let proxy = format!("http://{login}127.0.0.1:3128");
        (format!("HTTPS_PROXY={proxy} HTTP_PROXY={proxy}"), image.to_owned())
    };
    for image in [TLS, PLAIN] {
        let (right, image) = with(&format!("{LOGIN}@"), image);
        host.sh(&pull(&right, &image));
        for login in ["", "alice:sesame@"] {
            let (wrong, image) = with(login, &image);
            let told = fails(&wrong, &image);
            assert!(told.contains("the proxy http://127.0.0.1:3128, which HTTP"), "{told}");
        }
    }
    let told = fails("HTTPS_PROXY=socks5://alice:sesame@127.0.0.1:3128", TLS);
    assert!(told.contains("HTTPS_PROXY names a proxy of another kind"), "{told}");
}

fn a_proxy_that_the_configuration_names(host: &Host) {
    let (forward, [_plain, tls]) = begin(host);
    forward.want(BASIC);
    configure_quiet(host);
    host.write(
        "/etc/updaterd/updaterd.d/proxy.toml",
        &format!("[registry]\nproxy = \"http://{LOGIN}@127.0.0.1:3128\"\nno_proxy = [\"other\"]\n"),
    );
    ContainerUnit::new("app", TLS).start(host);
    tls.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    // The launcher, and the service.
    let tunnels = forward.requests();
    assert!(tunnels.len() >= 2 && tunnels.iter().all(|asked| asked == TUNNEL), "{tunnels:?}");
    assert!(!host.journal("--boot").contains("sesame"));

    drop(forward);
    host.sh("systemctl stop updaterd.service");
    tls.push("app:latest", &Image::app("v3"));
    let check = host.fails(3, "updaterctl check");
    let told = "registry.example:5001 cannot be reached through the proxy http://127.0.0.1:3128, \
                which \"proxy\" of updaterd.toml names: ";
    assert!(check.stdout.contains(told), "{}", check.describe());
    assert!(!check.said().contains("sesame"), "{}", check.describe());
    assert!(!host.journal("--boot").contains("sesame"));
    assert_eq!(version(host, "app"), "v2");
}
