//! One incident: everything that its page shows, from the store, the snapshot and stored history.

mod chart;
mod checks;
mod entries;

use std::collections::BTreeSet;

use axum::extract::Path;
use axum::response::Response;

pub use chart::{chart, noun};
pub use entries::entries;

use super::actions::read_until;
use super::telemetry::telemetry;
use super::{Query, Site};
use crate::domain::incident::Incident;
use crate::domain::rule::{Labels, Slo};
use crate::domain::snapshot::{SloStatus, Snapshot};
use crate::store::{events, incidents, outbox, transition};
use crate::web::frame::Page;
use crate::web::pages::incident::people::FAMILY_MAX;
use crate::web::pages::incident::{self as pages, Before, Drawing, Model, Range};
use crate::web::pages::new_silence::QUICK;
use crate::web::pages::slos::slo_path;
use crate::web::problem::Problem;
use crate::web::text::segment;

/// Earlier incidents of the same key that the page names.
const BEFORE_MAX: usize = 5;

pub async fn page(site: Site, Path(id): Path<String>, query: Query) -> Response {
    let page = read(&site, &id, &query).await;
    site.show(page).await
}

async fn read(site: &Site, id: &str, query: &Query) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let mut tx = site.state.store.read().await?;
    let incident = load(&mut tx, id).await?;
    let events = events::list(&mut tx, id).await?;
    let deliveries = outbox::for_incident(&mut tx, id).await?;
    let earlier = incidents::earlier_by_key(&mut tx, &incident.key, incident.opened_at, BEFORE_MAX).await?;
    let family: Vec<String> = incident.parent.iter().chain(incident.children.iter().take(FAMILY_MAX)).cloned().collect();
    let family = incidents::titles(&mut tx, &family).await?.into_iter().collect();
    drop(tx);
    let before = earlier
        .into_iter()
        .map(|row| Before { lasted: row.resolved_at.map(|at| at - row.opened_at), id: row.id, title: row.title, opened_at: row.opened_at })
        .collect();
    let range = Range::parse(query.get("range").unwrap_or_default());
    let found = slo_of(&snapshot, &incident);
    let drawing = match found {
        Some((slo, ref group, _)) => chart::draw(site, &incident, slo, group, range, &deliveries).await,
        None => Drawing::None,
    };
    let telemetry = telemetry(site, &snapshot).await;
    let of = found.as_ref().map(|(slo, group, _)| (*slo, group));
    let then = checks::then(site, &incident, of).await;
    let checks = checks::checks(&checks::Seen {
        snapshot: &snapshot,
        incident: &incident,
        drawing: &drawing,
        now: telemetry.as_deref(),
        then: then.as_deref(),
    });
    Ok(pages::page(&Model {
        slo: found.as_ref().map(|(slo, _, status)| (*slo, status.as_deref())),
        entries: entries(&incident, &events, &deliveries),
        told: entries::told(&snapshot, &incident, &deliveries),
        rules: incident.members.iter().filter_map(|member| Some((member.rule.clone(), rule_path(&snapshot, &member.rule)?))).collect(),
        actions: super::action::known(&snapshot),
        incident: &incident,
        drawing,
        range,
        checks,
        then_read: then.is_some(),
        before,
        family,
        now: site.now,
        reader: &site.visitor.reader,
    }))
}

async fn load(tx: &mut crate::store::Tx, id: &str) -> Result<Incident, Problem> {
    let row = incidents::get(tx, id).await?.ok_or_else(|| Problem::unknown("incident", id))?;
    Ok(transition::read(&row)?)
}

pub async fn time_line(site: Site, Path(id): Path<String>) -> Response {
    let page = async {
        let mut tx = site.state.store.read().await?;
        let incident = load(&mut tx, &id).await?;
        let events = events::list(&mut tx, &id).await?;
        let deliveries = outbox::for_incident(&mut tx, &id).await?;
        Ok(pages::time_line(&incident, &entries(&incident, &events, &deliveries), site.now))
    };
    let page = page.await;
    site.show(page).await
}

pub async fn snooze(site: Site, Path(id): Path<String>) -> Response {
    let page = just(&site, &id).await.map(|incident| {
        let quick = QUICK.map(|(value, _)| read_until(value, site.now).ok());
        pages::snooze(&incident, quick, site.now, &site.visitor.reader)
    });
    site.show(page).await
}

pub async fn assign(site: Site, Path(id): Path<String>) -> Response {
    let rules = site.state.snapshot.load().rules.clone();
    let slos = rules.slos.iter().map(|slo| slo.owner.clone());
    let owners: BTreeSet<String> =
        slos.chain(rules.alerts.iter().map(|rule| rule.owner.clone())).filter(|owner| !owner.is_empty()).collect();
    let owners: Vec<String> = owners.into_iter().collect();
    let page = just(&site, &id).await.map(|incident| pages::assign(&incident, &owners, &site.visitor.reader));
    site.show(page).await
}

pub async fn resolve(site: Site, Path(id): Path<String>) -> Response {
    let page = just(&site, &id).await.map(|incident| pages::resolve(&incident, &site.visitor.reader));
    site.show(page).await
}

/// Where a rule is: an objective, or a free-form rule.
fn rule_path(snapshot: &Snapshot, name: &str) -> Option<String> {
    match snapshot.rules.slo(name) {
        Some(slo) => Some(slo_path(slo)),
        None => snapshot.rules.alerts.iter().any(|rule| rule.name == name).then(|| format!("/rules/{}", segment(name))),
    }
}

/// An incident without anything around it.
pub async fn just(site: &Site, id: &str) -> Result<Incident, Problem> {
    load(&mut site.state.store.read().await?, id).await
}

/// The objective that speaks for an incident: that of its loudest alert, and the group that it is about.
pub fn slo_of<'a>(snapshot: &'a Snapshot, incident: &Incident) -> Option<(&'a Slo, Labels, Option<std::sync::Arc<SloStatus>>)> {
    let mut members: Vec<_> = incident.members.iter().collect();
    members.sort_by_key(|member| (std::cmp::Reverse(member.firing), std::cmp::Reverse(member.severity)));
    members.into_iter().find_map(|member| {
        let slo = snapshot.rules.slo(&member.rule)?;
        let group: Labels = slo.by.iter().filter_map(|name| Some((name.clone(), member.labels.get(name)?.clone()))).collect();
        let status = snapshot.slos.iter().find(|status| status.slo == slo.name && status.group == group).cloned();
        Some((slo, group, status))
    })
}
