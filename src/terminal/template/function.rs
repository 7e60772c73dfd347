//! The functions: those of Go's `text/template`, and Podman's own.

use serde_json::{Number, Value};

use super::Problem;
use super::evaluate::{is_true, shown, text};
use super::printf::printf;

/// The longest text a function makes, in characters, beyond what it is given.
pub(super) const MAX_WIDTH: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Eq,
    Ge,
    Gt,
    Index,
    Join,
    Json,
    Le,
    Len,
    Lower,
    Lt,
    Ne,
    Not,
    Or,
    Pad,
    Print,
    Printf,
    Println,
    Split,
    Title,
    Truncate,
    Upper,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "and" => Self::And,
            "eq" => Self::Eq,
            "ge" => Self::Ge,
            "gt" => Self::Gt,
            "index" => Self::Index,
            "join" => Self::Join,
            "json" => Self::Json,
            "le" => Self::Le,
            "len" => Self::Len,
            "lower" => Self::Lower,
            "lt" => Self::Lt,
            "ne" => Self::Ne,
            "not" => Self::Not,
            "or" => Self::Or,
            "pad" => Self::Pad,
            "print" => Self::Print,
            "printf" => Self::Printf,
            "println" => Self::Println,
            "split" => Self::Split,
            "title" => Self::Title,
            "truncate" => Self::Truncate,
            "upper" => Self::Upper,
            _ => return None,
        })
    }

    /// Whether an argument that is `holds` is the result, whatever follows.
    pub(super) fn is_decided_by(self, holds: bool) -> bool {
        match self {
            Self::And => !holds,
            Self::Or => holds,
            _ => false,
        }
    }

    pub(super) fn call(self, arguments: &[Value]) -> Result<Value, Problem> {
        match (self, arguments) {
            (Self::And | Self::Or, [.., last]) => Ok(last.clone()),
            (Self::Not, [value]) => Ok(Value::Bool(!is_true(value))),
            (Self::Eq, [value, others @ ..]) if !others.is_empty() => {
                Ok(Value::Bool(others.iter().any(|other| same(value, other))))
            }
            (Self::Ne, [a, b]) => Ok(Value::Bool(!same(a, b))),
            (Self::Lt | Self::Le | Self::Gt | Self::Ge, [a, b]) => self.compare(a, b),
            (Self::Index, [value, keys @ ..]) => index(value, keys),
            (Self::Len, [value]) => len(value),
            (Self::Json, [value]) => Ok(value.to_string().into()),
            (Self::Upper, [value]) => Ok(text(value).to_uppercase().into()),
            (Self::Lower, [value]) => Ok(text(value).to_lowercase().into()),
            (Self::Title, [value]) => Ok(title(&text(value)).into()),
            (Self::Join, [list, separator]) => join(list, separator),
            (Self::Split, [value, separator]) => Ok(split(&text(value), &text(separator))),
            (Self::Truncate, [value, length]) => self.truncate(value, length),
            (Self::Pad, [value, before, after]) => self.pad(value, before, after),
            (Self::Print, values) => Ok(print(values).into()),
            (Self::Println, values) => {
                let words: Vec<_> = values.iter().map(shown).collect();
                Ok(format!("{}\n", words.join(" ")).into())
            }
            (Self::Printf, [format, values @ ..]) => {
                printf(&text(format), values).map(Value::String).ok_or_else(|| self.misused())
            }
            _ => Err(self.misused()),
        }
    }

    fn compare(self, a: &Value, b: &Value) -> Result<Value, Problem> {
        let order = match (a, b) {
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
            },
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            _ => None,
        };
        let order = order.ok_or_else(|| self.misused())?;
        Ok(Value::Bool(match self {
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            _ => order.is_ge(),
        }))
    }

    fn truncate(self, value: &Value, length: &Value) -> Result<Value, Problem> {
        let length = length.as_u64().ok_or_else(|| self.misused())?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(text(value).chars().take(length).collect::<String>().into())
    }

    fn pad(self, value: &Value, before: &Value, after: &Value) -> Result<Value, Problem> {
        let blanks = |count: &Value| {
            let count = count.as_u64().and_then(|count| usize::try_from(count).ok());
            count.filter(|count| *count <= MAX_WIDTH).map(|count| " ".repeat(count))
        };
        let value = text(value);
        match (blanks(before), blanks(after)) {
            (Some(_), Some(_)) if value.is_empty() => Ok(value.into()),
            (Some(before), Some(after)) => Ok(format!("{before}{value}{after}").into()),
            _ => Err(self.misused()),
        }
    }

    fn misused(self) -> Problem {
        let (function, takes) = match self {
            Self::And => ("and", "values"),
            Self::Or => ("or", "values"),
            Self::Not => ("not", "one value"),
            Self::Eq => ("eq", "a value and others to compare it with"),
            Self::Ne => ("ne", "two values"),
            Self::Lt => ("lt", "two numbers or two texts"),
            Self::Le => ("le", "two numbers or two texts"),
            Self::Gt => ("gt", "two numbers or two texts"),
            Self::Ge => ("ge", "two numbers or two texts"),
            Self::Index => ("index", "a list or map, and numbers or keys that are in it"),
            Self::Join => ("join", "a list and a text"),
            Self::Json => ("json", "one value"),
            Self::Len => ("len", "a list, a map or a text"),
            Self::Lower => ("lower", "one value"),
            Self::Upper => ("upper", "one value"),
            Self::Title => ("title", "one value"),
            Self::Pad => ("pad", "a text and how many blanks go before and after it"),
            Self::Print => ("print", "values"),
            Self::Println => ("println", "values"),
            Self::Printf => ("printf", "a text with a verb (%s, %d, %q, …) for each value"),
            Self::Split => ("split", "two texts"),
            Self::Truncate => ("truncate", "a text and a length"),
        };
        Problem::Arguments { function, takes }
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// A key that a map has not gives the empty text, as with Go's maps of texts.
fn index(value: &Value, keys: &[Value]) -> Result<Value, Problem> {
    let mut value = value;
    for key in keys {
        let found = match (value, key) {
            (Value::Array(list), Value::Number(at)) => {
                let at = at.as_u64().and_then(|at| usize::try_from(at).ok());
                Some(at.and_then(|at| list.get(at)).ok_or_else(|| Function::Index.misused())?)
            }
            (Value::Object(map), Value::String(key)) => map.get(key),
            (Value::Null, _) => None,
            _ => return Err(Function::Index.misused()),
        };
        let Some(found) = found else { return Ok(Value::String(String::new())) };
        value = found;
    }
    Ok(value.clone())
}

fn len(value: &Value) -> Result<Value, Problem> {
    match value {
        Value::Null => Ok(Value::from(0)),
        Value::String(text) => Ok(Value::from(text.len())),
        Value::Array(list) => Ok(Value::from(list.len())),
        Value::Object(map) => Ok(Value::from(map.len())),
        Value::Bool(_) | Value::Number(_) => Err(Function::Len.misused()),
    }
}

fn title(text: &str) -> String {
    let mut begins = true;
    let mut titled = String::with_capacity(text.len());
    for letter in text.chars() {
        if begins {
            titled.extend(letter.to_uppercase());
        } else {
            titled.push(letter);
        }
        begins = letter.is_whitespace();
    }
    titled
}

fn join(list: &Value, separator: &Value) -> Result<Value, Problem> {
    match list {
        Value::Null => Ok(Value::String(String::new())),
        Value::Array(list) => {
            Ok(list.iter().map(shown).collect::<Vec<_>>().join(&text(separator)).into())
        }
        _ => Err(Function::Join.misused()),
    }
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return text.chars().map(String::from).collect();
    }
    text.split(separator).collect()
}

/// Go's `Sprint`: a blank between two values of which neither is a text.
fn print(values: &[Value]) -> String {
    let mut printed = String::new();
    for (at, value) in values.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| values.get(before));
        if before.is_some_and(|before| !before.is_string() && !value.is_string()) {
            printed.push(' ');
        }
        printed.push_str(&shown(value));
    }
    printed
}

/// A number as a whole one, where it is.
pub(super) fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}
