//! Updates of units that are more than a service with a name: instances of a template, and services behind
//! a socket.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure_quiet, invocation, version};

cases![instances_of_a_template, a_service_behind_a_socket];

/// Exit code of `updaterctl update`, as its manual has it.
const ROLLED_BACK: i32 = 4;

fn instances_of_a_template(host: &Host) {
    configure_quiet(host);
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    host.write(
        "/etc/systemd/system/app@.service",
        &format!(
            "[Service]\nType=notify\nNotifyAccess=all\nDelegate=yes\nKillMode=mixed\n\
             ExecStart=/usr/bin/updater-launch run --rm --replace --name app-%i --sdnotify=conmon \
             --network host --label io.containers.autoupdate=registry {}\n",
            registry.reference("app:latest")
        ),
    );
    host.sh("systemctl daemon-reload; systemctl start app@1.service app@two.service");
    let versions = || ["app-1", "app-two"].map(|name| version(host, name));
    assert_eq!(versions(), ["v1", "v1"]);
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update app@two.service");
    assert_eq!(versions(), ["v1", "v2"]);
    let had_it = invocation(host, "app@two");
    host.sh("updaterctl update");
    assert_eq!(versions(), ["v2", "v2"]);
    assert_eq!(invocation(host, "app@two"), had_it);
    registry.push("app:latest", &Image::crashing("v3"));
    host.fails(ROLLED_BACK, "updaterctl update");
    assert_eq!(versions(), ["v2", "v2"]);
}

/// Answers each connection on the socket that it was started with.
fn server(version: &str) -> Image {
    let perl = format!(
        "exec /usr/bin/perl -e 'open(my $l, \"+<&=3\") or die $!;
         while (accept(my $c, $l)) {{ syswrite $c, \"{version}\\n\"; close $c }}'"
    );
    Image::script(version, &perl)
}

/// No connection is lost, forward or back, and the socket stays what it was. One that is idle has no
/// container, and is not started.
fn a_service_behind_a_socket(host: &Host) {
    configure_quiet(host);
    let registry = Registry::start(host);
    registry.push("app:latest", &server("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .flag("--volume /usr:/usr:ro --stop-timeout 0")
        .write(host);
    host.write("/etc/systemd/system/app.socket", "[Socket]\nListenStream=127.0.0.1:8099\n");
    host.sh("systemctl daemon-reload; systemctl start app.socket");
    let get = || host.sh("exec 3<> /dev/tcp/127.0.0.1/8099; head -n 1 <&3");
    let socket = || host.property("app.socket", "ActiveEnterTimestampMonotonic");
    let since = socket();
    assert_eq!(get(), "v1");
    registry.push("app:latest", &server("v2"));
    host.sh("updaterctl update");
    assert_eq!((get(), socket()), ("v2".to_owned(), since.clone()));
    registry.push("app:latest", &Image::crashing("v3"));
    host.fails(ROLLED_BACK, "updaterctl update");
    assert_eq!((get(), socket()), ("v2".to_owned(), since));

    host.sh("systemctl stop app.service");
    registry.push("app:latest", &server("v4"));
    host.sh("updaterctl update");
    assert_eq!(
        host.property("app.service", "SubState"),
        "failed",
        "SIGTERM kills a perl: it is down"
    );
    host.wait_until("it is idle, and answers", seconds(20), || get() == "v2");
    host.sh("updaterctl update");
    assert_eq!(get(), "v4");
}
