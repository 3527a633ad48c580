//! What the last evaluation saw, for the API and the pages. Published whole, read without locks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fraction::Fraction;
use super::notification::Figures;
use super::rule::{Labels, Op, RuleSet, Severity};
use super::time::{Span, Timestamp};

/// Everything that the pages show of the evaluator.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Logical time of the last evaluation; `None` before the first one.
    pub evaluated_at: Option<Timestamp>,
    /// Up to when data is complete.
    pub watermark: Option<Timestamp>,
    /// Wall clock minus logical time of the last evaluation.
    pub lag: Span,
    /// How long the last evaluation took.
    pub took: Span,
    pub rules: Arc<RuleSet>,
    /// When this rule set took effect.
    pub rules_since: Option<Timestamp>,
    /// Why a newer rule set was refused: `path:line:column: error: …`, one each.
    pub rules_refused: Vec<String>,
    /// Its commit, where it has one.
    pub rules_refused_revision: Option<String>,
    /// Where rules come from: a folder, or a branch of a repository without its credentials.
    pub rules_source: String,
    /// Why the source of rules cannot be read, so that nobody knows whether there are newer ones.
    pub rules_unreachable: Option<String>,
    /// One entry per SLO and group, in the order of the rule set, overall row first.
    pub slos: Vec<Arc<SloStatus>>,
    /// One entry per alert that is not idle, and per free-form rule.
    pub alerts: Vec<Arc<AlertStatus>>,
    /// Free-form rules that were asked at least once: what others find nobody knows.
    pub asked: Arc<BTreeSet<String>>,
    /// 95th percentile of arrival minus event time over the last flushes.
    pub events_late: Option<Span>,
    /// Apps that were expected to send and are silent.
    pub silent_apps: Vec<String>,
    /// How many series are known, and how many events were folded into `__other__`.
    pub series: u64,
    pub folded: u64,
}

/// Where an SLO (or one of its groups) stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SloStatus {
    pub slo: String,
    /// The `by` dimensions; empty for the overall row.
    pub group: Labels,
    /// Sums over the SLO window, weighted, in events.
    pub total: f64,
    pub bad: f64,
    /// Fraction left, signed; `None` without events.
    pub budget_remaining: Option<f64>,
    /// P / burn over the SLO window; `None` when nothing burns.
    pub pace: Option<Span>,
    /// max(0, remaining) × P / burn over the longest tier window.
    pub countdown: Option<Span>,
    /// Burn by window; `None` where nothing was measured.
    pub burn: BTreeMap<Span, Option<f64>>,
    pub tiers: Vec<TierStatus>,
    pub state: AlertPhase,
    /// The highest severity that fires.
    pub severity: Option<Severity>,
    pub no_data: bool,
    /// Of the overall row: groups beyond those that have windows of their own (SEMANTICS 17), up to a bound. They count here alone.
    pub groups_left_out: u64,
}

impl SloStatus {
    /// The figures of the tier that an alert is about: the first of the highest severity that fires, else one that
    /// is pending, else the first.
    pub fn figures(&self, budget_ppm: u32) -> Figures {
        let fires = self.tiers.iter().filter(|tier| tier.phase == AlertPhase::Firing).min_by_key(|tier| Reverse(tier.severity));
        let pends = || self.tiers.iter().find(|tier| tier.phase == AlertPhase::Pending);
        let Some(tier) = fires.or_else(pends).or(self.tiers.first()) else { return Figures::default() };
        Figures {
            burn_long: tier.burn_long,
            burn_short: tier.burn_short,
            factor: Some(tier.factor.to_f64()),
            long: Some(tier.long),
            short: Some(tier.short),
            error_ratio: tier.burn_long.map(|burn| burn * f64::from(budget_ppm) / 1e6),
        }
    }
}

/// Where one tier stands.
#[derive(Clone, Debug, PartialEq)]
pub struct TierStatus {
    pub severity: Severity,
    pub long: Span,
    pub short: Span,
    pub factor: Fraction,
    pub op: Op,
    pub burn_long: Option<f64>,
    pub burn_short: Option<f64>,
    /// Whether each window by itself passes the factor, by the exact comparison.
    pub long_over: bool,
    pub short_over: bool,
    pub verdict: TierVerdict,
    /// Which guard said no, if one did.
    pub held_back: Option<String>,
    pub phase: AlertPhase,
    pub since: Option<Timestamp>,
}

/// Whether a tier's condition holds at one evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TierVerdict {
    Holds,
    Clear,
    #[default]
    Unknown,
}

/// Where an alert or a tier is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertPhase {
    #[default]
    Ok,
    Pending,
    Firing,
    Unknown,
}

impl AlertPhase {
    /// As it stands in the API.
    pub const fn name(self) -> &'static str {
        match self {
            AlertPhase::Ok => "ok",
            AlertPhase::Pending => "pending",
            AlertPhase::Firing => "firing",
            AlertPhase::Unknown => "unknown",
        }
    }
}

/// An alert as `GET /v1/alerts` lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertStatus {
    pub rule: String,
    pub phase: AlertPhase,
    pub severity: Option<Severity>,
    pub labels: Labels,
    /// The `by` dimensions alone.
    pub group: Labels,
    pub since: Option<Timestamp>,
    pub values: Figures,
    pub reason: String,
    pub incident: Option<String>,
}
