//! The thirty days before the demo begins: rows as a pipeline would push them, the coarser the older, and the deploys of that time.
//!
//! Written the way all rows are written (a `rows` writer's partials, then compaction), before the daemon starts. Steps are
//! staggered over the series, so that in the last three days every bucket was measured: no tier waits for the demo to run.

use crate::chance;
use crate::clock::SharedClock;
use crate::domain::cell::{Cell, Counts, Limit, Over, UNIT};
use crate::domain::metric::{Metric, Vital};
use crate::domain::segment::{self, Slice};
use crate::domain::series::{Series, SeriesId};
use crate::domain::time::{Span, Timestamp};
use crate::store::annotations::AnnotationRow;
use crate::store::{self, Store, StoreError, archive};

use super::world::{self, APP, Bad, Dice, Flow, MACHINES, REGIONS, STABLE};

/// How far back it goes.
pub const REACH: Span = Span::days(30);
/// The limit that the demo's rules name for the largest paint.
pub const LCP_LIMIT: Limit = Limit { value: 2_500.0, inclusive: true };
/// Releases and how long before the start they went out, oldest first.
const RELEASES: [(&str, Span); 3] = [("2.2.8", Span::days(31)), ("2.2.9", Span::days(23)), (STABLE, Span::days(9))];
/// Old trouble, so that budgets have something to tell: how long ago it began, for how long, and how many checkouts failed.
const TROUBLES: [(Span, Span, f64); 2] =
    [(Span::hours(12 * 24 + 5), Span::hours(2), 0.02), (Span::hours(20 * 24 - 3), Span::hours(3), 0.008)];

/// A stretch of time that is written in equal steps.
struct Stretch {
    from: Timestamp,
    to: Timestamp,
    step: Span,
    /// Whether the steps of the series are spread over the buckets of a step.
    staggered: bool,
    /// What one partial holds.
    batch: Span,
}

/// Coarse and old first; each one ends where the next begins, the last one at the last whole bucket before `now`.
fn stretches(bucket: Span, now: Timestamp) -> [Stretch; 5] {
    let edges = [
        (now - REACH).floor(Span::DAY),
        (now - Span::hours(76)).floor(Span::DAY),
        (now - Span::hours(30)).floor(Span::HOUR),
        (now - Span::minutes(100)).floor(Span::HOUR),
        (now - Span::minutes(15)).floor(Span::minutes(5)),
        now.floor(bucket),
    ];
    let stretch = |at: usize, step, staggered, batch| Stretch { from: edges[at], to: edges[at + 1], step, staggered, batch };
    [
        stretch(0, Span::HOUR, false, Span::DAY),
        stretch(1, Span::minutes(15), true, Span::DAY),
        stretch(2, Span::minutes(5), true, Span::hours(6)),
        stretch(3, Span::MINUTE, true, Span::HOUR),
        stretch(4, bucket, false, Span::HOUR),
    ]
}

/// Who reports one flow: a region and a machine.
struct Line {
    flow: usize,
    /// Share of all users.
    share: f64,
    slow: f64,
    region: usize,
    machine: usize,
}

fn lines(flows: &[Flow]) -> Vec<Line> {
    let mut lines = Vec::new();
    for flow in 0..flows.len() {
        for (region, place) in REGIONS.iter().enumerate() {
            for (machine, device) in MACHINES.iter().enumerate() {
                let share = place.share * device.share;
                lines.push(Line { flow, share, slow: place.slow * device.slow, region, machine });
            }
        }
    }
    lines
}

struct Writer<'a> {
    store: &'a Store,
    bucket: Span,
    now: Timestamp,
    id: String,
    n: i64,
    lines: Vec<Line>,
    ordinary: Vec<Flow>,
    troubled: Vec<Vec<Flow>>,
    /// Ids of the lines' series, by release.
    ids: Vec<Vec<SeriesId>>,
    dice: Dice,
    cells: u64,
}

