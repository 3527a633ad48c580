//! How far each job has come.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{row, text};

row! {
    /// Where a job stands.
    pub struct Progress {
        pub at: Timestamp,
        /// Whatever the job needs to go on, as JSON.
        pub data: String,
    }
}

/// Where a job stands, if it ever ran.
pub async fn get(tx: &mut Tx, name: &str) -> Result<Option<Progress>, StoreError> {
    on!(tx, conn => sqlx::query_as("select at, data from progress where name = $1").bind(text(name)).fetch_optional(conn))
}

/// Notes where a job stands.
pub async fn set(tx: &mut Tx, name: &str, at: Timestamp, data: &str) -> Result<(), StoreError> {
    let sql = "insert into progress (name, at, data) values ($1, $2, $3) \
               on conflict (name) do update set at = excluded.at, data = excluded.data";
    run!(tx, conn => sqlx::query(sql).bind(text(name)).bind(at).bind(text(data)).execute(conn))?;
    Ok(())
}
