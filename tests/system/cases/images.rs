//! Images: their names, removing them, pulls, logins.

use super::commands::prepare;
use crate::host::Host;
use crate::image::Image;
use crate::registry::{Access, PASSWORD, Registry, USER};

cases![
    names_and_images_are_removed,
    images_in_use_are_not_removed,
    prune_removes_what_nothing_uses,
    pulls_by_policy_and_platform,
    a_login_is_verified_and_kept,
    a_damaged_store_is_told_and_mended,
];

fn names_and_images_are_removed(host: &Host) {
    let app = prepare(host);
    let id = host.sh("updater-launch images -q --no-trunc").replace("sha256:", "");
    host.sh(&format!("updater-launch tag {app} localhost:5000/app:two localhost:5000/app:three"));
    assert_eq!(
        host.sh("updater-launch rmi localhost:5000/app:two"),
        "Untagged: localhost:5000/app:two"
    );
    let several = host.fails(125, &format!("updater-launch rmi {}", &id[..12]));
    assert!(several.stderr.contains("several names"), "{}", several.describe());
    host.sh(&format!("updater-launch untag {app} localhost:5000/app:three"));
    host.fails(125, &format!("updater-launch untag {app} localhost:5000/app:three"));
    host.sh("updater-launch image exists app; updater-launch history app");
    let history = host.sh("updater-launch image history --format '{{.ID}} {{.Size}}' app");
    assert!(history.is_empty() || history.contains(&id[..12]), "{history}");
    let removed = host.sh("updater-launch rmi app");
    assert_eq!(removed, format!("Untagged: {app}\nDeleted: {id}"));
    host.fails(1, "updater-launch image exists app");
    // Nothing of it is left on the disk.
    let left = "ls /var/lib/updaterd/layers/sha256 /var/lib/updaterd/images/blobs/sha256 /var/lib/updaterd/tmp";
    assert_eq!(host.sh(&format!("{left} | grep -cE '^[0-9a-f]{{16}}' || true")), "0");
    let missing = host.fails(1, "updater-launch rmi app");
    assert!(missing.stderr.contains("app: no such image"), "{}", missing.describe());
    host.sh("updater-launch rmi --ignore app");
    host.sh(&format!("updater-launch pull {app}"));
    host.sh(&format!("updater-launch run --rm --network host {app} true"));
}

fn images_in_use_are_not_removed(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("updater-launch create --name web --network host {app}"));
    let used = host.fails(2, &format!("updater-launch rmi {app}"));
    assert!(used.stderr.contains("(web)"), "{}", used.describe());
    host.fails(2, &format!("updater-launch rmi nothing {app}"));
    host.fails(1, "updater-launch rmi nothing");
    // Others, with running state of their own, count as well.
    host.sh("updater-launch rm web");
    let other = "updater-launch --runroot /run/other";
    host.sh(&format!("{other} create --name other --network host {app}"));
    host.fails(2, &format!("updater-launch rmi --force {app}"));
    host.sh(&format!("{other} rm other"));
    // What runs is never removed for an image's sake, what does not is by --force.
    host.sh(&format!("updater-launch run -d --name web --network host {app} sleep 4711"));
    host.fails(2, &format!("updater-launch rmi --force {app}"));
    host.sh("updater-launch stop --time 0 web");
    host.fails(2, &format!("updater-launch rmi {app}"));
    host.sh(&format!("updater-launch rmi --force {app}"));
    assert_eq!(host.sh("updater-launch ps -aq; updater-launch images -q"), "");
}

fn prune_removes_what_nothing_uses(host: &Host) {
    let registry = Registry::start(host);
    for (tag, version) in [("app:1", "one"), ("app:2", "two"), ("app:3", "three")] {
        registry.push(tag, &Image::app(version));
        host.sh(&format!("updater-launch pull {}", registry.reference(tag)));
    }
    let app = |tag: &str| registry.reference(&format!("app:{tag}"));
    // The first loses its name to the second.
    host.sh(&format!("updater-launch tag {} {}", app("2"), app("1")));
    host.sh(&format!("updater-launch create --name web --network host {}", app("3")));
    assert_eq!(host.sh("updater-launch images --filter dangling=true -q | wc -l"), "1");
    host.sh("echo n | updater-launch image prune");
    assert_eq!(host.sh("updater-launch images --filter dangling=true -q | wc -l"), "1");
    assert_eq!(host.sh("updater-launch image prune --force | wc -l"), "1");
    assert_eq!(host.sh("updater-launch images -q | sort -u | wc -l"), "2");
    assert_eq!(host.sh("echo y | updater-launch image prune --all | wc -l"), "1");
    assert_eq!(host.sh("updater-launch images --format '{{.Tag}}'"), "3");
    // The base that both had is still there.
    assert_eq!(host.sh("updater-launch start --attach web & sleep 1; updater-launch stop web; updater-launch logs web > /dev/null 2>&1 || true; updater-launch ps -aq | wc -l").lines().last(), Some("1"));
    let id = host.sh("updater-launch ps -aq --no-trunc");
    host.sh(&format!(
        "updater-launch create --name idle --label keep=yes --network host {}",
        app("3")
    ));
    assert_eq!(host.sh("updater-launch container prune --force --filter 'label!=keep'"), id);
    host.sh("updater-launch container exists idle");
    host.fails(1, "updater-launch container exists web");
}

