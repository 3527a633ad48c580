//! On call and the archive.

use std::collections::BTreeMap;

use axum::response::Response;

use super::action::known;
use super::evidence::evidence;
use super::heat::heat;
use super::slos::{change_of, overall};
use super::{Query, Site};
use crate::domain::incident::Incident;
use crate::domain::notification::Status;
use crate::domain::rule::FreeRule;
use crate::domain::snapshot::{AlertPhase, Snapshot};
use crate::domain::time::{Span, Timestamp};
use crate::store::{annotations, incidents, transition};
use crate::web::frame::Page;
use crate::web::pages::archive::{self, Archive, Asked};
use crate::web::pages::oncall::{self, Anomaly, Model, Row, Show, rank};
use crate::web::pages::plain_change;
use crate::web::pages::slos::worst_first;
use crate::web::problem::Problem;

/// Changes of the last day that are read.
const CHANGES_MAX: usize = 20;

/// An incident as lists show it.
pub fn row_of(incident: &Incident) -> Row {
    let named = incident.explained.suspects.iter().find_map(|suspect| suspect.change.as_ref());
    let change = named.and_then(|id| incident.changes.iter().find(|change| change.id == *id));
    Row {
        id: incident.id.clone(),
        severity: incident.severity,
        status: incident.status,
        title: incident.title.clone(),
        service: incident.service.clone(),
        owner: incident.owner.clone(),
        users: incident.impact.affected_users,
        opened_at: incident.opened_at,
        resolved_at: incident.resolved_at,
        acknowledged_by: incident.acknowledged_by.clone(),
        snoozed_until: incident.snoozed_until.filter(|_| incident.status != Status::Resolved),
        change: change.map(plain_change),
        suspect: change.map(|change| change.id.clone()),
        held_by: incident.told.values().find_map(|told| told.held_by.clone()),
    }
}

pub async fn on_call(site: Site, query: Query) -> Response {
    let page = read_open(&site, &query).await;
    site.show(page).await
}

async fn read_open(site: &Site, query: &Query) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let mut tx = site.state.store.read().await?;
    let open = incidents::open(&mut tx).await?;
    let last = if open.is_empty() { incidents::list(&mut tx, &incidents::Filter::default(), None, 1).await?.0 } else { Vec::new() };
    let changes = annotations::newest(&mut tx, (site.now - Span::DAY, site.now + Span::MINUTE), None, CHANGES_MAX).await?;
    drop(tx);
    let mut rows = open.iter().map(|row| Ok(row_of(&transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    rank(&mut rows);
    let evidence = evidence(site, &snapshot).await;
    let mut objectives = overall(&snapshot);
    worst_first(&mut objectives);
    let (dimension, heat) = heat(&snapshot, &objectives, evidence.as_deref());
    Ok(oncall::page(&Model {
        anomalies: anomalies(&snapshot, &rows),
        changes: changes.iter().map(change_of).collect(),
        actions: known(&snapshot),
        evidence,
        heat,
        dimension,
        rows,
        show: Show::parse(query.get("show").unwrap_or_default()),
        from: query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0),
        objectives: snapshot.rules.slos.iter().filter(|slo| slo.enabled).count(),
        evaluated_at: snapshot.evaluated_at,
        last_incident: last.first().map(|row| row.opened_at),
        now: site.now,
        reader: &site.visitor.reader,
    }))
}

/// What free-form rules see now, the loudest first, then the newest.
fn anomalies(snapshot: &Snapshot, rows: &[Row]) -> Vec<Anomaly> {
    let mut found: Vec<Anomaly> = Vec::new();
    let rules: BTreeMap<&str, &FreeRule> = snapshot.rules.alerts.iter().map(|rule| (rule.name.as_str(), rule)).collect();
    for alert in snapshot.alerts.iter().filter(|alert| matches!(alert.phase, AlertPhase::Firing | AlertPhase::Pending)) {
        let Some(rule) = rules.get(alert.rule.as_str()) else { continue };
        let group: Vec<&str> = alert.group.values().map(String::as_str).collect();
        let said = if rule.summary.is_empty() { &rule.name } else { &rule.summary };
        let users = |id: &String| rows.iter().find(|row| row.id == *id).map(|row| (id.clone(), row.users));
        found.push(Anomaly {
            rule: rule.name.clone(),
            words: if group.is_empty() { said.clone() } else { format!("{said} ({})", group.join(", ")) },
            severity: alert.severity,
            pending: alert.phase == AlertPhase::Pending,
            since: alert.since,
            incident: alert.incident.as_ref().and_then(users),
        });
    }
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.since.cmp(&a.since)).then_with(|| a.words.cmp(&b.words)));
    found
}

pub async fn archive(site: Site, query: Query) -> Response {
    let page = read_archive(&site, &query).await;
    site.show(page).await
}

async fn read_archive(site: &Site, query: &Query) -> Result<Page, Problem> {
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let asked = Asked {
        status: text("status"),
        severity: text("severity"),
        service: text("service"),
        q: text("q"),
        from: text("from"),
        to: text("to"),
    };
    let any = |text: &String| if text.is_empty() { Vec::new() } else { vec![text.clone()] };
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let filter = incidents::Filter {
        status: any(&asked.status),
        severity: any(&asked.severity),
        service: some(&asked.service),
        from: day(&asked.from)?,
        // The last day is in it, as a person means it.
        to: day(&asked.to)?.map(|day| day + Span::DAY),
        q: some(&asked.q),
        rule: None,
    };
    let mut tx = site.state.store.read().await?;
    let (rows, next) = incidents::list(&mut tx, &filter, query.get("cursor"), 50).await?;
    let rows = rows.iter().map(|row| Ok(row_of(&transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    Ok(archive::page(&Archive { rows, asked, next, now: site.now }))
}

/// The start of a day in UTC, as a date field sends it; `None` for an empty field.
fn day(text: &str) -> Result<Option<Timestamp>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let shown = crate::web::text::clip(text, 40);
    format!("{text}T00:00:00Z").parse().map(Some).map_err(|_| Problem::bad(format!("`{shown}` is no day; write it as 2026-11-19")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_read_and_anything_else_is_named() {
        assert_eq!(day("").unwrap(), None);
        assert_eq!(day("2026-11-19").unwrap(), Some("2026-11-19T00:00:00Z".parse().unwrap()));
        assert!(day("yesterday").unwrap_err().detail().contains("2026-11-19"));
    }
}
