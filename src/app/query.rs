//! Answers the questions of pages and `POST /v1/query` from stored history.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::SharedClock;
use crate::domain::cell::{Cell, Counts};
use crate::domain::filter::{Filter, Match};
use crate::domain::rule::{Labels, Sli};
use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Span, Timestamp};
use crate::domain::window::events;
use crate::store::StoreError;
use crate::store::history::History;
use crate::web::query::{Answer, Ask, AskSlo, AskTraces, Later, Line, Point, Query, QueryError, SloPoint, Traced};

/// Most points of one answer, over all its series.
const POINTS_MAX: usize = 50_000;

/// Stored history behind the web's [`Query`].
#[derive(Clone)]
pub struct Stored {
    history: History,
    snapshot: Arc<ArcSwap<Snapshot>>,
    clock: SharedClock,
}

impl Stored {
    /// Over this history.
    pub fn new(history: History, snapshot: Arc<ArcSwap<Snapshot>>, clock: SharedClock) -> Stored {
        Stored { history, snapshot, clock }
    }

    async fn lines(self, ask: Ask) -> Result<Answer, QueryError> {
        let whole = Span((ask.to - ask.from).0.max(1));
        let level = self.history.level(ask.from, ask.step.unwrap_or(whole), self.clock.now());
        let step = ask.step.unwrap_or(whole);
        if ask.step.is_some() && (step.0 % level.slice.0 != 0 || ask.from.floor(level.slice) != ask.from) {
            return Err(QueryError::Refused(format!(
                "history this old is kept in steps of {}; ask with `from` and `step` at multiples of it",
                level.slice
            )));
        }
        let mut found: BTreeMap<Labels, BTreeMap<Timestamp, Cell>> = BTreeMap::new();
        let mut points = 0;
        self.history
            .read(&ask.metric, &ask.filter, (ask.from, ask.to), level, &mut |series, at, cell| {
                let labels: Labels = ask.by.iter().map(|name| (name.clone(), series.get(name).to_owned())).collect();
                let at = ask.from + Span((at - ask.from).0.div_euclid(step.0) * step.0);
                let line = found.entry(labels).or_default();
                match line.get_mut(&at) {
                    Some(have) => have.merge(cell),
                    None if points < POINTS_MAX => {
                        points += 1;
                        line.insert(at, cell.clone());
                    }
                    None => points += 1,
                }
            })
            .await
            .map_err(failed)?;
        if points > POINTS_MAX {
            return Err(QueryError::Refused(format!("the answer has more than {POINTS_MAX} points; ask for less at once")));
        }
        let counts = |cell: &Cell| ask.limit.map_or(cell.counts, |limit| cell.against(limit));
        let point = |(at, cell): (Timestamp, Cell)| Point {
            at,
            total: events(counts(&cell).total),
            bad: events(counts(&cell).bad),
            raw: counts(&cell).raw.max(0) as u64,
            users: (!cell.users.is_empty()).then(|| cell.users.estimate()),
            bad_users: (!cell.users.is_empty()).then(|| cell.bad_users.estimate()),
            quantiles: (!ask.quantiles.is_empty())
                .then(|| ask.quantiles.iter().filter_map(|q| Some((q.to_string(), cell.sketch.quantile(*q)?))).collect()),
        };
        let line = |(labels, cells): (Labels, BTreeMap<Timestamp, Cell>)| Line { labels, points: cells.into_iter().map(point).collect() };
        Ok(Answer { series: found.into_iter().map(line).collect() })
    }

    async fn slo_points(self, ask: AskSlo) -> Result<Vec<SloPoint>, QueryError> {
        let snapshot = self.snapshot.load_full();
        let slo = snapshot.rules.slo(&ask.slo).ok_or_else(|| QueryError::Refused(format!("there is no SLO `{}`", ask.slo)))?;
        let level = self.history.level(ask.from, ask.step, self.clock.now());
        let mut sums: BTreeMap<i64, Counts> = BTreeMap::new();
        for (number, (selector, limit)) in slo.sli.inputs().into_iter().enumerate() {
            let mut filter: Filter = selector.filter;
            for (name, value) in &ask.group {
                filter.0.insert(name.clone(), Match::Equal(value.clone()));
            }
            let ratio = is_ratio(&slo.sli);
            self.history
                .read(&selector.metric, &filter, (ask.from, ask.to), level, &mut |_, at, cell| {
                    let counts = match limit {
                        Some(limit) => cell.against(limit),
                        None if ratio && number == 0 => Counts { bad: cell.counts.total, ..cell.counts },
                        None if ratio => Counts { total: 0, bad: -cell.counts.total, ..Counts::ZERO },
                        None => cell.counts,
                    };
                    *sums.entry((at - ask.from).0.div_euclid(ask.step.0)).or_insert(Counts::ZERO) += counts;
                })
                .await
                .map_err(failed)?;
        }
        let steps = (ask.to - ask.from).0.div_euclid(ask.step.0).clamp(0, POINTS_MAX as i64);
        let watermark = snapshot.watermark;
        let point = |number: i64| {
            let at = ask.from + Span(number * ask.step.0);
            let counts = sums.get(&number).filter(|counts| counts.total > 0);
            SloPoint {
                at,
                counts: counts.map(|counts| (events(counts.total), events(counts.bad.max(0)))),
                partial: watermark.is_none_or(|watermark| at + ask.step > watermark),
            }
        };
        Ok((0..steps).map(point).collect())
    }
}

async fn traced(history: History, ask: AskTraces) -> Result<Vec<Traced>, QueryError> {
    let found = history.examples(&ask.metric, &ask.filter, (ask.from, ask.to)).await.map_err(failed)?;
    Ok(found.into_iter().map(|(series, trace)| (ask.by.iter().map(|name| series.get(name).to_owned()).collect(), trace)).collect())
}

fn is_ratio(sli: &Sli) -> bool {
    match sli {
        Sli::Ratio { .. } => true,
        Sli::Slices { inner, .. } => is_ratio(inner),
        Sli::Good(_) | Sli::Within { .. } | Sli::Composite { .. } | Sli::External { .. } => false,
    }
}

fn failed(error: StoreError) -> QueryError {
    QueryError::Failed(Box::new(error))
}

impl Query for Stored {
    fn ask(&self, ask: Ask) -> Later<Result<Answer, QueryError>> {
        Box::pin(self.clone().lines(ask))
    }

    fn slo(&self, ask: AskSlo) -> Later<Result<Vec<SloPoint>, QueryError>> {
        Box::pin(self.clone().slo_points(ask))
    }

    fn traces(&self, ask: AskTraces) -> Later<Result<Vec<Traced>, QueryError>> {
        Box::pin(traced(self.history.clone(), ask))
    }
}
