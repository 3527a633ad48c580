//! The evaluator: follows what is stored, keeps the windows of every SLO and group, and says at
//! each closed bucket which alerts changed. The daemon, `backtest` and `test` all run this one.
//!
//! Its memory is a pure function of what was fed to it. Series are matched once; a cell then costs
//! a lookup and a few additions for each SLI that selects it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::alert::{AlertChange, AlertState, FROZEN_MAX, Patience, TierChange, TierState};
use super::burn::{self, BudgetState, Judgement, Season, View};
use super::cell::{Counts, Limit};
use super::coverage::{Coverage, Stream};
use super::filter::{Filter, Match};
use super::inputs::Inputs;
use super::measure::Subject;
use super::metric::Metric;
use super::notification::Figures;
use super::route::{canonical, matches};
use super::rule::{Labels, Maintenance, MaintenanceBudget, NoData, RuleSet, Severity, Sli, Slo, SloWindow, Tier};
use super::schedule::{Windows, zone};
use super::segment::{Brief, Slice};
use super::series::{Series, SeriesId};
use super::snapshot::{AlertPhase, SloStatus, TierStatus, TierVerdict};
use super::telemetry;
use super::time::{Span, Timestamp};
use super::window::{Budget, Rolling, Shape, Target as SliceTarget, events};

mod composite;

use composite::Combined;

/// Most groups that an SLO keeps (SEMANTICS 17); what is beyond is in the overall row only.
pub const GROUPS_MAX: usize = 500;
/// Most groups beyond them that are told apart to be counted.
const LEFT_OUT_MAX: usize = 10_000;
/// How long a window must be unknown for want of data before `no_data` acts.
const NO_DATA_AFTER: Span = Span::minutes(10);
/// History that a traffic-corrected burn needs (SEMANTICS 10).
const SEASON_MIN: Span = Span::days(7);

/// How the evaluator is set up.
pub struct Settings {
    pub bucket: Span,
    /// How much later the buckets of an app close, for pushed aggregates.
    pub delays: BTreeMap<String, Span>,
}

/// Something changed about the alert of one SLO and group.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertEvent {
    /// Logical time.
    pub at: Timestamp,
    /// Name of the SLO or free-form rule.
    pub rule: String,
    /// Canonical text of the group; with the rule it names the alert.
    pub group: String,
    /// Without `severity`.
    pub labels: Labels,
    pub change: Option<AlertChange>,
    pub tiers: Vec<TierEvent>,
    pub figures: Figures,
    pub summary: String,
    pub reason: String,
    /// What a free-form rule looked at.
    pub subject: Option<Subject>,
    /// To be stored.
    pub state: AlertState,
}

impl AlertEvent {
    /// Names the alert: rule and group.
    pub fn alert(&self) -> String {
        format!("{}{}", self.rule, self.group)
    }
}

/// A tier began or ended firing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierEvent {
    pub tier: usize,
    pub severity: Severity,
    pub change: TierChange,
    pub figures: Figures,
}

/// The label that tells the ticket of `no_data: "alert"` from the alert of its SLO; no dimension can have its name.
const NO_DATA: (&str, &str) = ("kind", "no_data");

/// Whether an alert with these labels says that data is missing.
pub fn is_no_data(labels: &Labels) -> bool {
    labels.get(NO_DATA.0).is_some_and(|kind| kind == NO_DATA.1)
}

/// What a cell means to one SLI.
#[derive(Clone, Copy, Debug)]
enum Take {
    Counts,
    Against(Limit),
    RatioTotal,
    RatioGood,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    track: u32,
    group: u32,
    take: Take,
}

#[derive(Debug, Default)]
struct Wiring {
    targets: SmallVec<[Target; 2]>,
    streams: SmallVec<[u32; 1]>,
}

/// One of the things that feed an SLI.
#[derive(Clone, Copy, Debug)]
struct Input {
    track: u32,
    take: Take,
}

/// One SLO with all its groups.
struct Track {
    /// Index in the rule set.
    slo: usize,
    shape: Shape,
    /// Buckets per slice of the shape.
    per_slice: i64,
    /// For each tier: index of the long and the short window, and of the pair in the stream.
    tiers: Vec<(usize, usize, usize)>,
    stream: usize,
    /// How many buckets later than the clock this track closes.
    delay: i64,
    /// Maintenance that changes how slices count.
    exclusions: Vec<usize>,
    /// Whether a stretch of slices may close at once: none is ever treated apart.
    closes_in_runs: bool,
    groups: Vec<Group>,
    index: HashMap<Vec<String>, u32>,
    /// Index of the row over all groups, when there are groups.
    overall: Option<u32>,
    /// Groups that found no room.
    left_out: HashSet<Vec<String>>,
    /// Of a composite: the SLOs with data of their own that it is made of, at whatever depth.
    leaves: Vec<usize>,
    /// First slice with data: how much history there is.
    first_data: Option<Slice>,
    /// The calendar period that was seen last: start and end.
    period: (Timestamp, Timestamp),
}

struct Group {
    labels: Labels,
    key: String,
    rolling: Rolling,
    state: AlertState,
    judged: SmallVec<[Judgement; 4]>,
    /// Of a composite: how its members stand together.
    combined: Option<Combined>,
    /// The ticket that missing data opens, where the SLO asks for one.
    absent: Option<Box<Absent>>,
    alerts: bool,
    changed: bool,
    /// Of the overall row: groups that found no room.
    left_out: u64,
    status: Option<Arc<SloStatus>>,
    /// The status before that, to be written over once nobody shows it any more.
    spare: Option<Arc<SloStatus>>,
}

/// An alert of its own: the SLO cannot be judged for want of data.
struct Absent {
    key: String,
    state: AlertState,
}

struct StreamTrack {
    apps: Option<Match>,
    stream: Stream,
    delay: i64,
    /// Distinct pairs of windows, in buckets, and their coverage at the current evaluation.
    pairs: Vec<(i64, i64)>,
    coverage: Vec<(Coverage, Coverage)>,
}

/// See the module's text.
pub struct Evaluator {
    rules: Arc<RuleSet>,
    settings: Settings,
    /// The times of the rule set's maintenance declarations, in their order.
    maintenance: Vec<Option<Windows>>,
    /// The next bucket to close.
    next: Slice,
    /// The first bucket of history that long budgets may still hold.
    past: Slice,
    tracks: Vec<Track>,
    streams: Vec<StreamTrack>,
    inputs: Inputs<Input>,
    wiring: Vec<Option<Wiring>>,
    /// Tracks by the name of their SLO.
    names: HashMap<String, usize>,
}

