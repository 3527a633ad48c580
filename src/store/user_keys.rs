//! The keys under which users are counted, one after the other. They go nowhere but into the aggregator.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{row, text};

row! {
    /// One key.
    pub struct UserKeyRow {
        pub number: i64,
        pub since: Timestamp,
        /// Hexadecimal; empty: hashes stand as they are.
        pub key: String,
    }
}

/// All that there are, by number.
pub async fn all(tx: &mut Tx) -> Result<Vec<UserKeyRow>, StoreError> {
    on!(tx, conn => sqlx::query_as("select number, since, key from user_key order by number").fetch_all(conn))
}

/// Adds a key, unless somebody else has added one of this number.
pub async fn add(tx: &mut Tx, number: i64, since: Timestamp, key: &str) -> Result<(), StoreError> {
    let sql = "insert into user_key (number, since, key) values ($1, $2, $3) on conflict (number) do nothing";
    run!(tx, conn => sqlx::query(sql).bind(number).bind(since).bind(text(key)).execute(conn))?;
    Ok(())
}

/// Destroys a key.
pub async fn remove(tx: &mut Tx, number: i64) -> Result<(), StoreError> {
    run!(tx, conn => sqlx::query("delete from user_key where number = $1").bind(number).execute(conn))?;
    Ok(())
}
