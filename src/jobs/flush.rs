//! Flush: once a second, everything that was taken in becomes one stored row.
//!
//! What was answered with 2xx is durable after at most one flush. A flush that fails keeps what it
//! took and tries again under the same number, so nothing counts twice and nothing is lost; until it
//! works the intake is told to refuse, because memory is bounded.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::info;

use crate::domain::aggregate::{Drained, LocalSeries, SeenKey, SeenKind};
use crate::domain::example::{self, Example};
use crate::domain::segment::{self, Slice};
use crate::domain::series::{Series, SeriesId};
use crate::domain::sketch::Sketch;
use crate::domain::time::{Span, Timestamp};
use crate::sink::Sink;
use crate::store::seen::Memory;
use crate::store::{self, Store, StoreError};

/// How long the others wait for a writer that no longer says anything.
pub const LEASE: Span = Span::seconds(15);
/// A process that did not flush for so long (it was stopped, or the clock jumped) was not up.
const PAUSE_MAX: Span = Span::seconds(10);
/// How often series without events are forgotten.
const FORGET: Span = Span::HOUR;
/// Series mapped to ids in one go.
const SERIES_MAX: usize = 200_000;

/// What other parts see of the flushes.
#[derive(Debug, Default)]
pub struct Flushed {
    pub folded: AtomicU64,
    pub series: AtomicU64,
    /// Arrival minus event time of the last minutes.
    pub lag: Mutex<Sketch>,
}

impl Flushed {
    /// The 95th percentile of arrival minus event time over the last minutes.
    pub fn late(&self) -> Option<Span> {
        let lag = self.lag.lock().unwrap_or_else(PoisonError::into_inner);
        lag.quantile(0.95).map(|ms| Span(ms as i64))
    }
}

/// The state of the job.
pub struct Flush {
    store: Store,
    sink: Arc<Sink>,
    kind: &'static str,
    pub flushed: Arc<Flushed>,
    writer: Option<Writer>,
    ids: HashMap<LocalSeries, SeriesId>,
    /// Those of them that the transaction under way gave out.
    interned: Vec<LocalSeries>,
    /// Drained, but not stored yet: the sink's number of the flush, what it took, and when.
    waiting: Option<(u64, Drained, Timestamp)>,
    /// A flush of which nobody knows whether it was committed: writer and number.
    unsure: Option<(String, i64)>,
    new_id: fn() -> String,
    minute: Timestamp,
    /// Series without an event for so long are forgotten.
    idle: Option<Span>,
    forgot: Option<Timestamp>,
}

struct Writer {
    id: String,
    n: i64,
    flushed_to: Timestamp,
}

impl Flush {
    /// A job that empties this sink into this store. `kind` is `intake`, or `rows` for a process that only loads rows.
    pub fn new(store: Store, sink: Arc<Sink>, kind: &'static str, new_id: fn() -> String) -> Flush {
        Flush {
            store,
            sink,
            kind,
            flushed: Arc::default(),
            writer: None,
            ids: HashMap::new(),
            interned: Vec::new(),
            waiting: None,
            unsure: None,
            new_id,
            minute: Timestamp(0),
            idle: None,
            forgot: None,
        }
    }

    /// The same, and series without an event for so long are forgotten: for a process that lives long.
    pub fn forgetting(self, idle: Span) -> Flush {
        Flush { idle: Some(idle), ..self }
    }

    /// The writer that this process stores as, once it does.
    pub fn writer(&self) -> Option<&str> {
        self.writer.as_ref().map(|writer| writer.id.as_str())
    }

    /// Right before the cells are taken: then whatever was counted and not stored yet keeps its series until it is.
    fn forget_idle(&mut self, now: Timestamp) {
        let Some(idle) = self.idle else { return };
        match self.forgot {
            Some(at) if now - at < FORGET && now >= at => {}
            Some(_) => {
                self.forgot = Some(now);
                self.sink.with(|aggregator| aggregator.forget_idle(now - idle));
            }
            // What a start has read counts as used at the start.
            None => self.forgot = Some(now),
        }
    }

    /// Stores what has come in until `now`. An error means that it is kept and tried again.
    pub async fn run(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.waiting.is_none() {
            self.forget_idle(now);
            let (flush, drained) = self.sink.drain();
            for (local, _) in &drained.new {
                // A number that was forgotten and given again stands for another series now.
                self.ids.remove(local);
            }
            self.note(&drained, now);
            self.waiting = Some((flush, drained, now));
        }
        let (flush, drained, at) = self.waiting.take().expect("just filled");
        match self.store(&drained, at).await {
            Ok(()) => {
                self.interned.clear();
                self.sink.committed(flush);
                Ok(())
            }
            Err(error) => {
                // What was not committed gave no series an id.
                self.interned.drain(..).for_each(|local| {
                    self.ids.remove(&local);
                });
                self.waiting = Some((flush, drained, at));
                self.sink.failed();
                Err(error)
            }
        }
    }

