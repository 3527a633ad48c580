//! Rolling windows of one SLI and group: running sums that follow what arrives and what leaves.
//!
//! The heart of the product. The work of an evaluation is proportional to the slices that closed,
//! never to the length of a window. Windows of up to seven days are exact to the slice at both
//! edges; longer ones are exact at the near edge and their far edge moves in steps of at most
//! 1/720 of their length (SEMANTICS 12). Late data is merged into its own slice.

use super::cell::{Counts, UNIT};
use super::history::{Cursor, Entry, History};
use super::rule::EmptySlice;
use super::segment::Slice;
use super::time::Span;

mod ahead;

use ahead::Ahead;

/// Windows up to this length are exact to the slice at both edges.
pub const EXACT_MAX: Span = Span::days(7);
/// How many slices ahead of the clock are held; intake refuses what lies in the future.
const AHEAD_MAX: usize = 4096;
/// The far edge of a longer window moves in steps of at most this share of its length.
const STEPS: i64 = 720;

/// Which windows are kept, in slices: shared by all groups of an SLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Length of a slice: the bucket, or the slice of a time-slice SLI.
    pub slice: Span,
    /// Distinct lengths of windows that are exact, in slices, ascending.
    pub exact: Vec<i64>,
    /// The budget's window.
    pub budget: Budget,
    /// For time-slice SLIs: how a slice's counts become one good or bad slice.
    pub target: Option<Target>,
}

/// How far back the budget is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// One of the exact windows, by its index.
    Exact(usize),
    /// A long rolling window: its length and the step of its far edge, in slices.
    Long { length: i64, step: i64 },
    /// From a start that the caller names at each advance (a calendar period).
    Since,
}

/// When a time slice is good (SEMANTICS 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Least share of good events, in parts per million.
    pub ppm: u32,
    pub empty: EmptySlice,
}

impl Target {
    fn judge(self, counts: Counts) -> Counts {
        if counts.total <= 0 {
            return match self.empty {
                EmptySlice::Skip => Counts::ZERO,
                EmptySlice::Good => Counts::plain(1, 0),
                EmptySlice::Bad => Counts::plain(1, 1),
            };
        }
        let good = i128::from(counts.total) - i128::from(counts.bad.clamp(0, counts.total));
        let met = good * 1_000_000 >= i128::from(self.ppm) * i128::from(counts.total);
        Counts::plain(1, i64::from(!met))
    }
}

impl Shape {
    /// The shape for a set of tier windows and a budget window (`None`: a calendar period).
    ///
    /// A window longer than [`EXACT_MAX`] that is not the budget's is kept exactly all the same:
    /// tiers decide pages.
    pub fn new(slice: Span, tiers: impl IntoIterator<Item = Span>, budget: Option<Span>, target: Option<Target>) -> Shape {
        let slices = |span: Span| (span.0 / slice.0).max(1);
        let mut exact: Vec<i64> = tiers.into_iter().map(slices).collect();
        let budget = match budget {
            Some(span) if span <= EXACT_MAX || exact.contains(&slices(span)) => {
                exact.push(slices(span));
                Some(Err(slices(span)))
            }
            Some(span) => Some(Ok(Budget::Long { length: slices(span), step: far_step(span, slice) })),
            None => None,
        };
        exact.sort_unstable();
        exact.dedup();
        let budget = match budget {
            Some(Ok(long)) => long,
            Some(Err(length)) => Budget::Exact(exact.binary_search(&length).expect("just pushed")),
            None => Budget::Since,
        };
        Shape { slice, exact, budget, target }
    }

    /// Index of an exact window of this length.
    pub fn index(&self, span: Span) -> Option<usize> {
        self.exact.binary_search(&(span.0 / self.slice.0).max(1)).ok()
    }

    /// How many slices must be kept one by one.
    pub fn fine_slices(&self) -> i64 {
        self.exact.last().copied().unwrap_or(1)
    }
}

/// The largest step of the far edge, in slices, that is a whole divisor-friendly time and at most
/// 1/720 of the window: an hour for 30 days.
fn far_step(window: Span, slice: Span) -> i64 {
    let most = window.0 / STEPS;
    let friendly = [1, 5, 10, 15, 20, 30, 60, 120, 180, 360, 720, 1440].map(|minutes| minutes * 60_000);
    let step = friendly.into_iter().rev().find(|step| *step <= most && step % slice.0 == 0).unwrap_or(slice.0);
    step / slice.0
}

#[derive(Clone, Debug)]
struct Sum {
    counts: Counts,
    excluded: u32,
    /// The first slice inside the window; while windows are aimed, known from when that slice closes.
    far: Cursor,
}

