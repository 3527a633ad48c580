//! Objectives: overview, list, one.

use axum::extract::Path;
use axum::response::Response;

use super::incident::chart;
use super::oncall::row_of;
use super::{Query, Site};
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::rule::{Labels, Slo};
use crate::domain::snapshot::Snapshot;
use crate::store::annotations::AnnotationRow;
use crate::store::{StoreError, incidents, transition};
use crate::web::api::slos::{Rows, rows_of};
use crate::web::frame::Page;
use crate::web::pages::incident::{Drawing, Range};
use crate::web::pages::slos::{self as pages, Detail, List, Need, Objective, worst_first};
use crate::web::problem::Problem;

const ROWS: usize = 50;
/// Incidents that the page of an objective lists.
const INCIDENTS_MAX: usize = 8;

/// The overall row of every objective in force.
pub(super) fn overall(snapshot: &Snapshot) -> Vec<Objective<'_>> {
    let enabled = snapshot.rules.slos.iter().filter(|slo| slo.enabled);
    let rows = Rows::new(snapshot);
    enabled.filter_map(|slo| Objective::new(slo, &rows.of(slo))).collect()
}

pub async fn list(site: Site, query: Query) -> Response {
    let snapshot = site.state.snapshot.load_full();
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let (state, owner, q) = (text("state"), text("owner"), text("q"));
    let mut rows = overall(&snapshot);
    let all = rows.len();
    let needy = rows.iter().filter(|row| Need::of(row) != Need::Nothing).count();
    rows.retain(|row| {
        (state.is_empty() || row.loudest().state.name() == state)
            && (owner.is_empty() || row.slo.owner == owner)
            && row.slo.name.to_lowercase().contains(&q.to_lowercase())
    });
    worst_first(&mut rows);
    let start = query.get("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0_usize).min(rows.len());
    let end = rows.len().min(start + ROWS);
    let next = (end < rows.len()).then(|| end.to_string());
    let page = pages::list(&List { rows: rows[start..end].to_vec(), all, needy, state, owner, q, next });
    site.show(Ok(page)).await
}

pub async fn one(site: Site, Path(name): Path<String>, query: Query) -> Response {
    let snapshot = site.state.snapshot.load_full();
    let page = match snapshot.rules.slo(&name) {
        Some(slo) => detail(&site, &snapshot, slo, &query).await,
        None => Err(Problem::unknown("objective", &name)),
    };
    site.show(page).await
}

async fn detail(site: &Site, snapshot: &Snapshot, slo: &Slo, query: &Query) -> Result<Page, Problem> {
    let wanted: Labels = slo.by.iter().filter_map(|name| Some((name.clone(), query.get(name)?.to_owned()))).collect();
    let mut groups = rows_of(snapshot, slo);
    let status = groups
        .iter()
        .find(|status| status.group == wanted)
        .cloned()
        .ok_or_else(|| Problem::unknown("group", &pages::group_words(&wanted)))?;
    if groups.len() > 1 {
        let mut rest: Vec<Objective<'_>> = groups.drain(1..).map(|status| Objective { slo, status, worst: None }).collect();
        worst_first(&mut rest);
        groups.extend(rest.into_iter().map(|one| one.status));
    }
    let from = query.get("groups_from").and_then(|from| from.parse().ok()).unwrap_or(0);
    let range = Range::parse(query.get("range").unwrap_or_default());
    let drawing = match chart(site, slo, &status.group, range, site.now).await {
        Ok(mut chart) => {
            chart.markers = crate::web::site::lists::markers(site, chart.from, chart.to()).await?;
            Drawing::Chart(chart)
        }
        Err(why) => Drawing::Failed(why),
    };
    let past = super::budget::past(&site.state, site.now, snapshot, slo, &status.group).await;
    let mut tx = site.state.store.read().await?;
    let filter = incidents::Filter { rule: Some(slo.name.clone()), ..incidents::Filter::default() };
    let (rows, _) = incidents::list(&mut tx, &filter, None, INCIDENTS_MAX).await?;
    drop(tx);
    let found = rows.iter().map(|row| Ok(row_of(&transition::read(row)?))).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(pages::detail(&Detail { slo, status, groups, from, drawing, past, range, incidents: found, now: site.now }))
}

/// An annotation as pages show changes.
pub fn change_of(row: &AnnotationRow) -> Change {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Change {
        id: row.id.clone(),
        kind: match row.kind.as_str() {
            "deploy" => ChangeKind::Deploy,
            "flag" => ChangeKind::Flag,
            "sampling" => ChangeKind::Sampling,
            _ => ChangeKind::Other,
        },
        at: row.at,
        app: row.app.clone(),
        release: text(&row.release),
        text: text(&row.text),
        url: text(&row.url),
    }
}
