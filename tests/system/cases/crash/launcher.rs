//! The launcher killed at points of an update, while the service stands still there: as the kernel may
//! kill it, or anybody. systemd starts its unit again.

use super::story::{Chapter, Engine, Plot, Story};
use super::{moments, passed};
use crate::host::{Host, seconds};
use crate::units::invocation;

/// Points between which nothing is done that has to do with a unit.
const ELSEWHERE: &[&str] = &[
    "mend",
    "release-quarantine",
    "save-memory",
    "stage",
    "commit-pull",
    "keep",
    "clear",
    "erase",
    "spool",
];

/// The update stands still at `point`, where the launcher is killed, and goes on when the unit is up
/// again.
fn kill_launcher_at(story: &Story, point: &str) {
    let host = story.host;
    story.stand_still(point);
    let before = invocation(host, "app");
    host.sh("kill -KILL $(systemctl show --value -p MainPID app.service)");
    host.wait_until(&format!("{point}: app is up again"), seconds(20), || {
        host.property("app.service", "ActiveState") == "active" && invocation(host, "app") != before
    });
    // Who stops with it is nobody's to start where that was before the update.
    host.sh("systemctl start web.service");
    story.go_on();
}

/// The unit runs, on what the tag names. A crash while it settles counts against the new image, for
/// whoever kills a launcher leaves no name.
fn ends_truly(story: &Story, chapter: &Chapter, point: &str) {
    let end = match story.ends(chapter).as_slice() {
        [end] => end.clone(),
        ends => panic!("{point}: {ends:?}"),
    };
    match end.as_str() {
        "updated" => assert_eq!(story.version(), chapter.version, "{point}"),
        "rolled-back" => assert_eq!(story.version(), chapter.before, "{point}"),
        other => panic!("{point}: {other}"),
    }
    assert_eq!(story.is_quarantined(chapter), end == "rolled-back", "{point}");
    let (tagged, bindings) = story.tag();
    assert_eq!((tagged == chapter.digest, bindings.as_str()), (end == "updated", ""), "{point}");
    for unit in ["app.service", "web.service"] {
        assert_eq!(story.host.property(unit, "ActiveState"), "active", "{point}: {unit}");
    }
}

pub(super) fn the_launcher_killed_in_an_update(host: &Host) {
    let story =
        Story::begin_with(host, Engine::Native, Plot::Update, "Restart=always\nRestartSec=100ms");
    let passed = passed(&story);
    let near = |point: &&str| !ELSEWHERE.iter().any(|other| point.contains(other));
    for point in moments(&passed).into_iter().filter(near) {
        println!("the launcher killed {point}");
        let chapter = story.next();
        kill_launcher_at(&story, point);
        ends_truly(&story, &chapter, point);
        story.remember();
    }
}
