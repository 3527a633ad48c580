//! What an evaluator is made of: a track for each SLO, a stream for each set of apps, and which series feeds what.

use std::collections::{HashMap, HashSet};

use super::super::coverage::Stream;
use super::super::filter::{Filter, Match};
use super::super::metric::Metric;
use super::super::rule::{Labels, MaintenanceBudget, Sli, Slo, SloWindow, Tier};
use super::super::series::{Series, SeriesId};
use super::super::telemetry;
use super::super::time::{Span, Timestamp};
use super::super::window::{Shape, Target as SliceTarget};
use super::feed::{Take, Target};
use super::group::Group;
use super::{Evaluator, GROUPS_MAX, Input, LEFT_OUT_MAX, StreamTrack, Track, Wiring, could_match};

/// What an SLO keeps for others beside the windows of its own tiers.
pub(super) struct Asked<'r> {
    /// Tiers of composites that it is a part of.
    pub tiers: Vec<&'r Tier>,
    /// Windows that free-form rules ask for.
    pub windows: Vec<Span>,
}

impl Evaluator {
    pub(super) fn add_track(&mut self, index: usize, slo: &Slo, asked: &Asked<'_>, into: &mut Vec<(Metric, Filter, Input)>) {
        let bucket = self.plan.settings.bucket;
        let (slice, target) = match &slo.sli {
            Sli::Slices { slice, target_ppm, empty, .. } => (*slice, Some(SliceTarget { ppm: *target_ppm, empty: *empty })),
            _ => (bucket, None),
        };
        let budget = match &slo.window {
            SloWindow::Rolling(span) => Some(*span),
            SloWindow::Calendar { .. } => None,
        };
        let windows = slo.tiers.iter().chain(asked.tiers.iter().copied()).flat_map(|tier| [tier.long, tier.short]);
        let shape = Shape::new(slice, windows.chain(asked.windows.iter().copied()), budget, target);
        let inputs = slo.sli.inputs();
        let apps = inputs.first().and_then(|(selector, _)| selector.filter.get("app").cloned());
        let delay = match &apps {
            Some(Match::Equal(app)) => self.plan.settings.delays.get(app).map_or(0, |delay| (delay.0 + bucket.0 - 1) / bucket.0),
            _ => 0,
        };
        let stream = self.stream(apps, delay);
        let per_slice = slice.0 / bucket.0;
        let mut tiers = Vec::new();
        let buckets = |span: Span| (span.0 / bucket.0).max(1);
        for tier in &asked.tiers {
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
        let exclusions: Vec<usize> = (0..self.plan.rules.maintenances.len())
            .filter(|at| {
                let maintenance = &self.plan.rules.maintenances[*at];
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
            let slo = &self.plan.rules.slos[track.slo];
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

    /// Makes room for the group of a stored alert whose series has not been seen yet.
    pub fn add_group(&mut self, rule: &str, labels: &Labels) {
        let Some(at) = self.names.get(rule).copied() else { return };
        let slo = &self.plan.rules.slos[at];
        let track = &mut self.tracks[at];
        let values: Vec<String> = slo.by.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect();
        if slo.by.is_empty() || !slo.enabled || track.index.contains_key(&values) {
            return;
        }
        let group_labels: Labels = slo.by.iter().cloned().zip(values.iter().cloned()).collect();
        track.index.insert(values, track.groups.len() as u32);
        track.groups.push(Group::new(slo, group_labels, &track.shape, true));
    }
}
