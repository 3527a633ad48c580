//! The cells of one series without their distributions, unpacked as they are asked for: enough for every window.

use super::super::cell::{Cell, Counts, Limit};
use super::super::series::SeriesId;
use super::super::sketch::Sketch;
use super::super::varint::{read_i64, read_u64};
use super::{Damaged, PLAIN, PUSHED, Slice, decode_head, decode_over, read_series, skip_detail};

/// What a cell says apart from its distributions.
#[derive(Clone, Copy, Debug)]
pub struct Brief<'a> {
    pub counts: Counts,
    /// As [`Cell::pushed`].
    pub pushed: bool,
    cell: &'a [u8],
}

impl Brief<'_> {
    /// The counts of `within(limit)`; unpacks the sketch only when the limit was not counted exactly.
    pub fn against(&self, limit: Limit) -> Counts {
        self.measure(limit).unwrap_or(Counts::ZERO)
    }

    fn measure(&self, limit: Limit) -> Option<Counts> {
        let mut input = self.cell;
        let head = decode_head(&mut input)?;
        let mut cell = Cell { valued: head.valued, ..Cell::default() };
        if head.has_over {
            for _ in 0..read_u64(&mut input)? {
                let over = decode_over(&mut input)?;
                if over.limit == limit {
                    cell.add_over(over);
                }
            }
        }
        let exact = cell.over.first().is_some_and(|over| over.tested == cell.valued.total);
        if head.has_detail && !exact && cell.valued.total != 0 {
            cell.sketch = Sketch::decode(&mut input)?;
        }
        Some(cell.against(limit))
    }
}

/// A cell as a run gives it. What nearly all of them are comes as small numbers, which costs a fraction of the rest.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// Events that weigh one, and nothing else.
    Plain {
        raw: u32,
        raw_bad: u32,
        /// As [`Cell::pushed`].
        pushed: bool,
    },
    Brief(Brief<'a>),
}

impl Seen<'_> {
    /// All that was counted.
    pub fn counts(&self) -> Counts {
        match self {
            Seen::Plain { raw, raw_bad, .. } => Counts::plain(i64::from(*raw), i64::from(*raw_bad)),
            Seen::Brief(brief) => brief.counts,
        }
    }

    /// As [`Brief::against`]: what has no values has nothing to hold against a limit.
    pub fn against(&self, limit: Limit) -> Counts {
        match self {
            Seen::Plain { .. } => Counts::ZERO,
            Seen::Brief(brief) => brief.against(limit),
        }
    }
}

/// The cells of one series in the order of time. What is damaged ends it early: ask [`Run::end`] afterwards.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    input: &'a [u8],
    left: u64,
    slice: Slice,
    from: Slice,
    to: Slice,
    damaged: bool,
}

impl<'a> Run<'a> {
    /// Only the cells of the slices in `[from, to)`.
    pub fn between(self, from: Slice, to: Slice) -> Run<'a> {
        Run { from: from.max(self.from), to: to.min(self.to), ..self }
    }

    #[inline(always)]
    fn read(&mut self) -> Option<(Slice, Seen<'a>)> {
        let slice = self.slice.checked_add(read_i64(&mut self.input)?)?;
        let seen = match plain(&mut self.input) {
            Some(seen) => seen,
            None => Seen::Brief(unpack_brief(&mut self.input)?),
        };
        Some((slice, seen))
    }

    /// Whether all that was read could be read.
    pub fn end(&self) -> Result<(), Damaged> {
        if self.damaged { Err(Damaged) } else { Ok(()) }
    }
}

impl<'a> Iterator for Run<'a> {
    type Item = (Slice, Seen<'a>);

    #[inline(always)]
    fn next(&mut self) -> Option<(Slice, Seen<'a>)> {
        while self.left > 0 {
            self.left -= 1;
            let Some((slice, seen)) = self.read() else {
                (self.left, self.damaged) = (0, true);
                return None;
            };
            self.slice = slice;
            if slice >= self.to {
                self.left = 0;
            } else if slice >= self.from {
                return Some((slice, seen));
            }
        }
        None
    }
}

/// Calls `visit` with every series of a packed segment; ends with the first that cannot be read.
pub fn read_runs<'a>(bytes: &'a [u8], mut visit: impl FnMut(SeriesId, Run<'a>) -> Result<(), Damaged>) -> Result<(), Damaged> {
    read_series(bytes, |series, count, cells| {
        let run = Run { input: cells, left: count, slice: 0, from: Slice::MIN, to: Slice::MAX, damaged: false };
        visit(series, run).ok()
    })
}

/// Like [`super::unpack`], without unpacking anything but the counts.
#[inline]
pub fn unpack_brief<'a>(input: &mut &'a [u8]) -> Option<Brief<'a>> {
    let cell = *input;
    let head = decode_head(input)?;
    if head.has_over {
        for _ in 0..read_u64(input)? {
            decode_over(input)?;
        }
    }
    if head.has_detail {
        skip_detail(input)?;
    }
    Some(Brief { counts: head.counts, pushed: head.pushed, cell: &cell[..cell.len() - input.len()] })
}

/// A cell of nothing but events that weigh one; `None`, and `input` as it was, if this one is another.
#[inline(always)]
fn plain<'a>(input: &mut &'a [u8]) -> Option<Seen<'a>> {
    let (&flags, mut rest) = input.split_first()?;
    if flags & !PUSHED != PLAIN {
        return None;
    }
    let raw = u32::try_from(read_i64(&mut rest)?).ok()?;
    let raw_bad = u32::try_from(read_i64(&mut rest)?).ok()?;
    *input = rest;
    Some(Seen::Plain { raw, raw_bad, pushed: flags & PUSHED != 0 })
}
