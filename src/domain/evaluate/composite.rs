//! Composites: SLOs that are made of other SLOs, which may be composites again (SEMANTICS 20).
//!
//! A composite has no windows of its own. At each evaluation it asks the SLOs with data at its ends, its leaves, which
//! keep the windows of its tiers for it. A composite by dimensions has the groups of its leaves.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use super::super::burn::{self, Judgement, Part, Season, View};
use super::super::cell::Counts;
use super::super::coverage::Coverage;
use super::super::rule::{Combine, Labels, RuleSet, Sli, Tier};
use super::super::snapshot::TierVerdict;
use super::super::time::{Span, Timestamp};
use super::{AlertEvent, Evaluator, GROUPS_MAX, Group, Track, season};

/// How the members of a composite stand together, for people.
#[derive(Default)]
pub(super) struct Combined {
    /// By the windows of the composite's shape.
    pub(super) burns: Vec<Option<f64>>,
    /// The same as tiers compare them: by the traffic of the period where members ask for that; `None`: no member does.
    pub(super) corrected: Option<Vec<Option<f64>>>,
    /// Over the leaves' budget windows.
    pub(super) counts: Counts,
    pub(super) burn: Option<f64>,
}

/// Every composite by its index, and the SLOs with data that it is made of, each once. What contains itself, which no loaded
/// rule set does, ends there.
pub(super) fn leaves(rules: &RuleSet, names: &HashMap<String, usize>) -> Vec<(usize, Vec<usize>)> {
    let members = |at: usize| match &rules.slos[at].sli {
        Sli::Composite { members, .. } => Some(members.iter().filter_map(|name| names.get(name).copied())),
        Sli::Good(_) | Sli::Within { .. } | Sli::Ratio { .. } | Sli::Slices { .. } | Sli::External { .. } => None,
    };
    let mut all = Vec::new();
    for at in 0..rules.slos.len() {
        let Some(first) = members(at) else { continue };
        let (mut open, mut seen, mut found): (Vec<usize>, HashSet<usize>, Vec<usize>) = (first.collect(), [at].into(), Vec::new());
        while let Some(member) = open.pop() {
            if !seen.insert(member) {
                continue;
            }
            match members(member) {
                Some(inner) => open.extend(inner),
                None => found.push(member),
            }
        }
        found.sort_unstable();
        all.push((at, found));
    }
    all
}

const CLEAR: Judgement = Judgement { verdict: TierVerdict::Clear, guard: None, long_over: false, short_over: false };
const UNKNOWN: Judgement = Judgement { verdict: TierVerdict::Unknown, ..CLEAR };

impl Evaluator {
    /// Whether a track has no data of its own.
    pub(super) fn is_composite(&self, at: usize) -> bool {
        matches!(self.plan.rules.slos[self.tracks[at].slo].sli, Sli::Composite { .. })
    }

    /// Judges every group of a composite and moves its alert on.
    pub(super) fn evaluate_composite(&mut self, at: usize, out: &mut Vec<AlertEvent>) {
        let bucket = self.plan.settings.bucket;
        let now = self.evaluated_to();
        self.meet_groups(at);
        for number in 0..self.tracks[at].groups.len() {
            let labels = self.tracks[at].groups[number].labels.clone();
            let tiers = &self.plan.rules.slos[self.tracks[at].slo].tiers;
            let judged: SmallVec<[Judgement; 4]> = tiers.iter().map(|tier| self.judge_composite(at, &labels, tier)).collect();
            let combined = self.combine(at, &labels);
            let track = &mut self.tracks[at];
            let slo = &self.plan.rules.slos[track.slo];
            let group = &mut track.groups[number];
            group.judged = judged;
            group.combined = Some(combined);
            group.changed = true;
            if group.alerts {
                group.step(slo, &track.tiers, now, bucket, None, out);
                group.step_absent(slo, &track.tiers, now, bucket, out);
            }
        }
    }

    /// Gives a composite by dimensions the groups that its leaves have.
    fn meet_groups(&mut self, at: usize) {
        let rules = self.plan.rules.clone();
        let slo = &rules.slos[self.tracks[at].slo];
        if slo.by.is_empty() || !slo.enabled {
            return;
        }
        for leaf in self.tracks[at].leaves.clone() {
            for number in 1..self.tracks[leaf].groups.len() {
                let labels = &self.tracks[leaf].groups[number].labels;
                let values: Vec<String> = slo.by.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect();
                let labels: Labels = slo.by.iter().cloned().zip(values.iter().cloned()).collect();
                let track = &mut self.tracks[at];
                if track.groups.len() <= GROUPS_MAX && !track.index.contains_key(&values) {
                    track.index.insert(values, track.groups.len() as u32);
                    track.groups.push(Group::new(slo, labels, &track.shape, true));
                }
            }
        }
    }

