//! The history of an incident, numbered from 1.

use sqlx::AssertSqlSafe;

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{lots, row, text};

row! {
    /// One thing that happened to an incident.
    pub struct EventRow {
        pub incident: String,
        pub n: i64,
        pub at: Timestamp,
        pub kind: String,
        /// Who did it; empty for burnwatch itself.
        pub who: String,
        pub text: String,
        /// More, as JSON.
        pub data: String,
    }
}

/// Adds to the history: gives the number of the entry.
pub async fn append(tx: &mut Tx, incident: &str, at: Timestamp, kind: &str, who: &str, said: &str, data: &str) -> Result<i64, StoreError> {
    let sql = "insert into incident_event (incident, n, at, kind, who, text, data) \
               values ($1, (select coalesce(max(n), 0) + 1 from incident_event where incident = $1), $2, $3, $4, $5, $6) returning n";
    on!(tx, conn => {
        sqlx::query_scalar(sql).bind(text(incident)).bind(at).bind(text(kind)).bind(text(who)).bind(text(said)).bind(text(data)).fetch_one(conn)
    })
}

/// Writes entries with their own numbers: the first ones of incidents that are new in this transaction.
pub async fn begin(tx: &mut Tx, rows: &[EventRow]) -> Result<(), StoreError> {
    for batch in lots(rows) {
        let sql =
            format!("insert into incident_event (incident, n, at, kind, who, text, data) values {}", tx.marks().tuples(batch.len(), 7, 1));
        run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in batch {
                query = query.bind(text(&row.incident)).bind(row.n).bind(row.at).bind(text(&row.kind)).bind(text(&row.who));
                query = query.bind(text(&row.text)).bind(text(&row.data));
            }
            query.execute(conn)
        })?;
    }
    Ok(())
}

/// The whole history, in order.
pub async fn list(tx: &mut Tx, incident: &str) -> Result<Vec<EventRow>, StoreError> {
    let sql = "select incident, n, at, kind, who, text, data from incident_event where incident = $1 order by n";
    on!(tx, conn => sqlx::query_as(sql).bind(text(incident)).fetch_all(conn))
}
