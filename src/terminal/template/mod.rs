//! What `--format` takes: `json`, or a template in the language of Go's `text/template` as far as
//! `podman ps --format` and its like use it, over JSON values.
//!
//! Pure. Neither a template nor the values in it are trusted: nothing here panics, and output has
//! an end.
//!
//! ```text
//! {{.Field}} {{.A.B}} {{$x := .A}} {{json .}} {{.Names | join ","}}
//! {{if eq .State "running"}}…{{else}}…{{end}} {{range $i, $e := .Mounts}}…{{end}} {{with .A}}…{{end}}
//! ```

mod evaluate;
mod function;
mod lex;
mod parse;
mod printf;

use std::str::FromStr;

use serde_json::Value;

use super::table::{Cell, align};
use super::{Terminal, Tone};

/// The longest output of one template, in bytes.
const MAX_OUTPUT: usize = 64 << 20;
/// How deep blocks and parentheses may lie in each other.
const MAX_DEPTH: usize = 50;

/// A template that cannot be read, or not be filled in with what there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--format, at character {place}: {problem}")]
pub struct InvalidTemplate {
    /// Counted from 1, in the template as it was given.
    pub place: usize,
    pub problem: Problem,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("\"{{{{\" without \"}}}}\"")]
    NotClosed,
    #[error("a text in quotes has no end")]
    NoEndQuote,
    #[error("\"{0}\" was not expected here")]
    Unexpected(String),
    #[error("something is missing before \"}}}}\"")]
    Missing,
    #[error("\"{0}\" has no \"{{{{end}}}}\"")]
    NoEnd(&'static str),
    #[error("\"{0}\" stands outside of what it belongs to")]
    Stray(&'static str),
    #[error("nested too deep")]
    TooDeep,
    #[error("the output has no end")]
    TooLong,
    #[error("there is no function \"{0}\"")]
    NoFunction(String),
    #[error("there is no variable \"{0}\"")]
    NoVariable(String),
    #[error("there is no field \"{name}\"; there are {known}")]
    NoField { name: String, known: String },
    #[error("\"{0}\" is asked of something that has no fields")]
    NoFields(String),
    #[error("\"{0}\" takes no arguments")]
    NoArguments(String),
    #[error("{function} takes {takes}")]
    Arguments { function: &'static str, takes: &'static str },
    #[error("range goes through lists and maps only")]
    Range,
}

impl Problem {
    fn at(self, place: usize) -> InvalidTemplate {
        InvalidTemplate { place: place + 1, problem: self }
    }
}

/// A template, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<parse::Node>,
    source: String,
}

impl Template {
    /// # Errors
    /// Names the first place that cannot be understood.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        Ok(Self { nodes: parse::parse(text)?, source: text.to_owned() })
    }

    /// Fills it in. A field that `data` has not is an error, but in a map: there it is nothing. A map
    /// is an object without a key that begins in upper case.
    pub fn fill(&self, data: &Value) -> Result<String, InvalidTemplate> {
        evaluate::evaluate(&self.nodes, data)
    }
}

/// What `--format` asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Format {
    /// The command's own table.
    #[default]
    Table,
    Json,
    /// A line for each row.
    Lines(Template),
    /// A table of the user's own columns.
    Columns(Template),
}

impl FromStr for Format {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A command's own table.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// Columns, a tab between two.
    pub template: &'a str,
    /// Headings of fields; of all others it is their name: `ExitCode` is `EXIT CODE`.
    pub headings: &'a [(&'a str, &'a str)],
    /// Whether tables have headings at all.
    pub heading: bool,
}

