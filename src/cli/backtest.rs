//! `burnwatch backtest`: what the rules would have done over stored history, without side effects.

mod data;
mod simulation;

use std::path::PathBuf;

use clap::Args;

use super::when::When;

/// `backtest`
#[derive(Debug, Args)]
#[command(after_help = "Evaluates at each t with from < t <= to, in simulated time; nothing is sent and nothing is stored. Data before\n\
    --from warms the windows up. Alerts do not make it fail: it exits 0 when the run itself went well.\n\
    It reads the configured database, whether the daemon runs or not, or with --data a file and no database.\n\n\
    Examples:\n  burnwatch backtest --from -30d\n  burnwatch backtest rules --data october.ndjson --slo checkout-api --plot checkout.svg\n  \
    burnwatch backtest --from -7d --against HEAD~1")]
pub struct Backtest {
    /// The rules folder [default: rules.path of the configuration]
    pub path: Option<PathBuf>,
    /// Start: RFC 3339, or so long ago like -30d [default with --data: the first row]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<When>,
    /// End: RFC 3339, or so long ago [default: now; with --data: the end of the last row's bucket]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<When>,
    /// Aggregate rows to run over, instead of the database
    #[arg(long, value_name = "FILE.ndjson")]
    pub data: Option<PathBuf>,
    /// Only this SLO
    #[arg(long, value_name = "NAME")]
    pub slo: Option<String>,
    /// Compare with the rules of another revision
    #[arg(long, value_name = "REV")]
    pub against: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write a picture of budgets, burn and alerts
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}
