//! What keeps a unit from an image that is there for it.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::podman::{self, PodmanUnit};
use crate::units::{ContainerUnit, begin, configure, invocation, version, wait_for_version};

cases![
    a_hold_holds_until_it_ends,
    a_hold_on_one_holds_podmans_tag,
    a_window_is_waited_for_and_kept,
    modes_and_the_cooldown_are_told,
];

const FAILED: i32 = 1;
const USAGE: i32 = 2;

fn a_hold_holds_until_it_ends(host: &Host) {
    let (registry, reference) = begin(host);
    ContainerUnit::new("app", &reference).start(host);
    let refused = host.fails(FAILED, "updaterctl hold app typo");
    assert!(refused.stderr.contains("no unit typo.service"), "{}", refused.describe());
    let past = host.fails(USAGE, "updaterctl hold app --until 2020-01-01");
    assert!(past.stderr.contains("is over"), "{}", past.describe());
    let said = host.sh("updaterctl hold app --until 2w --reason 'the fair'");
    assert!(said.contains("app.service: held until 20"), "{said}");
    let why = host.sh("updaterctl why app");
    assert!(why.contains("up to date") && why.contains("(the fair)"), "{why}");

    registry.push("app:latest", &Image::app("v2"));
    let before = invocation(host, "app");
    // Whoever asks, and whoever is killed.
    host.sh("updaterctl update");
    host.sh("systemctl start updaterd.service");
    host.sh("systemctl kill --signal=KILL updaterd.service");
    let named = host.sh("updaterctl update app");
    assert!(named.contains("waits, and is pulled: held until"), "{named}");
    assert_eq!((invocation(host, "app"), version(host, "app")), (before, "v1".to_owned()));
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v1", "a restart for another reason brings nothing");
    let why = host.sh("updaterctl why app");
    assert!(
        why.contains("(the fair)") && why.contains("\"updaterctl unhold app.service\""),
        "{why}"
    );
    assert_eq!(why.lines().count(), 1, "{why}");
    let status = host.json("updaterctl status --json");
    assert_eq!(status["units"][0]["standing"], "held", "{status}");
    assert_eq!(status["units"][0]["gates"][0]["reason"], "the fair", "{status}");
    assert!(host.sh("updaterctl status").contains("(the fair)"));

    assert!(host.sh("updaterctl unhold --all").contains("app.service: not held any more"));
    host.fails(FAILED, "updaterctl unhold app");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");

    // Over the bus, and by itself at its end.
    let bus = "busctl call org.updaterd.Updater1 /org/updaterd/Updater1 org.updaterd.Updater1";
    host.sh(&format!(
        "{bus} Hold asss 1 app.service \"$(date --utc +%FT%TZ --date='+4 seconds')\" ''"
    ));
    registry.push("app:latest", &Image::app("v3"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    host.wait_until("the hold is over", seconds(10), || {
        host.sh("updaterctl update app");
        version(host, "app") == "v3"
    });
}

fn a_hold_on_one_holds_podmans_tag(host: &Host) {
    podman::configure(host);
    let (registry, reference) = begin(host);
    for name in ["app", "sibling"] {
        PodmanUnit::new(name, &reference).start(host);
    }
    host.sh("updaterctl hold sibling --reason 'month end'");
    registry.push("app:latest", &Image::app("v2"));
    let said = host.sh("updaterctl update app");
    assert!(said.contains("waits for sibling.service") && said.contains("month end"), "{said}");
    host.sh("systemctl restart sibling.service");
    assert_eq!(podman::version(host, "sibling"), "v1", "the tag has not moved");
    host.sh("updaterctl unhold sibling");
    host.sh("updaterctl update");
    assert_eq!(podman::version(host, "sibling"), "v2");
}

/// The service makes a pass when the window opens, without being asked.
fn a_window_is_waited_for_and_kept(host: &Host) {
    let (registry, reference) = begin(host);
    ContainerUnit::new("app", &reference).start(host);
    registry.push("app:latest", &Image::app("v2"));
    let in_seconds = |seconds: u64| {
        host.sh(&format!("date --utc '+%F %T' --date='+{seconds} seconds'")).trim().to_owned()
    };
    let window = |opens: u64| format!("window = \"{} UTC for 1h\"", in_seconds(opens));
    configure(host, &format!("schedule = \"timer\"\nsettle = \"1s\"\n{}", window(3600)));
    let said = host.sh("updaterctl update");
    assert!(said.contains("waits, and is pulled: its window opens at"), "{said}");
    assert_eq!(version(host, "app"), "v1");
    let opens = in_seconds(6);
    configure(
        host,
        &format!(
            "interval = \"1d\"\njitter = \"0s\"\nsettle = \"1s\"\nwindow = \"{opens} UTC for 1h\""
        ),
    );
    host.sh("systemctl restart updaterd.service");
    host.wait_until("the first pass is over", seconds(10), || {
        host.sh("busctl get-property org.updaterd.Updater1 /org/updaterd/Updater1 \
                 org.updaterd.Updater1 LastCheck")
            .contains("20")
    });
    assert_eq!(version(host, "app"), "v1");
    wait_for_version(host, "app", "v2");
}

/// Has the service, which may run, work by these rules.
fn set(host: &Host, rules: &str) {
    configure(host, &format!("schedule = \"timer\"\nsettle = \"1s\"\n{rules}"));
    host.sh("systemctl restart updaterd.service");
}

fn modes_and_the_cooldown_are_told(host: &Host) {
    let (registry, reference) = begin(host);
    ContainerUnit::new("app", &reference).start(host);
    set(host, "cooldown = \"1h\"\nmode = \"approve\"");
    registry.push("app:latest", &Image::app("v2"));
    host.fails(FAILED, "updaterctl approve app");
    host.sh("updaterctl update");
    let why = host.sh("updaterctl why app");
    assert!(why.contains("nobody has approved it, too young until"), "{why}");
    let approved = host.sh("updaterctl approve app");
    assert!(approved.contains("app.service: ") && approved.contains(" approved."), "{approved}");
    let why = host.sh("updaterctl why app");
    assert!(!why.contains("approved") && why.contains("too young until"), "{why}");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v1");
    set(host, "mode = \"approve\"");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    set(host, "mode = \"manual\"");
    registry.push("app:latest", &Image::app("v3"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    host.sh("updaterctl update app");
    assert_eq!(version(host, "app"), "v3");
}
