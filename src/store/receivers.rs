//! What is remembered about receivers between deliveries.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{row, text};

row! {
    /// One receiver.
    pub struct ReceiverRow {
        pub receiver: String,
        /// Nothing is claimed for it until then.
        pub paused_until: Timestamp,
        /// Everything else, as JSON.
        pub data: String,
    }
}

/// All that something is known of.
pub async fn load(tx: &mut Tx) -> Result<Vec<ReceiverRow>, StoreError> {
    let mut rows: Vec<ReceiverRow> =
        on!(tx, conn => sqlx::query_as("select receiver, paused_until, data from receiver_state").fetch_all(conn))?;
    rows.sort_by(|a, b| a.receiver.cmp(&b.receiver));
    Ok(rows)
}

/// Writes one, new or changed.
pub async fn save(tx: &mut Tx, receiver: &str, paused_until: Timestamp, data: &str) -> Result<(), StoreError> {
    let sql = "insert into receiver_state (receiver, paused_until, data) values ($1, $2, $3) \
               on conflict (receiver) do update set paused_until = excluded.paused_until, data = excluded.data";
    run!(tx, conn => sqlx::query(sql).bind(text(receiver)).bind(paused_until).bind(text(data)).execute(conn))?;
    Ok(())
}
