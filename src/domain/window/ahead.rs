//! Counts of slices that have not closed yet, the next one first.
//!
//! Nearly all events weigh one. Those are kept as two small numbers a slice, so that reading months of history of many
//! SLOs, hour by hour, stays within the processor's caches.

use std::collections::VecDeque;

use super::super::cell::Counts;

#[derive(Clone, Debug, Default)]
pub(super) struct Ahead {
    /// Events that weigh one: how many, and how many of them are bad.
    plain: VecDeque<(u32, u32)>,
    /// Whatever else was added.
    rest: VecDeque<Counts>,
}

impl Ahead {
    /// Adds to the slice that closes `at` slices after the next one.
    #[inline]
    pub fn add(&mut self, at: usize, counts: Counts) {
        let small = |count: i64| u32::try_from(count).ok().filter(|_| counts.is_plain());
        if let (Some(raw), Some(bad)) = (small(counts.raw), small(counts.raw_bad))
            && self.add_plain(at, raw, bad)
        {
            return;
        }
        *slot(&mut self.rest, at) += counts;
    }

    /// The same for events that weigh one; `false`, and nothing is added, where they would be too many.
    #[inline]
    pub fn add_plain(&mut self, at: usize, raw: u32, bad: u32) -> bool {
        let slot = slot(&mut self.plain, at);
        let (Some(raw), Some(bad)) = (slot.0.checked_add(raw), slot.1.checked_add(bad)) else { return false };
        *slot = (raw, bad);
        true
    }

    /// Whether all that waits are events that weigh one.
    pub fn is_plain(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes the next slice out, where [`Ahead::is_plain`]: how many events, and how many of them are bad.
    #[inline]
    pub fn pop_plain(&mut self) -> (u32, u32) {
        self.plain.pop_front().unwrap_or_default()
    }

    /// Takes the next slice out.
    #[inline]
    pub fn pop(&mut self) -> Counts {
        let (raw, bad) = self.pop_plain();
        let mut counts = Counts::plain(i64::from(raw), i64::from(bad));
        if let Some(rest) = self.rest.pop_front() {
            counts += rest;
        }
        counts
    }

    /// Gives back memory that only a long stretch needed.
    pub fn shrink(&mut self) {
        self.plain.shrink_to(1);
        self.rest.shrink_to(0);
    }

    pub fn heap_bytes(&self) -> usize {
        self.plain.capacity() * size_of::<(u32, u32)>() + self.rest.capacity() * size_of::<Counts>()
    }
}

#[inline]
fn slot<T: Clone + Default>(slots: &mut VecDeque<T>, at: usize) -> &mut T {
    if slots.len() <= at {
        slots.resize(at + 1, T::default());
    }
    &mut slots[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_added_comes_out_whatever_it_weighs() {
        let weighted = Counts::event(2_500_000, true);
        let mut minus = Counts::ZERO;
        minus -= Counts::plain(3, 1);
        let most = Counts::plain(i64::from(u32::MAX), 0);
        let mut ahead = Ahead::default();
        for (at, counts) in [(2, Counts::plain(7, 2)), (0, weighted), (2, minus), (0, most), (0, Counts::plain(1, 1)), (3, most), (3, most)]
        {
            ahead.add(at, counts);
        }
        let sum = |parts: &[Counts]| {
            parts.iter().fold(Counts::ZERO, |mut sum, part| {
                sum += *part;
                sum
            })
        };
        assert_eq!(ahead.pop(), sum(&[weighted, most, Counts::plain(1, 1)]));
        assert_eq!(ahead.pop(), Counts::ZERO);
        assert_eq!(ahead.pop(), Counts::plain(4, 1));
        assert_eq!(ahead.pop(), sum(&[most, most]));
        assert_eq!(ahead.pop(), Counts::ZERO);
    }
}
