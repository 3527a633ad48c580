//! History in memory, packed: a plain minute of one series costs five to ten bytes, so that a month of a
//! hundred series fits into a few dozen megabytes.
//!
//! Cells are appended in any order and become visible with [`MemoryArchive::seal`], which sorts each touched
//! hour by series and slice. Rollups of an hour are made when they are first asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::super::cell::Cell;
use super::super::filter::{Filter, Match};
use super::super::metric::Metric;
use super::super::notification::Change;
use super::super::segment::{Brief, Slice, pack, unpack, unpack_brief, unpack_counts};
use super::super::series::{Series, SeriesId};
use super::super::time::{Span, Timestamp};
use super::super::varint::{read_u64, write_u64};
use super::{Archive, Ask};

/// Selections that are remembered; rules ask the same ones again and again.
const SELECTIONS_MAX: usize = 4096;
const FIVE: Span = Span::minutes(5);
const WHOLE: &str = "an archive holds only what it packed";

/// See the module's text.
pub struct MemoryArchive {
    bucket: Span,
    /// Buckets of an hour.
    per_hour: i64,
    series: Vec<Series>,
    known: HashMap<Series, SeriesId>,
    by_metric: HashMap<Metric, Vec<u32>>,
    hours: BTreeMap<i64, Hour>,
    changes: Vec<Change>,
    cells: u64,
    scratch: Vec<u8>,
    selections: Mutex<HashMap<(Metric, String), Arc<[u32]>>>,
}

#[derive(Default)]
struct Hour {
    /// What was appended since the last seal: series, slice within the hour, length, packed cell.
    log: Vec<u8>,
    fine: Packed,
    five: OnceLock<Packed>,
    whole: OnceLock<Packed>,
}

/// Cells sorted by series, then slice; each slice once.
#[derive(Default)]
struct Packed {
    bytes: Box<[u8]>,
    /// Where each series begins, ascending.
    index: Box<[(u32, u32)]>,
}

/// A place in an archive that is read slice by slice.
#[derive(Debug, Default)]
pub struct Place {
    hour: Option<i64>,
    /// Series and offset of its cell, for each slice of the hour.
    slices: Vec<Vec<(u32, u32)>>,
}

impl MemoryArchive {
    /// An empty archive of slices of this length.
    pub fn new(bucket: Span) -> MemoryArchive {
        MemoryArchive {
            bucket,
            per_hour: (Span::HOUR.0 / bucket.0).max(1),
            series: Vec::new(),
            known: HashMap::new(),
            by_metric: HashMap::new(),
            hours: BTreeMap::new(),
            changes: Vec::new(),
            cells: 0,
            scratch: Vec::new(),
            selections: Mutex::default(),
        }
    }

    /// The number of a series, new or known. Numbers count up from zero.
    pub fn intern(&mut self, series: &Series) -> SeriesId {
        if let Some(known) = self.known.get(series) {
            return *known;
        }
        let id = u32::try_from(self.series.len()).expect("memory ends before four billion series");
        self.by_metric.entry(series.metric.clone()).or_default().push(id);
        self.known.insert(series.clone(), SeriesId(id));
        self.series.push(series.clone());
        self.selections.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        SeriesId(id)
    }

    /// All series, by their number.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// How many cells were added.
    pub fn cells_added(&self) -> u64 {
        self.cells
    }

    /// Adds a cell; [`MemoryArchive::seal`] makes it visible.
    pub fn add(&mut self, series: SeriesId, slice: Slice, cell: &Cell) {
        let mut packed = std::mem::take(&mut self.scratch);
        packed.clear();
        pack(cell, &mut packed);
        self.add_packed(series, slice, &packed);
        self.scratch = packed;
    }

