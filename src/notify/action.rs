//! An action: a call that rolls a flag or a deploy back, made once in the life of an incident.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::domain::notification::Kind;
use crate::domain::rule::Field;

use super::outcome::{SendError, Trouble};
use super::{Context, Sent, escape, webhook};

/// The fields of an `action` receiver.
pub(crate) struct Action<'a> {
    pub url: &'a Field,
    pub secret: Option<&'a Field>,
    pub headers: &'a BTreeMap<String, Field>,
    pub dry_run: bool,
    pub label: &'a str,
}

/// Calls once; later notifications about the incident only find that it was done.
pub(crate) async fn send(context: &Context<'_>, action: &Action<'_>) -> Result<Sent, SendError> {
    let nothing = |note: &str| Sent { status: None, reply: context.delivery.earlier.clone(), note: note.to_owned() };
    if context.earlier("ran_at").is_some() {
        return Ok(nothing("the action has run for this incident already"));
    }
    match context.delivery.notification.kind {
        Kind::Acknowledged | Kind::Resolved => return Ok(nothing("the action does not run when an incident is acknowledged or over")),
        Kind::Opened | Kind::Updated | Kind::Escalated | Kind::Reminder | Kind::Reopened => {}
    }
    let label = escape::clean(action.label, 200);
    let done = json!({ "ran_at": context.now, "dry_run": action.dry_run });
    if action.dry_run {
        return Ok(Sent { status: None, reply: Some(done), note: format!("dry run: `{label}` was not called") });
    }
    let body = json!({
        "type": "action",
        "timestamp": context.delivery.notification.timestamp,
        "action": label,
        "reason": context.delivery.notification.reason,
        "data": context.delivery.notification.data,
    });
    let body = serde_json::to_vec(&body)
        .map_err(|error| SendError::new(Trouble::Settings, format!("the notification cannot be written as JSON: {error}")))?;
    let id = once_id(&context.delivery.notification.data.incident.id, &context.receiver.name);
    let headers = webhook::signed_headers(context, &id, action.secret, action.headers, &body)?;
    let answer = context.post(context.field(action.url)?, headers, body).await?.success(context.now)?;
    Ok(Sent { status: Some(answer.status), reply: Some(done), note: String::new() })
}

/// The id of the only call for this incident. It does not depend on the delivery: if the first one's answer was
/// lost and another delivery takes over, the receiver still sees the same id.
fn once_id(incident: &str, receiver: &str) -> String {
    format!("action_{}", hex::encode(&Sha256::digest(format!("{incident}\n{receiver}"))[..16]))
}
