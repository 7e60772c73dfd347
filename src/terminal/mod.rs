//! What people read on a terminal: its width, colour, and tables that fit ([`table`]), bars ([`bar`]), templates of `--format` ([`template`]). For the
//! programs; the other rooms never print.

pub mod bar;
pub mod manual;
pub mod table;
pub mod template;

use std::io::IsTerminal;

/// How output is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// In columns; `None` where output is not for a person's terminal: nothing is cut then.
    pub width: Option<usize>,
    pub colour: bool,
}

/// The narrowest terminal that is taken seriously.
const NARROWEST: usize = 40;

impl Terminal {
    /// For standard output.
    pub fn of_stdout() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let width = terminal_size::terminal_size_of(std::io::stdout())
            .map(|(width, _)| usize::from(width.0).max(NARROWEST));
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { width: width.filter(|_| is_terminal), colour: is_terminal && !plain }
    }

    /// No terminal: no colour, no limit.
    pub fn plain() -> Self {
        Self { width: None, colour: false }
    }
}

/// How a word looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Normal,
    Heading,
    Good,
    Notice,
    Bad,
    Faint,
}

impl Tone {
    /// The SGR parameters (ECMA-48).
    fn code(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::Heading => "1",
            Self::Good => "32",
            Self::Notice => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }

    /// `text` in this tone, where `terminal` shows colour.
    pub fn paint(self, text: &str, terminal: Terminal) -> String {
        if terminal.colour && self != Self::Normal && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", self.code())
        } else {
            text.to_owned()
        }
    }
}
