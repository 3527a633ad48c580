//! What was measured at all: coverage of a stream of events by slice (SEMANTICS 5).
//!
//! A stream is the apps that an SLI can see. A slice is covered when ready-made rows for it came,
//! or when the stream sends beacons, the intake was up, and the slice does not lie in a silent
//! stretch in which at least 20 events were to be expected.

use std::collections::VecDeque;

use super::segment::Slice;

/// A silent stretch in which this many events were to be expected was not measured.
const EXPECTED_MIN: i128 = 20;

/// How much of a window was measured, in slices. Excluded slices are in neither number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    pub covered: u32,
    pub of: u32,
}

impl Coverage {
    /// Whether at least nine tenths were measured, so that the plain comparison decides.
    pub const fn is_enough(self) -> bool {
        self.of > 0 && self.covered as u64 * 10 >= self.of as u64 * 9
    }

    /// The covered fraction, for display.
    pub fn ratio(self) -> f64 {
        if self.of == 0 { 0.0 } else { f64::from(self.covered) / f64::from(self.of) }
    }
}

/// What is known of one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// Beacon events received.
    events: u32,
    /// Ready-made rows came.
    pushed: bool,
    /// The intake was up for at least nine tenths of it.
    up: bool,
}

/// The slices of one stream, as far back as the longest window of a tier.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Slice of `marks[0]`.
    first: Slice,
    marks: VecDeque<Mark>,
    keep: usize,
    /// Closed slices end here.
    next: Slice,
    /// Whether a beacon event was ever seen: only then does "the intake was up" say anything.
    beacons: bool,
    /// How many kept slices differ from "up, with events": zero means that all is covered.
    odd: usize,
}

impl Stream {
    /// A stream of which nothing is known, kept for `keep` slices.
    pub fn new(start: Slice, keep: usize) -> Stream {
        Stream { first: start, marks: VecDeque::new(), keep: keep.max(1), next: start, beacons: false, odd: 0 }
    }

    fn change(&mut self, slice: Slice, change: impl FnOnce(&mut Mark)) {
        if slice < self.first || slice >= self.next + self.keep as i64 {
            return;
        }
        let at = (slice - self.first) as usize;
        while self.marks.len() <= at {
            self.marks.push_back(Mark::default());
            self.odd += 1;
        }
        let mark = &mut self.marks[at];
        self.odd -= usize::from(is_odd(*mark));
        change(mark);
        self.odd += usize::from(is_odd(*mark));
    }

    /// Beacon events arrived in this slice (negative counts take back).
    pub fn add_events(&mut self, slice: Slice, events: i64) {
        self.beacons |= events > 0;
        self.change(slice, |mark| {
            mark.events = (i64::from(mark.events) + events).clamp(0, i64::from(u32::MAX)) as u32;
        });
    }

    /// A ready-made row came for this slice.
    pub fn add_row(&mut self, slice: Slice) {
        self.change(slice, |mark| mark.pushed = true);
    }

    /// Closes the next slice; `up` says whether the intake was up for at least nine tenths of it.
    pub fn close(&mut self, up: bool) {
        let slice = self.next;
        self.change(slice, |mark| mark.up |= up);
        self.next += 1;
        while self.first < self.next - self.keep as i64 {
            if let Some(mark) = self.marks.pop_front() {
                self.odd -= usize::from(is_odd(mark));
            }
            self.first += 1;
        }
    }

    /// Whether anything ever came from this stream.
    pub fn has_data(&self) -> bool {
        self.beacons || self.marks.iter().any(|mark| mark.pushed)
    }

    /// Coverage of the last `long` and the last `short` slices; `excluded` tells which slices are out.
    pub fn coverage(&self, long: i64, short: i64, excluded: Option<&dyn Fn(Slice) -> bool>) -> (Coverage, Coverage) {
        let whole = |of: i64| Coverage { covered: of as u32, of: of as u32 };
        let end = self.next;
        // The common case: every kept slice was up and had events.
        let closed = (end - self.first) as usize;
        if self.odd == 0 && excluded.is_none() && long <= closed as i64 && self.marks.len() >= closed {
            return (whole(long), whole(short));
        }
        let from = end - long;
        let mark = |slice: Slice| match usize::try_from(slice - self.first) {
            Ok(at) => self.marks.get(at).copied().unwrap_or_default(),
            Err(_) => Mark::default(),
        };
        let is_out = |slice: Slice| excluded.is_some_and(|excluded| excluded(slice));
        // What is excluded tells neither how much was to be expected nor that it was missed.
        let (mut events, mut looked_at) = (0_i128, 0_i128);
        for slice in (from..end).filter(|slice| !is_out(*slice)) {
            events += i128::from(mark(slice).events);
            looked_at += 1;
        }
        let (mut in_long, mut in_short) = (Coverage { covered: 0, of: 0 }, Coverage { covered: 0, of: 0 });
        let mut slice = from;
        while slice < end {
            // A stretch of slices with the same silence.
            let silent = mark(slice).events == 0 && !mark(slice).pushed;
            let mut stretch_end = slice + 1;
            while silent && stretch_end < end && mark(stretch_end).events == 0 && !mark(stretch_end).pushed {
                stretch_end += 1;
            }
            let due = || (slice..stretch_end).filter(|at| !is_out(*at)).count() as i128;
            let lost = silent && due() * events >= EXPECTED_MIN * looked_at.max(1);
            for at in slice..stretch_end {
                if is_out(at) {
                    continue;
                }
                let mark = mark(at);
                let covered = mark.pushed || (self.beacons && mark.up && !lost);
                in_long.of += 1;
                in_long.covered += u32::from(covered);
                if at >= end - short {
                    in_short.of += 1;
                    in_short.covered += u32::from(covered);
                }
            }
            slice = stretch_end;
        }
        (in_long, in_short)
    }

