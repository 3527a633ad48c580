//! Alerts from `/api/v2/alerts`: stored before they are answered, and taken into incidents.
//!
//! [`Receiver`] stores what requests bring, several requests in one transaction. [`settle`] runs with
//! the evaluations, under their lease, and looks only at what is new, changed or over. The board in
//! memory follows the table; whenever the two may differ it is read again.

mod look;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::domain::desk::Desk;
use crate::domain::posted::{self, ALERTS_MAX, Key, Posted, RESOLVE_TIMEOUT};
use crate::domain::time::Timestamp;
use crate::store::{self, Store, StoreError};

pub use self::look::{End, Look, Looked, Report, settle};
pub use self::shared::Shared;

/// Most alerts in one transaction.
const BATCH_MAX: usize = 4_096;
/// Requests that may wait for their turn.
const QUEUE: usize = 256;
/// How long a request waits for its turn. Prometheus waits ten seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a replica reads what others have stored.
const FOLLOW: Duration = Duration::from_secs(1);

/// Why alerts were not taken.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("more than {ALERTS_MAX} alerts are on; no further ones are taken")]
    Full,
    #[error("too many requests wait to be stored")]
    Busy,
}

struct Request {
    alerts: Vec<Posted>,
    now: Timestamp,
    answer: oneshot::Sender<Result<(), Arc<PostError>>>,
}

/// Hands alerts to the receiver.
#[derive(Clone)]
pub struct Post(mpsc::Sender<Request>);

impl Post {
    /// Answers when the alerts are stored.
    pub async fn post(&self, alerts: Vec<Posted>, now: Timestamp) -> Result<(), Arc<PostError>> {
        if alerts.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let gone = || Arc::new(PostError::Busy);
        let sent = tokio::time::timeout(PATIENCE, self.0.send(Request { alerts, now, answer })).await;
        sent.map_err(|_| gone())?.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Stores what comes in.
pub struct Receiver {
    store: Store,
    shared: Shared,
    desk: Arc<arc_swap::ArcSwap<Desk>>,
    requests: mpsc::Receiver<Request>,
    /// Wakes the job that takes alerts into incidents.
    wake: Arc<Notify>,
}

impl Receiver {
    /// A receiver, and what to hand it alerts with.
    pub fn new(store: Store, shared: Shared, desk: Arc<arc_swap::ArcSwap<Desk>>, wake: Arc<Notify>) -> (Receiver, Post) {
        let (sender, requests) = mpsc::channel(QUEUE);
        (Receiver { store, shared, desk, requests, wake }, Post(sender))
    }

    /// Until told to stop. What was answered is stored.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut timer = tokio::time::interval(FOLLOW);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut newest = Timestamp(0);
        loop {
            let first = tokio::select! {
                request = self.requests.recv() => request,
                _ = timer.tick(), if self.store.is_shared() => {
                    if let Err(error) = self.follow(newest).await {
                        warn!(error = %error, "what other replicas stored could not be read and is read again");
                    }
                    continue;
                }
                () = stop.cancelled() => return,
            };
            let Some(first) = first else { return };
            let mut batch = Batch::default();
            batch.add(first);
            batch.gather(&mut self.requests);
            let stored = self.take(&mut batch).await.map_err(Arc::new);
            if let Err(error) = &stored {
                error!(error = %error, alerts = batch.size, "alerts could not be stored; their senders were told");
            }
            newest = newest.max(batch.newest());
            for request in batch.requests {
                // Whoever does not wait any more sends again.
                let _ = request.answer.send(stored.clone());
            }
            self.wake.notify_one();
        }
    }

    async fn follow(&self, now: Timestamp) -> Result<(), StoreError> {
        let timeout = self.desk.load().rules().resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
        self.shared.load(&self.store, now, timeout).await
    }

    /// Stores several requests as one transaction, while a look may be under way. What that look is at is on the board after it:
    /// as if it had come then.
    async fn take(&mut self, batch: &mut Batch) -> Result<(), PostError> {
        let timeout = self.desk.load().rules().resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
        let now = batch.newest();
        if self.store.is_shared() || !self.shared.is_known() {
            self.shared.load(&self.store, now, timeout).await?;
        }
        let mut changed = HashMap::new();
        self.note(batch, &mut changed)?;
        if changed.is_empty() {
            return Ok(());
        }
        let mut tx = self.store.write().await?;
        // Whoever came while this waited for its turn shares it.
        batch.gather(&mut self.requests);
        self.note(batch, &mut changed)?;
        let rows: Vec<(Key, &Posted)> = changed.iter().map(|(key, alert)| (*key, alert)).collect();
        let seq = store::posted::save(&mut tx, &rows).await?;
        if let Err(error) = tx.commit().await {
            // It may have been committed all the same: the table is right.
            let _gate = self.shared.gate().await;
            self.shared.doubt();
            return Err(error.into());
        }
        let beside = if self.store.is_shared() { Err(changed) } else { self.shared.put_beside(seq, changed) };
        if let Err(changed) = beside {
            let _gate = self.shared.gate().await;
            if !self.shared.is_known() {
                self.shared.catch_up(&self.store, now, timeout).await?;
            }
            self.shared.put(seq, changed);
        }
        Ok(())
    }

    /// Adds what the requests change of what is on the board; they are empty after that.
    fn note(&self, batch: &mut Batch, changed: &mut HashMap<Key, Posted>) -> Result<(), PostError> {
        let board = self.shared.read();
        for request in &mut batch.requests {
            for alert in std::mem::take(&mut request.alerts) {
                let key = alert.labels.key();
                let known = board.get(&key).map(|entry| &entry.alert);
                batch.new += usize::from(known.is_none() && !changed.contains_key(&key));
                let taken = posted::take(changed.get(&key).or(known), alert, request.now);
                changed.extend(taken.map(|alert| (key, alert)));
            }
        }
        if board.len() + batch.new > ALERTS_MAX { Err(PostError::Full) } else { Ok(()) }
    }
}

/// Requests that are stored together.
#[derive(Default)]
struct Batch {
    requests: Vec<Request>,
    /// How many alerts they came with.
    size: usize,
    /// How many of these are not on the board.
    new: usize,
}

impl Batch {
    fn add(&mut self, request: Request) {
        self.size += request.alerts.len();
        self.requests.push(request);
    }

    /// Takes whatever has arrived, as far as there is room.
    fn gather(&mut self, requests: &mut mpsc::Receiver<Request>) {
        while self.size < BATCH_MAX
            && let Ok(more) = requests.try_recv()
        {
            self.add(more);
        }
    }

    fn newest(&self) -> Timestamp {
        self.requests.iter().map(|request| request.now).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
