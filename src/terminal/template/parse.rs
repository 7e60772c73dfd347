//! From words to a tree.

use serde_json::Value;

use super::lex::{Lexeme, Piece, Token, lexemes, pieces};
use super::{InvalidTemplate, MAX_DEPTH, Problem};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipeline, each: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

/// Commands, each with the one before it as its last argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    /// `$x :=`, or `$i, $x :=` in a range.
    pub(super) variables: Vec<String>,
    /// `$x =`: of a variable that is there.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
    pub(super) place: usize,
}

/// Something, and what it is called with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    pub(super) first: Operand,
    pub(super) arguments: Vec<Operand>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
    pub(super) place: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Group(Box<Pipeline>),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>, InvalidTemplate> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter(), ranges: 0 };
    let (nodes, end) = parser.nodes(0)?;
    match end {
        End::Whole => Ok(nodes),
        End::Else(_, place) => Err(Problem::Stray("else").at(place)),
        End::Block(place) => Err(Problem::Stray("end").at(place)),
    }
}

/// What ends a block.
enum End {
    Whole,
    /// With what follows the word: `if …`.
    Else(Vec<Lexeme>, usize),
    Block(usize),
}

struct Parser<'a> {
    pieces: std::vec::IntoIter<Piece<'a>>,
    /// How many ranges this is in.
    ranges: usize,
}

impl Parser<'_> {
    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, End), InvalidTemplate> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (action, place) = match piece {
                Piece::Text(text) => {
                    if !text.is_empty() {
                        nodes.push(Node::Text(text.to_owned()));
                    }
                    continue;
                }
                Piece::Action(action, _) if action.trim_start().starts_with("/*") => continue,
                Piece::Action(action, place) => (action, place),
            };
            if depth > MAX_DEPTH {
                return Err(Problem::TooDeep.at(place));
            }
            let words = lexemes(action, place)?;
            match keyword(&words) {
                Some("end") => return Ok((nodes, End::Block(place))),
                Some("else") => {
                    return Ok((
                        nodes,
                        End::Else(words.get(1..).unwrap_or_default().to_vec(), place),
                    ));
                }
                Some("break" | "continue") if self.ranges == 0 => {
                    return Err(Problem::Stray("break or continue").at(place));
                }
                Some("break") => nodes.push(Node::Break),
                Some("continue") => nodes.push(Node::Continue),
                Some(block @ ("if" | "with" | "range")) => {
                    let rest = words.get(1..).unwrap_or_default();
                    nodes.push(self.block(block, rest, place, depth)?);
                }
                Some(other @ ("define" | "template" | "block")) => {
                    return Err(Problem::Unexpected(other.to_owned()).at(place));
                }
                _ => nodes.push(Node::Print(pipeline(&words, place)?)),
            }
        }
        Ok((nodes, End::Whole))
    }

    fn block(
        &mut self,
        word: &str,
        head: &[Lexeme],
        place: usize,
        depth: usize,
    ) -> Result<Node, InvalidTemplate> {
        let head = pipeline(head, place)?;
        let is_range = word == "range";
        if head.variables.len() > 1 && !is_range {
            return Err(Problem::Unexpected(",".to_owned()).at(head.place));
        }
        self.ranges += usize::from(is_range);
        let body = self.nodes(depth + 1);
        self.ranges -= usize::from(is_range);
        let (then, end) = body?;
        let missing = match word {
            "if" => "if",
            "with" => "with",
            _ => "range",
        };
        let otherwise = match end {
            End::Block(_) => Vec::new(),
            End::Whole => return Err(Problem::NoEnd(missing).at(place)),
            End::Else(words, at) => match keyword(&words) {
                // `else if` ends with the same `end`.
                Some(inner @ ("if" | "with")) if !is_range => {
                    if depth > MAX_DEPTH {
                        return Err(Problem::TooDeep.at(at));
                    }
                    vec![self.block(inner, words.get(1..).unwrap_or_default(), at, depth + 1)?]
                }
                _ if !words.is_empty() => return Err(Problem::Unexpected("else".to_owned()).at(at)),
                _ => match self.nodes(depth + 1)? {
                    (otherwise, End::Block(_)) => otherwise,
                    (_, End::Else(_, at)) => return Err(Problem::Stray("else").at(at)),
                    (_, End::Whole) => return Err(Problem::NoEnd(missing).at(place)),
                },
            },
        };
        Ok(match word {
            "if" => Node::If { condition: head, then, otherwise },
            "with" => Node::With { value: head, then, otherwise },
            _ => Node::Range { over: head, each: then, otherwise },
        })
    }
}

/// The word that an action begins with.
fn keyword(words: &[Lexeme]) -> Option<&str> {
    match words.first() {
        Some(Lexeme { token: Token::Word(word), .. }) => Some(word),
        _ => None,
    }
}

fn pipeline(words: &[Lexeme], place: usize) -> Result<Pipeline, InvalidTemplate> {
    let mut reader = Reader { words, at: 0, end: place };
    let pipeline = reader.pipeline(0)?;
    match reader.next() {
        None => Ok(pipeline),
        Some(word) => Err(Problem::Unexpected(shown(&word.token)).at(word.place)),
    }
}

