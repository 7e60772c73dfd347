//! What a person sees while an update is under way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::daemon::journal;
use crate::model::Digest;
use crate::update::Event;
use crate::update::port::{Observer, Pulling};

const BAR: &str = "{prefix} [{bar:30}] {bytes:>10}/{total_bytes:<10} {bytes_per_sec}";

/// Each event as a line on standard error, in the words of the journal; below them a bar for each
/// pull that is under way.
#[derive(Debug, Default)]
pub struct Progress {
    bars: MultiProgress,
    pulls: RefCell<BTreeMap<Digest, ProgressBar>>,
}

impl Progress {
    fn begin(&self, pulling: &Pulling) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(pulling.total));
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(pulling.reference.to_string());
        bar
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event) {
        // A terminal that is gone is no reason to leave a rollout half done.
        self.bars.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{}", journal::line(event));
        });
    }

    fn pulling(&self, pulling: &Pulling) {
        let mut pulls = self.pulls.borrow_mut();
        let bar = pulls.entry(pulling.new.clone()).or_insert_with(|| self.begin(pulling));
        // It may have been begun anew after a failure, and fewer layers are missing then.
        bar.set_length(pulling.total);
        bar.set_position(pulling.received);
        if pulling.received >= pulling.total {
            bar.finish_and_clear();
            pulls.remove(&pulling.new);
        }
    }
}
