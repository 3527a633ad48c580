//! How much one source may add to an SLI: so many events a minute to each metric of an app, and of the bad news of a
//! metric that many networks report no more than all the others together.
//!
//! A source is a network (not an address: whoever has one has its neighbours) and, beside that, a person. The bound is on
//! app and metric, of which every SLI is a part. Memory is bounded: persons beyond what is remembered of a minute are held
//! to the bound of their network alone, and networks beyond that are so many that none of them is one source.
//!
//! The share of bad news is looked at by the hour, and only where enough networks report that "all the others" means something:
//! an app in one office, or behind a proxy that does not say for whom it speaks, has the first bound alone. An outage that
//! others see too takes nothing out, since then others have bad news too. Events weigh what they stand for, or else a claimed
//! sampling rate would lift every bound.

use std::hash::Hash;

use ahash::{AHashMap, RandomState};

use super::time::{Span, Timestamp};

/// What is remembered of one minute; seven eighths of a power of two, which fills a table.
const SOURCES_MAX: usize = 57_344;
const SLIS_MAX: usize = 14_336;
/// Of fewer events in a minute a share says nothing.
const SHARE_MIN: u64 = 100;
/// Networks with bad news that are remembered of an hour.
const REPORTERS_MAX: usize = 57_344;
/// From about this many other networks in an hour on there are others to compare with.
const OTHERS_MIN: u32 = 20;
/// So many bad events an hour a network may always report, and this part of what all others report: half of what spends a
/// budget of 0.1 % ten times too fast.
const BAD_MIN: u64 = 5;
const BAD_PART: u64 = 200;

/// Of fewer bad events in an hour it says nothing who sent most of them.
const TOP_MIN: u64 = 20;

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
    /// App and metric of what had bad events in this hour.
    names: AHashMap<u64, (Box<str>, Box<str>)>,
    tops: Vec<TopSource>,
    this_hour: Hour,
    last_hour: Hour,
}

/// What was reported within an hour.
#[derive(Debug, Default)]
struct Hour {
    number: i64,
    slis: AHashMap<u64, Reported>,
    /// Bad events by network, of those that had any.
    bad: AHashMap<(u64, u64), u64>,
}

/// What was reported of one metric of an app.
#[derive(Clone, Copy, Debug, Default)]
struct Reported {
    events: u64,
    bad: u64,
    /// A bit for each network, by its hash: enough to tell many from few.
    networks: [u64; 2],
}

impl Reported {
    /// About how many networks there were.
    fn networks(self) -> u32 {
        let bits = f64::from(u64::BITS * 2);
        let clear = self.networks.iter().map(|word| word.count_zeros()).sum::<u32>();
        (bits * (bits / f64::from(clear.max(1))).ln()).round() as u32
    }
}

impl Hour {
    /// The most bad events that a network may report in an hour, going by what the others reported in this one.
    fn bad_max(&self, key: (u64, u64)) -> Option<u64> {
        let all = self.slis.get(&key.0).filter(|all| all.networks() > OTHERS_MIN)?;
        let bad_of_others = all.bad.saturating_sub(self.bad.get(&key).copied().unwrap_or(0));
        // Its good events are among those of the others here: where many report, one network's do not matter to a 200th.
        Some(BAD_MIN.max(all.events / BAD_PART).max(bad_of_others))
    }

