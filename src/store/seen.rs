//! What was seen already (beacon ids, bodies, aggregate row ids), as packed batches that go with a writer's flushes.

use sqlx::AssertSqlSafe;

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::row;

/// Rows a page.
const PAGE: usize = 64;

row! {
    /// The keys that came in with one flush.
    pub struct Seen {
        pub writer: String,
        pub n: i64,
        pub at: Timestamp,
        pub data: Vec<u8>,
    }
}

/// What is forgotten together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Ids of beacons and rows, for as long as buckets are kept.
    Ids,
    /// Whole bodies, for minutes.
    Bodies,
}

impl Memory {
    fn table(self) -> &'static str {
        match self {
            Memory::Ids => "seen",
            Memory::Bodies => "seen_body",
        }
    }

    /// Bytes of keys that a start reads: somewhat more than an aggregator remembers of them.
    fn bytes_max(self) -> i64 {
        match self {
            Memory::Ids => 128 << 20,
            Memory::Bodies => 8 << 20,
        }
    }
}

/// Stores the keys of flush `n` of a writer; the same flush twice counts once.
pub async fn append(tx: &mut Tx, memory: Memory, writer: &str, n: i64, at: Timestamp, data: &[u8]) -> Result<(), StoreError> {
    let sql = format!("insert into {} (writer, n, at, data) values ($1, $2, $3, $4) on conflict (writer, n) do nothing", memory.table());
    run!(tx, conn => sqlx::query(AssertSqlSafe(sql)).bind(writer).bind(n).bind(at).bind(data).execute(conn))?;
    Ok(())
}

/// Hands out what was seen at `since` or later, oldest first; of very much only the newest.
pub async fn each_since(tx: &mut Tx, memory: Memory, since: Timestamp, mut visit: impl FnMut(&[u8])) -> Result<(), StoreError> {
    let since = since.max(kept_from(tx, memory).await?);
    let sql = format!(
        "select writer, n, at, data from {} where at >= $1 and (at, writer, n) > ($2, $3, $4) order by at, writer, n limit $5",
        memory.table()
    );
    let mut last = (Timestamp(i64::MIN), String::new(), 0);
    loop {
        let page: Vec<Seen> = on!(tx, conn => {
            let query = sqlx::query_as(AssertSqlSafe(sql.as_str())).bind(since);
            query.bind(last.0).bind(&last.1).bind(last.2).bind(PAGE as i64).fetch_all(conn)
        })?;
        page.iter().for_each(|row| visit(&row.data));
        let Some(end) = page.into_iter().next_back() else { return Ok(()) };
        last = (end.at, end.writer, end.n);
    }
}

/// From when on a start reads what was seen, however much there is. It goes through the sizes of all batches, so it is asked in a
/// transaction that nobody waits for.
pub async fn kept_from(tx: &mut Tx, memory: Memory) -> Result<Timestamp, StoreError> {
    let sql = format!(
        "select min(at) from (select at, cast(sum(length(data)) over (order by at desc) as bigint) - length(data) as newer from {}) as summed \
         where newer < $1",
        memory.table()
    );
    let from: Option<Timestamp> = on!(tx, conn => sqlx::query_scalar(AssertSqlSafe(sql)).bind(memory.bytes_max()).fetch_one(conn))?;
    Ok(from.unwrap_or(Timestamp(i64::MIN)))
}

/// The next batches of one writer after `n`, in order.
pub async fn after(tx: &mut Tx, memory: Memory, writer: &str, n: i64, limit: usize) -> Result<Vec<Seen>, StoreError> {
    let sql = format!("select writer, n, at, data from {} where writer = $1 and n > $2 order by n limit $3", memory.table());
    on!(tx, conn => sqlx::query_as(AssertSqlSafe(sql)).bind(writer).bind(n).bind(limit as i64).fetch_all(conn))
}

/// Forgets what was seen before `at`: says how many batches.
pub async fn prune(tx: &mut Tx, memory: Memory, at: Timestamp) -> Result<u64, StoreError> {
    let sql = format!("delete from {} where at < $1", memory.table());
    run!(tx, conn => sqlx::query(AssertSqlSafe(sql)).bind(at).execute(conn))
}
