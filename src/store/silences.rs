//! Silences that people made.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{row, text};

row! {
    /// One silence.
    pub struct SilenceRow {
        pub id: String,
        /// As JSON.
        pub matchers: String,
        pub starts_at: Timestamp,
        pub ends_at: Timestamp,
        pub author: String,
        pub comment: String,
        pub created_at: Timestamp,
        pub updated_at: Timestamp,
        /// When somebody ended it before its time.
        pub expired_at: Option<Timestamp>,
    }
}

macro_rules! columns {
    () => {
        "id, matchers, starts_at, ends_at, author, comment, created_at, updated_at, expired_at"
    };
}

/// Stores a new one.
pub async fn insert(tx: &mut Tx, row: &SilenceRow) -> Result<(), StoreError> {
    let sql = concat!("insert into silence (", columns!(), ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    run!(tx, conn => {
        let query = sqlx::query(sql).bind(text(&row.id)).bind(text(&row.matchers)).bind(row.starts_at).bind(row.ends_at).bind(text(&row.author));
        query.bind(text(&row.comment)).bind(row.created_at).bind(row.updated_at).bind(row.expired_at).execute(conn)
    })?;
    Ok(())
}

/// Writes one that exists; when it was made stays as it was.
pub async fn update(tx: &mut Tx, row: &SilenceRow) -> Result<(), StoreError> {
    let sql = "update silence set matchers = $2, starts_at = $3, ends_at = $4, author = $5, comment = $6, updated_at = $7, \
               expired_at = $8 where id = $1";
    let done = run!(tx, conn => {
        let query = sqlx::query(sql).bind(text(&row.id)).bind(text(&row.matchers)).bind(row.starts_at).bind(row.ends_at).bind(text(&row.author));
        query.bind(text(&row.comment)).bind(row.updated_at).bind(row.expired_at).execute(conn)
    })?;
    if done == 1 { Ok(()) } else { Err(StoreError::NotOne { what: "silence", id: row.id.clone() }) }
}

/// One silence.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<SilenceRow>, StoreError> {
    let sql = concat!("select ", columns!(), " from silence where id = $1");
    on!(tx, conn => sqlx::query_as(sql).bind(text(id)).fetch_optional(conn))
}

/// The newest thousand, also ended ones, newest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<SilenceRow>, StoreError> {
    let sql = concat!("select ", columns!(), " from silence order by created_at desc, id desc limit 1000");
    on!(tx, conn => sqlx::query_as(sql).fetch_all(conn))
}

/// Those in force at `now`.
pub async fn active(tx: &mut Tx, now: Timestamp) -> Result<Vec<SilenceRow>, StoreError> {
    let sql = concat!(
        "select ",
        columns!(),
        " from silence where starts_at <= $1 and ends_at > $1 and (expired_at is null or expired_at > $1) order by created_at, id"
    );
    on!(tx, conn => sqlx::query_as(sql).bind(now).fetch_all(conn))
}
