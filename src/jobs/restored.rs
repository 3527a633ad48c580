//! Restored: a database that is a copy of an earlier time knows nothing of what was told and closed since. What it would tell
//! anew is held, until what is measured now says how things stand.

use tracing::warn;

use crate::domain::desk::Desk;
use crate::domain::incident::Input;
use crate::domain::time::{Span, Timestamp};
use crate::store::{Store, StoreError, meta, outbox, transition};

/// Who does it, in the history of incidents.
const BY: &str = "burnwatch, restored";
/// A younger copy is a database that goes on at another place: nobody was told anything in between.
const COPY_FRESH: Span = Span::minutes(10);
/// How long incidents that were open then escalate nothing and remind nobody.
const HOLD: Span = Span::HOUR;

/// What was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// When the copy was made, where it says so.
    pub copied_at: Option<Timestamp>,
    pub notifications: u64,
    pub incidents: usize,
}

/// At a start: holds what a restored database would tell. `told`: a person says that it is restored; a copy that
/// `backup` made says so by itself, once. `None`: it is not.
pub async fn hold(store: &Store, desk: &Desk, told: bool, now: Timestamp, public_url: &str) -> Result<Option<Held>, StoreError> {
    let mut tx = store.write_durable().await?;
    let copied_at = meta::get(&mut tx, meta::COPIED_AT).await?;
    if copied_at.is_none() && !told {
        return Ok(None);
    }
    meta::remove(&mut tx, meta::COPIED_AT).await?;
    let copied_at: Option<Timestamp> = copied_at.and_then(|at| at.parse().ok());
    if !told && copied_at.is_some_and(|at| now - at < COPY_FRESH && now >= at) {
        tx.commit().await?;
        return Ok(None);
    }
    let of = copied_at.map_or_else(|| "an earlier time".to_owned(), |at| at.to_string());
    let notifications = outbox::hold(&mut tx, now, &format!("the database was restored from {of}: this waited then")).await?;
    let open = transition::load_open(&mut tx).await?;
    for incident in open.values() {
        let snooze = Input::Snooze { by: BY.into(), until: now + HOLD };
        transition::apply(&mut tx, desk, &incident.id, snooze, now, public_url).await?;
    }
    tx.commit().await?;
    let held = Held { copied_at, notifications, incidents: open.len() };
    warn!(
        notifications,
        incidents = held.incidents,
        "the database was restored from {of}: {notifications} notifications that waited then are not sent, and {} incidents that were open \
         then are snoozed for {HOLD}",
        held.incidents
    );
    Ok(Some(held))
}