impl Format {
    /// Reads `table`, `table TEMPLATE`, `json`, or a template; `\t` and `\n` stand for a tab and a
    /// line's end, since a shell hands them on as they are.
    ///
    /// # Errors
    /// Names the first place that cannot be understood.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let read = |text: &str| Template::parse(&text.replace("\\t", "\t").replace("\\n", "\n"));
        match text.trim() {
            "" | "table" => Ok(Self::Table),
            "json" | "{{json .}}" | "{{ json . }}" => Ok(Self::Json),
            words => {
                match words.strip_prefix("table").filter(|rest| rest.starts_with([' ', '\t', '\\']))
                {
                    Some(columns) => read(columns.trim_start()).map(Self::Columns),
                    None => read(text).map(Self::Lines),
                }
            }
        }
    }

    /// Whether JSON was asked for.
    pub fn is_json(&self) -> bool {
        *self == Self::Json
    }

    /// Whether a template mentions `word`, such as `.Size`: for what costs time to find out.
    pub fn mentions(&self, word: &str) -> bool {
        match self {
            Self::Lines(template) | Self::Columns(template) => template.source.contains(word),
            Self::Table | Self::Json => false,
        }
    }

    /// The whole output for `rows`, each line ended. JSON is the rows as they are, in a list.
    ///
    /// # Errors
    /// Where a template asks for what a row has not.
    pub fn render(
        &self,
        layout: Layout<'_>,
        rows: &[Value],
        terminal: Terminal,
    ) -> Result<String, InvalidTemplate> {
        match self {
            Self::Json => Ok(format!("{:#}\n", Value::from(rows))),
            Self::Lines(template) => {
                let mut text = String::new();
                for row in rows {
                    text.push_str(&template.fill(&printable(row, terminal, false))?);
                    text.push('\n');
                }
                Ok(text)
            }
            Self::Table => table(&Template::parse(layout.template)?, layout, rows, terminal),
            Self::Columns(template) => table(template, layout, rows, terminal),
        }
    }

    /// As [`Format::render`], for a command that has no table of its own: JSON without a template.
    ///
    /// # Errors
    /// Where a template asks for what a row has not.
    pub fn render_documents(
        &self,
        rows: &[Value],
        terminal: Terminal,
    ) -> Result<String, InvalidTemplate> {
        let layout = Layout { template: "", headings: &[], heading: false };
        match self {
            Self::Table => Self::Json.render(layout, rows, terminal),
            Self::Json | Self::Lines(_) | Self::Columns(_) => self.render(layout, rows, terminal),
        }
    }
}

fn table(
    template: &Template,
    layout: Layout<'_>,
    rows: &[Value],
    terminal: Terminal,
) -> Result<String, InvalidTemplate> {
    let mut lines = Vec::new();
    if layout.heading {
        let headings = headings(template, layout.headings);
        lines.extend(cells(&template.fill(&headings).unwrap_or_default(), Tone::Heading));
    }
    for row in rows {
        lines.extend(cells(&template.fill(&printable(row, terminal, true))?, Tone::Normal));
    }
    Ok(align(&lines, terminal))
}

fn cells(text: &str, tone: Tone) -> Vec<Vec<Cell>> {
    let row = |line: &str| line.split('\t').map(|cell| Cell::new(cell).tone(tone)).collect();
    text.lines().map(row).collect()
}

/// An object with a heading for each field that the template names, so that it fills in its own
/// headings, as in Podman.
fn headings(template: &Template, known: &[(&str, &str)]) -> Value {
    let mut object = serde_json::Map::new();
    for path in parse::fields(&template.nodes) {
        let Some((last, above)) = path.split_last() else { continue };
        let heading = known.iter().find(|(field, _)| field == last).map(|(_, heading)| *heading);
        let heading = heading.map_or_else(|| spell(last), str::to_owned);
        insert(&mut object, above, last, heading);
    }
    Value::Object(object)
}

fn insert(
    object: &mut serde_json::Map<String, Value>,
    above: &[String],
    last: &str,
    heading: String,
) {
    match above.split_first() {
        None => {
            object.entry(last).or_insert(Value::String(heading));
        }
        Some((first, rest)) => {
            let below = object.entry(first).or_insert(Value::Null);
            if !below.is_object() {
                *below = Value::Object(serde_json::Map::new());
            }
            if let Value::Object(below) = below {
                insert(below, rest, last, heading);
            }
        }
    }
}

/// `ExitCode` as `EXIT CODE`.
fn spell(field: &str) -> String {
    let mut words = String::new();
    let mut before_is_lower = false;
    for letter in field.chars() {
        if letter.is_uppercase() && before_is_lower {
            words.push(' ');
        }
        before_is_lower = letter.is_lowercase();
        words.extend(letter.to_uppercase());
    }
    words
}

/// What comes from images and labels must steer neither the terminal nor a table.
fn printable(value: &Value, terminal: Terminal, table: bool) -> Value {
    if !table && terminal.width.is_none() {
        return value.clone();
    }
    let keeps = |letter: char| !table && matches!(letter, '\n' | '\t');
    let clean = |text: &str| -> String {
        let shown = |letter: char| if letter.is_control() && !keeps(letter) { ' ' } else { letter };
        text.chars().map(shown).collect()
    };
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(list) => list.iter().map(|value| printable(value, terminal, table)).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (clean(key), printable(value, terminal, table))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests;
