//! Where tests cut the power: at each step of a write, with what the disk may have lost then.

use std::cell::Cell;
use std::io;

thread_local! {
    /// Steps until the power is cut; `None` where it is not to be.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    static DEAD: Cell<bool> = const { Cell::new(false) };
}

/// Cuts the power of this thread's disk after so many steps, or gives it back.
pub(crate) fn cut_after(steps: Option<u32>) {
    LEFT.set(steps);
    DEAD.set(false);
}

pub(super) fn step(lose: impl FnOnce()) -> io::Result<()> {
    let cut = || io::Error::other("power cut");
    match LEFT.get() {
        _ if DEAD.get() => Err(cut()),
        Some(0) => {
            DEAD.set(true);
            lose();
            Err(cut())
        }
        left => {
            LEFT.set(left.map(|left| left - 1));
            Ok(())
        }
    }
}
