//! The examples in a program's help: whole at 80 columns, and commands that the program takes.

use clap::Command;

/// Checks the examples of every command below `command`, `all` of which must have some, and gives the command lines.
pub fn check(program: &str, command: &Command) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        if below.has_subcommands() {
            found.extend(check(program, below));
            continue;
        }
        let name = below.get_name();
        let text = below.get_after_long_help().unwrap_or_else(|| panic!("{name} has no examples")).to_string();
        let shown = below.clone().term_width(80).render_long_help().to_string();
        assert!(text.starts_with("Examples:\n") && shown.contains(&text), "{name}: examples are wrapped:\n{shown}");
        let lines = text.replace("\\\n", " ");
        let commands = lines.lines().filter_map(|line| line.trim().strip_prefix(program));
        let words = |line: &str| std::iter::once(program).chain(line.split_whitespace()).map(str::to_owned).collect();
        let commands = commands.filter(|line| line.starts_with(' ')).map(words).collect::<Vec<_>>();
        assert!(!commands.is_empty(), "{name} has no example of {program}");
        found.extend(commands);
    }
    found
}
