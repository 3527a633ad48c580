//! Names and values that belong to the database as a whole.

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::text;

/// Under this name a copy of a database says when it was made.
pub const COPIED_AT: &str = "copied_at";

/// A value, if it was ever set.
pub async fn get(tx: &mut Tx, name: &str) -> Result<Option<String>, StoreError> {
    on!(tx, conn => sqlx::query_scalar("select value from meta where name = $1").bind(text(name)).fetch_optional(conn))
}

/// Sets a value.
pub async fn set(tx: &mut Tx, name: &str, value: &str) -> Result<(), StoreError> {
    let sql = "insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value";
    run!(tx, conn => sqlx::query(sql).bind(text(name)).bind(text(value)).execute(conn))?;
    Ok(())
}

/// Sets a value that nobody has set, and gives the one that holds: for what replicas must agree on, once.
pub async fn get_or_set(tx: &mut Tx, name: &str, value: &str) -> Result<String, StoreError> {
    let sql = "insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = meta.value returning value";
    on!(tx, conn => sqlx::query_scalar(sql).bind(text(name)).bind(text(value)).fetch_one(conn))
}

/// Forgets a value.
pub async fn remove(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    run!(tx, conn => sqlx::query("delete from meta where name = $1").bind(text(name)).execute(conn))?;
    Ok(())
}
