//! What passes between a container and the service manager: sd_notify(3), the file descriptor store,
//! the watchdog, socket activation.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::agent;
use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::ContainerUnit;

cases![
    the_program_speaks_for_its_unit,
    a_barrier_waits_for_the_manager,
    descriptors_are_kept_between_runs,
    a_watchdog_bites_what_hangs,
    a_watchdog_that_nobody_can_feed_is_told_of,
    a_slow_pull_extends_the_start,
    a_socket_unit_starts_a_container,
    a_socket_unit_starts_a_container_behind_an_init,
    a_descriptor_that_the_program_closes_is_closed,
];

/// Who may speak for these units is their main process, which is the launcher; the host's
/// `systemd-notify` is in the container.
fn unit(name: &str, image: &str) -> ContainerUnit {
    ContainerUnit::new(name, image).notified_by_program().setting("NotifyAccess=main")
}

/// An image that runs `script`, pulled.
fn image(host: &Host, script: &str) -> String {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::script("v1", script));
    let reference = registry.reference("app:latest");
    host.sh(&format!("updater-launch pull {reference}"));
    reference
}

fn the_program_speaks_for_its_unit(host: &Host) {
    // Longer than its start may take; then a reload, and a stop of its own.
    let app = image(
        host,
        "say() { /usr/bin/systemd-notify \"$@\"; }
         until_there() { until [ -e $1 ]; do sleep 0.05; done; }
         trap 'say RELOADING=1; until_there /tmp/reloaded; say READY=1' HUP
         trap 'say STOPPING=1; until_there /tmp/stop; exit 0' USR1
         say EXTEND_TIMEOUT_USEC=20000000; sleep 3
         say READY=1 'STATUS=up and well' ERRNO=7 MAINPID=1 NOTIFYACCESS=all
         while :; do sleep 1000 & wait $!; done",
    );
    unit("app", &app).setting("TimeoutStartSec=2").start(host);
    assert_eq!(host.property("app.service", "StatusText"), "up and well");
    assert_eq!(host.property("app.service", "StatusErrno"), "7");
    assert_eq!(host.property("app.service", "NotifyAccess"), "main");
    let record = &host.json("updater-launch inspect app")[0];
    assert_eq!(host.property("app.service", "MainPID"), record["State"]["ConmonPid"].to_string());
    let state = |wanted: &str| {
        host.wait_until(wanted, seconds(10), || {
            host.property("app.service", "ActiveState") == wanted
        });
    };
    host.sh("systemctl kill --kill-whom=main --signal=HUP app.service");
    state("reloading");
    host.sh("updater-launch exec app touch /tmp/reloaded");
    state("active");
    host.sh("systemctl kill --kill-whom=main --signal=USR1 app.service");
    state("deactivating");
    host.sh("updater-launch exec app touch /tmp/stop");
    state("inactive");
    assert_eq!(host.property("app.service", "Result"), "success");
}

