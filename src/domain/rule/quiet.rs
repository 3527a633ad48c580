//! When nobody is told: maintenance, silences that are written in rules, named times.

use serde::{Deserialize, Serialize};

use super::{Matchers, Place};
use crate::domain::time::{Span, Timestamp};

/// Planned work: mutes what its labels match, and may take its time out of budgets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Maintenance {
    pub name: String,
    pub place: Place,
    pub when: Matchers,
    pub times: MaintenanceTimes,
    pub budget: MaintenanceBudget,
}

/// When maintenance takes place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaintenanceTimes {
    Once { starts: Timestamp, ends: Timestamp },
    Cron { line: String, lasts: Span, timezone: String },
}

/// What maintenance does to windows and budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaintenanceBudget {
    /// Leaves them as they are.
    #[default]
    Count,
    /// Takes the time out.
    Exclude,
    /// Counts everything as good.
    Good,
}

/// A silence that is written in rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeSilence {
    pub name: String,
    pub place: Place,
    pub when: Matchers,
    pub starts: Option<Timestamp>,
    pub ends: Timestamp,
    pub author: String,
    pub comment: String,
}

/// A named set of times, as in Alertmanager: every given list must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeInterval {
    pub name: String,
    pub place: Place,
    /// Minutes of the day, half-open.
    pub times: Vec<(u16, u16)>,
    /// 0 = Sunday … 6 = Saturday, inclusive ranges.
    pub weekdays: Vec<(u8, u8)>,
    /// 1 … 31, negative from the end of the month, inclusive ranges.
    pub days_of_month: Vec<(i8, i8)>,
    /// 1 … 12, inclusive ranges.
    pub months: Vec<(u8, u8)>,
    /// Inclusive ranges.
    pub years: Vec<(i32, i32)>,
    pub timezone: String,
}
