//! Memory of what may be reported again: the last state of a web vital or session, and where it was counted.
//!
//! Two generations: whatever was asked for lately is in the young one; when that is full it becomes
//! the old one and the old one is forgotten. Bounded, and nothing to keep in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::AHashMap;

use super::LocalSeries;
use crate::domain::cell::Limit;
use crate::domain::segment::Slice;
use crate::domain::varint::{read_i64, read_u64, write_i64, write_u64};

/// What is counted of one thing, as it is stored so that a restart does not forget. `S` names the series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RepeatState<S> {
    pub key: u64,
    /// Where the first report was counted.
    pub series: S,
    pub slice: Slice,
    pub weight: i64,
    pub value: Option<f64>,
    pub bad: bool,
    /// The client's time of the report that is counted.
    pub ts: Option<i64>,
    /// Which of the sets of limits the value was held against.
    pub limits: u16,
}

/// States that changed, and the sets of limits that they name.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeated<S> {
    pub states: Vec<RepeatState<S>>,
    pub limits: Vec<Vec<Limit>>,
}

impl<S> Default for Repeated<S> {
    fn default() -> Repeated<S> {
        Repeated { states: Vec::new(), limits: Vec::new() }
    }
}

impl<S: Copy> Repeated<S> {
    /// The same with other names of the series; what has none is left out.
    pub fn renamed<T>(&self, name: impl Fn(S) -> Option<T>) -> Repeated<T> {
        let renamed = |state: &RepeatState<S>| {
            let RepeatState { key, series, slice, weight, value, bad, ts, limits } = *state;
            Some(RepeatState { key, series: name(series)?, slice, weight, value, bad, ts, limits })
        };
        Repeated { states: self.states.iter().filter_map(renamed).collect(), limits: self.limits.clone() }
    }
}

impl Repeated<u32> {
    /// As stored bytes: the sets of limits, then the states.
    pub fn pack(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.states.len() * 40);
        write_u64(&mut out, self.limits.len() as u64);
        for set in &self.limits {
            write_u64(&mut out, set.len() as u64);
            for limit in set {
                out.push(u8::from(limit.inclusive));
                out.extend_from_slice(&limit.value.to_bits().to_le_bytes());
            }
        }
        for state in &self.states {
            let flags = [state.bad, state.value.is_some(), state.ts.is_some()];
            out.push(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
            out.extend_from_slice(&state.key.to_le_bytes());
            write_u64(&mut out, state.series.into());
            write_i64(&mut out, state.slice);
            write_i64(&mut out, state.weight);
            write_u64(&mut out, state.limits.into());
            if let Some(value) = state.value {
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            if let Some(ts) = state.ts {
                write_i64(&mut out, ts);
            }
        }
        out
    }

    /// Reads what [`Repeated::pack`] wrote; damaged bytes end the list early.
    pub fn unpack(mut input: &[u8]) -> Repeated<u32> {
        let mut read = Repeated::default();
        if let Some(limits) = read_limits(&mut input) {
            read.limits = limits;
            while let Some(state) = read_state(&mut input).filter(|state| usize::from(state.limits) < read.limits.len()) {
                read.states.push(state);
            }
        }
        read
    }
}

fn read_u8(input: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = input.split_first()?;
    *input = rest;
    Some(first)
}

fn read_eight(input: &mut &[u8]) -> Option<u64> {
    let (bytes, rest) = input.split_first_chunk::<8>()?;
    *input = rest;
    Some(u64::from_le_bytes(*bytes))
}

fn read_finite(input: &mut &[u8]) -> Option<f64> {
    read_eight(input).map(f64::from_bits).filter(|value| value.is_finite())
}

fn read_limits(input: &mut &[u8]) -> Option<Vec<Vec<Limit>>> {
    let mut sets = Vec::new();
    for _ in 0..read_u64(input)? {
        let mut set = Vec::new();
        for _ in 0..read_u64(input)? {
            let inclusive = read_u8(input)? == 1;
            set.push(Limit { value: read_finite(input)?, inclusive });
        }
        sets.push(set);
    }
    Some(sets)
}

fn read_state(input: &mut &[u8]) -> Option<RepeatState<u32>> {
    let flags = read_u8(input)?;
    Some(RepeatState {
        key: read_eight(input)?,
        series: read_u64(input)?.try_into().ok()?,
        slice: read_i64(input)?,
        weight: read_i64(input)?,
        limits: read_u64(input)?.try_into().ok()?,
        bad: flags & 1 != 0,
        value: if flags & 2 != 0 { Some(read_finite(input)?) } else { None },
        ts: if flags & 4 != 0 { Some(read_i64(input)?) } else { None },
    })
}

/// The state that is counted at the moment: hundreds of thousands of them are held, so what may be missing has no word of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub weight: i64,
    /// NaN: none.
    value: f64,
    /// Where the first report was counted: updates go to the same place.
    pub slice: Slice,
    /// `i64::MIN`: none.
    ts: i64,
    pub series: u32,
    /// Which set of limits the value was held against.
    pub limits: u16,
    pub bad: bool,
}

