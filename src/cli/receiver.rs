//! `burnwatch receiver`: who can be told, and whether telling them works.

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Client;
use super::exit::{Code, Failure, Outcome};
use super::field::{at, text};
use super::output::{self, Table, plain};

/// What can be done with receivers.
#[derive(Debug, Subcommand)]
pub enum ReceiverCommand {
    /// All receivers of the rules in force
    List(List),
    /// Send a test notification and wait for its outcome; exits 1 if it is not delivered
    #[command(after_help = "Example:\n  burnwatch receiver send-test checkout-pager")]
    SendTest(SendTest),
}

/// `receiver list`
#[derive(Debug, Args)]
pub struct List {
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `receiver send-test`
#[derive(Debug, Args)]
pub struct SendTest {
    /// The receiver's name
    name: String,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// Runs one of the commands: `GET /v1/receivers` (`{items: [{name, kind, target, …}]}`) and
/// `POST /v1/receivers/{name}/test` (`{delivered, status, detail}`).
pub async fn run(command: &ReceiverCommand, client: &Client) -> Outcome {
    match command {
        ReceiverCommand::List(List { json: true }) => client.get(&["v1", "receivers"], &[]).await?.print(),
        ReceiverCommand::List(List { json: false }) => {
            let (items, whole) = client.items(&["v1", "receivers"], &[]).await?;
            let mut table = Table::new(&["name", "kind", "target", ">pending", "last success", "last error"]);
            for receiver in &items {
                table.row(["name", "kind", "target", "pending", "last_success", "last_error"].map(|key| text(receiver, key)).to_vec());
            }
            table.print("no receivers; rules declare them with receiver(\"name\", …)")?;
            super::more(whole);
            Ok(())
        }
        ReceiverCommand::SendTest(SendTest { name, json }) => send_test(client, name, *json).await,
    }
}

async fn send_test(client: &Client, name: &str, json: bool) -> Outcome {
    let answer = client.post(&["v1", "receivers", name, "test"], &json!({})).await?;
    let delivered = at(&answer.json, &["delivered"]).as_bool().unwrap_or(false);
    if json {
        answer.print()?;
        return if delivered { Ok(()) } else { Err(Failure::said(Code::NotFine)) };
    }
    let detail =
        ["status", "detail"].map(|key| text(&answer.json, key)).into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
    if !delivered {
        return Err(Failure::not_fine(anyhow!("the test to `{name}` was not delivered: {detail}")));
    }
    output::say(&format!("delivered to {}: {}", plain(name), plain(&detail)))
}
