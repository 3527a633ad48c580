//! `burnwatch incident`: what people were told about, and what they did.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{Failure, Outcome};
use super::field::{at, decimal, list, percent, shown, text};
use super::output::{self, Table, plain};
use crate::domain::time::Span;

/// What can be done with incidents.
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// Incidents, newest first
    #[command(after_help = "Example:\n  burnwatch incident list --status open --severity page")]
    List(List),
    /// One incident with its alerts, suspects and history
    Show(Show),
    /// Say that someone is on it: reminders and escalations stop
    Ack(Act),
    /// Take an acknowledgement back: reminders and escalations go on
    Unack(Unack),
    /// Close it by hand; it reopens if its alerts hold again
    Resolve(Act),
    /// Be quiet about it for a while
    #[command(after_help = "Example:\n  burnwatch incident snooze 01J9 --for 2h")]
    Snooze(Snooze),
    /// Add a note to its history
    #[command(after_help = "Example:\n  burnwatch incident note 01J9 \"rolled back to 2.3.0\"")]
    Note(Note),
    /// Hand it over: from now on it goes to whom the routes name for this owner
    #[command(after_help = "Example:\n  burnwatch incident owner 01J9 team-db --why \"the database is full\"")]
    Owner(Owner),
    /// Say how loud it is; that stands until its alerts rise above it or it is closed
    #[command(after_help = "Example:\n  burnwatch incident severity 01J9 ticket --why \"nobody is hit\"")]
    Severity(Grade),
    /// Write it down for a review: a report in Markdown, or everything as JSON
    #[command(after_help = "Example:\n  burnwatch incident export 01J9 --out review.md")]
    Export(Export),
}

/// `incident list`
#[derive(Debug, Args)]
pub struct List {
    /// Only these
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only these
    #[arg(long, value_enum)]
    severity: Option<Severity>,
    /// Where a list was cut: the `next` of the page before (with --json)
    #[arg(long, requires = "json")]
    cursor: Option<String>,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// An incident's status.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Status {
    /// Nobody is on it
    Open,
    /// Someone is on it
    Acknowledged,
    /// Over
    Resolved,
}

/// An incident's severity.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Severity {
    /// Wakes a person
    Page,
    /// Waits for working hours
    Ticket,
    /// For the record
    Info,
}