    fn note(&mut self, key: (u64, u64), events: u32, bad: u32) {
        if self.slis.len() < SLIS_MAX || self.slis.contains_key(&key.0) {
            let all = self.slis.entry(key.0).or_default();
            all.events += u64::from(events);
            all.bad += u64::from(bad);
            all.networks[(key.1 >> 6 & 1) as usize] |= 1 << (key.1 & 63);
        }
        if bad > 0 && (self.bad.len() < REPORTERS_MAX || self.bad.contains_key(&key)) {
            *self.bad.entry(key).or_default() += u64::from(bad);
        }
    }
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

/// How much of an SLI's bad news of this hour one network brought.
#[derive(Clone, Debug, PartialEq)]
pub struct TopSource {
    pub app: Box<str>,
    /// Its public name.
    pub metric: Box<str>,
    /// In parts of all.
    pub share: f64,
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
            names: AHashMap::new(),
            tops: Vec::new(),
            this_hour: Hour::default(),
            last_hour: Hour::default(),
        }
    }

    /// A metric of an app.
    pub fn sli(&self, app: &str, metric: &impl Hash) -> Sli {
        Sli(self.hasher.hash_one((app, metric)))
    }

    /// Whether so many events of this source, of which so many are bad, may be counted; they are noted if so. They are all or none.
    pub fn admit(&mut self, sli: Sli, network: &impl Hash, person: Option<u64>, (events, bad): (u32, u32), now: Timestamp) -> bool {
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
        if bad > 0 && !self.has_room_for(network, u64::from(bad)) {
            return false;
        }
        note(&mut self.networks, network, events);
        self.this_hour.note(network, events, bad);
        if let Some(person) = person {
            note(&mut self.persons, person, events);
        }
        if self.totals.len() < SLIS_MAX || self.totals.contains_key(&sli.0) {
            *self.totals.entry(sli.0).or_default() += u64::from(events);
        }
        true
    }

    /// Says what a metric with bad events is called.
    pub fn name(&mut self, sli: Sli, app: &str, metric: impl FnOnce() -> String) {
        if self.names.len() < SLIS_MAX && !self.names.contains_key(&sli.0) {
            self.names.insert(sli.0, (app.into(), metric().into()));
        }
    }

    /// Once a minute, for every SLI with bad news: how much of it came from the network that brought most. What is held back is
    /// no part of it.
    pub fn top_sources(&mut self) -> Vec<TopSource> {
        std::mem::take(&mut self.tops)
    }

    fn find_tops(&self) -> Vec<TopSource> {
        let mut most: AHashMap<u64, u64> = AHashMap::new();
        for ((sli, _), bad) in &self.this_hour.bad {
            let known = most.entry(*sli).or_default();
            *known = (*known).max(*bad);
        }
        let top = |(sli, most): (u64, u64)| {
            let (app, metric) = self.names.get(&sli)?.clone();
            let all = self.this_hour.slis.get(&sli).map_or(0, |all| all.bad);
            (all >= TOP_MIN).then(|| TopSource { app, metric, share: (most as f64 / all as f64).min(1.0) })
        };
        most.into_iter().filter_map(top).collect()
    }

    /// The largest share that a network had in the last minute in which something came, if it can be told.
    pub fn largest(&self) -> Option<Share> {
        self.largest
    }

    /// Whether a network may report so much more bad news, by what this hour or the last one allows: whichever knows more.
    fn has_room_for(&self, key: (u64, u64), bad: u64) -> bool {
        let reported = self.this_hour.bad.get(&key).copied().unwrap_or(0).saturating_add(bad);
        let max = [&self.last_hour, &self.this_hour].into_iter().filter_map(|hour| hour.bad_max(key)).max();
        max.is_none_or(|max| reported <= max)
    }

    fn turn(&mut self, now: Timestamp) {
        let minute = now.millis().div_euclid(Span::MINUTE.millis());
        if minute != self.minute {
            self.tops = self.find_tops();
        }
        let hour = now.millis().div_euclid(Span::HOUR.millis());
        if hour != self.this_hour.number {
            self.names.clear();
            let before = std::mem::replace(&mut self.this_hour, Hour { number: hour, ..Hour::default() });
            // What lies further back says nothing of now.
            self.last_hour = if before.number == hour - 1 { before } else { Hour::default() };
        }
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
        (0..times).filter(|_| influence.admit(sli, &network, person, (1, 0), now)).count()
    }

    #[test]
    fn a_network_adds_so_many_a_minute_to_each_metric_and_no_more() {
        let mut influence = Influence::new(60);
        assert_eq!(admitted(&mut influence, 1, None, 5_000, NOW), 60);
        assert_eq!(admitted(&mut influence, 2, None, 50, NOW), 50);
        let other = influence.sli("shop", &Metric::PageView);
        assert!(influence.admit(other, &1_u32, None, (60, 0), NOW) && !influence.admit(other, &1_u32, None, (1, 0), NOW));
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
        assert!(!influence.admit(sli, &1_u32, None, (61, 0), NOW));
        assert!(influence.admit(sli, &1_u32, None, (60, 0), NOW));
        assert!(!influence.admit(sli, &1_u32, None, (u32::MAX, 0), NOW));
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
            influence.admit(sli, &1_u32, None, (1, 1), NOW + Span::minutes(2));
        }
        assert!(influence.totals.len() <= SLIS_MAX && influence.this_hour.slis.len() <= SLIS_MAX);
        for network in 0..100_000_u32 {
            influence.admit(other(&influence), &network, None, (1, 1), NOW + Span::minutes(2));
        }
        assert!(influence.this_hour.bad.len() <= REPORTERS_MAX);
    }

    #[test]
    fn who_brought_most_of_the_bad_news_is_told_once_a_minute() {
        let mut influence = Influence::new(60_000);
        let (sli, quiet) = (other(&influence), influence.sli("shop", &Metric::Request));
        for (sli, network, bad) in [(sli, 1_u32, 15), (sli, 2, 5), (sli, 3, 0), (quiet, 1, TOP_MIN as u32 - 1)] {
            influence.name(sli, "shop", || if sli == quiet { "request".to_owned() } else { "page_view".to_owned() });
            assert!(influence.admit(sli, &network, None, (40, bad), NOW));
        }
        assert_eq!(influence.top_sources(), []);
        influence.admit(sli, &3_u32, None, (1, 0), NOW + Span::MINUTE);
        let expected = TopSource { app: "shop".into(), metric: "page_view".into(), share: 0.75 };
        assert_eq!((influence.top_sources(), influence.top_sources()), (vec![expected], vec![]));
        influence.admit(sli, &3_u32, None, (1, 0), NOW + Span::hours(3));
        influence.admit(sli, &3_u32, None, (1, 0), NOW + Span::hours(3) + Span::MINUTE);
        assert_eq!(influence.top_sources(), [], "of an hour that is over nothing is told");
    }

    fn other(influence: &Influence) -> Sli {
        influence.sli("shop", &Metric::PageView)
    }

    /// An hour of a small site: 40 networks with 30 events each, of which so many are bad, and a network that sends nothing but
    /// bad news. What is counted.
    fn small_site(influence: &mut Influence, bad_of: impl Fn(u32, i64) -> bool, flood: u32, start: Timestamp) -> (i64, i64) {
        let (sli, mut counted) = (other(influence), (0, 0));
        for minute in 0..60 {
            let now = start + Span::minutes(minute);
            for network in (0..40_u32).filter(|network| (i64::from(*network) + minute) % 2 == 0) {
                let bad = u32::from(bad_of(network, minute));
                if influence.admit(sli, &network, None, (1, bad), now) {
                    counted = (counted.0 + 1, counted.1 + i64::from(bad));
                }
            }
            for _ in 0..flood {
                if influence.admit(sli, &999_u32, None, (1, 1), now) {
                    counted = (counted.0 + 1, counted.1 + 1);
                }
            }
        }
        counted
    }

    #[test]
    fn at_the_default_one_source_does_not_page_on_a_small_site() {
        let mut influence = Influence::new(60_000);
        assert_eq!(small_site(&mut influence, |_, _| false, 0, NOW), (1_200, 0));
        for hour in 1..7 {
            let (total, bad) = small_site(&mut influence, |_, _| false, 500, NOW + Span::hours(hour));
            let burn = crate::domain::burn::burn(crate::domain::cell::Counts::plain(total, bad), 1_000).expect("measured");
            // Neither by the tier of an hour nor by that of six.
            assert!(bad > 0 && burn < 6.0, "{total} {bad} {burn}");
        }
    }

    #[test]
    fn what_happens_to_everybody_is_counted_whole() {
        let mut influence = Influence::new(60_000);
        small_site(&mut influence, |_, _| false, 0, NOW);
        assert_eq!(small_site(&mut influence, |_, minute| minute >= 20, 0, NOW + Span::HOUR), (1_200, 800));
    }

    #[test]
    fn where_few_networks_report_nobody_is_held_to_the_others() {
        let mut influence = Influence::new(60_000);
        let sli = other(&influence);
        for network in 0..10_u32 {
            assert!(influence.admit(sli, &network, None, (1, 0), NOW));
        }
        assert!((0..5_000).all(|_| influence.admit(sli, &99_u32, None, (1, 1), NOW)));
    }
}
