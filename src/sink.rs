//! Where everything that comes in meets the flush: one aggregator behind a lock, and word of what is stored.
//!
//! Intake and API put events and rows in; the flush job takes them out, stores them, and says so.
//! Whoever must not answer before the commit waits for the flush that carries its data.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::aggregate::{Aggregator, Drained, RowOutcome, SeenKind, TooManyApps};
use crate::domain::event::Batch;
use crate::domain::rows::Row;
use crate::domain::time::Timestamp;

/// How many series are named under one lock, at about a microsecond each.
const SERIES_AT_ONCE: usize = 256;

/// Number of a flush, from 1.
pub type Flush = u64;

/// The aggregator that all share.
#[derive(Debug)]
pub struct Sink {
    state: Mutex<State>,
    committed: watch::Sender<Flush>,
    failing: AtomicBool,
}

#[derive(Debug)]
struct State {
    aggregator: Aggregator,
    /// The flush that will carry what comes in now.
    next: Flush,
}

/// What became of a request's events.
#[derive(Debug, Default)]
pub struct Submitted {
    pub accepted: usize,
    /// Events of bodies that were seen before.
    pub duplicate: usize,
    /// Whether the whole body was seen before.
    pub is_repeated: bool,
    /// Indices of events whose app is one too many.
    pub refused: Vec<usize>,
    /// The flush that carries them.
    pub flush: Flush,
}

/// What became of rows.
#[derive(Debug, Default)]
pub struct SubmittedRows {
    pub accepted: usize,
    pub duplicate: usize,
    /// Lines whose app is one too many.
    pub refused: Vec<usize>,
    /// The flush that carries them.
    pub flush: Flush,
}

impl State {
    fn submit(&mut self, whole: Option<u64>, batches: &[Batch<'_>], now: Timestamp) -> Submitted {
        let mut done = Submitted { flush: self.next, ..Submitted::default() };
        if whole.is_some_and(|hash| !self.aggregator.first_time(SeenKind::Body, hash, now)) {
            done.duplicate = batches.iter().map(|batch| batch.events.len()).sum();
            done.is_repeated = true;
            return done;
        }
        // Without a memory of the whole body it is one that was seen if all that it brings was.
        done.is_repeated = whole.is_none() && !batches.is_empty();
        for batch in batches {
            if batch.id.is_some_and(|hash| !self.aggregator.first_time(SeenKind::Id, hash, now)) {
                done.duplicate += batch.events.len();
                continue;
            }
            done.is_repeated = false;
            match self.aggregator.add(batch, now) {
                Ok(()) => done.accepted += batch.events.len(),
                Err(TooManyApps) => done.refused.extend(batch.events.iter().map(|event| event.index)),
            }
        }
        done
    }

    fn add_rows<'a>(&mut self, rows: impl IntoIterator<Item = (usize, Row<'a>)>, now: Timestamp) -> SubmittedRows {
        let mut done = SubmittedRows { flush: self.next, ..SubmittedRows::default() };
        for (line, row) in rows {
            match self.aggregator.add_row(row, now) {
                Ok(RowOutcome::Counted) => done.accepted += 1,
                Ok(RowOutcome::Duplicate) => done.duplicate += 1,
                Err(TooManyApps) => done.refused.push(line),
            }
        }
        done
    }
}

impl Sink {
    /// Around an aggregator.
    pub fn new(aggregator: Aggregator) -> Sink {
        Sink { state: Mutex::new(State { aggregator, next: 1 }), committed: watch::Sender::new(0), failing: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Sums are changed one event at a time; a panic elsewhere leaves them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the aggregator between two events: rules, stored series, forgetting.
    pub fn with<T>(&self, change: impl FnOnce(&mut Aggregator) -> T) -> T {
        change(&mut self.lock().aggregator)
    }

    /// Counts a request's batches, unless its body (`whole`, a keyed hash of body and source) or a batch's `id` was seen before.
    pub fn submit(&self, whole: Option<u64>, batches: &[Batch<'_>], now: Timestamp) -> Submitted {
        self.lock().submit(whole, batches, now)
    }

    /// The same, and what comes with them (`beside`) unless the request was seen before: all under one lock, which in a flood
    /// everybody waits for.
    pub fn submit_with(&self, whole: Option<u64>, batches: &[Batch<'_>], beside: [&[Batch<'_>]; 2], now: Timestamp) -> Submitted {
        let mut state = self.lock();
        let done = state.submit(whole, batches, now);
        for batches in beside.into_iter().filter(|_| !done.is_repeated) {
            state.submit(None, batches, now);
        }
        done
    }

    /// Counts rows that came in one body, unless that (`whole`, as in [`Sink::submit`]) was seen before.
    pub fn submit_summed(&self, whole: u64, rows: Vec<(usize, Row<'_>)>, now: Timestamp) -> SubmittedRows {
        let mut state = self.lock();
        if state.aggregator.first_time(SeenKind::Body, whole, now) {
            state.add_rows(rows, now)
        } else {
            SubmittedRows { duplicate: rows.len(), flush: state.next, ..SubmittedRows::default() }
        }
    }

    /// Counts ready-made rows; each comes with its line.
    pub fn submit_rows<'a>(&self, rows: impl IntoIterator<Item = (usize, Row<'a>)>, now: Timestamp) -> SubmittedRows {
        self.lock().add_rows(rows, now)
    }

    /// For the flush job: takes all that came in since the last call. Call [`Sink::committed`] with the
    /// number once it is stored; a flush that could not be stored has to be tried again, not dropped.
    pub fn drain(&self) -> (Flush, Drained) {
        let (flush, taken) = {
            let mut state = self.lock();
            state.next += 1;
            (state.next - 1, state.aggregator.take())
        };
        // Whoever sends waits for a part of it at most.
        let new = taken.new.chunks(SERIES_AT_ONCE).flat_map(|part| self.lock().aggregator.named(part)).collect();
        (flush, taken.finish(new))
    }

    /// For the flush job: this flush and all before it are stored.
    pub fn committed(&self, flush: Flush) {
        self.failing.store(false, Ordering::Relaxed);
        self.committed.send_if_modified(|last| {
            let newer = flush > *last;
            *last = flush.max(*last);
            newer
        });
    }

    /// For the flush job: nothing can be stored at the moment (disk full, database gone). Intake then
    /// answers 503 until the next commit, so that clients keep their data.
    pub fn failed(&self) {
        self.failing.store(true, Ordering::Relaxed);
    }

    /// Whether nothing can be stored at the moment.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Waits until a flush is stored; `false` if that takes longer than `patience`.
    pub async fn stored(&self, flush: Flush, patience: Duration) -> bool {
        let mut committed = self.committed.subscribe();
        tokio::time::timeout(patience, committed.wait_for(|last| *last >= flush)).await.is_ok_and(|word| word.is_ok())
    }
}
