//! The desk: from changed alerts to incidents, and from incidents to what is said to whom.
//!
//! Holds the rule set as routing sees it (routes, time intervals, maintenance, silences,
//! inhibition) and the incidents that are not closed. Pure: the daemon loads the incidents from its
//! store and commits what comes out; `backtest` and `test` keep them in memory.

mod book;
mod family;
#[cfg(test)]
pub(crate) mod fixtures;
mod inhibition;
mod parcel;
mod posted;

use std::sync::Arc;

use super::incident::{Effect, Explained, Footing, Incident};
use super::matcher::Matcher;
use super::notification::{Change, Impact};
use super::route::{Routed, canonical, grouping, matches, route};
use super::rule::{CodeSilence, Labels, Maintenance, Receiver, RuleSet};
use super::schedule::Windows;
use super::time::Timestamp;

pub use self::book::Book;
pub use self::inhibition::Sources;
pub use self::parcel::{Parcel, correlation_key, delivery_id, parcels};
pub use self::posted::Settled;

/// A silence as it stands in the store or in rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    pub id: String,
    /// All of them have to hold; without any it mutes nobody.
    pub when: Vec<Matcher>,
    pub starts: Timestamp,
    pub ends: Timestamp,
}

impl Silence {
    /// Whether it mutes an alert with these labels at `now`.
    pub fn mutes(&self, labels: &Labels, now: Timestamp) -> bool {
        let value = |name: &str| labels.get(name).map_or_else(|| fallback(name, labels), String::as_str);
        self.starts <= now
            && now < self.ends
            && !self.when.is_empty()
            && self.when.iter().all(|matcher| matcher.accepts(value(&matcher.label)))
    }
}

fn is_on(silence: &CodeSilence, now: Timestamp) -> bool {
    silence.starts.is_none_or(|starts| starts <= now) && now < silence.ends
}

/// `alertname` of an alert of ours, as Alertmanager's tools know it: the name of its SLO or rule.
fn fallback<'a>(name: &str, labels: &'a Labels) -> &'a str {
    match name {
        "alertname" => labels.get("slo").or_else(|| labels.get("rule")).map_or("", String::as_str),
        _ => "",
    }
}

/// What mutes an alert by its labels alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    Silence(&'a str),
    Maintenance(&'a str),
}

impl std::fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Holder::Silence(name) => write!(f, "silence {name}"),
            Holder::Maintenance(name) => write!(f, "maintenance {name}"),
        }
    }
}

/// A rule set with what routing asks of it again and again.
#[derive(Clone, Debug)]
pub struct Desk {
    rules: Arc<RuleSet>,
    maintenance: Vec<Option<Windows>>,
}

/// What one step asks of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub incident: Incident,
    /// It did not exist before.
    pub new: bool,
    pub effects: Vec<Effect>,
}

/// Facts about an opening alert that the caller finds out before it asks the desk.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub explained: Explained,
    pub impact: Impact,
    pub changes: Vec<Change>,
    /// Start of the unbroken burn.
    pub window_start: Option<Timestamp>,
    /// A sentence for a person; empty: the alert's summary.
    pub title: String,
    pub traces: Vec<String>,
    /// How the telemetry stands, as far as whoever evaluates knows.
    pub footing: Option<Footing>,
}

impl Desk {
    /// A desk for a rule set.
    pub fn new(rules: Arc<RuleSet>) -> Desk {
        let maintenance = rules.maintenances.iter().map(|maintenance| Windows::new(&maintenance.times).ok()).collect();
        Desk { rules, maintenance }
    }

    /// The rule set that it works by.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// The routes that labels match at `now`.
    pub fn route(&self, labels: &Labels, now: Timestamp) -> Vec<Routed> {
        let in_interval = |name: &str| self.rules.time_intervals.iter().any(|interval| interval.name == name && interval.contains(now));
        route(&self.rules, labels, &in_interval)
    }

    /// Why an alert with these labels notifies nobody at `now`: silence, maintenance, inhibition.
    pub fn muted(&self, labels: &Labels, now: Timestamp, silences: &[Silence], firing: &Sources) -> Option<String> {
        if let Some(holder) = self.holders(labels, now, silences).next() {
            return Some(holder.to_string());
        }
        firing.holding(&self.rules, labels)
    }

    /// What of the clock decides who is told now: the maintenance, the hours and the silences of rules that are on.
    /// While it stays the same, time changes nothing but through [`Incident::next_tick`].
    pub fn hours(&self, now: Timestamp) -> Vec<bool> {
        let windows = self.maintenance.iter().map(|windows| windows.as_ref().is_some_and(|windows| windows.active(now)));
        let intervals = self.rules.time_intervals.iter().map(|interval| interval.contains(now));
        let silences = self.rules.silences.iter().map(|silence| is_on(silence, now));
        windows.chain(intervals).chain(silences).collect()
    }

    /// The silences and the maintenance that mute an alert with these labels at `now`.
    pub fn holders<'a>(&'a self, labels: &'a Labels, now: Timestamp, silences: &'a [Silence]) -> impl Iterator<Item = Holder<'a>> {
        let in_code = move |silence: &&CodeSilence| is_on(silence, now) && matches(&silence.when, labels);
        let maintenances = self.rules.maintenances.iter().zip(&self.maintenance);
        let active = move |(maintenance, windows): &(&Maintenance, &Option<Windows>)| {
            matches(&maintenance.when, labels) && windows.as_ref().is_some_and(|windows| windows.active(now))
        };
        silences
            .iter()
            .filter(move |silence| silence.mutes(labels, now))
            .map(|silence| Holder::Silence(&silence.id))
            .chain(self.rules.silences.iter().filter(in_code).map(|silence| Holder::Silence(&silence.name)))
            .chain(maintenances.filter(active).map(|(maintenance, _)| Holder::Maintenance(&maintenance.name)))
    }

    /// The inhibitions that an alert with these labels is a source of, each with the values that have to agree.
    pub(super) fn source_of(&self, labels: &Labels) -> Vec<(usize, Vec<String>)> {
        let value = |name: &String| labels.get(name).cloned().unwrap_or_default();
        let own = self.rules.inhibits.iter().enumerate().filter(|(_, inhibit)| matches(&inhibit.source, labels));
        own.map(|(at, inhibit)| (at, inhibit.equal.iter().map(value).collect())).collect()
    }

    /// The labels that group an alert, fixed when it opens, and their canonical text.
    pub fn group(&self, labels: &Labels, by: &[String], now: Timestamp) -> (Labels, String) {
        let routes = self.route(labels, now);
        let group_by = routes.first().and_then(|routed| routed.group_by.clone());
        let mut default = vec![if labels.contains_key("slo") { "slo" } else { "rule" }];
        default.extend(by.iter().map(String::as_str));
        let labels = grouping(group_by.as_deref(), &default, labels);
        let key = canonical(&labels);
        (labels, key)
    }

    /// The same for an alert from outside, which has no rule: without `group_by` by its name.
    pub fn group_posted(&self, labels: &Labels, now: Timestamp) -> (Labels, String) {
        let routes = self.route(labels, now);
        let group_by = routes.first().and_then(|routed| routed.group_by.clone());
        let labels = grouping(group_by.as_deref(), &["alertname"], labels);
        let key = canonical(&labels);
        (labels, key)
    }

    pub(super) fn receiver(&self, name: &str) -> Option<Receiver> {
        self.rules.receiver(name).cloned()
    }
}

#[cfg(test)]
mod tests;
