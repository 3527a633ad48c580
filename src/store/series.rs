//! Series and the small integers that stand for them.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;

use crate::domain::series::{Series, SeriesId, Texts};

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::digest;

/// Rows a statement: far below the limits of both databases (32,766 and 65,535 values).
const BATCH: usize = 1_000;
/// New ones a statement. For every parameter that it binds the driver goes through the names of those before it.
const ADDED: usize = 64;

/// Every series that the database knows, by id.
pub async fn all(tx: &mut Tx) -> Result<Vec<(SeriesId, Series)>, StoreError> {
    let sql = "select id, metric, dims from series order by id";
    let rows: Vec<(i64, String, String)> = on!(tx, conn => sqlx::query_as(sql).fetch_all(conn))?;
    let mut texts = Texts::default();
    rows.into_iter().map(|row| read(row, &mut texts)).collect()
}

/// Those with an id above the given one: what other replicas have added since.
pub async fn after(tx: &mut Tx, id: SeriesId) -> Result<Vec<(SeriesId, Series)>, StoreError> {
    let sql = "select id, metric, dims from series where id > $1 order by id";
    let rows: Vec<(i64, String, String)> = on!(tx, conn => sqlx::query_as(sql).bind(i64::from(id.0)).fetch_all(conn))?;
    let mut texts = Texts::default();
    rows.into_iter().map(|row| read(row, &mut texts)).collect()
}

/// Those of these ids that there are.
pub async fn some(tx: &mut Tx, ids: &[SeriesId]) -> Result<Vec<(SeriesId, Series)>, StoreError> {
    let (mut found, mut texts) = (Vec::with_capacity(ids.len()), Texts::default());
    for batch in ids.chunks(BATCH) {
        let sql = format!("select id, metric, dims from series where id in ({}) order by id", tx.marks().list(batch.len(), 1));
        let rows: Vec<(i64, String, String)> = on!(tx, conn => {
            let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(batch.len() == BATCH);
            for id in batch {
                query = query.bind(i64::from(id.0));
            }
            query.fetch_all(conn)
        })?;
        for row in rows {
            found.push(read(row, &mut texts)?);
        }
    }
    Ok(found)
}

/// How many series there are.
pub async fn count(tx: &mut Tx) -> Result<u64, StoreError> {
    let count: i64 = on!(tx, conn => sqlx::query_scalar("select count(*) from series").fetch_one(conn))?;
    Ok(count as u64)
}

/// The ids of these series, in their order; series that are new get one.
///
/// Whoever adds series waits for the others that do, until their transactions end. So intern in the
/// same short transaction that writes the data, and keep the ids.
pub async fn intern(tx: &mut Tx, series: &[Series]) -> Result<Vec<SeriesId>, StoreError> {
    let keys: Vec<Key> = series.iter().map(Key::new).collect();
    let mut ids = HashMap::with_capacity(keys.len());
    find(tx, &keys.iter().collect::<Vec<_>>(), &mut ids).await?;
    let mut missing: Vec<&Key> = keys.iter().filter(|key| !ids.contains_key(&key.digest)).collect();
    if !missing.is_empty() {
        missing.sort_by(|a, b| a.digest.cmp(&b.digest));
        missing.dedup_by(|a, b| a.digest == b.digest);
        add(tx, missing, &mut ids).await?;
    }
    let id = |key: &Key| ids.get(&key.digest).copied().ok_or_else(|| StoreError::NotOne { what: "series", id: key.dims.clone() });
    keys.iter().map(id).collect()
}

/// A series as its row names it.
struct Key {
    digest: Vec<u8>,
    metric: String,
    dims: String,
}

impl Key {
    fn new(series: &Series) -> Key {
        let (metric, dims) = (series.metric.to_string(), series.dims_json());
        Key { digest: digest(&[&metric, &dims]), metric, dims }
    }
}

async fn find(tx: &mut Tx, keys: &[&Key], ids: &mut HashMap<Vec<u8>, SeriesId>) -> Result<(), StoreError> {
    for batch in keys.chunks(BATCH) {
        let sql = format!("select id, digest from series where digest in ({})", tx.marks().list(batch.len(), 1));
        let rows: Vec<(i64, Vec<u8>)> = on!(tx, conn => {
            let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(batch.len() == BATCH);
            for key in batch {
                query = query.bind(&key.digest);
            }
            query.fetch_all(conn)
        })?;
        for (id, digest) in rows {
            ids.insert(digest, series_id(id)?);
        }
    }
    Ok(())
}

async fn add(tx: &mut Tx, missing: Vec<&Key>, ids: &mut HashMap<Vec<u8>, SeriesId>) -> Result<(), StoreError> {
    // Taking the lock. What others added until we had it shows up now.
    let lock = "update meta set value = value where name = 'series_last' returning cast(value as bigint)";
    let mut last: i64 = on!(tx, conn => sqlx::query_scalar(lock).fetch_one(conn))?;
    find(tx, &missing, ids).await?;
    let missing: Vec<&Key> = missing.into_iter().filter(|key| !ids.contains_key(&key.digest)).collect();
    for batch in missing.chunks(ADDED) {
        let sql = format!("insert into series (id, digest, metric, dims) values {}", tx.marks().tuples(batch.len(), 4, 1));
        let mut next = last;
        run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(batch.len() == ADDED);
            for key in batch {
                next += 1;
                query = query.bind(next).bind(&key.digest).bind(&key.metric).bind(&key.dims);
            }
            query.execute(conn)
        })?;
        for key in batch {
            last += 1;
            ids.insert(key.digest.clone(), series_id(last)?);
        }
    }
    run!(tx, conn => sqlx::query("update meta set value = $1 where name = 'series_last'").bind(last.to_string()).execute(conn))?;
    Ok(())
}

fn read((id, metric, dims): (i64, String, String), texts: &mut Texts) -> Result<(SeriesId, Series), StoreError> {
    let series = Series::from_json(&metric, &dims, texts).ok_or_else(|| StoreError::Unreadable { what: "series", id: id.to_string() })?;
    Ok((series_id(id)?, series))
}

fn series_id(id: i64) -> Result<SeriesId, StoreError> {
    u32::try_from(id).map(SeriesId).map_err(|_| StoreError::Unreadable { what: "series", id: id.to_string() })
}
