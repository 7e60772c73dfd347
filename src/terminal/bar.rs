//! Bars for what takes long.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const STYLE: &str = "{prefix} [{bar:30}] {bytes:>10}/{total_bytes:<10} {bytes_per_sec}";

/// Draws another bar, for `total` bytes of what is called `name`.
pub fn add(all: &MultiProgress, name: String, total: u64) -> ProgressBar {
    let bar = all.add(ProgressBar::new(total));
    if let Ok(style) = ProgressStyle::with_template(STYLE) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name);
    bar
}