impl Evaluator {
    /// An evaluator of a rule set whose memory of buckets begins at `start` (aligned down). Older
    /// history, back to `past`, can be handed in as sums by [`Evaluator::add_old`].
    pub fn new(rules: Arc<RuleSet>, settings: Settings, start: Timestamp, past: Timestamp) -> Evaluator {
        let next = start.0.div_euclid(settings.bucket.0);
        let past = past.0.div_euclid(settings.bucket.0).min(next);
        let mut evaluator = Evaluator {
            rules: rules.clone(),
            settings,
            maintenance: rules.maintenances.iter().map(|maintenance| Windows::new(&maintenance.times).ok()).collect(),
            next,
            past,
            tracks: Vec::new(),
            streams: Vec::new(),
            inputs: Inputs::new([]),
            wiring: Vec::new(),
            names: HashMap::with_capacity(rules.slos.len()),
        };
        for (index, slo) in rules.slos.iter().enumerate() {
            // Of two SLOs with one name, which no loaded rule set has, the first would count.
            evaluator.names.entry(slo.name.clone()).or_insert(index);
        }
        let mut inputs = Vec::new();
        let made_of = composite::leaves(&rules, &evaluator.names);
        for (index, slo) in rules.slos.iter().enumerate() {
            // A composite asks what it is made of about the windows of its own tiers.
            let askers = made_of.iter().filter(|(_, leaves)| leaves.contains(&index)).flat_map(|(asker, _)| &rules.slos[*asker].tiers);
            evaluator.add_track(index, slo, &askers.collect::<Vec<_>>(), &mut inputs);
        }
        evaluator.inputs = Inputs::new(inputs);
        for (index, leaves) in made_of {
            evaluator.tracks[index].leaves = leaves;
        }
        evaluator
    }

    /// The rule set it runs.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// The logical time of the last evaluation: all buckets before it are closed.
    pub fn evaluated_to(&self) -> Timestamp {
        Timestamp(self.next * self.settings.bucket.0)
    }

    /// The finest step in which a long budget's far edge moves: what old history must be read by.
    pub fn old_step(&self) -> Option<Span> {
        let steps = self.tracks.iter().filter_map(|track| match track.shape.budget {
            Budget::Long { step, .. } => Some(Span(step * track.shape.slice.0)),
            // A calendar period may begin at any quarter of an hour.
            Budget::Since => Some(Span::minutes(15)),
            Budget::Exact(_) => None,
        });
        steps.min()
    }

    /// How far back slices are kept one by one, over all SLOs.
    pub fn fine_span(&self) -> Span {
        let most = self.tracks.iter().map(|track| track.shape.fine_slices() * track.shape.slice.0).max();
        Span(most.unwrap_or(0) + self.max_delay() * self.settings.bucket.0)
    }

    /// How far back any window reaches.
    pub fn reach(&self) -> Span {
        let most = self.tracks.iter().map(|track| {
            let slo = &self.rules.slos[track.slo];
            match &slo.window {
                SloWindow::Rolling(span) => *span,
                SloWindow::Calendar { period, .. } => period.nominal() + Span::days(2),
            }
        });
        most.max().unwrap_or(Span::ZERO).max(self.fine_span())
    }

    fn max_delay(&self) -> i64 {
        self.tracks.iter().map(|track| track.delay).max().unwrap_or(0)
    }

    fn add_track(&mut self, index: usize, slo: &Slo, asked: &[&Tier], into: &mut Vec<(Metric, Filter, Input)>) {
        let bucket = self.settings.bucket;
        let (slice, target) = match &slo.sli {
            Sli::Slices { slice, target_ppm, empty, .. } => (*slice, Some(SliceTarget { ppm: *target_ppm, empty: *empty })),
            _ => (bucket, None),
        };
        let budget = match &slo.window {
            SloWindow::Rolling(span) => Some(*span),
            SloWindow::Calendar { .. } => None,
        };
        let windows = slo.tiers.iter().chain(asked.iter().copied()).flat_map(|tier| [tier.long, tier.short]);
        let shape = Shape::new(slice, windows, budget, target);
        let inputs = slo.sli.inputs();
        let apps = inputs.first().and_then(|(selector, _)| selector.filter.get("app").cloned());
        let delay = match &apps {
            Some(Match::Equal(app)) => self.settings.delays.get(app).map_or(0, |delay| (delay.0 + bucket.0 - 1) / bucket.0),
            _ => 0,
        };
        let stream = self.stream(apps, delay);
        let per_slice = slice.0 / bucket.0;
        let mut tiers = Vec::new();
        let buckets = |span: Span| (span.0 / bucket.0).max(1);
        for tier in asked {
            let pair = (buckets(tier.long), buckets(tier.short));
            if !self.streams[stream].pairs.contains(&pair) {
                self.streams[stream].pairs.push(pair);
            }
        }
        for tier in &slo.tiers {
            let pair = (buckets(tier.long), buckets(tier.short));
            let pairs = &mut self.streams[stream].pairs;
            let at = pairs.iter().position(|have| *have == pair).unwrap_or_else(|| {
                pairs.push(pair);
                pairs.len() - 1
            });
            let index = |span| shape.index(span).expect("the shape was made from these windows");
            tiers.push((index(tier.long), index(tier.short), at));
        }
        let keep = self.streams[stream].pairs.iter().map(|(long, _)| *long).max().unwrap_or(1) as usize;
        let start = self.next - delay;
        self.streams[stream].stream = Stream::new(start, keep);
        let exclusions: Vec<usize> = (0..self.rules.maintenances.len())
            .filter(|at| {
                let maintenance = &self.rules.maintenances[*at];
                maintenance.budget != MaintenanceBudget::Count && could_match(maintenance, slo)
            })
            .collect();
        let closes_in_runs = exclusions.is_empty() && shape.target.is_none() && matches!(slo.window, SloWindow::Rolling(_));
        let number = self.tracks.len() as u32;
        for (at, (selector, limit)) in inputs.into_iter().enumerate() {
            let take = match (&slo.sli, limit) {
                (_, Some(limit)) => Take::Against(limit),
                (Sli::Ratio { .. }, None) => [Take::RatioTotal, Take::RatioGood][at],
                (Sli::Slices { inner, .. }, None) if matches!(**inner, Sli::Ratio { .. }) => [Take::RatioTotal, Take::RatioGood][at],
                (_, None) => Take::Counts,
            };
            into.push((selector.metric, selector.filter, Input { track: number, take }));
        }
        let mut track = Track {
            slo: index,
            shape,
            per_slice,
            tiers,
            stream,
            delay,
            exclusions,
            closes_in_runs,
            groups: Vec::new(),
            index: HashMap::new(),
            overall: None,
            left_out: HashSet::new(),
            leaves: Vec::new(),
            first_data: None,
            period: (Timestamp(i64::MIN), Timestamp(i64::MIN)),
        };
        if slo.enabled {
            track.overall = Some(0);
            track.groups.push(Group::new(slo, Labels::new(), &track.shape, slo.by.is_empty()));
        }
        self.tracks.push(track);
    }