    /// Adds a cell that [`pack`] wrote.
    pub fn add_packed(&mut self, series: SeriesId, slice: Slice, cell: &[u8]) {
        let log = &mut self.hours.entry(slice.div_euclid(self.per_hour)).or_default().log;
        write_u64(log, u64::from(series.0));
        write_u64(log, slice.rem_euclid(self.per_hour) as u64);
        write_u64(log, cell.len() as u64);
        log.extend_from_slice(cell);
        self.cells += 1;
    }

    /// Adds an annotation.
    pub fn add_change(&mut self, change: Change) {
        let at = self.changes.partition_point(|have| have.at <= change.at);
        self.changes.insert(at, change);
    }

    /// Makes everything visible that was added.
    pub fn seal(&mut self) {
        for hour in self.hours.values_mut().filter(|hour| !hour.log.is_empty()) {
            hour.seal();
        }
    }

    /// The first slice, and the one after the last; `None` when it is empty. Of what is sealed.
    pub fn span(&self) -> Option<(Slice, Slice)> {
        let (first, hour) = self.hours.first_key_value()?;
        let (last, end) = self.hours.last_key_value()?;
        let (mut from, mut to) = (i64::MAX, i64::MIN);
        hour.fine.each_slice(|_, slice, _| from = from.min(first * self.per_hour + slice));
        end.fine.each_slice(|_, slice, _| to = to.max(last * self.per_hour + slice + 1));
        (from < to).then_some((from, to))
    }

    /// Calls `visit` with the cells of one slice by ascending series; cheapest when slices are read in order.
    pub fn slice(&self, place: &mut Place, slice: Slice, mut visit: impl FnMut(SeriesId, &Brief<'_>)) {
        let number = slice.div_euclid(self.per_hour);
        let Some(hour) = self.hours.get(&number) else { return };
        if place.hour != Some(number) {
            place.hour = Some(number);
            place.slices.resize_with(self.per_hour as usize, Vec::new);
            place.slices.iter_mut().for_each(Vec::clear);
            hour.fine.each_slice(|series, slice, offset| place.slices[slice as usize].push((series, offset)));
        }
        for (series, offset) in &place.slices[slice.rem_euclid(self.per_hour) as usize] {
            let brief = unpack_brief(&mut &hour.fine.bytes[*offset as usize..]).expect(WHOLE);
            visit(SeriesId(*series), &brief);
        }
    }

    /// Bytes of the packed cells.
    pub fn bytes(&self) -> usize {
        self.hours.values().map(|hour| hour.log.capacity() + hour.fine.bytes.len() + hour.fine.index.len() * 8).sum()
    }

    /// The numbers of the series that a filter selects, ascending.
    fn select(&self, metric: &Metric, filter: &Filter) -> Arc<[u32]> {
        let key = (metric.clone(), serde_json::to_string(filter).expect("a filter always serialises"));
        let mut selections = self.selections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = selections.get(&key) {
            return known.clone();
        }
        let all = self.by_metric.get(metric).map_or(&[][..], Vec::as_slice);
        let selected: Arc<[u32]> = all.iter().copied().filter(|id| filter.accepts(&self.series[*id as usize])).collect();
        if selections.len() >= SELECTIONS_MAX {
            selections.clear();
        }
        selections.insert(key, selected.clone());
        selected
    }

    /// The finest slices that are kept, or the rollup that is no coarser than `step`.
    fn level<'h>(&self, hour: &'h Hour, step: Span) -> (Span, &'h Packed) {
        let makes = |slice: Span| slice > self.bucket && slice.0 % self.bucket.0 == 0;
        if step >= Span::HOUR && makes(Span::HOUR) {
            (Span::HOUR, hour.whole.get_or_init(|| hour.fine.rolled_up(self.per_hour)))
        } else if step >= FIVE && makes(FIVE) {
            (FIVE, hour.five.get_or_init(|| hour.fine.rolled_up(FIVE.0 / self.bucket.0)))
        } else {
            (self.bucket, &hour.fine)
        }
    }

