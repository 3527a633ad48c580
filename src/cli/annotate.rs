//! `burnwatch annotate`: tell burnwatch what changed, so that it can say what a regression came with.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::client::Client;
use super::exit::Outcome;
use super::field::text;
use super::output;
use super::when::When;

/// Kinds of change.
#[derive(Debug, Subcommand)]
pub enum AnnotateCommand {
    /// A release went out
    #[command(
        after_help = "Example, at the end of a deployment:\n  burnwatch annotate deploy --app shop --release 2.3.1 --url https://ci.example.com/run/42"
    )]
    Deploy(Change),
    /// A feature flag was flipped
    Flag(Change),
    /// A client's sampling rate was changed
    Sampling(Change),
    /// Anything else that explains a change in the numbers
    Other(Change),
}

/// What changed.
#[derive(Debug, Args)]
pub struct Change {
    /// The app that changed
    #[arg(long)]
    app: String,
    /// The release that it has now
    #[arg(long)]
    release: Option<String>,
    /// When: RFC 3339, or so long ago like -10m; without it, now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<When>,
    /// A few words
    #[arg(long)]
    text: Option<String>,
    /// Where to read more
    #[arg(long)]
    url: Option<String>,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// Posts the annotation.
pub async fn run(command: &AnnotateCommand, client: &Client, context: &Context) -> Outcome {
    let (kind, change) = match command {
        AnnotateCommand::Deploy(change) => ("deploy", change),
        AnnotateCommand::Flag(change) => ("flag", change),
        AnnotateCommand::Sampling(change) => ("sampling", change),
        AnnotateCommand::Other(change) => ("other", change),
    };
    let mut body = json!({ "kind": kind, "app": change.app });
    // Without a time, the daemon's clock decides; this machine's may be off.
    if let Some(at) = change.at {
        body["at"] = json!(at.resolve(context.clock.now()));
    }
    for (key, value) in [("release", &change.release), ("text", &change.text), ("url", &change.url)] {
        if let Some(value) = value {
            body[key] = json!(value);
        }
    }
    let answer = client.post(&["v1", "annotations"], &body).await?;
    if change.json { answer.print() } else { output::say(&format!("noted {}", output::plain(&text(&answer.json, "id")))) }
}
