//! What people did: who, when, what, from where.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{Place, page, row, text};

row! {
    /// One action of a person or a token.
    pub struct AuditRow {
        pub id: String,
        pub at: Timestamp,
        pub who: String,
        pub action: String,
        /// What it was done to.
        pub thing: String,
        /// From where.
        pub source: String,
        /// More, as JSON.
        pub detail: String,
    }
}

/// Stores one.
pub async fn add(tx: &mut Tx, row: &AuditRow) -> Result<(), StoreError> {
    let sql = "insert into audit (id, at, who, action, thing, source, detail) values ($1, $2, $3, $4, $5, $6, $7)";
    run!(tx, conn => {
        let query = sqlx::query(sql).bind(text(&row.id)).bind(row.at).bind(text(&row.who)).bind(text(&row.action)).bind(text(&row.thing));
        query.bind(text(&row.source)).bind(text(&row.detail)).execute(conn)
    })?;
    Ok(())
}

/// The action of whoever only looked.
pub const READ: &str = "read";

/// Which actions are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    All,
    /// Without those that only looked.
    Changes,
}

/// A page, newest first, and the cursor of the next page.
pub async fn list(tx: &mut Tx, cursor: Option<&str>, limit: usize, acts: Acts) -> Result<(Vec<AuditRow>, Option<String>), StoreError> {
    let place = Place::from_cursor(cursor)?;
    let sql = "select id, at, who, action, thing, source, detail from audit \
               where (at < $1 or (at = $1 and id < $2)) and ($4 = 1 or action <> $5) order by at desc, id desc limit $3";
    let all = i64::from(acts == Acts::All);
    let rows: Vec<AuditRow> = on!(tx, conn => {
        sqlx::query_as(sql).bind(place.at).bind(&place.id).bind(limit as i64 + 1).bind(all).bind(READ).fetch_all(conn)
    })?;
    Ok(page(rows, limit, |row| Place { at: row.at, id: row.id.clone() }))
}
