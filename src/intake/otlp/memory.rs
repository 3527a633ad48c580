//! What has to be known from one request to the next: what an app's instrumentation sends, so that nothing is
//! counted from two signals, and the last state of cumulative metrics, so that only their growth is counted.
//!
//! Both are bounded and live as long as the process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::AHashMap;

use super::model::{Nanos, Point};
use crate::domain::time::{Span, Timestamp};

/// How long an app's instrumentation is believed to send what it once sent.
const BELIEVED: Span = Span::DAY;
const APPS_MAX: usize = 8_192;
const STREAMS_MAX: usize = 57_344;
const LOADS_MAX: usize = 14_336;
/// How long after the span of a page load its navigation may come.
const LOAD_REMEMBERED: Span = Span::minutes(15);

/// What an app's instrumentation can send in more than one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instrument {
    /// Page views as logs; else they are spans.
    Navigation,
    /// Web vitals as logs; else they may be metrics.
    Vitals,
    /// Requests as spans; else they may be metrics.
    Requests,
}

/// Shared by all requests.
#[derive(Debug)]
pub struct Memory(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    apps: Generations<[Option<Timestamp>; 3]>,
    streams: Generations<Last>,
    /// By span: page loads that were counted for want of a navigation.
    loads: Generations<()>,
    /// By page: how many of them are still without the navigation, and when the last one came.
    waiting: Generations<(u32, Timestamp)>,
    /// Every stream that began later is either known or new.
    since: Timestamp,
}

/// The last point of a cumulative stream.
#[derive(Clone, Debug)]
struct Last {
    time: Nanos,
    value: f64,
    count: f64,
    sum: f64,
    counts: Box<[f64]>,
    /// The sum of its bounds, by which other bounds are noticed.
    bounds: f64,
}

