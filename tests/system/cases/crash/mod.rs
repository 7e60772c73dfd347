//! The service killed before and after every effect of an update, forward and back, on both engines:
//! the next start brings the host to an end that tells the truth.

mod launcher;
mod meanwhile;
mod power;
pub(crate) mod soak;
mod story;

use std::collections::BTreeSet;
use std::time::Duration;

use launcher::the_launcher_killed_in_an_update;
use meanwhile::{
    images_are_pruned, systemd_executes_itself_anew, the_bus_goes_away, the_host_shuts_down,
    the_service_is_upgraded, the_unit_is_masked_or_removed,
};
use power::{a_power_cut_in_a_way_back, a_power_cut_in_an_update};
use story::{Engine, Plot, Story};

use crate::host::Host;

cases![
    every_point_is_in_a_story,
    native_update,
    native_way_back,
    podman_update,
    podman_way_back,
    podman_way_back_at_the_other_moments,
    a_unit_that_is_to_be_stopped,
    who_is_stopped_while_nobody_looks_stays_stopped,
    the_launcher_killed_in_an_update,
    a_power_cut_in_an_update,
    a_power_cut_in_a_way_back,
    systemd_executes_itself_anew,
    images_are_pruned,
    the_bus_goes_away,
    the_host_shuts_down,
    the_unit_is_masked_or_removed,
    the_service_is_upgraded,
];

/// Points that are passed within this time of each other are one moment: no effect is between them.
const ONE_MOMENT: Duration = Duration::from_millis(3);

/// A point that was passed, and when.
struct Passed {
    /// With the number of its passing: `before-bind#1`.
    point: String,
    at: Duration,
}

/// The points that an update passes which nobody interrupts.
fn passed(story: &Story) -> Vec<Passed> {
    let host = story.host;
    // With what was before there are images to be removed. A unit that is stopped is updated once.
    let before = if story.plot == Plot::Never { 0 } else { 2 };
    for _ in 0..before {
        let chapter = story.next();
        story.update("nothing");
        story.is_sound(&chapter, true, "before");
    }
    let chapter = story.next();
    let cursor =
        host.sh("journalctl --sync; journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'");
    story.update("list");
    story.is_sound(&chapter, true, "without an interruption");
    let told = host.sh(&format!(
        "journalctl --sync; journalctl --after-cursor='{cursor}' -u updaterd.service \
         --output=short-monotonic | sed -n 's/^\\[ *\\([0-9.]*\\)\\].*crash point \\([^ ]*\\)$/\\1 \\2/p'"
    ));
    let read = |line: &str| {
        let (at, point) = line.split_once(' ').unwrap();
        Passed { point: point.to_owned(), at: Duration::from_secs_f64(at.parse().unwrap()) }
    };
    told.lines().map(read).collect()
}

/// One point of each moment.
fn moments(passed: &[Passed]) -> Vec<&str> {
    // Where nothing stays that was pulled, there is something to be removed now and then.
    let passed = passed.iter().filter(|one| !one.point.ends_with("-clear#1") || is_update(passed));
    // No unit hears of a deletion, and `shelf.rs` has one die there.
    let passed = passed.filter(|one| !one.point.contains("-erase#"));
    let mut moments = Vec::new();
    let mut last: Option<&Passed> = None;
    for one in passed {
        let after = last.filter(|last| last.point.starts_with("after-"));
        let same = one.point.starts_with("before-")
            && after.is_some_and(|last| one.at - last.at < ONE_MOMENT);
        if !same {
            moments.push(one.point.as_str());
        }
        last = Some(one);
    }
    moments
}

/// Whether they are of an update that did not go back.
fn is_update(passed: &[Passed]) -> bool {
    !passed.iter().any(|one| one.point.starts_with("before-quarantine#"))
}

/// Tells the story once for each moment of it, and is killed there.
fn die_everywhere(story: &Story) {
    die_at(story, |_| true);
}

/// At the moments with these numbers.
fn die_at(story: &Story, numbers: impl Fn(usize) -> bool) {
    let passed = passed(story);
    let moments = moments(&passed).into_iter().enumerate();
    for (_, point) in moments.filter(|(number, _)| numbers(*number)) {
        println!("killed {point}");
        let chapter = story.next();
        story.die(point);
        let begun = story.is_in_flight();
        story.start_again();
        if story.is_sound(&chapter, begun, point) {
            story.is_told(&chapter);
        } else if story.engine == Engine::Native {
            // What comes next shows as much of Podman, in less time.
            story.goes_on(&chapter, point);
        }
    }
}

fn native_update(host: &Host) {
    die_everywhere(&Story::begin(host, Engine::Native, Plot::Update));
}

fn native_way_back(host: &Host) {
    die_everywhere(&Story::begin(host, Engine::Native, Plot::WayBack));
}

fn podman_update(host: &Host) {
    die_everywhere(&Story::begin(host, Engine::Podman, Plot::Update));
}

fn podman_way_back(host: &Host) {
    die_at(&Story::begin(host, Engine::Podman, Plot::WayBack), |number| number % 2 == 0);
}

fn podman_way_back_at_the_other_moments(host: &Host) {
    die_at(&Story::begin(host, Engine::Podman, Plot::WayBack), |number| number % 2 == 1);
}

fn a_unit_that_is_to_be_stopped(host: &Host) {
    // Once it is stopped, the story is over.
    for point in ["before-stop", "after-stop"] {
        let story = Story::begin(host, Engine::Native, Plot::Never);
        let chapter = story.next();
        story.die(point);
        story.start_again();
        assert!(story.is_sound(&chapter, true, point));
        story.is_told(&chapter);
        assert_ne!(host.property("app.service", "ActiveState"), "active", "{point}");
        story.close();
    }
}

/// Its unit is not enabled, so that systemd forgets it: who stopped it is in the journal.
fn who_is_stopped_while_nobody_looks_stays_stopped(host: &Host) {
    let story = Story::begin(host, Engine::Native, Plot::Update);
    for point in ["after-bind", "after-try-restart", "after-tag"] {
        let chapter = story.next();
        story.die(point);
        host.sh("systemctl stop app.service");
        assert_eq!(host.property("app.service", "ActiveEnterTimestampMonotonic"), "0", "forgotten");
        story.start_again();
        assert_eq!(host.property("app.service", "ActiveState"), "inactive", "{point}");
        let expected = if point == "after-tag" { "updated" } else { "stopped" };
        assert_eq!(story.ends(&chapter), [expected], "{point}");
        host.sh("systemctl start app.service web.service");
        story.remember();
    }
}

/// What only units do that end by themselves: `cases/next_run.rs` has their stories.
const OF_JOBS: [&str; 2] = ["save-probation", "end-probation"];

/// Whatever an update does, one of the stories does: an effect that is new needs one, too.
fn every_point_is_in_a_story(host: &Host) {
    let of_jobs = |point: &String| OF_JOBS.iter().any(|effect| point.ends_with(effect));
    let points = updaterd::crash::points().filter(|point| !of_jobs(point));
    let mut missing: BTreeSet<String> = points.collect();
    for plot in [Plot::Update, Plot::WayBack, Plot::Never] {
        let story = Story::begin(host, Engine::Native, plot);
        for passed in passed(&story) {
            let (point, _) = passed.point.split_once('#').unwrap();
            missing.remove(point);
        }
        story.close();
    }
    assert!(missing.is_empty(), "in no story: {missing:?}");
}
