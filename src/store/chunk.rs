//! Buckets and rollups, as packed chunks of a group of series and a span of time, by level.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::row;

/// Rows a statement when writing; chunks can be large, so few are held at once.
const BATCH: usize = 100;
/// Rows a statement when reading on.
const PAGE: i64 = 200;
/// Groups named in one statement; more are read as a whole and sifted here.
const GROUPS_MAX: usize = 1_000;

row! {
    /// A span of one level for one group of series.
    pub struct Chunk {
        pub start: i64,
        pub grp: i64,
        pub data: Vec<u8>,
    }
}

/// One chunk.
pub async fn get(tx: &mut Tx, level: i64, start: i64, grp: i64) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "select data from chunk where level = $1 and start = $2 and grp = $3";
    on!(tx, conn => sqlx::query_scalar(sql).bind(level).bind(start).bind(grp).fetch_optional(conn))
}

/// Writes chunks of one level, over what was there. A (start, grp) may stand in the list once.
pub async fn put(tx: &mut Tx, level: i64, chunks: &[Chunk]) -> Result<(), StoreError> {
    for batch in chunks.chunks(BATCH) {
        let sql = format!(
            "insert into chunk (level, start, grp, data) values {} on conflict (level, start, grp) do update set data = excluded.data",
            tx.marks().tuples(batch.len(), 4, 1)
        );
        run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(batch.len() == BATCH);
            for chunk in batch {
                query = query.bind(level).bind(chunk.start).bind(chunk.grp).bind(&chunk.data);
            }
            query.execute(conn)
        })?;
    }
    Ok(())
}

/// The chunks of a level that start in [from, to), in the order of start and group; `grps` limits the groups.
pub async fn range(tx: &mut Tx, level: i64, from: i64, to: i64, grps: Option<&[i64]>) -> Result<Vec<Chunk>, StoreError> {
    let mut chunks = Vec::new();
    each(tx, level, from, to, grps, |chunk| chunks.push(chunk)).await?;
    Ok(chunks)
}

/// Like [`range`], but hands the chunks out one by one and holds only a page of them: for long spans.
pub async fn each(
    tx: &mut Tx,
    level: i64,
    from: i64,
    to: i64,
    grps: Option<&[i64]>,
    mut visit: impl FnMut(Chunk),
) -> Result<(), StoreError> {
    let mut pages = Pages::new(level, from, to, grps);
    while let Some(page) = pages.next(tx).await? {
        page.into_iter().for_each(&mut visit);
    }
    Ok(())
}

/// A walk over the chunks of a level that start in [from, to), in the order of start and group, page by page.
#[derive(Debug)]
pub struct Pages {
    level: i64,
    to: i64,
    /// The last one that was read.
    last: (i64, i64),
    wanted: Option<HashSet<i64>>,
    named: Vec<i64>,
    done: bool,
}

impl Pages {
    /// The walk; `grps` limits the groups.
    pub fn new(level: i64, from: i64, to: i64, grps: Option<&[i64]>) -> Pages {
        let wanted: Option<HashSet<i64>> = grps.map(|grps| grps.iter().copied().collect());
        let named: Vec<i64> = wanted.iter().filter(|wanted| wanted.len() <= GROUPS_MAX).flatten().copied().collect();
        let done = wanted.as_ref().is_some_and(|wanted| wanted.is_empty());
        Pages { level, to, last: (from.saturating_sub(1), i64::MAX), wanted, named, done }
    }

    /// The next page; `None` at the end.
    pub async fn next(&mut self, tx: &mut Tx) -> Result<Option<Vec<Chunk>>, StoreError> {
        if self.done {
            return Ok(None);
        }
        let (marks, named) = (tx.marks(), self.named.len());
        let filter = if named == 0 { String::new() } else { format!("and grp in ({})", marks.list(named, 5)) };
        // Row values keep the walk on the primary key, page after page.
        let sql = format!(
            "select start, grp, data from chunk where level = {} and start < {} and (start, grp) > ({}) {filter} \
             order by start, grp limit {}",
            marks.one(1),
            marks.one(2),
            marks.list(2, 3),
            marks.one(5 + named)
        );
        let mut page: Vec<Chunk> = on!(tx, conn => {
            let mut query = sqlx::query_as(AssertSqlSafe(sql));
            query = query.bind(self.level).bind(self.to).bind(self.last.0).bind(self.last.1);
            for grp in &self.named {
                query = query.bind(*grp);
            }
            query.bind(PAGE).fetch_all(conn)
        })?;
        self.done = (page.len() as i64) < PAGE;
        if let Some(chunk) = page.last() {
            self.last = (chunk.start, chunk.grp);
        }
        if let Some(wanted) = &self.wanted {
            page.retain(|chunk| wanted.contains(&chunk.grp));
        }
        Ok(Some(page))
    }
}

/// Forgets the chunks of a level that start before `start`: says how many.
pub async fn delete_before(tx: &mut Tx, level: i64, start: i64) -> Result<u64, StoreError> {
    run!(tx, conn => sqlx::query("delete from chunk where level = $1 and start < $2").bind(level).bind(start).execute(conn))
}
