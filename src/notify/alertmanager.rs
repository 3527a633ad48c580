//! Alertmanager's webhook payload, version 4, for what already listens to Alertmanager.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

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
    let answer = context.post(context.field(url)?, all, payload(context)).await?.success(context.now)?;
    Ok(Sent { status: Some(answer.status), ..Sent::default() })
}

/// Version 4, field by field in Alertmanager's order.
#[derive(Serialize)]
struct Payload<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<Written<'a>>,
    #[serde(rename = "groupLabels")]
    group_labels: &'a Labels,
    #[serde(rename = "commonLabels")]
    common_labels: Labels,
    #[serde(rename = "commonAnnotations")]
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    notification_reason: &'static str,
    version: &'static str,
    #[serde(rename = "groupKey")]
    group_key: String,
    #[serde(rename = "truncatedAlerts")]
    truncated_alerts: usize,
}

/// One of its alerts.
#[derive(Serialize)]
struct Written<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a Labels,
    #[serde(rename = "startsAt")]
    starts_at: Timestamp,
    #[serde(rename = "endsAt")]
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

fn payload(context: &Context<'_>) -> Vec<u8> {
    let notification = &context.delivery.notification;
    let incident = &notification.data.incident;
    let over = notification.kind == Kind::Resolved;
    let mut alerts: Vec<Alert> = incident.alerts.iter().take(ALERTS_MAX).map(|alert| Alert::of(alert, incident, over)).collect();
    if alerts.is_empty() {
        alerts.push(Alert::of_incident(incident, over));
    }
    alerts.sort_by(|a, b| key(&a.labels).cmp(&key(&b.labels)));
    let payload = Payload {
        receiver: &context.receiver.name,
        status: if alerts.iter().any(|alert| alert.ended.is_none()) { "firing" } else { "resolved" },
        alerts: alerts.iter().map(|alert| alert.written(incident)).collect(),
        group_labels: &incident.labels,
        common_labels: common(alerts.iter().map(|alert| &alert.labels)),
        common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
        external_url: context.public_url().trim_end_matches('/'),
        notification_reason: reason(notification.kind, &alerts),
        version: "4",
        group_key: group_key(&incident.labels),
        truncated_alerts: incident.alerts.len().saturating_sub(ALERTS_MAX),
    };
    serde_json::to_vec(&payload).expect("texts and numbers always serialise")
}

/// Why it is told, in Alertmanager's words.
fn reason(kind: Kind, alerts: &[Alert]) -> &'static str {
    let firing = alerts.iter().any(|alert| alert.ended.is_none());
    // What changed last is what it is told for.
    let (began, ended) = (alerts.iter().map(|alert| Some(alert.started)).max(), alerts.iter().map(|alert| alert.ended).max());
    match kind {
        Kind::Opened | Kind::Reopened => "first notification",
        Kind::Updated if firing && ended > began => "some alerts resolved",
        Kind::Updated if firing => "new alerts added",
        Kind::Updated | Kind::Resolved => "all alerts resolved",
        Kind::Escalated | Kind::Reminder => "repeat interval elapsed",
        Kind::Acknowledged => "unknown",
    }
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

    fn written<'a>(&'a self, incident: &'a IncidentView) -> Written<'a> {
        Written {
            status: if self.ended.is_none() { "firing" } else { "resolved" },
            labels: &self.labels,
            annotations: &self.annotations,
            starts_at: self.started,
            ends_at: self.ended.map_or_else(|| NOT_ENDED.to_owned(), |at| at.to_string()),
            generator_url: &incident.links.incident,
            fingerprint: fingerprint(&self.labels),
        }
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