/// `incident show`
#[derive(Debug, Args)]
pub struct Show {
    /// The incident's id
    id: String,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `incident ack`, `incident resolve`
#[derive(Debug, Args)]
pub struct Act {
    /// The incident's id
    id: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `incident unack`
#[derive(Debug, Args)]
pub struct Unack {
    /// The incident's id
    id: String,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `incident snooze`
#[derive(Debug, Args)]
pub struct Snooze {
    /// The incident's id
    id: String,
    /// For how long, like 30m or 2h
    #[arg(long = "for", value_name = "DURATION")]
    span: Span,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `incident note`
#[derive(Debug, Args)]
pub struct Note {
    /// The incident's id
    id: String,
    /// The note
    text: String,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `incident owner`
#[derive(Debug, Args)]
pub struct Owner {
    /// The incident's id
    id: String,
    /// Whose it is
    owner: String,
    /// Why, for the history and for whoever is told
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// `incident severity`
#[derive(Debug, Args)]
pub struct Grade {
    /// The incident's id
    id: String,
    /// How loud it is
    #[arg(value_enum)]
    severity: Loudness,
    /// Why, for the history and for whoever is told
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Print the HTTP body
    #[arg(long)]
    json: bool,
}

/// A severity as a person chooses it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Loudness {
    /// Wakes a person
    Page,
    /// Waits for working hours
    Ticket,
    /// For the record
    Info,
    /// What its alerts say
    Auto,
}

/// `incident export`
#[derive(Debug, Args)]
pub struct Export {
    /// The incident's id
    id: String,
    /// Where to; without it, stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the HTTP body instead of a report
    #[arg(long)]
    json: bool,
}

/// Runs one of the commands.
pub async fn run(command: &IncidentCommand, client: &Client) -> Outcome {
    match command {
        IncidentCommand::List(args) => listed(client, args).await,
        IncidentCommand::Show(Show { id, json }) => {
            let body = client.get(&["v1", "incidents", id], &[]).await?;
            if *json { body.print() } else { output::say(&report(&body.json, Form::Terminal)) }
        }
        IncidentCommand::Unack(Unack { id, json }) => act(client, id, "unack", json!({}), *json).await,
        IncidentCommand::Ack(Act { id, text, json }) => act(client, id, "ack", json!({ "text": text }), *json).await,
        IncidentCommand::Resolve(Act { id, text, json }) => act(client, id, "resolve", json!({ "text": text }), *json).await,
        IncidentCommand::Snooze(Snooze { id, span, text, json }) => {
            act(client, id, "snooze", json!({ "for": span, "text": text }), *json).await
        }
        IncidentCommand::Note(Note { id, text, json }) => act(client, id, "note", json!({ "text": text }), *json).await,
        IncidentCommand::Owner(Owner { id, owner, why, json }) => {
            act(client, id, "owner", json!({ "owner": owner, "why": why }), *json).await
        }
        IncidentCommand::Severity(Grade { id, severity, why, json }) => {
            let severity = severity.to_possible_value().map(|value| value.get_name().to_owned());
            act(client, id, "severity", json!({ "severity": severity, "why": why }), *json).await
        }
        IncidentCommand::Export(args) => export(client, args).await,
    }
}

async fn listed(client: &Client, args: &List) -> Outcome {
    let named = |value: Option<String>, key| value.map(|value| (key, value));
    let status = args.status.and_then(|status| status.to_possible_value()).map(|value| value.get_name().to_owned());
    let severity = args.severity.and_then(|severity| severity.to_possible_value()).map(|value| value.get_name().to_owned());
    let query: Vec<_> =
        [named(status, "status"), named(severity, "severity"), named(args.cursor.clone(), "cursor")].into_iter().flatten().collect();
    let query: Vec<_> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
    if args.json {
        return client.get(&["v1", "incidents"], &query).await?.print();
    }
    let (items, whole) = client.items(&["v1", "incidents"], &query).await?;
    let mut table = Table::new(&["id", "status", "severity", "opened", "service", "title"]);
    for incident in &items {
        table.row(["id", "status", "severity", "opened_at", "service", "title"].map(|key| text(incident, key)).to_vec());
    }
    table.print("no incidents")?;
    super::more(whole);
    Ok(())
}

async fn act(client: &Client, id: &str, action: &str, mut body: Value, json: bool) -> Outcome {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let answer = client.post(&["v1", "incidents", id, action], &body).await?;
    if json {
        return answer.print();
    }
    let done = match action {
        "ack" => "acknowledged",
        "unack" => "not acknowledged any more",
        "resolve" => "resolved",
        "snooze" => "snoozed",
        "owner" => "handed over",
        "severity" => "severity set of",
        _ => "noted on",
    };
    output::say(&format!("{done} {}", plain(id)))
}

async fn export(client: &Client, args: &Export) -> Outcome {
    let body = client.get(&["v1", "incidents", &args.id], &[]).await?;
    let text = if args.json { body.text } else { report(&body.json, Form::Markdown) };
    match &args.out {
        Some(path) => {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display())).map_err(Failure::cannot)?;
            output::say(&format!("wrote {}", path.display()))
        }
        None => output::say(&text),
    }
}

/// Where a report is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Terminal,
    Markdown,
}

/// An incident on a page or two: what, how bad, who is suspected, what happened when.
fn report(answer: &Value, form: Form) -> String {
    // Both the incident itself and one wrapped as in a webhook are read.
    let incident = if at(answer, &["incident"]).is_object() { at(answer, &["incident"]) } else { answer };
    let safe = |text: String| match form {
        Form::Terminal => plain(&text),
        Form::Markdown => markdown(&text),
    };
    let head = |title: &str| if form == Form::Markdown { format!("\n## {title}\n\n") } else { format!("\n{title}\n") };
    let item = if form == Form::Markdown { "- " } else { "  " };
    let mut out = String::new();
    let title = safe(text(incident, "title"));
    let _ = writeln!(out, "{}{title}", if form == Form::Markdown { "# " } else { "" });
    if form == Form::Markdown {
        out.push('\n');
    }
    for key in [
        "id",
        "status",
        "severity",
        "service",
        "owner",
        "labels",
        "opened_at",
        "acknowledged_at",
        "resolved_at",
        "verdict",
        "signature",
        "revision",
    ] {
        let value = text(incident, key);
        if !value.is_empty() {
            let _ = writeln!(out, "{item}{}: {}", key.replace('_', " "), safe(value));
        }
    }
    let impact = at(incident, &["impact"]);
    let _ = write!(out, "{}", head("Impact"));
    let _ = writeln!(out, "{item}users hit: {}", or_unknown(text(impact, "affected_users")));
    let _ = writeln!(out, "{item}bad events: {}", or_unknown(text(impact, "bad_events")));
    let _ = writeln!(out, "{item}budget spent: {}", or_unknown(percent(at(impact, &["budget_consumed"]))));
    let _ = writeln!(out, "{item}budget left: {}", or_unknown(percent(at(impact, &["budget_remaining"]))));
    section(&mut out, &head("Suspects"), list(incident, "suspects"), |suspect| {
        let shares = ["bad_share", "traffic_share", "excess_share"].map(|key| or_unknown(percent(at(suspect, &[key]))));
        let [bad, traffic, excess] = shares;
        format!("{item}{}: {bad} of the bad, {traffic} of the traffic, {excess} of the excess", safe(text(suspect, "where")))
    });
    section(&mut out, &head("Changes before it"), list(incident, "changes"), |change| {
        let fields = ["at", "kind", "app", "release"].map(|key| text(change, key));
        format!("{item}{}", safe(fields.join(" ")))
    });
    section(&mut out, &head("Alerts"), list(incident, "alerts"), |alert| {
        let values = at(alert, &["values"]);
        let burn = ["burn_long", "burn_short"].map(|key| at(values, &[key]).as_f64().map_or("unknown".to_owned(), decimal));
        let what = ["state", "severity", "rule", "summary"].map(|key| text(alert, key)).join(" ");
        format!("{item}{} {} (burn {} / {})", safe(text(alert, "started_at")), safe(what), burn[0], burn[1])
    });
    section(&mut out, &head("History"), list(incident, "history"), |event| {
        let words: Vec<_> = ["kind", "who", "text"].into_iter().map(|key| text(event, key)).filter(|word| !word.is_empty()).collect();
        format!("{item}{} {}", safe(shown(at(event, &["at"]))), safe(words.join(" ")))
    });
    out
}

fn section(out: &mut String, head: &str, items: &[Value], line: impl Fn(&Value) -> String) {
    if items.is_empty() {
        return;
    }
    out.push_str(head);
    for item in items {
        let _ = writeln!(out, "{}", line(item));
    }
}

fn or_unknown(text: String) -> String {
    if text.is_empty() { "unknown".to_owned() } else { text }
}

/// Text from outside as plain words in Markdown: no links, no HTML, no line breaks.
fn markdown(text: &str) -> String {
    let mut out = String::new();
    for c in plain(text).chars() {
        if "\\`*_[]<>#|!&~".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident() -> Value {
        json!({
            "id": "i1", "title": "checkout <b>burns</b>\n# fake", "status": "open", "severity": "page", "labels": { "region": "de" },
            "impact": { "affected_users": 812, "bad_events": 9, "budget_consumed": 0.05, "budget_remaining": null },
            "suspects": [{ "where": { "release": "2.3.1" }, "bad_share": 0.92, "traffic_share": 0.11, "excess_share": 0.9 }],
            "alerts": [{ "rule": "checkout", "state": "firing", "started_at": "2026-11-22T03:00:00Z", "values": { "burn_long": 14.5 } }],
            "history": [{ "at": "2026-11-22T03:00:00Z", "kind": "opened", "text": "first" }],
        })
    }

    #[test]
    fn a_report_says_what_is_known_and_what_is_not() {
        let text = report(&incident(), Form::Terminal);
        for line in [
            "users hit: 812",
            "budget spent: 5 %",
            "budget left: unknown",
            "release=2.3.1: 92 % of the bad",
            "burn 14.5 / unknown",
            "opened first",
        ] {
            assert!(text.contains(line), "{line}\nnot in\n{text}");
        }
    }

    #[test]
    fn hostile_text_makes_no_markup() {
        let text = report(&incident(), Form::Markdown);
        assert!(text.starts_with("# checkout \\<b\\>burns\\</b\\>\\\\n\\# fake\n"), "{text}");
    }
}
