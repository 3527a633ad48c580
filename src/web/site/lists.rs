//! Notifications, dead letters, receivers, changes, audit.

use axum::extract::Path;
use axum::response::Response;

use super::slos::change_of;
use super::{Query, Site};
use crate::domain::time::{Span, Timestamp};
use crate::store::outbox::{self, OutboxRow};
use crate::store::{annotations, attempts, audit, receivers as receiver_states};
use crate::web::api::outbox::short_kind;
use crate::web::api::rules::target;
use crate::web::chart::Marker;
use crate::web::frame::Page;
use crate::web::pages::lists::{self as pages, Act, Attempt, Changes, Delivery, Notifications};
use crate::web::pages::receivers::{self as receiver_pages, ReceiverRow, Receivers};
use crate::web::pages::{change_glyph, plain_change, receiver_words};
use crate::web::problem::Problem;

const ROWS: usize = 50;
/// Dead letters of one page: each has two forms.
const DEAD: usize = 25;
/// Changes of one page, and how far pages go.
const CHANGES: usize = 60;
const CHANGES_MAX: usize = 6_000;
/// What says how a receiver stands, and how many deliveries are looked at for it.
const LATELY: Span = Span::days(7);
const LATELY_MAX: usize = 5_000;

fn delivery(row: &OutboxRow) -> Delivery {
    Delivery {
        id: row.id.clone(),
        at: row.created_at,
        incident: row.incident.clone(),
        kind: short_kind(&row.kind).to_owned(),
        receiver: row.receiver.clone(),
        state: row.state.clone(),
        attempts: row.attempts,
        due_at: row.due_at,
        error: row.last_error.clone(),
    }
}

pub async fn notifications(site: Site, query: Query) -> Response {
    let page = read_notifications(&site, &query).await;
    site.show(page).await
}

async fn read_notifications(site: &Site, query: &Query) -> Result<Page, Problem> {
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let (state, receiver, incident) = (text("state"), text("receiver"), text("incident"));
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let filter = outbox::Filter { state: some(&state).into_iter().collect(), receiver: some(&receiver), incident: some(&incident) };
    let mut tx = site.state.store.read().await?;
    let (rows, next) = outbox::list(&mut tx, &filter, query.get("cursor"), ROWS).await?;
    let dead = outbox::counts(&mut tx).await?.dead;
    let rows = rows.iter().map(delivery).collect();
    Ok(pages::notifications(&Notifications { rows, state, receiver, incident, next, dead, now: site.now }))
}

pub async fn notification(site: Site, Path(id): Path<String>) -> Response {
    let page = async {
        let mut tx = site.state.store.read().await?;
        let row = outbox::get(&mut tx, &id).await?.ok_or_else(|| Problem::unknown("notification", &id))?;
        let tried: Vec<Attempt> = attempts::list(&mut tx, &id)
            .await?
            .into_iter()
            .map(|attempt| Attempt {
                at: attempt.at,
                outcome: attempt.outcome,
                status: attempt.status,
                took: Span(attempt.took_ms),
                detail: attempt.detail,
            })
            .collect();
        Ok(pages::notification(&delivery(&row), &tried, &said(&row.payload), site.now))
    };
    let page = page.await;
    site.show(page).await
}

/// The notification of a payload, indented. The receiver's definition beside it is not for reading:
/// what it names as plain text may be a secret all the same.
fn said(payload: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
    match value.as_object_mut() {
        Some(fields) => {
            fields.remove("definition");
            serde_json::to_string_pretty(&value).unwrap_or_default()
        }
        None => "what was stored cannot be read".to_owned(),
    }
}

pub async fn dead_letters(site: Site, query: Query) -> Response {
    let page = async {
        let mut tx = site.state.store.read().await?;
        let filter = outbox::Filter { state: vec!["dead".into()], ..outbox::Filter::default() };
        let (rows, next) = outbox::list(&mut tx, &filter, query.get("cursor"), DEAD).await?;
        let mut rows: Vec<Delivery> = rows.iter().map(delivery).collect();
        rows.sort_by(|a, b| a.receiver.cmp(&b.receiver).then(a.error.cmp(&b.error)).then(b.at.cmp(&a.at)));
        Ok(pages::dead_letters(&rows, next.as_deref(), site.now, &site.visitor.reader))
    };
    let page = page.await;
    site.show(page).await
}