/// Writes everything until the clock's time and says how many cells that were; `progress` is told the share that is done.
pub async fn write(store: &Store, bucket: Span, clock: &SharedClock, mut progress: impl FnMut(f64)) -> Result<u64, StoreError> {
    let now = clock.now();
    let mut writer = Writer::open(store, bucket, now).await?;
    let all = stretches(bucket, now);
    let steps = |stretch: &Stretch| ((stretch.to - stretch.from).0 / stretch.step.0) as f64;
    let total: f64 = all.iter().map(steps).sum();
    let mut done = 0.0;
    for stretch in &all {
        let mut from = stretch.from;
        while from < stretch.to {
            // A batch ends where chunks do, so that none is written twice.
            let to = (from.floor(stretch.batch) + stretch.batch).min(stretch.to);
            writer.batch(from, to, stretch.step, stretch.staggered).await?;
            done += ((to - from).0 / stretch.step.0) as f64;
            progress(done / total);
            from = to;
        }
    }
    // Writing took a while: what passed meanwhile, and the begun bucket, belong to history as well.
    let mut written = all[4].to;
    loop {
        let end = clock.now().floor(bucket);
        if written == end {
            break;
        }
        writer.batch(written, end, bucket, false).await?;
        written = end;
    }
    writer.begun(written, clock.now()).await?;
    writer.close().await
}

