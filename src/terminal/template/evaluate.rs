//! Filling a tree in.

use serde_json::Value;

use super::function::Function;
use super::parse::{Base, Command, Node, Operand, Pipeline};
use super::{InvalidTemplate, MAX_OUTPUT, Problem};

pub(super) fn evaluate(nodes: &[Node], data: &Value) -> Result<String, InvalidTemplate> {
    let variables = vec![(String::new(), data.clone())];
    let mut evaluation = Evaluation { output: String::new(), variables };
    evaluation.nodes(nodes, data)?;
    Ok(evaluation.output)
}

struct Evaluation {
    output: String,
    /// The innermost last.
    variables: Vec<(String, Value)>,
}

/// How a stretch of a template ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Evaluation {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, InvalidTemplate> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => self.print(text, 0)?,
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    match pipeline.variables.is_empty() {
                        true => self.print(&shown(&value), pipeline.place)?,
                        false => Flow::On,
                    }
                }
                Node::If { condition, then, otherwise } => self.scoped(|scope| {
                    let holds = is_true(&scope.pipeline(condition, dot)?);
                    scope.nodes(if holds { then } else { otherwise }, dot)
                })?,
                Node::With { value, then, otherwise } => self.scoped(|scope| {
                    let value = scope.pipeline(value, dot)?;
                    match is_true(&value) {
                        true => scope.nodes(then, &value),
                        false => scope.nodes(otherwise, dot),
                    }
                })?,
                Node::Range { over, each, otherwise } => {
                    self.scoped(|scope| scope.range(over, each, otherwise, dot))?
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    /// Variables of a block end with it.
    fn scoped(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<Flow, InvalidTemplate>,
    ) -> Result<Flow, InvalidTemplate> {
        let mark = self.variables.len();
        let flow = act(self);
        self.variables.truncate(mark);
        flow
    }

    fn range(
        &mut self,
        over: &Pipeline,
        each: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, InvalidTemplate> {
        // Its variables are set for each element, not to the whole.
        let value = self.commands(over, dot)?;
        let elements: Vec<(Value, &Value)> = match &value {
            Value::Null => Vec::new(),
            Value::Array(list) => {
                list.iter().enumerate().map(|(at, value)| (Value::from(at), value)).collect()
            }
            Value::Object(map) => {
                let mut pairs: Vec<_> = map.iter().collect();
                pairs.sort_by_key(|(key, _)| key.as_str());
                pairs.into_iter().map(|(key, value)| (Value::from(key.as_str()), value)).collect()
            }
            _ => return Err(Problem::Range.at(over.place)),
        };
        if elements.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, element) in elements {
            let flow = self.scoped(|scope| {
                match over.variables.as_slice() {
                    [one] => scope.variables.push((one.clone(), element.clone())),
                    [first, second] => {
                        scope.variables.push((first.clone(), key));
                        scope.variables.push((second.clone(), element.clone()));
                    }
                    _ => {}
                }
                scope.nodes(each, element)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn print(&mut self, text: &str, place: usize) -> Result<Flow, InvalidTemplate> {
        if self.output.len() + text.len() > MAX_OUTPUT {
            return Err(Problem::TooLong.at(place));
        }
        self.output.push_str(text);
        Ok(Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, InvalidTemplate> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
            match (pipeline.assigns, known) {
                (false, _) => self.variables.push((name.clone(), value.clone())),
                (true, Some((_, held))) => *held = value.clone(),
                (true, None) => {
                    return Err(Problem::NoVariable(format!("${name}")).at(pipeline.place));
                }
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, InvalidTemplate> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        Ok(piped.unwrap_or_default())
    }

    fn command(
        &mut self,
        command: &Command,
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, InvalidTemplate> {
        let first = &command.first;
        if let Base::Function(name) = &first.base {
            let function = Function::named(name)
                .ok_or_else(|| Problem::NoFunction(name.clone()).at(first.place))?;
            return self.call(function, command, piped, dot);
        }
        let mut arguments = Vec::new();
        for argument in &command.arguments {
            arguments.push(self.operand(argument, dot)?);
        }
        arguments.extend(piped);
        match (arguments.as_slice(), first.fields.split_last()) {
            ([], _) => self.operand(first, dot),
            // `.Label "key"` is `index .Labels "key"`.
            ([Value::String(key)], Some((last, above))) => {
                let mut fields = above.to_vec();
                fields.push(format!("{last}s"));
                let all = self.operand(&Operand { fields, ..first.clone() }, dot)?;
                Ok(all.get(key).cloned().unwrap_or_else(|| Value::String(String::new())))
            }
            (_, last) => {
                let name = last.map_or("this", |(last, _)| last);
                Err(Problem::NoArguments(name.to_owned()).at(first.place))
            }
        }
    }

    fn call(
        &mut self,
        function: Function,
        command: &Command,
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, InvalidTemplate> {
        let mut arguments = Vec::new();
        for argument in &command.arguments {
            arguments.push(self.operand(argument, dot)?);
            // `and`, `or` look no further than they must.
            if arguments.last().is_some_and(|last| function.is_decided_by(is_true(last))) {
                return Ok(arguments.pop().unwrap_or_default());
            }
        }
        arguments.extend(piped);
        function.call(&arguments).map_err(|problem| problem.at(command.first.place))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, InvalidTemplate> {
        let base = match &operand.base {
            Base::Dot => return walk(dot, operand),
            Base::Literal(value) => return walk(value, operand),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = known
                    .ok_or_else(|| Problem::NoVariable(format!("${name}")).at(operand.place))?;
                return walk(value, operand);
            }
            Base::Group(inner) => self.pipeline(inner, dot)?,
            Base::Function(_) => {
                let command = Command {
                    first: Operand { fields: Vec::new(), ..operand.clone() },
                    arguments: Vec::new(),
                };
                self.command(&command, None, dot)?
            }
        };
        walk(&base, operand)
    }
}

/// From field to field. In a map, what is not there is nothing; nothing has no fields, and each is
/// nothing.
fn walk(value: &Value, operand: &Operand) -> Result<Value, InvalidTemplate> {
    let mut value = value;
    for name in &operand.fields {
        value = match value {
            Value::Object(map) => match map.get(name) {
                Some(value) => value,
                None if is_map(map) => return Ok(Value::Null),
                None => {
                    let known: Vec<&str> = map.keys().map(String::as_str).collect();
                    let known = known.join(", ");
                    return Err(Problem::NoField { name: name.clone(), known }.at(operand.place));
                }
            },
            Value::Null => return Ok(Value::Null),
            _ => return Err(Problem::NoFields(name.clone()).at(operand.place)),
        };
    }
    Ok(value.clone())
}

/// Whether it is a map of whatever there is, and not one of Podman's documents, whose fields all
/// begin in upper case.
fn is_map(map: &serde_json::Map<String, Value>) -> bool {
    !map.keys().any(|key| key.starts_with(|letter: char| letter.is_ascii_uppercase()))
}

/// As Go has it: zero, nothing and what is empty are false.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(holds) => *holds,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As Go's `%v`.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(holds) => holds.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_str());
            let pairs = pairs.into_iter().map(|(key, value)| format!("{key}:{}", shown(value)));
            format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
        }
    }
}

/// As [`shown`], but nothing is the empty text.
pub(super) fn text(value: &Value) -> String {
    if value.is_null() { String::new() } else { shown(value) }
}
