//! Compaction and retention: moves flushes into buckets and rollups, and forgets what is old.

use crate::config::{Aggregation, Retention};
use crate::domain::aggregate::{BODY_WINDOW, REPEATS_MAX};
use crate::domain::time::{Span, Timestamp};
use crate::store::retention::Cutoffs;
use crate::store::seen::Memory;
use crate::store::{self, Store, StoreError, archive};

/// Younger flushes are left for the evaluators that follow them.
const SETTLED: Span = Span::minutes(3);
/// Flushes moved in one transaction: bounds how long writers wait.
const BATCH: usize = 200;
/// How long closed incidents, deliveries and records of human actions are kept.
const HISTORY: Span = Span::days(400);
/// How long example traces are kept: no tracing system keeps them much longer, and an incident has its own.
const TRACES: Span = Span::days(2);
/// Rows deleted in one transaction.
const PRUNE: usize = 5_000;

/// Moves every settled flush into chunks; says how many.
pub async fn compact(store: &Store, bucket: Span, now: Timestamp) -> Result<usize, StoreError> {
    let mut moved = 0;
    loop {
        let mut tx = store.write_bulk().await?;
        let done = archive::compact(&mut tx, bucket, now - SETTLED, BATCH).await?;
        tx.commit().await?;
        moved += done;
        if done == 0 {
            break;
        }
    }
    // No restart takes over more, so no more are kept, however fast they come. The aggregator forgets in parts, so a part more.
    let bodies = (now - BODY_WINDOW - Span::MINUTE).max(kept_from(store, Memory::Bodies).await?);
    let mut tx = store.write_bulk().await?;
    store::seen::prune(&mut tx, Memory::Bodies, bodies).await?;
    store::repeated::keep_newest(&mut tx, REPEATS_MAX).await?;
    tx.commit().await?;
    Ok(moved)
}

async fn kept_from(store: &Store, memory: Memory) -> Result<Timestamp, StoreError> {
    let mut tx = store.read().await?;
    store::seen::kept_from(&mut tx, memory).await
}

/// Forgets what is older than the retention says.
pub async fn prune(store: &Store, aggregation: &Aggregation, retention: &Retention, now: Timestamp) -> Result<u64, StoreError> {
    let [fine, five, hour] = archive::levels(aggregation.bucket);
    for (level, keep) in [(fine, retention.bucket), (five, retention.rollup_5m), (hour, retention.rollup_1h)] {
        let mut tx = store.write_bulk().await?;
        // A chunk goes when all of it is too old.
        let before = (now - keep).floor(level.span);
        store::chunk::delete_before(&mut tx, level.slice.0, before.0).await?;
        tx.commit().await?;
    }
    let cutoffs = Cutoffs {
        writers: now - retention.bucket,
        seen: (now - retention.bucket).max(kept_from(store, Memory::Ids).await?),
        repeated: now - retention.bucket,
        incidents: now - HISTORY,
        traces: now - TRACES.min(retention.bucket),
        outbox: now - HISTORY,
        annotations: now - HISTORY,
        rule_sets: now - HISTORY,
        silences: now - HISTORY,
        audit: now - HISTORY,
        learnt_routes: now - HISTORY,
        limit: PRUNE,
    };
    let mut forgotten = 0;
    loop {
        let mut tx = store.write_bulk().await?;
        let done = store::retention::prune(&mut tx, &cutoffs).await?;
        tx.commit().await?;
        forgotten += done;
        if done == 0 {
            return Ok(forgotten);
        }
    }
}
