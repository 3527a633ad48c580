//! Stored history as decisions see it: cells by series and slice, and what changed when.
//!
//! Explanations, free-form rules and `POST /v1/query` all read through [`Archive`]; the daemon answers
//! from its database, `backtest` and `test` from a [`MemoryArchive`].

mod memory;

use std::sync::{PoisonError, RwLock};

use super::cell::Cell;
use super::filter::{Filter, Match};
use super::metric::Metric;
use super::notification::Change;
use super::series::Series;
use super::time::{Span, Timestamp};

pub use memory::{MemoryArchive, Place};

/// Lengths of the slices that history is rolled up to, coarsest first.
pub const ROLLUPS: [Span; 2] = [Span::HOUR, Span::minutes(5)];

/// Which cells are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub metric: &'a Metric,
    pub filter: &'a Filter,
    /// Slices that start in `[from, to)`.
    pub from: Timestamp,
    pub to: Timestamp,
    /// The coarsest length of a slice that will do; where only coarser history is left, that.
    pub step: Span,
    /// Whether anybody looks at distributions and users. If not, an archive may leave them out.
    pub detail: bool,
}

/// History that can be asked. Everything that it gives is what was known at the time of asking.
pub trait Archive: Send + Sync {
    /// Calls `visit` with every cell of the slices that start in `[from, to)`: the series, the start of the
    /// slice, and the cell. Parts of one slice may come several times, and add up.
    fn cells(&self, ask: &Ask<'_>, visit: &mut dyn FnMut(&Series, Timestamp, &Cell)) -> Result<(), String>;

    /// Whether anything at all came from these apps (`None`: any app) in slices that start in `[from, to)`:
    /// then what has no cell there is a measured zero.
    fn measured(&self, apps: Option<&Match>, from: Timestamp, to: Timestamp) -> Result<bool, String>;

    /// Example traces of bad events of the series that a question selects, the newest first, each with its series.
    /// An archive that keeps none has none.
    fn traces(&self, ask: &Ask<'_>) -> Result<Vec<(Series, String)>, String>;

    /// Annotations with `from <= at < to`, oldest first; `app` narrows to one app.
    fn changes(&self, from: Timestamp, to: Timestamp, app: Option<&str>) -> Result<Vec<Change>, String>;
}

/// An archive that grows between questions.
impl<A: Archive> Archive for RwLock<A> {
    fn cells(&self, ask: &Ask<'_>, visit: &mut dyn FnMut(&Series, Timestamp, &Cell)) -> Result<(), String> {
        self.read().unwrap_or_else(PoisonError::into_inner).cells(ask, visit)
    }

    fn measured(&self, apps: Option<&Match>, from: Timestamp, to: Timestamp) -> Result<bool, String> {
        self.read().unwrap_or_else(PoisonError::into_inner).measured(apps, from, to)
    }

    fn traces(&self, ask: &Ask<'_>) -> Result<Vec<(Series, String)>, String> {
        self.read().unwrap_or_else(PoisonError::into_inner).traces(ask)
    }

    fn changes(&self, from: Timestamp, to: Timestamp, app: Option<&str>) -> Result<Vec<Change>, String> {
        self.read().unwrap_or_else(PoisonError::into_inner).changes(from, to, app)
    }
}

/// Reads `[from, to)` in as few cells as possible: rollups where they lie inside, fine slices at the edges.
pub fn read_span(archive: &dyn Archive, ask: &Ask<'_>, visit: &mut dyn FnMut(&Series, Timestamp, &Cell)) -> Result<(), String> {
    for (from, to, step) in pieces(ask.from, ask.to, ask.step) {
        archive.cells(&Ask { from, to, step, ..*ask }, visit)?;
    }
    Ok(())
}

/// Cuts a span at the boundaries of rollups: fine, five minutes, hours, five minutes, fine.
fn pieces(from: Timestamp, to: Timestamp, bucket: Span) -> Vec<(Timestamp, Timestamp, Span)> {
    let mut middle = Vec::new();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let (mut from, mut to) = (from, to);
    let finer: Vec<Span> = ROLLUPS.into_iter().rev().filter(|step| step.0 % bucket.0 == 0 && *step > bucket).collect();
    let mut step = bucket;
    for coarse in finer {
        let (start, end) = (from.ceil(coarse), to.floor(coarse));
        if start >= end {
            break;
        }
        left.push((from, start, step));
        right.push((end, to, step));
        (from, to, step) = (start, end, coarse);
    }
    middle.push((from, to, step));
    left.into_iter().chain(middle).chain(right.into_iter().rev()).filter(|(from, to, _)| from < to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_cut_at_rollups_without_gap_or_overlap() {
        let at = |hour: i64, minute: i64| Timestamp((hour * 60 + minute) * 60_000);
        let cut: Vec<_> = pieces(at(1, 58), at(4, 7), Span::MINUTE);
        let expected = [
            (at(1, 58), at(2, 0), Span::MINUTE),
            (at(2, 0), at(4, 0), Span::HOUR),
            (at(4, 0), at(4, 5), Span::minutes(5)),
            (at(4, 5), at(4, 7), Span::MINUTE),
        ];
        assert_eq!(cut, expected);
        assert_eq!(pieces(at(1, 1), at(1, 4), Span::MINUTE), [(at(1, 1), at(1, 4), Span::MINUTE)]);
        assert_eq!(pieces(at(1, 1), at(1, 1), Span::MINUTE), []);
        for (from, to) in [(0, 1), (3, 61), (59, 61), (0, 600), (7, 533), (299, 301)] {
            let cut = pieces(at(0, from), at(0, to), Span::MINUTE);
            assert_eq!((cut[0].0, cut[cut.len() - 1].1), (at(0, from), at(0, to)));
            assert!(cut.windows(2).all(|pair| pair[0].1 == pair[1].0), "{cut:?}");
        }
    }
}
