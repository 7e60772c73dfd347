//! Registries as they are: TLS, passwords, and that others read what we store.

use crate::host::Host;
use crate::image::Image;
use crate::registry::{Access, PASSWORD, Registry, USER};
use crate::units::{ContainerUnit, configure_quiet, version};

cases![
    over_tls_with_a_certificate_of_its_own,
    an_authfile_label_counts,
    plain_http_only_where_declared,
    skopeo_reads_the_store_and_copies_what_is_saved,
];

fn over_tls_with_a_certificate_of_its_own(host: &Host) {
    let registry = Registry::start_with(host, Access::Tls, 5001);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");

    // The host's own roots count as well.
    host.sh("cd /etc/containers/certs.d/localhost:5001; mkdir -p /etc/ssl/certs
         cp /etc/ssl/certs/ca-certificates.crt /tmp/roots || touch /tmp/roots
         cat /tmp/roots ca.crt > /etc/ssl/certs/ca-certificates.crt; mv ca.crt /tmp
         systemctl stop updaterd.service");
    registry.push("app:latest", &Image::app("trusted"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "trusted");

    // Without the certificate nobody is trusted, and it is said.
    host.sh("rm -r /etc/containers/certs.d/localhost:5001
         cp /tmp/roots /etc/ssl/certs/ca-certificates.crt");
    registry.push("app:latest", &Image::app("v3"));
    host.sh("systemctl stop updaterd.service");
    let outcome = host.run("updaterctl update");
    assert!(outcome.said().to_lowercase().contains("certificate"), "{}", outcome.describe());
    assert_eq!(version(host, "app"), "trusted");

    // On a host without any roots, what to do is said.
    host.sh("rm -r /etc/ssl");
    let pull = format!("updater-launch pull {}", registry.reference("app:latest"));
    let outcome = host.fails(125, &pull);
    assert!(outcome.stderr.contains("ca-certificates"), "{}", outcome.describe());
}

fn an_authfile_label_counts(host: &Host) {
    let registry = Registry::start_with(host, Access::Password, 5000);
    configure_quiet(host);
    let login = host.sh(&format!("printf %s {USER}:{PASSWORD} | base64"));
    host.write(
        "/etc/app.json",
        &format!("{{\"auths\": {{\"localhost:5000\": {{\"auth\": \"{login}\"}}}}}}"),
    );
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .flag("--authfile /etc/app.json")
        .flag("--label io.containers.autoupdate.authfile=/etc/app.json")
        .start(host);
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

fn plain_http_only_where_declared(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    host.sh("rm /etc/containers/registries.conf.d/5000.conf");
    let requests = registry.requests().len();
    let pull = format!("updater-launch pull {}", registry.reference("app:latest"));
    let outcome = host.fails(125, &pull);
    assert!(outcome.said().contains("localhost:5000"), "{}", outcome.describe());
    assert_eq!(registry.requests().len(), requests, "nothing was sent in the clear");
    host.sh(&format!("{pull} --tls-verify=false"));
}

fn skopeo_reads_the_store_and_copies_what_is_saved(host: &Host) {
    let registry = Registry::start(host);
    let digest = registry.push("app:latest", &Image::app("v1"));
    let reference = registry.reference("app:latest");
    host.sh(&format!("updater-launch pull {reference}"));
    let store = format!("oci:/var/lib/updaterd/images:{reference}");
    let found = host.json(&format!("skopeo inspect {store}"));
    assert_eq!(found["Digest"], digest.as_str());
    let config = host.json(&format!("skopeo inspect --config {store}"));
    assert_eq!(config["config"]["Cmd"][0], "/app/start");
    // There are no blobs of layers to be copied; what is saved has them.
    let copied = host.fails(1, &format!("skopeo copy {store} dir:/tmp/copied"));
    assert!(copied.stderr.contains("/images/blobs/sha256/"), "{}", copied.describe());
    let copy = registry.reference("copied:latest");
    host.sh(&format!(
        "updater-launch save -q --format oci-archive -o /tmp/app.tar {reference}
         skopeo copy -q --dest-tls-verify=false oci-archive:/tmp/app.tar docker://{copy}
         updater-launch rmi {reference}; updater-launch image prune --force
         updater-launch pull {copy}"
    ));
    let run = format!("updater-launch run --rm --network none {copy} cat /app/version");
    assert_eq!(host.sh(&run), "v1");
}
