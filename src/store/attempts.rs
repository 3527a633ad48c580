//! Every attempt to deliver, for people who ask what happened.

use sqlx::AssertSqlSafe;

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{lots, row, text};

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

/// Stores attempts, each of another delivery; the number in a row is ignored, the next one of its delivery is given. One that is
/// there already (the answer to an earlier commit was lost) is left as it is.
pub async fn add(tx: &mut Tx, rows: &[AttemptRow]) -> Result<(), StoreError> {
    for batch in lots(rows) {
        let sql = format!(
            "insert into attempt (delivery, n, at, outcome, status, took_ms, detail) \
             select v.column1, (select coalesce(max(n), 0) + 1 from attempt where delivery = v.column1), \
             v.column2, v.column3, v.column4, v.column5, v.column6 from (values {}) as v \
             where not exists (select 1 from attempt known where known.delivery = v.column1 and known.at = v.column2 \
                               and known.outcome = v.column3 and known.took_ms = v.column5)",
            tx.marks().tuples(batch.len(), 6, 1)
        );
        run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in batch {
                query = query.bind(text(&row.delivery)).bind(row.at).bind(text(&row.outcome)).bind(row.status);
                query = query.bind(row.took_ms).bind(text(&row.detail));
            }
            query.execute(conn)
        })?;
    }
    Ok(())
}

/// The attempts of a delivery, in order.
pub async fn list(tx: &mut Tx, delivery: &str) -> Result<Vec<AttemptRow>, StoreError> {
    let sql = "select delivery, n, at, outcome, status, took_ms, detail from attempt where delivery = $1 order by n";
    on!(tx, conn => sqlx::query_as(sql).bind(text(delivery)).fetch_all(conn))
}
