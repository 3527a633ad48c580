//! Stored history as decisions ask for it: [`Archive`] over chunks, rollups and partials.
//!
//! A question runs on a blocking-friendly thread of a multi-threaded runtime; each one reads one
//! consistent snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::runtime::Handle;

use crate::domain::archive::{Archive, Ask};
use crate::domain::cell::Cell;
use crate::domain::example::{self, Example};
use crate::domain::filter::{Filter, Match};
use crate::domain::metric::Metric;
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::rule::Labels;
use crate::domain::series::{Series, SeriesId};
use crate::domain::time::{Span, Timestamp};

use super::annotations::AnnotationRow;
use super::archive::{Level, Wanted, cells, levels};
use super::{Store, StoreError, Tx, annotations, series, trace};

/// How many flushes are searched for example traces, the newest first.
const TRACES_MAX: usize = 1_000;

/// The series of a database, read once and then followed.
#[derive(Debug, Default)]
pub struct Catalog {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    last: Option<SeriesId>,
    by_metric: HashMap<Metric, Vec<(SeriesId, Arc<Series>)>>,
}

impl Catalog {
    /// Reads what is new.
    pub async fn follow(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let last = self.known.read().unwrap_or_else(PoisonError::into_inner).last;
        let new = match last {
            Some(last) => series::after(tx, last).await?,
            None => series::all(tx).await?,
        };
        if !new.is_empty() {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for (id, series) in new {
                // Two readers may bring the same news.
                if known.last.is_none_or(|last| id > last) {
                    known.last = Some(id);
                    known.by_metric.entry(series.metric.clone()).or_default().push((id, Arc::new(series)));
                }
            }
        }
        Ok(())
    }

    /// The series of a metric that a filter accepts.
    pub fn select(&self, metric: &Metric, filter: &Filter) -> BTreeMap<SeriesId, Arc<Series>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let all = known.by_metric.get(metric).into_iter().flatten();
        all.filter(|(_, series)| filter.accepts(series)).cloned().collect()
    }

    fn of_apps(&self, apps: Option<&Match>) -> BTreeSet<SeriesId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let all = known.by_metric.values().flatten();
        all.filter(|(_, series)| apps.is_none_or(|apps| apps.accepts(series.app()))).map(|(id, _)| *id).collect()
    }
}

/// Stored history of one database.
#[derive(Clone)]
pub struct History {
    store: Store,
    catalog: Arc<Catalog>,
    bucket: Span,
    /// How long fine buckets and five-minute rollups are kept.
    kept: [Span; 2],
    runtime: Handle,
}

impl History {
    /// History as this configuration keeps it. Must be made inside a multi-threaded runtime.
    pub fn new(store: Store, bucket: Span, fine: Span, five: Span) -> History {
        History { store, catalog: Arc::default(), bucket, kept: [fine, five], runtime: Handle::current() }
    }

    /// Where it reads.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The finest level that still holds `from`, but none coarser than `step` where a finer one does.
    pub fn level(&self, from: Timestamp, step: Span, now: Timestamp) -> Level {
        let [fine, five, hour] = levels(self.bucket);
        let age = now - from;
        if age > self.kept[1] || (step.0 >= hour.slice.0 && step.0 % hour.slice.0 == 0 && from.floor(hour.slice) == from) {
            hour
        } else if age > self.kept[0] || (step.0 >= five.slice.0 && step.0 % five.slice.0 == 0 && from.floor(five.slice) == from) {
            five
        } else {
            fine
        }
    }

    /// Calls `visit` with the cells of `[from, to)` at this level.
    pub async fn read(
        &self,
        metric: &Metric,
        filter: &Filter,
        (from, to): (Timestamp, Timestamp),
        level: Level,
        visit: &mut (dyn FnMut(&Series, Timestamp, &Cell) + Send),
    ) -> Result<(), StoreError> {
        let mut tx = self.store.read().await?;
        self.catalog.follow(&mut tx).await?;
        let chosen = self.catalog.select(metric, filter);
        if chosen.is_empty() {
            return Ok(());
        }
        let ids: BTreeSet<SeriesId> = chosen.keys().copied().collect();
        cells(&mut tx, level, self.bucket, from, to, Wanted::Only(&ids), |id, slice, cell| {
            if let Some(series) = chosen.get(&id) {
                visit(series, Timestamp(slice * level.slice.0), &cell);
            }
        })
        .await
    }

