//! Writes down what became of a delivery: the row, the attempt, what was learned about the receiver, and word to
//! the fallback receiver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{debug, error, warn};

use crate::domain::desk::{correlation_key, delivery_id};
use crate::domain::digest;
use crate::domain::notification::Kind;
use crate::domain::time::Timestamp;
use crate::notify::{Queued, escape};
use crate::store::attempts::AttemptRow;
use crate::store::outbox::OutboxRow;
use crate::store::{StoreError, Tx, attempts, outbox, receivers};

use super::verdict::Verdict;

/// An outcome to commit.
pub struct Settled {
    pub row: Arc<OutboxRow>,
    pub at: Timestamp,
    pub took: Duration,
    pub status: Option<u16>,
    pub verdict: Verdict,
    /// The receiver asked to be left alone until then.
    pub pause: Option<Timestamp>,
    /// The receiver is gone.
    pub disabled: Option<Disabled>,
    /// A receiver that was gone answers again.
    pub enabled: bool,
}

/// What is stored about a receiver between deliveries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    #[serde(skip)]
    pub paused_until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// What it was told of in digests that are not closed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<digest::Open>,
}

/// It answered 410 Gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disabled {
    pub at: Timestamp,
    /// Fingerprint of the definition that answered so.
    pub definition: Arc<str>,
}

impl Settled {
    /// What is known of the receiver after this.
    pub fn learned(&self, known: &Remembered) -> Remembered {
        let mut known = known.clone();
        if let Some(until) = self.pause {
            known.paused_until = known.paused_until.max(until);
        }
        if self.enabled {
            known.disabled = None;
        }
        if let Some(disabled) = &self.disabled {
            known.disabled = Some(disabled.clone());
        }
        known
    }

    /// What the receiver answered that later deliveries need; empty: nothing.
    fn reply(&self) -> String {
        match &self.verdict {
            Verdict::Delivered { reply: Some(reply), .. } => reply.to_string(),
            Verdict::Delivered { reply: None, .. } | Verdict::Retry { .. } | Verdict::Dead { .. } => String::new(),
        }
    }

    fn attempt(&self) -> AttemptRow {
        let detail = match &self.verdict {
            Verdict::Delivered { note, .. } => note,
            Verdict::Retry { error, .. } | Verdict::Dead { error, .. } => error,
        };
        AttemptRow {
            delivery: self.row.id.clone(),
            n: 0,
            at: self.at,
            outcome: self.outcome().into(),
            status: self.status.map(i64::from),
            took_ms: i64::try_from(self.took.as_millis()).unwrap_or(i64::MAX),
            detail: detail.clone(),
        }
    }

    fn outcome(&self) -> &'static str {
        match self.verdict {
            Verdict::Delivered { .. } => "delivered",
            Verdict::Retry { .. } => "retry",
            Verdict::Dead { .. } => "dead",
        }
    }
}

/// Writes outcomes, at most one of each delivery, and into `remembered` what they say about their receivers.
pub async fn save_all(
    tx: &mut Tx,
    all: &[Settled],
    remembered: &mut BTreeMap<String, Remembered>,
    fallback: Option<&str>,
) -> Result<(), StoreError> {
    let replies: Vec<String> = all.iter().map(Settled::reply).collect();
    let delivered = |settled: &Settled| matches!(settled.verdict, Verdict::Delivered { .. });
    let went = all.iter().zip(&replies).filter(|(settled, _)| delivered(settled));
    let went: Vec<(&str, Timestamp, &str)> = went.map(|(settled, reply)| (settled.row.id.as_str(), settled.at, reply.as_str())).collect();
    outbox::delivered(tx, &went).await?;
    for settled in all {
        follow(tx, settled, fallback).await?;
    }
    let attempts: Vec<AttemptRow> = all.iter().map(Settled::attempt).collect();
    attempts::add(tx, &attempts).await?;
    for settled in all {
        learn(tx, settled, remembered).await?;
    }
    Ok(())
}

/// What an outcome brings with it: another attempt, a dead letter, word to the fallback receiver.
async fn follow(tx: &mut Tx, settled: &Settled, fallback: Option<&str>) -> Result<(), StoreError> {
    let row = &settled.row;
    match &settled.verdict {
        Verdict::Delivered { .. } => {
            if let Some(fallback) = fallback.filter(|fallback| row.kind == Kind::Resolved.name() && *fallback != row.receiver) {
                close_at_fallback(tx, row, fallback, settled.at).await?;
            }
        }
        Verdict::Retry { due, error, progress } => {
            if let Some(progress) = progress {
                outbox::progress(tx, &row.id, &progress.to_string()).await?;
            }
            outbox::retry(tx, &row.id, row.claimed_until, *due, error).await?;
        }
        Verdict::Dead { error, .. } => {
            let buried = outbox::dead(tx, &row.id, settled.at, error).await?;
            // Not if a person discarded it meanwhile, or another replica got it through.
            if let Some(word) = word_to_fallback(row, error, fallback, settled.at).filter(|_| buried) {
                outbox::insert(tx, &word).await?;
            }
        }
    }
    Ok(())
}

