//! `burnwatch check`: loads a rules folder as the daemon would and prints every problem.

use std::path::PathBuf;

use clap::Args;

/// `check`
#[derive(Debug, Args)]
#[command(after_help = "Every problem is one line, `path:line:column: error|warning: message`; exits 1 if there is an error.\n\
    Needs no daemon, no database and no secret values.\n\nExample, in CI:\n  burnwatch check rules && burnwatch test rules")]
pub struct Check {
    /// The rules folder [default: rules.path of the configuration]
    pub path: Option<PathBuf>,
    /// Print the problems as JSON
    #[arg(long)]
    pub json: bool,
}
