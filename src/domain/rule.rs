//! A loaded rule set as plain data: what decides who is woken (CONTRACT 4).
//!
//! `rules/` makes these values from rhai scripts; everything else only reads them. Secrets stand
//! here by name, never by value, so a rule set can be stored and shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cell::Limit;
use super::filter::{Filter, Match};
use super::fraction::Fraction;
use super::metric::Metric;
use super::time::{Span, Timestamp};

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
    pub min_events: u64,
    /// `None`: 2 where the long window's bad is weighted, else 0 (SEMANTICS 11).
    pub min_bad: Option<u64>,
    /// One-sided confidence of the Wilson bound, e.g. 0.99; `None`: off.
    pub confidence: Option<f64>,
    pub traffic_corrected: bool,
    pub no_data: NoData,
    pub labels: Labels,
    pub runbook: Option<String>,
    pub dashboard: Option<String>,
    pub tier: Option<String>,
    pub enabled: bool,
    pub budget_policy: Option<BudgetPolicy>,
}

impl Slo {
    /// The objective in per cent, as it was written.
    pub fn objective_percent(&self) -> f64 {
        f64::from(1_000_000 - self.budget_ppm) / 10_000.0
    }

    /// The labels of its alerts but `severity` and the `by` dimensions.
    pub fn base_labels(&self) -> Labels {
        let mut labels = self.labels.clone();
        labels.insert("slo".into(), self.name.clone());
        for (name, value) in [("service", &self.service), ("owner", &self.owner)] {
            if !value.is_empty() {
                labels.insert(name.into(), value.clone());
            }
        }
        labels
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

/// A metric narrowed by a filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selector {
    pub metric: Metric,
    pub filter: Filter,
}

/// What is good, out of what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sli {
    /// 1 - bad / total.
    Good(Selector),
    /// Share of values that meet the limit.
    Within { metric: Metric, limit: Limit, filter: Filter },
    /// Count of `good` over count of `total`; bad = max(0, total - good) within a window.
    Ratio { good: Selector, total: Selector },
    /// Share of time slices in which the inner SLI met its target.
    Slices { inner: Box<Sli>, slice: Span, target_ppm: u32, empty: EmptySlice },
    /// From other SLOs by name.
    Composite { members: Vec<String>, how: Combine },
    /// From a configured external source; not evaluated from stored aggregates.
    External { source: String, options: BTreeMap<String, String> },
}

impl Sli {
    /// Visits this SLI and the ones inside it.
    pub fn visit(&self, visit: &mut impl FnMut(&Sli)) {
        visit(self);
        if let Sli::Slices { inner, .. } = self {
            inner.visit(visit);
        }
    }

    /// The selectors whose series feed it, innermost; the limit where values are held against one.
    pub fn inputs(&self) -> Vec<(Selector, Option<Limit>)> {
        match self {
            Sli::Good(selector) => vec![(selector.clone(), None)],
            Sli::Within { metric, limit, filter } => {
                vec![(Selector { metric: metric.clone(), filter: filter.clone() }, Some(*limit))]
            }
            Sli::Ratio { good, total } => vec![(total.clone(), None), (good.clone(), None)],
            Sli::Slices { inner, .. } => inner.inputs(),
            Sli::Composite { .. } | Sli::External { .. } => Vec::new(),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.value, self.inclusive).serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (value, inclusive) = Deserialize::deserialize(deserializer)?;
        Ok(Limit { value, inclusive })
    }
}

/// What a slice without events counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptySlice {
    #[default]
    Skip,
    Good,
    Bad,
}

/// How a composite joins its members (SEMANTICS 20).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    Worst,
    Weighted(Vec<Fraction>),
}

impl Combine {
    /// As it is written in rules.
    pub const fn name(&self) -> &'static str {
        match self {
            Combine::Worst => "worst",
            Combine::Weighted(_) => "weighted",
        }
    }

    /// What a composite's burn is, for a person.
    pub const fn words(&self) -> &'static str {
        match self {
            Combine::Worst => "of its worst member",
            Combine::Weighted(_) => "as the weighted mean of its members",
        }
    }
}

/// One pair of windows and what must hold in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    pub place: Place,
    pub severity: Severity,
    pub long: Span,
    pub short: Span,
    /// Burn factor, exact.
    pub factor: Fraction,
    pub op: Op,
    pub pending: Span,
    pub keep_firing: Span,
}

/// How a burn is compared with the factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    #[default]
    #[serde(rename = ">")]
    Above,
    #[serde(rename = ">=")]
    AtLeast,
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
        let mut labels = self.labels.clone();
        labels.insert("rule".into(), self.name.clone());
        for (name, value) in [("service", &self.service), ("owner", &self.owner)] {
            if !value.is_empty() {
                labels.insert(name.into(), value.clone());
            }
        }
        labels
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

/// A text that stands in rules or is kept elsewhere under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    Plain(String),
    /// `secret(NAME)`: looked up when it is used.
    Secret(String),
}

/// Where notifications go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receiver {
    pub name: String,
    pub place: Place,
    pub timeout: Span,
    pub send_resolved: bool,
    /// What the provider signs its calls back with (`POST /hooks/{receiver}`); without it they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_secret: Option<Field>,
    /// Which of [`RuleSet::templates`] words its messages; without one they have the usual words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    pub kind: ReceiverKind,
}

