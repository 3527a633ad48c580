//! Opsgenie's Alert API v2 and its successor in Jira Service Management, which takes the same calls under another base URL.

use std::collections::BTreeMap;

use http::HeaderMap;
use reqwest::Method;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::domain::notification::Kind;
use crate::domain::rule::{Field, Severity};

use super::http::{Answer, join, json_headers, part, set_header};
use super::outcome::SendError;
use super::text::Message;
use super::{Context, Sent, escape};

/// Options of the receiver that go into a new alert as they are, and their names there.
const PASSED_ON: [(&str, &str); 9] = [
    ("responders", "responders"),
    ("visible_to", "visibleTo"),
    ("visibleTo", "visibleTo"),
    ("actions", "actions"),
    ("entity", "entity"),
    ("source", "source"),
    ("user", "user"),
    ("note", "note"),
    ("details", "details"),
];

/// Creates, acknowledges or closes the alert under the alias; in between adds notes.
pub(crate) async fn send(
    context: &Context<'_>,
    api_key: &Field,
    base_url: &str,
    options: &BTreeMap<String, Value>,
) -> Result<Sent, SendError> {
    let mut headers = json_headers();
    set_header(&mut headers, "authorization", &format!("GenieKey {}", context.field(api_key)?))?;
    let notification = &context.delivery.notification;
    let message = context.message();
    let alias = alias(&context.delivery.correlation);
    let on_alert = |what: &str| format!("/v2/alerts/{}/{what}?identifierType=alias", part(&alias));
    let note = json!({ "source": "burnwatch", "note": escape::cut(&format!("{}\n{}", message.headline(), message.plain()), 25_000) });
    let answer = match notification.kind {
        Kind::Opened | Kind::Reopened => post(context, base_url, "/v2/alerts", headers, &alert(context, &message, &alias, options)).await?,
        Kind::Updated | Kind::Escalated | Kind::Reminder => {
            // The same alias only counts up while the alert is open; it brings one back that somebody deleted.
            post(context, base_url, "/v2/alerts", headers.clone(), &alert(context, &message, &alias, options)).await?;
            post(context, base_url, &on_alert("notes"), headers, &note).await?
        }
        Kind::Acknowledged => post(context, base_url, &on_alert("acknowledge"), headers, &note).await?,
        Kind::Resolved => post(context, base_url, &on_alert("close"), headers, &note).await?,
    };
    let request = answer.json().ok().and_then(|body| body.get("requestId").and_then(Value::as_str).map(str::to_owned));
    Ok(Sent { status: Some(answer.status), reply: request.map(|id| json!({ "request": escape::clean(&id, 100) })), note: String::new() })
}

async fn post(context: &Context<'_>, base_url: &str, path: &str, headers: HeaderMap, body: &Value) -> Result<Answer, SendError> {
    context.call(Method::POST, join(base_url, path), headers, body).await?.success(context.now)
}

/// At most 512 characters.
fn alias(correlation: &str) -> String {
    if correlation.len() <= 512 { correlation.to_owned() } else { hex::encode(Sha256::digest(correlation)) }
}

fn alert(context: &Context<'_>, message: &Message, alias: &str, options: &BTreeMap<String, Value>) -> Value {
    let incident = &context.delivery.notification.data.incident;
    let mut details = Map::new();
    let mut room = 7_000_usize;
    for (name, value) in incident.labels.iter().take(30) {
        let (name, value) = (escape::clean(name, 60), escape::clean(value, 200));
        // 8,000 characters in total; what does not fit stands in the incident.
        let Some(left) = room.checked_sub(name.len() + value.len()) else { break };
        room = left;
        details.insert(name, value.into());
    }
    let mut tags: Vec<String> =
        options.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
    tags.push(incident.severity.name().to_owned());
    let tags: Vec<String> = tags.iter().take(20).map(|tag| escape::clean(tag, 50)).collect();
    let mut alert = json!({
        "message": escape::cut(&message.stem, 130),
        "alias": alias,
        "description": escape::cut(&message.plain(), 15_000),
        "priority": priority(incident.severity, options),
        "source": "burnwatch",
        "entity": escape::clean(&incident.service, 512),
        "tags": tags,
        "details": details,
    });
    for (option, name) in PASSED_ON {
        match options.get(option) {
            Some(Value::Object(given)) if name == "details" => {
                for (key, value) in given {
                    alert["details"][key] = value.clone();
                }
            }
            Some(given) => alert[name] = given.clone(),
            None => {}
        }
    }
    alert
}

/// `priority: "P2"` for all, or `priority: #{ page: "P1" }` per severity.
fn priority(severity: Severity, options: &BTreeMap<String, Value>) -> String {
    let given = match options.get("priority") {
        Some(Value::String(all)) => Some(all.as_str()),
        Some(Value::Object(each)) => each.get(severity.name()).and_then(Value::as_str),
        _ => None,
    };
    let usual = match severity {
        Severity::Page => "P1",
        Severity::Ticket => "P3",
        Severity::Info => "P5",
    };
    given.unwrap_or(usual).to_owned()
}
