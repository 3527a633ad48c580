//! Tells pagers of deploys: PagerDuty shows them beside its incidents as change events, and wakes nobody for them.
//!
//! Each receiver with `changes: true` has its own place in the list of what was reported, kept in
//! the store. A change is told at least once, in order; one that cannot be told within an hour is
//! left out, since nobody looks for it then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::clock::SharedClock;
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::rule::{Receiver, ReceiverKind, RuleSet};
use crate::domain::time::{Span, Timestamp};
use crate::notify::{Next, Sender};
use crate::store::annotations::{self, AnnotationRow, Seen};
use crate::store::{Store, StoreError, leases, meta};

const EVERY: Duration = Duration::from_secs(2);
/// Whoever holds it tells; longer than one receiver's round may take.
const LEASE: Span = Span::minutes(5);
/// A change that was stored this moment may not be visible yet beside a later one.
const SETTLED: Span = Span::SECOND;
/// The service asks for tries half a minute apart.
const AGAIN: Span = Span::seconds(30);
const GIVE_UP: Span = Span::HOUR;
/// How many are told to one receiver at a time.
const AT_ONCE: usize = 20;

/// The job.
pub struct Changes {
    pub store: Store,
    pub sender: Arc<Sender>,
    pub rules: Arc<ArcSwap<RuleSet>>,
    pub holder: String,
    /// Receivers that failed, and when they are tried again.
    pub waiting: BTreeMap<String, Timestamp>,
}

impl Changes {
    /// Works until `stop`.
    pub async fn run(mut self, clock: SharedClock, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.step(clock.now()).await {
                error!(%error, "changes cannot be told, trying again");
            }
        }
    }

    /// Tells every receiver what it does not know yet; says how many changes were told.
    pub async fn step(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let rules = self.rules.load_full();
        let wants = |receiver: &&Receiver| matches!(receiver.kind, ReceiverKind::Pagerduty { changes: true, .. });
        let mut told = 0;
        for receiver in rules.receivers.iter().filter(wants) {
            if self.waiting.get(&receiver.name).is_none_or(|at| *at <= now) {
                told += self.tell(receiver, now).await?;
            }
        }
        Ok(told)
    }

    async fn tell(&mut self, receiver: &Receiver, now: Timestamp) -> Result<usize, StoreError> {
        let place = format!("change_events/{}", receiver.name);
        let mut tx = self.store.write().await?;
        if leases::acquire(&mut tx, "change_events", &self.holder, now, now + LEASE).await?.is_none() {
            return Ok(0);
        }
        // What was reported before the receiver asked for changes is not told.
        let start = Seen { at: now, id: String::new() };
        let seen = meta::get_or_set(&mut tx, &place, &start.to_string()).await?.parse().unwrap_or(start);
        let rows = annotations::after(&mut tx, &seen, now - SETTLED, AT_ONCE).await?;
        tx.commit().await?;
        let mut told = 0;
        for row in rows {
            if row.kind == ChangeKind::Deploy.name() && now - row.created_at <= GIVE_UP {
                match self.sender.announce(receiver, &change(&row), now).await {
                    Ok(()) => told += 1,
                    Err(problem) => {
                        warn!(receiver = receiver.name, error = %problem, "a deploy could not be told to `{}`", receiver.name);
                        if let Next::Retry { after } = problem.next {
                            self.waiting.insert(receiver.name.clone(), now + after.unwrap_or(AGAIN).max(AGAIN));
                            return Ok(told);
                        }
                    }
                }
            }
            let mut tx = self.store.write().await?;
            meta::set(&mut tx, &place, &Seen { at: row.created_at, id: row.id }.to_string()).await?;
            tx.commit().await?;
        }
        self.waiting.remove(&receiver.name);
        Ok(told)
    }
}

fn change(row: &AnnotationRow) -> Change {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Change {
        id: row.id.clone(),
        kind: ChangeKind::Deploy,
        at: row.at,
        app: row.app.clone(),
        release: text(&row.release),
        text: text(&row.text),
        url: text(&row.url),
    }
}
