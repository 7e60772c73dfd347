//! A policy of system calls as a program of classic BPF (seccomp(2), `linux/filter.h`). Pure.
//!
//! Numbers are found by halving: a call costs about nine comparisons, and a program has some hundred
//! instructions, which the kernel checks and translates at every start. Other compilers compare one
//! number after the other, in one filter for each action, in thousands of instructions.

use std::collections::BTreeMap;

use libc::sock_filter as Instruction;

/// What the kernel takes at most (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;

/// Where `struct seccomp_data` has the number, the architecture and the first argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const SKIP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

/// What is answered to calls, for programs of each architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) halves: Vec<Half>,
    /// Answer (`SECCOMP_RET_…`) to programs of any other architecture.
    pub(super) others: u32,
}

/// The part of a policy for programs of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Half {
    /// `AUDIT_ARCH_…` (`linux/audit.h`).
    pub(super) architecture: u32,
    /// By number; the first rule whose conditions hold answers.
    pub(super) calls: BTreeMap<u32, Vec<Rule>>,
    /// Answer to all other numbers, and where no rule's conditions hold.
    pub(super) otherwise: u32,
    /// The first number that belongs to another way of calling (x32), and the answer to all of them.
    pub(super) foreign: Option<(u32, u32)>,
}

/// An answer, where all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) answer: u32,
}

/// A comparison of one argument, as a number of 64 bits without a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// From 0 to 5.
    pub(super) argument: u8,
    pub(super) test: Test,
    pub(super) value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The bits of this mask are those of the value.
    Masked(u64),
}

/// The program is longer than any that the kernel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system call filter has {0} instructions, and the kernel takes {LONGEST}")]
pub(crate) struct TooLong(usize);

impl Rule {
    /// The same answer to whatever arguments.
    pub(super) fn always(answer: u32) -> Self {
        Self { conditions: Vec::new(), answer }
    }
}

/// The program that answers as the policy says.
pub(super) fn compile(policy: &Policy) -> Result<Vec<Instruction>, TooLong> {
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    for half in &policy.halves {
        let calls = of_half(half);
        program.push(jump(IF_EQUAL, half.architecture, 1, 0));
        program.push(step(SKIP, length(calls.len())));
        program.extend(calls);
    }
    program.push(step(RETURN, policy.others));
    if program.len() > LONGEST { Err(TooLong(program.len())) } else { Ok(program) }
}

/// Numbers from `first` on, up to the next span's first.
struct Span<'a> {
    first: u32,
    answer: Answer<'a>,
}

#[derive(Clone, Copy, PartialEq)]
enum Answer<'a> {
    Always(u32),
    /// By the arguments; else the half's own answer.
    Rules(&'a [Rule]),
}

fn of_half(half: &Half) -> Vec<Instruction> {
    let mut program = vec![step(LOAD, NUMBER)];
    program.extend(choice(&spans(half), half.otherwise));
    program
}

/// All numbers there are. Neighbours with one answer are one span.
fn spans(half: &Half) -> Vec<Span<'_>> {
    let otherwise = Answer::Always(half.otherwise);
    let mut spans = vec![Span { first: 0, answer: otherwise }];
    let mut add = |first, answer| {
        spans.pop_if(|last| last.first == first);
        if spans.last().is_none_or(|last| last.answer != answer) {
            spans.push(Span { first, answer });
        }
    };
    let ends = half.foreign.map_or(u32::MAX, |(first, _)| first);
    for (number, rules) in half.calls.range(..ends) {
        let answer = match rules.first() {
            None => otherwise,
            Some(rule) if rule.conditions.is_empty() => Answer::Always(rule.answer),
            Some(_) => Answer::Rules(rules),
        };
        add(*number, answer);
        add(number + 1, otherwise);
    }
    if let Some((first, answer)) = half.foreign {
        add(first, Answer::Always(answer));
    }
    spans
}

