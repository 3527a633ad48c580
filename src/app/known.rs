//! What this process knows from earlier lives: the key of hashes, series, and what was seen.

use std::collections::HashMap;

use crate::chance;
use crate::config::Config;
use crate::domain::aggregate::{self, Aggregator, BODY_WINDOW, LocalSeries, REPEATS_MAX, Repeated, SeenKey};
use crate::domain::keyed::KeyedHash;
use crate::domain::time::Timestamp;
use crate::domain::user_keys::UserKeys;
use crate::jobs::rotate;
use crate::store::seen::Memory;
use crate::store::{self, Store, StoreError};

/// What makes all hashes: its key is configured, or was made once and is kept with the data.
pub async fn keyed_hash(config: &Config, store: &Store) -> Result<KeyedHash, StoreError> {
    if let Some(key) = &config.privacy.hash_key {
        return Ok(KeyedHash::from_secret(key.expose().as_bytes()));
    }
    let mut tx = store.write().await?;
    let key = store::meta::get_or_set(&mut tx, "hash_key", &hex::encode(chance::bytes::<32>())).await?;
    tx.commit().await?;
    Ok(KeyedHash::from_secret(key.as_bytes()))
}

/// The keys under which users are counted, brought up to date.
pub async fn user_keys(config: &Config, store: &Store, now: Timestamp) -> Result<UserKeys, StoreError> {
    rotate::rotate(store, config.privacy.hash_rotation, config.retention.bucket, now, chance::bytes).await
}

/// An aggregator that knows what was known before: series, and what was seen.
pub async fn aggregator(config: &Config, store: &Store, now: Timestamp) -> Result<Aggregator, StoreError> {
    let aggregation = &config.aggregation;
    let mut aggregator = Aggregator::new(aggregate::Settings {
        bucket: aggregation.bucket,
        settle: aggregation.settle,
        dimensions: aggregation.dimensions.clone(),
        series_max: aggregation.series_max,
        remember: config.retention.bucket,
    })
    .learning(config.intake.route_values_max, &config.intake.route_templates);
    aggregator.set_user_keys(user_keys(config, store, now).await?);
    let mut tx = store.read().await?;
    aggregator.recall_learnt(store::learnt_routes::since(&mut tx, Timestamp(0)).await?.into_iter().map(|(_, learnt)| learnt));
    let series = store::series::all(&mut tx).await?;
    let numbers = aggregator.recall_series(series.iter().map(|(_, series)| series), now);
    aggregator.recall_routes(series.iter().map(|(_, series)| series));
    let numbers: HashMap<u32, LocalSeries> = series.iter().map(|(id, _)| id.0).zip(numbers).collect();
    for (memory, window) in [(Memory::Ids, config.retention.bucket), (Memory::Bodies, BODY_WINDOW)] {
        store::seen::each_since(&mut tx, memory, now - window, |keys| aggregator.recall_seen(SeenKey::unpack(keys))).await?;
    }
    for batch in store::repeated::load(&mut tx, now - config.retention.bucket, REPEATS_MAX).await? {
        aggregator.recall_repeated(Repeated::unpack(&batch).renamed(|id| numbers.get(&id).copied()));
    }
    Ok(aggregator)
}
