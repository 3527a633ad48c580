//! Alertmanager's webhook payload, version 4, for what already listens to Alertmanager.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::domain::notification::{AlertState, AlertView, IncidentView, Kind};
use crate::domain::posted::fingerprint;
use crate::domain::rule::{Field, Labels};
use crate::domain::time::Timestamp;

use super::http::{json_headers, set_header};
use super::outcome::SendError;
use super::{Context, Sent, escape};

/// How Alertmanager writes "not ended".
const NOT_ENDED: &str = "0001-01-01T00:00:00Z";
const ALERTS_MAX: usize = 500;

/// Posts the group of the incident's alerts.
pub(crate) async fn send(context: &Context<'_>, url: &Field, headers: &BTreeMap<String, Field>) -> Result<Sent, SendError> {
    if context.delivery.notification.kind == Kind::Acknowledged {
        // The format has no word for it; to a listener it would look like one more firing.
        return Ok(Sent { note: "Alertmanager's format has no acknowledgement".into(), ..Sent::default() });
    }
    let mut all = json_headers();
    for (name, value) in headers {
        set_header(&mut all, name, &context.field(value)?)?;
    }
    let answer = context.call(Method::POST, context.field(url)?, all, &payload(context)).await?.success(context.now)?;
    Ok(Sent { status: Some(answer.status), ..Sent::default() })
}

fn payload(context: &Context<'_>) -> Value {
    let notification = &context.delivery.notification;
    let incident = &notification.data.incident;
    let over = notification.kind == Kind::Resolved;
    let mut alerts: Vec<Alert> = incident.alerts.iter().take(ALERTS_MAX).map(|alert| Alert::of(alert, incident, over)).collect();
    if alerts.is_empty() {
        alerts.push(Alert::of_incident(incident, over));
    }
    alerts.sort_by(|a, b| key(&a.labels).cmp(&key(&b.labels)));
    let firing = alerts.iter().any(|alert| alert.ended.is_none());
    let reason = match notification.kind {
        Kind::Opened | Kind::Reopened => "first notification",
        Kind::Updated if firing => "new alerts added",
        Kind::Updated | Kind::Resolved => "all alerts resolved",
        Kind::Escalated | Kind::Reminder => "repeat interval elapsed",
        Kind::Acknowledged => "unknown",
    };
    json!({
        "receiver": context.receiver.name,
        "status": if firing { "firing" } else { "resolved" },
        "alerts": alerts.iter().map(|alert| alert.to_json(incident)).collect::<Vec<_>>(),
        "groupLabels": incident.labels,
        "commonLabels": common(alerts.iter().map(|alert| &alert.labels)),
        "commonAnnotations": common(alerts.iter().map(|alert| &alert.annotations)),
        "externalURL": context.public_url().trim_end_matches('/'),
        "notification_reason": reason,
        "version": "4",
        "groupKey": group_key(&incident.labels),
        "truncatedAlerts": incident.alerts.len().saturating_sub(ALERTS_MAX),
    })
}

struct Alert {
    labels: Labels,
    annotations: Labels,
    started: Timestamp,
    ended: Option<Timestamp>,
}

impl Alert {
    fn of(alert: &AlertView, incident: &IncidentView, over: bool) -> Alert {
        let mut labels = alert.labels.clone();
        labels.entry("alertname".into()).or_insert_with(|| alert.rule.clone());
        labels.entry("severity".into()).or_insert_with(|| alert.severity.name().into());
        let ended = match alert.state {
            AlertState::Resolved => Some(alert.ended_at.or(incident.resolved_at).unwrap_or(alert.started_at)),
            // An incident that somebody closed by hand is over for its listeners, too.
            AlertState::Firing if over => Some(incident.resolved_at.unwrap_or(alert.started_at)),
            AlertState::Firing => None,
        };
        Alert { labels, annotations: annotations(&alert.summary, incident), started: alert.started_at, ended }
    }

    fn of_incident(incident: &IncidentView, over: bool) -> Alert {
        let mut labels = incident.labels.clone();
        labels.entry("alertname".into()).or_insert_with(|| incident.title.clone());
        labels.entry("severity".into()).or_insert_with(|| incident.severity.name().into());
        let ended = if over { Some(incident.resolved_at.unwrap_or(incident.opened_at)) } else { None };
        Alert { labels, annotations: annotations(&incident.title, incident), started: incident.opened_at, ended }
    }

    fn to_json(&self, incident: &IncidentView) -> Value {
        json!({
            "status": if self.ended.is_none() { "firing" } else { "resolved" },
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": self.started,
            "endsAt": self.ended.map_or_else(|| NOT_ENDED.to_owned(), |at| at.to_string()),
            "generatorURL": incident.links.incident,
            "fingerprint": fingerprint(&self.labels),
        })
    }
}

fn annotations(summary: &str, incident: &IncidentView) -> Labels {
    let mut annotations = Labels::new();
    let summary = escape::clean(summary, 500);
    if !summary.is_empty() {
        annotations.insert("summary".into(), summary);
    }
    for (name, link) in [("runbook_url", &incident.links.runbook), ("dashboard", &incident.links.dashboard)] {
        if let Some(link) = link.as_deref().and_then(escape::link) {
            annotations.insert(name.into(), link);
        }
    }
    annotations
}

/// Alertmanager's order: by job, instance, then all labels.
fn key(labels: &Labels) -> (Option<&String>, Option<&String>, &Labels) {
    (labels.get("job"), labels.get("instance"), labels)
}

/// The pairs that all have.
fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> Labels {
    let mut common = all.next().cloned().unwrap_or_default();
    for labels in all {
        common.retain(|name, value| labels.get(name) == Some(value));
    }
    common
}

fn group_key(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={}", Value::from(value.as_str()))).collect();
    format!("{{}}:{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_key_is_written_as_alertmanager_writes_it() {
        let labels: Labels = [("alertname".to_owned(), "c\"d".to_owned())].into();
        assert_eq!(group_key(&labels), r#"{}:{alertname="c\"d"}"#);
    }
}