/// Finds the span that the number lies in.
fn choice(spans: &[Span<'_>], otherwise: u32) -> Vec<Instruction> {
    let (lower, upper) = spans.split_at(spans.len() / 2);
    let Some(first) = upper.first() else { return vec![step(RETURN, otherwise)] };
    if lower.is_empty() {
        return match first.answer {
            Answer::Always(answer) => vec![step(RETURN, answer)],
            Answer::Rules(rules) => by_arguments(rules, otherwise),
        };
    }
    let lower = choice(lower, otherwise);
    // A conditional jump goes 255 instructions far; the other one, any distance.
    let mut program = match u8::try_from(lower.len()) {
        Ok(past) => vec![jump(IF_AT_LEAST, first.first, past, 0)],
        Err(_) => {
            vec![jump(IF_AT_LEAST, first.first, 0, 1), step(SKIP, length(lower.len()))]
        }
    };
    program.extend(lower);
    program.extend(choice(upper, otherwise));
    program
}

/// The first rule whose conditions hold; else `otherwise`.
fn by_arguments(rules: &[Rule], otherwise: u32) -> Vec<Instruction> {
    let mut program = Vec::new();
    for rule in rules {
        // From the last condition on: each goes past what follows where it does not hold.
        let mut rest = vec![step(RETURN, rule.answer)];
        for condition in rule.conditions.iter().rev() {
            let mut tested = test(condition, length(rest.len()));
            tested.append(&mut rest);
            rest = tested;
        }
        program.append(&mut rest);
    }
    program.push(step(RETURN, otherwise));
    program
}

/// Goes on with what follows where the condition holds, else `past` instructions later.
fn test(condition: &Condition, past: u32) -> Vec<Instruction> {
    let low = ARGUMENTS + 8 * u32::from(condition.argument);
    let (low, high) = if cfg!(target_endian = "big") { (low + 4, low) } else { (low, low + 4) };
    let (value, mask) = (condition.value, condition.test);
    #[expect(clippy::cast_possible_truncation, reason = "one half after the other")]
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let (high_value, low_value) = halves(value);
    // Where both halves have been compared: the next instruction is "no", the one after it "yes".
    let (no, yes) = (0u8, 1u8);
    let mut program = match mask {
        Test::Equal | Test::NotEqual => vec![
            step(LOAD, high),
            jump(IF_EQUAL, high_value, 0, 2),
            step(LOAD, low),
            jump(IF_EQUAL, low_value, yes, no),
        ],
        Test::Masked(mask) => {
            let (high_mask, low_mask) = halves(mask);
            let (high_value, low_value) = halves(value & mask);
            vec![
                step(LOAD, high),
                step(AND, high_mask),
                jump(IF_EQUAL, high_value, 0, 3),
                step(LOAD, low),
                step(AND, low_mask),
                jump(IF_EQUAL, low_value, yes, no),
            ]
        }
        Test::Greater | Test::LessOrEqual | Test::GreaterOrEqual | Test::Less => {
            let last = match mask {
                Test::Greater | Test::LessOrEqual => IF_GREATER,
                _ => IF_AT_LEAST,
            };
            vec![
                step(LOAD, high),
                jump(IF_GREATER, high_value, 4, 0),
                jump(IF_EQUAL, high_value, 0, 2),
                step(LOAD, low),
                jump(last, low_value, yes, no),
            ]
        }
    };
    match mask {
        // What was compared is the opposite: "yes" goes past.
        Test::NotEqual | Test::LessOrEqual | Test::Less => {
            program.push(step(SKIP, 1));
            program.push(step(SKIP, past));
        }
        _ => program.push(step(SKIP, past)),
    }
    program
}

const fn step(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, holds: u8, fails: u8) -> Instruction {
    Instruction { code, jt: holds, jf: fails, k }
}

/// More than a program may have is found out in the end.
fn length(instructions: usize) -> u32 {
    u32::try_from(instructions).unwrap_or(u32::MAX)
}
