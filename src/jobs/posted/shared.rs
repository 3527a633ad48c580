//! The board in memory, how it follows the table, and who may change it when.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Mutex, MutexGuard};
use tracing::error;

use crate::domain::posted::{Board, Key, Posted, Work};
use crate::domain::time::{Span, Timestamp};
use crate::store::{self, Store, StoreError};

/// The board, and who may change it.
#[derive(Clone, Default)]
pub struct Shared {
    held: Arc<RwLock<Held>>,
    /// Held by a look from its plan to its commit, and by whoever reads the table anew.
    gate: Arc<Mutex<()>>,
}

#[derive(Default)]
struct Held {
    board: Board,
    /// Newest number of the table that the board knows; `None`: it may not be what the table is.
    seq: Option<i64>,
    /// What the look under way is at: others may not change it meanwhile.
    looked_at: LookedAt,
}

/// Which alerts a look is at.
#[derive(Default)]
pub(super) enum LookedAt {
    #[default]
    Nothing,
    These(HashSet<Key>),
    All,
}

impl LookedAt {
    fn has(&self, key: &Key) -> bool {
        match self {
            LookedAt::Nothing => false,
            LookedAt::These(keys) => keys.contains(key),
            LookedAt::All => true,
        }
    }
}

/// The board, as long as one looks at it.
pub struct Reading<'a>(RwLockReadGuard<'a, Held>);

impl Deref for Reading<'_> {
    type Target = Board;

    fn deref(&self) -> &Board {
        &self.0.board
    }
}

impl Shared {
    /// The board, to look at. Nobody waits for anything else while holding it.
    pub fn read(&self) -> Reading<'_> {
        Reading(self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads what is stored, at a start: nobody shall see an empty board because another life just ended.
    pub async fn load(&self, store: &Store, now: Timestamp, timeout: Span) -> Result<(), StoreError> {
        let _gate = self.gate().await;
        self.catch_up(store, now, timeout).await
    }

    pub(super) async fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    /// Whether the board is what the table is, as far as this process can tell.
    pub(super) fn is_known(&self) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).seq.is_some()
    }

    /// The table may hold what the board does not: it is read anew before anything else happens. The caller has the gate.
    pub(super) fn doubt(&self) {
        self.write().seq = None;
    }

    /// Puts on the board what was stored under this number, unless a look is at any of it: then it is given back.
    pub(super) fn put_beside(&self, seq: i64, changed: HashMap<Key, Posted>) -> Result<(), HashMap<Key, Posted>> {
        let mut held = self.write();
        if held.seq.is_none() || changed.keys().any(|key| held.looked_at.has(key)) {
            return Err(changed);
        }
        held.put(seq, changed);
        Ok(())
    }

    /// Puts on the board what was stored under this number. The caller has the gate.
    pub(super) fn put(&self, seq: i64, changed: HashMap<Key, Posted>) {
        self.write().put(seq, changed);
    }

    /// What there is to do, at most so much of each kind, which is not touched by others from now on until the next call; and
    /// whether alerts wait for room in their incidents. The caller has the gate.
    pub(super) fn begin_look(&self, now: Timestamp, max: usize) -> (Work, bool) {
        let mut held = self.write();
        let (work, waiting) = (held.board.work(now, max), !held.board.waiting().is_empty());
        held.looked_at = match waiting {
            // Any of those that wait may find room.
            true => LookedAt::All,
            false => LookedAt::These([&work.fresh, &work.changed, &work.over].into_iter().flatten().copied().collect()),
        };
        (work, waiting)
    }

    /// What the look came to.
    pub(super) fn end_look<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        let mut held = self.write();
        held.looked_at = LookedAt::Nothing;
        change(&mut held.board)
    }

    /// Brings the board to what is stored: all of it the first time, then what other replicas added. The caller has the gate.
    pub(super) async fn catch_up(&self, store: &Store, now: Timestamp, timeout: Span) -> Result<(), StoreError> {
        let known = self.held.read().unwrap_or_else(PoisonError::into_inner).seq;
        if known.is_some() && !store.is_shared() {
            return Ok(());
        }
        let mut tx = store.read().await?;
        let rows = store::posted::after(&mut tx, known.unwrap_or(-1)).await?;
        drop(tx);
        let mut held = self.write();
        if known.is_none() {
            held.board.clear();
        }
        let mut last = known.unwrap_or(0);
        for row in &rows {
            last = last.max(row.seq);
            let alert = match row.alert() {
                Ok(alert) => alert,
                Err(error) => {
                    error!(error = %error, "a stored alert is damaged and was left out");
                    continue;
                }
            };
            if known.is_none() {
                held.board.recall(alert, &row.incident, now, timeout);
            } else {
                held.board.put(alert.labels.key(), alert);
            }
        }
        held.seq = Some(last);
        Ok(())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn put(&mut self, seq: i64, changed: HashMap<Key, Posted>) {
        match self.seq {
            // The board was read again meanwhile, with these on it.
            Some(known) if known >= seq => return,
            Some(known) if known == seq - 1 => self.seq = Some(seq),
            Some(_) | None => {}
        }
        changed.into_iter().for_each(|(key, alert)| self.board.put(key, alert));
        metrics::gauge!("burnwatch_posted_alerts").set(self.board.len() as f64);
    }
}
