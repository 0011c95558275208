//! Options that somebody mistyped: clap names the right one where it is alike by its letters in their places, which two that changed
//! places in a short name are not.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error, Parser};

/// Reads the process's arguments, and ends the process where they are wrong; then the right option is named wherever one is near.
pub fn parse<P: Parser>() -> P {
    P::try_parse().unwrap_or_else(|error| mended(error, &P::command(), std::env::args().skip(1)).exit())
}

/// The error, with the option that was meant where clap has found none.
fn mended(mut error: Error, command: &Command, arguments: impl Iterator<Item = String>) -> Error {
    if error.kind() != ErrorKind::UnknownArgument || error.get(ContextKind::SuggestedArg).is_some() {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg).cloned() else { return error };
    let Some(name) = typed.strip_prefix("--").and_then(|typed| typed.split('=').next()) else { return error };
    let command = asked(command, arguments);
    if let Some(meant) = nearest(name, command).or_else(|| of_record(name, command)) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{meant}")));
        // That it may be a value is no better guess.
        error.remove(ContextKind::Suggested);
    } else if OF_RECORDS.contains(&name) && command.get_positionals().any(|value| value.get_id() == "id") {
        let tip = "a record or part is named without an option, behind the file: 4711, or RUN/PART";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// What people write for the option that names a record or a part.
const OF_RECORDS: [&str; 5] = ["id", "record", "part", "seq", "number"];

/// The option that names a record, for whoever calls it otherwise.
fn of_record(name: &str, command: &Command) -> Option<&'static str> {
    let has_record = command.get_opts().any(|option| option.get_long() == Some("record"));
    (has_record && OF_RECORDS.contains(&name)).then_some("record")
}

/// The command that the arguments ask for.
fn asked(command: &Command, arguments: impl Iterator<Item = String>) -> &Command {
    let deeper = |command, argument: String| match Command::find_subcommand(command, argument) {
        Some(below) => below,
        None => command,
    };
    arguments.fold(command, deeper)
}

/// The option of the command that is one slip away: a letter too many, too few, another one, or two that changed places.
fn nearest<'c>(name: &str, command: &'c Command) -> Option<&'c str> {
    let names = command.get_opts().filter_map(|option| option.get_long());
    names.min_by_key(|known| strsim::osa_distance(name, known)).filter(|known| strsim::osa_distance(name, known) == 1)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn an_option_whose_letters_changed_places_is_named() {
        let told = |typed: &[&str]| {
            let typed = [&["hgad"], typed].concat();
            let arguments = typed[1..].iter().map(|word| (*word).to_owned());
            let error = Cli::try_parse_from(&typed).unwrap_err();
            mended(error, &Cli::command(), arguments).to_string()
        };
        let key = told(&["audit", "verify", "audit.jsonl", "--kye", "line.pub"]);
        assert!(key.contains("a similar argument exists: '--key'") && !key.contains("as a value"), "{key}");
        assert!(told(&["audit", "verify", "audit.jsonl", "--kye=line.pub"]).contains("'--key'"));
        assert!(told(&["audit", "report", "audit.jsonl", "--uot", "p.html"]).contains("'--out'"));
        // A record has one name, whatever it is called.
        for command in ["query", "replay", "prove"] {
            let told = told(&["audit", command, "audit.jsonl", "--id", "4711"]);
            assert!(told.contains("'--record'") && !told.contains("as a value"), "{command}: {told}");
        }
        for typed in ["--id", "--record=4711", "--part"] {
            let told = told(&["audit", "show", "audit.jsonl", typed]);
            assert!(told.contains("without an option") && !told.contains("as a value"), "{typed}: {told}");
        }
        // Of another command's options none is named, and what clap finds stays.
        assert!(!told(&["audit", "query", "audit.jsonl", "--kye", "line.pub"]).contains("'--key'"));
        assert!(told(&["audit", "query", "audit.jsonl", "--verdcit", "reject"]).contains("'--verdict'"));
        assert!(!told(&["audit", "verify", "audit.jsonl", "--zzz"]).contains("similar"));
    }
}
