//! Whom Podman's containers are checked as, and how: credentials, certificates, storage.

use serde_json::Value;

use crate::host::Host;
use crate::image::Image;
use crate::podman::{PodmanUnit, configure, version};
use crate::registry::{Access, PASSWORD, Registry, USER};
use crate::units::{configure_every_second, configure_quiet, invocation};

cases![
    credentials_have_podmans_order,
    an_image_names_no_credentials,
    the_service_pulls_as_it_checks,
    an_untrusted_certificate_is_refused,
    images_in_a_read_only_store,
];

/// Exit codes of `updaterctl`, as its manual has them.
const ROLLED_BACK: i32 = 4;
const PARTLY: i32 = 3;

fn prepare(host: &Host, access: Access) -> Registry<'_> {
    configure(host);
    configure_quiet(host);
    Registry::start_with(host, access, 5000)
}

/// Files that let one into the registry, and one that does not.
fn write_logins(host: &Host) {
    let write = |path: &str, password: &str| {
        let login = host.sh(&format!("printf %s {USER}:{password} | base64"));
        host.write(
            path,
            &format!("{{\"auths\": {{\"localhost:5000\": {{\"auth\": \"{login}\"}}}}}}"),
        );
    };
    write("/srv/right.json", PASSWORD);
    write("/srv/wrong.json", "sesame");
    write("/srv/right/config.json", PASSWORD);
    write("/srv/wrong/config.json", "sesame");
}

/// What became of each container in a dry run of both programs, in the order of their names.
fn both(host: &Host, environment: &str, flags: &str) -> [Vec<String>; 2] {
    ["podman", "updaterctl"].map(|program| {
        let outcome = host
            .run(&format!("{environment} {program} auto-update --dry-run --format json {flags}"));
        let rows: Vec<Value> = serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", outcome.describe()));
        let word = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
        let mut rows: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {}", word(row, "ContainerName"), word(row, "Updated")))
            .collect();
        rows.sort();
        rows
    })
}

/// Label, `--authfile`, `REGISTRY_AUTH_FILE`, `DOCKER_CONFIG`, the usual places: the first that is
/// there counts, right or wrong.
fn credentials_have_podmans_order(host: &Host) {
    let registry = prepare(host, Access::Password);
    write_logins(host);
    for (name, label) in [("plain", ""), ("right", "/srv/right.json"), ("wrong", "/srv/wrong.json")]
    {
        let image = format!("{name}:latest");
        registry.push(&image, &Image::app("v1"));
        let mut unit = PodmanUnit::new(name, &registry.reference(&image));
        if !label.is_empty() {
            unit = unit.flag(&format!("--label io.containers.autoupdate.authfile={label}"));
        }
        unit.flag("--authfile /srv/right.json").start(host);
        registry.push(&image, &Image::app("v2"));
    }
    registry.push("probe:latest", &Image::app("v1"));
    let probe = registry.reference("probe:latest");
    let login = "mkdir -p /run/containers/0; cp /srv/right.json /run/containers/0/auth.json;";
    let away = "rm -f /run/containers/0/auth.json;";
    let docker = "export DOCKER_CONFIG=/srv";
    let file = "export REGISTRY_AUTH_FILE=/srv";
    for (environment, flags, plain) in [
        (away.to_owned(), "", "failed"),
        (login.to_owned(), "", "pending"),
        (format!("{login} {docker}/wrong;"), "", "failed"),
        (format!("{away} {docker}/right;"), "", "pending"),
        (format!("{login} {docker}/none;"), "", "failed"),
        (format!("{away} {docker}/wrong; {file}/right.json;"), "", "pending"),
        (format!("{login} {docker}/right; {file}/wrong.json;"), "", "failed"),
        (format!("{away} {file}/wrong.json;"), "--authfile /srv/right.json", "pending"),
        (format!("{login} {file}/right.json;"), "--authfile /srv/wrong.json", "failed"),
    ] {
        let [theirs, ours] = both(host, &environment, flags);
        let expected = [format!("plain {plain}"), "right pending".into(), "wrong failed".into()];
        assert_eq!(ours, expected, "{environment} {flags}");
        // A check of Podman 4.3's goes by the label and the usual places alone, and says "false" of
        // what it could not check: what its pulls go by is what its manual says.
        let labelled: Vec<_> =
            theirs[1..].iter().map(|row| row.replace("false", "failed")).collect();
        assert_eq!(labelled, ours[1..], "{environment} {flags}");
        let pulled = host.run(&format!("{environment} podman pull --quiet {flags} {probe}"));
        assert_eq!(pulled.status == 0, plain == "pending", "{environment} {flags}");
    }
    // The pull goes by what the check went by.
    let update = "auto-update --format '{{.ContainerName}} {{.Updated}}'";
    let outcome = host.fails(125, &format!("{away} {docker}/right; updaterctl {update}"));
    assert_eq!(outcome.stdout, "plain true\nright true\nwrong failed\n", "{}", outcome.describe());
    assert!(outcome.stderr.contains("authentication required"), "{}", outcome.describe());
}

