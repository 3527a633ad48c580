//! `burnwatch silence`: be quiet about what matches, until a time.

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::client::Client;
use super::exit::{Failure, Outcome};
use super::field::text;
use super::output::{self, Table};
use crate::domain::time::{Span, Timestamp};

/// What can be done with silences.
#[derive(Debug, Subcommand)]
pub enum SilenceCommand {
    /// Add a silence; prints its id
    #[command(after_help = "Matchers are like Alertmanager's: a=b, a!=b, a=~regex, a!~regex; all of them must match.\n\n\
        Examples:\n  burnwatch silence add service=shop region=~\"eu.*\" --for 2h --comment \"database move\"\n  \
        burnwatch silence add slo=checkout-api --until 2026-11-23T06:00:00Z --comment \"known, ticket 42\"")]
    Add(Add),
    /// Silences that are or will be in force
    List(List),
    /// End silences now
    Expire(Expire),
}

/// `silence add`
#[derive(Debug, Args)]
pub struct Add {
    /// What has to match, all of them
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<String>,
    /// For how long, like 2h
    #[arg(long = "for", visible_alias = "duration", value_name = "DURATION", conflicts_with = "until", required_unless_present = "until")]
    span: Option<Span>,
    /// Until when, RFC 3339
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// From when on, RFC 3339; without it, from now on
    #[arg(long, value_name = "TIME")]
    starts: Option<Timestamp>,
    /// Who silences; without it, the name in USER
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Why, for the people who wonder later
    #[arg(long, value_name = "TEXT")]
    comment: String,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `silence list`
#[derive(Debug, Args)]
pub struct List {
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `silence expire`
#[derive(Debug, Args)]
pub struct Expire {
    /// The silences' ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Print a JSON object for each one
    #[arg(long)]
    json: bool,
}

/// Runs one of the commands.
pub async fn run(command: &SilenceCommand, client: &Client, context: &Context) -> Outcome {
    match command {
        SilenceCommand::Add(args) => add(client, args, context).await,
        SilenceCommand::List(List { json: true }) => client.get(&["v1", "silences"], &[]).await?.print(),
        SilenceCommand::List(List { json: false }) => {
            let (items, whole) = client.items(&["v1", "silences"], &[]).await?;
            let mut table = Table::new(&["id", "matchers", "starts", "ends", "author", "comment"]);
            for silence in &items {
                table.row(["id", "matchers", "starts", "ends", "author", "comment"].map(|key| text(silence, key)).to_vec());
            }
            table.print("no silences")?;
            super::more(whole);
            Ok(())
        }
        SilenceCommand::Expire(Expire { ids, json: as_json }) => {
            for id in ids {
                client.delete(&["v1", "silences", id]).await?;
                // The answer has no body.
                let line =
                    if *as_json { json!({ "id": id, "state": "expired" }).to_string() } else { format!("expired {}", output::plain(id)) };
                output::say(&line)?;
            }
            Ok(())
        }
    }
}

async fn add(client: &Client, args: &Add, context: &Context) -> Outcome {
    let starts = args.starts.unwrap_or_else(|| context.clock.now());
    let ends = match (args.until, args.span) {
        (Some(until), _) => until,
        (None, Some(span)) => starts + span,
        (None, None) => return Err(Failure::usage(anyhow!("say until when: --for 2h or --until TIME"))),
    };
    if ends <= starts {
        return Err(Failure::usage(anyhow!("a silence that ends at {ends} would never be in force")));
    }
    let author = args.author.as_deref().or_else(|| context.environment.get("USER")).unwrap_or("burnwatch cli");
    let mut body = json!({ "matchers": args.matchers, "ends": ends, "author": author, "comment": args.comment });
    if let Some(starts) = args.starts {
        body["starts"] = json!(starts);
    }
    let answer = client.post(&["v1", "silences"], &body).await?;
    if args.json { answer.print() } else { output::say(&output::plain(&text(&answer.json, "id"))) }
}
