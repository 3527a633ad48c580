//! `burnwatch aggregates load`: aggregate rows from a file into the configured database.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with aggregates.
#[derive(Debug, Subcommand)]
pub enum AggregatesCommand {
    /// Load rows from a file into the database of the configuration
    #[command(after_help = "One JSON object a line, the rows of POST /v1/aggregates:\n  \
        {\"bucket\":\"2026-11-22T03:00:00Z\",\"metric\":\"request\",\"dims\":{\"app\":\"shop\"},\"total\":600,\"bad\":3,\"id\":\"r1\"}\n\
        Refused rows are reported with their line; exits 1 if there is one. A row whose id was loaded before counts once.")]
    Load(Load),
}

/// `aggregates load`
#[derive(Debug, Args)]
pub struct Load {
    /// The file
    #[arg(value_name = "FILE.ndjson")]
    pub file: PathBuf,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}
