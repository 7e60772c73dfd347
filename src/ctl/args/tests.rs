use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_holds_together() {
    Arguments::command().debug_assert();
}

#[test]
fn helps_are_the_goldens() {
    fn walk(command: &mut clap::Command, name: String, text: &mut String) {
        text.push_str(&format!("$ {name} --help\n{}\n", command.render_long_help()));
        for subcommand in command.get_subcommands_mut() {
            let name = format!("{name} {}", subcommand.get_name());
            walk(subcommand, name, text);
        }
    }
    let mut command = Arguments::command().term_width(100);
    command.build();
    let mut text = String::new();
    walk(&mut command, "updaterctl".into(), &mut text);
    insta::assert_snapshot!(text);
}

#[test]
fn units_may_be_written_short() {
    let arguments = parse("updaterctl update app db@1.service --trigger=timer").unwrap();
    let Command::Update(update) = arguments.command else { panic!() };
    let units: Vec<&str> = update.units.iter().map(UnitName::as_str).collect();
    assert_eq!(units, ["app.service", "db@1.service"]);
    assert_eq!(Trigger::from(update.trigger), Trigger::Timer);
}

#[test]
fn refuses_what_makes_no_sense() {
    for line in [
        "updaterctl",
        "updaterctl update a/b",
        "updaterctl update --trigger=schedule",
        "updaterctl status --system --user",
        "updaterctl quarantine clear",
        "updaterctl quarantine clear --all 4bcff63911fc",
        "updaterctl history -n -1",
        "updaterctl history --since soon",
        "updaterctl history --outcome suspended",
        "updaterctl check app",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn options_of_every_command_may_stand_anywhere() {
    let before = parse("updaterctl --json --user status").unwrap();
    assert_eq!(before, parse("updaterctl status --user --json").unwrap());
    assert_eq!(before.global.scope(), Scope::User);
}
