//! Writers: one for each life of a process that stores data, numbered flushes in order (DESIGN 1).

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::row;

row! {
    /// One life of a process that stores data.
    pub struct WriterRow {
        pub id: String,
        /// `intake` (its flushes move the watermark) or `rows` (aggregates that were sent ready-made).
        pub kind: String,
        pub started_at: Timestamp,
        /// Everything that arrived before this time is stored.
        pub flushed_to: Timestamp,
        /// Number of its newest partial; 0 before the first.
        pub last_n: i64,
        /// Partials up to this number are in the buckets.
        pub compacted_n: i64,
        /// 1 until it was closed.
        pub live: i64,
        /// It is waited for until then, unless it renews.
        pub lease_until: Timestamp,
    }
}

macro_rules! columns {
    () => {
        "id, kind, started_at, flushed_to, last_n, compacted_n, live, lease_until"
    };
}

/// Starts a writer. Its `kind` is `intake` or `rows`. Nobody waits for it before its first [`touch`] asks them to.
pub async fn open(tx: &mut Tx, id: &str, kind: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = concat!("insert into writer (", columns!(), ") values ($1, $2, $3, $3, 0, 0, 1, $3)");
    run!(tx, conn => sqlx::query(sql).bind(id).bind(kind).bind(now).execute(conn))?;
    Ok(())
}

/// Says that everything before `flushed_to` is stored, and asks to be waited for until `lease_until`.
/// Neither ever moves back. A writer that was closed stays closed and is an error.
pub async fn touch(tx: &mut Tx, id: &str, flushed_to: Timestamp, lease_until: Timestamp) -> Result<(), StoreError> {
    let sql = "update writer set \
               flushed_to = case when flushed_to < $2 then $2 else flushed_to end, \
               lease_until = case when lease_until < $3 then $3 else lease_until end \
               where id = $1 and live = 1";
    let done = run!(tx, conn => sqlx::query(sql).bind(id).bind(flushed_to).bind(lease_until).execute(conn))?;
    one(done, id)
}

/// Ends a writer for good: nobody waits for it any more. Closing twice is fine.
pub async fn close(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    run!(tx, conn => sqlx::query("update writer set live = 0 where id = $1").bind(id).execute(conn))?;
    Ok(())
}

/// Goes on as a writer of which nobody knows whether the transaction that began it, or that wrote last as it, was committed:
/// waits until that has ended, begins it if it never was, and gives the number of its newest partial.
pub async fn resume(tx: &mut Tx, id: &str, kind: &str, now: Timestamp) -> Result<i64, StoreError> {
    let sql = concat!(
        "insert into writer (",
        columns!(),
        ") values ($1, $2, $3, $3, 0, 0, 1, $3) on conflict (id) do update set last_n = writer.last_n returning last_n"
    );
    on!(tx, conn => sqlx::query_scalar(sql).bind(id).bind(kind).bind(now).fetch_one(conn))
}

/// Ends the intake's earlier lives. Only for a database that no other process takes beacons into: nobody has to
/// wait for them any more.
pub async fn close_intakes(tx: &mut Tx) -> Result<(), StoreError> {
    run!(tx, conn => sqlx::query("update writer set live = 0 where kind = 'intake' and live = 1").execute(conn))?;
    Ok(())
}

/// All writers that still have something to say, oldest first: retention forgets the others.
pub async fn all(tx: &mut Tx) -> Result<Vec<WriterRow>, StoreError> {
    let sql = concat!("select ", columns!(), " from writer order by started_at, id");
    on!(tx, conn => sqlx::query_as(sql).fetch_all(conn))
}

/// Notes that the buckets hold its partials up to `n`; never moves back.
pub async fn set_compacted(tx: &mut Tx, id: &str, n: i64) -> Result<(), StoreError> {
    let sql = "update writer set compacted_n = case when compacted_n < $2 then $2 else compacted_n end where id = $1";
    let done = run!(tx, conn => sqlx::query(sql).bind(id).bind(n).execute(conn))?;
    one(done, id)
}

fn one(rows: u64, id: &str) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::NotOne { what: "writer", id: id.to_owned() }) }
}
