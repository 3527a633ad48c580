//! Microsoft Teams: an Adaptive Card to a workflow's URL.

use reqwest::Method;
use serde_json::{Value, json};

use crate::domain::notification::{Kind, Notification};
use crate::domain::rule::{Field, Severity};

use super::http::json_headers;
use super::outcome::SendError;
use super::text::{Fact, Message, Piece};
use super::{Context, Sent, escape};

/// Teams refuses about 28 KB, and failures were seen near 21 KB.
const BODY_BYTES_MAX: usize = 18_000;

/// Posts a card. A workflow's 2xx says that it was taken, not that it is shown.
pub(crate) async fn send(context: &Context<'_>, url: &Field) -> Result<Sent, SendError> {
    let message = context.answerable_message();
    let answer = context
        .call(Method::POST, context.field(url)?, json_headers(), &card(&message, colour(&context.delivery.notification)))
        .await?
        .success(context.now)?;
    Ok(Sent { status: Some(answer.status), ..Sent::default() })
}

/// What a card calls the colour of its first word; the word says the same.
fn colour(notification: &Notification) -> &'static str {
    match (notification.kind, notification.data.incident.severity) {
        (Kind::Resolved, _) => "good",
        (Kind::Acknowledged, _) => "accent",
        (_, Severity::Page) => "attention",
        (_, Severity::Ticket) => "warning",
        (_, Severity::Info) => "accent",
    }
}

fn card(message: &Message, colour: &str) -> Value {
    let whole = envelope(message, colour, &message.facts, false);
    if whole.to_string().len() <= BODY_BYTES_MAX {
        return whole;
    }
    let mut kept = message.facts.len();
    loop {
        kept = kept.saturating_sub(1);
        let shorter = envelope(message, colour, &message.facts[..kept], true);
        if kept == 0 || shorter.to_string().len() <= BODY_BYTES_MAX {
            return shorter;
        }
    }
}

fn envelope(message: &Message, colour: &str, facts: &[Fact], cut: bool) -> Value {
    let mut head = [run(&format!("{}: ", message.word), true, false), run(&message.stem, true, false)];
    head.iter_mut().for_each(|run| run["size"] = "medium".into());
    head[0]["color"] = colour.into();
    let mut body = vec![line(head.into())];
    for fact in facts {
        let mut runs = Vec::new();
        if !fact.name.is_empty() {
            runs.push(run(&format!("{}: ", fact.name), true, false));
        }
        runs.extend(fact.pieces.iter().map(|piece| match piece {
            Piece::Ours(text) => run(text, false, false),
            Piece::Theirs(text) => run(text, false, true),
        }));
        body.push(line(runs));
    }
    if cut {
        body.push(line(vec![run(escape::MARK, false, false), run(" more in the incident", false, false)]));
    }
    let actions: Vec<Value> =
        message.links.iter().map(|link| json!({ "type": "Action.OpenUrl", "title": link.name, "url": link.url })).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": body,
                "actions": actions,
                "msteams": { "width": "full" },
            },
        }],
    })
}

/// Text runs are shown as they are; a `TextBlock` would read Markdown in them.
fn line(runs: Vec<Value>) -> Value {
    json!({ "type": "RichTextBlock", "inlines": runs })
}

fn run(text: &str, bold: bool, theirs: bool) -> Value {
    let mut run = json!({ "type": "TextRun", "text": text });
    if bold {
        run["weight"] = "bolder".into();
    }
    if theirs {
        run["fontType"] = "monospace".into();
    }
    run
}
