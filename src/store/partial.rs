//! Partials: one row for each flush of a writer, a packed segment of every series that changed.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::row;

/// Rows a page.
const PAGE: i64 = 4;

row! {
    /// One flush.
    pub struct Partial {
        pub n: i64,
        /// When it was flushed: everything of this writer that arrived before is stored.
        pub at: Timestamp,
        pub data: Vec<u8>,
    }
}

row! {
    /// One flush of any writer.
    pub struct WriterPartial {
        pub writer: String,
        pub n: i64,
        pub at: Timestamp,
        pub data: Vec<u8>,
    }
}

/// Stores the flush `n` of a writer and moves the writer on to it. `false`: this flush is stored already
/// (the answer to an earlier commit was lost), so nothing was written. A writer's flushes come in order.
pub async fn append(tx: &mut Tx, writer: &str, n: i64, at: Timestamp, data: &[u8]) -> Result<bool, StoreError> {
    // The writer remembers what it stored for longer than the partial lives: a late repetition of a
    // flush that was compacted meanwhile must not count again.
    let sql = "update writer set last_n = $2, flushed_to = case when flushed_to < $3 then $3 else flushed_to end \
               where id = $1 and last_n < $2";
    let moved = run!(tx, conn => sqlx::query(sql).bind(writer).bind(n).bind(at).execute(conn))?;
    if moved == 0 {
        let sql = "select last_n from writer where id = $1";
        let known: Option<i64> = on!(tx, conn => sqlx::query_scalar(sql).bind(writer).fetch_optional(conn))?;
        return known.map(|_| false).ok_or_else(|| StoreError::NotOne { what: "writer", id: writer.to_owned() });
    }
    let sql = "insert into partial (writer, n, at, data) values ($1, $2, $3, $4)";
    run!(tx, conn => sqlx::query(sql).bind(writer).bind(n).bind(at).bind(data).execute(conn))?;
    Ok(true)
}

/// A page of a writer's partials after `n`, in order; empty at the end. In a flood each of them holds a megabyte.
pub async fn after(tx: &mut Tx, writer: &str, n: i64) -> Result<Vec<Partial>, StoreError> {
    let sql = "select n, at, data from partial where writer = $1 and n > $2 order by n limit $3";
    on!(tx, conn => sqlx::query_as(sql).bind(writer).bind(n).bind(PAGE).fetch_all(conn))
}

/// The oldest partials of all writers that were flushed before `at`: at most `limit`, and no more than hold `bytes` together, but
/// always the first one.
pub async fn before(tx: &mut Tx, at: Timestamp, limit: usize, bytes: usize) -> Result<Vec<WriterPartial>, StoreError> {
    let sql = "select cast(length(data) as bigint) from partial where at < $1 order by at, writer, n limit $2";
    let sizes: Vec<i64> = on!(tx, conn => sqlx::query_scalar(sql).bind(at).bind(limit as i64).fetch_all(conn))?;
    let mut sum = 0;
    let fits = sizes.iter().take_while(|size| {
        sum += **size;
        sum <= bytes as i64
    });
    let limit = fits.count().max(1).min(sizes.len());
    let sql = "select writer, n, at, data from partial where at < $1 order by at, writer, n limit $2";
    on!(tx, conn => sqlx::query_as(sql).bind(at).bind(limit as i64).fetch_all(conn))
}

/// Forgets the partials of a writer up to and with `n`: says how many.
pub async fn delete_to(tx: &mut Tx, writer: &str, n: i64) -> Result<u64, StoreError> {
    run!(tx, conn => sqlx::query("delete from partial where writer = $1 and n <= $2").bind(writer).bind(n).execute(conn))
}
