//! Stored history: packed chunks of buckets and rollups, plus the partials that are not compacted yet.
//!
//! A chunk holds the cells of a span of time for a group of series; its `level` is the length of its
//! slices in milliseconds, so a changed bucket length never mixes with old data. All levels hold the
//! same events; what is not compacted yet is added from the partials on reading.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::domain::cell::Cell;
use crate::domain::segment::{self, Damaged, Run, Slice};
use crate::domain::series::SeriesId;
use crate::domain::time::{Span, Timestamp};

use super::partial::WriterPartial;
use super::tx::Tx;
use super::{StoreError, chunk, partial, writer};

/// Series per chunk.
const GROUP: u32 = 64;
/// Bytes of partials that are compacted together, unless one alone has more.
const COMPACTED_BYTES: usize = 8 << 20;
/// Cells that are unpacked at once for it, beside those of one group of series: about half a kilobyte each.
const COMPACTED_CELLS: u64 = 16_384;

/// One resolution of stored history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Length of its slices.
    pub slice: Span,
    /// Length of a chunk.
    pub span: Span,
}

/// Fine buckets, five minutes, hours.
pub const fn levels(bucket: Span) -> [Level; 3] {
    [
        Level { slice: bucket, span: Span(bucket.0 * 60) },
        Level { slice: Span::minutes(5), span: Span::hours(6) },
        Level { slice: Span::HOUR, span: Span::DAY },
    ]
}

/// Which series are wanted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    All,
    Only(&'a BTreeSet<SeriesId>),
}

impl Wanted<'_> {
    fn has(&self, id: SeriesId) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Only(ids) => ids.contains(&id),
        }
    }

    fn groups(&self) -> Option<Vec<i64>> {
        match self {
            Wanted::All => None,
            Wanted::Only(ids) => {
                let groups: BTreeSet<i64> = ids.iter().map(|id| i64::from(id.0 / GROUP)).collect();
                Some(groups.into_iter().collect())
            }
        }
    }
}

/// Calls `visit` with every stored cell of a level that starts in `[from, to)`, compacted ones first,
/// in the order of chunks; one slice may come in several parts, which add up.
pub async fn cells(
    tx: &mut Tx,
    level: Level,
    bucket: Span,
    from: Timestamp,
    to: Timestamp,
    wanted: Wanted<'_>,
    mut visit: impl FnMut(SeriesId, Slice, Cell),
) -> Result<(), StoreError> {
    let within = |slice: Slice| (from.0..to.0).contains(&(slice * level.slice.0));
    compacted(tx, level, from, to, wanted, |bytes| {
        segment::read(
            bytes,
            |id| wanted.has(id),
            |id, slice, cell| {
                if within(slice) {
                    visit(id, slice, cell);
                }
            },
        )
    })
    .await?;
    let ratio = level.slice.0 / bucket.0;
    pending(tx, |bytes| {
        segment::read(
            bytes,
            |id| wanted.has(id),
            |id, slice, cell| {
                let slice = slice.div_euclid(ratio);
                if within(slice) {
                    visit(id, slice, cell);
                }
            },
        )
    })
    .await
}

/// A walk over the compacted chunks of a level that may hold something of `[from, to)`, in the order of time.
pub fn pages(level: Level, from: Timestamp, to: Timestamp) -> chunk::Pages {
    chunk::Pages::new(level.slice.0, from.floor(level.span).0, to.0, None)
}

