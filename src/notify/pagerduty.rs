//! PagerDuty Events API v2: trigger, acknowledge, resolve under one `dedup_key`.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::domain::notification::{Change, IncidentView, Kind};
use crate::domain::rule::{Field, Severity};

use super::http::{join, json_headers};
use super::outcome::SendError;
use super::text::Message;
use super::{Context, Sent, escape};
use reqwest::Method;

const SUMMARY_CHARS_MAX: usize = 1024;
const KEY_CHARS_MAX: usize = 255;
/// The service's limit is 512 KB; nobody reads this much on a phone.
const BODY_BYTES_MAX: usize = 100_000;

/// Sends one event.
pub(crate) async fn send(context: &Context<'_>, routing_key: &Field, base_url: &str) -> Result<Sent, SendError> {
    let body = event(context, &context.field(routing_key)?);
    let answer = context.call(Method::POST, join(base_url, "/v2/enqueue"), json_headers(), &body).await?.success(context.now)?;
    Ok(Sent { status: Some(answer.status), ..Sent::default() })
}

/// A change event: shown beside incidents, notifies nobody.
pub(super) fn change_event(routing_key: &str, change: &Change) -> Value {
    let app = escape::clean(&change.app, 200);
    let part = |text: &Option<String>, max: usize| text.as_ref().map(|text| escape::clean(text, max)).filter(|text| !text.is_empty());
    let (release, text) = (part(&change.release, 200), part(&change.text, 500));
    let mut summary =
        [Some(change.kind.name()), Some(app.as_str()), release.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    if let Some(text) = &text {
        summary = format!("{summary}: {text}");
    }
    let mut event = json!({
        "routing_key": routing_key,
        "payload": {
            "summary": escape::cut(&summary, SUMMARY_CHARS_MAX),
            "timestamp": change.at.to_string(),
            "source": app,
            "custom_details": { "app": app, "release": release, "text": text, "annotation": change.id },
        },
    });
    if let Some(link) = change.url.as_deref().and_then(escape::link) {
        event["links"] = json!([{ "href": link, "text": "Change" }]);
    }
    event
}

fn event(context: &Context<'_>, routing_key: &str) -> Value {
    let notification = &context.delivery.notification;
    let incident = &notification.data.incident;
    let action = match notification.kind {
        Kind::Opened | Kind::Updated | Kind::Escalated | Kind::Reminder | Kind::Reopened => "trigger",
        Kind::Acknowledged => "acknowledge",
        Kind::Resolved => "resolve",
    };
    let message = context.message();
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": dedup_key(&context.delivery.correlation),
        "payload": {
            "summary": escape::cut(&message.stem, SUMMARY_CHARS_MAX),
            "source": source(incident, context.public_url()),
            "severity": severity(incident.severity),
            "timestamp": incident.opened_at.to_string(),
            "custom_details": details(&message, incident),
        },
        "client": "burnwatch",
    });
    let payload = &mut event["payload"];
    for (name, value) in [("component", &incident.service), ("group", &incident.owner), ("class", &incident.signature)] {
        let value = escape::clean(value, 255);
        if !value.is_empty() {
            payload[name] = value.into();
        }
    }
    if let Some(link) = message.links.iter().find(|link| link.name == "Incident") {
        event["client_url"] = link.url.clone().into();
    }
    if !message.links.is_empty() {
        event["links"] = message.links.iter().map(|link| json!({ "href": link.url, "text": link.name })).collect();
    }
    if event.to_string().len() > BODY_BYTES_MAX {
        event["payload"]["custom_details"] = json!({ "cut": "the details were too long; open the incident" });
    }
    event
}

/// Page = critical, ticket = warning, info = info (CONTRACT 7).
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Page => "critical",
        Severity::Ticket => "warning",
        Severity::Info => "info",
    }
}

fn source(incident: &IncidentView, public_url: &str) -> String {
    let service = escape::clean(&incident.service, 255);
    if !service.is_empty() {
        return service;
    }
    let host = url::Url::parse(public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_else(|| "burnwatch".to_owned())
}

/// The correlation key, or its hash if it is longer than PagerDuty takes.
fn dedup_key(correlation: &str) -> String {
    if correlation.chars().count() <= KEY_CHARS_MAX { correlation.to_owned() } else { hex::encode(Sha256::digest(correlation)) }
}

fn details(message: &Message, incident: &IncidentView) -> Value {
    let mut details = serde_json::Map::new();
    for fact in &message.facts {
        let line = fact.plain();
        // The lines of a template have no names.
        let name = if fact.name.is_empty() { "text" } else { fact.name };
        match details.get_mut(name) {
            // Several alerts have one name.
            Some(Value::String(before)) => {
                before.push('\n');
                before.push_str(&line);
            }
            _ => {
                details.insert(name.to_owned(), line.into());
            }
        }
    }
    for (name, value) in incident.labels.iter().take(30) {
        details.insert(format!("label {}", escape::clean(name, 60)), escape::clean(value, 200).into());
    }
    details.insert("rules revision".into(), escape::clean(&incident.revision, 80).into());
    details.into()
}
