//! What a person or a program is told about an incident: the payload of CONTRACT 7.
//!
//! A [`Notification`] is a snapshot, rendered by each receiver in its own format. Every text in it
//! may come from a beacon and is hostile in every output.

use serde::{Deserialize, Serialize};

use super::rule::{Labels, Severity};
use super::time::{Span, Timestamp};

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    #[serde(rename = "incident.opened")]
    Opened,
    #[serde(rename = "incident.updated")]
    Updated,
    #[serde(rename = "incident.escalated")]
    Escalated,
    #[serde(rename = "incident.reminder")]
    Reminder,
    #[serde(rename = "incident.acknowledged")]
    Acknowledged,
    #[serde(rename = "incident.resolved")]
    Resolved,
    #[serde(rename = "incident.reopened")]
    Reopened,
}

impl Kind {
    /// As in `type`: `incident.opened`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Opened => "incident.opened",
            Kind::Updated => "incident.updated",
            Kind::Escalated => "incident.escalated",
            Kind::Reminder => "incident.reminder",
            Kind::Acknowledged => "incident.acknowledged",
            Kind::Resolved => "incident.resolved",
            Kind::Reopened => "incident.reopened",
        }
    }
}

/// One thing that is said, in the shape that a `webhook` receiver gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub timestamp: Timestamp,
    pub reason: String,
    pub data: Data,
}

/// The envelope's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    pub incident: IncidentView,
}

/// Whether an incident still needs somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Open,
    Acknowledged,
    Resolved,
}

impl Status {
    /// As it stands in payloads and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Acknowledged => "acknowledged",
            Status::Resolved => "resolved",
        }
    }
}

/// An incident as the outside sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    pub id: String,
    pub key: String,
    pub status: Status,
    pub severity: Severity,
    pub title: String,
    pub service: String,
    pub owner: String,
    pub labels: Labels,
    pub opened_at: Timestamp,
    pub acknowledged_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    pub impact: Impact,
    pub signature: String,
    pub verdict: Verdict,
    pub suspects: Vec<Suspect>,
    pub changes: Vec<Change>,
    pub alerts: Vec<AlertView>,
    pub revision: String,
    pub links: Links,
}

/// How much was lost, and by how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    pub affected_users: u64,
    /// Weighted.
    pub bad_events: f64,
    /// Fraction of the budget that went since the incident's window began.
    pub budget_consumed: f64,
    /// Fraction that is left; may be negative.
    pub budget_remaining: f64,
}

/// Whether one segment carries the incident (EXPLAIN 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Segment,
    Global,
    #[default]
    Unknown,
}

/// One value of a dimension, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Values {
    One(String),
    Any(Vec<String>),
}

impl Values {
    /// The values as a slice.
    pub fn all(&self) -> &[String] {
        match self {
            Values::One(value) => std::slice::from_ref(value),
            Values::Any(values) => values,
        }
    }
}

/// A segment that carries part of the excess.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    #[serde(rename = "where")]
    pub terms: std::collections::BTreeMap<String, Values>,
    pub bad_share: f64,
    pub traffic_share: f64,
    pub excess_share: f64,
    pub users: u64,
    pub new: bool,
    /// Id of the annotation that names it.
    pub change: Option<String>,
}

/// A deploy, a flag flip, a sampling change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Absent in payloads of the contract's shape; used by links and suspects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub kind: ChangeKind,
    pub at: Timestamp,
    pub app: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Deploy,
    Flag,
    Sampling,
    Other,
}

impl ChangeKind {
    /// As it stands in payloads.
    pub const fn name(self) -> &'static str {
        match self {
            ChangeKind::Deploy => "deploy",
            ChangeKind::Flag => "flag",
            ChangeKind::Sampling => "sampling",
            ChangeKind::Other => "other",
        }
    }
}

/// Whether an alert of an incident is still on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Firing,
    Resolved,
}

/// An alert inside an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    pub rule: String,
    pub state: AlertState,
    pub severity: Severity,
    pub labels: Labels,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub summary: String,
    pub values: Figures,
    pub traces: Vec<String>,
}

/// The figures of the governing tier; all absent for a free-form rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub burn_long: Option<f64>,
    pub burn_short: Option<f64>,
    pub factor: Option<f64>,
    #[serde(serialize_with = "window")]
    pub long: Option<Span>,
    #[serde(serialize_with = "window")]
    pub short: Option<Span>,
    pub error_ratio: Option<f64>,
}

/// As windows are written in rules: a day is `24h`, as in the presets.
fn window<S: serde::Serializer>(window: &Option<Span>, to: S) -> Result<S::Ok, S::Error> {
    match window {
        Some(Span::DAY) => to.serialize_some("24h"),
        window => window.serialize(to),
    }
}

/// Where to read on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    pub incident: String,
    pub runbook: Option<String>,
    pub dashboard: Option<String>,
}
