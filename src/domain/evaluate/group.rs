//! One group of an SLO: its windows, its tiers and its alert, and how they are shown.

use std::sync::Arc;

use smallvec::SmallVec;

use super::super::alert::{AlertChange, AlertState, FROZEN_MAX, Patience, TierState};
use super::super::burn::{self, BudgetState, Judgement, Season, View};
use super::super::cell::Counts;
use super::super::coverage::{Coverage, Stream};
use super::super::notification::Figures;
use super::super::route::canonical;
use super::super::rule::{Labels, NoData, Severity, Sli, Slo, Tier};
use super::super::segment::Slice;
use super::super::snapshot::{AlertPhase, SloStatus, TierStatus, TierVerdict};
use super::super::time::{Span, Timestamp};
use super::super::window::{Rolling, Shape, events};
use super::composite::Combined;
use super::{AlertEvent, NO_DATA, NO_DATA_AFTER, TierEvent};

pub(super) struct Group {
    pub labels: Labels,
    pub key: String,
    pub rolling: Rolling,
    pub state: AlertState,
    pub judged: SmallVec<[Judgement; 4]>,
    /// Of a composite: how its members stand together.
    pub combined: Option<Combined>,
    /// The ticket that missing data opens, where the SLO asks for one.
    pub absent: Option<Box<Absent>>,
    pub alerts: bool,
    pub changed: bool,
    /// Of the overall row: groups that found no room.
    pub left_out: u64,
    pub status: Option<Arc<SloStatus>>,
    /// The status before that, to be written over once nobody shows it any more.
    pub spare: Option<Arc<SloStatus>>,
}

/// An alert of its own: the SLO cannot be judged for want of data.
pub(super) struct Absent {
    pub key: String,
    pub state: AlertState,
}

impl Group {
    pub fn new(slo: &Slo, labels: Labels, shape: &Shape, alerts: bool) -> Group {
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
    pub fn coverage(&self, stream: &Stream, (long, short): (i64, i64), per_slice: i64) -> (Coverage, Coverage) {
        stream.coverage(long, short, Some(&|slice: Slice| self.rolling.is_excluded(slice.div_euclid(per_slice))))
    }

    /// Moves every tier and the alert on by one evaluation.
    pub fn step(
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
    pub fn step_absent(&mut self, slo: &Slo, windows: &[(usize, usize, usize)], now: Timestamp, bucket: Span, out: &mut Vec<AlertEvent>) {
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

    pub fn figures(&self, slo: &Slo, windows: &[(usize, usize, usize)], at: usize, season: Option<Season>) -> Figures {
        let Some((long, short, _)) = windows.get(at) else { return Figures::default() };
        let tier = &slo.tiers[at];
        let burn_of = |index: usize, length: Span| {
            if let Some(combined) = &self.combined {
                return combined.corrected.as_ref().unwrap_or(&combined.burns).get(index).copied().flatten();
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
    pub fn describe(&mut self, slo: &Slo, shape: &Shape, windows: &[(usize, usize, usize)], now: Timestamp) {
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
    pub fn burn_of(&self, slo: &Slo, index: usize) -> Option<f64> {
        match &self.combined {
            Some(combined) => combined.burns.get(index).copied().flatten(),
            None => burn::burn(self.rolling.sum(index), slo.budget_ppm),
        }
    }

    /// Sums over the SLO's window, and what is left of the budget.
    pub fn budget(&self, slo: &Slo) -> (Counts, Option<BudgetState>) {
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
