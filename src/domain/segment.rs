//! Packed cells of many series: what a flush writes, what compaction keeps, one format for both.
//!
//! Layout: version, then for each series its id (difference to the last one) and its cells, sorted
//! by slice number (differences too). Counts come first in each cell, so that a reader which needs
//! only sums skips the sketches.

use super::cell::{Cell, Counts, Limit, Over, UNIT};
use super::series::SeriesId;
use super::sketch::Sketch;
use super::users::Users;
use super::varint::{read_i64, read_i128, read_u64, write_i64, write_i128, write_u64};

mod run;

pub use run::{Brief, Run, Seen, read_runs, unpack_brief};

const VERSION: u8 = 1;

/// Number of a slice of time: its start divided by its length.
pub type Slice = i64;

/// A stored segment that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored segment is damaged")]
pub struct Damaged;

/// Packs cells that are sorted by series, then slice.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    last_series: i64,
    /// Where the current series began: its id, the offset of its cells, how many there are.
    current: Option<(SeriesId, Vec<u8>, u64, Slice)>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer { out: vec![VERSION], last_series: 0, current: None }
    }
}

impl Writer {
    /// Appends one cell; series and, within a series, slices must not go down.
    pub fn push(&mut self, series: SeriesId, slice: Slice, cell: &Cell) {
        if self.current.as_ref().is_none_or(|(current, ..)| *current != series) {
            self.end_series();
            self.current = Some((series, Vec::new(), 0, 0));
        }
        let (_, cells, count, last) = self.current.as_mut().expect("just set");
        write_i64(cells, slice - *last);
        *last = slice;
        *count += 1;
        encode_cell(cell, cells);
    }

    fn end_series(&mut self) {
        if let Some((series, cells, count, _)) = self.current.take() {
            write_i64(&mut self.out, i64::from(series.0) - self.last_series);
            self.last_series = i64::from(series.0);
            write_u64(&mut self.out, count);
            write_u64(&mut self.out, cells.len() as u64);
            self.out.extend_from_slice(&cells);
        }
    }

    /// The packed bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_series();
        self.out
    }
}

/// Calls `visit` with every cell of a packed segment whose series is wanted.
pub fn read(bytes: &[u8], mut wanted: impl FnMut(SeriesId) -> bool, mut visit: impl FnMut(SeriesId, Slice, Cell)) -> Result<(), Damaged> {
    read_series(bytes, |series, count, cells| {
        if !wanted(series) {
            return Some(());
        }
        let mut slice = 0;
        for _ in 0..count {
            slice += read_i64(cells)?;
            visit(series, slice, decode_cell(cells)?);
        }
        Some(())
    })
}

/// Calls `visit` with every series of a packed segment and how many cells it has, without unpacking any.
pub fn count(bytes: &[u8], mut visit: impl FnMut(SeriesId, u64)) -> Result<(), Damaged> {
    read_series(bytes, |series, count, _| {
        visit(series, count);
        Some(())
    })
}

/// Appends one cell by itself, for archives that keep their own order of cells.
pub fn pack(cell: &Cell, out: &mut Vec<u8>) {
    encode_cell(cell, out);
}

/// Reads a cell that [`pack`] wrote and moves on behind it.
pub fn unpack(input: &mut &[u8]) -> Option<Cell> {
    decode_cell(input)
}

/// Like [`unpack`], but leaves distribution and users out.
pub fn unpack_counts(input: &mut &[u8]) -> Option<Cell> {
    let head = decode_head(input)?;
    let mut cell = head.cell();
    if head.has_over {
        for _ in 0..read_u64(input)? {
            cell.add_over(decode_over(input)?);
        }
    }
    if head.has_detail {
        skip_detail(input)?;
    }
    Some(cell)
}

fn skip_detail(input: &mut &[u8]) -> Option<()> {
    Sketch::skip(input)?;
    Users::skip(input)?;
    Users::skip(input)
}

fn read_series<'a>(bytes: &'a [u8], mut visit: impl FnMut(SeriesId, u64, &mut &'a [u8]) -> Option<()>) -> Result<(), Damaged> {
    let (&version, mut input) = bytes.split_first().ok_or(Damaged)?;
    if version != VERSION {
        return Err(Damaged);
    }
    let mut series = 0_i64;
    while !input.is_empty() {
        let mut step = || {
            series = series.checked_add(read_i64(&mut input)?)?;
            let id = SeriesId(u32::try_from(series).ok()?);
            let count = read_u64(&mut input)?;
            let length = usize::try_from(read_u64(&mut input)?).ok()?;
            let (mut cells, rest) = input.split_at_checked(length)?;
            input = rest;
            visit(id, count, &mut cells)
        };
        step().ok_or(Damaged)?;
    }
    Ok(())
}