/// The windows of one SLI and group.
#[derive(Clone, Debug)]
pub struct Rolling {
    fine: History,
    sums: Box<[Sum]>,
    budget: BudgetSum,
    ahead: Ahead,
    /// Whether anything was ever counted.
    used: bool,
    asleep: bool,
    /// While history is read: the slice before which the windows will end, and of which the sums are already.
    aim: Option<Slice>,
}

#[derive(Clone, Debug)]
enum BudgetSum {
    Exact(usize),
    Long(Box<Long>),
    Since { start: Slice, counts: Counts },
}

#[derive(Clone, Debug)]
struct Long {
    counts: Counts,
    /// Sums of whole steps.
    steps: History,
    far: Cursor,
    /// The step that is being filled.
    current: Counts,
    /// While old history is read: the steps from the next one on.
    old: Ahead,
}

impl Long {
    /// Makes `step` the one that is being filled, where it is not yet.
    fn move_to(&mut self, step: Slice) {
        while self.steps.next() < step {
            self.steps.push(Entry::Counted(std::mem::take(&mut self.current)));
        }
    }
}

impl Rolling {
    /// Empty windows whose first slice is `start`. Before it there may be older history, back to
    /// `past`, of which only sums are known: [`Rolling::add_old`] takes them, oldest first.
    pub fn new(shape: &Shape, start: Slice, past: Slice) -> Rolling {
        let past = past.min(start);
        let fine = History::new(start);
        let far = fine.cursor(start);
        let sums = shape.exact.iter().map(|_| Sum { counts: Counts::ZERO, excluded: 0, far }).collect();
        let budget = match shape.budget {
            Budget::Exact(index) => BudgetSum::Exact(index),
            Budget::Long { step, .. } => {
                let steps = History::new(past.div_euclid(step));
                let far = steps.cursor(past.div_euclid(step));
                BudgetSum::Long(Box::new(Long { counts: Counts::ZERO, steps, far, current: Counts::ZERO, old: Ahead::default() }))
            }
            Budget::Since => BudgetSum::Since { start: past, counts: Counts::ZERO },
        };
        Rolling { fine, sums, budget, ahead: Ahead::default(), used: false, asleep: false, aim: None }
    }

    /// Says that nobody looks at the sums before the slices before `aim` are closed: until then only what lies in those
    /// windows is summed, and nothing leaves them. Right after [`Rolling::new`].
    pub fn aim_at(&mut self, aim: Slice) {
        self.aim = Some(aim).filter(|aim| *aim > self.next());
    }

    /// The first slice that has not closed.
    pub fn next(&self) -> Slice {
        self.fine.next()
    }

    /// Whether nothing was ever counted.
    pub fn is_unused(&self) -> bool {
        !self.used
    }

    /// Windows that stand at no place in time yet: an SLI without events costs nothing.
    pub fn asleep(shape: &Shape) -> Rolling {
        Rolling { asleep: true, ..Rolling::new(shape, 0, 0) }
    }

    /// Whether these windows wait for their first event.
    pub fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// Adds counts to a slice, closed or not. Closed slices older than what is kept one by one
    /// still reach the budget.
    pub fn add(&mut self, shape: &Shape, slice: Slice, counts: Counts) {
        self.used = true;
        if slice >= self.next() {
            let at = (slice - self.next()) as usize;
            if at < AHEAD_MAX {
                self.ahead.add(at, counts);
            }
            return;
        }
        let delta = match self.fine.get(slice) {
            Some(Entry::Excluded) => return,
            Some(Entry::Counted(old)) => {
                let mut new = old;
                new += counts;
                self.fine.set(slice, Entry::Counted(new), self.sums.iter_mut().map(|sum| &mut sum.far));
                let mut delta = weigh(shape, new);
                delta -= weigh(shape, old);
                delta
            }
            // Too old to be known slice by slice: a time slice can no longer be judged.
            None if shape.target.is_some() => return,
            None => counts,
        };
        for (sum, length) in self.sums.iter_mut().zip(&shape.exact) {
            let from = self.aim.map_or(Slice::MIN, |aim| aim - length);
            if slice >= sum.far.slice().max(from) {
                sum.counts += delta;
            }
        }
        self.add_to_budget(shape, slice, delta);
    }

    /// The same for events that weigh one, in a slice that has not closed; `false`, and nothing is added, where that is not so.
    #[inline]
    pub fn add_plain(&mut self, slice: Slice, raw: u32, bad: u32) -> bool {
        let at = slice - self.next();
        self.used = true;
        (0..AHEAD_MAX as i64).contains(&at) && self.ahead.add_plain(at as usize, raw, bad)
    }

