//! The configured database as an archive: fine buckets as long as they are kept, rollups before.

use std::sync::{Arc, RwLock};

use super::{Backtest, History, limits};
use crate::cli::aggregates::store_failure;
use crate::cli::exit::Failure;
use crate::cli::output::{self, Progress};
use crate::cli::{Context, client, logging};
use crate::config::Config;
use crate::domain::archive::MemoryArchive;
use crate::domain::cell::{Cell, Limit};
use crate::domain::evaluate::{Evaluator, Settings};
use crate::domain::metric::Metric;
use crate::domain::rule::RuleSet;
use crate::domain::segment::Slice;
use crate::domain::series::{Series, SeriesId};
use crate::domain::time::{Span, Timestamp};
use crate::jobs::uptime::Uptime;
use crate::store::archive::{Level, Wanted, cells, levels};
use crate::store::{Store, StoreError, annotations, history, series, writer};

/// How far back a run goes by default, and how far free-form rules look for what is usual.
const DEFAULT: Span = Span::days(30);
const USUAL: Span = Span::days(29);
/// An up-to-date writer is taken to reach this much further than its last flush.
const SLACK: Span = Span::seconds(2);

/// Reads what a run needs. The daemon may run or not; nothing is written.
pub fn read(args: &Backtest, context: &Context, config: &Config, sets: &[Arc<RuleSet>]) -> Result<History, Failure> {
    logging::start(&context.environment, logging::Level::Warn);
    let now = context.clock.now();
    let bucket = config.aggregation.bucket;
    let to = args.to.map_or(now.floor(bucket), |when| when.resolve(now));
    let from = args.from.map_or(to - DEFAULT, |when| when.resolve(now));
    super::something_between(from, to)?;
    let reach = |set: &Arc<RuleSet>| {
        let evaluator = Evaluator::new(set.clone(), Settings { bucket, delays: Default::default() }, from, from);
        evaluator.reach().max(if set.alerts.is_empty() { Span::ZERO } else { USUAL })
    };
    let start = (from - sets.iter().map(reach).max().unwrap_or(Span::ZERO)).floor(Span::HOUR);
    let limits = limits(sets);
    client::block_on(async {
        let store = Store::open_existing(&config.database.url, now).await.map_err(store_failure)?;
        let place = store.place().to_string();
        let mut filling =
            Filling { bucket, archive: MemoryArchive::new(bucket), ids: Vec::new(), limits: &limits, progress: Progress::default() };
        let kept = [config.retention.bucket, config.retention.rollup_5m].map(|kept| (now - kept).ceil(Span::HOUR));
        let uptime = filling.read(&store, (start, to), kept).await.map_err(store_failure)?;
        let Filling { mut archive, .. } = filling;
        archive.seal();
        // Without any history there is nothing to run over, but nothing is wrong either.
        let shown = format!("{} cells of {place}, in {} series", archive.cells_added(), archive.series().len());
        Ok(History { archive: Arc::new(RwLock::new(archive)), from, to, start, up: Box::new(move |at| uptime.covers(at, bucket)), shown })
    })
}

struct Filling<'a> {
    bucket: Span,
    archive: MemoryArchive,
    /// Numbers in the archive, by the database's.
    ids: Vec<Option<SeriesId>>,
    limits: &'a std::collections::BTreeMap<Metric, Vec<Limit>>,
    progress: Progress,
}

impl Filling<'_> {
    /// Reads `[from, to)` of all series in one snapshot: hours and five-minute rollups where finer slices are no
    /// longer kept. `kept` is from where on fine buckets and five-minute rollups are there.
    async fn read(&mut self, store: &Store, (from, to): (Timestamp, Timestamp), kept: [Timestamp; 2]) -> Result<Uptime, StoreError> {
        let [fine, five, hour] = levels(self.bucket);
        let mut tx = store.read().await?;
        let known: Vec<(SeriesId, Series)> = series::all(&mut tx).await?;
        for (id, series) in &known {
            self.ids.resize((id.0 as usize + 1).max(self.ids.len()), None);
            self.ids[id.0 as usize] = Some(self.archive.intern(series));
        }
        let fine_from = kept[0].clamp(from, to);
        let five_from = kept[1].clamp(from, fine_from);
        for (level, from, to, name) in
            [(hour, from, five_from, "hourly"), (five, five_from, fine_from, "5-minute"), (fine, fine_from, to, "fine")]
        {
            let before = self.archive.cells_added();
            if from < to {
                cells(&mut tx, level, self.bucket, from, to, Wanted::All, |id, slice, cell| self.take(level, id, slice, cell)).await?;
            }
            if level != fine && self.archive.cells_added() > before {
                output::complain(&format!("history before {to} is kept in {name} rollups; times of alerts there are as coarse"));
            }
        }
        for row in annotations::list(&mut tx, from, to, None).await? {
            self.archive.add_change(history::change(row));
        }
        Ok(Uptime::new(&writer::all(&mut tx).await?, SLACK))
    }

    /// A rollup counts in its last bucket; the ones before were measured all the same.
    fn take(&mut self, level: Level, id: SeriesId, slice: Slice, mut cell: Cell) {
        let Some(Some(id)) = self.ids.get(id.0 as usize).copied() else { return };
        let metric = &self.archive.series()[id.0 as usize].metric;
        let named = self.limits.get(metric).map_or(&[][..], Vec::as_slice);
        cell.over.retain(|over| named.contains(&over.limit));
        let ratio = level.slice.0 / self.bucket.0;
        let last = slice * ratio + ratio - 1;
        for empty in slice * ratio..last {
            self.archive.add(id, empty, &Cell { pushed: true, ..Cell::default() });
        }
        self.archive.add(id, last, &cell);
        self.progress.at(|| format!("reading {}", Timestamp(last * self.bucket.0)));
    }
}
