//! The evaluator: follows what is stored, keeps the windows of every SLO and group, and says at
//! each closed bucket which alerts changed. The daemon, `backtest` and `test` all run this one.
//!
//! Its memory is a pure function of what was fed to it. Series are matched once; a cell then costs
//! a lookup and a few additions for each SLI that selects it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::alert::{AlertChange, AlertState, TierChange};
use super::burn::{self, BudgetState, Season, View};
use super::cell::Counts;
use super::coverage::{Coverage, Stream};
use super::filter::Match;
use super::inputs::Inputs;
use super::measure::Subject;
use super::notification::Figures;
use super::rule::{Labels, RuleSet, Severity, Slo, SloWindow};
use super::schedule::Windows;
use super::segment::Slice;
use super::snapshot::SloStatus;
use super::time::{Span, Timestamp};
use super::window::{Budget, Shape};

mod build;
mod composite;
mod feed;
mod group;

pub use feed::could_match;
pub use group::unconfirmed;

use build::Asked;
use feed::{Take, Target};
use group::Group;

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

impl Track {
    /// How much history there is at a time.
    fn history(&self, now: Timestamp, bucket: Span) -> Span {
        self.first_data.map_or(Span::ZERO, |first| now - Timestamp(first * bucket.0))
    }
}

/// The traffic that the burn of a group is held against, where the SLO asks for that and knows a week (SEMANTICS 10).
fn season(slo: &Slo, group: &Group, history: Span) -> Option<Season> {
    (slo.traffic_corrected && history >= SEASON_MIN)
        .then(|| Season { total: group.rolling.budget().total, length: slo.window.nominal().min(history) })
}

struct StreamTrack {
    apps: Option<Match>,
    stream: Stream,
    delay: i64,
    /// Distinct pairs of windows, in buckets, and their coverage at the current evaluation.
    pairs: Vec<(i64, i64)>,
    coverage: Vec<(Coverage, Coverage)>,
}

/// What stays as it is while an evaluator lives.
struct Plan {
    rules: Arc<RuleSet>,
    settings: Settings,
    /// The times of the rule set's maintenance declarations, in their order.
    maintenance: Vec<Option<Windows>>,
    /// The first bucket of history that long budgets may still hold.
    past: Slice,
}

/// See the module's text.
pub struct Evaluator {
    plan: Plan,
    /// The next bucket to close.
    next: Slice,
    /// While history is read: the bucket that is evaluated first after it.
    aim: Option<Slice>,
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
            plan: Plan {
                rules: rules.clone(),
                settings,
                maintenance: rules.maintenances.iter().map(|maintenance| Windows::new(&maintenance.times).ok()).collect(),
                past,
            },
            next,
            aim: None,
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
            // A composite asks what it is made of about the windows of its own tiers, and about those that it is asked for itself.
            let askers: Vec<&Slo> =
                made_of.iter().filter(|(_, leaves)| leaves.contains(&index)).map(|(asker, _)| &rules.slos[*asker]).collect();
            let asked = Asked {
                tiers: askers.iter().flat_map(|asker| &asker.tiers).collect(),
                windows: askers
                    .iter()
                    .copied()
                    .chain([slo])
                    .filter_map(|slo| rules.asked_windows.get(&slo.name))
                    .flatten()
                    .copied()
                    .collect(),
            };
            evaluator.add_track(index, slo, &asked, &mut inputs);
        }
        evaluator.inputs = Inputs::new(inputs);
        for (index, leaves) in made_of {
            evaluator.tracks[index].leaves = leaves;
        }
        evaluator
    }

    /// The rule set it runs.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.plan.rules
    }

    /// The logical time of the last evaluation: all buckets before it are closed.
    pub fn evaluated_to(&self) -> Timestamp {
        Timestamp(self.next * self.plan.settings.bucket.0)
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
        Span(most.unwrap_or(0) + self.max_delay() * self.plan.settings.bucket.0)
    }

    /// How far back any window reaches.
    pub fn reach(&self) -> Span {
        let most = self.tracks.iter().map(|track| {
            let slo = &self.plan.rules.slos[track.slo];
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

    fn evaluate_track(&mut self, at: usize, out: &mut Vec<AlertEvent>) {
        let bucket = self.plan.settings.bucket;
        let track = &mut self.tracks[at];
        let slo = &self.plan.rules.slos[track.slo];
        let now = Timestamp((self.next - track.delay) * bucket.0);
        let stream = &self.streams[track.stream];
        let history = track.history(now, bucket);
        for group in &mut track.groups {
            if !group.alerts || (group.rolling.is_unused() && group.state.is_idle() && group.absent.is_none()) {
                continue;
            }
            let season = season(slo, group, history);
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

    /// Binds the alert of a rule and group to its incident, or frees it.
    pub fn set_incident(&mut self, rule: &str, group: &str, incident: Option<String>) -> Option<AlertState> {
        let at = *self.names.get(rule)?;
        let (state, _) = find(&mut self.tracks[at], group, 0)?;
        state.incident = incident;
        Some(state.clone())
    }

    /// Where every SLO and group stands; unchanged entries are shared with the last call.
    pub fn statuses(&mut self) -> Vec<Arc<SloStatus>> {
        let bucket = self.plan.settings.bucket;
        let mut all = Vec::with_capacity(self.tracks.len());
        for track in &mut self.tracks {
            let slo = &self.plan.rules.slos[track.slo];
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
            let slo = &self.plan.rules.slos[track.slo];
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
        Some(&self.plan.rules.slos[self.tracks[leading].slo].name)
    }

    /// The share of its whole budget that a composite's group has spent since a time, as its members' shares make it; `None` if it
    /// is no composite, not measured, or not remembered that far back.
    pub fn combined_spent(&self, slo: &str, group: &Labels, from: Timestamp) -> Option<f64> {
        let at = *self.names.get(slo)?;
        if self.is_composite(at) { self.spent_of_all(at, group, from) } else { None }
    }

    /// The same of what it spent within a window that is kept.
    pub fn combined_spent_within(&self, slo: &str, group: &Labels, window: Span) -> Option<f64> {
        let at = *self.names.get(slo)?;
        if self.is_composite(at) { self.spent_of_all_within(at, group, window) } else { None }
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
        let at = self.plan.rules.slos.iter().position(|have| have.name == slo)?;
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
        let budget = self.plan.rules.slos[track.slo].budget_ppm;
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

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
