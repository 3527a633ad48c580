//! On call and the archive.

use axum::response::Response;

use super::{Query, Site};
use crate::domain::incident::Incident;
use crate::domain::notification::Status;
use crate::domain::time::{Span, Timestamp};
use crate::store::{incidents, transition};
use crate::web::frame::Page;
use crate::web::pages::oncall::{self, Archive, Asked, Model, Row, Show, rank};
use crate::web::pages::plain_change;
use crate::web::problem::Problem;

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
    drop(tx);
    let mut rows = open.iter().map(|row| Ok(row_of(&transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    rank(&mut rows);
    Ok(oncall::page(&Model {
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
    };
    let mut tx = site.state.store.read().await?;
    let (rows, next) = incidents::list(&mut tx, &filter, query.get("cursor"), 50).await?;
    let rows = rows.iter().map(|row| Ok(row_of(&transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    Ok(oncall::archive(&Archive { rows, asked, next, now: site.now, reader: &site.visitor.reader }))
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