    fn stream(&mut self, apps: Option<Match>, delay: i64) -> usize {
        if let Some(at) = self.streams.iter().position(|stream| stream.apps == apps && stream.delay == delay) {
            return at;
        }
        let stream = Stream::new(self.next - delay, 1);
        self.streams.push(StreamTrack { apps, stream, delay, pairs: Vec::new(), coverage: Vec::new() });
        self.streams.len() - 1
    }

    /// Whether a series was already matched against all SLIs.
    pub fn knows(&self, id: SeriesId) -> bool {
        self.wiring.get(id.0 as usize).is_some_and(Option::is_some)
    }

    /// Matches a series against all SLIs, once.
    pub fn add_series(&mut self, id: SeriesId, series: &Series) {
        let at = id.0 as usize;
        if self.wiring.len() <= at {
            self.wiring.resize_with(at + 1, || None);
        }
        if self.wiring[at].is_some() {
            return;
        }
        let mut wiring = Wiring::default();
        for (number, stream) in self.streams.iter().enumerate() {
            // What is said about the telemetry is no traffic: it neither covers nor uncovers anything.
            if !telemetry::is_own(series) && stream.apps.as_ref().is_none_or(|apps| apps.accepts(series.app())) {
                wiring.streams.push(number as u32);
            }
        }
        for input in self.inputs.of(series) {
            let track = &mut self.tracks[input.track as usize];
            let slo = &self.rules.slos[track.slo];
            let mut add = |group| wiring.targets.push(Target { track: input.track, group, take: input.take });
            if let Some(overall) = track.overall {
                add(overall);
            }
            if slo.by.is_empty() || !slo.enabled {
                continue;
            }
            let values: Vec<String> = slo.by.iter().map(|name| series.get(name).to_owned()).collect();
            if let Some(group) = track.index.get(&values) {
                add(*group);
            } else if track.groups.len() <= GROUPS_MAX {
                let labels: Labels = slo.by.iter().cloned().zip(values.iter().cloned()).collect();
                let group = track.groups.len() as u32;
                track.groups.push(Group::new(slo, labels, &track.shape, true));
                track.index.insert(values, group);
                add(group);
            } else if track.left_out.len() < LEFT_OUT_MAX && track.left_out.insert(values) {
                let overall = &mut track.groups[track.overall.unwrap_or_default() as usize];
                overall.left_out = track.left_out.len() as u64;
                overall.changed = true;
            }
        }
        self.wiring[at] = Some(wiring);
    }

    /// Adds a cell of a known series.
    pub fn add(&mut self, id: SeriesId, slice: Slice, brief: &Brief<'_>) {
        self.add_run(id, &[(slice, *brief)]);
    }