    /// The SLO with data below a composite that burns most over the shortest window of its tiers; the first of equals.
    pub(super) fn leading(&self, at: usize, labels: &Labels) -> Option<usize> {
        let track = &self.tracks[at];
        let short = self.plan.rules.slos[track.slo].tiers.iter().map(|tier| tier.short).min();
        let burn = |leaf: usize| self.burn_of_all(leaf, labels, short).unwrap_or(0.0);
        track.leaves.iter().copied().max_by(|a, b| burn(*a).total_cmp(&burn(*b)).then(b.cmp(a)))
    }

    /// The members of a composite, with their weights where it has any.
    fn members(&self, at: usize) -> (&Combine, Vec<usize>) {
        match &self.plan.rules.slos[self.tracks[at].slo].sli {
            // A loaded rule set names only SLOs that there are, so members and weights go together.
            Sli::Composite { members, how } => (how, members.iter().filter_map(|name| self.names.get(name).copied()).collect()),
            Sli::Good(_) | Sli::Within { .. } | Sli::Ratio { .. } | Sli::Slices { .. } | Sli::External { .. } => {
                (&Combine::Worst, Vec::new())
            }
        }
    }

    /// The row of an SLO that belongs to a group of the composite; the overall row where that has none.
    pub(super) fn row<'t>(&self, track: &'t Track, labels: &Labels) -> Option<&'t Group> {
        if labels.is_empty() {
            return track.groups.first();
        }
        let by = &self.plan.rules.slos[track.slo].by;
        let values: Vec<String> = by.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect();
        track.groups.get(*track.index.get(&values)? as usize)
    }

    /// The two windows of a tier, as an SLO with data has them; `None`: it does not keep them, or has no such group.
    fn views(&self, at: usize, labels: &Labels, tier: &Tier) -> Option<(View, View)> {
        let track = &self.tracks[at];
        let (long, short) = (track.shape.index(tier.long)?, track.shape.index(tier.short)?);
        let group = self.row(track, labels)?;
        let buckets = |span: Span| (span.0 / self.plan.settings.bucket.0).max(1);
        let (stream, pair) = (&self.streams[track.stream].stream, (buckets(tier.long), buckets(tier.short)));
        let coverage = match group.rolling.excluded(long) {
            0 => stream.coverage(pair.0, pair.1, None),
            _ => group.coverage(stream, pair, track.per_slice),
        };
        let view = |index, coverage, length| View { counts: group.rolling.sum(index), coverage, length };
        Some((view(long, coverage.0, tier.long), view(short, coverage.1, tier.short)))
    }

    /// The traffic that a member's burn is held against.
    fn season_of(&self, track: &Track, group: &Group) -> Option<Season> {
        let bucket = self.plan.settings.bucket;
        let now = Timestamp((self.next - track.delay) * bucket.0);
        season(&self.plan.rules.slos[track.slo], group, track.history(now, bucket))
    }

    /// What one of the composite's members burns, at whatever depth; `None`: one of them cannot be asked.
    fn part(&self, at: usize, labels: &Labels, tier: &Tier) -> Option<Part> {
        if !self.is_composite(at) {
            let (long, short) = self.views(at, labels, tier)?;
            let season = self.season_of(&self.tracks[at], self.row(&self.tracks[at], labels)?);
            return Some(Part::Slo { budget_ppm: self.plan.rules.slos[self.tracks[at].slo].budget_ppm, long, short, season });
        }
        let (how, members) = self.members(at);
        let parts = members.iter().map(|member| self.part(*member, labels, tier)).collect::<Option<Vec<Part>>>()?;
        Some(match how {
            Combine::Worst => Part::Worst(parts),
            Combine::Weighted(weights) => Part::Mean(weights.iter().copied().zip(parts).collect()),
        })
    }

    /// Judges one tier. Of the worst, a member that passes both windows makes it hold; without one, a member that is unknown
    /// leaves it unknown. Of the weighted, the mean of the burns decides, and a member that cannot be asked leaves it unknown.
    fn judge_composite(&self, at: usize, labels: &Labels, tier: &Tier) -> Judgement {
        let slo = &self.plan.rules.slos[self.tracks[at].slo];
        let (how, members) = self.members(at);
        match how {
            Combine::Weighted(_) => match self.part(at, labels, tier) {
                Some(part) => burn::judge_mean(slo, tier, &part),
                None => UNKNOWN,
            },
            Combine::Worst => members.into_iter().fold(CLEAR, |worst, member| {
                let judged = if self.is_composite(member) {
                    self.judge_composite(member, labels, tier)
                } else if let Some((long, short)) = self.views(member, labels, tier) {
                    let track = &self.tracks[member];
                    let season = self.row(track, labels).and_then(|group| self.season_of(track, group));
                    burn::judge(&self.plan.rules.slos[track.slo], tier, &long, &short, season)
                } else {
                    UNKNOWN
                };
                worse(worst, judged)
            }),
        }
    }

    /// How a composite stands, for people: burns by window, events and budget of all members together.
    fn combine(&self, at: usize, labels: &Labels) -> Combined {
        let track = &self.tracks[at];
        let spans = track.shape.exact.iter().map(|length| Span(length * track.shape.slice.0));
        let mut counts = Counts::ZERO;
        let rows = track.leaves.iter().filter_map(|leaf| self.row(&self.tracks[*leaf], labels));
        rows.for_each(|group| counts += group.rolling.budget());
        let asks = |leaf: &usize| self.plan.rules.slos[self.tracks[*leaf].slo].traffic_corrected;
        let corrected = || spans.clone().map(|span| self.corrected_burn_of_all(at, labels, span)).collect();
        Combined {
            corrected: track.leaves.iter().any(asks).then(corrected),
            burns: spans.clone().map(|span| self.burn_of_all(at, labels, Some(span))).collect(),
            counts,
            burn: self.burn_of_all(at, labels, None),
        }
    }

    /// The burn of an SLO over a window (`None`: over its budget's window), of a composite as its members' burns make it.
    pub(super) fn burn_of_all(&self, at: usize, labels: &Labels, window: Option<Span>) -> Option<f64> {
        self.together(at, labels, &|track, group| {
            let counts = match window {
                Some(span) => group.rolling.sum(track.shape.index(span)?),
                None => group.rolling.budget(),
            };
            burn::burn(counts, self.plan.rules.slos[track.slo].budget_ppm)
        })
    }

    /// The burn over a window as tiers compare it.
    fn corrected_burn_of_all(&self, at: usize, labels: &Labels, window: Span) -> Option<f64> {
        self.together(at, labels, &|track, group| {
            let counts = group.rolling.sum(track.shape.index(window)?);
            let budget_ppm = self.plan.rules.slos[track.slo].budget_ppm;
            match self.season_of(track, group) {
                Some(season) => {
                    let whole = Coverage { covered: 1, of: 1 };
                    burn::corrected_burn(&View { counts, coverage: whole, length: window }, budget_ppm, season)
                }
                None => burn::burn(counts, budget_ppm),
            }
        })
    }

    /// The share of its whole budget that an SLO has spent since a time, of a composite as its members' shares make it.
    pub(super) fn spent_of_all(&self, at: usize, labels: &Labels, from: Timestamp) -> Option<f64> {
        self.together(at, labels, &|track, group| {
            let since = group.rolling.since(&track.shape, from.0.div_euclid(track.shape.slice.0))?;
            let whole = Counts { bad: since.bad, ..group.rolling.budget() };
            burn::burn(whole, self.plan.rules.slos[track.slo].budget_ppm)
        })
    }

    /// The same of what it spent within a window that its parts keep.
    pub(super) fn spent_of_all_within(&self, at: usize, labels: &Labels, window: Span) -> Option<f64> {
        self.together(at, labels, &|track, group| {
            let (recent, whole) = (group.rolling.sum(track.shape.index(window)?), group.rolling.budget());
            // What lies before a calendar period's start was spent of the budget before.
            burn::consumed(recent.bad.min(whole.bad), whole, self.plan.rules.slos[track.slo].budget_ppm)
        })
    }

    /// A figure of every SLO with data below, put together as the composites above it say.
    fn together(&self, at: usize, labels: &Labels, of: &dyn Fn(&Track, &Group) -> Option<f64>) -> Option<f64> {
        let track = &self.tracks[at];
        if !self.is_composite(at) {
            return of(track, self.row(track, labels)?);
        }
        let (how, members) = self.members(at);
        let mut figures = members.into_iter().map(|member| self.together(member, labels, of));
        match how {
            // The worst of those that were measured; one that was not cannot be better than nothing.
            Combine::Worst => figures.flatten().max_by(f64::total_cmp),
            Combine::Weighted(weights) => {
                let weights: Vec<f64> = weights.iter().map(|weight| weight.to_f64()).collect();
                let sum: f64 = weights.iter().sum();
                let mean = weights.iter().try_fold(0.0, |mean, weight| Some(mean + weight * figures.next()??))? / sum;
                mean.is_finite().then_some(mean)
            }
        }
    }
}

/// The worse of two members' judgements.
fn worse(a: Judgement, b: Judgement) -> Judgement {
    let verdict = match (a.verdict, b.verdict) {
        (TierVerdict::Holds, _) | (_, TierVerdict::Holds) => TierVerdict::Holds,
        (TierVerdict::Unknown, _) | (_, TierVerdict::Unknown) => TierVerdict::Unknown,
        (TierVerdict::Clear, TierVerdict::Clear) => TierVerdict::Clear,
    };
    // Why one was held back says why the whole is quiet, unless another one holds.
    let guard = if verdict == TierVerdict::Holds { None } else { a.guard.or(b.guard) };
    Judgement { verdict, guard, long_over: a.long_over | b.long_over, short_over: a.short_over | b.short_over }
}
