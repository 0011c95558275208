//! The command line of the training program.

mod ablate;
mod backbone;
mod compare;
mod data;
mod extend;
mod import;
mod pretrain;
mod quantize;
mod refit;
mod render;
mod report;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Trains HGAD models and writes the bundles that hgad runs.
#[derive(Debug, Parser)]
#[command(
    name = "hgad-train",
    version,
    after_help = "Exit codes: 0 done, 1 a check did not hold, 2 wrong use or configuration,\n\
                  3 a device or file failed, 130 interrupted.\n\
                  RUST_LOG=warn logs what needs attention alone, RUST_LOG=hgad_train=debug more."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::TrainArgs>),
    Ablate(Box<ablate::AblateArgs>),
    #[command(subcommand)]
    Data(data::DataCommand),
    #[command(subcommand)]
    Backbone(backbone::BackboneCommand),
    Import(import::ImportArgs),
    Extend(extend::ExtendArgs),
    Compare(compare::CompareArgs),
    Report(report::ReportArgs),
    Refit(refit::RefitArgs),
    Quantize(quantize::QuantizeArgs),
    Render(render::RenderArgs),
    Pretrain(pretrain::PretrainArgs),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,tract=warn")).init();
    let result = match hgad::cli::spelling::parse::<Cli>().command {
        Command::Train(args) => train::run(*args),
        Command::Ablate(args) => ablate::run(&args),
        Command::Backbone(command) => backbone::run(command).map(|()| ExitCode::SUCCESS),
        Command::Data(command) => data::run(command).map(|()| ExitCode::SUCCESS),
        Command::Import(args) => import::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Extend(args) => extend::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Compare(args) => compare::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Refit(args) => refit::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Quantize(args) => quantize::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Render(args) => render::run(args).map(|()| ExitCode::SUCCESS),
        Command::Pretrain(args) => pretrain::run(args).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            hgad::print::failure(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/common/examples.rs"]
mod examples;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn examples_can_be_copied_from_the_help() {
        for example in examples::check("hgad-train", &Cli::command()) {
            Cli::try_parse_from(&example).unwrap_or_else(|error| panic!("{example:?}: {error}"));
        }
    }
}