struct Reader<'a> {
    words: &'a [Lexeme],
    at: usize,
    /// Where the action begins: for what is missing.
    end: usize,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.words.get(self.at + ahead).map(|word| &word.token)
    }

    fn next(&mut self) -> Option<Lexeme> {
        let word = self.words.get(self.at).cloned();
        self.at += 1;
        word
    }

    fn pipeline(&mut self, depth: usize) -> Result<Pipeline, InvalidTemplate> {
        let place = self.words.get(self.at).map_or(self.end, |word| word.place);
        if depth > MAX_DEPTH {
            return Err(Problem::TooDeep.at(place));
        }
        let (variables, assigns) = self.declaration();
        let mut commands = vec![self.command(depth)?];
        while self.peek(0) == Some(&Token::Pipe) {
            self.at += 1;
            commands.push(self.command(depth)?);
        }
        Ok(Pipeline { variables, assigns, commands, place })
    }

    fn declaration(&mut self) -> (Vec<String>, bool) {
        let Some(Token::Variable(first)) = self.peek(0).cloned() else { return Default::default() };
        match (self.peek(1), self.peek(2).cloned(), self.peek(3)) {
            (Some(Token::Declare), ..) => {
                self.at += 2;
                (vec![first], false)
            }
            (Some(Token::Assign), ..) => {
                self.at += 2;
                (vec![first], true)
            }
            (Some(Token::Comma), Some(Token::Variable(second)), Some(Token::Declare)) => {
                self.at += 4;
                (vec![first, second], false)
            }
            _ => Default::default(),
        }
    }

    fn command(&mut self, depth: usize) -> Result<Command, InvalidTemplate> {
        let first = self.operand(depth)?.ok_or_else(|| Problem::Missing.at(self.end))?;
        let mut arguments = Vec::new();
        while let Some(argument) = self.operand(depth)? {
            arguments.push(argument);
        }
        Ok(Command { first, arguments })
    }

    /// `None` where a command ends.
    fn operand(&mut self, depth: usize) -> Result<Option<Operand>, InvalidTemplate> {
        let Some(token) = self.peek(0) else { return Ok(None) };
        if matches!(token, Token::Pipe | Token::Close) {
            return Ok(None);
        }
        let Some(word) = self.next() else { return Ok(None) };
        let mut fields = Vec::new();
        let base = match word.token {
            Token::Dot => Base::Dot,
            Token::Field(name) => {
                fields.push(name);
                Base::Dot
            }
            Token::Variable(name) => Base::Variable(name),
            Token::Text(text) => Base::Literal(Value::String(text)),
            Token::Number(number) => Base::Literal(Value::Number(number)),
            Token::Word(word) => match word.as_str() {
                "true" => Base::Literal(Value::Bool(true)),
                "false" => Base::Literal(Value::Bool(false)),
                "nil" => Base::Literal(Value::Null),
                _ => Base::Function(word),
            },
            Token::Open => {
                let inner = self.pipeline(depth + 1)?;
                match self.next().map(|word| word.token) {
                    Some(Token::Close) => Base::Group(Box::new(inner)),
                    _ => return Err(Problem::Unexpected("(".to_owned()).at(word.place)),
                }
            }
            token => return Err(Problem::Unexpected(shown(&token)).at(word.place)),
        };
        while let Some(Lexeme { token: Token::Field(name), spaced: false, .. }) =
            self.words.get(self.at)
        {
            fields.push(name.clone());
            self.at += 1;
        }
        Ok(Some(Operand { base, fields, place: word.place }))
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) | Token::Text(word) => word.clone(),
        Token::Field(name) => format!(".{name}"),
        Token::Variable(name) => format!("${name}"),
        Token::Number(number) => number.to_string(),
        Token::Dot => ".".to_owned(),
        Token::Pipe => "|".to_owned(),
        Token::Open => "(".to_owned(),
        Token::Close => ")".to_owned(),
        Token::Comma => ",".to_owned(),
        Token::Declare => ":=".to_owned(),
        Token::Assign => "=".to_owned(),
    }
}

/// The fields of a row that the template names.
pub(super) fn fields(nodes: &[Node]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for node in nodes {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Print(pipeline) => in_pipeline(pipeline, &mut found),
            Node::If { condition: head, then, otherwise }
            | Node::With { value: head, then, otherwise }
            | Node::Range { over: head, each: then, otherwise } => {
                in_pipeline(head, &mut found);
                found.extend(fields(then));
                found.extend(fields(otherwise));
            }
        }
    }
    found
}

fn in_pipeline(pipeline: &Pipeline, found: &mut Vec<Vec<String>>) {
    for command in &pipeline.commands {
        for operand in std::iter::once(&command.first).chain(&command.arguments) {
            match &operand.base {
                Base::Group(inner) => in_pipeline(inner, found),
                Base::Dot if !operand.fields.is_empty() => found.push(operand.fields.clone()),
                _ => {}
            }
        }
    }
}