    /// Whether one closed slice had anything in it or was measured to have nothing.
    pub fn is_silent(&self, slice: Slice) -> bool {
        usize::try_from(slice - self.first).ok().and_then(|at| self.marks.get(at)).is_none_or(|mark| mark.events == 0 && !mark.pushed)
    }
}

fn is_odd(mark: Mark) -> bool {
    !(mark.pushed || (mark.up && mark.events > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(slices: &[(i64, bool, bool)]) -> Stream {
        let mut stream = Stream::new(0, 10_000);
        for (slice, (events, pushed, up)) in slices.iter().enumerate() {
            if *events > 0 {
                stream.add_events(slice as i64, *events);
            }
            if *pushed {
                stream.add_row(slice as i64);
            }
            stream.close(*up);
        }
        stream
    }

    fn covered(stream: &Stream, long: i64, short: i64) -> (u32, u32) {
        let (a, b) = stream.coverage(long, short, None);
        (a.covered, b.covered)
    }

    #[test]
    fn a_quiet_app_is_measured_while_the_intake_is_up() {
        // One event in ten minutes: a stretch of nine would have had one event.
        let mut slices = vec![(0, false, true); 60];
        (0..60).step_by(10).for_each(|at| slices[at].0 = 1);
        assert_eq!(covered(&stream(&slices), 60, 5), (60, 5));
    }

    #[test]
    fn silence_where_twenty_events_were_due_is_not_measured() {
        let mut slices = vec![(10, false, true); 60];
        slices[55..].iter_mut().for_each(|slice| slice.0 = 0);
        // 550 events in 60 slices: five slices of silence were due 45.8.
        assert_eq!(covered(&stream(&slices), 60, 5), (55, 0));
        slices[56].0 = 1;
        // Now one silent slice (9.2 due) and three (27.6 due).
        assert_eq!(covered(&stream(&slices), 60, 5), (57, 2));
    }

    #[test]
    fn a_dead_intake_is_a_gap_and_rows_count_only_where_they_are() {
        let mut slices = vec![(100, false, true); 60];
        slices[50..60].iter_mut().for_each(|slice| *slice = (0, false, false));
        assert_eq!(covered(&stream(&slices), 60, 5), (50, 0));
        let mut rows = vec![(0, true, true); 60];
        rows[59].1 = false;
        assert_eq!(covered(&stream(&rows), 60, 5), (59, 4));
        assert_eq!(covered(&stream(&rows), 120, 5), (59, 4));
    }

    #[test]
    fn excluded_slices_leave_both_numbers() {
        let stream = stream(&[(5, false, true); 60]);
        let (long, short) = stream.coverage(60, 5, Some(&|slice| slice >= 58));
        assert_eq!((long, short), (Coverage { covered: 58, of: 58 }, Coverage { covered: 3, of: 3 }));
    }

    #[test]
    fn excluded_silence_uncovers_nothing_beside_it() {
        // Data begins in the 55th slice; all before the 50th is excluded. Five silent slices are due 15 at the
        // mean of what is not excluded: too few to be missed, however long the silence lasted before.
        let mut slices = vec![(6, false, true); 60];
        slices[..55].iter_mut().for_each(|slice| slice.0 = 0);
        let quiet = stream(&slices);
        let (long, short) = quiet.coverage(60, 5, Some(&|slice| slice < 50));
        assert_eq!((long, short), (Coverage { covered: 10, of: 10 }, Coverage { covered: 5, of: 5 }));
        // At 100 a slice they are missed, and only they.
        slices[55..].iter_mut().for_each(|slice| slice.0 = 100);
        let (long, _) = stream(&slices).coverage(60, 5, Some(&|slice| slice < 50));
        assert_eq!(long, Coverage { covered: 5, of: 10 });
        let (long, _) = stream(&slices).coverage(60, 5, Some(&|slice| slice < 55));
        assert_eq!(long, Coverage { covered: 5, of: 5 });
        // A whole window of maintenance is neither covered nor not.
        assert_eq!(stream(&slices).coverage(60, 5, Some(&|_| true)).0, Coverage { covered: 0, of: 0 });
    }

    #[test]
    fn traffic_in_excluded_time_lets_nothing_be_expected() {
        // Load tests in maintenance: 1,000 a slice. The quiet rest is due nothing by that.
        let mut slices = vec![(0, false, true); 60];
        slices[..30].iter_mut().for_each(|slice| slice.0 = 1_000);
        slices[30].0 = 1;
        let (long, _) = stream(&slices).coverage(60, 5, Some(&|slice| slice < 30));
        assert_eq!(long, Coverage { covered: 30, of: 30 });
    }

    #[test]
    fn late_data_fills_a_gap() {
        let mut slices = vec![(10, false, true); 60];
        slices[30..40].iter_mut().for_each(|slice| slice.0 = 0);
        let mut stream = stream(&slices);
        assert_eq!(covered(&stream, 60, 5), (50, 5));
        (30..40).for_each(|slice| stream.add_events(slice, 3));
        assert_eq!(covered(&stream, 60, 5), (60, 5));
    }
}