const PLAIN: u8 = 1;
const VALUED: u8 = 2;
const VALUED_ALL: u8 = 4;
const OVER: u8 = 8;
const DETAIL: u8 = 16;
const PUSHED: u8 = 32;

fn encode_cell(cell: &Cell, out: &mut Vec<u8>) {
    let plain = cell.counts.is_plain() && cell.bad_sq == i128::from(cell.counts.bad) && cell.valued.is_plain();
    let valued_all = Counts { bad: 0, raw_bad: 0, ..cell.counts } == cell.valued;
    let detail = !(cell.sketch.is_empty() && cell.users.is_empty() && cell.bad_users.is_empty());
    // An update of a value changes the sum and no count.
    let valued = !cell.valued.is_zero() || cell.sum != 0.0;
    let mut flags = 0;
    for (flag, on) in [
        (PLAIN, plain),
        (VALUED, valued && !valued_all),
        (VALUED_ALL, valued_all && valued),
        (OVER, !cell.over.is_empty()),
        (DETAIL, detail),
        (PUSHED, cell.pushed),
    ] {
        flags |= if on { flag } else { 0 };
    }
    out.push(flags);
    encode_counts(&cell.counts, plain, out);
    if !plain {
        write_i128(out, cell.bad_sq);
    }
    if flags & VALUED != 0 {
        encode_counts(&cell.valued, plain, out);
    }
    if flags & (VALUED | VALUED_ALL) != 0 {
        out.extend_from_slice(&cell.sum.to_le_bytes());
    }
    if flags & OVER != 0 {
        write_u64(out, cell.over.len() as u64);
        for over in &cell.over {
            out.extend_from_slice(&over.limit.value.to_le_bytes());
            out.push(u8::from(over.limit.inclusive));
            write_i64(out, over.tested);
            write_i64(out, over.over);
            write_i64(out, over.raw_over);
        }
    }
    if detail {
        cell.sketch.encode(out);
        cell.users.encode(out);
        cell.bad_users.encode(out);
    }
}

fn encode_counts(counts: &Counts, plain: bool, out: &mut Vec<u8>) {
    write_i64(out, counts.raw);
    write_i64(out, counts.raw_bad);
    if !plain {
        write_i64(out, counts.total);
        write_i64(out, counts.bad);
        write_i128(out, counts.sq);
    }
}

#[inline]
fn decode_counts(plain: bool, input: &mut &[u8]) -> Option<Counts> {
    let (raw, raw_bad) = (read_i64(input)?, read_i64(input)?);
    if plain {
        raw.checked_mul(UNIT)?;
        raw_bad.checked_mul(UNIT)?;
        return Some(Counts::plain(raw, raw_bad));
    }
    Some(Counts { raw, raw_bad, total: read_i64(input)?, bad: read_i64(input)?, sq: read_i128(input)? })
}

struct Head {
    counts: Counts,
    bad_sq: i128,
    valued: Counts,
    sum: f64,
    has_over: bool,
    has_detail: bool,
    pushed: bool,
}

impl Head {
    fn cell(&self) -> Cell {
        let Head { counts, bad_sq, valued, sum, pushed, .. } = *self;
        Cell { counts, bad_sq, valued, sum, pushed, ..Cell::default() }
    }
}

#[inline]
fn decode_head(input: &mut &[u8]) -> Option<Head> {
    let (&flags, rest) = input.split_first()?;
    *input = rest;
    let plain = flags & PLAIN != 0;
    let counts = decode_counts(plain, input)?;
    let bad_sq = if plain { i128::from(counts.bad) } else { read_i128(input)? };
    let valued = match flags & (VALUED | VALUED_ALL) {
        VALUED => decode_counts(plain, input)?,
        VALUED_ALL => Counts { bad: 0, raw_bad: 0, ..counts },
        _ => Counts::ZERO,
    };
    let mut sum = 0.0;
    if flags & (VALUED | VALUED_ALL) != 0 {
        let (bytes, rest) = input.split_first_chunk::<8>()?;
        sum = f64::from_le_bytes(*bytes);
        *input = rest;
    }
    Some(Head { counts, bad_sq, valued, sum, has_over: flags & OVER != 0, has_detail: flags & DETAIL != 0, pushed: flags & PUSHED != 0 })
}

