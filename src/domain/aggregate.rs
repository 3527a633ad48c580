//! Folds events and ready-made rows into cells: one per series and slice of time, until the next flush takes them.
//!
//! Knows no clock and does no I/O. What was folded away by the caps is counted; totals are exact.

mod cells;
mod repeats;
mod routes;
mod seen;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahash::AHashMap;

pub use repeats::{RepeatState, Repeated};
pub use routes::Learnt;
pub use seen::{SeenKey, SeenKind};
pub use table::{APPS_MAX, TooManyApps, VALUES_MAX};

use super::cell::{Cell, Counts, Limit, Over, UNIT, square};
use super::event::{Batch, Event};
use super::filter::Match;
use super::metric::Metric;
use super::rows::Row;
use super::segment::Slice;
use super::series::Series;
use super::sketch::Sketch;
use super::time::{Span, Timestamp};
use super::user_keys::UserKeys;
use cells::{Cells, Kept, Places};
use repeats::{Counted, Repeats};
use seen::Seen;
use table::Table;

/// How long a body is remembered byte for byte (CONTRACT 5).
pub const BODY_WINDOW: Span = Span::minutes(10);
/// Bounds of the memories, in hashes. What is remembered in parts or generations has seven eighths of a power of two in each:
/// with one entry more the table that holds them is twice as large.
const BODIES_MAX: usize = 500_000;
const IDS_MAX: usize = 458_752;
const ROW_IDS_MAX: usize = 8_000_000;
/// How many things that may be reported again are remembered, in memory and in the database.
pub const REPEATS_MAX: usize = 229_376;
/// How many example traces one flush carries.
const TRACES_MAX: usize = 64;

/// How events are folded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Length of a slice.
    pub bucket: Span,
    /// What arrives longer than this after the end of its bucket is late.
    pub settle: Span,
    /// Dimensions that series have, in order of importance.
    pub dimensions: Vec<String>,
    pub series_max: usize,
    /// How long ids of bodies and rows are remembered: `retention.bucket`.
    pub remember: Span,
}

/// Number of a series within this aggregator; means nothing elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalSeries(pub u32);

/// What a flush takes away.
#[derive(Debug, Default)]
pub struct Drained {
    /// One for each series and slice, in the order of their first events.
    pub cells: Vec<(LocalSeries, Slice, Cell)>,
    /// Series that are new since the last flush. A number that is forgotten and given again stands
    /// here again, so a map that takes these over is always right.
    pub new: Vec<(LocalSeries, Series)>,
    /// What must be remembered across a restart.
    pub seen: Vec<SeenKey>,
    /// What is counted now of things that may be reported again, and was not at the last flush.
    pub repeated: Repeated<LocalSeries>,
    /// Traces of bad events, at most one a series and slice.
    pub traces: Vec<(LocalSeries, Slice, String)>,
    /// Places of paths whose values share a route from now on.
    pub learnt: Vec<Learnt>,
    pub arrival: Arrival,
    /// How many series are known now.
    pub series: usize,
}

impl Drained {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.seen.is_empty() && self.repeated.states.is_empty() && self.learnt.is_empty()
    }
}

/// What was counted since the last call, taken away in no time; [`Taken::finish`] makes a flush of it, which takes its time.
#[derive(Debug)]
pub struct Taken {
    drained: Drained,
    cells: Vec<(LocalSeries, Slice, Kept)>,
    /// Series that are new since the last flush.
    pub new: Vec<LocalSeries>,
    repeated: AHashMap<u64, Counted>,
    limit_sets: Vec<Arc<[Limit]>>,
}

impl Taken {
    /// With the new series themselves.
    pub fn finish(self, new: Vec<(LocalSeries, Series)>) -> Drained {
        let cells = self.cells.into_iter().map(|(series, slice, kept)| (series, slice, kept.into_cell())).collect();
        Drained { cells, new, repeated: repeats::named(self.repeated, &self.limit_sets), ..self.drained }
    }
}