/// A label of the image's shows up as the container's; Podman believes it.
fn an_image_names_no_credentials(host: &Host) {
    let registry = prepare(host, Access::Password);
    write_logins(host);
    let labels = serde_json::json!({"io.containers.autoupdate.authfile": "/srv/right.json"});
    let app = |version: &str| Image::app(version).with("Labels", labels.clone());
    registry.push("app:latest", &app("v1"));
    let unit = PodmanUnit::new("app", &registry.reference("app:latest"));
    unit.flag("--authfile /srv/right.json").start(host);
    registry.push("app:latest", &app("v2"));
    let [theirs, ours] = both(host, "", "");
    assert_eq!([theirs, ours], [["app pending"], ["app failed"]]);
}

/// Its calls of Podman are units of their own, which have none of its environment.
fn the_service_pulls_as_it_checks(host: &Host) {
    let registry = prepare(host, Access::Password);
    write_logins(host);
    configure_every_second(host);
    registry.push("app:latest", &Image::app("v1"));
    let unit = PodmanUnit::new("app", &registry.reference("app:latest"));
    unit.flag("--authfile /srv/right.json").start(host);
    registry.push("app:latest", &Image::app("v2"));
    host.write(
        "/etc/systemd/system/updaterd.service.d/login.conf",
        "[Service]\nEnvironment=DOCKER_CONFIG=/srv/right\n",
    );
    host.sh("systemctl daemon-reload; systemctl start updaterd.service");
    crate::podman::wait_for_version(host, "app", "v2");
}

/// A certificate that nobody here has signed.
fn an_untrusted_certificate_is_refused(host: &Host) {
    let registry = prepare(host, Access::Tls);
    host.sh("rm -r /etc/containers/certs.d");
    registry.push("app:latest", &Image::app("v1"));
    let unit = PodmanUnit::new("app", &registry.reference("app:latest"));
    unit.flag("--tls-verify=false").start(host);
    registry.push("app:latest", &Image::app("v2"));
    let before = invocation(host, "app");
    let outcome = host.fails(PARTLY, "updaterctl update");
    assert!(outcome.said().contains("certificate"), "{}", outcome.describe());
    let outcome = host.fails(125, "updaterctl auto-update");
    assert!(outcome.stderr.contains("x509: "), "{}", outcome.describe());
    assert_eq!(invocation(host, "app"), before);
    let format = "--format '{{.Updated}}'";
    let told = host.sh(&format!("updaterctl auto-update --tls-verify=false {format}"));
    assert_eq!((told.as_str(), version(host, "app").as_str()), ("true", "v2"));
    // registries.conf says it for everybody; the flag has the last word.
    host.write(
        "/etc/containers/registries.conf.d/5000.conf",
        "[[registry]]\nlocation = \"localhost:5000\"\ninsecure = true\n",
    );
    registry.push("app:latest", &Image::app("v3"));
    let outcome = host.fails(125, &format!("updaterctl auto-update --tls-verify=true {format}"));
    assert_eq!(outcome.stdout, "failed\n", "{}", outcome.describe());
    host.sh("systemctl try-restart updaterd.service; updaterctl update");
    assert_eq!(version(host, "app"), "v3");
}

/// The image that runs lies where nobody can change its names: updates and rollbacks do not mind.
fn images_in_a_read_only_store(host: &Host) {
    let registry = prepare(host, Access::Plain);
    let old = registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    host.sh(&format!(
        "mkdir /srv/store; mount -t tmpfs -o mode=755 tmpfs /srv/store
         podman --root /srv/store --runroot /run/store pull --quiet {app}
         umount /srv/store/overlay 2> /dev/null || true; mount -o remount,ro /srv/store"
    ));
    host.write(
        "/etc/containers/storage.conf",
        "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\n\
         graphroot = \"/var/lib/containers/storage\"\n\
         [storage.options]\nadditionalimagestores = [\"/srv/store\"]\n",
    );
    PodmanUnit::new("app", &app).flag("--pull=never").start(host);
    let is_read_only = "podman images --format '{{.ReadOnly}}'";
    assert_eq!(host.sh(is_read_only), "true");
    let check = host.sh("updaterctl check");
    assert!(check.contains("1 up to date"), "{check}");

    registry.push("app:latest", &Image::crashing_later("v2"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert_eq!(version(host, "app"), "v1", "{}", outcome.describe());
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v1", "the tag went back");

    let mut last = String::new();
    for new in ["v3", "v4"] {
        last = registry.push("app:latest", &Image::app(new));
        host.sh("updaterctl update; podman image prune --force");
        assert_eq!(version(host, "app"), new);
        if new == "v3" {
            let kept =
                host.sh("podman images --digests --filter 'reference=localhost/updaterd/keep/*'");
            assert!(kept.contains(&old), "{kept}");
        }
    }
    let listed = host.sh("podman images --all --digests");
    assert!(listed.contains(&last), "{listed}");
    let check = host.sh("updaterctl check");
    assert!(check.contains("1 up to date"), "{check}");
}
