//! Logins for registries: programs that keep them, bad passwords, files that change.

use crate::host::Host;
use crate::image::Image;
use crate::registry::{Access, PASSWORD, Registry, USER};
use crate::units::{ContainerUnit, configure_quiet, version};

cases![
    a_helper_gives_the_login,
    a_helper_that_fails_is_told_of,
    a_bad_password_is_tried_once_on_a_host,
];

/// Exit code of `updaterctl`, as its manual has it.
const PARTLY: i32 = 3;

/// Where the service looks without any environment.
const FILE: &str = "/root/.config/containers/auth.json";

/// `docker-credential-vault`: a shell script.
fn vault(host: &Host, script: &str) {
    let path = "/usr/local/bin/docker-credential-vault";
    host.write(path, &format!("#!/bin/bash\nset -eu\n{script}\n"));
    host.sh(&format!("chmod 755 {path}"));
}

/// What a helper says that works, and tells what it was asked, and with what `HOME`.
fn works() -> String {
    format!(
        "server=$(cat); echo \"$HOME $* $server\" >> /run/asked
         printf '{{\"ServerURL\":\"%s\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}' \"$server\""
    )
}

fn entry(host: &Host, password: &str) -> String {
    let login = host.sh(&format!("printf %s {USER}:{password} | base64"));
    format!("\"auths\": {{\"localhost:5000\": {{\"auth\": \"{login}\"}}}}")
}

/// A registry that wants a password, and a unit with v1 that the helper had a part in.
fn begin(host: &Host) -> Registry<'_> {
    let registry = Registry::start_with(host, Access::Password, 5000);
    configure_quiet(host);
    vault(host, &works());
    // What the file has of its own does not count beside a helper.
    let helpers = "\"credHelpers\": {\"localhost:5000\": \"vault\"}";
    host.write(FILE, &format!("{{{helpers}, {}}}", entry(host, "wrong")));
    for name in ["app", "other"] {
        registry.push(&format!("{name}:latest"), &Image::app("v1"));
        ContainerUnit::new(name, &registry.reference(&format!("{name}:latest"))).start(host);
    }
    registry
}

