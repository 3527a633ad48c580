//! `burnwatch route test`: who would be told about an alert with these labels.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Client;
use super::exit::Outcome;
use super::field::{list, text};
use super::output::Table;

/// What can be asked about routes.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Which routes match an alert with these labels, and who is told
    #[command(after_help = "Example:\n  burnwatch route test severity=page service=shop owner=team-checkout")]
    Test(Test),
}

/// `route test`
#[derive(Debug, Args)]
pub struct Test {
    /// The alert's labels
    #[arg(required = true, value_name = "LABEL=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// Runs the command: asks `POST /v1/routes/test` with `{labels}`, answered by
/// `{items: [{route, receivers, group_by, muted, …}], next}`, the matching routes in order.
pub async fn run(command: &RouteCommand, client: &Client) -> Outcome {
    let RouteCommand::Test(Test { labels, json }) = command;
    let labels: BTreeMap<&str, &str> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = client.post(&["v1", "routes", "test"], &json!({ "labels": labels })).await?;
    if *json {
        return body.print();
    }
    // A route that is muted now still takes the alert, and tells nobody.
    let mut table = Table::new(&["route", "receivers", "group by", "told"]);
    for route in list(&body.json, "items") {
        let told = match text(route, "muted") {
            why if why.is_empty() => "now".to_owned(),
            why => format!("no: {why}"),
        };
        let mut row = ["route", "receivers", "group_by"].map(|key| text(route, key)).to_vec();
        row.push(told);
        table.row(row);
    }
    table.print("no route matches: nobody would be told")
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it like severity=page".to_owned()),
    }
}
