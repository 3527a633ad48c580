//! Alerts that others sent to `/api/v2/alerts`, while they are on.

use sqlx::AssertSqlSafe;

use crate::domain::posted::{Key, Packed, Posted};
use crate::domain::rule::Labels;
use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{lots, row, text};

row! {
    /// One alert as it is stored.
    pub struct PostedRow {
        pub seq: i64,
        /// As JSON.
        pub labels: String,
        /// As JSON.
        pub annotations: String,
        pub generator: String,
        pub starts_at: Timestamp,
        pub ends_at: Timestamp,
        /// 1: its end is a lease that we gave it.
        pub timed: i64,
        pub updated_at: Timestamp,
        /// The incident that it was taken into; empty: none yet.
        pub incident: String,
    }
}

impl PostedRow {
    /// The alert that the row holds.
    pub fn alert(&self) -> Result<Posted, StoreError> {
        let labels: Labels =
            serde_json::from_str(&self.labels).map_err(|_| StoreError::Unreadable { what: "alert", id: self.labels.clone() })?;
        Ok(Posted {
            labels: Packed::new(&labels),
            annotations: self.annotations.as_str().into(),
            generator: self.generator.as_str().into(),
            starts: self.starts_at,
            ends: self.ends_at,
            timed: self.timed != 0,
            updated: self.updated_at,
        })
    }
}

/// Writes alerts, new or changed, under one number, which it gives. What incident they belong to stays as it was.
/// No alert may come twice.
pub async fn save(tx: &mut Tx, alerts: &[(Key, &Posted)]) -> Result<i64, StoreError> {
    let next = "update meta set value = cast(cast(value as bigint) + 1 as text) where name = 'posted_seq' returning cast(value as bigint)";
    let seq: i64 = on!(tx, conn => sqlx::query_scalar(next).fetch_one(conn))?;
    for batch in lots(alerts) {
        let sql = format!(
            "insert into posted_alert (digest, seq, labels, annotations, generator, starts_at, ends_at, timed, updated_at, incident) \
             values {} on conflict (digest) do update set seq = excluded.seq, annotations = excluded.annotations, \
             generator = excluded.generator, starts_at = excluded.starts_at, ends_at = excluded.ends_at, timed = excluded.timed, \
             updated_at = excluded.updated_at",
            tx.marks().tuples(batch.len(), 10, 1)
        );
        run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (key, alert) in batch {
                // JSON writes a zero byte as an escape, so labels read back as they were.
                let labels = serde_json::to_string(&alert.labels.labels()).expect("texts always serialise");
                query = query.bind(key.to_vec()).bind(seq).bind(labels).bind(&*alert.annotations).bind(text(&alert.generator));
                query = query.bind(alert.starts).bind(alert.ends).bind(i64::from(alert.timed)).bind(alert.updated).bind("");
            }
            query.execute(conn)
        })?;
    }
    Ok(seq)
}

/// Those that were written under a later number than this one, in the order of numbers; all of them after 0.
pub async fn after(tx: &mut Tx, seq: i64) -> Result<Vec<PostedRow>, StoreError> {
    let sql = "select seq, labels, annotations, generator, starts_at, ends_at, timed, updated_at, incident from posted_alert \
               where seq > $1 order by seq";
    on!(tx, conn => sqlx::query_as(sql).bind(seq).fetch_all(conn))
}

/// Notes which incidents alerts were taken into: the alert and its incident, no alert twice.
pub async fn join(tx: &mut Tx, all: &[(&Key, &str)]) -> Result<(), StoreError> {
    for batch in lots(all) {
        let sql = format!(
            "update posted_alert set incident = v.column2 from (values {}) as v where digest = v.column1",
            tx.marks().tuples(batch.len(), 2, 1)
        );
        run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (key, incident) in batch {
                query = query.bind(key.to_vec()).bind(text(incident));
            }
            query.execute(conn)
        })?;
    }
    Ok(())
}

/// Forgets alerts that are over. One that another replica has heard of again stays, without an incident.
pub async fn remove(tx: &mut Tx, keys: &[Key], now: Timestamp) -> Result<(), StoreError> {
    join(tx, &keys.iter().map(|key| (key, "")).collect::<Vec<_>>()).await?;
    for batch in lots(keys) {
        let marks = tx.marks();
        let sql = format!("delete from posted_alert where ends_at <= {} and digest in ({})", marks.one(1), marks.list(batch.len(), 2));
        run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(now);
            for key in batch {
                query = query.bind(key.to_vec());
            }
            query.execute(conn)
        })?;
    }
    Ok(())
}