    /// Adds cells of a known series.
    pub fn add_run(&mut self, id: SeriesId, run: &[(Slice, Brief<'_>)]) {
        self.feed(id, run, |brief| (brief.counts, brief.pushed), |brief, limit| brief.against(limit));
    }

    /// Adds counts of a known series; `against` gives the counts of a limit.
    pub fn add_with(&mut self, id: SeriesId, slice: Slice, counts: Counts, pushed: bool, against: impl Fn(Limit) -> Counts) {
        self.feed(id, &[(slice, ())], |()| (counts, pushed), |(), limit| against(limit));
    }

    fn feed<T>(
        &mut self,
        id: SeriesId,
        cells: &[(Slice, T)],
        counts: impl Fn(&T) -> (Counts, bool),
        against: impl Fn(&T, Limit) -> Counts,
    ) {
        let Some(Some(wiring)) = self.wiring.get(id.0 as usize) else { return };
        for stream in &wiring.streams {
            let stream = &mut self.streams[*stream as usize].stream;
            for (slice, cell) in cells {
                match counts(cell) {
                    (_, true) => stream.add_row(*slice),
                    (counts, false) => stream.add_events(*slice, counts.raw),
                }
            }
        }
        let now =
            Now { rules: &self.rules, maintenance: &self.maintenance, bucket: self.settings.bucket, next: self.next, past: self.past };
        for target in &wiring.targets {
            let track = &mut self.tracks[target.track as usize];
            for (slice, cell) in cells {
                let taken = take(target.take, counts(cell).0, &|limit| against(cell, limit));
                if !taken.is_zero() {
                    now.add(track, target.group as usize, *slice, taken);
                }
            }
        }
    }

    /// Adds a whole step of old history, which only long budgets still hold.
    pub fn add_old(&mut self, id: SeriesId, slice: Slice, brief: &Brief<'_>) {
        let Some(Some(wiring)) = self.wiring.get(id.0 as usize) else { return };
        for target in &wiring.targets {
            let taken = take(target.take, brief.counts, &|limit| brief.against(limit));
            let track = &mut self.tracks[target.track as usize];
            // Coarse history has no time slices any more; it must not be judged as one.
            if track.shape.target.is_none() && !taken.is_zero() {
                let now = Now {
                    rules: &self.rules,
                    maintenance: &self.maintenance,
                    bucket: self.settings.bucket,
                    next: self.next,
                    past: self.past,
                };
                let taken = match now.treatment(track, target.group as usize, slice) {
                    Some(MaintenanceBudget::Exclude) => continue,
                    Some(MaintenanceBudget::Good) => Counts { bad: 0, raw_bad: 0, ..taken },
                    Some(MaintenanceBudget::Count) | None => taken,
                };
                now.wake(track, target.group as usize, self.next);
                let group = &mut track.groups[target.group as usize];
                group.rolling.add_old(&track.shape, slice, taken);
                track.first_data = Some(track.first_data.map_or(slice, |first| first.min(slice)));
            }
        }
    }

    /// Ends the reading of old sums: what follows are buckets, one by one.
    pub fn end_of_past(&mut self) {
        for track in &mut self.tracks {
            for group in track.groups.iter_mut().filter(|group| !group.rolling.is_unused()) {
                group.rolling.end_of_past(&track.shape);
            }
        }
    }

    /// Closes the next bucket without judging it: how a start reads history.
    pub fn replay(&mut self, up: bool) {
        self.close(up);
    }

    /// Closes the next bucket and evaluates every SLO; `up` says whether the intake was up for it.
    pub fn advance(&mut self, up: bool) -> Vec<AlertEvent> {
        self.close(up);
        for stream in &mut self.streams {
            stream.coverage.clear();
            for (long, short) in &stream.pairs {
                stream.coverage.push(stream.stream.coverage(*long, *short, None));
            }
        }
        let mut out = Vec::new();
        for at in 0..self.tracks.len() {
            if !self.is_composite(at) {
                self.evaluate_track(at, &mut out);
            }
        }
        for at in 0..self.tracks.len() {
            if self.is_composite(at) {
                self.evaluate_composite(at, &mut out);
            }
        }
        out
    }

    /// Like [`Evaluator::replay`] of every bucket before `to`, many times faster: an SLO's slices close when its next
    /// cell comes, in a run. [`Evaluator::end_of_replay`] must follow before anything is read.
    pub fn replay_to(&mut self, to: Timestamp, up: impl Fn(Timestamp) -> bool) {
        let bucket = self.settings.bucket;
        let (first, end) = (self.next, to.0.div_euclid(bucket.0));
        if end <= first {
            return;
        }
        self.next = end;
        for stream in &mut self.streams {
            (first..end).for_each(|closed| stream.stream.close(up(Timestamp(closed * bucket.0))));
        }
        for track in self.tracks.iter_mut().filter(|track| !track.closes_in_runs) {
            for next in first..end {
                let now = Now { rules: &self.rules, maintenance: &self.maintenance, bucket, next, past: self.past };
                now.close(track, Rolling::close_loosely);
            }
        }
    }

    /// Ends a stretch of [`Evaluator::replay_to`].
    pub fn end_of_replay(&mut self) {
        for track in &mut self.tracks {
            let end = self.next - track.delay;
            for group in track.groups.iter_mut().filter(|group| !group.rolling.is_unused()) {
                if track.closes_in_runs {
                    group.rolling.close_run(&track.shape, end);
                }
                group.rolling.tighten(&track.shape);
            }
        }
    }

    fn close(&mut self, up: bool) {
        let closed = self.next;
        self.next += 1;
        for stream in &mut self.streams {
            stream.stream.close(up);
        }
        let now = Now { rules: &self.rules, maintenance: &self.maintenance, bucket: self.settings.bucket, next: closed, past: self.past };
        for track in &mut self.tracks {
            now.close(track, Rolling::close);
        }
    }

    fn evaluate_track(&mut self, at: usize, out: &mut Vec<AlertEvent>) {
        let bucket = self.settings.bucket;
        let track = &mut self.tracks[at];
        let slo = &self.rules.slos[track.slo];
        let now = Timestamp((self.next - track.delay) * bucket.0);
        let stream = &self.streams[track.stream];
        let history = track.first_data.map_or(Span::ZERO, |first| now - Timestamp(first * bucket.0));
        for group in &mut track.groups {
            if !group.alerts || (group.rolling.is_unused() && group.state.is_idle() && group.absent.is_none()) {
                continue;
            }
            let season = (slo.traffic_corrected && history >= SEASON_MIN)
                .then(|| Season { total: group.rolling.budget().total, length: slo.window.nominal().min(history) });
            group.judged.clear();
            for (tier, (long, short, pair)) in slo.tiers.iter().zip(&track.tiers) {
                let mut coverage = stream.coverage[*pair];
                if group.rolling.excluded(*long) > 0 {
                    coverage = group.coverage(&stream.stream, stream.pairs[*pair], track.per_slice);
                }
                let view = |index: usize, coverage, length| View { counts: group.rolling.sum(index), coverage, length };
                let long = view(*long, coverage.0, tier.long);
                let short = view(*short, coverage.1, tier.short);
                group.judged.push(burn::judge(slo, tier, &long, &short, season));
            }
            group.step(slo, &track.tiers, now, bucket, season, out);
            group.step_absent(slo, &track.tiers, now, bucket, out);
        }
    }

    /// Puts stored alert states back after a start.
    pub fn restore(&mut self, rule: &str, group: &str, state: AlertState) -> bool {
        let Some(at) = self.names.get(rule).copied() else { return false };
        let track = &mut self.tracks[at];
        let tiers = track.tiers.len();
        let Some((place, tiers)) = find(track, group, tiers) else { return false };
        if state.tiers.len() != tiers {
            return false;
        }
        *place = state;
        true
    }

    /// Makes room for the group of a stored alert whose series has not been seen yet.
    pub fn add_group(&mut self, rule: &str, labels: &Labels) {
        let Some(at) = self.names.get(rule).copied() else { return };
        let slo = &self.rules.slos[at];
        let track = &mut self.tracks[at];
        let values: Vec<String> = slo.by.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect();
        if slo.by.is_empty() || !slo.enabled || track.index.contains_key(&values) {
            return;
        }
        let group_labels: Labels = slo.by.iter().cloned().zip(values.iter().cloned()).collect();
        track.index.insert(values, track.groups.len() as u32);
        track.groups.push(Group::new(slo, group_labels, &track.shape, true));
    }

    /// Binds the alert of a rule and group to its incident, or frees it.
    pub fn set_incident(&mut self, rule: &str, group: &str, incident: Option<String>) -> Option<AlertState> {
        let at = *self.names.get(rule)?;
        let (state, _) = find(&mut self.tracks[at], group, 0)?;
        state.incident = incident;
        Some(state.clone())
    }

    /// Where every SLO and group stands; unchanged entries are shared with the last call.
    pub fn statuses(&mut self) -> Vec<Arc<SloStatus>> {
        let bucket = self.settings.bucket;
        let mut all = Vec::with_capacity(self.tracks.len());
        for track in &mut self.tracks {
            let slo = &self.rules.slos[track.slo];
            let now = Timestamp((self.next - track.delay) * bucket.0);
            for group in &mut track.groups {
                let fresh = group.status.is_none() || group.changed || !group.rolling.is_unused();
                if fresh {
                    group.describe(slo, &track.shape, &track.tiers, now);
                    group.changed = false;
                }
                all.extend(group.status.clone());
            }
        }
        all
    }

    /// Calls `visit` with every group that has a budget of its own: SLO, group, sums of its window, and the state of its budget.
    pub fn budgets(&self, mut visit: impl FnMut(&Slo, &Labels, Counts, Option<BudgetState>)) {
        for track in &self.tracks {
            let slo = &self.rules.slos[track.slo];
            for group in track.groups.iter().filter(|group| group.alerts) {
                let (counts, state) = group.budget(slo);
                visit(slo, &group.labels, counts, state);
            }
        }
    }

    /// The burn of a composite's group over a window (`None`: over its budget's window), which no sums of one SLO say; `None` if
    /// it is no composite, or not measured.
    pub fn combined_burn(&self, slo: &str, group: &Labels, window: Option<Span>) -> Option<f64> {
        let at = *self.names.get(slo)?;
        if self.is_composite(at) { self.burn_of_all(at, group, window) } else { None }
    }

    /// The SLO with data below a composite that burns most in a group; `None` if it is no composite.
    pub fn leading_slo(&self, slo: &str, group: &Labels) -> Option<&str> {
        let at = *self.names.get(slo)?;
        let leading = if self.is_composite(at) { self.leading(at, group)? } else { return None };
        Some(&self.rules.slos[self.tracks[leading].slo].name)
    }

    /// The share of its whole budget that a composite's group has spent since a time, as its members' shares make it; `None` if it
    /// is no composite, not measured, or not remembered that far back.
    pub fn combined_spent(&self, slo: &str, group: &Labels, from: Timestamp) -> Option<f64> {
        let at = *self.names.get(slo)?;
        if self.is_composite(at) { self.spent_of_all(at, group, from) } else { None }
    }

    /// Sums of one window of an SLO's group for `q.burn` and `q.budget`; `None`: not kept.
    pub fn window(&self, slo: &str, group: &Labels, window: Option<Span>) -> Option<Counts> {
        let at = *self.names.get(slo)?;
        let track = &self.tracks[at];
        let group = track.groups.iter().find(|have| have.labels == *group)?;
        match window {
            None => Some(group.rolling.budget()),
            Some(span) => Some(group.rolling.sum(track.shape.index(span)?)),
        }
    }

    /// Sums of an SLO's group since a point in time, as its windows count them; `None`: not remembered that far back.
    pub fn since(&self, slo: &str, group: &Labels, from: Timestamp) -> Option<Counts> {
        let at = self.rules.slos.iter().position(|have| have.name == slo)?;
        let track = &self.tracks[at];
        let group = track.groups.iter().find(|have| have.labels == *group)?;
        group.rolling.since(&track.shape, from.0.div_euclid(track.shape.slice.0))
    }

    /// The start of the unbroken run of slices that burn over 1x, at most `back` long (EXPLAIN 1); of a composite, that of the
    /// SLO below it that burns most.
    pub fn burning_since(&self, slo: &str, group: &str, back: Span) -> Option<Timestamp> {
        let at = *self.names.get(slo)?;
        let group = self.tracks[at].groups.iter().find(|have| have.key == group)?;
        if !self.is_composite(at) {
            return Some(self.run_start(at, group, back));
        }
        let leading = self.leading(at, &group.labels)?;
        Some(self.run_start(leading, self.row(&self.tracks[leading], &group.labels)?, back))
    }

    fn run_start(&self, at: usize, group: &Group, back: Span) -> Timestamp {
        let track = &self.tracks[at];
        let budget = self.rules.slos[track.slo].budget_ppm;
        let next = group.rolling.next();
        let oldest = (next - back.0 / track.shape.slice.0).max(group.rolling.first_slice());
        let mut first = next;
        // Slices without events do not break a run; they do not start one either.
        for slice in (oldest..next).rev() {
            let Some(counts) = group.rolling.slice_counts(slice) else { continue };
            match burn::burn(counts, budget) {
                Some(burn) if burn > 1.0 => first = slice,
                Some(_) => break,
                None => {}
            }
        }
        Timestamp(first.min(next - 1) * track.shape.slice.0)
    }

    /// Bytes of memory of all windows, and how many groups there are.
    pub fn window_bytes(&self) -> (usize, usize) {
        let groups = self.tracks.iter().flat_map(|track| &track.groups);
        groups.fold((0, 0), |(bytes, count), group| (bytes + group.rolling.bytes() + size_of::<Group>(), count + 1))
    }

    /// Apps that sent before and have been silent for the last `buckets` closed ones.
    pub fn silent_streams(&self, buckets: i64) -> Vec<String> {
        let silent = |stream: &&StreamTrack| {
            let end = self.next - stream.delay;
            stream.stream.has_data() && (end - buckets..end).all(|slice| stream.stream.is_silent(slice))
        };
        self.streams
            .iter()
            .filter(silent)
            .filter_map(|stream| match &stream.apps {
                Some(Match::Equal(app)) => Some(app.clone()),
                _ => None,
            })
            .collect()
    }
}

/// The alert of a group by its key, or the one that says that its data is missing; with the number of its tiers.
fn find<'t>(track: &'t mut Track, key: &str, tiers: usize) -> Option<(&'t mut AlertState, usize)> {
    for group in track.groups.iter_mut().filter(|group| group.alerts) {
        if group.key == key {
            return Some((&mut group.state, tiers));
        }
        if let Some(absent) = group.absent.as_mut().filter(|absent| absent.key == key) {
            return Some((&mut absent.state, 1));
        }
    }
    None
}

/// What a slice needs to know of the evaluator while one of its tracks is borrowed.
struct Now<'a> {
    rules: &'a RuleSet,
    maintenance: &'a [Option<Windows>],
    bucket: Span,
    next: Slice,
    past: Slice,
}

