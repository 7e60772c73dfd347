//! Where tests cut the power or have the disk fail: at each step of a write, with what the disk may
//! have lost then.

use std::cell::Cell;
use std::io;

thread_local! {
    /// Steps until the power is cut; `None` where it is not to be.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    static DEAD: Cell<bool> = const { Cell::new(false) };
    /// Whether the disk goes on afterwards.
    static ONCE: Cell<bool> = const { Cell::new(false) };
}

/// Cuts the power of this thread's disk after so many steps, or gives it back.
pub(crate) fn cut_after(steps: Option<u32>) {
    LEFT.set(steps);
    DEAD.set(false);
    ONCE.set(false);
}

/// Has the step fail that comes after so many, and none after it: a disk that was full.
pub(crate) fn fail_after(steps: u32) {
    cut_after(Some(steps));
    ONCE.set(true);
}

pub(super) fn step(lose: impl FnOnce()) -> io::Result<()> {
    let cut = || io::Error::other("power cut");
    match LEFT.get() {
        _ if DEAD.get() => Err(cut()),
        Some(0) => {
            DEAD.set(!ONCE.get());
            LEFT.set(None);
            lose();
            Err(cut())
        }
        left => {
            LEFT.set(left.map(|left| left - 1));
            Ok(())
        }
    }
}