    fn hours(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (Timestamp, &Hour)> {
        let number = |at: Timestamp| at.0.div_euclid(Span::HOUR.0);
        let wanted = if from < to { number(from)..number(to - Span(1)) + 1 } else { 0..0 };
        self.hours.range(wanted).map(|(number, hour)| (Timestamp(number * Span::HOUR.0), hour))
    }
}

impl Archive for MemoryArchive {
    fn cells(&self, ask: &Ask<'_>, visit: &mut dyn FnMut(&Series, Timestamp, &Cell)) -> Result<(), String> {
        let wanted = self.select(ask.metric, ask.filter);
        let read = if ask.detail { unpack } else { unpack_counts };
        for (start, hour) in self.hours(ask.from, ask.to) {
            let (length, packed) = self.level(hour, ask.step);
            // Slices of the hour that start in the span.
            let first = slices_before(ask.from - start, length);
            let end = slices_before(ask.to - start, length);
            packed.read(&wanted, read, &mut |series, slice, cell| {
                if (first..end).contains(&slice) {
                    visit(&self.series[series as usize], start + Span(slice * length.0), cell);
                }
            });
        }
        Ok(())
    }

    fn measured(&self, apps: Option<&Match>, from: Timestamp, to: Timestamp) -> Result<bool, String> {
        let accepts = |id: u32| apps.is_none_or(|apps| apps.accepts(self.series[id as usize].app()));
        for (start, hour) in self.hours(from, to) {
            let (first, end) = (slices_before(from - start, self.bucket), slices_before(to - start, self.bucket));
            let mut found = false;
            if start >= from && start + Span::HOUR <= to {
                found = hour.fine.index.iter().any(|(id, _)| accepts(*id));
            } else {
                hour.fine.each_slice(|id, slice, _| found |= (first..end).contains(&slice) && accepts(id));
            }
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn traces(&self, _: &Ask<'_>) -> Result<Vec<(Series, String)>, String> {
        // Aggregates hold no traces, and what is replayed comes as aggregates.
        Ok(Vec::new())
    }

    fn changes(&self, from: Timestamp, to: Timestamp, app: Option<&str>) -> Result<Vec<Change>, String> {
        let within = |change: &&Change| (from..to).contains(&change.at) && app.is_none_or(|app| change.app == app);
        Ok(self.changes.iter().filter(within).cloned().collect())
    }
}

/// How many slices begin before a point, counted from a boundary.
fn slices_before(point: Span, length: Span) -> i64 {
    -((-point.0).div_euclid(length.0))
}

impl Hour {
    fn seal(&mut self) {
        // Series, slice within the hour, and where the packed cell lies: in the old bytes, then in the log.
        let mut entries: Vec<(u32, u32, usize, usize)> = Vec::new();
        let old = std::mem::take(&mut self.fine);
        let mut log = std::mem::take(&mut self.log);
        let base = log.len();
        log.extend_from_slice(&old.bytes);
        let all = &log[..];
        old.each_slice(|series, slice, offset| {
            let from = base + offset as usize;
            let mut rest = &all[from..];
            unpack_brief(&mut rest).expect(WHOLE);
            entries.push((series, slice as u32, from, all.len() - rest.len()));
        });
        let mut input = &all[..base];
        while !input.is_empty() {
            let mut next = || read_u64(&mut input).expect(WHOLE);
            let (series, slice, length) = (next() as u32, next() as u32, next() as usize);
            let from = base - input.len();
            input = &input[length..];
            entries.push((series, slice, from, from + length));
        }
        entries.sort_unstable();
        let mut out = PackedWriter::default();
        let mut at = 0;
        while at < entries.len() {
            let (series, slice, from, to) = entries[at];
            let parts = entries[at..].iter().take_while(|entry| (entry.0, entry.1) == (series, slice)).count();
            if parts == 1 {
                out.begin(series, slice).extend_from_slice(&all[from..to]);
            } else {
                let mut sum = Cell::default();
                for (.., from, to) in &entries[at..at + parts] {
                    sum.merge(&unpack(&mut &all[*from..*to]).expect(WHOLE));
                }
                pack(&sum, out.begin(series, slice));
            }
            at += parts;
        }
        *self = Hour { fine: out.finish(), ..Hour::default() };
    }
}

#[derive(Default)]
struct PackedWriter {
    bytes: Vec<u8>,
    index: Vec<(u32, u32)>,
    last: u32,
}

impl PackedWriter {
    /// Where to pack the next cell.
    fn begin(&mut self, series: u32, slice: u32) -> &mut Vec<u8> {
        if self.index.last().is_none_or(|(last, _)| *last != series) {
            self.index.push((series, u32::try_from(self.bytes.len()).expect("an hour of cells stays below 4 GiB")));
            self.last = 0;
        }
        write_u64(&mut self.bytes, u64::from(slice - self.last));
        self.last = slice;
        &mut self.bytes
    }

    fn finish(self) -> Packed {
        Packed { bytes: self.bytes.into_boxed_slice(), index: self.index.into_boxed_slice() }
    }
}

impl Packed {
    /// The bytes of the series at a place of the index.
    fn bytes_of(&self, at: usize) -> &[u8] {
        let end = self.index.get(at + 1).map_or(self.bytes.len(), |(_, end)| *end as usize);
        &self.bytes[self.index[at].1 as usize..end]
    }

    /// Calls `visit` with the series, slice and offset of every cell.
    fn each_slice(&self, mut visit: impl FnMut(u32, i64, u32)) {
        for (at, (series, _)) in self.index.iter().enumerate() {
            let mut input = self.bytes_of(at);
            let mut slice = 0;
            while !input.is_empty() {
                slice += read_u64(&mut input).expect(WHOLE);
                let offset = input.as_ptr() as usize - self.bytes.as_ptr() as usize;
                visit(*series, slice as i64, offset as u32);
                unpack_brief(&mut input).expect(WHOLE);
            }
        }
    }

    fn read(&self, wanted: &[u32], read: fn(&mut &[u8]) -> Option<Cell>, visit: &mut dyn FnMut(u32, i64, &Cell)) {
        let mut from = 0;
        for series in wanted {
            let Ok(found) = self.index[from..].binary_search_by_key(series, |(id, _)| *id) else { continue };
            from += found;
            let mut input = self.bytes_of(from);
            let mut slice = 0;
            while !input.is_empty() {
                slice += read_u64(&mut input).expect(WHOLE);
                let cell = read(&mut input).expect(WHOLE);
                visit(*series, slice as i64, &cell);
            }
        }
    }

    /// The same cells in slices that are `ratio` times as long.
    fn rolled_up(&self, ratio: i64) -> Packed {
        let mut out = PackedWriter::default();
        for (at, (series, _)) in self.index.iter().enumerate() {
            let mut input = self.bytes_of(at);
            let mut slice = 0;
            let mut open: Option<(u32, Cell)> = None;
            while !input.is_empty() {
                slice += read_u64(&mut input).expect(WHOLE);
                let coarse = (slice as i64 / ratio) as u32;
                let cell = unpack(&mut input).expect(WHOLE);
                match &mut open {
                    Some((at, sum)) if *at == coarse => sum.merge(&cell),
                    _ => {
                        if let Some((at, sum)) = open.replace((coarse, cell)) {
                            pack(&sum, out.begin(*series, at));
                        }
                    }
                }
            }
            if let Some((at, sum)) = open {
                pack(&sum, out.begin(*series, at));
            }
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::archive::read_span;
    use crate::domain::cell::{Counts, UNIT};
    use proptest::prelude::*;

    fn series(region: &str) -> Series {
        Series::new(Metric::Request, [("app", "shop"), ("region", region)].map(|(k, v)| (k.into(), v.into())))
    }

    fn cell(raw: i64, bad: i64) -> Cell {
        let mut cell = Cell { counts: Counts::plain(raw, bad), bad_sq: i128::from(bad * UNIT), pushed: true, ..Cell::default() };
        (0..raw as u64).for_each(|user| cell.users.add(user));
        cell
    }

    fn only(region: &str) -> Filter {
        Filter([("region".into(), Match::Equal(region.into()))].into())
    }

    fn sum(archive: &MemoryArchive, filter: &Filter, from: i64, to: i64, detail: bool) -> (Counts, u64) {
        let (from, to) = (Timestamp(from * 60_000), Timestamp(to * 60_000));
        let mut sum = Cell::default();
        let ask = Ask { metric: &Metric::Request, filter, from, to, step: Span::MINUTE, detail };
        read_span(archive, &ask, &mut |_, _, cell| sum.merge(cell)).unwrap();
        (sum.counts, sum.users.estimate())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_span_gives_the_sums_of_what_was_added_in_any_order(
            rows in prop::collection::vec((0_usize..3, -90_i64..400, 0_i64..5), 0..60),
            spans in prop::collection::vec((-100_i64..420, 0_i64..300), 1..8),
            sealed_at in 0_usize..60,
        ) {
            let regions = ["de", "us", "fr"];
            let mut archive = MemoryArchive::new(Span::MINUTE);
            for (n, (region, slice, raw)) in rows.iter().enumerate() {
                if n == sealed_at {
                    archive.seal();
                }
                let id = archive.intern(&series(regions[*region]));
                archive.add(id, *slice, &cell(*raw, raw / 2));
            }
            archive.seal();
            for (from, length) in spans {
                let to = from + length;
                let expected = |region: &dyn Fn(usize) -> bool| {
                    let mut sum = Cell::default();
                    let within = rows.iter().filter(|(at, slice, _)| region(*at) && (from..to).contains(slice));
                    within.for_each(|(_, _, raw)| sum.merge(&cell(*raw, raw / 2)));
                    (sum.counts, sum.users.estimate())
                };
                prop_assert_eq!(sum(&archive, &Filter::default(), from, to, true), expected(&|_| true));
                prop_assert_eq!(sum(&archive, &only("us"), from, to, true), expected(&|at| at == 1));
                prop_assert_eq!(sum(&archive, &only("us"), from, to, false), (expected(&|at| at == 1).0, 0));
                let apps = |app: &str| archive.measured(Some(&Match::Equal(app.into())), Timestamp(from * 60_000), Timestamp(to * 60_000)).unwrap();
                prop_assert_eq!(apps("shop"), rows.iter().any(|(_, slice, _)| (from..to).contains(slice)));
                prop_assert!(!apps("blog"));
            }
            let (mut place, mut all) = (Place::default(), Counts::ZERO);
            let (first, end) = archive.span().unwrap_or((0, 0));
            (first..end).for_each(|slice| archive.slice(&mut place, slice, |_, brief| all += brief.counts));
            prop_assert_eq!(all, sum(&archive, &Filter::default(), -100, 420, true).0);
            let slices = rows.iter().map(|(_, slice, _)| *slice);
            prop_assert_eq!((first, end), (slices.clone().min().unwrap_or(0), slices.max().map_or(0, |last| last + 1)));
        }
    }

    #[test]
    fn a_plain_minute_costs_few_bytes() {
        let mut archive = MemoryArchive::new(Span::MINUTE);
        let ids: Vec<_> = (0..100).map(|n| archive.intern(&series(&n.to_string()))).collect();
        for slice in 0..600 {
            for id in &ids {
                archive.add(
                    *id,
                    slice,
                    &Cell { counts: Counts::plain(700, 2), bad_sq: 2 * i128::from(UNIT), pushed: true, ..Cell::default() },
                );
            }
        }
        archive.seal();
        assert!(archive.bytes() < 60_000 * 8, "{}", archive.bytes());
    }
}
