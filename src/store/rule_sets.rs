//! Rule sets that took effect or were refused, whole, so that the last good one survives a restart.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{row, text};

row! {
    /// One revision.
    pub struct RuleSetRow {
        pub revision: String,
        /// Path to text of every file, as a JSON object.
        pub files: String,
        pub loaded_at: Timestamp,
        /// 1 if it took effect, 0 if it was refused.
        pub good: i64,
    }
}

/// Stores a revision, or that it was loaded again.
pub async fn save(tx: &mut Tx, revision: &str, files: &str, loaded_at: Timestamp, good: bool) -> Result<(), StoreError> {
    let sql = "insert into rule_set (revision, files, loaded_at, good) values ($1, $2, $3, $4) \
               on conflict (revision) do update set files = excluded.files, loaded_at = excluded.loaded_at, good = excluded.good";
    run!(tx, conn => sqlx::query(sql).bind(text(revision)).bind(text(files)).bind(loaded_at).bind(i64::from(good)).execute(conn))?;
    Ok(())
}

/// The revision that took effect last.
pub async fn last_good(tx: &mut Tx) -> Result<Option<RuleSetRow>, StoreError> {
    let sql = "select revision, files, loaded_at, good from rule_set where good = 1 order by loaded_at desc, revision desc limit 1";
    on!(tx, conn => sqlx::query_as(sql).fetch_optional(conn))
}

/// One revision.
pub async fn get(tx: &mut Tx, revision: &str) -> Result<Option<RuleSetRow>, StoreError> {
    let sql = "select revision, files, loaded_at, good from rule_set where revision = $1";
    on!(tx, conn => sqlx::query_as(sql).bind(text(revision)).fetch_optional(conn))
}

/// The newest revisions, newest first.
pub async fn list(tx: &mut Tx, limit: usize) -> Result<Vec<RuleSetRow>, StoreError> {
    let sql = "select revision, files, loaded_at, good from rule_set order by loaded_at desc, revision desc limit $1";
    on!(tx, conn => sqlx::query_as(sql).bind(limit as i64).fetch_all(conn))
}