impl<'a> Writer<'a> {
    async fn open(store: &'a Store, bucket: Span, now: Timestamp) -> Result<Writer<'a>, StoreError> {
        let id = chance::id();
        let ordinary = world::flows(world::CHECKOUT_FAILS);
        let lines = lines(&ordinary);
        let mut tx = store.write().await?;
        store::writer::open(&mut tx, &id, "rows", now).await?;
        let mut ids = Vec::new();
        for (release, before) in RELEASES {
            let series = |line: &Line| ordinary[line.flow].series(&REGIONS[line.region], &MACHINES[line.machine], release);
            let series: Vec<Series> = lines.iter().map(series).collect();
            ids.push(store::series::intern(&mut tx, &series).await?);
            if before < REACH {
                store::annotations::add(&mut tx, &deployed(release, now - before)).await?;
            }
        }
        tx.commit().await?;
        let troubled = TROUBLES.iter().map(|(_, _, fails)| world::flows(*fails)).collect();
        Ok(Writer { store, bucket, now, id, n: 0, lines, ordinary, troubled, ids, dice: Dice::new(0x5eed), cells: 0 })
    }

    /// One partial: all steps that start in `[from, to)`.
    async fn batch(&mut self, from: Timestamp, to: Timestamp, step: Span, staggered: bool) -> Result<(), StoreError> {
        let mut cells = Vec::new();
        let buckets = step.0 / self.bucket.0;
        let mut at = from;
        while at < to {
            let loads = world::loads_per_second(at + Span(step.0 / 2)) * step.as_secs_f64();
            let first = at.0.div_euclid(self.bucket.0);
            self.step(at, loads, |line| if staggered { first + line as i64 % buckets } else { first }, &mut cells);
            at += step;
        }
        self.append(cells, to).await
    }

    /// The part of a bucket that has passed.
    async fn begun(&mut self, bucket: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let mut cells = Vec::new();
        let loads = world::loads_per_second(now) * (now - bucket).as_secs_f64();
        let slice = bucket.0.div_euclid(self.bucket.0);
        self.step(bucket, loads, |_| slice, &mut cells);
        self.append(cells, now).await
    }

    /// What all series report of one step.
    fn step(&mut self, at: Timestamp, loads: f64, slice: impl Fn(usize) -> Slice, cells: &mut Vec<(SeriesId, Slice, Cell)>) {
        let age = self.now - at;
        let trouble = TROUBLES.iter().position(|(ago, lasted, _)| age <= *ago && age > *ago - *lasted);
        let flows = trouble.map_or(&self.ordinary, |at| &self.troubled[at]);
        let release = RELEASES.iter().rposition(|(_, before)| age <= *before).unwrap_or(0);
        for (number, line) in self.lines.iter().enumerate() {
            let flow = &flows[line.flow];
            let count = self.dice.poisson(loads * line.share * flow.per_load);
            // A slow series says that nothing happened by saying nothing; its neighbours say that somebody was listening.
            if count > 0 {
                cells.push((self.ids[release][number], slice(number), cell(flow, line.slow, count, &mut self.dice)));
            }
        }
    }

    async fn append(&mut self, mut cells: Vec<(SeriesId, Slice, Cell)>, at: Timestamp) -> Result<(), StoreError> {
        if cells.is_empty() {
            return Ok(());
        }
        cells.sort_by_key(|(id, slice, _)| (*id, *slice));
        let mut packed = segment::Writer::default();
        cells.iter().for_each(|(id, slice, cell)| packed.push(*id, *slice, cell));
        self.cells += cells.len() as u64;
        self.n += 1;
        let mut tx = self.store.write_bulk().await?;
        store::partial::append(&mut tx, &self.id, self.n, at, &packed.finish()).await?;
        archive::compact(&mut tx, self.bucket, at + Span(1), 1).await?;
        tx.commit().await
    }

    async fn close(self) -> Result<u64, StoreError> {
        let mut tx = self.store.write_bulk().await?;
        store::writer::close(&mut tx, &self.id).await?;
        tx.commit().await?;
        Ok(self.cells)
    }
}

fn deployed(release: &str, at: Timestamp) -> AnnotationRow {
    AnnotationRow {
        id: chance::id(),
        kind: "deploy".into(),
        at,
        app: APP.into(),
        release: release.into(),
        text: format!("release {release}"),
        url: String::new(),
        created_at: at,
    }
}

/// What `count` events of a flow add up to.
fn cell(flow: &Flow, slow: f64, count: i64, dice: &mut Dice) -> Cell {
    let bad = match flow.bad {
        Bad::None => 0,
        Bad::Share(share) => dice.poisson(share * count as f64).min(count),
        Bad::All => count,
    };
    let counts = Counts::plain(count, bad);
    let mut cell = Cell { counts, bad_sq: i128::from(counts.bad), pushed: true, ..Cell::default() };
    let Some(median) = flow.median else { return cell };
    let median = median * slow;
    cell.valued = Counts::plain(count, 0);
    let points = world::points();
    let parts = points.len() as i64;
    // Systematic sampling: each point gets its share of the events, and chance decides who gets the rest.
    let offset = (dice.next() % parts as u64) as i64;
    for (at, point) in points.iter().enumerate() {
        let at = at as i64;
        let here = ((at + 1) * count + offset) / parts - (at * count + offset) / parts;
        if here > 0 {
            cell.sketch.add(median * point, here * UNIT);
            cell.sum += median * point * here as f64;
        }
    }
    if flow.metric == Metric::Vital(Vital::Lcp) {
        let over = dice.poisson(world::share_above(median, LCP_LIMIT.value) * count as f64).min(count);
        cell.add_over(Over { limit: LCP_LIMIT, tested: count * UNIT, over: over * UNIT, raw_over: over });
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_follow_one_another_without_a_gap() {
        let bucket = Span::seconds(10);
        for now in [Timestamp(1_795_000_000_123), Timestamp(1_795_003_199_999), Timestamp(1_795_046_400_000)] {
            let all = stretches(bucket, now);
            for pair in all.windows(2) {
                assert_eq!(pair[0].to, pair[1].from);
            }
            for stretch in &all {
                assert!(stretch.from < stretch.to, "{now}");
                assert_eq!((stretch.to - stretch.from).0 % stretch.step.0, 0);
                assert_eq!(stretch.from.floor(stretch.step), stretch.from);
            }
            assert!(all[0].from <= now - REACH && all[4].to <= now && now - all[4].to < bucket);
            // Whatever a tier of three days looks at is staggered or fine.
            assert!(now - all[1].from >= Span::hours(76));
        }
    }

    #[test]
    fn a_cell_holds_every_event_once() {
        let flows = world::flows(0.0);
        let flow = flows.iter().find(|flow| flow.metric == Metric::Vital(Vital::Lcp)).unwrap();
        let mut dice = Dice::new(1);
        for count in [1, 7, 20, 333] {
            let cell = cell(flow, 1.1, count, &mut dice);
            assert_eq!((cell.counts.raw, cell.valued.raw, cell.sketch.weight()), (count, count, count * UNIT));
            assert_eq!(cell.over[0].tested, count * UNIT);
        }
    }
}
