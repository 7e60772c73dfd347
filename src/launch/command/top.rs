//! `updater-launch top`

use clap::Args;

use crate::launch::lifecycle::containers;
use crate::launch::measure::processes::{self, DESCRIPTORS, USUAL, heading};
use crate::launch::place::Place;
use crate::launch::{Error, print};
use crate::store::containers::Process;
use crate::terminal::table::{Cell, align};
use crate::terminal::{Terminal, Tone};

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Name or ID of the container, and what to show: args, comm, etime, gid, group, hpid, huser, nice,
    /// pcpu, pgid, pid, ppid, rss, state, time, tty, uid, user, vsz, apart or with commas between
    #[arg(required_unless_present = "latest", value_name = "CONTAINER] [DESCRIPTOR")]
    words: Vec<String>,
}

pub(crate) fn top(place: &Place, flags: &Top) -> Result<u8, Error> {
    let (record, asked) = match (flags.latest, flags.words.split_first()) {
        (false, Some((name, rest))) => (containers::find(place, name)?, rest),
        _ => (containers::find(place, containers::latest(place)?.as_str())?, &*flags.words),
    };
    let Some(init) = record.pid.filter(Process::is_alive) else {
        return Err(Error::NotRunning(record.name));
    };
    let asked: Vec<String> =
        asked.iter().flat_map(|word| word.split(',')).map(str::to_lowercase).collect();
    let descriptors: Vec<&str> =
        if asked.is_empty() { USUAL.into() } else { asked.iter().map(String::as_str).collect() };
    if let Some(unknown) =
        descriptors.iter().find(|name| !DESCRIPTORS.split(", ").any(|known| known == **name))
    {
        return Err(Error::Descriptor((*unknown).to_owned()));
    }
    let (processes, around) = processes::of(init.pid);
    let heading = descriptors.iter().map(|name| Cell::new(heading(name)).tone(Tone::Heading));
    let mut rows: Vec<Vec<Cell>> = vec![heading.collect()];
    for process in &processes {
        let show = |name: &&str| process.show(name, &around).unwrap_or_default();
        // What a process calls itself must not steer the terminal.
        let clean = |text: String| text.replace(|letter: char| letter.is_control(), " ");
        rows.push(descriptors.iter().map(|name| Cell::new(clean(show(name)))).collect());
    }
    print(align(&rows, Terminal::of_stdout()))?;
    Ok(0)
}
