//! From a template's text to text and actions, and from an action to its words.

use super::{InvalidTemplate, Problem};

/// A stretch of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// What stands between `{{` and `}}`, and where it begins, in characters.
    Action(&'a str, usize),
}

/// Takes a template apart; `{{-` and `-}}` take the blanks beside them.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, InvalidTemplate> {
    let mut pieces = Vec::new();
    let (mut rest, mut place, mut trim) = (text, 0, false);
    while let Some((before, from)) = rest.split_once("{{") {
        let open = place + before.chars().count();
        let inside = from.strip_prefix('-').filter(|after| after.starts_with(blank));
        let before = if trim { before.trim_start() } else { before };
        pieces.push(Piece::Text(if inside.is_some() { before.trim_end() } else { before }));
        let begin = open + if inside.is_some() { 3 } else { 2 };
        let action = inside.unwrap_or(from);
        let end = end(action).ok_or_else(|| Problem::NotClosed.at(open))?;
        let (content, after) = action.split_at(end);
        let trimmed = content.strip_suffix('-').filter(|content| content.ends_with(blank));
        trim = trimmed.is_some();
        pieces.push(Piece::Action(trimmed.unwrap_or(content), begin));
        rest = after.strip_prefix("}}").unwrap_or(after);
        place = begin + content.chars().count() + 2;
    }
    pieces.push(Piece::Text(if trim { rest.trim_start() } else { rest }));
    Ok(pieces)
}

fn blank(letter: char) -> bool {
    letter.is_ascii_whitespace()
}

/// Where `}}` stands, in bytes, outside of quotes and comments.
fn end(action: &str) -> Option<usize> {
    if let Some(comment) = action.trim_start().strip_prefix("/*") {
        let skipped = action.len() - comment.len();
        let closed = comment.find("*/")?;
        return comment.get(closed..)?.find("}}").map(|at| skipped + closed + at);
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in action.char_indices() {
        match quote {
            Some('"' | '\'') if escaped => escaped = false,
            Some('"' | '\'') if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '`' | '\'') => quote = Some(letter),
            None if action.get(at..).is_some_and(|rest| rest.starts_with("}}")) => return Some(at),
            None => {}
        }
    }
    None
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    /// `.Name`
    Field(String),
    /// `.` alone
    Dot,
    /// `$name`; `$` alone is the empty name
    Variable(String),
    Text(String),
    Number(serde_json::Number),
    Pipe,
    Open,
    Close,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    /// In characters from the template's begin.
    pub(super) place: usize,
    /// Whether a blank stands before it.
    pub(super) spaced: bool,
}

/// The words of an action that begins at `place`.
pub(super) fn lexemes(action: &str, place: usize) -> Result<Vec<Lexeme>, InvalidTemplate> {
    let letters: Vec<char> = action.chars().collect();
    let mut lexer = Lexer { letters: &letters, at: 0, place };
    let mut found = Vec::new();
    loop {
        let blanks = lexer.take_while(blank).len();
        let place = lexer.here();
        let Some(token) = lexer.token()? else { return Ok(found) };
        found.push(Lexeme { token, place, spaced: blanks > 0 || found.is_empty() });
    }
}

struct Lexer<'a> {
    letters: &'a [char],
    at: usize,
    place: usize,
}

impl Lexer<'_> {
    fn here(&self) -> usize {
        self.place + self.at
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.letters.get(self.at + ahead).copied()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let rest = self.letters.get(self.at..).unwrap_or_default();
        let taken: String = rest.iter().take_while(|letter| wanted(**letter)).collect();
        self.at += taken.chars().count();
        taken
    }

    fn name(&mut self) -> String {
        self.take_while(|letter| letter.is_alphanumeric() || letter == '_')
    }

    fn token(&mut self) -> Result<Option<Token>, InvalidTemplate> {
        let Some(letter) = self.peek(0) else { return Ok(None) };
        let begins_number = letter.is_ascii_digit()
            || matches!(letter, '-' | '+')
                && self.peek(1).is_some_and(|next| next.is_ascii_digit());
        if begins_number {
            return self.number().map(Some);
        }
        if letter.is_alphabetic() || letter == '_' {
            return Ok(Some(Token::Word(self.name())));
        }
        let place = self.here();
        self.at += 1;
        let token = match letter {
            '|' => Token::Pipe,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '=' => Token::Assign,
            ':' if self.peek(0) == Some('=') => {
                self.at += 1;
                Token::Declare
            }
            '.' => match self.name() {
                name if name.is_empty() => Token::Dot,
                name => Token::Field(name),
            },
            '$' => Token::Variable(self.name()),
            '"' | '`' | '\'' => self.quoted(letter)?,
            other => return Err(Problem::Unexpected(other.to_string()).at(place)),
        };
        Ok(Some(token))
    }

    fn number(&mut self) -> Result<Token, InvalidTemplate> {
        let place = self.here();
        let text =
            self.take_while(|letter| letter.is_ascii_alphanumeric() || "+-._".contains(letter));
        let integer = text.parse::<i64>().ok().map(serde_json::Number::from);
        let float = || serde_json::Number::from_f64(text.parse().ok()?);
        integer.or_else(float).map(Token::Number).ok_or_else(|| Problem::Unexpected(text).at(place))
    }

    fn quoted(&mut self, quote: char) -> Result<Token, InvalidTemplate> {
        let place = self.here().saturating_sub(1);
        let mut text = String::new();
        loop {
            let letter = self.peek(0).ok_or_else(|| Problem::NoEndQuote.at(place))?;
            self.at += 1;
            if letter == quote {
                break;
            }
            if letter != '\\' || quote == '`' {
                text.push(letter);
                continue;
            }
            let escaped = self.peek(0).ok_or_else(|| Problem::NoEndQuote.at(place))?;
            self.at += 1;
            text.push(match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '\\' | '"' | '\'' => escaped,
                other => {
                    return Err(Problem::Unexpected(format!("\\{other}")).at(self.here() - 2));
                }
            });
        }
        if quote != '\'' {
            return Ok(Token::Text(text));
        }
        // A character constant is its number, as in Go.
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => Ok(Token::Number(u32::from(letter).into())),
            _ => Err(Problem::Unexpected(format!("'{text}'")).at(place)),
        }
    }
}