fn pulls_by_policy_and_platform(host: &Host) {
    let registry = Registry::start(host);
    let app = registry.reference("app:latest");
    registry.push("app:latest", &Image::app("v1"));
    let first = host.sh(&format!("updater-launch pull -q {app}"));
    registry.push("app:latest", &Image::app("v2"));
    assert_eq!(host.sh(&format!("updater-launch pull -q --policy missing {app}")), first);
    assert_eq!(host.sh(&format!("updater-launch pull -q --policy never {app}")), first);
    let never = host.fails(125, "updater-launch pull --policy never localhost:5000/none");
    assert!(never.stderr.contains("none"), "{}", never.describe());
    let second = host.sh(&format!("updater-launch pull -q {app}"));
    assert_ne!(first, second);
    let other = host.run(&format!("updater-launch pull --platform linux/s390x {app}"));
    assert!(other.status == 0 && other.stderr.contains("s390x"), "{}", other.describe());
    let wrong = host.fails(125, &format!("updater-launch pull --platform linux {app}"));
    assert!(wrong.stderr.contains("--platform"), "{}", wrong.describe());
    let tags = host.fails(125, "updater-launch pull --all-tags localhost:5000/app");
    assert!(tags.stderr.contains("name each tag"), "{}", tags.describe());
    registry.down();
    let pull = format!("updater-launch pull --retry 1 --retry-delay 50ms {app}");
    let unreachable = host.fails(125, &pull);
    assert_eq!(
        unreachable.stderr.matches("Trying to pull").count(),
        2,
        "{}",
        unreachable.describe()
    );
    assert_eq!(host.sh(&format!("updater-launch pull -q --policy newer --retry 0 {app}")), second);
}

fn a_login_is_verified_and_kept(host: &Host) {
    let registry = Registry::start_with(host, Access::Password, 5000);
    registry.push("app:latest", &Image::app("v1"));
    let name = "localhost:5000";
    let app = registry.reference("app:latest");
    host.fails(125, &format!("updater-launch pull {app}"));
    let auth = "/tmp/auth/auth.json";
    let login = |password: &str| {
        format!(
            "printf '%s\\n' {password} | updater-launch login --authfile {auth} -u {USER} --password-stdin {name}"
        )
    };
    let refused = host.fails(125, &login("wrong"));
    assert!(refused.stderr.contains("reject"), "{}", refused.describe());
    assert!(!refused.said().contains("wrong"), "{}", refused.describe());
    assert_ne!(host.run(&format!("test -e {auth}")).status, 0);
    assert_eq!(host.sh(&login(PASSWORD)), "Login Succeeded!");
    assert_eq!(host.sh(&format!("stat -c %a {auth}")), "600");
    assert_eq!(
        host.sh(&format!("updater-launch login --authfile {auth} --get-login {name}")),
        USER
    );
    let again = host.sh(&format!("updater-launch login --authfile {auth} {name}"));
    assert!(again.contains("Already logged in"), "{again}");
    host.sh(&format!("updater-launch pull --authfile {auth} {app}"));
    // Others read it.
    host.sh(&format!("skopeo inspect --tls-verify=false --authfile {auth} docker://{app}"));
    // Podman's own place, where none is named.
    host.sh(&format!("env -u XDG_RUNTIME_DIR updater-launch login -u {USER} -p {PASSWORD} {name}"));
    host.sh("test $(stat -c %a /run/containers/0/auth.json) = 600");
    assert_eq!(host.sh(&format!("env -u XDG_RUNTIME_DIR podman login --get-login {name}")), USER);
    let logout = format!("updater-launch logout --authfile {auth} {name}");
    assert_eq!(host.sh(&logout), format!("Removed login credentials for {name}"));
    let none = host.fails(125, &logout);
    assert!(none.stderr.contains("not logged into"), "{}", none.describe());
    host.fails(125, &format!("updater-launch login --authfile {auth} --get-login {name}"));
    let asked =
        host.fails(125, &format!("updater-launch login --authfile {auth} {name} < /dev/null"));
    assert!(asked.stderr.contains("no terminal"), "{}", asked.describe());
    host.sh("env -u XDG_RUNTIME_DIR updater-launch logout --all");
}

fn a_damaged_store_is_told_and_mended(host: &Host) {
    let app = prepare(host);
    let whole = host.sh("updater-launch image check");
    assert_eq!(whole, "1 image, nothing is missing or damaged");
    let id = host.sh("updater-launch images -q --no-trunc");
    let config = format!("/var/lib/updaterd/images/blobs/sha256/{}", &id["sha256:".len()..]);
    host.sh(&format!("echo '{{}}' > {config}"));
    let told = host.fails(1, "updater-launch image check");
    assert!(told.stdout.contains(&format!("the document {id} is damaged")), "{}", told.describe());
    let mended = host.fails(1, "updater-launch image check --repair");
    assert!(mended.stdout.contains(&format!("took {id} away")), "{}", mended.describe());
    let hint = format!("\"updater-launch pull {app}\" brings it");
    assert!(mended.stdout.contains(&hint), "{}", mended.describe());
    host.sh("rm -r /var/lib/updaterd/layers/sha256/*");
    host.sh(&format!("updater-launch pull {app}; updater-launch image check"));
    host.sh(&format!("updater-launch run --rm --network host {app} cat /app/version"));
}
