//! Places of paths whose values share a route, the same for all replicas: whoever stores one first has learnt it.

use crate::domain::aggregate::Learnt;
use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{row, text};

row! {
    /// One place.
    pub struct StoredPlace {
        pub app: String,
        pub prefix: String,
        /// Values with names of their own, as a JSON list.
        pub kept: String,
        pub at: Timestamp,
    }
}

/// Stores one, unless somebody has learnt that place before.
pub async fn add(tx: &mut Tx, learnt: &Learnt, at: Timestamp) -> Result<(), StoreError> {
    let sql = "insert into learnt_route (app, prefix, kept, at) values ($1, $2, $3, $4) on conflict (app, prefix) do nothing";
    let kept = serde_json::to_string(&learnt.kept).expect("texts always serialise");
    run!(tx, conn => sqlx::query(sql).bind(text(&learnt.app)).bind(text(&learnt.prefix)).bind(text(&kept)).bind(at).execute(conn))?;
    Ok(())
}

/// Those that were learnt at `since` or later, with their times, in their order.
pub async fn since(tx: &mut Tx, since: Timestamp) -> Result<Vec<(Timestamp, Learnt)>, StoreError> {
    let sql = "select app, prefix, kept, at from learnt_route where at >= $1 order by at, app, prefix";
    let rows: Vec<StoredPlace> = on!(tx, conn => sqlx::query_as(sql).bind(since).fetch_all(conn))?;
    let read = |row: StoredPlace| match serde_json::from_str(&row.kept) {
        Ok(kept) => Ok((row.at, Learnt { app: row.app, prefix: row.prefix, kept })),
        Err(_) => Err(StoreError::Unreadable { what: "learnt route", id: row.prefix }),
    };
    rows.into_iter().map(read).collect()
}
