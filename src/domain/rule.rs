//! A loaded rule set as plain data: what decides who is woken (CONTRACT 4).
//!
//! `rules/` makes these values from rhai scripts; everything else only reads them. Secrets stand
//! here by name, never by value, so a rule set can be stored and shown.

mod free;
mod quiet;
mod receiver;
mod route;
mod sli;
mod slo;
mod tier;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::free::{FreeRule, Schedule};
pub use self::quiet::{CodeSilence, Maintenance, MaintenanceBudget, MaintenanceTimes, TimeInterval};
pub use self::receiver::{Field, Receiver, ReceiverKind};
pub use self::route::{Escalation, Inhibit, Matchers, Route, TakesOff};
pub use self::sli::{Combine, EmptySlice, Selector, Sli};
pub use self::slo::{BudgetPolicy, NoData, Period, Slo, SloWindow};
pub use self::tier::{Op, Tier};
use super::cell::Limit;
use super::filter::Match;
use super::metric::Metric;
use super::time::Span;

/// Label names and values, sorted by name.
pub type Labels = BTreeMap<String, String>;

/// How loud an alert is. The order is the order of loudness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Ticket,
    Page,
}

impl Severity {
    /// As it stands in labels and payloads.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Ticket => "ticket",
            Severity::Page => "page",
        }
    }

    /// Reads [`Severity::name`].
    pub fn parse(name: &str) -> Option<Severity> {
        [Severity::Info, Severity::Ticket, Severity::Page].into_iter().find(|severity| severity.name() == name)
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a declaration stands: a path inside the rules folder, line and column from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub path: String,
    pub line: usize,
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// A whole rule set. Taken over as one, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleSet {
    /// Git commit or content hash.
    pub revision: String,
    pub slos: Vec<Slo>,
    pub alerts: Vec<FreeRule>,
    pub receivers: Vec<Receiver>,
    /// Top-level routes, in order.
    pub routes: Vec<Route>,
    pub inhibits: Vec<Inhibit>,
    pub maintenances: Vec<Maintenance>,
    pub silences: Vec<CodeSilence>,
    pub time_intervals: Vec<TimeInterval>,
    /// `alerts_in(#{ resolve_timeout })`.
    pub resolve_timeout: Option<Span>,
    /// Dimensions that rules name in `where`, `by`, and queries: never folded.
    pub named_dimensions: BTreeSet<String>,
    /// Values that rules name, by dimension: never folded.
    pub named_values: BTreeMap<String, BTreeSet<String>>,
    /// Patterns by which rules choose routes, each once: a route that one of them fits is never counted under a learnt template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route_patterns: Vec<Match>,
    /// Windows that free-form rules ask SLOs for, by the SLO: kept as those of its tiers are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked_windows: BTreeMap<String, BTreeSet<Span>>,
    /// What `templates/NAME.j2` hold, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub templates: BTreeMap<String, String>,
}

impl RuleSet {
    /// The exact limits that rules name, by metric: counted from the moment the set is loaded.
    pub fn limits(&self) -> BTreeMap<Metric, Vec<Limit>> {
        let mut limits: BTreeMap<Metric, Vec<Limit>> = BTreeMap::new();
        for slo in &self.slos {
            slo.sli.visit(&mut |sli| {
                if let Sli::Within { metric, limit, .. } = sli {
                    let known = limits.entry(metric.clone()).or_default();
                    if !known.contains(limit) {
                        known.push(*limit);
                    }
                }
            });
        }
        for known in limits.values_mut() {
            known.sort_by(super::cell::limit_order);
        }
        limits
    }

    /// The receiver of this name.
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }

    /// The SLO of this name.
    pub fn slo(&self, name: &str) -> Option<&Slo> {
        self.slos.iter().find(|slo| slo.name == name)
    }
}

/// The labels of a rule's alerts but `severity` and the `by` dimensions: what the rule adds, its name under `kind`
/// (`slo` or `rule`), service and owner where there are some.
fn base_labels(kind: &str, name: &str, [service, owner]: [&str; 2], added: &Labels) -> Labels {
    let mut labels = added.clone();
    labels.insert(kind.into(), name.into());
    for (name, value) in [("service", service), ("owner", owner)] {
        if !value.is_empty() {
            labels.insert(name.into(), value.into());
        }
    }
    labels
}
