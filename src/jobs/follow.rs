//! Follows what the other processes on this database have seen and counted, so that a retry or an update that reaches
//! another replica than the first report did counts once as well.
//!
//! It is known here a flush and a look later: two reports of one thing that reach two replicas within about two seconds
//! count twice. A client that retries waits about that long, and a load balancer that keeps its clients in place
//! closes the rest.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::domain::aggregate::{Learnt, LocalSeries, Repeated, SeenKey};
use crate::domain::series::{Series, SeriesId};
use crate::domain::time::{Span, Timestamp};
use crate::sink::Sink;
use crate::store::seen::{self, Memory};
use crate::store::{Store, StoreError, learnt_routes, repeated, series, writer};

/// Flushes read at once; more are read the next time.
const BATCH: usize = 100;
/// Flushes that are read again at the start: what was stored while this process read what was seen before.
const OVERLAP: i64 = 60;
/// How far the clocks of replicas may be apart.
const CLOCKS: Span = Span::MINUTE;

/// The state of the job.
pub struct Follow {
    store: Store,
    sink: Arc<Sink>,
    /// Up to which flush each writer was read.
    cursors: HashMap<String, i64>,
    started: bool,
    /// When the newest of the routes was learnt that are known here; from `CLOCKS` before that on they are read again.
    learnt_to: Timestamp,
    learnt: Vec<(Timestamp, Learnt)>,
}

impl Follow {
    /// Brings what others stored here into this sink.
    pub fn new(store: Store, sink: Arc<Sink>) -> Follow {
        Follow { store, sink, cursors: HashMap::new(), started: false, learnt_to: Timestamp(0), learnt: Vec::new() }
    }

    /// Reads what is new; `own` is the writer of this process.
    pub async fn run(&mut self, own: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.store.read().await?;
        let writers = writer::all(&mut tx).await?;
        self.cursors.retain(|id, _| writers.iter().any(|writer| writer.id == *id));
        let mut keys: Vec<SeenKey> = Vec::new();
        let mut counted: Vec<Repeated<u32>> = Vec::new();
        let mut cursors = Vec::new();
        for writer in writers {
            // A writer that is new since the start is read from its beginning.
            let first = if self.started { 0 } else { (writer.last_n - OVERLAP).max(0) };
            let from = self.cursors.get(&writer.id).copied().unwrap_or(first);
            if own == Some(writer.id.as_str()) || from >= writer.last_n {
                cursors.push((writer.id, writer.last_n));
                continue;
            }
            // All are read up to one number, so that none is left behind.
            let to = writer.last_n.min(from + BATCH as i64);
            for memory in [Memory::Ids, Memory::Bodies] {
                let seen = seen::after(&mut tx, memory, &writer.id, from, BATCH).await?;
                keys.extend(seen.iter().filter(|row| row.n <= to).flat_map(|row| SeenKey::unpack(&row.data)));
            }
            let batches = repeated::after(&mut tx, &writer.id, from, BATCH).await?;
            counted.extend(batches.iter().filter(|(n, _)| *n <= to).map(|(_, batch)| Repeated::unpack(batch)));
            cursors.push((writer.id, to));
        }
        let ids: BTreeSet<u32> = counted.iter().flat_map(|batch| batch.states.iter().map(|state| state.series)).collect();
        let ids: Vec<SeriesId> = ids.into_iter().map(SeriesId).collect();
        let known: Vec<(SeriesId, Series)> = if ids.is_empty() { Vec::new() } else { series::some(&mut tx, &ids).await? };
        let learnt = learnt_routes::since(&mut tx, self.learnt_to - CLOCKS).await?;
        drop(tx);
        if learnt != self.learnt {
            self.learnt_to = learnt.last().map_or(self.learnt_to, |(at, _)| *at);
            self.sink.with(|aggregator| aggregator.recall_learnt(learnt.iter().map(|(_, learnt)| learnt.clone())));
            self.learnt = learnt;
        }
        if !keys.is_empty() || !counted.is_empty() {
            self.sink.with(|aggregator| {
                aggregator.recall_seen(keys);
                let numbers = aggregator.recall_series(known.iter().map(|(_, series)| series), now);
                let numbers: HashMap<u32, LocalSeries> = known.iter().map(|(id, _)| id.0).zip(numbers).collect();
                for batch in counted {
                    aggregator.recall_repeated(batch.renamed(|id| numbers.get(&id).copied()));
                }
            });
        }
        self.cursors.extend(cursors);
        self.started = true;
        Ok(())
    }
}