    fn add_to_budget(&mut self, shape: &Shape, slice: Slice, delta: Counts) {
        match &mut self.budget {
            BudgetSum::Exact(_) => {}
            BudgetSum::Since { start, counts } => {
                if slice >= *start {
                    *counts += delta;
                }
            }
            BudgetSum::Long(long) => {
                let Budget::Long { step, .. } = shape.budget else { unreachable!("made from this shape") };
                let number = slice.div_euclid(step);
                if number < long.far.slice() {
                    return;
                }
                long.counts += delta;
                if number >= long.steps.next() {
                    long.current += delta;
                } else if let Some(Entry::Counted(mut counts)) = long.steps.get(number) {
                    counts += delta;
                    long.steps.set(number, Entry::Counted(counts), std::iter::once(&mut long.far));
                }
            }
        }
    }

    /// Adds old history that only the budget still holds: how a start reads a month without its
    /// minutes. In any order; `slice` is any slice of what the counts cover.
    pub fn add_old(&mut self, shape: &Shape, slice: Slice, counts: Counts) {
        self.used = true;
        if let (BudgetSum::Long(long), Budget::Long { step, .. }) = (&mut self.budget, shape.budget) {
            let at = slice.div_euclid(step) - long.steps.next();
            if (0..AHEAD_MAX as i64).contains(&at) {
                long.old.add(at as usize, counts);
                long.counts += counts;
            }
        } else {
            self.add_to_budget(shape, slice, counts);
        }
    }

    /// Ends the reading of old history: what follows are slices, one by one.
    pub fn end_of_past(&mut self, shape: &Shape) {
        let next = self.next();
        if let (BudgetSum::Long(long), Budget::Long { step, .. }) = (&mut self.budget, shape.budget) {
            let mut old = std::mem::take(&mut long.old);
            while long.steps.next() < next.div_euclid(step) {
                long.steps.push(Entry::Counted(old.pop()));
            }
            long.current += old.pop();
        }
    }

    /// Closes the slice [`Rolling::next`]. `since` is the first slice of the calendar period that
    /// the evaluation after this slice belongs to; `excluded` takes the slice out.
    pub fn close(&mut self, shape: &Shape, excluded: bool, since: Option<Slice>) {
        let slice = self.next();
        self.reach_far_edges(shape);
        let counts = self.ahead.pop();
        self.fine.push(if excluded { Entry::Excluded } else { Entry::Counted(counts) });
        let counts = if excluded { Counts::ZERO } else { weigh(shape, counts) };
        self.close_budget(shape, slice, counts, since);
        self.sum_up(shape, slice, counts, excluded);
        if self.next().rem_euclid(64) == 0 {
            self.fine.forget_before(self.next() - shape.fine_slices());
        }
    }

    /// Closes every slice before `to`, none of which is excluded; the budget is no calendar period's. What is aimed is
    /// summed in as few steps as edges of windows and of the budget allow.
    pub fn close_run(&mut self, shape: &Shape, to: Slice) {
        let step = match shape.budget {
            Budget::Long { step, .. } => step,
            Budget::Exact(_) | Budget::Since => i64::MAX,
        };
        while self.next() < to {
            let Some(aim) = self.aim else {
                self.close(shape, false, None);
                continue;
            };
            self.reach_far_edges(shape);
            let next = self.next();
            let edge = shape.exact.iter().map(|length| aim - length).filter(|far| *far > next).min();
            let end = to.min(aim).min((next.div_euclid(step) + 1).saturating_mul(step)).min(edge.unwrap_or(to));
            let sum = self.push_run(shape, end);
            self.close_budget(shape, end - 1, sum, None);
            self.sum_up(shape, next, sum, false);
        }
        self.fine.forget_before(to - shape.fine_slices());
    }

    /// Moves the slices before `end` into the history; gives what they count.
    fn push_run(&mut self, shape: &Shape, end: Slice) -> Counts {
        if self.ahead.is_plain() && shape.target.is_none() {
            let (mut raw, mut bad) = (0, 0);
            while self.next() < end {
                let counts = self.ahead.pop_plain();
                self.fine.push_plain(counts.0, counts.1);
                (raw, bad) = (raw + i64::from(counts.0), bad + i64::from(counts.1));
            }
            return Counts::plain(raw, bad);
        }
        let mut sum = Counts::ZERO;
        while self.next() < end {
            let counts = self.ahead.pop();
            self.fine.push(Entry::Counted(counts));
            sum += weigh(shape, counts);
        }
        sum
    }

    /// Notes the far edges that lie at the next slice, while windows are aimed.
    fn reach_far_edges(&mut self, shape: &Shape) {
        let Some(aim) = self.aim else { return };
        let next = self.fine.end();
        for (sum, length) in self.sums.iter_mut().zip(&shape.exact) {
            if aim - length == next.slice() {
                sum.far = next;
            }
        }
    }