fn decode_over(input: &mut &[u8]) -> Option<Over> {
    let (value, rest) = input.split_first_chunk::<8>()?;
    let (&inclusive, rest) = rest.split_first()?;
    *input = rest;
    let limit = Limit { value: f64::from_le_bytes(*value), inclusive: inclusive != 0 };
    Some(Over { limit, tested: read_i64(input)?, over: read_i64(input)?, raw_over: read_i64(input)? })
}

fn decode_cell(input: &mut &[u8]) -> Option<Cell> {
    let head = decode_head(input)?;
    let mut cell = head.cell();
    if head.has_over {
        for _ in 0..read_u64(input)? {
            cell.add_over(decode_over(input)?);
        }
    }
    if head.has_detail {
        cell.sketch = Sketch::decode(input)?;
        cell.users = Users::decode(input)?;
        cell.bad_users = Users::decode(input)?;
    }
    Some(cell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cell(raw: i64, bad: i64, weight: i64, values: &[f64]) -> Cell {
        let mut cell = Cell::default();
        for at in 0..raw {
            cell.counts += Counts::event(weight, at < bad);
            cell.users.add(at as u64);
            if at < bad {
                cell.bad_sq += super::super::cell::square(weight);
                cell.bad_users.add(at as u64);
            }
        }
        let limit = Limit { value: 100.0, inclusive: true };
        for value in values {
            cell.valued += Counts::event(weight, false);
            cell.sum += value;
            cell.sketch.add(*value, weight);
            let over = i64::from(limit.missed_by(*value));
            cell.add_over(Over { limit, tested: weight, over: over * weight, raw_over: over });
        }
        cell
    }

    #[test]
    fn an_update_of_a_value_keeps_its_sum() {
        let update = Cell { sum: -2_000.0, ..Cell::default() };
        let mut bytes = Vec::new();
        pack(&update, &mut bytes);
        assert_eq!(unpack(&mut &bytes[..]).unwrap(), update);
    }

    proptest! {
        #[test]
        fn cells_read_back_and_the_brief_form_agrees(
            rows in prop::collection::vec((0_u32..5, 0_i64..50, 0_i64..20, 1_i64..4, prop::collection::vec(0.0_f64..500.0, 0..4)), 0..20)
        ) {
            let mut cells: Vec<_> = rows.iter().map(|(series, slice, raw, weight, values)| {
                ((SeriesId(*series), *slice), cell(*raw, raw / 2, weight * 700_000, values))
            }).collect();
            cells.sort_by_key(|(key, _)| *key);
            let mut writer = Writer::default();
            for ((series, slice), cell) in &cells {
                writer.push(*series, *slice, cell);
            }
            let bytes = writer.finish();
            let mut got = Vec::new();
            read(&bytes, |_| true, |series, slice, cell| got.push(((series, slice), cell))).unwrap();
            prop_assert_eq!(&got, &cells);
            let limits = [100.0, 50.0].map(|value| Limit { value, inclusive: true });
            let mut runs = Vec::new();
            let brief = |series, slice, b: &Seen<'_>| ((series, slice), b.counts(), limits.map(|l| b.against(l)));
            let take = |series, mut run: Run<'_>| {
                runs.extend(run.by_ref().map(|(slice, b)| brief(series, slice, &b)));
                run.end()
            };
            read_runs(&bytes, take).unwrap();
            let expected: Vec<_> = cells.iter().map(|(key, c)| (*key, c.counts, limits.map(|l| c.against(l)))).collect();
            prop_assert_eq!(runs, expected);
        }

        #[test]
        fn noise_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(first) = bytes.first_mut() { *first = VERSION; }
            let _ = read(&bytes, |_| true, |_, _, _| {});
            let limit = Limit { value: 1.0, inclusive: true };
            let _ = read_runs(&bytes, |_, mut run| {
                run.by_ref().for_each(|(_, b)| { b.against(limit); });
                run.end()
            });
        }
    }

    #[test]
    fn a_plain_minute_costs_few_bytes() {
        let mut writer = Writer::default();
        for slice in 0..60 {
            let cell = Cell { counts: Counts::plain(300, 2), bad_sq: 2 * i128::from(UNIT), ..Cell::default() };
            writer.push(SeriesId(1), 29_000_000 + slice, &cell);
        }
        assert!(writer.finish().len() < 60 * 6);
    }
}
