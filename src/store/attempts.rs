//! Every attempt to deliver, for people who ask what happened.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on};
use super::values::{row, text};

row! {
    /// One attempt at one delivery.
    pub struct AttemptRow {
        pub delivery: String,
        /// Counted from 1.
        pub n: i64,
        pub at: Timestamp,
        pub outcome: String,
        /// Status of the answer, if there was one.
        pub status: Option<i64>,
        pub took_ms: i64,
        pub detail: String,
    }
}

/// Stores an attempt; the number in `row` is ignored, the next one of the delivery is given.
pub async fn add(tx: &mut Tx, row: &AttemptRow) -> Result<i64, StoreError> {
    let sql = "insert into attempt (delivery, n, at, outcome, status, took_ms, detail) \
               values ($1, (select coalesce(max(n), 0) + 1 from attempt where delivery = $1), $2, $3, $4, $5, $6) returning n";
    on!(tx, conn => {
        let query = sqlx::query_scalar(sql).bind(text(&row.delivery)).bind(row.at).bind(text(&row.outcome)).bind(row.status);
        query.bind(row.took_ms).bind(text(&row.detail)).fetch_one(conn)
    })
}

/// The attempts of a delivery, in order.
pub async fn list(tx: &mut Tx, delivery: &str) -> Result<Vec<AttemptRow>, StoreError> {
    let sql = "select delivery, n, at, outcome, status, took_ms, detail from attempt where delivery = $1 order by n";
    on!(tx, conn => sqlx::query_as(sql).bind(text(delivery)).fetch_all(conn))
}