impl Counted {
    pub fn new(state: RepeatState<u32>) -> Counted {
        let RepeatState { key: _, series, slice, weight, value, bad, ts, limits } = state;
        Counted { weight, value: value.unwrap_or(f64::NAN), slice, ts: ts.unwrap_or(i64::MIN), series, limits, bad }
    }

    pub fn value(&self) -> Option<f64> {
        Some(self.value).filter(|value| !value.is_nan())
    }

    /// The client's time of the report that is counted.
    pub fn ts(&self) -> Option<i64> {
        Some(self.ts).filter(|ts| *ts != i64::MIN)
    }

    /// As it is stored and handed on.
    pub fn state(&self, key: u64) -> RepeatState<u32> {
        let Counted { weight, slice, series, limits, bad, .. } = *self;
        RepeatState { key, series, slice, weight, value: self.value(), bad, ts: self.ts(), limits }
    }
}

/// What changed, as it leaves the aggregator: with the sets of limits that it names.
pub(super) fn named(changed: AHashMap<u64, Counted>, limit_sets: &[Arc<[Limit]>]) -> Repeated<LocalSeries> {
    let (mut limits, mut numbers) = (Vec::new(), BTreeMap::new());
    let states = changed.into_iter().map(|(key, counted)| {
        let set = counted.limits;
        let limits = *numbers.entry(set).or_insert_with(|| {
            limits.push(limit_sets[usize::from(set)].to_vec());
            (limits.len() - 1) as u16
        });
        let RepeatState { key, series, slice, weight, value, bad, ts, .. } = counted.state(key);
        RepeatState { key, series: LocalSeries(series), slice, weight, value, bad, ts, limits }
    });
    Repeated { states: states.collect(), limits }
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
            // The room of what is forgotten serves again: grown anew each time, it would lie about in pieces.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(key, counted);
    }

    /// What is counted of this thing, without keeping it any longer for that.
    pub fn peek(&self, key: u64) -> Option<&Counted> {
        self.young.get(&key).or_else(|| self.old.get(&key))
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
    use proptest::prelude::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten_in_time() {
        let counted = Counted::new(RepeatState { key: 0, series: 0, slice: 0, weight: 1, value: None, bad: false, ts: None, limits: 0 });
        let mut repeats = Repeats::new(10);
        repeats.insert(1, counted);
        for key in 2..100 {
            repeats.insert(key, counted);
            assert!(repeats.get_mut(1).is_some());
            assert!(repeats.young.len() + repeats.old.len() <= 10);
        }
        assert!(repeats.get_mut(2).is_none());
    }

    fn any_state() -> impl Strategy<Value = RepeatState<u32>> {
        (
            any::<u64>(),
            any::<u32>(),
            any::<i64>(),
            any::<i64>(),
            prop::option::of(-1e300..1e300),
            any::<bool>(),
            any::<Option<i64>>(),
            0_u16..3,
        )
            .prop_map(|(key, series, slice, weight, value, bad, ts, limits)| RepeatState {
                key,
                series,
                slice,
                weight,
                value,
                bad,
                ts,
                limits,
            })
    }

    proptest! {
        #[test]
        fn what_is_held_of_a_state_is_all_of_it(state in any_state()) {
            prop_assume!(state.ts != Some(i64::MIN));
            prop_assert_eq!(Counted::new(state).state(state.key), state);
        }

        #[test]
        fn states_read_back_and_damage_never_panics(
            states in prop::collection::vec(any_state(), 0..20),
            cut in any::<prop::sample::Index>(),
            flip in any::<(prop::sample::Index, u8)>(),
        ) {
            let limit = |value, inclusive| Limit { value, inclusive };
            let repeated = Repeated { states, limits: vec![vec![], vec![limit(2500.0, true)], vec![limit(0.1, false), limit(1.0, true)]] };
            let mut packed = repeated.pack();
            prop_assert_eq!(&Repeated::unpack(&packed), &repeated);
            prop_assert!(Repeated::unpack(&packed[..cut.index(packed.len())]).states.len() <= repeated.states.len());
            let at = flip.0.index(packed.len());
            packed[at] ^= flip.1;
            Repeated::unpack(&packed);
        }
    }
}
