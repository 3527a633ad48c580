//! Rolling windows of one SLI and group: running sums that follow what arrives and what leaves.
//!
//! The heart of the product. The work of an evaluation is proportional to the slices that closed,
//! never to the length of a window. Windows of up to seven days are exact to the slice at both
//! edges; longer ones are exact at the near edge and their far edge moves in steps of at most
//! 1/720 of their length (SEMANTICS 12). Late data is merged into its own slice.

use std::collections::VecDeque;

use super::cell::{Counts, UNIT};
use super::history::{Cursor, Entry, History};
use super::rule::EmptySlice;
use super::segment::Slice;
use super::time::Span;

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
    /// The first slice inside the window.
    far: Cursor,
}

/// The windows of one SLI and group.
#[derive(Clone, Debug)]
pub struct Rolling {
    fine: History,
    sums: Box<[Sum]>,
    budget: BudgetSum,
    /// Slices that have not closed yet, the next one first.
    ahead: VecDeque<Counts>,
    /// Whether anything was ever counted.
    used: bool,
    asleep: bool,
    /// Whether the sums of exact windows are behind: see [`Rolling::close_loosely`].
    loose: bool,
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
                BudgetSum::Long(Box::new(Long { counts: Counts::ZERO, steps, far, current: Counts::ZERO }))
            }
            Budget::Since => BudgetSum::Since { start: past, counts: Counts::ZERO },
        };
        Rolling { fine, sums, budget, ahead: VecDeque::new(), used: false, asleep: false, loose: false }
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
                match self.ahead.get_mut(at) {
                    Some(waiting) => *waiting += counts,
                    None => {
                        self.ahead.resize(at, Counts::ZERO);
                        self.ahead.push_back(counts);
                    }
                }
            }
            return;
        }
        self.tighten(shape);
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
        for sum in &mut self.sums {
            if slice >= sum.far.slice() {
                sum.counts += delta;
            }
        }
        self.add_to_budget(shape, slice, delta);
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
    /// minutes. Roughly in order of time; `slice` is any slice of what the counts cover.
    pub fn add_old(&mut self, shape: &Shape, slice: Slice, counts: Counts) {
        self.used = true;
        if let (BudgetSum::Long(long), Budget::Long { step, .. }) = (&mut self.budget, shape.budget) {
            long.move_to(slice.div_euclid(step));
        }
        self.add_to_budget(shape, slice, counts);
    }

    /// Ends the reading of old history: what follows are slices, one by one.
    pub fn end_of_past(&mut self, shape: &Shape) {
        let next = self.next();
        if let (BudgetSum::Long(long), Budget::Long { step, .. }) = (&mut self.budget, shape.budget) {
            long.move_to(next.div_euclid(step));
        }
    }

    /// Closes the slice [`Rolling::next`]. `since` is the first slice of the calendar period that
    /// the evaluation after this slice belongs to; `excluded` takes the slice out.
    pub fn close(&mut self, shape: &Shape, excluded: bool, since: Option<Slice>) {
        self.tighten(shape);
        let counts = self.push(shape, excluded, since);
        let next = self.next();
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
        self.forget(shape);
    }

    /// Like [`Rolling::close`], for long stretches: leaves the sums of exact windows behind until
    /// [`Rolling::tighten`] counts them in one go. They must not be read before.
    pub fn close_loosely(&mut self, shape: &Shape, excluded: bool, since: Option<Slice>) {
        self.loose = true;
        self.push(shape, excluded, since);
        self.forget(shape);
    }

    /// Like [`Rolling::close_loosely`] for every slice before `to`, where none is excluded and the
    /// budget is no calendar period's: whole steps of the budget at once.
    pub fn close_run(&mut self, shape: &Shape, to: Slice) {
        self.loose = true;
        let step = match shape.budget {
            Budget::Long { step, .. } => step,
            Budget::Exact(_) | Budget::Since => i64::MAX,
        };
        while self.next() < to {
            let next = self.next();
            let end = to.min((next.div_euclid(step) + 1).saturating_mul(step));
            let mut sum = Counts::ZERO;
            for _ in next..end {
                let counts = self.ahead.pop_front().unwrap_or(Counts::ZERO);
                self.fine.push(Entry::Counted(counts));
                sum += weigh(shape, counts);
            }
            self.close_budget(shape, end - 1, sum, None);
        }
        self.fine.forget_before(to - shape.fine_slices());
    }

    /// Counts the sums that [`Rolling::close_loosely`] left behind.
    pub fn tighten(&mut self, shape: &Shape) {
        if !std::mem::take(&mut self.loose) {
            return;
        }
        self.ahead.shrink_to(1);
        let next = self.next();
        let mut at = self.fine.cursor(next - shape.fine_slices());
        let (mut seen, mut excluded) = (Counts::ZERO, 0);
        // From the longest window to the shortest: each begins where this much had been seen.
        for (sum, length) in self.sums.iter_mut().zip(&shape.exact).rev() {
            while at.slice() < next - length {
                match self.fine.read(&mut at) {
                    Entry::Counted(counts) => seen += weigh(shape, counts),
                    Entry::Excluded => excluded += 1,
                }
            }
            *sum = Sum { counts: seen, excluded, far: at };
        }
        while at.slice() < next {
            match self.fine.read(&mut at) {
                Entry::Counted(counts) => seen += weigh(shape, counts),
                Entry::Excluded => excluded += 1,
            }
        }
        for sum in &mut self.sums {
            let mut inside = seen;
            inside -= sum.counts;
            (sum.counts, sum.excluded) = (inside, excluded - sum.excluded);
        }
    }

    /// Moves the next slice into history and budget; gives what it counts.
    fn push(&mut self, shape: &Shape, excluded: bool, since: Option<Slice>) -> Counts {
        let slice = self.next();
        let counts = self.ahead.pop_front().unwrap_or(Counts::ZERO);
        self.fine.push(if excluded { Entry::Excluded } else { Entry::Counted(counts) });
        let counts = if excluded { Counts::ZERO } else { weigh(shape, counts) };
        self.close_budget(shape, slice, counts, since);
        counts
    }

    fn forget(&mut self, shape: &Shape) {
        let next = self.next();
        if next.rem_euclid(64) == 0 {
            self.fine.forget_before(next - shape.fine_slices());
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
        size_of::<Rolling>()
            + self.fine.heap_bytes()
            + self.sums.len() * size_of::<Sum>()
            + self.ahead.capacity() * size_of::<Counts>()
            + budget
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The definition, word for word: sum over the slices that start in the window.
    fn slow(data: &BTreeMap<Slice, Counts>, excluded: &[Slice], shape: &Shape, from: Slice, to: Slice, start: Slice) -> Counts {
        let mut sum = Counts::ZERO;
        for slice in from.max(start)..to {
            if !excluded.contains(&slice) {
                sum += weigh(shape, data.get(&slice).copied().unwrap_or(Counts::ZERO));
            }
        }
        sum
    }

    fn counts() -> impl Strategy<Value = Counts> {
        (0_i64..400, 0_i64..5, prop_oneof![Just(UNIT), Just(10 * UNIT), Just(1_428_571)]).prop_map(|(raw, bad, weight)| {
            let bad = bad.min(raw);
            Counts { raw, raw_bad: bad, total: raw * weight, bad: bad * weight, sq: super::super::cell::square(weight) * i128::from(raw) }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sums_equal_a_slow_recomputation(
            start in -100_i64..100,
            steps in prop::collection::vec((prop::collection::vec((0_i64..400, counts()), 0..3), any::<bool>()), 1..400),
            windows in prop::collection::vec(1_i64..200, 1..5),
            target in prop::option::of(prop_oneof![Just(EmptySlice::Skip), Just(EmptySlice::Good), Just(EmptySlice::Bad)]),
        ) {
            let slice = Span::MINUTE;
            let target = target.map(|empty| Target { ppm: 990_000, empty });
            let mut shape = Shape::new(slice, windows.iter().map(|n| Span(n * slice.0)), Some(Span::minutes(100)), target);
            // A short long window with steps of seven slices, so that its far edge moves in a small test.
            shape.budget = Budget::Long { length: 150, step: 7 };
            let mut rolling = Rolling::new(&shape, start, start);
            let (mut data, mut excluded) = (BTreeMap::new(), Vec::new());
            for (step, (adds, exclude)) in steps.into_iter().enumerate() {
                let next = start + step as i64;
                for (back, counts) in adds {
                    // Up to two slices ahead, otherwise late; nothing older than what is kept.
                    let at = (next + 2 - back).max(start).max(next - shape.fine_slices() + 1);
                    if !excluded.contains(&at) {
                        *data.entry(at).or_insert(Counts::ZERO) += counts;
                        rolling.add(&shape, at, counts);
                    }
                }
                let exclude = exclude && step % 9 == 0;
                if exclude {
                    excluded.push(next);
                    data.remove(&next);
                }
                rolling.close(&shape, exclude, None);
                let to = next + 1;
                for (index, length) in shape.exact.iter().enumerate() {
                    prop_assert_eq!(rolling.sum(index), slow(&data, &excluded, &shape, to - length, to, start));
                    let gone = excluded.iter().filter(|at| **at >= to - length).count() as u32;
                    prop_assert_eq!(rolling.excluded(index), gone);
                }
                let far = (to - 150).div_euclid(7) * 7;
                prop_assert_eq!(rolling.budget(), slow(&data, &excluded, &shape, far, to, start));
            }
        }
    }

    #[test]
    fn a_start_from_sums_equals_a_start_from_slices() {
        let shape = Shape::new(Span::MINUTE, [Span::hours(1)], Some(Span::days(30)), None);
        let data = |slice: i64| Counts::plain(10 + slice % 7, i64::from(slice % 11 == 0));
        let (from, switch, to) = (5 * 60 + 17, 36 * 1440 + 25, 40 * 1440 + 3);
        let mut slow = Rolling::new(&shape, from, from);
        for slice in from..to {
            slow.add(&shape, slice, data(slice));
            slow.close(&shape, false, None);
        }
        let mut fast = Rolling::new(&shape, switch, from);
        let mut slice = from;
        while slice < switch {
            let end = ((slice.div_euclid(60) + 1) * 60).min(switch);
            let mut sum = Counts::ZERO;
            (slice..end).for_each(|slice| sum += data(slice));
            fast.add_old(&shape, slice, sum);
            slice = end;
        }
        fast.end_of_past(&shape);
        for slice in switch..to {
            fast.add(&shape, slice, data(slice));
            fast.close(&shape, false, None);
        }
        assert_eq!(fast.budget(), slow.budget());
        assert_eq!(fast.sum(0), slow.sum(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn closing_loosely_comes_to_the_same(
            slices in prop::collection::vec((counts(), 0_u8..12), 0..600),
            windows in prop::collection::vec(1_i64..300, 1..5),
            target in prop::option::of(Just(Target { ppm: 990_000, empty: EmptySlice::Bad })),
            late in prop::collection::vec((0_usize..600, counts()), 0..3),
        ) {
            let mut shape = Shape::new(Span::MINUTE, windows.iter().map(|n| Span::minutes(*n)), None, target);
            shape.budget = Budget::Long { length: 150, step: 7 };
            let (mut exact, mut loose) = (Rolling::new(&shape, 5, 5), Rolling::new(&shape, 5, 5));
            let same = |exact: &Rolling, loose: &Rolling| {
                let all = |rolling: &Rolling| -> Vec<_> {
                    rolling.sums.iter().map(|sum| (sum.counts, sum.excluded, sum.far.slice())).collect()
                };
                all(exact) == all(loose) && exact.budget() == loose.budget()
            };
            for (at, (counts, fate)) in slices.iter().enumerate() {
                let slice = at as i64 + 5;
                exact.add(&shape, slice, *counts);
                loose.add(&shape, slice, *counts);
                exact.close(&shape, *fate == 0, None);
                loose.close_loosely(&shape, *fate == 0, None);
                for (_, counts) in late.iter().filter(|(when, _)| *when == at) {
                    exact.add(&shape, slice - 3, *counts);
                    loose.add(&shape, slice - 3, *counts);
                    prop_assert!(same(&exact, &loose));
                }
            }
            loose.tighten(&shape);
            prop_assert!(same(&exact, &loose));
            exact.close(&shape, false, None);
            loose.close(&shape, false, None);
            prop_assert!(same(&exact, &loose));
            // The same without exclusions, in runs.
            let (mut exact, mut runs) = (Rolling::new(&shape, 5, 5), Rolling::new(&shape, 5, 5));
            for (at, (counts, fate)) in slices.iter().enumerate() {
                let slice = at as i64 + 5;
                exact.add(&shape, slice, *counts);
                exact.close(&shape, false, None);
                runs.add(&shape, slice, *counts);
                if *fate == 0 {
                    runs.close_run(&shape, slice + 1);
                }
            }
            runs.close_run(&shape, exact.next());
            runs.tighten(&shape);
            prop_assert!(same(&exact, &runs));
        }
    }

    #[test]
    fn a_calendar_budget_begins_anew_and_late_data_of_the_old_period_stays_there() {
        let shape = Shape::new(Span::MINUTE, [Span::minutes(5)], None, None);
        let mut rolling = Rolling::new(&shape, 0, 0);
        for slice in 0..20 {
            rolling.add(&shape, slice, Counts::plain(10, 1));
            rolling.close(&shape, false, Some(if slice + 1 >= 10 { 10 } else { 0 }));
            if slice == 9 {
                assert_eq!(rolling.budget(), Counts::ZERO);
            }
        }
        assert_eq!(rolling.budget(), Counts::plain(100, 10));
        rolling.add(&shape, 9, Counts::plain(5, 5));
        rolling.add(&shape, 11, Counts::plain(5, 0));
        assert_eq!(rolling.budget(), Counts::plain(105, 10));
    }

    #[test]
    fn thirty_days_move_by_the_hour_and_seven_days_by_the_bucket() {
        let shape = Shape::new(Span::MINUTE, [Span::hours(1)], Some(Span::days(30)), None);
        assert_eq!(shape.budget, Budget::Long { length: 43_200, step: 60 });
        assert_eq!(far_step(Span::days(28), Span::MINUTE), 30);
        assert_eq!(far_step(Span::days(8), Span::seconds(10)), 90);
        let week = Shape::new(Span::MINUTE, [Span::hours(1)], Some(Span::days(7)), None);
        assert_eq!(week.budget, Budget::Exact(1));
    }

    #[test]
    fn the_first_slice_of_windows_that_wake_late_stays_in_the_budget() {
        let shape = Shape::new(Span::MINUTE, [Span::hours(1)], Some(Span::days(30)), None);
        let first = 40 * 1440 + 7;
        for close in [Rolling::close, Rolling::close_loosely] {
            let mut rolling = Rolling::new(&shape, first, 0);
            rolling.add(&shape, first, Counts::plain(7, 1));
            for _ in 0..1440 {
                close(&mut rolling, &shape, false, None);
                assert_eq!(rolling.budget(), Counts::plain(7, 1));
            }
        }
        let mut rolling = Rolling::new(&shape, first, 0);
        rolling.add(&shape, first, Counts::plain(7, 1));
        rolling.close_run(&shape, first + 1440);
        assert_eq!(rolling.budget(), Counts::plain(7, 1));
    }

    #[test]
    fn a_month_and_four_tiers_fit_into_32_kib() {
        let minutes = [60, 5, 360, 30, 1440, 120, 4320, 360].map(Span::minutes);
        let shape = Shape::new(Span::MINUTE, minutes, Some(Span::days(30)), None);
        let mut rolling = Rolling::new(&shape, 0, 0);
        for slice in 0..35 * 1440 {
            rolling.add(&shape, slice, Counts::plain(2000 + slice % 900, slice % 4));
            rolling.close(&shape, false, None);
        }
        assert!(rolling.bytes() <= 32 * 1024, "{}", rolling.bytes());
    }

    #[test]
    fn time_slices_are_judged_whole_also_when_late_data_changes_one() {
        let target = Some(Target { ppm: 950_000, empty: EmptySlice::Skip });
        let shape = Shape::new(Span::MINUTE, [Span::minutes(10)], Some(Span::days(1)), target);
        let mut rolling = Rolling::new(&shape, 0, 0);
        rolling.add(&shape, 0, Counts::plain(100, 5));
        rolling.add(&shape, 1, Counts::plain(100, 6));
        (0..3).for_each(|_| rolling.close(&shape, false, None));
        assert_eq!(rolling.sum(0), Counts::plain(2, 1));
        rolling.add(&shape, 1, Counts::plain(100, 0));
        assert_eq!(rolling.sum(0), Counts::plain(2, 0));
    }
}