impl Now<'_> {
    /// Closes the bucket [`Now::next`] of one track.
    fn close(&self, track: &mut Track, close: fn(&mut Rolling, &Shape, bool, Option<Slice>)) {
        let end = self.next + 1 - track.delay;
        if track.per_slice != 1 && end.rem_euclid(track.per_slice) != 0 {
            return;
        }
        let since = match &self.rules.slos[track.slo].window {
            SloWindow::Rolling(_) => None,
            SloWindow::Calendar { period, timezone } => {
                let at = Timestamp(end * self.bucket.0);
                if at >= track.period.1 {
                    track.period = period.around(zone(timezone).unwrap_or(chrono_tz::UTC), at);
                }
                Some(track.period.0.0.div_euclid(track.shape.slice.0))
            }
        };
        for at in 0..track.groups.len() {
            if track.groups[at].rolling.is_unused() && track.shape.target.is_none() {
                continue;
            }
            self.wake(track, at, end - track.per_slice);
            let excluded = self.treatment(track, at, end - track.per_slice) == Some(MaintenanceBudget::Exclude);
            close(&mut track.groups[at].rolling, &track.shape, excluded, since);
        }
    }

    #[inline(always)]
    fn add(&self, track: &mut Track, group: usize, slice: Slice, taken: Counts) {
        let good = self.treatment(track, group, slice) == Some(MaintenanceBudget::Good);
        let taken = if good { Counts { bad: 0, raw_bad: 0, ..taken } } else { taken };
        self.wake(track, group, slice);
        let group = &mut track.groups[group];
        let closed = self.next - track.delay;
        if track.closes_in_runs && group.rolling.next() < closed {
            group.rolling.close_run(&track.shape, closed);
        }
        group.rolling.add(&track.shape, slice.div_euclid(track.per_slice), taken);
        group.changed = true;
        track.first_data = Some(track.first_data.map_or(slice, |first| first.min(slice)));
    }

    /// How maintenance treats a bucket of one group.
    #[inline]
    fn treatment(&self, track: &Track, group: usize, slice: Slice) -> Option<MaintenanceBudget> {
        if track.exclusions.is_empty() { None } else { self.maintained(track, group, slice) }
    }

    fn maintained(&self, track: &Track, group: usize, slice: Slice) -> Option<MaintenanceBudget> {
        let slo = &self.rules.slos[track.slo];
        let at = Timestamp(slice * self.bucket.0);
        let on = track.exclusions.iter().filter(|at| applies(&self.rules.maintenances[**at], slo, &track.groups[group].labels));
        let on = on.filter(|index| self.maintenance[**index].as_ref().is_some_and(|windows| windows.active(at)));
        // Taking time out wins over counting it as good.
        on.map(|at| self.rules.maintenances[*at].budget).max_by_key(|budget| *budget == MaintenanceBudget::Exclude)
    }

    /// Gives a group its windows when its first data comes: groups without any cost nothing.
    #[inline]
    fn wake(&self, track: &mut Track, group: usize, slice: Slice) {
        if track.groups[group].rolling.is_asleep() {
            self.awaken(track, group, slice);
        }
    }

    fn awaken(&self, track: &mut Track, group: usize, slice: Slice) {
        let next = (self.next - track.delay).div_euclid(track.per_slice);
        let first = slice.div_euclid(track.per_slice).clamp(next - track.shape.fine_slices(), next);
        let past = match &self.rules.slos[track.slo].window {
            SloWindow::Rolling(_) => self.past,
            SloWindow::Calendar { period, timezone } => {
                let at = Timestamp((self.next - track.delay) * self.bucket.0);
                period.around(zone(timezone).unwrap_or(chrono_tz::UTC), at).0.0.div_euclid(self.bucket.0)
            }
        };
        let mut rolling = Rolling::new(&track.shape, first, past.div_euclid(track.per_slice));
        for slice in first..next {
            let excluded = self.treatment(track, group, slice * track.per_slice) == Some(MaintenanceBudget::Exclude);
            rolling.close(&track.shape, excluded, None);
        }
        track.groups[group].rolling = rolling;
    }
}

