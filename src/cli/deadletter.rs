//! `burnwatch deadletter`: notifications that could not be delivered for good.

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Client;
use super::exit::{Failure, Outcome};
use super::field::text;
use super::output::{self, Table};

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadletterCommand {
    /// All dead letters with their last error
    List(List),
    /// Try again, with the same delivery ids, so that nothing opens twice
    #[command(after_help = "Examples:\n  burnwatch deadletter replay 5f2c\n  burnwatch deadletter replay --all")]
    Replay(Replay),
}

/// `deadletter list`
#[derive(Debug, Args)]
pub struct List {
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `deadletter replay`
#[derive(Debug, Args)]
pub struct Replay {
    /// The dead letters' ids
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Print the HTTP body, one a line
    #[arg(long)]
    json: bool,
}

/// Runs one of the commands.
pub async fn run(command: &DeadletterCommand, client: &Client) -> Outcome {
    match command {
        DeadletterCommand::List(List { json: true }) => client.get(&["v1", "deadletters"], &[]).await?.print(),
        DeadletterCommand::List(List { json: false }) => {
            let (items, whole) = client.items(&["v1", "deadletters"], &[]).await?;
            let mut table = Table::new(&["id", "at", "incident", "receiver", "type", ">attempts", "error"]);
            for letter in &items {
                table.row(["id", "at", "incident", "receiver", "type", "attempts", "error"].map(|key| text(letter, key)).to_vec());
            }
            table.print("no dead letters")?;
            super::more(whole);
            Ok(())
        }
        DeadletterCommand::Replay(args) => replay(client, args).await,
    }
}

async fn replay(client: &Client, Replay { ids, all, json: as_json }: &Replay) -> Outcome {
    let ids = if *all {
        let (items, _) = client.items(&["v1", "deadletters"], &[]).await?;
        items.iter().map(|letter| text(letter, "id")).collect()
    } else {
        ids.to_vec()
    };
    let mut failed = Vec::new();
    for id in &ids {
        match client.post(&["v1", "deadletters", id, "replay"], &json!({})).await {
            Ok(answer) if *as_json => answer.print()?,
            Ok(_) => output::say(&format!("replayed {}", output::plain(id)))?,
            // One that is gone must not keep the others back.
            Err(Failure { code: super::exit::Code::NotFine, .. }) => failed.push(id.clone()),
            Err(failure) => return Err(failure),
        }
    }
    if failed.is_empty() {
        return if ids.is_empty() && !as_json { output::say("no dead letters") } else { Ok(()) };
    }
    Err(Failure::not_fine(anyhow!("no dead letter {}", failed.join(", "))))
}
