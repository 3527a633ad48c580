//! `burnwatch backup`: a consistent copy of the database, also while the daemon runs.

use std::path::PathBuf;

use clap::Args;

/// `backup`
#[derive(Debug, Args)]
#[command(after_help = "Works on SQLite. For PostgreSQL, use pg_dump.\n\nExample:\n  burnwatch backup /backups/burnwatch-monday.db")]
pub struct Backup {
    /// Where to; the file must not exist yet
    pub file: PathBuf,
}