fn take(take: Take, counts: Counts, against: &impl Fn(Limit) -> Counts) -> Counts {
    match take {
        Take::Counts => counts,
        Take::Against(limit) => against(limit),
        Take::RatioTotal => Counts { bad: counts.total, raw_bad: counts.raw, ..counts },
        Take::RatioGood => Counts { total: 0, bad: -counts.total, raw: 0, raw_bad: -counts.raw, sq: 0 },
    }
}

/// Whether maintenance could ever apply to an SLO, whatever the group.
pub fn could_match(maintenance: &Maintenance, slo: &Slo) -> bool {
    let labels = slo.base_labels();
    maintenance.when.0.iter().all(|(name, condition)| {
        slo.by.contains(name) || name == "severity" || condition.accepts(labels.get(name).map_or("", String::as_str))
    })
}

fn applies(maintenance: &Maintenance, slo: &Slo, group: &Labels) -> bool {
    let mut labels = slo.base_labels();
    labels.extend(group.clone());
    matches(&maintenance.when, &labels)
}

impl Group {
    fn new(slo: &Slo, labels: Labels, shape: &Shape, alerts: bool) -> Group {
        let key = if labels.is_empty() { String::new() } else { canonical(&labels) };
        let state = AlertState::new(slo.tiers.len());
        let absent = (alerts && slo.no_data == NoData::Alert && !slo.tiers.is_empty()).then(|| {
            let mut labels = labels.clone();
            labels.insert(NO_DATA.0.into(), NO_DATA.1.into());
            Box::new(Absent { key: canonical(&labels), state: AlertState::new(1) })
        });
        Group {
            labels,
            absent,
            combined: None,
            key,
            rolling: Rolling::asleep(shape),
            state,
            judged: SmallVec::new(),
            alerts,
            changed: true,
            left_out: 0,
            status: None,
            spare: None,
        }
    }

    /// Coverage of a pair of windows, in buckets, without the slices that maintenance takes out of this group.
    fn coverage(&self, stream: &Stream, (long, short): (i64, i64), per_slice: i64) -> (Coverage, Coverage) {
        stream.coverage(long, short, Some(&|slice: Slice| self.rolling.is_excluded(slice.div_euclid(per_slice))))
    }

