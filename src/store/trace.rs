//! Example traces of bad events, as packed batches that go with a writer's flushes.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};

/// Stores the examples of flush `n` of a writer; the same flush twice counts once.
pub async fn append(tx: &mut Tx, writer: &str, n: i64, at: Timestamp, data: &[u8]) -> Result<(), StoreError> {
    let sql = "insert into trace (writer, n, at, data) values ($1, $2, $3, $4) on conflict (writer, n) do nothing";
    run!(tx, conn => sqlx::query(sql).bind(writer).bind(n).bind(at).bind(data).execute(conn))?;
    Ok(())
}

/// The batches that were flushed in `[from, to]`, at most `limit`: the newest ones, newest first.
pub async fn between(tx: &mut Tx, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let sql = "select data from trace where at >= $1 and at <= $2 order by at desc, writer, n desc limit $3";
    on!(tx, conn => sqlx::query_scalar(sql).bind(from).bind(to).bind(limit as i64).fetch_all(conn))
}

/// Forgets examples from before `at`: says how many batches.
pub async fn prune(tx: &mut Tx, at: Timestamp) -> Result<u64, StoreError> {
    run!(tx, conn => sqlx::query("delete from trace where at < $1").bind(at).execute(conn))
}