/// How events arrived since the last flush.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    pub events: u64,
    /// Events whose bucket had closed already.
    pub late: u64,
    /// Events that lost a dimension value to the caps.
    pub folded: u64,
    /// Arrival minus event time, in milliseconds.
    pub lag: Sketch,
}

/// What became of a ready-made row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    Counted,
    /// Its `id` was seen before.
    Duplicate,
}

#[derive(Debug, Default)]
struct Entry {
    /// Index into the sets of limits.
    limits: u16,
    /// Newest slice that was counted.
    last: Slice,
    places: Places,
    /// The slice of which an example trace was taken.
    traced: Option<Slice>,
    fresh: bool,
}

/// Cells in the making, and the memories that make everything count once.
#[derive(Debug)]
pub struct Aggregator {
    settings: Settings,
    table: Table,
    entries: Vec<Entry>,
    cells: Cells,
    new: Vec<u32>,
    limits: BTreeMap<Metric, u16>,
    /// Every set of limits that was ever in force: an update is taken back from the set it was held
    /// against. The first one is empty.
    limit_sets: Vec<Arc<[Limit]>>,
    /// Under which users are counted.
    user_keys: UserKeys,
    repeats: Repeats,
    /// What changed in there since the last flush.
    repeated: AHashMap<u64, Counted>,
    bodies: Seen,
    ids: Seen,
    row_ids: Seen,
    seen: Vec<SeenKey>,
    traces: Vec<(LocalSeries, Slice, String)>,
    arrival: Arrival,
}

impl Aggregator {
    /// An empty one.
    pub fn new(settings: Settings) -> Aggregator {
        Aggregator {
            table: Table::new(&settings.dimensions, settings.series_max),
            entries: Vec::new(),
            cells: Cells::default(),
            new: Vec::new(),
            limits: BTreeMap::new(),
            limit_sets: vec![Arc::default()],
            user_keys: UserKeys::default(),
            repeats: Repeats::new(REPEATS_MAX),
            repeated: AHashMap::new(),
            bodies: Seen::new(BODY_WINDOW, 20, BODIES_MAX),
            ids: Seen::new(settings.remember, 8, IDS_MAX),
            row_ids: Seen::new(settings.remember, 8, ROW_IDS_MAX),
            seen: Vec::new(),
            traces: Vec::new(),
            arrival: Arrival::default(),
            settings,
        }
    }

    /// The same, and where a place of a path has shown more than so many values, they share a route; 0: never. Templates that
    /// are configured stay what they are.
    pub fn learning(mut self, route_values_max: usize, configured: &[String]) -> Aggregator {
        self.table.routes = routes::Routes::new(route_values_max, configured);
        self
    }

    /// Takes over the patterns by which rules choose routes: what they tell apart is not folded.
    pub fn set_route_patterns(&mut self, patterns: &[Match]) {
        self.table.routes.set_patterns(patterns);
    }

    /// Takes over what was learnt before a restart, or by another process. Call it before series are recalled.
    pub fn recall_learnt(&mut self, learnt: impl IntoIterator<Item = Learnt>) {
        learnt.into_iter().for_each(|learnt| self.table.recall_learnt(learnt));
    }