    /// Traces of bad events of `[from, to)`, the newest flush first.
    pub async fn examples(
        &self,
        metric: &Metric,
        filter: &Filter,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Vec<(Series, String)>, StoreError> {
        let mut tx = self.store.read().await?;
        self.catalog.follow(&mut tx).await?;
        let chosen = self.catalog.select(metric, filter);
        // An event may be older than its flush, never younger by more than the clocks are apart.
        let batches = trace::between(&mut tx, from, to + self.bucket, TRACES_MAX).await?;
        let examples = batches.iter().flat_map(|batch| example::unpack(batch));
        let meant = |example: Example| {
            let at = Timestamp(example.slice * self.bucket.0);
            let series = chosen.get(&example.series).filter(|_| from <= at && at < to)?;
            Some(((**series).clone(), example.trace))
        };
        Ok(examples.filter_map(meant).collect())
    }

    /// Reads which series are new.
    pub async fn follow(&self) -> Result<(), StoreError> {
        let mut tx = self.store.read().await?;
        self.catalog.follow(&mut tx).await
    }

    /// The combinations of dimension values that series have, in order: the groups of a free-form rule.
    /// A series without any of the dimensions is no group.
    pub fn groups(&self, by: &[String]) -> BTreeSet<Labels> {
        let known = self.catalog.known.read().unwrap_or_else(PoisonError::into_inner);
        let series = known.by_metric.values().flatten().map(|(_, series)| series);
        let with_any = series.filter(|series| by.iter().any(|name| !series.get(name).is_empty()));
        with_any.map(|series| by.iter().map(|name| (name.clone(), series.get(name).to_owned())).collect()).collect()
    }

    fn wait<T: Send>(&self, work: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, String> {
        tokio::task::block_in_place(|| self.runtime.block_on(work)).map_err(|error| error.to_string())
    }
}

/// An annotation as explanations and payloads know it.
pub fn change(row: AnnotationRow) -> Change {
    let some = |text: String| (!text.is_empty()).then_some(text);
    let kind = match row.kind.as_str() {
        "deploy" => ChangeKind::Deploy,
        "flag" => ChangeKind::Flag,
        "sampling" => ChangeKind::Sampling,
        _ => ChangeKind::Other,
    };
    Change { id: row.id, kind, at: row.at, app: row.app, release: some(row.release), text: some(row.text), url: some(row.url) }
}

impl Archive for History {
    fn cells(&self, ask: &Ask<'_>, visit: &mut dyn FnMut(&Series, Timestamp, &Cell)) -> Result<(), String> {
        // What is read is held until the transaction has ended: the visitor is not asked to be quick.
        let level = self.level(ask.from, ask.step, ask.to);
        let mut found: Vec<(Series, Timestamp, Cell)> = Vec::new();
        self.wait(async {
            self.read(ask.metric, ask.filter, (ask.from, ask.to), level, &mut |series, at, cell| {
                found.push((series.clone(), at, cell.clone()));
            })
            .await
        })?;
        for (series, at, cell) in &found {
            visit(series, *at, cell);
        }
        Ok(())
    }

    fn measured(&self, apps: Option<&Match>, from: Timestamp, to: Timestamp) -> Result<bool, String> {
        let level = self.level(from, self.bucket, to);
        self.wait(async {
            let mut tx = self.store.read().await?;
            self.catalog.follow(&mut tx).await?;
            let ids = self.catalog.of_apps(apps);
            let mut any = false;
            if !ids.is_empty() {
                cells(&mut tx, level, self.bucket, from, to, Wanted::Only(&ids), |_, _, _| any = true).await?;
            }
            Ok(any)
        })
    }

    fn traces(&self, ask: &Ask<'_>) -> Result<Vec<(Series, String)>, String> {
        self.wait(self.examples(ask.metric, ask.filter, (ask.from, ask.to)))
    }

    fn changes(&self, from: Timestamp, to: Timestamp, app: Option<&str>) -> Result<Vec<Change>, String> {
        self.wait(async {
            let mut tx = self.store.read().await?;
            let rows = annotations::list(&mut tx, from, to, app).await?;
            Ok(rows.into_iter().map(change).collect())
        })
    }
}
