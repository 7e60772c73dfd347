//! What a person sees while an update is under way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;

use indicatif::{MultiProgress, ProgressBar};

use crate::daemon::journal;
use crate::model::Digest;
use crate::terminal::bar;
use crate::update::Event;
use crate::update::port::{Observer, Pulling};

/// Each event as a line on standard error, in the words of the journal; below them a bar for each
/// pull that is under way.
#[derive(Debug, Default)]
pub struct Progress {
    bars: MultiProgress,
    pulls: RefCell<BTreeMap<Digest, ProgressBar>>,
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
        let bar = pulls
            .entry(pulling.new.clone())
            .or_insert_with(|| bar::add(&self.bars, pulling.reference.to_string(), pulling.total));
        // It may have been begun anew after a failure, and fewer layers are missing then.
        bar.set_length(pulling.total);
        bar.set_position(pulling.received);
        if pulling.received >= pulling.total {
            bar.finish_and_clear();
            pulls.remove(&pulling.new);
        }
    }
}
