//! Rotates the keys under which users are counted: makes the next one ahead of its time, destroys spent ones.
//!
//! The keys are in the database and in the aggregators, and nowhere else.

use crate::domain::keyed::KeyedHash;
use crate::domain::time::{Span, Timestamp};
use crate::domain::user_keys::{UserKey, UserKeys, due, spent};
use crate::store::user_keys::{UserKeyRow, add, all, remove};
use crate::store::{Store, StoreError, series};

/// Brings the keys up to date and reads them. An event may be `late` behind the end of its key.
pub async fn rotate(store: &Store, rotation: Span, late: Span, now: Timestamp, random: fn() -> [u8; 16]) -> Result<UserKeys, StoreError> {
    let mut tx = store.read().await?;
    let mut rows = all(&mut tx).await?;
    drop(tx);
    let known = |rows: &[UserKeyRow]| -> Vec<(u32, Timestamp)> { rows.iter().map(|row| (row.number as u32, row.since)).collect() };
    let (next, spent) = (due(&known(&rows), now, rotation), spent(&known(&rows), now - late - Span::DAY));
    if next.is_some() || !spent.is_empty() {
        let mut tx = store.write().await?;
        if let Some((number, since)) = next {
            // Before keys rotated, users were counted by the hash alone; they are still the same people.
            let counted = number == 0 && !series::all(&mut tx).await?.is_empty();
            let key = if counted { String::new() } else { hex::encode(random()) };
            add(&mut tx, number.into(), since, &key).await?;
        }
        for number in spent {
            remove(&mut tx, number.into()).await?;
        }
        rows = all(&mut tx).await?;
        tx.commit().await?;
    }
    Ok(UserKeys::new(rows.into_iter().map(key).collect()))
}

fn key(row: UserKeyRow) -> UserKey {
    let hash = <[u8; 16]>::try_from(hex::decode(&row.key).unwrap_or_default()).ok().map(KeyedHash::new);
    UserKey { number: row.number as u32, since: row.since, hash }
}
