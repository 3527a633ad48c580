//! `burnwatch slo`: service level objectives, their budgets, and whether a release may go out.

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::Client;
use super::exit::{Code, Failure, Outcome};
use super::field::{at, percent, shown, text};
use super::output::{self, Table};

/// What can be asked about SLOs.
#[derive(Debug, Subcommand)]
pub enum SloCommand {
    /// All SLOs and groups with their budget and burn
    List(List),
    /// One SLO with all its groups
    Show(Name),
    /// Whether the budget policy lets changes go on; exits 1 when it says stop
    #[command(after_help = "Example, before a deployment:\n  burnwatch slo gate checkout-api && ./deploy")]
    Gate(Name),
}

/// `slo list`
#[derive(Debug, Args)]
pub struct List {
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// A command about one SLO.
#[derive(Debug, Args)]
pub struct Name {
    /// The SLO's name
    name: String,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// Runs one of the commands.
pub async fn run(command: &SloCommand, client: &Client) -> Outcome {
    match command {
        SloCommand::List(List { json: true }) => client.get(&["v1", "slos"], &[]).await?.print(),
        SloCommand::List(List { json: false }) => {
            let (items, whole) = client.items(&["v1", "slos"], &[]).await?;
            table(&items)?;
            super::more(whole);
            Ok(())
        }
        SloCommand::Show(Name { name, json }) => {
            let body = client.get(&["v1", "slos", name], &[]).await?;
            if *json { body.print() } else { show(&body.json) }
        }
        SloCommand::Gate(Name { name, json }) => gate(client, name, *json).await,
    }
}

fn table(items: &[Value]) -> Outcome {
    let mut table = Table::new(&["slo", "labels", ">objective", "window", ">sli", ">budget left", "burn", "state"]);
    for slo in items {
        table.row(vec![
            text(slo, "slo"),
            text(slo, "labels"),
            shown(at(slo, &["objective"])),
            text(slo, "window"),
            percent(at(slo, &["sli"])),
            percent(at(slo, &["budget_remaining"])),
            text(slo, "burn"),
            text(slo, "state"),
        ]);
    }
    table.print("no SLOs; rules declare them with slo(\"name\", #{ … })")
}

/// One SLO: its groups as a table, or its fields when the answer is a single row.
fn show(slo: &Value) -> Outcome {
    for key in ["items", "groups"] {
        if let Some(rows) = at(slo, &[key]).as_array() {
            return table(rows);
        }
    }
    if let Some(rows) = slo.as_array() {
        return table(rows);
    }
    output::say(&super::fields_of(slo))
}

async fn gate(client: &Client, name: &str, json: bool) -> Outcome {
    let body = client.get(&["v1", "slos", name, "gate"], &[]).await?;
    let Some(allow) = at(&body.json, &["allow"]).as_bool() else {
        return Err(Failure::cannot(anyhow!("the gate of `{name}` answered neither yes nor no")));
    };
    if json {
        body.print()?;
    } else {
        let word = if allow { "go" } else { "stop" };
        output::say(&format!("{word}: {}", output::plain(&text(&body.json, "reason"))))?;
    }
    if allow { Ok(()) } else { Err(Failure::said(Code::NotFine)) }
}
