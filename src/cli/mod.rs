//! The command line: one module per command, exit codes by kind of failure.

mod acknowledge;
mod audit;
mod bench;
mod calibrate;
mod calibrations;
mod camera;
mod challenge;
mod check;
mod demo;
mod disturb;
mod eval;
mod heatmaps;
mod log_thread;
mod run;
mod score;
mod sign;
mod simulate;
pub mod spelling;
pub mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::print;

/// On-line visual inspection for conveyors: camera, HGAD model, ejector, audit log.
#[derive(Debug, Parser)]
#[command(
    name = "hgad",
    version,
    after_help = "Start with: hgad demo\n\
                  Exit codes: 0 done, 1 a check did not hold, 2 wrong use or configuration,\n\
                  3 a device or file failed.\n\
                  RUST_LOG=warn logs what needs attention alone, RUST_LOG=hgad=debug more."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Challenge(challenge::ChallengeArgs),
    Acknowledge(acknowledge::AcknowledgeArgs),
    Calibrate(Box<calibrate::CalibrateArgs>),
    Score(score::ScoreArgs),
    Eval(eval::EvalArgs),
    Disturb(disturb::DisturbArgs),
    Bench(bench::BenchArgs),
    Sign(sign::SignArgs),
    Audit(audit::AuditArgs),
    Camera(camera::CameraArgs),
    Simulate(simulate::SimulateArgs),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let log = log_thread::Log::start();
    let command = spelling::parse::<Cli>().command;
    if !matches!(command, Command::Demo(_) | Command::Run(_)) {
        print::end_with_the_reader();
    }
    let result = match command {
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args),
        Command::Challenge(args) => challenge::run(&args),
        Command::Acknowledge(args) => acknowledge::run(&args),
        Command::Calibrate(args) => calibrate::run(*args),
        Command::Score(args) => score::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Bench(args) => bench::run(&args),
        Command::Disturb(args) => disturb::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Audit(args) => audit::run(args),
        Command::Camera(args) => camera::run(args),
        Command::Simulate(args) => simulate::run(args),
    };
    // What the log says came before the error.
    drop(log);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::failure(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

#[cfg(test)]
#[path = "../../tests/common/examples.rs"]
mod examples;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn examples_can_be_copied_from_the_help() {
        for example in examples::check("hgad", &Cli::command()) {
            Cli::try_parse_from(&example).unwrap_or_else(|error| panic!("{example:?}: {error}"));
        }
    }
}
