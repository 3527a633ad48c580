//! `/silences/{id}`: one silence, and what matchers would have held back.

use axum::extract::Path;
use axum::response::Response;

use super::Site;
use super::silences::{Firing, made, read_matchers, written};
use crate::domain::filter::Filter;
use crate::domain::incident::Incident;
use crate::domain::reminder::FORGOTTEN_AFTER;
use crate::domain::route::matches;
use crate::domain::rule::Severity;
use crate::domain::time::{Span, Timestamp};
use crate::store::{incidents, silences as stored, transition};
use crate::web::api::silences::reminder;
use crate::web::frame::Page;
use crate::web::pages::new_silence::{Past, Preview};
use crate::web::pages::silence::{self as pages, Covered, Model};
use crate::web::problem::Problem;

/// Most incidents that are looked at for what a silence covers.
const INCIDENTS_MAX: usize = 2_000;
const COVERED_MAX: usize = 20;
/// An old silence is not followed further back.
const BACK_MAX: Span = Span::days(90);

pub async fn page(site: Site, Path(id): Path<String>) -> Response {
    let page = read(&site, &id).await;
    site.show(page).await
}

async fn read(site: &Site, id: &str) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let row = stored::get(&mut site.state.store.read().await?, id).await?;
    let in_rules = snapshot.rules.silences.iter().find(|silence| silence.name == id);
    let (mut silence, conditions, made_at) = match (&row, in_rules) {
        (Some(row), _) => {
            let silence = made(row, site.now);
            let conditions = read_matchers(&silence.matchers);
            (silence, conditions, Some(row.created_at))
        }
        (None, Some(one)) => (written(one, site.now), Some(one.when.clone()), None),
        (None, None) => return Err(Problem::unknown("silence", id)),
    };
    if let Some(row) = row.as_ref().filter(|_| silence.state == "active") {
        let lately = transition::lately(&mut site.state.store.read().await?, site.now - FORGOTTEN_AFTER).await?;
        silence.reminder = reminder(row, &lately, site.now);
    }
    let (mut holds, mut past, mut covered) = (Preview::default(), Past::default(), Vec::new());
    if let Some(conditions) = &conditions {
        if silence.state == "active" {
            holds = Firing::new(&snapshot).preview(conditions);
        }
        let from = silence.starts.max(site.now - BACK_MAX);
        let found = matching(site, conditions, from, silence.ends.min(site.now)).await?;
        past = found.0;
        covered = found.1;
    }
    Ok(pages::page(&Model { silence: &silence, made_at, holds, past, covered, now: site.now, reader: &site.visitor.reader }))
}

/// What these conditions would have held back of what opened in `[from, to)`.
pub async fn would_have(site: &Site, conditions: &Filter, from: Timestamp, to: Timestamp) -> Result<Past, Problem> {
    Ok(matching(site, conditions, from, to).await?.0)
}

async fn matching(site: &Site, conditions: &Filter, from: Timestamp, to: Timestamp) -> Result<(Past, Vec<Covered>), Problem> {
    let mut tx = site.state.store.read().await?;
    let rows = incidents::between(&mut tx, from, to, INCIDENTS_MAX).await?;
    // What was open already when it began is covered, too.
    let open = incidents::open(&mut tx).await?;
    drop(tx);
    let mut past = Past { more: rows.len() == INCIDENTS_MAX, ..Past::default() };
    let mut covered = Vec::new();
    let before = open.iter().filter(|row| row.opened_at < from);
    for row in rows.iter().chain(before) {
        let incident = transition::read(row)?;
        let Some(loudest) = count(&incident, conditions, &mut past) else { continue };
        if covered.len() < COVERED_MAX {
            covered.push(Covered { severity: loudest, title: row.title.clone(), opened_at: row.opened_at, id: row.id.clone() });
        }
    }
    Ok((past, covered))
}

/// Counts the alerts of an incident that match; gives the loudest of them.
fn count(incident: &Incident, conditions: &Filter, past: &mut Past) -> Option<Severity> {
    let hit = incident.members.iter().filter(|member| matches(conditions, &member.full_labels()));
    let severities: Vec<Severity> = hit.map(|member| member.severity).collect();
    let loudest = severities.iter().copied().max()?;
    past.alerts += severities.len();
    past.incidents += 1;
    past.pages += usize::from(loudest == Severity::Page);
    Some(loudest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture;

    #[test]
    fn alerts_are_counted_by_all_their_labels() {
        let incident = fixture::incident();
        let with = |texts: &[&str]| read_matchers(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap();
        let mut past = Past::default();
        assert_eq!(count(&incident, &with(&["service=shop"]), &mut past), Some(Severity::Page));
        assert_eq!(past, Past { alerts: 3, incidents: 1, pages: 1, more: false });
        assert_eq!(count(&incident, &with(&["service=shop", "severity=ticket"]), &mut past), Some(Severity::Ticket));
        assert_eq!(past, Past { alerts: 5, incidents: 2, pages: 1, more: false });
        assert_eq!(count(&incident, &with(&["service=blog"]), &mut past), None);
    }
}