    /// The routes of these series were there before this process. Call it after the series were recalled.
    pub fn recall_routes<'a>(&mut self, series: impl IntoIterator<Item = &'a Series>) {
        series.into_iter().for_each(|series| self.table.recall_route(series));
    }

    /// Takes over the keys under which users are counted from now on.
    pub fn set_user_keys(&mut self, keys: UserKeys) {
        self.user_keys = keys;
    }

    /// Takes over what rules name: the limits to count exactly, and what is never folded.
    pub fn set_rules(
        &mut self,
        limits: BTreeMap<Metric, Vec<Limit>>,
        named_dimensions: &BTreeSet<String>,
        named_values: &BTreeMap<String, BTreeSet<String>>,
    ) {
        self.table.set_named(named_dimensions, named_values);
        self.limits = limits.into_iter().map(|(metric, set)| (metric, self.limit_set(set))).collect();
        for (number, entry) in self.entries.iter_mut().enumerate() {
            if let Some(series) = self.table.series(number as u32) {
                entry.limits = self.limits.get(&series.metric).copied().unwrap_or(0);
            }
        }
    }

    fn limit_set(&mut self, set: Vec<Limit>) -> u16 {
        if let Some(at) = self.limit_sets.iter().position(|known| **known == *set) {
            return at as u16;
        }
        if self.limit_sets.len() > usize::from(u16::MAX) {
            // Tens of thousands of different rule sets in one life: start over, and let updates of
            // what was counted before count as new.
            self.limit_sets.truncate(1);
            self.repeats = Repeats::new(REPEATS_MAX);
            self.repeated.clear();
        }
        self.limit_sets.push(set.into());
        (self.limit_sets.len() - 1) as u16
    }

    /// Makes stored series known, so that the same ones stay unfolded after a restart.
    /// Their numbers come in the same order.
    pub fn recall_series<'a>(&mut self, series: impl IntoIterator<Item = &'a Series>, now: Timestamp) -> Vec<LocalSeries> {
        let mut numbers = Vec::new();
        for series in series {
            let number = self.table.recall(series, None);
            self.entry(number, self.slice(now));
            numbers.push(LocalSeries(number));
        }
        numbers
    }

    /// Remembers what was counted before a restart, or by another process, of things that may be reported again; the
    /// oldest first. What is known here with a later report stays.
    pub fn recall_repeated(&mut self, repeated: Repeated<LocalSeries>) {
        let sets: Vec<u16> = repeated.limits.into_iter().map(|set| self.limit_set(set)).collect();
        for state in repeated.states {
            let RepeatState { key, series, slice, weight, value, bad, ts, limits } = state;
            let is_newer = |known: &Counted| matches!((known.ts(), ts), (Some(known), Some(ts)) if known > ts);
            if self.repeats.peek(key).is_some_and(is_newer) {
                continue;
            }
            if let Some(limits) = sets.get(usize::from(limits)).copied() {
                let state = RepeatState { key, series: series.0, slice, weight, value, bad, ts, limits };
                self.repeats.insert(key, Counted::new(state));
            }
        }
    }

    /// Remembers what was seen before a restart.
    pub fn recall_seen(&mut self, keys: impl IntoIterator<Item = SeenKey>) {
        let mut keys: Vec<SeenKey> = keys.into_iter().collect();
        keys.sort_unstable();
        for key in keys {
            self.memory(key.kind).insert(key.hash, key.at);
        }
    }

    fn memory(&mut self, kind: SeenKind) -> &mut Seen {
        match kind {
            SeenKind::Id => &mut self.ids,
            SeenKind::Body => &mut self.bodies,
            SeenKind::Row => &mut self.row_ids,
        }
    }

    /// Whether this was not seen within its time; it is remembered from now on.
    pub fn first_time(&mut self, kind: SeenKind, hash: u64, now: Timestamp) -> bool {
        let first = self.memory(kind).insert(hash, now);
        if first {
            self.seen.push(SeenKey { at: now, kind, hash });
        }
        first
    }

    /// Counts the events of a batch that arrived at `now`. Whether its `id` is new has been asked before.
    pub fn add(&mut self, batch: &Batch<'_>, now: Timestamp) -> Result<(), TooManyApps> {
        let scope = self.table.scope(&batch.source)?;
        for event in &batch.events {
            self.arrived(event, now);
            if let Some(repeat) = event.repeat
                && let Some(counted) = self.repeats.get_mut(repeat.key)
            {
                let (before, current) = (*counted, self.entries[counted.series as usize].limits);
                *counted = newer(before, event, current);
                let after = *counted;
                self.repeated.insert(repeat.key, after);
                self.revise(before, after, event.user);
                continue;
            }
            let (series, folded) = self.table.find(&scope, event, now);
            self.arrival.folded += u64::from(folded);
            self.count(series, event);
        }
        Ok(())
    }

    fn arrived(&mut self, event: &Event<'_>, now: Timestamp) {
        let lag = (now - event.at).millis().max(0);
        self.arrival.events += 1;
        self.arrival.lag.add(lag as f64, UNIT);
        let closed = event.at.floor(self.settings.bucket) + self.settings.bucket + self.settings.settle;
        self.arrival.late += u64::from(closed <= now);
    }

    fn count(&mut self, series: u32, event: &Event<'_>) {
        let slice = self.slice(event.at);
        let number = self.entry(series, slice);
        let entry = &mut self.entries[number];
        if let Some(repeat) = event.repeat {
            let (weight, value, bad, limits) = (event.weight, event.value, event.bad, entry.limits);
            let counted = Counted::new(RepeatState { key: repeat.key, series, slice, weight, value, bad, ts: repeat.ts, limits });
            self.repeats.insert(repeat.key, counted);
            self.repeated.insert(repeat.key, counted);
        }
        if let (Some(trace), true, false) = (&event.trace, event.bad, entry.traced == Some(slice))
            && self.traces.len() < TRACES_MAX
        {
            entry.traced = Some(slice);
            self.traces.push((LocalSeries(series), slice, trace.to_string()));
        }
        let limits = &self.limit_sets[usize::from(entry.limits)];
        let kept = self.cells.of(&mut entry.places, series, slice);
        let is_plain = event.weight == UNIT && event.value.is_none() && event.user.is_none();
        if is_plain && kept.count_plain(event.bad) {
            return;
        }
        let cell = kept.whole();
        cell.counts += Counts::event(event.weight, event.bad);
        if event.bad {
            cell.bad_sq += square(event.weight);
        }
        if let Some(value) = event.value {
            cell.valued += Counts::event(event.weight, false);
            weigh_value(cell, value, event.weight, limits);
        }
        if let Some(user) = event.user {
            let (key, user) = self.user_keys.of(event.at, user);
            cell.users.add_under(key, user);
            if event.bad {
                cell.bad_users.add_under(key, user);
            }
        }
    }

    /// Posts the difference between what is counted of a thing and its newer state, to where it was counted.
    fn revise(&mut self, before: Counted, after: Counted, user: Option<u64>) {
        let (old, new) = (before.value(), after.value());
        if new == old && after.bad == before.bad {
            return;
        }
        let cell = self.cells.of(&mut self.entries[before.series as usize].places, before.series, before.slice).whole();
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            weigh_value(cell, old, -before.weight, &self.limit_sets[usize::from(before.limits)]);
            weigh_value(cell, new, before.weight, &self.limit_sets[usize::from(after.limits)]);
        }
        if after.bad && !before.bad {
            cell.counts.bad += before.weight;
            cell.counts.raw_bad += 1;
            cell.bad_sq += square(before.weight);
            if let Some(user) = user {
                // Under the key of the slice that the first report was counted in.
                let at = Timestamp(before.slice.saturating_mul(self.settings.bucket.millis()));
                let (key, user) = self.user_keys.of(at, user);
                cell.bad_users.add_under(key, user);
            }
        }
    }

    /// Counts a ready-made row.
    pub fn add_row(&mut self, mut row: Row<'_>, now: Timestamp) -> Result<RowOutcome, TooManyApps> {
        let (series, folded) = self.table.find_row(&row.metric, row.dims())?;
        if let Some(id) = row.id
            && !self.first_time(SeenKind::Row, id, now)
        {
            return Ok(RowOutcome::Duplicate);
        }
        self.arrival.folded += u64::from(folded);
        row.count_users(&self.user_keys);
        let slice = self.slice(row.at);
        let number = self.entry(series, slice);
        let cell = self.cells.of(&mut self.entries[number].places, series, slice).whole();
        if *cell == Cell::default() {
            *cell = row.cell
        } else {
            cell.merge(&row.cell)
        }
        Ok(RowOutcome::Counted)
    }

    fn slice(&self, at: Timestamp) -> Slice {
        at.millis().div_euclid(self.settings.bucket.millis())
    }

    fn entry(&mut self, series: u32, slice: Slice) -> usize {
        let number = series as usize;
        if number >= self.entries.len() {
            self.entries.resize_with(number + 1, Entry::default);
        }
        if !self.entries[number].fresh {
            let metric = self.table.series(series).expect("the table just gave this number").metric;
            let limits = self.limits.get(&metric).copied().unwrap_or(0);
            self.entries[number] = Entry { limits, last: slice, fresh: true, ..Entry::default() };
            self.new.push(series);
        }
        let entry = &mut self.entries[number];
        entry.last = entry.last.max(slice);
        number
    }

    /// A series by its number.
    pub fn series(&self, series: LocalSeries) -> Option<Series> {
        self.table.series(series.0)
    }

    /// Takes everything that was counted since the last call.
    pub fn drain(&mut self) -> Drained {
        let taken = self.take();
        let new = self.named(&taken.new);
        taken.finish(new)
    }

    /// The same, but nothing that takes longer the more was counted.
    pub fn take(&mut self) -> Taken {
        let drained = Drained {
            seen: std::mem::take(&mut self.seen),
            traces: std::mem::take(&mut self.traces),
            learnt: self.table.routes.drain(),
            arrival: std::mem::take(&mut self.arrival),
            series: self.table.len(),
            ..Drained::default()
        };
        let new = std::mem::take(&mut self.new).into_iter().map(LocalSeries).collect();
        Taken { drained, cells: self.cells.take(), new, repeated: std::mem::take(&mut self.repeated), limit_sets: self.limit_sets.clone() }
    }

    /// Those of these series that are known.
    pub fn named(&self, series: &[LocalSeries]) -> Vec<(LocalSeries, Series)> {
        series.iter().filter_map(|number| Some((*number, self.series(*number)?))).collect()
    }

    /// Forgets series without an event since `before`, so that old releases make room for new ones.
    /// Call it now and then (hourly); it costs about a microsecond a series.
    pub fn forget_idle(&mut self, before: Timestamp) {
        let before = self.slice(before);
        let entries = &mut self.entries;
        let stays = |series: u32| {
            let entry = &entries[series as usize];
            entry.last >= before || self.cells.has(&entry.places)
        };
        self.table.retain(stays);
        for (number, entry) in entries.iter_mut().enumerate() {
            if self.table.series(number as u32).is_none() {
                *entry = Entry::default();
            }
        }
        self.repeats.retain_series(|series| entries[series as usize].fresh);
        self.new.retain(|series| entries[*series as usize].fresh);
    }
}

