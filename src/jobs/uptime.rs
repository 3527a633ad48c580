//! When the intake was up: the lives of all writers as a union of intervals.

use crate::domain::schedule::union;
use crate::domain::time::{Span, Timestamp};
use crate::store::writer::WriterRow;

/// Half-open intervals in which some intake was up, ascending.
#[derive(Clone, Debug, Default)]
pub struct Uptime(Vec<(Timestamp, Timestamp)>);

impl Uptime {
    /// From the stored lives. A flush is a second long, so an up-to-date life is taken to reach `slack` further.
    pub fn new(writers: &[WriterRow], slack: Span) -> Uptime {
        let lives = writers.iter().filter(|row| row.kind == "intake");
        Uptime(union(lives.map(|row| (row.started_at, row.flushed_to + if row.live == 1 { slack } else { Span::ZERO })).collect()))
    }

    /// Whether the intake was up for at least nine tenths of `[from, from + length)`.
    pub fn covers(&self, from: Timestamp, length: Span) -> bool {
        let end = from + length;
        let first = self.0.partition_point(|(_, to)| *to <= from);
        let mut up = 0;
        for (start, stop) in self.0[first..].iter().take_while(|(start, _)| *start < end) {
            up += ((*stop).min(end) - (*start).max(from)).0;
        }
        up * 10 >= length.0 * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_restart_does_not_uncover_a_minute_and_a_long_one_does() {
        let minute = Span::MINUTE;
        let up = |gap: i64| Uptime(vec![(Timestamp(0), Timestamp(90_000)), (Timestamp(90_000 + gap), Timestamp(300_000))]);
        assert!(up(6_000).covers(Timestamp(60_000), minute));
        assert!(!up(6_001).covers(Timestamp(60_000), minute));
        assert!(up(6_001).covers(Timestamp(0), minute));
        assert!(!up(0).covers(Timestamp(300_000), minute));
    }
}