impl Memory {
    /// An empty one, in a process that starts at `now`.
    pub fn new(now: Timestamp) -> Memory {
        Memory(Mutex::new(Inner {
            apps: Generations::new(APPS_MAX),
            streams: Generations::new(STREAMS_MAX),
            loads: Generations::new(LOADS_MAX),
            waiting: Generations::new(LOADS_MAX),
            since: now,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an app's instrumentation sends this.
    pub(super) fn saw(&self, instrumentation: u64, instrument: Instrument, now: Timestamp) {
        let mut inner = self.lock();
        match inner.apps.get_mut(instrumentation) {
            Some(seen) => seen[instrument as usize] = Some(now),
            None => {
                let mut seen = [None; 3];
                seen[instrument as usize] = Some(now);
                inner.apps.insert(instrumentation, seen);
            }
        }
    }

    /// Whether an app's instrumentation has sent this within a day.
    pub(super) fn has(&self, instrumentation: u64, instrument: Instrument, now: Timestamp) -> bool {
        let mut inner = self.lock();
        let seen = inner.apps.get_mut(instrumentation).and_then(|seen| seen[instrument as usize]);
        seen.is_some_and(|seen| now - seen <= BELIEVED)
    }

    /// Notes that a page load was counted by its span, because nobody has sent a navigation yet. The same span again says nothing new.
    pub(super) fn loaded(&self, span: u64, page: u64, now: Timestamp) {
        let mut inner = self.lock();
        if inner.loads.get_mut(span).is_some() {
            return;
        }
        inner.loads.insert(span, ());
        let before = inner.waiting.get_mut(page).map_or(0, |(count, _)| *count);
        inner.waiting.insert(page, (before.saturating_add(1), now));
    }

    /// Whether a navigation to this page was counted already, by the span of its load; each of those only once.
    pub(super) fn was_loaded(&self, page: u64, now: Timestamp) -> bool {
        let mut inner = self.lock();
        match inner.waiting.get_mut(page) {
            Some((count, noted)) if *count > 0 && now - *noted <= LOAD_REMEMBERED => {
                *count -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// What a cumulative point adds to the one before it; nothing if that is not known.
    pub(super) fn growth<'a>(&self, stream: u64, mut point: Point<'a>, now: Timestamp) -> Option<Point<'a>> {
        let mut inner = self.lock();
        let last = Last {
            time: point.time,
            value: point.value.unwrap_or(0.0),
            count: point.count,
            sum: point.sum.unwrap_or(0.0),
            counts: point.counts.clone().into(),
            bounds: point.bounds.iter().sum(),
        };
        let Some(known) = inner.streams.get_mut(stream) else {
            if inner.streams.insert(stream, last) {
                // What was forgotten looks new from now on; only what begins later really is.
                inner.since = now;
            }
            // By the client's own clock, of which only differences are believed.
            let age = point.time.millis_since(point.start)?;
            let began = now.millis() as f64 - age;
            return (age >= 0.0 && began >= inner.since.millis() as f64).then_some(point);
        };
        if point.time <= known.time {
            // Overtaken by a later one, which holds all of it.
            return None;
        }
        let before = std::mem::replace(known, last);
        if point.count < before.count || point.value.is_some_and(|value| value < before.value) {
            // It began anew and did not say so.
            return Some(point);
        }
        if before.counts.len() != point.counts.len() || before.bounds != known.bounds {
            // How many there are more is known, and no longer where.
            (point.counts, point.bounds) = (Vec::new(), Vec::new());
        }
        point.value = point.value.map(|value| value - before.value);
        point.count -= before.count;
        point.sum = point.sum.map(|sum| (sum - before.sum).max(0.0));
        for (count, before) in point.counts.iter_mut().zip(&before.counts) {
            *count = (*count - before).max(0.0);
        }
        Some(point)
    }
}

/// Two generations: whatever was asked for lately is in the young one; when that is full it becomes the
/// old one and the old one is forgotten.
#[derive(Debug)]
struct Generations<T> {
    young: AHashMap<u64, T>,
    old: AHashMap<u64, T>,
    generation_max: usize,
}

impl<T> Generations<T> {
    fn new(max: usize) -> Generations<T> {
        Generations { young: AHashMap::new(), old: AHashMap::new(), generation_max: (max / 2).max(1) }
    }

    fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        if let Some(value) = self.old.remove(&key) {
            self.insert(key, value);
        }
        self.young.get_mut(&key)
    }

    /// Whether something had to be forgotten.
    fn insert(&mut self, key: u64, value: T) -> bool {
        let full = self.young.len() >= self.generation_max;
        let mut forgotten = AHashMap::new();
        if full {
            forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        }
        self.young.insert(key, value);
        !forgotten.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    /// A point `at` seconds after the start of its stream.
    fn point(at: u64, value: f64) -> Point<'static> {
        Point { start: Nanos(1_000_000_000), time: Nanos((1 + at) * 1_000_000_000), value: Some(value), ..Point::default() }
    }

    fn grown(memory: &Memory, stream: u64, point: Point<'static>, now: Timestamp) -> Option<f64> {
        memory.growth(stream, point, now)?.value
    }

    #[test]
    fn only_the_growth_of_a_cumulative_stream_counts() {
        let memory = Memory::new(START);
        let now = START + Span::seconds(100);
        assert_eq!(grown(&memory, 1, point(10, 3.0), now), Some(3.0), "began after us, so all of it is new");
        assert_eq!(grown(&memory, 1, point(20, 5.0), now), Some(2.0));
        assert_eq!(grown(&memory, 1, point(20, 5.0), now), None, "the same point again");
        assert_eq!(grown(&memory, 1, point(15, 4.0), now), None, "overtaken");
        assert_eq!(grown(&memory, 1, point(30, 1.0), now), Some(1.0), "it began anew");
        assert_eq!(grown(&memory, 2, point(200, 900.0), now), None, "began before us, so how much is new is not known");
        assert_eq!(grown(&memory, 2, point(210, 910.0), now), Some(10.0));
    }

    #[test]
    fn histograms_grow_bucket_by_bucket() {
        let memory = Memory::new(START);
        let now = START + Span::seconds(100);
        let histogram = |at: u64, counts: [f64; 2], sum: f64| Point {
            value: None,
            count: counts.iter().sum(),
            sum: Some(sum),
            counts: counts.to_vec(),
            bounds: vec![10.0],
            ..point(at, 0.0)
        };
        memory.growth(1, histogram(1, [1.0, 0.0], 5.0), now).unwrap();
        let grown = memory.growth(1, histogram(2, [3.0, 1.0], 65.0), now).unwrap();
        assert_eq!((grown.count, grown.sum, grown.counts), (3.0, Some(60.0), vec![2.0, 1.0]));
        let other_bounds = Point { bounds: vec![20.0], ..histogram(3, [5.0, 1.0], 70.0) };
        let grown = memory.growth(1, other_bounds, now).unwrap();
        assert_eq!((grown.count, grown.sum, grown.counts), (2.0, Some(5.0), vec![]));
    }

    #[test]
    fn memory_is_bounded_and_never_counts_twice_for_it() {
        let memory = Memory::new(START);
        let now = START + Span::seconds(1_000);
        for stream in 0..3 * STREAMS_MAX as u64 {
            memory.growth(stream, point(10, 1.0), now);
        }
        let inner = memory.lock();
        assert!(inner.streams.young.len() + inner.streams.old.len() <= STREAMS_MAX);
        drop(inner);
        assert_eq!(grown(&memory, 0, point(20, 2.0), now), None, "forgotten, and not taken for new");
    }

    #[test]
    fn what_an_app_sends_is_believed_for_a_day() {
        let memory = Memory::new(START);
        memory.saw(7, Instrument::Vitals, START);
        assert!(memory.has(7, Instrument::Vitals, START + Span::DAY));
        assert!(!memory.has(7, Instrument::Vitals, START + Span::DAY + Span(1)));
        assert!(!memory.has(7, Instrument::Navigation, START) && !memory.has(8, Instrument::Vitals, START));
    }
}
