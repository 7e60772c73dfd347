//! Manual pages, made from the definition of a command line.

use std::io::{self, Write as _};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// What a command line's definition does not say.
#[derive(Debug)]
pub struct Page {
    /// The section of the manual: `1` or `8`.
    pub section: &'static str,
    /// Lines `  CODE  meaning` below a heading, or plain sentences; may be empty.
    pub exit_status: &'static str,
    /// Path and meaning.
    pub files: &'static [(&'static str, &'static str)],
    pub see_also: &'static str,
}

/// The whole page, as troff text: overview, each command with its options and examples, exit
/// codes, files.
///
/// # Errors
/// None in practice: it writes to memory.
pub fn page(command: Command, about: &Page) -> io::Result<String> {
    let mut command = command.after_long_help(None::<&str>).after_help(None::<&str>);
    command.build();
    let man = Man::new(command.clone()).manual("updaterd").date("").section(about.section);
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    let mut roff = Roff::default();
    if command.has_subcommands() {
        roff.control("SH", ["COMMANDS"]);
    }
    for subcommand in command.get_subcommands() {
        describe(subcommand, "", &mut roff);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for line in about.exit_status.lines() {
        match line.trim_start().split_once("  ") {
            Some((code, meaning)) if line.starts_with(' ') => {
                roff.control("TP", ["4"]);
                roff.text([bold(code)]);
                roff.text([roman(meaning)]);
            }
            _ => {
                roff.control("PP", []);
                roff.text([roman(line)]);
            }
        }
    }
    roff.control("SH", ["FILES"]);
    for (path, meaning) in about.files {
        roff.control("TP", []);
        roff.text([bold(*path)]);
        roff.text([roman(*meaning)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(about.see_also)]);
    roff.to_writer(&mut out)?;
    out.flush()?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// One command: its line, what it does, its own options, its examples.
fn describe(command: &Command, before: &str, roff: &mut Roff) {
    if command.is_hide_set() {
        return;
    }
    let name = format!("{before}{}", command.get_name());
    if command.has_subcommands() {
        for subcommand in command.get_subcommands() {
            describe(subcommand, &format!("{name} "), roff);
        }
        return;
    }
    let own: Vec<&clap::Arg> = command
        .get_arguments()
        .filter(|argument| {
            !argument.is_global_set() && !["help", "version"].contains(&argument.get_id().as_str())
        })
        .collect();
    roff.control("SS", [usage(&name, &own).as_str()]);
    if let Some(about) = command.get_about() {
        roff.text([roman(format!("{about}."))]);
    }
    for argument in own {
        roff.control("TP", []);
        roff.text([bold(label(argument))]);
        roff.text([roman(argument.get_help().map(ToString::to_string).unwrap_or_default())]);
    }
    if let Some(examples) = command.get_after_help() {
        roff.control("PP", []);
        roff.control("nf", []);
        for line in examples.to_string().lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
}

fn usage(name: &str, arguments: &[&clap::Arg]) -> String {
    let mut usage = name.to_owned();
    for argument in arguments {
        let label = label(argument);
        let many =
            if argument.get_num_args().is_some_and(|n| n.max_values() > 1) { "…" } else { "" };
        usage.push_str(&match argument.is_required_set() {
            true => format!(" {label}{many}"),
            false => format!(" [{label}{many}]"),
        });
    }
    usage
}

fn label(argument: &clap::Arg) -> String {
    let value = argument
        .get_value_names()
        .filter(|_| argument.get_action().takes_values())
        .and_then(|names| names.first())
        .map(ToString::to_string);
    match (argument.get_short(), argument.get_long(), value) {
        (None, None, Some(value)) => value,
        (Some(short), Some(long), Some(value)) => format!("-{short}, --{long}={value}"),
        (_, Some(long), Some(value)) => format!("--{long}={value}"),
        (Some(short), Some(long), None) => format!("-{short}, --{long}"),
        (None, Some(long), None) => format!("--{long}"),
        (Some(short), None, _) => format!("-{short}"),
        (None, None, None) => argument.get_id().to_string(),
    }
}
