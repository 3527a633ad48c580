//! How much one source may add to an SLI: so many events a minute to each metric of an app, and no more.
//!
//! A source is a network (not an address: whoever has one has its neighbours) and, beside that, a person. The bound is on
//! app and metric, of which every SLI is a part. Memory is bounded: persons beyond what is remembered of a minute are held
//! to the bound of their network alone, and networks beyond that are so many that none of them is one source.

use std::hash::Hash;

use ahash::{AHashMap, RandomState};

use super::time::{Span, Timestamp};

/// What is remembered of one minute.
const SOURCES_MAX: usize = 65_536;
const SLIS_MAX: usize = 16_384;
/// Of fewer events in a minute a share says nothing.
const SHARE_MIN: u64 = 100;

/// The events of this minute by source, and the largest share of the last one.
#[derive(Debug)]
pub struct Influence {
    /// Events a minute; 0: no bound.
    max: u32,
    hasher: RandomState,
    minute: i64,
    networks: AHashMap<(u64, u64), u32>,
    persons: AHashMap<(u64, u64), u32>,
    totals: AHashMap<u64, u64>,
    largest: Option<Share>,
}

/// What one network added to one metric of an app in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub events: u64,
    pub of: u64,
}

impl Share {
    /// In parts of all.
    pub fn fraction(self) -> f64 {
        self.events as f64 / self.of as f64
    }
}

/// A metric of an app, as it is known in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sli(u64);

impl Influence {
    /// With so many events a minute from one source; 0 is no bound.
    pub fn new(max: u32) -> Influence {
        Influence {
            max,
            hasher: RandomState::new(),
            minute: 0,
            networks: AHashMap::new(),
            persons: AHashMap::new(),
            totals: AHashMap::new(),
            largest: None,
        }
    }

    /// A metric of an app.
    pub fn sli(&self, app: &str, metric: &impl Hash) -> Sli {
        Sli(self.hasher.hash_one((app, metric)))
    }

    /// Whether so many events of this source may be counted; they are noted if so. They are all or none.
    pub fn admit(&mut self, sli: Sli, network: &impl Hash, person: Option<u64>, events: u32, now: Timestamp) -> bool {
        if self.max == 0 {
            return true;
        }
        self.turn(now);
        let network = (sli.0, self.hasher.hash_one(network));
        let room =
            |known: &AHashMap<(u64, u64), u32>, key: (u64, u64)| known.get(&key).copied().unwrap_or(0).saturating_add(events) <= self.max;
        let person = person.map(|person| (sli.0, person));
        if !room(&self.networks, network) || person.is_some_and(|person| !room(&self.persons, person)) {
            return false;
        }
        note(&mut self.networks, network, events);
        if let Some(person) = person {
            note(&mut self.persons, person, events);
        }
        if self.totals.len() < SLIS_MAX || self.totals.contains_key(&sli.0) {
            *self.totals.entry(sli.0).or_default() += u64::from(events);
        }
        true
    }

    /// The largest share that a network had in the last minute in which something came, if it can be told.
    pub fn largest(&self) -> Option<Share> {
        self.largest
    }

    fn turn(&mut self, now: Timestamp) {
        let minute = now.millis().div_euclid(Span::MINUTE.millis());
        if minute == self.minute {
            return;
        }
        self.minute = minute;
        let shares = self.networks.iter().filter_map(|((sli, _), events)| {
            let of = *self.totals.get(sli)?;
            (of >= SHARE_MIN).then_some(Share { events: u64::from(*events), of })
        });
        self.largest = shares.max_by(|a, b| a.fraction().total_cmp(&b.fraction()));
        self.networks.clear();
        self.persons.clear();
        self.totals.clear();
    }
}

fn note(known: &mut AHashMap<(u64, u64), u32>, key: (u64, u64), events: u32) {
    if known.len() < SOURCES_MAX || known.contains_key(&key) {
        let count = known.entry(key).or_default();
        *count = count.saturating_add(events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::Metric;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn admitted(influence: &mut Influence, network: u32, person: Option<u64>, times: usize, now: Timestamp) -> usize {
        let sli = influence.sli("shop", &Metric::Request);
        (0..times).filter(|_| influence.admit(sli, &network, person, 1, now)).count()
    }

    #[test]
    fn a_network_adds_so_many_a_minute_to_each_metric_and_no_more() {
        let mut influence = Influence::new(60);
        assert_eq!(admitted(&mut influence, 1, None, 5_000, NOW), 60);
        assert_eq!(admitted(&mut influence, 2, None, 50, NOW), 50);
        let other = influence.sli("shop", &Metric::PageView);
        assert!(influence.admit(other, &1_u32, None, 60, NOW) && !influence.admit(other, &1_u32, None, 1, NOW));
        assert_eq!(admitted(&mut influence, 1, None, 5_000, NOW + Span::MINUTE), 60);
    }

    #[test]
    fn a_person_is_bounded_across_networks() {
        let mut influence = Influence::new(60);
        let all: usize = (0..50).map(|network| admitted(&mut influence, network, Some(7), 10, NOW)).sum();
        assert_eq!(all, 60);
        assert_eq!(admitted(&mut influence, 1, Some(8), 10, NOW), 10, "somebody else");
    }

    #[test]
    fn what_stands_for_many_events_is_taken_whole_or_not() {
        let mut influence = Influence::new(60);
        let sli = influence.sli("shop", &Metric::Request);
        assert!(!influence.admit(sli, &1_u32, None, 61, NOW));
        assert!(influence.admit(sli, &1_u32, None, 60, NOW));
        assert!(!influence.admit(sli, &1_u32, None, u32::MAX, NOW));
    }

    #[test]
    fn one_source_that_floods_with_bad_news_does_not_reach_the_burn_of_a_page() {
        let mut influence = Influence::new(60);
        let mut counts = crate::domain::cell::Counts::ZERO;
        for minute in 0..60 {
            let now = NOW + Span::minutes(minute);
            let good: usize = (0..500).map(|network| admitted(&mut influence, network, None, 20, now)).sum();
            let bad = admitted(&mut influence, 999, None, 60_000, now);
            counts += crate::domain::cell::Counts::plain((good + bad) as i64, bad as i64);
        }
        // An objective of 99.9 %, the fastest tier at 14.4 times the budget.
        let burn = crate::domain::burn::burn(counts, 1_000).expect("measured");
        assert!(burn < 14.4, "{burn}");
    }

    #[test]
    fn the_largest_share_is_told_and_memory_is_bounded() {
        let mut influence = Influence::new(1_000);
        assert_eq!(influence.largest(), None);
        admitted(&mut influence, 1, None, 150, NOW);
        admitted(&mut influence, 2, None, 50, NOW);
        for source in 0..200_000_u32 {
            admitted(&mut influence, source, Some(u64::from(source)), 1, NOW + Span::MINUTE);
        }
        assert_eq!(influence.largest(), Some(Share { events: 150, of: 200 }));
        assert!(influence.networks.len() <= SOURCES_MAX && influence.persons.len() <= SOURCES_MAX);
        for sli in 0..50_000_u32 {
            let sli = influence.sli("shop", &sli);
            influence.admit(sli, &1_u32, None, 1, NOW + Span::minutes(2));
        }
        assert!(influence.totals.len() <= SLIS_MAX);
    }
}
