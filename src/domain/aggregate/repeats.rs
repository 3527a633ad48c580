//! Memory of what may be reported again: the last state of a web vital or session, and where it was counted.
//!
//! Two generations: whatever was asked for lately is in the young one; when that is full it becomes
//! the old one and the old one is forgotten. Bounded, and nothing to keep in order.

use ahash::AHashMap;

use crate::domain::segment::Slice;

/// The state that is counted at the moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    /// Where the first report was counted: updates go to the same place.
    pub series: u32,
    pub slice: Slice,
    pub weight: i64,
    pub value: Option<f64>,
    pub bad: bool,
    /// The client's time of the report that is counted.
    pub ts: Option<i64>,
    /// Which set of limits the value was held against.
    pub limits: u16,
}

#[derive(Debug)]
pub(super) struct Repeats {
    young: AHashMap<u64, Counted>,
    old: AHashMap<u64, Counted>,
    generation_max: usize,
}

impl Repeats {
    pub fn new(max: usize) -> Repeats {
        Repeats { young: AHashMap::new(), old: AHashMap::new(), generation_max: (max / 2).max(1) }
    }

    /// What is counted of this thing, to be changed in place.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut Counted> {
        if let Some(counted) = self.old.remove(&key) {
            self.insert(key, counted);
        }
        self.young.get_mut(&key)
    }

    pub fn insert(&mut self, key: u64, counted: Counted) {
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, counted);
    }

    /// Forgets what was counted in series that are gone.
    pub fn retain_series(&mut self, mut alive: impl FnMut(u32) -> bool) {
        self.young.retain(|_, counted| alive(counted.series));
        self.old.retain(|_, counted| alive(counted.series));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten_in_time() {
        let counted = Counted { series: 0, slice: 0, weight: 1, value: None, bad: false, ts: None, limits: 0 };
        let mut repeats = Repeats::new(10);
        repeats.insert(1, counted);
        for key in 2..100 {
            repeats.insert(key, counted);
            assert!(repeats.get_mut(1).is_some());
            assert!(repeats.young.len() + repeats.old.len() <= 10);
        }
        assert!(repeats.get_mut(2).is_none());
    }
}
