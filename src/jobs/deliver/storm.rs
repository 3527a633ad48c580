//! More than a receiver takes: what waits for it becomes one digest.
//!
//! A digest is an outbox row of its own, written in the transaction that takes the others out. It is an incident to
//! its receiver, and closed there once nothing in it is open. What a receiver was told of by itself, or may have
//! been, is closed by itself.

use std::collections::{BTreeSet, HashSet};

use tracing::warn;

use crate::domain::desk::{correlation_key, delivery_id};
use crate::domain::digest::{self, Open, is_news};
use crate::domain::notification::{Kind, Notification};
use crate::domain::rule::Receiver;
use crate::domain::time::Timestamp;
use crate::notify::Queued;
use crate::store::outbox::{OutboxRow, digest as folding};
use crate::store::{StoreError, Tx, events, outbox, receivers};

use super::settled::Remembered;

/// Most notifications in one digest; what is beyond it makes the next one.
const DIGEST_MAX: usize = 2_000;
/// Sequence numbers of a digest's two notifications.
const OPENING: i64 = 1;
const CLOSING: i64 = 2;

/// What is to be told in one digest, and who is told.
struct Parts {
    rows: Vec<(OutboxRow, bool)>,
    told: Vec<Notification>,
    definition: Option<Receiver>,
}

/// Folds what waits for a receiver, if it is more than `most`. `ours` are rows whose claim we hold. Gives the ids of
/// those that are folded.
pub async fn fold(
    tx: &mut Tx,
    receiver: &str,
    ours: Vec<OutboxRow>,
    most: usize,
    known: &mut Remembered,
    now: Timestamp,
) -> Result<HashSet<String>, StoreError> {
    let theirs = folding::waiting(tx, receiver, now, DIGEST_MAX).await?;
    let parts = parts(ours, theirs);
    let incidents: BTreeSet<&str> = parts.told.iter().map(|told| told.data.incident.id.as_str()).collect();
    let Some((first, _)) = parts.rows.first().filter(|_| parts.rows.len() > most && incidents.len() > 1) else {
        return Ok(HashSet::new());
    };
    let open = Open { id: digest::id(&first.id), generation: now.seconds() };
    let others = incidents.len() - 1;
    let why = format!("told in one digest with {others} other incident{}: too many at once", if others == 1 { "" } else { "s" });
    let mut folded = HashSet::new();
    let mut told = Vec::new();
    let mut noted: BTreeSet<&str> = BTreeSet::new();
    let mut due = now;
    for ((row, ours), part) in parts.rows.iter().zip(&parts.told) {
        if !folding::fold(tx, &row.id, &open.id, now, ours.then_some(row.claimed_until), &why).await? {
            continue;
        }
        folded.insert(row.id.clone());
        told.push(part.clone());
        // In the queue it has the place of the oldest that it stands for.
        due = due.min(row.due_at);
        if noted.insert(&row.incident) {
            events::append(tx, &row.incident, now, "digested", "", &format!("{receiver}: {why}"), "{}").await?;
        }
    }
    let Some(notification) = digest::opening(&open.id, receiver, &told, now) else { return Ok(folded) };
    warn!(receiver, incidents = noted.len(), "a storm: `{receiver}` is told of {} incidents in one digest", noted.len());
    let queued = Queued { notification, definition: parts.definition };
    outbox::insert(tx, &OutboxRow { due_at: due, ..row(&open, OPENING, receiver, &queued, now) }).await?;
    known.digests.push(open);
    remember(tx, receiver, known).await?;
    Ok(folded)
}

/// What may be folded: news that nobody has tried to send and that can be read.
fn parts(ours: Vec<OutboxRow>, theirs: Vec<OutboxRow>) -> Parts {
    let mut parts = Parts { rows: Vec::new(), told: Vec::new(), definition: None };
    let all = ours.into_iter().map(|row| (row, true)).chain(theirs.into_iter().map(|row| (row, false)));
    for (row, ours) in all.take(DIGEST_MAX) {
        // A digest stands for others already.
        if row.attempts > 0 || digest::is_id(&row.incident) {
            continue;
        }
        let Ok(queued) = serde_json::from_str::<Queued>(&row.payload) else { continue };
        if !is_news(queued.notification.kind) {
            continue;
        }
        parts.definition = parts.definition.or(queued.definition);
        parts.told.push(queued.notification);
        parts.rows.push((row, ours));
    }
    parts
}

/// Leaves the answer to something out that its receiver knows from a digest only. `false`: it is to be sent.
pub async fn leave_out(tx: &mut Tx, row: &OutboxRow, now: Timestamp) -> Result<bool, StoreError> {
    let news = [Kind::Acknowledged, Kind::Resolved].iter().all(|kind| row.kind != kind.name());
    if news || !folding::only_in_digest(tx, row).await? {
        return Ok(false);
    }
    folding::leave_out(tx, &row.id, now, "it was told of this incident in a digest only, which is closed when all in it are").await
}

/// Closes the digests in which nothing is open any more.
pub async fn close(tx: &mut Tx, receiver: &str, known: &mut Remembered, now: Timestamp) -> Result<(), StoreError> {
    let mut over = BTreeSet::new();
    for digest in &known.digests {
        if folding::is_open(tx, &digest.id).await? {
            continue;
        }
        over.insert(digest.id.clone());
        let mut told = outbox::for_incident(tx, &digest.id).await?;
        told.retain(|row| row.sequence == OPENING && row.receiver == receiver);
        let Some(mut queued) = told.first().and_then(|row| serde_json::from_str::<Queued>(&row.payload).ok()) else { continue };
        if queued.definition.as_ref().is_none_or(|definition| definition.send_resolved) {
            queued.notification = digest::closing(queued.notification, now);
            outbox::insert(tx, &row(digest, CLOSING, receiver, &queued, now)).await?;
        }
    }
    if !over.is_empty() {
        known.digests.retain(|digest| !over.contains(&digest.id));
        remember(tx, receiver, known).await?;
    }
    Ok(())
}

async fn remember(tx: &mut Tx, receiver: &str, known: &Remembered) -> Result<(), StoreError> {
    let data = serde_json::to_string(known).unwrap_or_default();
    receivers::save(tx, receiver, known.paused_until, &data).await
}

fn row(digest: &Open, sequence: i64, receiver: &str, queued: &Queued, now: Timestamp) -> OutboxRow {
    OutboxRow {
        id: delivery_id(&digest.id, digest.generation, sequence, receiver),
        incident: digest.id.clone(),
        generation: digest.generation,
        sequence,
        receiver: receiver.to_owned(),
        correlation: correlation_key(&digest.id, digest.generation, receiver),
        kind: queued.notification.kind.name().to_owned(),
        payload: serde_json::to_string(queued).expect("plain data with text keys always serialises"),
        state: "pending".into(),
        due_at: now,
        created_at: now,
        finished_at: None,
        attempts: 0,
        claimed_until: Timestamp(0),
        last_error: String::new(),
        reply: String::new(),
    }
}