pub async fn receivers(site: Site, query: Query) -> Response {
    let page = read_receivers(&site, &query).await;
    site.show(page).await
}

async fn read_receivers(site: &Site, query: &Query) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let mut tx = site.state.store.read().await?;
    let states = receiver_states::load(&mut tx).await?;
    let standing = outbox::standing(&mut tx, site.now - LATELY, LATELY_MAX).await?;
    drop(tx);
    let mut rows: Vec<ReceiverRow> = snapshot
        .rules
        .receivers
        .iter()
        .map(|receiver| {
            let one = standing.get(&receiver.name).cloned().unwrap_or_default();
            ReceiverRow {
                name: receiver.name.clone(),
                kind: receiver_words(&receiver.kind).into(),
                target: target(&receiver.kind),
                pending: one.pending,
                attempts: one.attempts,
                failed: (one.attempts - one.delivered).max(0),
                last_success: one.last_success,
                last_error: one.last_error,
                paused_until: states.iter().find(|state| state.receiver == receiver.name).map(|state| state.paused_until),
            }
        })
        .collect();
    // Those that need a look first, then in the order of the rules.
    rows.sort_by_key(|row| !row.is_in_trouble(site.now));
    let from = query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0_usize).min(rows.len());
    let page = from..rows.len().min(from + ROWS);
    Ok(receiver_pages::page(&Receivers { rows: &rows[page], from, all: rows.len(), now: site.now, reader: &site.visitor.reader }))
}

pub async fn changes(site: Site, query: Query) -> Response {
    let page = async {
        let app = query.get("app").unwrap_or_default();
        let from: usize = query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0).min(CHANGES_MAX);
        let mut tx = site.state.store.read().await?;
        let span = (site.now - Span::days(30), site.now + Span::days(1));
        let rows = annotations::newest(&mut tx, span, query.get("app"), from + CHANGES + 1).await?;
        drop(tx);
        let more = rows.len() > from + CHANGES;
        let rows: Vec<_> = rows.iter().skip(from).take(CHANGES).map(change_of).collect();
        Ok(pages::changes(&Changes { rows: &rows, app, from, next: more.then_some(from + CHANGES), now: site.now }))
    };
    let page = page.await;
    site.show(page).await
}

/// Changes in a span of time as a chart marks them.
pub async fn markers(site: &Site, from: Timestamp, to: Timestamp) -> Result<Vec<Marker>, Problem> {
    let mut tx = site.state.store.read().await?;
    let rows = annotations::list(&mut tx, from, to, None).await?;
    Ok(rows
        .iter()
        .map(change_of)
        .map(|change| Marker { at: change.at, glyph: change_glyph(change.kind), text: plain_change(&change) })
        .collect())
}

pub async fn audit(site: Site, query: Query) -> Response {
    let page = async {
        let mut tx = site.state.store.read().await?;
        let with_reads = query.get("reads") == Some("yes");
        let acts = if with_reads { audit::Acts::All } else { audit::Acts::Changes };
        let (rows, next) = audit::list(&mut tx, query.get("cursor"), 100, acts).await?;
        let rows: Vec<Act> = rows
            .into_iter()
            .map(|row| Act { at: row.at, who: row.who, action: row.action, thing: row.thing, source: row.source, detail: row.detail })
            .collect();
        Ok(pages::audit(&rows, next.as_deref(), with_reads, site.now))
    };
    let page = page.await;
    site.show(page).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_shown_and_how_its_receiver_is_defined_is_not() {
        let text = said(
            r#"{"type":"incident.opened","reason":"it burns","data":{"links":{}},"definition":{"url":{"plain":"https://x.example/s3cret"}}}"#,
        );
        assert!(text.contains("\"reason\": \"it burns\"") && text.contains("incident.opened") && text.contains("links"), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("definition"), "{text}");
        assert_eq!(said("nonsense"), "what was stored cannot be read");
    }
}