    /// Adds what closed from `first` on, which lies in a window as a whole or not at all, and takes out what left.
    fn sum_up(&mut self, shape: &Shape, first: Slice, counts: Counts, excluded: bool) {
        let next = self.next();
        if let Some(aim) = self.aim {
            for (sum, _) in self.sums.iter_mut().zip(&shape.exact).filter(|(_, length)| first >= aim - **length) {
                sum.counts += counts;
                sum.excluded += u32::from(excluded);
            }
            if next == aim {
                self.aim = None;
                self.ahead.shrink();
            }
            return;
        }
        for (sum, length) in self.sums.iter_mut().zip(&shape.exact) {
            sum.counts += counts;
            sum.excluded += u32::from(excluded);
            while sum.far.slice() < next - length {
                match self.fine.read(&mut sum.far) {
                    Entry::Counted(left) => sum.counts -= weigh(shape, left),
                    Entry::Excluded => sum.excluded -= 1,
                }
            }
        }
    }

    fn close_budget(&mut self, shape: &Shape, slice: Slice, counts: Counts, since: Option<Slice>) {
        match &mut self.budget {
            BudgetSum::Exact(_) => {}
            BudgetSum::Since { start, counts: sum } => {
                let since = since.unwrap_or(*start);
                if since > *start {
                    *start = since;
                    *sum = Counts::ZERO;
                }
                if slice >= *start {
                    *sum += counts;
                }
            }
            BudgetSum::Long(long) => {
                let Budget::Long { length, step } = shape.budget else { unreachable!("made from this shape") };
                // Windows that were woken late stand at a step long past: what closes now is not of that step.
                long.move_to(slice.div_euclid(step));
                long.counts += counts;
                long.current += counts;
                let next = slice + 1;
                long.move_to(next.div_euclid(step));
                // A step leaves when all of it is older than the window.
                while (long.far.slice() + 1) * step <= next - length && long.far.slice() < long.steps.next() {
                    if let Entry::Counted(left) = long.steps.read(&mut long.far) {
                        long.counts -= left;
                    }
                }
                long.steps.forget_before(long.far.slice());
            }
        }
    }

    /// The sums of an exact window, by its index in the shape.
    pub fn sum(&self, index: usize) -> Counts {
        debug_assert!(self.aim.is_none(), "history is still being read");
        self.sums[index].counts
    }

    /// How many slices of an exact window are excluded.
    pub fn excluded(&self, index: usize) -> u32 {
        self.sums[index].excluded
    }

    /// The sums of the budget's window.
    pub fn budget(&self) -> Counts {
        match &self.budget {
            BudgetSum::Exact(index) => self.sum(*index),
            BudgetSum::Long(long) => long.counts,
            BudgetSum::Since { counts, .. } => *counts,
        }
    }

    /// Bytes of memory, the value itself included.
    pub fn bytes(&self) -> usize {
        let budget = match &self.budget {
            BudgetSum::Long(long) => size_of::<Long>() + long.steps.heap_bytes(),
            BudgetSum::Exact(_) | BudgetSum::Since { .. } => 0,
        };
        size_of::<Rolling>() + self.fine.heap_bytes() + self.sums.len() * size_of::<Sum>() + self.ahead.heap_bytes() + budget
    }

    /// What is remembered of one closed slice: for charts and for finding where a burn began.
    pub fn slice_counts(&self, slice: Slice) -> Option<Counts> {
        match self.fine.get(slice)? {
            Entry::Counted(counts) => Some(counts),
            Entry::Excluded => None,
        }
    }

    /// The sums of the closed slices from `from` on, as windows count them; `None` if not all of them are remembered.
    pub fn since(&self, shape: &Shape, from: Slice) -> Option<Counts> {
        if from < self.first_slice() {
            return None;
        }
        let mut sum = Counts::ZERO;
        for slice in from..self.next() {
            if let Some(Entry::Counted(counts)) = self.fine.get(slice) {
                sum += weigh(shape, counts);
            }
        }
        Some(sum)
    }

    /// Whether a remembered slice is taken out.
    pub fn is_excluded(&self, slice: Slice) -> bool {
        self.fine.get(slice) == Some(Entry::Excluded)
    }

    /// The first slice that is remembered one by one.
    pub fn first_slice(&self) -> Slice {
        self.fine.first()
    }
}

fn weigh(shape: &Shape, counts: Counts) -> Counts {
    match shape.target {
        None => counts,
        Some(target) => target.judge(counts),
    }
}

/// Events in whole numbers, from millionths, for display.
pub fn events(weight: i64) -> f64 {
    weight as f64 / UNIT as f64
}

#[cfg(test)]
mod tests;
