//! The command line: what people type, and how each command ends.
//!
//! One file per command; `exit.rs` alone knows the exit codes, `output.rs` alone writes to the terminal.

pub mod aggregates;
pub mod alert;
pub mod annotate;
pub mod backtest;
pub mod backup;
pub mod check;
pub mod client;
pub mod completions;
pub mod deadletter;
pub mod demo;
pub mod exit;
pub mod field;
pub mod healthcheck;
pub mod import;
pub mod incident;
pub mod logging;
pub mod output;
pub mod receiver;
pub mod route;
pub mod run;
pub mod silence;
pub mod slo;
mod source;
pub mod test;
pub mod when;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, Environment, Purpose};
use client::Client;
use exit::{Failure, Outcome};

const EXIT_CODES: &str = "\
Exit codes:
  0  fine
  1  what was checked or asked for is not fine: bad rules, failed tests, budget gone, unknown name, refused rows
  2  the command line or the configuration is wrong
  3  it could not be done: no daemon, no database, a failed read or write

Configuration:
  Without --config, ./burnwatch.toml is read if it is there; paths in it are relative to its folder.
  Every key can be overridden by a variable: BURNWATCH_ and the path joined by two underscores,
  like BURNWATCH_DATABASE__URL. Client commands take their token from BURNWATCH_TOKEN.
  BURNWATCH_LOG sets what is logged, like `debug` or `burnwatch::notify=debug,info`.";

/// Watches real users' page loads, errors and requests against SLOs, and tells people when the budget burns.
#[derive(Debug, Parser)]
#[command(name = "burnwatch", version, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    /// The configuration [default: ./burnwatch.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// All commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(run::Run),
    /// Run the daemon in a throwaway folder, with a simulated shop that breaks and is mended
    Demo(demo::Demo),
    /// Ready-made aggregate rows: load a file into the database
    #[command(subcommand)]
    Aggregates(aggregates::AggregatesCommand),
    /// Copy the database while the daemon runs
    Backup(backup::Backup),
    /// Load a rules folder as the daemon would and print every problem
    Check(check::Check),
    /// Run the rules' own tests, in simulated time
    Test(test::Test),
    /// Write the SLOs or routes of another tool as a rules folder, and say what became of every field
    Import(import::ImportArgs),
    /// Print the SLOs of a rules folder in another tool's form
    Export(import::ExportArgs),
    /// Run rules over stored history, or over a file of aggregate rows, without side effects
    Backtest(backtest::Backtest),
    /// Service level objectives: budgets, burn, and the gate for deployments
    #[command(subcommand)]
    Slo(slo::SloCommand),
    /// Incidents: look, acknowledge, resolve, snooze, note, export
    #[command(subcommand)]
    Incident(incident::IncidentCommand),
    /// Silences: add, list, expire
    #[command(subcommand)]
    Silence(silence::SilenceCommand),
    /// Alerts: the state of every rule and group
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Routes: who would be told
    #[command(subcommand)]
    Route(route::RouteCommand),
    /// Say what changed: a deploy, a flag, a sampling rate
    #[command(subcommand)]
    Annotate(annotate::AnnotateCommand),
    /// Notifications that could not be delivered
    #[command(subcommand)]
    Deadletter(deadletter::DeadletterCommand),
    /// Receivers: list them, send a test
    #[command(subcommand)]
    Receiver(receiver::ReceiverCommand),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Print the version
    Version(Version),
    /// Ask the daemon of this machine whether it is alive; for container health checks
    #[command(hide = true)]
    Healthcheck,
}

/// `version`
#[derive(Debug, clap::Args)]
pub struct Version {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// What every command gets: where its configuration is, the variables, and a clock.
pub struct Context {
    /// `--config`
    pub config_file: Option<PathBuf>,
    /// The variables at the start of the process.
    pub environment: Environment,
    /// What time it is.
    pub clock: SharedClock,
}

impl Context {
    /// Reads the configuration.
    pub fn config(&self, purpose: Purpose) -> Result<Config, Failure> {
        Ok(Config::load(self.config_file.as_deref(), &self.environment, purpose)?)
    }

