//! `make soak`: the service killed at moments that chance picks, many times, and now and then in the
//! recovery as well.

use std::time::{Duration, Instant};

use super::story::{Engine, Plot, Story};
use crate::host::Host;

/// What is told again and again.
const STORIES: [(&str, Engine, Plot); 4] = [
    ("native_update", Engine::Native, Plot::Update),
    ("native_way_back", Engine::Native, Plot::WayBack),
    ("podman_update", Engine::Podman, Plot::Update),
    ("podman_way_back", Engine::Podman, Plot::WayBack),
];

/// The names of its parts, each for a box of its own: `soak::STORY,KILLS,SEED`. The same seed gives the
/// same moments.
pub(crate) fn parts(kills: u32, seed: u64) -> Vec<String> {
    // Half as many in Podman's, which take twice as long.
    let shares = [kills.div_ceil(3), kills.div_ceil(3), kills.div_ceil(6), kills.div_ceil(6)];
    let parts = STORIES.iter().zip(shares);
    parts.map(|((story, ..), kills)| format!("soak::{story},{kills},{seed}")).collect()
}

/// Plays a part; `None` where `name` is none.
pub(crate) fn play(host: &Host, name: &str) -> Option<()> {
    let mut words = name.strip_prefix("soak::")?.split(',');
    let story = words.next()?;
    let (_, engine, plot) = STORIES.into_iter().find(|(name, ..)| *name == story)?;
    let (kills, seed) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    soak(host, engine, plot, kills, fastrand::Rng::with_seed(seed));
    Some(())
}

fn soak(host: &Host, engine: Engine, plot: Plot, kills: u32, mut random: fastrand::Rng) {
    let story = Story::begin(host, engine, plot);
    let first = story.next();
    let started = Instant::now();
    story.update("nothing");
    let longest = started.elapsed();
    story.is_sound(&first, true, "without an interruption");
    let mut moment = || longest.mul_f64(random.f64());
    for kill in 1..=kills {
        let at = moment();
        // Every third recovery is killed, too.
        let again = (kill % 3 == 0).then(&mut moment);
        let told = format!("kill {kill} after {at:.0?}, again after {again:.0?}");
        println!("{told}");
        let chapter = story.next();
        story.die_after(at);
        let mut begun = story.is_in_flight();
        if let Some(at) = again {
            story.die_in_recovery(at);
            begun |= story.is_in_flight();
        }
        story.start_again();
        if !story.is_sound(&chapter, begun, &told) {
            story.goes_on(&chapter, &told);
        }
    }
}

/// The longest that a part may take.
pub(crate) fn time_limit(name: &str) -> Option<Duration> {
    let kills: u64 = name.strip_prefix("soak::")?.split(',').nth(1)?.parse().ok()?;
    Some(Duration::from_secs(120 + 12 * kills))
}
