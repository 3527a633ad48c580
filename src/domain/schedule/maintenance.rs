//! When planned work takes place.

use super::{BadSchedule, Cron};
use crate::domain::rule::{Maintenance, MaintenanceTimes};
use crate::domain::time::{Span, Timestamp};

/// The times of one maintenance declaration, read once and asked often.
#[derive(Clone, Debug)]
pub enum Windows {
    Once { starts: Timestamp, ends: Timestamp },
    Cron { cron: Box<Cron>, lasts: Span },
}

impl Windows {
    /// Reads the cron line, if it is one.
    pub fn new(times: &MaintenanceTimes) -> Result<Windows, BadSchedule> {
        match times {
            MaintenanceTimes::Once { starts, ends } => Ok(Windows::Once { starts: *starts, ends: *ends }),
            MaintenanceTimes::Cron { line, lasts, timezone } => {
                Cron::new(line, timezone).map(|cron| Windows::Cron { cron: Box::new(cron), lasts: *lasts })
            }
        }
    }

    /// Whether maintenance is on at `t`.
    pub fn active(&self, t: Timestamp) -> bool {
        match self {
            Windows::Once { starts, ends } => *starts <= t && t < *ends,
            Windows::Cron { cron, lasts } => !cron.between(t - *lasts, t).is_empty(),
        }
    }

    /// The parts of `[from, to)` in which it is on: ascending, half-open, none touching the next.
    pub fn intervals(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let found = match self {
            Windows::Once { starts, ends } => vec![(*starts, *ends)],
            Windows::Cron { cron, lasts } => cron.between(from - *lasts, to).into_iter().map(|start| (start, start + *lasts)).collect(),
        };
        union(found.into_iter().map(|(start, end)| (start.max(from), end.min(to))).collect())
    }
}

impl Maintenance {
    /// Whether it is on at `t`. Where it is asked often, keep its [`Windows`].
    pub fn active(&self, t: Timestamp) -> bool {
        Windows::new(&self.times).is_ok_and(|windows| windows.active(t))
    }

    /// The parts of `[from, to)` in which it is on.
    pub fn intervals(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        Windows::new(&self.times).map_or_else(|_| Vec::new(), |windows| windows.intervals(from, to))
    }
}

/// The union of half-open intervals, ascending; empty ones vanish, touching ones become one (SEMANTICS 15).
pub fn union(mut intervals: Vec<(Timestamp, Timestamp)>) -> Vec<(Timestamp, Timestamp)> {
    intervals.retain(|(start, end)| start < end);
    intervals.sort();
    let mut joined: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(intervals.len());
    for (start, end) in intervals {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}
