//! A service level objective: its budget, over which time, and what it asks of its alerts.

use serde::{Deserialize, Serialize};

use super::{Labels, Place, Severity, Sli, Tier, base_labels};
use crate::domain::fraction::Fraction;
use crate::domain::time::Span;

/// A service level objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    pub name: String,
    pub place: Place,
    pub description: String,
    pub owner: String,
    pub service: String,
    /// 1 - objective, in parts per million: 99.9 % leaves 1,000.
    pub budget_ppm: u32,
    pub window: SloWindow,
    pub sli: Sli,
    /// Dimensions with a budget for each of their values.
    pub by: Vec<String>,
    /// Highest severity is not implied by the order; `tier` in outputs is the index here.
    pub tiers: Vec<Tier>,
    /// Events that the long window must really have received.
    pub min_events: u64,
    /// Bad ones among them. `None`: 2 where the long window's bad is weighted, else 0 (SEMANTICS 11).
    pub min_bad: Option<u64>,
    /// One-sided confidence of the Wilson bound, e.g. 0.99; `None`: off.
    pub confidence: Option<f64>,
    /// Whether burn is held against the traffic of the whole period (SEMANTICS 10).
    pub traffic_corrected: bool,
    pub no_data: NoData,
    pub labels: Labels,
    pub runbook: Option<String>,
    pub dashboard: Option<String>,
    /// How important it is, in the words of its owners; nothing is decided by it.
    pub tier: Option<String>,
    pub enabled: bool,
    pub budget_policy: Option<BudgetPolicy>,
}

impl Slo {
    /// One with the defaults of CONTRACT 4: thirty days rolling, one budget, no tiers, no guards.
    pub fn new(name: impl Into<String>, budget_ppm: u32, sli: Sli) -> Slo {
        Slo {
            name: name.into(),
            place: Place::default(),
            description: String::new(),
            owner: String::new(),
            service: String::new(),
            budget_ppm,
            window: SloWindow::Rolling(Span::days(30)),
            sli,
            by: Vec::new(),
            tiers: Vec::new(),
            min_events: 0,
            min_bad: None,
            confidence: None,
            traffic_corrected: false,
            no_data: NoData::default(),
            labels: Labels::new(),
            runbook: None,
            dashboard: None,
            tier: None,
            enabled: true,
            budget_policy: None,
        }
    }

    /// The objective in per cent, as it was written.
    pub fn objective_percent(&self) -> f64 {
        f64::from(1_000_000 - self.budget_ppm) / 10_000.0
    }

    /// The labels of its alerts but `severity` and the `by` dimensions.
    pub fn base_labels(&self) -> Labels {
        base_labels("slo", &self.name, [&self.service, &self.owner], &self.labels)
    }
}

/// What a budget is counted over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SloWindow {
    Rolling(Span),
    /// In an IANA time zone.
    Calendar {
        period: Period,
        timezone: String,
    },
}

impl SloWindow {
    /// Length for burn factors: calendar periods count as 1, 7, 30, 90, 365 days (SEMANTICS 3).
    pub const fn nominal(&self) -> Span {
        match self {
            SloWindow::Rolling(span) => *span,
            SloWindow::Calendar { period, .. } => period.nominal(),
        }
    }
}

impl std::fmt::Display for SloWindow {
    /// As it is written in rules: `30d`, `calendar:month`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SloWindow::Rolling(span) => span.fmt(f),
            SloWindow::Calendar { period, .. } => write!(f, "calendar:{}", period.name()),
        }
    }
}

/// A calendar period (SEMANTICS 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Period {
    /// Nominal length.
    pub const fn nominal(self) -> Span {
        Span::days(match self {
            Period::Day => 1,
            Period::Week => 7,
            Period::Month => 30,
            Period::Quarter => 90,
            Period::Year => 365,
        })
    }

    /// As it is written after `calendar:`.
    pub const fn name(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
            Period::Quarter => "quarter",
            Period::Year => "year",
        }
    }
}

/// What happens once a window has been unknown for want of data for ten minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoData {
    #[default]
    Keep,
    Ok,
    Alert,
}

/// When `slo gate` says stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetPolicy {
    /// Stop when the remaining budget is at or below this fraction.
    pub stop_below: Fraction,
    /// Stop while an alert of this SLO is firing at or above this severity.
    pub stop_on: Option<Severity>,
}