/// Calls `visit` with what one of those chunks holds of `[from, to)`, a series at a time and without unpacking distributions.
pub fn runs(
    chunk: &chunk::Chunk,
    level: Level,
    from: Timestamp,
    to: Timestamp,
    mut visit: impl FnMut(SeriesId, Run<'_>) -> Result<(), Damaged>,
) -> Result<(), StoreError> {
    let first = |time: Timestamp| time.ceil(level.slice).0 / level.slice.0;
    let read = segment::read_runs(&chunk.data, |id, run| visit(id, run.between(first(from), first(to))));
    read.map_err(|_| damaged(level, chunk.start, chunk.grp))
}

fn damaged(level: Level, start: i64, grp: i64) -> StoreError {
    StoreError::Unreadable { what: "chunk", id: format!("{}/{start}/{grp}", level.slice) }
}

async fn compacted(
    tx: &mut Tx,
    level: Level,
    from: Timestamp,
    to: Timestamp,
    wanted: Wanted<'_>,
    mut read: impl FnMut(&[u8]) -> Result<(), Damaged>,
) -> Result<(), StoreError> {
    let groups = wanted.groups();
    let mut broken = None;
    chunk::each(tx, level.slice.0, from.floor(level.span).0, to.0, groups.as_deref(), |chunk| {
        if read(&chunk.data).is_err() {
            broken.get_or_insert((chunk.start, chunk.grp));
        }
    })
    .await?;
    broken.map_or(Ok(()), |(start, grp)| Err(damaged(level, start, grp)))
}

/// Hands out every partial that is not compacted, by writer and number.
async fn pending(tx: &mut Tx, mut read: impl FnMut(&[u8]) -> Result<(), Damaged>) -> Result<(), StoreError> {
    for writer in writer::all(tx).await? {
        let mut last = writer.compacted_n;
        loop {
            let page = partial::after(tx, &writer.id, last).await?;
            let Some(end) = page.last() else { break };
            last = end.n;
            for row in &page {
                read(&row.data).map_err(|_| damage(&writer.id, row.n))?;
            }
        }
    }
    Ok(())
}

fn damage(writer: &str, n: i64) -> StoreError {
    StoreError::Unreadable { what: "partial", id: format!("{writer}/{n}") }
}

/// Moves partials that were written before `before` into chunks of every level, at most `limit` of
/// them; says how many were moved, zero when none is left. One transaction: a reader sees each event once.
pub async fn compact(tx: &mut Tx, bucket: Span, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let rows = partial::before(tx, before, limit, COMPACTED_BYTES).await?;
    for groups in portions(&rows)? {
        let cells = unpack(&rows, groups)?;
        for level in levels(bucket) {
            merge_into(tx, level, bucket, &cells).await?;
        }
    }
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    for row in &rows {
        let n = newest.entry(&row.writer).or_insert(row.n);
        *n = (*n).max(row.n);
    }
    for (writer, n) in newest {
        partial::delete_to(tx, writer, n).await?;
        writer::set_compacted(tx, writer, n).await?;
    }
    Ok(rows.len())
}

/// Ranges of groups of series that together hold all cells, about [`COMPACTED_CELLS`] each.
fn portions(rows: &[WriterPartial]) -> Result<Vec<Range<u32>>, StoreError> {
    let mut cells: BTreeMap<u32, u64> = BTreeMap::new();
    for row in rows {
        let count = |id: SeriesId, count| *cells.entry(id.0 / GROUP).or_default() += count;
        segment::count(&row.data, count).map_err(|_| damage(&row.writer, row.n))?;
    }
    let (mut portions, mut held): (Vec<Range<u32>>, u64) = (Vec::new(), 0);
    for (group, count) in cells {
        match portions.last_mut().filter(|_| held + count <= COMPACTED_CELLS) {
            Some(portion) => portion.end = group + 1,
            None => {
                portions.push(group..group + 1);
                held = 0;
            }
        }
        held += count;
    }
    Ok(portions)
}

fn unpack(rows: &[WriterPartial], groups: Range<u32>) -> Result<BTreeMap<(SeriesId, Slice), Cell>, StoreError> {
    let mut cells: BTreeMap<(SeriesId, Slice), Cell> = BTreeMap::new();
    for row in rows {
        let merge = |id, slice, cell: Cell| match cells.entry((id, slice)) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(cell);
            }
            std::collections::btree_map::Entry::Occupied(mut have) => have.get_mut().merge(&cell),
        };
        segment::read(&row.data, |id| groups.contains(&(id.0 / GROUP)), merge).map_err(|_| damage(&row.writer, row.n))?;
    }
    Ok(cells)
}

async fn merge_into(tx: &mut Tx, level: Level, bucket: Span, cells: &BTreeMap<(SeriesId, Slice), Cell>) -> Result<(), StoreError> {
    let ratio = level.slice.0 / bucket.0;
    let mut chunks: BTreeMap<(i64, i64), BTreeMap<(SeriesId, Slice), Cell>> = BTreeMap::new();
    for ((id, slice), cell) in cells {
        let slice = slice.div_euclid(ratio);
        let start = Timestamp(slice * level.slice.0).floor(level.span).0;
        let chunk = chunks.entry((start, i64::from(id.0 / GROUP))).or_default();
        chunk.entry((*id, slice)).or_default().merge(cell);
    }
    let mut packed = Vec::with_capacity(chunks.len());
    for ((start, grp), mut chunk) in chunks {
        if let Some(bytes) = chunk::get(tx, level.slice.0, start, grp).await? {
            segment::read(&bytes, |_| true, |id, slice, cell| chunk.entry((id, slice)).or_default().merge(&cell))
                .map_err(|_| damaged(level, start, grp))?;
        }
        let mut writer = segment::Writer::default();
        chunk.iter().for_each(|((id, slice), cell)| writer.push(*id, *slice, cell));
        packed.push(chunk::Chunk { start, grp, data: writer.finish() });
    }
    chunk::put(tx, level.slice.0, &packed).await
}