async fn learn(tx: &mut Tx, settled: &Settled, remembered: &mut BTreeMap<String, Remembered>) -> Result<(), StoreError> {
    let receiver = &settled.row.receiver;
    let known = remembered.entry(receiver.clone()).or_default();
    let learned = settled.learned(known);
    if learned != *known {
        let data = serde_json::to_string(&learned).unwrap_or_default();
        receivers::save(tx, receiver, learned.paused_until, &data).await?;
        *known = learned;
    }
    Ok(())
}

/// The same notification, for the fallback receiver, with what went wrong.
fn word_to_fallback(row: &OutboxRow, why: &str, fallback: Option<&str>, now: Timestamp) -> Option<OutboxRow> {
    let fallback = fallback.filter(|fallback| *fallback != row.receiver)?;
    let why = format!("receiver `{}` could not be told: {}", row.receiver, escape::clean(why, 200));
    for_fallback(row, &why, fallback, now)
}

/// A receiver that missed the opening may be back for the close. Whoever stood in for it is told of the close, too.
async fn close_at_fallback(tx: &mut Tx, row: &OutboxRow, fallback: &str, now: Timestamp) -> Result<(), StoreError> {
    let all = outbox::for_incident(tx, &row.incident).await?;
    let all: Vec<&OutboxRow> = all.iter().filter(|other| other.generation == row.generation).collect();
    let missed = |sequence: i64| all.iter().any(|other| other.sequence == sequence && other.receiver != fallback);
    let (stood_in, own): (Vec<&OutboxRow>, Vec<&OutboxRow>) =
        all.iter().copied().filter(|other| other.receiver == fallback).partition(|other| missed(other.sequence));
    // A fallback that a route names as well gets its own close from there.
    if stood_in.is_empty() || !own.is_empty() {
        return Ok(());
    }
    if let Some(word) = for_fallback(row, &format!("receiver `{}` was told", row.receiver), fallback, now) {
        outbox::insert(tx, &word).await?;
    }
    Ok(())
}

/// A copy of a delivery for the fallback receiver, under the keys that it has there.
fn for_fallback(row: &OutboxRow, why: &str, fallback: &str, now: Timestamp) -> Option<OutboxRow> {
    let queued: Queued = serde_json::from_str(&row.payload).ok()?;
    let mut notification = queued.notification;
    notification.reason = if notification.reason.is_empty() { why.to_owned() } else { format!("{why}; {}", notification.reason) };
    Some(OutboxRow {
        id: delivery_id(&row.incident, row.generation, row.sequence, fallback),
        receiver: fallback.to_owned(),
        correlation: correlation_key(&row.incident, row.generation, fallback),
        payload: serde_json::to_string(&Queued { notification, definition: None }).ok()?,
        state: "pending".into(),
        due_at: now,
        created_at: now,
        finished_at: None,
        attempts: 0,
        claimed_until: Timestamp(0),
        last_error: String::new(),
        reply: String::new(),
        ..row.clone()
    })
}

/// Shows the counters of these receivers before the first delivery, so that a rate has something to begin at.
pub fn announce<'a>(receivers: impl Iterator<Item = &'a str>) {
    for receiver in receivers {
        for outcome in ["delivered", "retry", "dead"] {
            metrics::counter!("burnwatch_notifications_total", "receiver" => receiver.to_owned(), "outcome" => outcome).increment(0);
        }
    }
}

/// Counts and logs an outcome once it is committed.
pub fn report(settled: &Settled) {
    let row = &settled.row;
    metrics::counter!("burnwatch_notifications_total", "receiver" => row.receiver.clone(), "outcome" => settled.outcome()).increment(1);
    let (receiver, incident, attempt) = (&row.receiver, &row.incident, row.attempts + 1);
    match &settled.verdict {
        Verdict::Delivered { note, .. } => {
            debug!(%receiver, incident.id = %incident, delivery = %row.id, attempt, note, "delivered to `{receiver}`")
        }
        Verdict::Retry { due, error, .. } => {
            warn!(%receiver, incident.id = %incident, delivery = %row.id, attempt, error, "delivery to `{receiver}` failed, retrying at {due}");
        }
        Verdict::Dead { error, .. } => {
            error!(%receiver, incident.id = %incident, delivery = %row.id, attempt, error, "delivery to `{receiver}` failed for good; it is with the dead letters");
        }
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
