//! What was seen already (beacon ids, bodies, aggregate row ids), as packed batches that go with a writer's flushes.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::row;

row! {
    /// The keys that came in with one flush.
    pub struct Seen {
        pub writer: String,
        pub n: i64,
        pub at: Timestamp,
        pub data: Vec<u8>,
    }
}

/// Stores the keys of flush `n` of a writer; the same flush twice counts once.
pub async fn append(tx: &mut Tx, writer: &str, n: i64, at: Timestamp, data: &[u8]) -> Result<(), StoreError> {
    let sql = "insert into seen (writer, n, at, data) values ($1, $2, $3, $4) on conflict (writer, n) do nothing";
    run!(tx, conn => sqlx::query(sql).bind(writer).bind(n).bind(at).bind(data).execute(conn))?;
    Ok(())
}

/// What was seen at `since` or later, oldest first. Several replicas poll this to know what the others saw.
pub async fn load_since(tx: &mut Tx, since: Timestamp) -> Result<Vec<Seen>, StoreError> {
    let sql = "select writer, n, at, data from seen where at >= $1 order by at, writer, n";
    on!(tx, conn => sqlx::query_as(sql).bind(since).fetch_all(conn))
}

/// The next batches of one writer after `n`, in order.
pub async fn after(tx: &mut Tx, writer: &str, n: i64, limit: usize) -> Result<Vec<Seen>, StoreError> {
    let sql = "select writer, n, at, data from seen where writer = $1 and n > $2 order by n limit $3";
    on!(tx, conn => sqlx::query_as(sql).bind(writer).bind(n).bind(limit as i64).fetch_all(conn))
}

/// Forgets what was seen before `at`: says how many batches.
pub async fn prune(tx: &mut Tx, at: Timestamp) -> Result<u64, StoreError> {
    run!(tx, conn => sqlx::query("delete from seen where at < $1").bind(at).execute(conn))
}
