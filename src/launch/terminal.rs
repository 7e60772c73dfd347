//! Terminals: the caller's own, and the sizes of all.

use std::os::fd::{AsFd, AsRawFd};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// The terminal passes on every key as it is; as it was before when dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// `None` where standard input is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// In characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

/// The size of the terminal that is our input or output; `None` where there is none.
pub(crate) fn size() -> Option<Size> {
    [libc::STDIN_FILENO, libc::STDOUT_FILENO].into_iter().find_map(|descriptor| {
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the call writes `size`, which lives through it; what is no terminal is refused.
        let answer = unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, &raw mut size) };
        let known = answer == 0 && size.ws_row > 0;
        known.then_some(Size { rows: size.ws_row, columns: size.ws_col })
    })
}

/// Sets the size of a terminal; one that has gone needs none.
pub(crate) fn resize(terminal: impl AsFd, to: Size) {
    let size = libc::winsize { ws_row: to.rows, ws_col: to.columns, ws_xpixel: 0, ws_ypixel: 0 };
    let descriptor = terminal.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, and the call reads `size`, which lives through it.
    unsafe { libc::ioctl(descriptor, libc::TIOCSWINSZ, &raw const size) };
}