    /// Moves every tier and the alert on by one evaluation.
    fn step(
        &mut self,
        slo: &Slo,
        windows: &[(usize, usize, usize)],
        now: Timestamp,
        bucket: Span,
        season: Option<Season>,
        out: &mut Vec<AlertEvent>,
    ) {
        let last = now - bucket;
        let all_unknown = !self.judged.is_empty() && self.judged.iter().all(|judged| judged.verdict == TierVerdict::Unknown);
        let quiet = !all_unknown && self.state.is_idle() && self.judged.iter().all(|judged| judged.verdict != TierVerdict::Holds);
        if quiet {
            self.state.unknown_tiers.clear();
            return;
        }
        let before = self.state.clone();
        if all_unknown {
            self.state.unknown_since.get_or_insert(now);
        } else {
            self.state.unknown_since = None;
        }
        if slo.no_data == NoData::Ok {
            self.state.unknown_tiers.resize(slo.tiers.len(), None);
        }
        let mut tiers = Vec::new();
        let mut known: SmallVec<[bool; 4]> = SmallVec::new();
        for (at, tier) in slo.tiers.iter().enumerate() {
            let mut verdict = self.judged[at].verdict;
            if let Some(since) = self.state.unknown_tiers.get_mut(at) {
                *since = (verdict == TierVerdict::Unknown).then_some(since.unwrap_or(now));
                if since.is_some_and(|since| now - since >= NO_DATA_AFTER) {
                    verdict = TierVerdict::Clear;
                }
            }
            known.push(verdict != TierVerdict::Unknown);
            let patience = Patience { pending: tier.pending, keep_firing: tier.keep_firing };
            let (state, change) = self.state.tiers[at].step(verdict, now, last, patience);
            self.state.tiers[at] = state;
            if let Some(change) = change {
                let figures = self.figures(slo, windows, at, season);
                tiers.push(TierEvent { tier: at, severity: tier.severity, change, figures });
            }
        }
        let change = self.state.settle(slo.tiers.iter().map(|tier| tier.severity), now);
        // A slow window that still holds does not confirm a page.
        let confirms = |at: usize| known[at] && self.state.tiers[at].is_firing() && Some(slo.tiers[at].severity) == self.state.severity;
        let measured = change.is_some() || (0..slo.tiers.len()).any(confirms);
        let change = self.state.confirm(measured, change, now);
        if change.is_none() && tiers.is_empty() && before == self.state {
            return;
        }
        let governing = self.governing(slo);
        let figures = governing.map_or_else(Figures::default, |at| self.figures(slo, windows, at, season));
        let mut labels = slo.base_labels();
        labels.extend(self.labels.clone());
        let reason = match change {
            Some(AlertChange::Ended) => "no tier holds any more".to_owned(),
            Some(AlertChange::Unconfirmed) => unconfirmed(),
            Some(AlertChange::Opened { .. } | AlertChange::Raised { .. } | AlertChange::Lowered { .. }) | None => governing
                .map(|at| format!("{}x passed over {} and {}", slo.tiers[at].factor, slo.tiers[at].long, slo.tiers[at].short))
                .unwrap_or_default(),
        };
        out.push(AlertEvent {
            at: now,
            rule: slo.name.clone(),
            group: self.key.clone(),
            labels,
            change,
            tiers,
            summary: summary(slo, &self.labels, &figures),
            figures,
            reason,
            subject: None,
            state: self.state.clone(),
        });
        self.changed = true;
    }

    /// Moves the ticket on that missing data opens: the fastest tier, whose windows tell first, has been unknown for so long.
    fn step_absent(&mut self, slo: &Slo, windows: &[(usize, usize, usize)], now: Timestamp, bucket: Span, out: &mut Vec<AlertEvent>) {
        let Some(absent) = &mut self.absent else { return };
        let Some(fastest) = (0..slo.tiers.len()).min_by_key(|at| (slo.tiers[*at].short, slo.tiers[*at].long)) else { return };
        let unknown = self.judged.get(fastest).is_some_and(|judged| judged.verdict == TierVerdict::Unknown);
        // Time that is taken out is not missing; whether anything is cannot be seen in it.
        let excluded = windows.get(fastest).is_some_and(|(_, short, _)| self.rolling.excluded(*short) > 0);
        let verdict = match (unknown, excluded) {
            (false, _) => TierVerdict::Clear,
            (true, true) => TierVerdict::Unknown,
            (true, false) => TierVerdict::Holds,
        };
        if verdict != TierVerdict::Holds && absent.state.is_idle() {
            return;
        }
        let before = absent.state.clone();
        let patience = Patience { pending: NO_DATA_AFTER, keep_firing: Span::ZERO };
        let (tier, change) = absent.state.tiers[0].step(verdict, now, now - bucket, patience);
        absent.state.tiers[0] = tier;
        let alert_change = absent.state.settle([Severity::Ticket], now);
        if alert_change.is_none() && absent.state == before {
            return;
        }
        let mut labels = slo.base_labels();
        labels.extend(self.labels.clone());
        labels.insert(NO_DATA.0.into(), NO_DATA.1.into());
        let place = self.labels.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
        let figures = Figures::default();
        out.push(AlertEvent {
            at: now,
            rule: slo.name.clone(),
            group: absent.key.clone(),
            labels,
            change: alert_change,
            // It is none of the SLO's tiers.
            tiers: change
                .map(|change| TierEvent { tier: slo.tiers.len(), severity: Severity::Ticket, change, figures })
                .into_iter()
                .collect(),
            figures,
            summary: format!("{}{place}: no data for {NO_DATA_AFTER}, whether it is met is not known", slo.name),
            reason: "it is measured again".into(),
            subject: None,
            state: absent.state.clone(),
        });
    }

    /// The tier that speaks for the alert: the loudest that fires, the fastest among equals.
    fn governing(&self, slo: &Slo) -> Option<usize> {
        (0..slo.tiers.len()).filter(|at| self.state.tiers[*at].is_firing()).max_by(|a, b| {
            let key = |at: usize| (slo.tiers[at].severity, slo.tiers[at].factor);
            key(*a).cmp(&key(*b)).then(b.cmp(a))
        })
    }

    fn figures(&self, slo: &Slo, windows: &[(usize, usize, usize)], at: usize, season: Option<Season>) -> Figures {
        let Some((long, short, _)) = windows.get(at) else { return Figures::default() };
        let tier = &slo.tiers[at];
        let burn_of = |index: usize, length: Span| {
            if let Some(combined) = &self.combined {
                return combined.burns.get(index).copied().flatten();
            }
            let counts = self.rolling.sum(index);
            match season {
                Some(season) => {
                    burn::corrected_burn(&View { counts, coverage: Coverage { covered: 1, of: 1 }, length }, slo.budget_ppm, season)
                }
                None => burn::burn(counts, slo.budget_ppm),
            }
        };
        Figures {
            burn_long: burn_of(*long, tier.long),
            burn_short: burn_of(*short, tier.short),
            factor: Some(tier.factor.to_f64()),
            long: Some(tier.long),
            short: Some(tier.short),
            error_ratio: burn::error_ratio(self.rolling.sum(*long)),
        }
    }

