//! The state of every alert that is not idle, one row for each rule and group.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{digest, row, text};

row! {
    /// One rule's state for one set of labels.
    pub struct AlertRow {
        pub rule: String,
        /// The group, as canonical JSON.
        pub grp: String,
        /// The state machine, as JSON.
        pub state: String,
        pub updated_at: Timestamp,
    }
}

/// All of them, by rule and group.
pub async fn load_all(tx: &mut Tx) -> Result<Vec<AlertRow>, StoreError> {
    let mut rows: Vec<AlertRow> = on!(tx, conn => sqlx::query_as("select rule, grp, state, updated_at from alert").fetch_all(conn))?;
    // Sorted here: databases differ in how they order text.
    rows.sort_by(|a, b| (&a.rule, &a.grp).cmp(&(&b.rule, &b.grp)));
    Ok(rows)
}

/// Writes one, new or changed.
pub async fn save(tx: &mut Tx, rule: &str, grp: &str, state: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "insert into alert (digest, rule, grp, state, updated_at) values ($1, $2, $3, $4, $5) \
               on conflict (digest) do update set state = excluded.state, updated_at = excluded.updated_at";
    let key = digest(&[rule, grp]);
    run!(tx, conn => sqlx::query(sql).bind(key).bind(text(rule)).bind(text(grp)).bind(text(state)).bind(now).execute(conn))?;
    Ok(())
}

/// Forgets one that is idle again. One that is not there is fine.
pub async fn delete(tx: &mut Tx, rule: &str, grp: &str) -> Result<(), StoreError> {
    let key = digest(&[rule, grp]);
    run!(tx, conn => sqlx::query("delete from alert where digest = $1").bind(key).execute(conn))?;
    Ok(())
}
