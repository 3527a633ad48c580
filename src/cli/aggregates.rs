//! `burnwatch aggregates load`: aggregate rows from a file into the configured database.

mod source;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::exit::{Code, Failure, Outcome};
use super::{Context, client, logging, output};
use crate::chance;
use crate::config::Purpose;
use crate::domain::redact::Redactor;
use crate::domain::rows::Reader;
use crate::jobs::flush::Flush;
use crate::sink::Sink;
use crate::store::Store;
use source::Source;

/// Rows that are stored together.
const BATCH: usize = 20_000;
/// Refused rows that are told one by one.
const SHOWN: usize = 20;

/// What can be done with aggregates.
#[derive(Debug, Subcommand)]
pub enum AggregatesCommand {
    /// Load rows from a file into the database of the configuration
    #[command(after_help = "One JSON object a line, or one JSON array of them: the rows of POST /v1/aggregates.\n  \
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

/// Runs `aggregates …`.
pub fn run(command: &AggregatesCommand, context: &Context) -> Outcome {
    let AggregatesCommand::Load(args) = command;
    logging::start(&context.environment, logging::Level::Warn);
    client::block_on(load(args, context))
}

/// Rows of a file, and what became of them.
#[derive(Default)]
struct Tally {
    accepted: u64,
    rejected: Vec<(usize, String)>,
    refused: u64,
}

impl Tally {
    fn refuse(&mut self, line: usize, reason: String) {
        self.refused += 1;
        if self.rejected.len() < SHOWN {
            self.rejected.push((line, reason));
        }
    }
}

async fn load(args: &Load, context: &Context) -> Outcome {
    let config = context.config(Purpose::Tool)?;
    let now = context.clock.now();
    let unreadable =
        |error: std::io::Error| Failure::cannot(anyhow::Error::new(error).context(format!("cannot read `{}`", args.file.display())));
    let file = File::open(&args.file).map_err(unreadable)?;
    let size = file.metadata().map(|meta| meta.len()).unwrap_or(0);
    let mut source = Source::open(file).map_err(unreadable)?;
    let store = Store::open(&config.database.url, now).await.map_err(store_failure)?;
    let hash = crate::app::keyed_hash(&config, &store).await.map_err(store_failure)?;
    let aggregator = crate::app::aggregator(&config, &store, now).await.map_err(store_failure)?;
    let redactor =
        Redactor::new(config.privacy.redact, &config.privacy.redact_patterns).context("privacy.redact_patterns").map_err(Failure::usage)?;
    let reader = Reader::new(config.aggregation.bucket, &config.aggregation.dimensions, hash, redactor);
    let sink = Arc::new(Sink::new(aggregator));
    let mut flush = Flush::new(store.clone(), sink.clone(), "rows", chance::id);
    let mut tally = Tally::default();
    let mut progress = output::Progress::default();
    let (mut json, mut waiting) = (Vec::new(), 0_usize);
    while let Some(number) = source.next(&mut json).map_err(unreadable)? {
        match reader.row(&json) {
            Ok(row) if row.at > now => tally.refuse(number, "`bucket` lies in the future".into()),
            Ok(row) => {
                let done = sink.submit_rows([(number, row)], now);
                tally.accepted += (done.accepted + done.duplicate) as u64;
                for line in done.refused {
                    tally.refuse(line, "too many apps".into());
                }
                waiting += 1;
            }
            Err(error) => tally.refuse(number, error.to_string()),
        }
        if waiting >= BATCH {
            waiting = 0;
            flush.run(context.clock.now()).await.map_err(store_failure)?;
            progress.at(|| format!("{} rows loaded, {} % of the file", tally.accepted, source.bytes() * 100 / size.max(1)));
        }
    }
    flush.finish(context.clock.now()).await.map_err(store_failure)?;
    drop(progress);
    store.close().await;
    report(&tally, args)
}

/// Says what became of the rows; a refused one makes it fail.
fn report(tally: &Tally, args: &Load) -> Outcome {
    for (line, reason) in &tally.rejected {
        output::complain(&format!("{}:{line}: {}", args.file.display(), output::plain(reason)));
    }
    if tally.refused > tally.rejected.len() as u64 {
        output::complain(&format!("and {} more rows were refused", tally.refused - tally.rejected.len() as u64));
    }
    if args.json {
        let rejected: Vec<_> = tally.rejected.iter().map(|(line, reason)| serde_json::json!({ "line": line, "reason": reason })).collect();
        let body = serde_json::json!({ "accepted": tally.accepted, "refused": tally.refused, "rejected": rejected });
        output::say(&body.to_string())?;
    } else {
        output::say(&format!("{} rows loaded, {} refused", tally.accepted, tally.refused))?;
    }
    if tally.refused > 0 { Err(Failure::said(Code::NotFine)) } else { Ok(()) }
}

/// What a failing store means to a script.
pub fn store_failure(error: crate::store::StoreError) -> Failure {
    if error.is_configuration() { Failure::usage(error) } else { Failure::cannot(error) }
}
