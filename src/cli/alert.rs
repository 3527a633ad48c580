//! `burnwatch alert`: the state of every rule and group.

use clap::{Args, Subcommand};

use super::client::Client;
use super::exit::Outcome;
use super::field::text;
use super::output::Table;

/// What can be asked about alerts.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// All alerts: pending, firing, unknown and ok
    List(List),
}

/// `alert list`
#[derive(Debug, Args)]
pub struct List {
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(command: &AlertCommand, client: &Client) -> Outcome {
    let AlertCommand::List(List { json }) = command;
    if *json {
        return client.get(&["v1", "alerts"], &[]).await?.print();
    }
    let (items, whole) = client.items(&["v1", "alerts"], &[]).await?;
    let mut table = Table::new(&["rule", "state", "severity", "since", "labels", "reason"]);
    for alert in &items {
        table.row(["rule", "state", "severity", "since", "labels", "reason"].map(|key| text(alert, key)).to_vec());
    }
    table.print("no alerts")?;
    super::more(whole);
    Ok(())
}
