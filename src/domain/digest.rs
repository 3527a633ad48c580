//! A digest: one notification in place of the many that a receiver cannot take, in a storm of incidents.
//!
//! It has the shape of an incident of its own, under an id and keys of its own: it is opened once, and closed when
//! all that it stands for are closed. What a receiver was told of by itself keeps its own keys and its own close.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::notification::{Data, Impact, IncidentView, Kind, Links, Notification, Status, Verdict};
use super::rule::Labels;
use super::time::Timestamp;

const ID_PREFIX: &str = "digest-";
/// Most incidents that a digest names in its title.
const NAMED_MAX: usize = 5;
/// Most alerts that it carries.
const ALERTS_MAX: usize = 20;
/// Most characters of one incident's title in that of the digest.
const TITLE_MAX: usize = 80;

/// A digest that a receiver was told and that is not closed there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub id: String,
    /// Seconds of its opening, as with incidents.
    pub generation: i64,
}

/// Whether this kind may be told in a digest: what asks somebody to look. Answers and closes go by themselves.
pub const fn is_news(kind: Kind) -> bool {
    match kind {
        Kind::Opened | Kind::Updated | Kind::Escalated | Kind::Reminder | Kind::Reopened => true,
        Kind::Acknowledged | Kind::Resolved => false,
    }
}

/// The id under which a digest stands in the outbox, from the delivery id of the first notification in it.
pub fn id(first: &str) -> String {
    format!("{ID_PREFIX}{first}")
}

/// Whether this is the id of a digest.
pub fn is_id(id: &str) -> bool {
    id.starts_with(ID_PREFIX)
}

/// Tells of all `parts` at once; `None` without any. An incident may be in them more than once.
pub fn opening(id: &str, receiver: &str, parts: &[Notification], now: Timestamp) -> Option<Notification> {
    let mut seen = BTreeSet::new();
    let mut incidents: Vec<&IncidentView> = Vec::new();
    // The newest word about an incident counts.
    for part in parts.iter().rev() {
        if seen.insert(part.data.incident.id.as_str()) {
            incidents.push(&part.data.incident);
        }
    }
    // The loudest are named, and of those the oldest.
    incidents.sort_by(|a, b| (b.severity, a.opened_at, &a.id).cmp(&(a.severity, b.opened_at, &b.id)));
    let loudest = *incidents.first()?;
    let common = |field: fn(&IncidentView) -> &str| {
        let same = incidents.iter().all(|incident| field(incident) == field(loudest));
        if same { field(loudest).to_owned() } else { String::new() }
    };
    let mut labels: Labels = loudest.labels.clone();
    labels.retain(|name, value| incidents.iter().all(|incident| incident.labels.get(name) == Some(value)));
    let named: Vec<String> = incidents.iter().take(NAMED_MAX).map(|incident| shortened(&incident.title)).collect();
    let rest = incidents.len().saturating_sub(named.len());
    let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    let n = incidents.len();
    let title = format!("{n} incident{} at once: {}{more}", if n == 1 { "" } else { "s" }, named.join("; "));
    // Nobody can add up distinct users: at least as many as the worst of them hit.
    let impact = Impact {
        affected_users: incidents.iter().map(|incident| incident.impact.affected_users).max().unwrap_or_default(),
        bad_events: incidents.iter().map(|incident| incident.impact.bad_events).sum(),
        ..Impact::default()
    };
    let list = loudest.links.incident.strip_suffix(&format!("/{}", loudest.id)).unwrap_or_default().to_owned();
    let incident = IncidentView {
        id: id.to_owned(),
        key: super::route::canonical(&Labels::from([("digest".to_owned(), receiver.to_owned())])),
        status: Status::Open,
        severity: loudest.severity,
        title,
        service: common(|incident| &incident.service),
        owner: common(|incident| &incident.owner),
        labels,
        opened_at: now,
        acknowledged_at: None,
        resolved_at: None,
        impact,
        signature: common(|incident| &incident.signature),
        verdict: Verdict::Unknown,
        suspects: Vec::new(),
        changes: Vec::new(),
        alerts: incidents.iter().filter_map(|incident| incident.alerts.first()).take(ALERTS_MAX).cloned().collect(),
        revision: common(|incident| &incident.revision),
        links: Links { incident: list, runbook: None, dashboard: None },
    };
    let reason = "more at once than this receiver is paged for one by one".to_owned();
    Some(Notification { kind: Kind::Opened, timestamp: now, reason, data: Data { incident } })
}

