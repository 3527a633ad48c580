//! Leases: who does a piece of work until when, with a token that grows whenever the holder changes.
//!
//! A holder is a random id of one process life. What a holder writes is fenced: the transaction calls
//! [`fence`] with the token, so a holder that slept through the end of its lease cannot write any more.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::row;

row! {
    /// Who holds what.
    pub struct LeaseRow {
        pub name: String,
        pub holder: String,
        pub token: i64,
        pub until_ms: Timestamp,
    }
}

/// Takes a lease that is free or has ended, or renews one's own: gives its token. `None`: somebody else holds it.
///
/// How long it holds is `until - now`; when it began is [`Tx::shared_now`], so that the clocks of replicas
/// do not matter on PostgreSQL.
pub async fn acquire(tx: &mut Tx, name: &str, holder: &str, now: Timestamp, until: Timestamp) -> Result<Option<i64>, StoreError> {
    let shared = tx.shared_now(now).await?;
    let until = shared + (until - now);
    let sql = "insert into lease (name, holder, token, until_ms) values ($1, $2, 1, $3) \
               on conflict (name) do update set \
               token = lease.token + (case when lease.holder = excluded.holder then 0 else 1 end), \
               holder = excluded.holder, until_ms = excluded.until_ms \
               where lease.holder = excluded.holder or lease.until_ms <= $4 returning token";
    on!(tx, conn => sqlx::query_scalar(sql).bind(name).bind(holder).bind(until).bind(shared).fetch_optional(conn))
}

/// Whether the lease still has this token. Nobody can take it over before this transaction ends, so what
/// it writes is the holder's for certain. To be called first in a transaction that acts for the holder.
pub async fn fence(tx: &mut Tx, name: &str, token: i64) -> Result<bool, StoreError> {
    let sql = "update lease set token = token where name = $1 and token = $2";
    Ok(run!(tx, conn => sqlx::query(sql).bind(name).bind(token).execute(conn))? == 1)
}

/// Gives a lease back early. One that is not held any more is left alone.
pub async fn release(tx: &mut Tx, name: &str, holder: &str) -> Result<(), StoreError> {
    // The token grows at the next holder's `acquire`, because the name of the holder stays.
    let sql = "update lease set until_ms = 0 where name = $1 and holder = $2";
    run!(tx, conn => sqlx::query(sql).bind(name).bind(holder).execute(conn))?;
    Ok(())
}

/// Ends every lease. Only for a database that no other process uses: whoever held them is dead.
pub async fn release_all(tx: &mut Tx) -> Result<(), StoreError> {
    run!(tx, conn => sqlx::query("update lease set until_ms = 0").execute(conn))?;
    Ok(())
}

/// All leases, by name.
pub async fn all(tx: &mut Tx) -> Result<Vec<LeaseRow>, StoreError> {
    let mut rows: Vec<LeaseRow> = on!(tx, conn => sqlx::query_as("select name, holder, token, until_ms from lease").fetch_all(conn))?;
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}