    /// Reads the configuration for a tool and says on stderr what is odd about it.
    pub fn tool_config(&self) -> Result<Config, Failure> {
        let config = self.config(Purpose::Tool)?;
        for warning in &config.warnings {
            output::complain(&format!("warning: {}", output::plain(&warning.to_string())));
        }
        Ok(config)
    }
}

/// Reads the command line, runs the command, and gives the process's exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that is piped into a closed `head` is no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let context = Context { config_file: cli.config, environment: Environment::of_process(), clock: Arc::new(SystemClock) };
    exit::finish(run(&cli.command, &context))
}

fn run(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Run(args) => run::run(args, context),
        Command::Demo(args) => demo::run(args, context),
        Command::Check(args) => check::run(args, context),
        Command::Test(args) => test::run(args, context),
        Command::Aggregates(command) => aggregates::run(command, context),
        Command::Backup(args) => backup::run(args, context),
        Command::Import(args) => ended(import::run(args)),
        Command::Export(args) => ended(import::run_export(args)),
        Command::Backtest(args) => backtest::run(args, context),
        Command::Completions(args) => completions::run(args),
        Command::Version(Version { json: true }) => output::say(concat!(r#"{"version":""#, env!("CARGO_PKG_VERSION"), r#""}"#)),
        Command::Version(Version { json: false }) => output::say(concat!("burnwatch ", env!("CARGO_PKG_VERSION"))),
        Command::Healthcheck => {
            let config = context.config(Purpose::Tool)?;
            client::block_on(healthcheck::run(&config))
        }
        Command::Slo(_)
        | Command::Incident(_)
        | Command::Silence(_)
        | Command::Alert(_)
        | Command::Route(_)
        | Command::Annotate(_)
        | Command::Deadletter(_)
        | Command::Receiver(_) => ask_daemon(command, context),
    }
}

/// What a command that has said everything itself comes to: 0 is fine, anything else is not; an error is input or output that failed.
fn ended(code: anyhow::Result<i32>) -> Outcome {
    match code {
        Ok(0) => Ok(()),
        Ok(_) => Err(Failure::said(exit::Code::NotFine)),
        Err(error) => Err(Failure::cannot(error)),
    }
}

/// Commands that are clients of the daemon's HTTP interface.
fn ask_daemon(command: &Command, context: &Context) -> Outcome {
    logging::start(&context.environment, logging::Level::Warn);
    let config = context.tool_config()?;
    let client = Client::new(&config, &context.environment)?;
    client::block_on(async {
        match command {
            Command::Slo(command) => slo::run(command, &client).await,
            Command::Incident(command) => incident::run(command, &client).await,
            Command::Silence(command) => silence::run(command, &client, context).await,
            Command::Alert(command) => alert::run(command, &client).await,
            Command::Route(command) => route::run(command, &client).await,
            Command::Annotate(command) => annotate::run(command, &client, context).await,
            Command::Deadletter(command) => deadletter::run(command, &client).await,
            Command::Receiver(command) => receiver::run(command, &client).await,
            Command::Run(_)
            | Command::Aggregates(_)
            | Command::Backup(_)
            | Command::Demo(_)
            | Command::Check(_)
            | Command::Test(_)
            | Command::Backtest(_)
            | Command::Import(_)
            | Command::Export(_)
            | Command::Completions(_)
            | Command::Version(_)
            | Command::Healthcheck => Ok(()),
        }
    })
}

/// Says that a table is not the whole list.
fn more(whole: bool) {
    if !whole {
        output::complain("there are more; narrow the list down, or follow `next` with --json");
    }
}

/// An object as one field a line.
fn fields_of(object: &Value) -> String {
    let mut text = String::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        let _ = writeln!(text, "{}: {}", output::plain(key), output::plain(&field::shown(value)));
    }
    text
}

#[cfg(test)]
mod tests;