/// Tells that all which a digest stands for is closed.
pub fn closing(opening: Notification, now: Timestamp) -> Notification {
    let mut incident = opening.data.incident;
    incident.status = Status::Resolved;
    incident.resolved_at = Some(now);
    for alert in &mut incident.alerts {
        alert.state = super::notification::AlertState::Resolved;
        alert.ended_at = Some(now);
    }
    let reason = "all incidents of this digest are closed".to_owned();
    Notification { kind: Kind::Resolved, timestamp: now, reason, data: Data { incident } }
}

fn shortened(title: &str) -> String {
    if title.chars().count() <= TITLE_MAX {
        return title.to_owned();
    }
    title.chars().take(TITLE_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Severity;

    fn part(id: &str, severity: Severity, service: &str, title: &str) -> Notification {
        let incident = IncidentView {
            id: id.into(),
            key: format!("{{id=\"{id}\"}}"),
            status: Status::Open,
            severity,
            title: title.into(),
            service: service.into(),
            owner: "web".into(),
            labels: [("service", service), ("env", "prod")].map(|(k, v)| (k.into(), v.into())).into(),
            opened_at: Timestamp(1_000),
            acknowledged_at: None,
            resolved_at: None,
            impact: Impact { affected_users: 7, bad_events: 2.5, ..Impact::default() },
            signature: String::new(),
            verdict: Verdict::Unknown,
            suspects: vec![],
            changes: vec![],
            alerts: vec![],
            revision: "r".into(),
            links: Links { incident: format!("https://b.example/incidents/{id}"), ..Links::default() },
        };
        Notification { kind: Kind::Opened, timestamp: Timestamp(1_000), reason: String::new(), data: Data { incident } }
    }

    #[test]
    fn the_loudest_are_named_and_the_rest_is_counted() {
        let mut parts: Vec<Notification> =
            (0..939).map(|n| part(&format!("t{n:03}"), Severity::Ticket, "shop", &format!("ticket {n}"))).collect();
        parts.push(part("p", Severity::Page, "pay", &"x".repeat(300)));
        parts.push(part("t000", Severity::Ticket, "shop", "ticket 0 again"));
        let digest = opening("digest-d", "pager", &parts, Timestamp(5_000)).unwrap();
        let incident = &digest.data.incident;
        assert_eq!(digest.kind, Kind::Opened);
        assert_eq!(incident.severity, Severity::Page);
        let named = format!("940 incidents at once: {}…; ticket 0 again; ticket 1; ticket 2; ticket 3; and 935 more", "x".repeat(79));
        assert_eq!(incident.title, named);
        assert_eq!((incident.service.as_str(), incident.owner.as_str()), ("", "web"));
        assert_eq!(incident.labels, Labels::from([("env".into(), "prod".into())]));
        assert_eq!(incident.impact.affected_users, 7);
        assert_eq!(incident.links.incident, "https://b.example/incidents");
        assert_eq!(incident.key, r#"{digest="pager"}"#);
        let closed = closing(digest, Timestamp(9_000));
        assert_eq!((closed.kind, closed.data.incident.status), (Kind::Resolved, Status::Resolved));
        assert_eq!(closed.data.incident.resolved_at, Some(Timestamp(9_000)));
    }

    #[test]
    fn nothing_makes_no_digest() {
        assert_eq!(opening("d", "pager", &[], Timestamp(0)), None);
    }
}
