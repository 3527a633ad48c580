//! Forgetting what is older than it needs to be. Open incidents and pending deliveries are never touched.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::seen::Memory;
use super::tx::{Tx, run};

/// Before when what is forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Cutoffs {
    /// Closed writers whose last flush is older and in the buckets.
    pub writers: Timestamp,
    /// Ids that were seen.
    pub seen: Timestamp,
    /// What is counted of things that may be reported again.
    pub repeated: Timestamp,
    /// Incidents that were resolved before, with their history.
    pub incidents: Timestamp,
    /// Example traces.
    pub traces: Timestamp,
    /// Deliveries that were finished before, with their attempts.
    pub outbox: Timestamp,
    pub annotations: Timestamp,
    /// Refused or replaced rule sets; the last good one stays.
    pub rule_sets: Timestamp,
    /// Silences that ended before.
    pub silences: Timestamp,
    pub audit: Timestamp,
    /// Places of paths that were learnt before: they are learnt again if there still is a need.
    pub learnt_routes: Timestamp,
    /// How many rows of each table one call forgets at most.
    pub limit: usize,
}

/// Forgets; says how many rows. As long as that is not 0 there may be more: commit and call again.
pub async fn prune(tx: &mut Tx, cutoffs: &Cutoffs) -> Result<u64, StoreError> {
    // Each text takes the time and the limit.
    let steps = [
        (
            "delete from writer where id in (select id from writer where live = 0 and flushed_to < $1 and compacted_n >= last_n \
             and not exists (select 1 from partial where partial.writer = writer.id) limit $2)",
            cutoffs.writers,
        ),
        // What belongs to a row goes first, by the same choice, so that nothing is orphaned.
        (
            "delete from incident_event where incident in \
             (select id from incident where status = 'resolved' and resolved_at < $1 order by resolved_at, id limit $2)",
            cutoffs.incidents,
        ),
        (
            "delete from incident where id in \
             (select id from incident where status = 'resolved' and resolved_at < $1 order by resolved_at, id limit $2)",
            cutoffs.incidents,
        ),
        (
            "delete from attempt where delivery in \
             (select id from outbox where state <> 'pending' and finished_at < $1 order by finished_at, id limit $2)",
            cutoffs.outbox,
        ),
        (
            "delete from outbox_payload where delivery in \
             (select id from outbox where state <> 'pending' and finished_at < $1 order by finished_at, id limit $2)",
            cutoffs.outbox,
        ),
        (
            "delete from outbox where id in \
             (select id from outbox where state <> 'pending' and finished_at < $1 order by finished_at, id limit $2)",
            cutoffs.outbox,
        ),
        (
            // What is told today of long ago was accepted today: it stays as long as all that was.
            "delete from annotation where id in \
             (select id from annotation where at < $1 and created_at < $1 order by at limit $2)",
            cutoffs.annotations,
        ),
        (
            "delete from rule_set where revision in (select revision from rule_set where loaded_at < $1 and revision not in \
             (select revision from rule_set where good = 1 order by loaded_at desc, revision desc limit 1) limit $2)",
            cutoffs.rule_sets,
        ),
        ("delete from silence where id in (select id from silence where ends_at < $1 order by ends_at limit $2)", cutoffs.silences),
        (
            "delete from learnt_route where (app, prefix) in (select app, prefix from learnt_route where at < $1 order by at limit $2)",
            cutoffs.learnt_routes,
        ),
        ("delete from audit where id in (select id from audit where at < $1 order by at, id limit $2)", cutoffs.audit),
    ];
    let mut forgotten = super::seen::prune(tx, Memory::Ids, cutoffs.seen).await?
        + super::repeated::prune(tx, cutoffs.repeated).await?
        + super::trace::prune(tx, cutoffs.traces).await?;
    for (sql, before) in steps {
        forgotten += run!(tx, conn => sqlx::query(sql).bind(before).bind(cutoffs.limit as i64).execute(conn))?;
    }
    Ok(forgotten)
}
