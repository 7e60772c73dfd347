//! Tables that fit the terminal.

use super::{Terminal, Tone};

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub tone: Tone,
}

impl Cell {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Normal }
    }

    #[must_use]
    pub fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// A column: its heading, and how narrow it may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub heading: &'static str,
    /// `None` is never narrowed.
    pub least: Option<usize>,
    /// What is cut loses its beginning: the end of an image reference says more.
    pub keeps_end: bool,
}

impl Column {
    /// Always as wide as its widest cell.
    pub const fn fixed(heading: &'static str) -> Self {
        Self { heading, least: None, keeps_end: false }
    }

    /// Cut, with an ellipsis, where the terminal is too narrow; never below `least`.
    pub const fn flexible(heading: &'static str, least: usize) -> Self {
        Self { heading, least: Some(least), keeps_end: false }
    }

    /// As [`Column::flexible`], but the end stays.
    pub const fn flexible_start(heading: &'static str, least: usize) -> Self {
        Self { heading, least: Some(least), keeps_end: true }
    }
}

const GAP: usize = 2;

/// Lays out rows under headings; no trailing blanks. A row has one cell for each column.
pub fn render(columns: &[Column], rows: &[Vec<Cell>], terminal: Terminal) -> String {
    let widths = widths(columns, rows, terminal.width);
    let headings: Vec<Cell> =
        columns.iter().map(|column| Cell::new(column.heading).tone(Tone::Heading)).collect();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut blanks = 0;
        for ((cell, width), column) in row.iter().zip(&widths).zip(columns) {
            let shown = cut(&printable(&cell.text), *width, column.keeps_end);
            let length = shown.chars().count();
            if length > 0 {
                text.push_str(&" ".repeat(blanks));
                text.push_str(&cell.tone.paint(&shown, terminal));
                blanks = 0;
            }
            blanks += width - length + GAP;
        }
        text.push('\n');
    }
    text
}

/// Lays out rows of any number of cells, none cut; no trailing blanks.
pub fn align(rows: &[Vec<Cell>], terminal: Terminal) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let length = cell.text.chars().count();
            match widths.get_mut(at) {
                Some(width) => *width = length.max(*width),
                None => widths.push(length),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut blanks = 0;
        for (cell, width) in row.iter().zip(&widths) {
            let length = cell.text.chars().count();
            if length > 0 {
                text.push_str(&" ".repeat(blanks));
                text.push_str(&cell.tone.paint(&cell.text, terminal));
                blanks = 0;
            }
            blanks += width - length + GAP;
        }
        text.push('\n');
    }
    text
}

fn widths(columns: &[Column], rows: &[Vec<Cell>], limit: Option<usize>) -> Vec<usize> {
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| printable(&cell.text).chars().count()).max();
            widest.unwrap_or(0).max(column.heading.chars().count())
        })
        .collect();
    let Some(limit) = limit else { return widths };
    let gaps = GAP * columns.len().saturating_sub(1);
    // The widest flexible column gives way first, a character at a time: columns are few.
    while widths.iter().sum::<usize>() + gaps > limit {
        let room = |at: &usize| {
            let least = columns[*at].least.map(|least| least.max(columns[*at].heading.len()));
            least.is_some_and(|least| widths[*at] > least)
        };
        let Some(widest) = (0..widths.len()).filter(room).max_by_key(|at| widths[*at]) else {
            break;
        };
        widths[widest] -= 1;
    }
    widths
}

/// What comes from registries and labels must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str, width: usize, keeps_end: bool) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    if keeps_end {
        let kept = text.chars().skip(length + 1 - width.max(1));
        return std::iter::once('…').chain(kept).collect();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::fixed("UNIT"), Column::flexible_start("IMAGE", 10), Column::flexible("WHY", 8)];

    fn row(cells: [&str; 3]) -> Vec<Cell> {
        cells.map(Cell::new).to_vec()
    }

    fn at(width: usize) -> Terminal {
        Terminal { width: Some(width), colour: false }
    }

    #[test]
    fn cuts_what_may_be_cut() {
        let rows = [
            row(["app.service", "registry.example/team/app:1", "up to date"]),
            row(["b", "", "x"]),
        ];
        let wide = "\
UNIT         IMAGE                        WHY
app.service  registry.example/team/app:1  up to date
b                                         x
";
        assert_eq!(render(&COLUMNS, &rows, Terminal::plain()), wide);
        let narrow = "\
UNIT         IMAGE            WHY
app.service  …ple/team/app:1  up to date
b                             x
";
        assert_eq!(render(&COLUMNS, &rows, at(40)), narrow);
    }

    #[test]
    fn colour_does_not_count() {
        let terminal = Terminal { width: Some(80), colour: true };
        let rows = [vec![Cell::new("a").tone(Tone::Bad), Cell::new("b"), Cell::new("c")]];
        let text = render(&COLUMNS, &rows, terminal);
        assert!(text.ends_with("\x1b[31ma\x1b[0m     b      c\n"), "{text:?}");
    }

    #[test]
    fn control_characters_stay_out() {
        let rows = [row(["a\x1b[2J", "b\nc", ""])];
        assert!(render(&COLUMNS, &rows, at(80)).ends_with("\na [2J  b c\n"));
    }

    proptest! {
        #[test]
        fn fits_wherever_it_can(
            unit in "[a-z]{0,10}", image in "\\PC{0,60}", why in "\\PC{0,60}", width in 34usize..120,
        ) {
            let text = render(&COLUMNS, &[row([&unit, &image, &why])], at(width));
            for line in text.lines() {
                prop_assert!(line.chars().count() <= width, "{}", line);
            }
        }
    }
}
