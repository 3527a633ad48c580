//! A free-form rule, and when it is asked.

use serde::{Deserialize, Serialize};

use super::{Labels, Place, Severity, base_labels};
use crate::domain::time::Span;

/// The plain part of `alert(name, #{…})`; its closures stay in `rules/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FreeRule {
    pub name: String,
    pub place: Place,
    pub schedule: Schedule,
    pub severity: Severity,
    pub pending: Span,
    pub keep_firing: Span,
    pub by: Vec<String>,
    pub service: String,
    pub owner: String,
    /// Empty: the summary is made from the name.
    pub summary: String,
    pub description: String,
    pub labels: Labels,
    pub runbook: Option<String>,
    pub dashboard: Option<String>,
    pub enabled: bool,
}

impl FreeRule {
    /// The labels of its alerts but `severity` and the `by` dimensions.
    pub fn base_labels(&self) -> Labels {
        base_labels("rule", &self.name, [&self.service, &self.owner], &self.labels)
    }
}

/// When a free-form rule is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// At every multiple of this span since the epoch.
    Every(Span),
    /// A cron line (five fields classic, six with seconds first) in an IANA zone.
    Cron { line: String, timezone: String },
}