impl Receiver {
    /// The names of the secrets that it uses.
    pub fn secrets(&self) -> Vec<String> {
        let mut names = self.kind.secrets();
        if let Some(Field::Secret(name)) = &self.callback_secret {
            names.push(name.clone());
        }
        names
    }
}

/// The formats that receivers speak, each with the fields of its format (WIRE).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ReceiverKind {
    Webhook {
        url: Field,
        secret: Option<Field>,
        headers: BTreeMap<String, Field>,
    },
    Email {
        to: Vec<String>,
        cc: Vec<String>,
        reply_to: Option<String>,
    },
    Pagerduty {
        routing_key: Field,
        base_url: String,
        /// Whether deploys that are reported to us are told to it as change events.
        #[serde(default)]
        changes: bool,
    },
    Opsgenie {
        api_key: Field,
        base_url: String,
        options: BTreeMap<String, serde_json::Value>,
    },
    Slack {
        url: Option<Field>,
        token: Option<Field>,
        channel: Option<String>,
        base_url: String,
    },
    Teams {
        url: Field,
    },
    Jira {
        base_url: String,
        user: Option<Field>,
        token: Field,
        project: String,
        issue_type: String,
        options: BTreeMap<String, serde_json::Value>,
    },
    Github {
        base_url: String,
        token: Field,
        repo: String,
        labels: Vec<String>,
        options: BTreeMap<String, serde_json::Value>,
    },
    Servicenow {
        base_url: String,
        user: Option<Field>,
        password: Option<Field>,
        token: Option<Field>,
        options: BTreeMap<String, serde_json::Value>,
    },
    AlertmanagerWebhook {
        url: Field,
        headers: BTreeMap<String, Field>,
    },
    Action {
        url: Field,
        secret: Option<Field>,
        headers: BTreeMap<String, Field>,
        dry_run: bool,
        label: String,
    },
}

impl ReceiverKind {
    /// The constructor's name in rules.
    pub const fn name(&self) -> &'static str {
        match self {
            ReceiverKind::Webhook { .. } => "webhook",
            ReceiverKind::Email { .. } => "email",
            ReceiverKind::Pagerduty { .. } => "pagerduty",
            ReceiverKind::Opsgenie { .. } => "opsgenie",
            ReceiverKind::Slack { .. } => "slack",
            ReceiverKind::Teams { .. } => "teams",
            ReceiverKind::Jira { .. } => "jira",
            ReceiverKind::Github { .. } => "github",
            ReceiverKind::Servicenow { .. } => "servicenow",
            ReceiverKind::AlertmanagerWebhook { .. } => "alertmanager_webhook",
            ReceiverKind::Action { .. } => "action",
        }
    }
}

impl ReceiverKind {
    /// The names of the secrets that it uses.
    pub fn secrets(&self) -> Vec<String> {
        fn named<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Vec<String> {
            let name = |field: &Field| match field {
                Field::Secret(name) => Some(name.clone()),
                Field::Plain(_) => None,
            };
            fields.into_iter().filter_map(name).collect()
        }
        match self {
            ReceiverKind::Webhook { url, secret, headers } | ReceiverKind::Action { url, secret, headers, .. } => {
                named([url].into_iter().chain(secret).chain(headers.values()))
            }
            ReceiverKind::Email { .. } => Vec::new(),
            ReceiverKind::Pagerduty { routing_key, .. } => named([routing_key]),
            ReceiverKind::Opsgenie { api_key, .. } => named([api_key]),
            ReceiverKind::Slack { url, token, .. } => named(url.iter().chain(token)),
            ReceiverKind::Teams { url } => named([url]),
            ReceiverKind::Jira { user, token, .. } => named(user.iter().chain([token])),
            ReceiverKind::Github { token, .. } => named([token]),
            ReceiverKind::Servicenow { user, password, token, .. } => named(user.iter().chain(password).chain(token)),
            ReceiverKind::AlertmanagerWebhook { url, headers } => named([url].into_iter().chain(headers.values())),
        }
    }
}

/// Conditions on labels, all of which must hold. An absent label is the empty text.
pub type Matchers = Filter;

/// One node of the routing tree. Children inherit what they do not set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub place: Place,
    pub when: Matchers,
    pub to: Vec<String>,
    pub group_by: Option<Vec<String>>,
    pub group_wait: Option<Span>,
    pub group_interval: Option<Span>,
    pub repeat: Option<Span>,
    pub escalate: Vec<Escalation>,
    pub fallthrough: bool,
    /// Names of time intervals in which the route is on.
    pub active: Vec<String>,
    /// Names of time intervals in which it notifies nobody.
    pub mute: Vec<String>,
    pub routes: Vec<Route>,
}

/// Who else is told while nobody has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    pub after: Span,
    pub to: Vec<String>,
}

/// A firing source holds matching targets back where the `equal` labels agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inhibit {
    pub place: Place,
    pub source: Matchers,
    pub target: Matchers,
    pub equal: Vec<String>,
}

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
