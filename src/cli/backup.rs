//! `burnwatch backup`: a consistent copy of the database, also while the daemon runs.

use std::path::PathBuf;

use clap::Args;

use super::aggregates::store_failure;
use super::exit::Outcome;
use super::{Context, client, logging, output};
use crate::store::Store;

/// `backup`
#[derive(Debug, Args)]
#[command(after_help = "Works on SQLite. For PostgreSQL, use pg_dump.\n\nExample:\n  burnwatch backup /backups/burnwatch-monday.db")]
pub struct Backup {
    /// Where to; the file must not exist yet
    pub file: PathBuf,
}

/// Runs `backup`.
pub fn run(args: &Backup, context: &Context) -> Outcome {
    logging::start(&context.environment, logging::Level::Warn);
    let config = context.tool_config()?;
    client::block_on(async {
        let store = Store::open_existing(&config.database.url, context.clock.now()).await.map_err(store_failure)?;
        store.backup(&args.file, context.clock.now()).await.map_err(store_failure)?;
        output::complain(&format!("copied {} to {}", store.place(), args.file.display()));
        Ok(())
    })
}
