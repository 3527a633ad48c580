//! On call and the archive.

use axum::response::Response;

use super::{Query, Site};
use crate::domain::incident::Incident;
use crate::domain::notification::Status;
use crate::store::{incidents, transition};
use crate::web::frame::Page;
use crate::web::pages::oncall::{self, Archive, Model, Row, Show, rank};
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
    let (status, service, q) = (text("status"), text("service"), text("q"));
    let filter = incidents::Filter {
        status: if status.is_empty() { Vec::new() } else { vec![status.clone()] },
        severity: Vec::new(),
        service: Some(service.clone()).filter(|service| !service.is_empty()),
        q: Some(q.clone()).filter(|q| !q.is_empty()),
    };
    let mut tx = site.state.store.read().await?;
    let (rows, next) = incidents::list(&mut tx, &filter, query.get("cursor"), 50).await?;
    let rows = rows.iter().map(|row| Ok(row_of(&transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    Ok(oncall::archive(&Archive { rows, status, service, q, next, now: site.now, reader: &site.visitor.reader }))
}