fn a_helper_gives_the_login(host: &Host) {
    let registry = begin(host);
    // Podman's library reads the same file just so.
    let app = registry.reference("app:latest");
    host.sh(&format!("skopeo inspect --tls-verify=false --authfile {FILE} docker://{app}"));
    host.sh("rm /run/asked");
    for name in ["app", "other"] {
        registry.push(&format!("{name}:latest"), &Image::app("v2"));
    }
    host.sh("updaterctl update");
    assert_eq!((version(host, "app"), version(host, "other")), ("v2".into(), "v2".into()));
    assert_eq!(host.sh("cat /run/asked"), "/root get localhost:5000", "once in a pass");
    assert!(!host.journal("--boot").contains(PASSWORD));

    // One for all registries, of which some have no login.
    host.write(FILE, "{\"credsStore\": \"vault\"}");
    registry.push("app:latest", &Image::app("v3"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v3");
    let plain = Registry::start_with(host, Access::Plain, 5002);
    plain.push("open:latest", &Image::app("v1"));
    vault(host, "exit 7");
    host.sh(&format!("updater-launch pull {}", plain.reference("open:latest")));
    let refused = host.fails(125, &format!("updater-launch pull {app}"));
    let told = "docker-credential-vault, which /root/.config/containers/auth.json names for \
                localhost:5000: /usr/local/bin/docker-credential-vault failed: exit status: 7";
    assert!(refused.stderr.contains(told), "{}", refused.describe());

    // A login goes where it counts, or nowhere.
    host.write(FILE, "{\"credHelpers\": {\"localhost:5000\": \"vault\"}}");
    vault(host, &works());
    let login = "updater-launch login --authfile /root/.config/containers/auth.json";
    assert_eq!(host.sh(&format!("{login} --get-login localhost:5000")), USER);
    let refused = host.fails(125, &format!("{login} -u {USER} -p {PASSWORD} localhost:5000"));
    assert!(refused.stderr.contains("has the login for localhost:5000"), "{}", refused.describe());

    // What registries.conf names is asked for every registry, in its order, by Podman's library, too.
    let conf = "/etc/containers/registries.conf.d/helpers.conf";
    host.write(FILE, "{}");
    host.write(conf, "credential-helpers = [\"containers-auth.json\", \"vault\"]\n");
    let asks = |command: &str| {
        host.sh(&format!("rm -f /run/asked; HOME=/root {command}"));
        assert_eq!(host.sh("sort -u /run/asked"), "/root get localhost:5000", "{command}");
    };
    asks(&format!("updater-launch pull {app}"));
    asks(&format!("skopeo inspect --tls-verify=false docker://{app}"));
    host.write(conf, "credential-helpers = [\"vault\"]\n");
    host.write(FILE, &format!("{{{}}}", entry(host, "wrong")));
    asks(&format!("updater-launch pull {app}"));
    let refused = host.fails(125, &format!("{login} -u {USER} -p {PASSWORD} localhost:5000"));
    let told = format!("docker-credential-vault, which {conf} names in credential-helpers");
    assert!(refused.stderr.contains(&told), "{}", refused.describe());
}

fn a_helper_that_fails_is_told_of(host: &Host) {
    let registry = begin(host);
    registry.push("app:latest", &Image::app("v2"));
    let service = || host.property("updaterd.service", "MainPID");
    host.sh("systemctl start updaterd.service");
    let before = service();
    let told = |told: &str| {
        let check = host.fails(PARTLY, "updaterctl check");
        for part in [told, "docker-credential-vault", FILE, "localhost:5000/app"] {
            assert!(check.stdout.contains(part), "{part}: {}", check.describe());
        }
        assert!(!check.said().contains(PASSWORD), "{}", check.describe());
    };
    vault(host, &format!("echo {PASSWORD}"));
    told("something else than JSON");
    vault(host, "echo the vault is sealed >&2; exit 1");
    told("exit status: 1: the vault is sealed");
    vault(host, "echo credentials not found in native keychain; exit 1");
    told("it has none");
    // It is ended, with whatever it began.
    vault(host, "sleep 4711 & wait");
    told("had not answered after 20 s");
    host.fails(1, "pgrep -fx 'sleep 4711'");
    host.sh("rm /usr/local/bin/docker-credential-vault");
    told("no such program in /");
    host.write(FILE, "{\"credHelpers\": {\"localhost:5000\": \"../bin/sh\"}}");
    let check = host.fails(PARTLY, "updaterctl check");
    assert!(check.stdout.contains("a name that no helper can have"), "{}", check.describe());

    // Written anew while the service runs, the file counts at once.
    host.write(FILE, &format!("{{{}}}", entry(host, PASSWORD)));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    assert_eq!(service(), before);
    assert!(!host.journal("--boot").contains(PASSWORD));
}

fn a_bad_password_is_tried_once_on_a_host(host: &Host) {
    let registry = Registry::start_with(host, Access::Password, 5000);
    configure_quiet(host);
    let file = |password: &str| host.write(FILE, &format!("{{{}}}", entry(host, password)));
    file(PASSWORD);
    registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    ContainerUnit::new("app", &app).start(host);
    registry.push("app:latest", &Image::app("v2"));
    let tried = || {
        let log = host.journal("--unit=registry-5000");
        log.lines().filter(|line| line.contains("error authenticating user")).count()
    };
    assert_eq!(tried(), 0);
    // The service, another one of it, and processes of their own.
    file("wrong");
    let pull = format!("updater-launch pull {app}");
    for _ in 0..2 {
        let check = host.fails(PARTLY, "updaterctl check");
        assert!(check.stdout.contains("reject"), "{}", check.describe());
        let refused = host.fails(125, &pull);
        for part in ["rejected before", FILE] {
            assert!(refused.stderr.contains(part), "{}", refused.describe());
        }
        host.sh("systemctl stop updaterd.service");
    }
    assert_eq!(tried(), 1);
    host.sh("cd /var/lib/updaterd/logins; test $(stat -c %a rejected.json) = 600
         ! grep -e alice -e wrong -e localhost -e auth.json rejected.json");
    host.sh(&format!("touch {FILE}"));
    host.fails(125, &pull);
    host.fails(PARTLY, "updaterctl check");
    assert_eq!(tried(), 2);
    file(PASSWORD);
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    assert_eq!(tried(), 2);
}
