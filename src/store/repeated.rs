//! What is counted of things that may be reported again, as packed batches that go with a writer's flushes.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};

/// Stores what changed with flush `n` of a writer, `entries` things; the same flush twice counts once.
pub async fn append(tx: &mut Tx, writer: &str, n: i64, at: Timestamp, entries: usize, data: &[u8]) -> Result<(), StoreError> {
    let sql = "insert into repeated (writer, n, at, entries, data) values ($1, $2, $3, $4, $5) on conflict (writer, n) do nothing";
    run!(tx, conn => sqlx::query(sql).bind(writer).bind(n).bind(at).bind(entries as i64).bind(data).execute(conn))?;
    Ok(())
}

/// The batches since `since`, oldest first: of more than `entries_max` things the newest ones.
pub async fn load(tx: &mut Tx, since: Timestamp, entries_max: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let sql = "select data from (select writer, n, at, data, cast(sum(entries) over (order by at desc, writer desc, n desc) as bigint) \
               - entries as newer from repeated where at >= $1) as counted where newer < $2 order by at, writer, n";
    on!(tx, conn => sqlx::query_scalar(sql).bind(since).bind(entries_max as i64).fetch_all(conn))
}

/// The next batches of one writer after flush `n`, in order, with their numbers.
pub async fn after(tx: &mut Tx, writer: &str, n: i64, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    let sql = "select n, data from repeated where writer = $1 and n > $2 order by n limit $3";
    on!(tx, conn => sqlx::query_as(sql).bind(writer).bind(n).bind(limit as i64).fetch_all(conn))
}

/// Forgets what was counted before `at`: says how many batches.
pub async fn prune(tx: &mut Tx, at: Timestamp) -> Result<u64, StoreError> {
    run!(tx, conn => sqlx::query("delete from repeated where at < $1").bind(at).execute(conn))
}

/// Forgets the oldest batches beyond the newest `entries_max` things: says how many batches.
pub async fn keep_newest(tx: &mut Tx, entries_max: usize) -> Result<u64, StoreError> {
    let sql = "delete from repeated where at <= (select max(at) from (select at, \
               cast(sum(entries) over (order by at desc) as bigint) - entries as newer from repeated) as counted where newer >= $1)";
    run!(tx, conn => sqlx::query(sql).bind(entries_max as i64).execute(conn))
}
