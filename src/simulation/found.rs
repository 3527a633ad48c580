//! What a run through history found.

use std::collections::BTreeMap;

use crate::domain::alert::AlertChange;
use crate::domain::burn::BudgetState;
use crate::domain::cell::Counts;
use crate::domain::incident::Incident;
use crate::domain::notification::{Figures, Kind};
use crate::domain::rule::{Labels, Severity};
use crate::domain::time::Timestamp;

/// One tier, or one free-form rule, on without a break.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub rule: String,
    /// Index in the SLO's `alert` list; `None` for a free-form rule and for missing data.
    pub tier: Option<usize>,
    pub labels: Labels,
    pub severity: Severity,
    pub pending_at: Timestamp,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub values: Figures,
}

/// An incident as it was at its end, or is at the end of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub incident: Incident,
    /// The highest that it ever was.
    pub severity: Severity,
    /// The highest that each alert ever was.
    pub severities: BTreeMap<String, Severity>,
}

/// A notification that would have been sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub at: Timestamp,
    pub receiver: String,
    pub kind: Kind,
    /// Key of the incident.
    pub incident: String,
    pub reason: String,
}

/// A change of an alert that reached an incident, or was too late for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    pub at: Timestamp,
    /// Names the alert: rule and group.
    pub alert: String,
    pub rule: String,
    /// Without `severity`.
    pub labels: Labels,
    pub change: AlertChange,
    /// Id of the incident that took it in.
    pub incident: Option<String>,
}

/// An entry of an incident's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted {
    pub at: Timestamp,
    /// Key of the incident.
    pub incident: String,
    pub kind: &'static str,
    pub text: String,
}

/// A budget at one point in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub slo: String,
    pub labels: Labels,
    pub objective: f64,
    pub counts: Counts,
    /// What is left of it; `None`: nothing was measured.
    pub state: Option<BudgetState>,
}

/// Everything that a run found.
#[derive(Debug)]
pub struct Found {
    pub from: Timestamp,
    pub to: Timestamp,
    pub evaluations: u64,
    pub runs: Vec<Run>,
    pub incidents: Vec<Told>,
    pub said: Vec<Said>,
    pub moves: Vec<Move>,
    pub noted: Vec<Noted>,
    pub budgets: Vec<Budget>,
    /// Free-form rules that failed, with their first message.
    pub failures: BTreeMap<String, String>,
}