/// The state after a report: the later one by the client's time; of two of one time the larger
/// value, so that the order of arrival does not matter. A session that crashed stays crashed.
/// A new value is held against the limits of now.
fn newer(counted: Counted, event: &Event<'_>, limits: u16) -> Counted {
    let ts = event.repeat.and_then(|repeat| repeat.ts);
    let known = counted.state(0);
    let replaces = match (known.ts, ts) {
        (Some(old), Some(new)) if new == old => event.value > known.value,
        (Some(old), Some(new)) => new > old,
        _ => true,
    };
    let value = if replaces { event.value.or(known.value) } else { known.value };
    Counted::new(RepeatState {
        value,
        ts: if replaces { ts.or(known.ts) } else { known.ts },
        bad: known.bad || event.bad,
        limits: if value == known.value { known.limits } else { limits },
        ..known
    })
}

/// Adds a value to the distribution, the sum and the exact counters, with a weight that may be negative.
fn weigh_value(cell: &mut Cell, value: f64, weight: i64, limits: &[Limit]) {
    cell.sum += value * (weight as f64 / UNIT as f64);
    cell.sketch.add(value, weight);
    for limit in limits {
        let missed = i64::from(limit.missed_by(value));
        cell.add_over(Over { limit: *limit, tested: weight, over: missed * weight, raw_over: missed * weight.signum() });
    }
}

#[cfg(test)]
mod tests;
