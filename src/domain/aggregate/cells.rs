//! The cells of the flush to come, side by side, so that taking them away takes no time.

use smallvec::SmallVec;

use super::LocalSeries;
use crate::domain::cell::{Cell, Counts, UNIT};
use crate::domain::segment::Slice;

/// Where the cells of one series are.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Nearly always the newest one or two slices.
    at: SmallVec<[(Slice, u32); 1]>,
    /// Among those of the flush of this number.
    flush: u32,
}

/// A cell in the making. A flood makes many that hold next to nothing.
#[derive(Debug)]
pub(super) enum Kept {
    /// Events that weigh one, without values and users, and bad ones among them.
    Plain {
        raw: u32,
        bad: u32,
    },
    Whole(Box<Cell>),
}

impl Kept {
    /// Counts one that weighs one, without value and user. `false`: it has to be counted in [`Kept::whole`].
    pub fn count_plain(&mut self, is_bad: bool) -> bool {
        match self {
            Kept::Plain { raw, bad } if *raw < u32::MAX => {
                *raw += 1;
                *bad += u32::from(is_bad);
                true
            }
            Kept::Plain { .. } | Kept::Whole(_) => false,
        }
    }

    /// All of it, to be changed.
    pub fn whole(&mut self) -> &mut Cell {
        if let Kept::Plain { raw, bad } = *self {
            *self = Kept::Whole(Box::new(plain(raw, bad)));
        }
        match self {
            Kept::Whole(cell) => cell,
            Kept::Plain { .. } => unreachable!("it was just made whole"),
        }
    }

    /// All of it.
    pub fn into_cell(self) -> Cell {
        match self {
            Kept::Plain { raw, bad } => plain(raw, bad),
            Kept::Whole(cell) => *cell,
        }
    }
}

fn plain(raw: u32, bad: u32) -> Cell {
    let bad = i64::from(bad);
    Cell { counts: Counts::plain(i64::from(raw), bad), bad_sq: i128::from(bad) * i128::from(UNIT), ..Cell::default() }
}

#[derive(Debug, Default)]
pub(super) struct Cells {
    all: Vec<(LocalSeries, Slice, Kept)>,
    /// Number of the flush to come.
    flush: u32,
}

impl Cells {
    /// The cell of a slice, made if there is none.
    pub fn of(&mut self, places: &mut Places, series: u32, slice: Slice) -> &mut Kept {
        if places.flush != self.flush {
            places.flush = self.flush;
            places.at.clear();
        }
        let known = places.at.iter().rev().find(|(have, _)| *have == slice);
        let at = known.map(|(_, at)| *at as usize).unwrap_or_else(|| {
            places.at.push((slice, self.all.len() as u32));
            self.all.push((LocalSeries(series), slice, Kept::Plain { raw: 0, bad: 0 }));
            self.all.len() - 1
        });
        &mut self.all[at].2
    }

    /// Whether there are any.
    pub fn has(&self, places: &Places) -> bool {
        places.flush == self.flush && !places.at.is_empty()
    }

    /// Takes all of them.
    pub fn take(&mut self) -> Vec<(LocalSeries, Slice, Kept)> {
        self.flush = self.flush.wrapping_add(1);
        // The next flush will have about as many.
        let room = Vec::with_capacity(self.all.len());
        std::mem::replace(&mut self.all, room)
    }
}