/// The next datagram, and the descriptors in it.
fn hear(manager: &UnixDatagram) -> (String, Vec<OwnedFd>) {
    let mut bytes = [0u8; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(manager, parts, &mut control, RecvFlags::empty()).unwrap();
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let descriptors = rights.flatten().collect();
    (String::from_utf8_lossy(&bytes[..received.bytes]).into_owned(), descriptors)
}

fn a_barrier_waits_for_the_manager(host: &Host) {
    let app = image(host, "/usr/bin/systemd-notify --ready; touch /out/passed; sleep 1000");
    host.sh("mkdir /srv/out");
    let manager = UnixDatagram::bind("/run/manager").unwrap();
    manager.set_read_timeout(Some(seconds(20))).unwrap();
    host.sh(&format!(
        "NOTIFY_SOCKET=/run/manager updater-launch run -d --rm --name app --network host \
         --stop-timeout 0 --sdnotify container -v /usr:/usr:ro -v /srv/out:/out {app}"
    ));
    assert!(hear(&manager).0.starts_with("MAINPID="));
    assert_eq!(hear(&manager).0, "READY=1");
    let (text, barrier) = hear(&manager);
    assert_eq!((&*text, barrier.len()), ("BARRIER=1", 1));
    // The program waits as long as the manager has not got so far.
    host.sh("sleep 0.3; [ ! -e /srv/out/passed ]");
    drop(barrier);
    host.wait_for("[ -e /srv/out/passed ]", seconds(10));
    host.sh("updater-launch stop app");
}

fn descriptors_are_kept_between_runs(host: &Host) {
    let app = image(host, "exit 1");
    unit("app", &app)
        .flag(&format!("{} --stop-timeout 0", agent::flags()).replace("--volume /usr:/usr:ro", ""))
        .setting("FileDescriptorStoreMax=4")
        .command("/agent --agent keeper")
        .start(host);
    assert_eq!(host.property("app.service", "NFileDescriptorStore"), "1");
    host.sh("systemctl restart app.service");
    let log = host.journal("--unit=app.service");
    assert!(log.contains("found \"from the last run\" in 3 of 1"), "{log}");
    host.wait_until("what was removed is gone", seconds(10), || {
        host.property("app.service", "NFileDescriptorStore") == "0"
    });
}

fn a_watchdog_bites_what_hangs(host: &Host) {
    let app = image(
        host,
        "/usr/bin/systemd-notify --ready \"STATUS=$WATCHDOG_USEC,$WATCHDOG_PID\"
         until [ -e /tmp/hang ]; do /usr/bin/systemd-notify WATCHDOG=1; sleep 0.3; done
         sleep 1000",
    );
    unit("app", &app).setting("WatchdogSec=2").start(host);
    assert_eq!(host.property("app.service", "StatusText"), "2000000,");
    // Longer than it would live unfed.
    std::thread::sleep(seconds(3));
    assert_eq!(host.property("app.service", "ActiveState"), "active");
    assert_eq!(host.property("app.service", "NRestarts"), "0");
    host.sh("updater-launch exec app touch /tmp/hang");
    host.wait_until("the watchdog bites", seconds(20), || {
        host.property("app.service", "Result") == "watchdog"
    });
    // And nothing is in the way of the next start.
    host.sh("systemctl start app.service");
}

fn a_watchdog_that_nobody_can_feed_is_told_of(host: &Host) {
    let app = image(host, "env | grep WATCHDOG; sleep 1000");
    ContainerUnit::new("app", &app).setting("WatchdogSec=1").flag("--stop-timeout 0").start(host);
    let told = "WatchdogSec=1s, and with --sdnotify=conmon the container has no way";
    host.wait_until("the watchdog bites", seconds(20), || {
        host.property("app.service", "Result") == "watchdog"
    });
    let log = host.journal("--unit=app.service");
    assert!(log.contains(told) && !log.contains("WATCHDOG_USEC"), "{log}");
}

fn a_slow_pull_extends_the_start(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    // In front of the registry stands somebody who takes 4 s before the first word.
    host.sh("systemd-run --quiet --collect --unit=slow /usr/bin/perl -MIO::Socket::INET -e '
        my $l = IO::Socket::INET->new(LocalAddr => \"127.0.0.1:5001\", Listen => 9, ReuseAddr => 1) or die;
        my $first = 1;
        while (my $c = $l->accept) {
            if ($first) { sleep 4; $first = 0 }
            next if fork;
            my $r = IO::Socket::INET->new(\"127.0.0.1:5000\") or die;
            if (fork) { while (sysread $c, my $b, 65536) { syswrite $r, $b } shutdown $r, 1 }
            else { while (sysread $r, my $b, 65536) { syswrite $c, $b } shutdown $c, 1 }
            exit;
        }'");
    host.wait_for("exec 3<> /dev/tcp/127.0.0.1/5001", seconds(20));
    host.write(
        "/etc/containers/registries.conf.d/slow.conf",
        "[[registry]]\nlocation = \"localhost:5001\"\ninsecure = true\n",
    );
    ContainerUnit::new("app", "localhost:5001/app:latest")
        .setting("NotifyAccess=main")
        .setting("TimeoutStartSec=2")
        .start(host);
    assert_eq!(host.property("app.service", "ActiveState"), "active");
}

/// Answers each connection on the socket that it was started with.
const SERVER: &str = "/usr/bin/perl -e '
    open(my $l, \"+<&=3\") or die \"no socket: $!\";
    print STDERR \"serving as $$ with $ENV{LISTEN_PID} $ENV{LISTEN_FDS} $ENV{LISTEN_FDNAMES}\\n\";
    while (accept(my $c, $l)) { syswrite $c, \"hello from inside\\n\"; close $c }'";

fn a_socket_unit_starts_a_container(host: &Host) {
    assert_eq!(serve(host, ""), "1");
}

/// The init gives what it was given to the program that it starts.
fn a_socket_unit_starts_a_container_behind_an_init(host: &Host) {
    assert_ne!(serve(host, "--init"), "1");
}

/// The server's process ID in its container, which is the one that it was given.
fn serve(host: &Host, flags: &str) -> String {
    let app = image(host, &format!("exec {SERVER}"));
    host.write(
        "/etc/systemd/system/app.socket",
        "[Socket]\nListenStream=127.0.0.1:8099\nFileDescriptorName=web\n",
    );
    ContainerUnit::new("app", &app)
        .flag(&format!("--volume /usr:/usr:ro --stop-timeout 0 {flags}"))
        .setting("NotifyAccess=main")
        .write(host);
    host.sh("systemctl start app.socket");
    assert_eq!(host.property("app.service", "ActiveState"), "inactive");
    let get = "exec 3<> /dev/tcp/127.0.0.1/8099; head -n 1 <&3";
    assert_eq!(host.sh(get), "hello from inside");
    host.wait_for("systemctl is-active app.service", seconds(5));
    assert_eq!(host.sh(get), "hello from inside");
    let log = host.journal("--unit=app.service");
    let line = log.lines().find(|line| line.contains("serving as ")).unwrap_or(&log);
    let mut words = line.split_whitespace().skip(2).step_by(2);
    let (own, given) = (words.next().unwrap(), words.next().unwrap());
    assert!(own == given && line.ends_with("1 web"), "{line}");
    // The socket is the unit's own: a restart loses no connection.
    host.sh("systemctl restart app.service");
    assert_eq!(host.sh(get), "hello from inside");
    // So it is for a restart by the launcher, which keeps it.
    host.sh("updater-launch restart --time 0 app");
    assert_eq!(host.sh(get), "hello from inside");
    own.to_owned()
}

fn a_descriptor_that_the_program_closes_is_closed(host: &Host) {
    let app = image(host, "echo once >&3; exec 3>&-; sleep 1000");
    let run =
        format!("updater-launch run -d --rm --name app --network host --stop-timeout 0 {app}");
    let call = format!("LISTEN_FDS=1 LISTEN_PID=$BASHPID exec {run}");
    // To the end of file, which comes while the program still runs.
    let told =
        format!("mkfifo /tmp/pipe; ({call}) 3> /tmp/pipe > /dev/null & timeout 10 cat /tmp/pipe");
    assert_eq!(host.sh(&told), "once");
    assert_eq!(host.sh("updater-launch ps --quiet").lines().count(), 1);
    host.sh("updater-launch stop app");
    // More than were passed are not believed: behind them come the launcher's own.
    let look = "sh -c 'env | grep LISTEN || true; ls /proc/self/fd | wc -l'";
    let lies = format!(
        "(LISTEN_FDS=9 LISTEN_PID=$BASHPID exec updater-launch run --rm --network host {app} {look}) 3< /dev/null"
    );
    assert_eq!(host.sh(&lies), "4");
}