    /// Makes the status new. Thousands are made at each evaluation, so the one before the last is written
    /// over, unless somebody still reads it.
    fn describe(&mut self, slo: &Slo, shape: &Shape, windows: &[(usize, usize, usize)], now: Timestamp) {
        let mut status = self.spare.take().unwrap_or_else(|| Arc::new(self.blank(slo, shape)));
        if Arc::get_mut(&mut status).is_none() {
            status = Arc::new(self.blank(slo, shape));
        }
        self.fill(Arc::get_mut(&mut status).expect("nobody else has it"), slo, windows, now);
        self.spare = self.status.replace(status);
    }

    /// What never changes about a status.
    fn blank(&self, slo: &Slo, shape: &Shape) -> SloStatus {
        let tier = |tier: &Tier| TierStatus {
            severity: tier.severity,
            long: tier.long,
            short: tier.short,
            factor: tier.factor,
            op: tier.op,
            burn_long: None,
            burn_short: None,
            long_over: false,
            short_over: false,
            verdict: TierVerdict::Unknown,
            held_back: None,
            phase: AlertPhase::Ok,
            since: None,
        };
        SloStatus {
            slo: slo.name.clone(),
            group: self.labels.clone(),
            total: 0.0,
            bad: 0.0,
            budget_remaining: None,
            pace: None,
            countdown: None,
            burn: shape.exact.iter().map(|length| (Span(length * shape.slice.0), None)).collect(),
            tiers: slo.tiers.iter().map(tier).collect(),
            state: AlertPhase::Ok,
            severity: None,
            no_data: false,
            groups_left_out: 0,
        }
    }

    /// The burn of a window, by its index.
    fn burn_of(&self, slo: &Slo, index: usize) -> Option<f64> {
        match &self.combined {
            Some(combined) => combined.burns.get(index).copied().flatten(),
            None => burn::burn(self.rolling.sum(index), slo.budget_ppm),
        }
    }

    /// Sums over the SLO's window, and what is left of the budget.
    fn budget(&self, slo: &Slo) -> (Counts, Option<BudgetState>) {
        match &self.combined {
            Some(combined) => (combined.counts, combined.burn.map(|burn| burn::forecast(1.0 - burn, burn, slo.window.nominal()))),
            None => {
                let counts = self.rolling.budget();
                (counts, burn::budget(counts, slo.budget_ppm, slo.window.nominal()))
            }
        }
    }

    /// Everything else.
    fn fill(&self, status: &mut SloStatus, slo: &Slo, windows: &[(usize, usize, usize)], now: Timestamp) {
        let (counts, state) = self.budget(slo);
        let secs = |secs: f64| Span((secs * 1000.0).min(9e15) as i64);
        status.total = events(counts.total);
        status.bad = events(counts.bad.max(0));
        status.budget_remaining = state.map(|state| state.remaining);
        status.pace = state.and_then(|state| state.pace_secs).map(secs);
        status.countdown = state.and_then(|state| state.countdown_secs).map(secs);
        // Nothing was ever measured: it was never judged either, and is no more "ok" than it is firing.
        let unmeasured = self.alerts && self.judged.is_empty() && slo.no_data != NoData::Ok;
        status.state = match self.state.phase() {
            AlertPhase::Ok if unmeasured && !slo.tiers.is_empty() => AlertPhase::Unknown,
            phase @ (AlertPhase::Ok | AlertPhase::Pending | AlertPhase::Firing | AlertPhase::Unknown) => phase,
        };
        status.severity = self.state.severity;
        status.groups_left_out = self.left_out;
        status.no_data = self.state.unknown_since.is_some_and(|since| now - since >= NO_DATA_AFTER) || counts.total <= 0;
        // Lengths of windows ascend, here and there.
        let burns: SmallVec<[Option<f64>; 10]> = (0..status.burn.len()).map(|index| self.burn_of(slo, index)).collect();
        for (shown, burn) in status.burn.values_mut().zip(&burns) {
            *shown = *burn;
        }
        for (at, (tier, (long, short, _))) in status.tiers.iter_mut().zip(windows).enumerate() {
            let judged = self.judged.get(at).copied();
            (tier.phase, tier.since) = match self.state.tiers[at] {
                TierState::Firing { started_at, .. } => (AlertPhase::Firing, Some(started_at)),
                TierState::Pending { since, .. } => (AlertPhase::Pending, Some(since)),
                TierState::Idle if judged.map_or(unmeasured, |judged| judged.verdict == TierVerdict::Unknown) => {
                    (AlertPhase::Unknown, None)
                }
                TierState::Idle => (AlertPhase::Ok, None),
            };
            (tier.burn_long, tier.burn_short) = (burns[*long], burns[*short]);
            tier.long_over = judged.is_some_and(|judged| judged.long_over);
            tier.short_over = judged.is_some_and(|judged| judged.short_over);
            tier.verdict = judged.map_or(TierVerdict::Unknown, |judged| judged.verdict);
            tier.held_back = judged.and_then(|judged| judged.guard).map(|guard| guard.to_string());
        }
    }
}

/// Why an alert that was not measured for too long is talked about.
pub fn unconfirmed() -> String {
    format!("unconfirmed: it has not been measured for {FROZEN_MAX} and keeps its state")
}

/// One line for a person: what burns, how fast, over which windows.
fn summary(slo: &Slo, group: &Labels, figures: &Figures) -> String {
    let place = group.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
    let what = if slo.description.is_empty() { slo.name.clone() } else { format!("{} ({})", slo.name, slo.description) };
    match (figures.burn_long, figures.burn_short, figures.long, figures.short) {
        (Some(burn_long), Some(burn_short), Some(long), Some(short)) => {
            let whose = if let Sli::Composite { how, .. } = &slo.sli { format!(", {}", how.words()) } else { String::new() };
            format!("{what}{place}: burns its error budget {burn_long:.1}x over {long} and {burn_short:.1}x over {short}{whose}")
        }
        _ => format!("{what}{place}: burns its error budget"),
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