    async fn store(&mut self, drained: &Drained, at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.store.write_bulk().await?;
        if let Some((id, n)) = &self.unsure {
            // From here on nothing can be written as that writer but by us, not even by a commit that arrives late.
            let last = store::writer::resume(&mut tx, id, self.kind, at).await?;
            let known = self.writer.take().filter(|writer| writer.id == *id).map(|writer| writer.flushed_to);
            let stored = last >= *n && !drained.is_empty();
            self.writer = Some(Writer { id: id.clone(), n: last, flushed_to: if stored { at } else { known.unwrap_or(at) } });
            if stored {
                tx.commit().await?;
                self.unsure = None;
                return Ok(());
            }
        }
        let paused = self.writer.as_ref().is_some_and(|writer| at - writer.flushed_to > PAUSE_MAX || at < writer.flushed_to);
        if paused && let Some(old) = self.writer.take() {
            store::writer::close(&mut tx, &old.id).await?;
        }
        let (id, n) = match &self.writer {
            Some(writer) => (writer.id.clone(), writer.n),
            None => {
                let id = (self.new_id)();
                store::writer::open(&mut tx, &id, self.kind, at).await?;
                (id, 0)
            }
        };
        self.intern(&mut tx, drained).await?;
        let mut next = n;
        if !drained.is_empty() {
            next += 1;
            let mut cells: Vec<_> =
                drained.cells.iter().filter_map(|(local, slice, cell)| Some((*self.ids.get(local)?, *slice, cell))).collect();
            cells.sort_by_key(|(id, slice, _)| (*id, *slice));
            let mut writer = segment::Writer::default();
            cells.into_iter().for_each(|(id, slice, cell)| writer.push(id, slice, cell));
            store::partial::append(&mut tx, &id, next, at, &writer.finish()).await?;
            let (bodies, ids): (Vec<SeenKey>, Vec<SeenKey>) = drained.seen.iter().partition(|key| key.kind == SeenKind::Body);
            for (memory, keys) in [(Memory::Bodies, bodies), (Memory::Ids, ids)] {
                if !keys.is_empty() {
                    store::seen::append(&mut tx, memory, &id, next, at, &SeenKey::pack(&keys)).await?;
                }
            }
            let example = |(local, slice, trace): &(LocalSeries, Slice, String)| {
                Some(Example { series: *self.ids.get(local)?, slice: *slice, trace: trace.clone() })
            };
            let examples: Vec<Example> = drained.traces.iter().filter_map(example).collect();
            if !examples.is_empty() {
                store::trace::append(&mut tx, &id, next, at, &example::pack(&examples)).await?;
            }
            let repeated = drained.repeated.renamed(|local| self.ids.get(&local).map(|id| id.0));
            if !repeated.states.is_empty() {
                store::repeated::append(&mut tx, &id, next, at, repeated.states.len(), &repeated.pack()).await?;
            }
        }
        for learnt in &drained.learnt {
            store::learnt_routes::add(&mut tx, learnt, at).await?;
        }
        store::writer::touch(&mut tx, &id, at, at + LEASE).await?;
        if let Err(error) = tx.commit().await {
            // Whether it was written is found out by its number before it is tried again.
            self.unsure = Some((id, next));
            return Err(error);
        }
        self.unsure = None;
        self.writer = Some(Writer { id, n: next, flushed_to: at });
        Ok(())
    }

    /// Gives every drained series its id in the database.
    async fn intern(&mut self, tx: &mut store::Tx, drained: &Drained) -> Result<(), StoreError> {
        let mut wanted: Vec<LocalSeries> = Vec::new();
        let mut asked = HashSet::new();
        let counted = drained.cells.iter().map(|(local, _, _)| local);
        for local in counted.chain(drained.repeated.states.iter().map(|state| &state.series)) {
            if !self.ids.contains_key(local) && asked.insert(*local) && wanted.len() < SERIES_MAX {
                wanted.push(*local);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let new: HashMap<LocalSeries, &Series> = drained.new.iter().map(|(local, series)| (*local, series)).collect();
        let known = |local| {
            let new = new.get(&local).map(|series| (*series).clone());
            new.or_else(|| self.sink.with(|aggregator| aggregator.series(local)))
        };
        let (wanted, series): (Vec<LocalSeries>, Vec<Series>) = wanted.into_iter().filter_map(|local| Some((local, known(local)?))).unzip();
        let ids = store::series::intern(tx, &series).await?;
        self.interned.extend(&wanted);
        self.ids.extend(wanted.into_iter().zip(ids));
        Ok(())
    }

    fn note(&mut self, drained: &Drained, now: Timestamp) {
        for learnt in &drained.learnt {
            info!(app = learnt.app, "routes under `{}` are too many: further ones count as `{}`", learnt.prefix, learnt.template());
        }
        self.flushed.folded.fetch_add(drained.arrival.folded, Ordering::Relaxed);
        self.flushed.series.store(drained.series as u64, Ordering::Relaxed);
        metrics::counter!("burnwatch_series_folded_total").increment(drained.arrival.folded);
        metrics::gauge!("burnwatch_series").set(drained.series as f64);
        let mut lag = self.flushed.lag.lock().unwrap_or_else(PoisonError::into_inner);
        if now - self.minute > Span::minutes(5) {
            self.minute = now;
            *lag = Sketch::default();
        }
        lag.merge(&drained.arrival.lag);
    }

    /// The last flush of a life: stores what is left and says goodbye, so that nobody waits.
    pub async fn finish(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.run(now).await?;
        if self.waiting.is_none()
            && let Some(writer) = self.writer.take()
        {
            let mut tx = self.store.write_bulk().await?;
            store::writer::close(&mut tx, &writer.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}
