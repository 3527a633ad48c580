//! The desk: from changed alerts to incidents, and from incidents to what is said to whom.
//!
//! Holds the rule set as routing sees it (routes, time intervals, maintenance, silences,
//! inhibition) and the incidents that are not closed. Pure: the daemon loads the incidents from its
//! store and commits what comes out; `backtest` and `test` keep them in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::alert::AlertChange;
use super::evaluate::AlertEvent;
use super::incident::{Effect, Explained, Incident, Input, Member, Surroundings};
use super::notification::{Change, Data, Impact, Kind, Notification, Status};
use super::route::{Routed, canonical, grouping, matches, route};
use super::rule::{Labels, Matchers, Receiver, RuleSet, Severity};
use super::schedule::Windows;
use super::time::Timestamp;

/// A silence as it stands in the store or in rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    pub id: String,
    pub when: Matchers,
    pub starts: Timestamp,
    pub ends: Timestamp,
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
}

/// Everything that is open, and what time it is.
pub struct Book<'a> {
    pub desk: &'a Desk,
    pub now: Timestamp,
    pub silences: &'a [Silence],
    /// Open incidents by key.
    pub open: BTreeMap<String, Incident>,
    /// Makes an id for a new incident.
    pub new_id: &'a mut (dyn FnMut(&str, Timestamp) -> String + Send),
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
    pub fn muted(&self, labels: &Labels, now: Timestamp, silences: &[Silence], firing: &[Labels]) -> Option<String> {
        let on = |starts: Timestamp, ends: Timestamp| starts <= now && now < ends;
        if let Some(silence) = silences.iter().find(|silence| on(silence.starts, silence.ends) && matches(&silence.when, labels)) {
            return Some(format!("silence {}", silence.id));
        }
        let in_code = self
            .rules
            .silences
            .iter()
            .find(|silence| on(silence.starts.unwrap_or(Timestamp(i64::MIN)), silence.ends) && matches(&silence.when, labels));
        if let Some(silence) = in_code {
            return Some(format!("silence {}", silence.name));
        }
        for (maintenance, windows) in self.rules.maintenances.iter().zip(&self.maintenance) {
            if matches(&maintenance.when, labels) && windows.as_ref().is_some_and(|windows| windows.active(now)) {
                return Some(format!("maintenance {}", maintenance.name));
            }
        }
        self.inhibited(labels, firing)
    }

    fn inhibited(&self, labels: &Labels, firing: &[Labels]) -> Option<String> {
        let value = |labels: &Labels, name: &str| labels.get(name).cloned().unwrap_or_default();
        for inhibit in self.rules.inhibits.iter().filter(|inhibit| matches(&inhibit.target, labels)) {
            let both = matches(&inhibit.source, labels);
            let source = firing.iter().find(|source| {
                matches(&inhibit.source, source)
                    && *source != labels
                    // What matches both sides cannot be held back by another that does, too.
                    && !(both && matches(&inhibit.target, source))
                    && inhibit.equal.iter().all(|name| value(source, name) == value(labels, name))
            });
            if let Some(source) = source {
                return Some(format!("inhibited by {}", canonical(source)));
            }
        }
        None
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

    fn receiver(&self, name: &str) -> Option<Receiver> {
        self.rules.receiver(name).cloned()
    }
}

impl Book<'_> {
    fn firing(&self) -> Vec<Labels> {
        let members = self.open.values().flat_map(|incident| &incident.members);
        members.filter(|member| member.firing).map(Member::full_labels).collect()
    }

    fn step(&self, incident: &mut Incident, input: Input, firing: &[Labels]) -> Vec<Effect> {
        let around = Surroundings {
            now: self.now,
            route: &|labels| self.desk.route(labels, self.now),
            muted: &|labels| self.desk.muted(labels, self.now, self.silences, firing),
            receiver: &|name| self.desk.receiver(name),
        };
        incident.step(input, &around)
    }

    /// Takes a changed alert into its incident. `incident` is the one that the alert belonged to.
    pub fn alert(&mut self, event: &AlertEvent, incident: Option<&str>, findings: Findings) -> Option<Outcome> {
        let change = event.change?;
        let known = incident.and_then(|id| self.open.iter().find(|(_, incident)| incident.id == id).map(|(key, _)| key.clone()));
        let alert = event.alert();
        let (key, input) = match (known, change) {
            (Some(key), AlertChange::Raised { severity } | AlertChange::Lowered { severity }) => {
                (key, Input::AlertMoved { alert, severity, figures: event.figures })
            }
            (Some(key), AlertChange::Unconfirmed) => (key, Input::AlertUnconfirmed { alert, reason: event.reason.clone() }),
            (Some(key), AlertChange::Ended) => (key, Input::AlertEnded { alert, reason: event.reason.clone() }),
            // A person closed the incident while the alert fired: a rise is news, the rest is not.
            (None, AlertChange::Lowered { .. } | AlertChange::Unconfirmed | AlertChange::Ended) => return None,
            (_, AlertChange::Opened { severity }) | (None, AlertChange::Raised { severity }) => {
                return Some(self.open_alert(event, severity, findings));
            }
        };
        Some(self.apply(key, input, false))
    }

    fn open_alert(&mut self, event: &AlertEvent, severity: Severity, findings: Findings) -> Outcome {
        let mut labels = event.labels.clone();
        labels.insert("severity".into(), severity.name().into());
        let slo = self.desk.rules.slo(&event.rule);
        let rule = self.desk.rules.alerts.iter().find(|rule| rule.name == event.rule);
        let by = slo.map(|slo| slo.by.clone()).or_else(|| rule.map(|rule| rule.by.clone())).unwrap_or_default();
        let (grouping, key) = self.desk.group(&labels, &by, self.now);
        let member = Member {
            alert: event.alert(),
            rule: event.rule.clone(),
            labels: event.labels.clone(),
            severity,
            firing: true,
            started_at: event.at,
            ended_at: None,
            summary: event.summary.clone(),
            figures: event.figures,
            traces: findings.traces,
        };
        let new = !self.open.contains_key(&key);
        if new {
            let text = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let title = if findings.title.is_empty() { event.summary.clone() } else { findings.title };
            let incident = Incident {
                id: (self.new_id)(&key, event.at),
                key: key.clone(),
                grouping: grouping.clone(),
                generation: event.at.seconds(),
                sequence: 0,
                status: Status::Open,
                severity: Severity::Info,
                title,
                service: text("service"),
                owner: text("owner"),
                labels: grouping,
                opened_at: event.at,
                acknowledged_at: None,
                acknowledged_by: None,
                resolved_at: None,
                snoozed_until: None,
                window_start: findings.window_start.unwrap_or(event.at),
                members: Vec::new(),
                told: BTreeMap::new(),
                loud_since: event.at,
                impact: findings.impact,
                explained: findings.explained,
                changes: findings.changes,
                revision: self.desk.rules.revision.clone(),
                runbook: slo.and_then(|slo| slo.runbook.clone()).or_else(|| rule.and_then(|rule| rule.runbook.clone())),
                dashboard: slo.and_then(|slo| slo.dashboard.clone()).or_else(|| rule.and_then(|rule| rule.dashboard.clone())),
            };
            self.open.insert(key.clone(), incident);
        }
        self.apply(key, Input::AlertOpened(Box::new(member)), new)
    }

    fn apply(&mut self, key: String, input: Input, new: bool) -> Outcome {
        let mut incident = self.open.remove(&key).expect("the caller looked the key up");
        let mut firing = self.firing();
        firing.extend(incident.members.iter().filter(|member| member.firing).map(Member::full_labels));
        let mut effects = self.step(&mut incident, input, &firing);
        if new {
            let text = format!("opened: {}", incident.title);
            effects.insert(0, Effect::History { kind: "opened", who: String::new(), text });
        }
        if incident.status != Status::Resolved {
            self.open.insert(key, incident.clone());
        }
        Outcome { incident, new, effects }
    }

    /// Something happens to one open incident, by its id. `None`: it is not open.
    pub fn input(&mut self, id: &str, input: Input) -> Option<Outcome> {
        let key = self.open.iter().find(|(_, incident)| incident.id == id).map(|(key, _)| key.clone())?;
        Some(self.apply(key, input, false))
    }

    /// Time passed: what waits, reminds, escalates or comes out of a mute. Only what changed.
    pub fn tick(&mut self) -> Vec<Outcome> {
        let firing = self.firing();
        let mut outcomes = Vec::new();
        for key in self.open.keys().cloned().collect::<Vec<_>>() {
            let mut incident = self.open.remove(&key).expect("the key was just listed");
            let before = incident.clone();
            let effects = self.step(&mut incident, Input::Tick, &firing);
            self.open.insert(key, incident.clone());
            if !effects.is_empty() || incident != before {
                outcomes.push(Outcome { incident, new: false, effects });
            }
        }
        outcomes
    }
}

/// One notification on its way to one receiver, under its two keys (CONTRACT 7).
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    pub delivery_id: String,
    pub correlation_key: String,
    pub receiver: String,
    pub kind: Kind,
    pub generation: i64,
    pub sequence: i64,
    pub notification: Notification,
    pub definition: Option<Box<Receiver>>,
}

/// The notifications that an outcome asks for.
pub fn parcels(outcome: &Outcome, now: Timestamp, public_url: &str) -> Vec<Parcel> {
    let incident = &outcome.incident;
    let mut parcels = Vec::new();
    for effect in &outcome.effects {
        let Effect::Notify { receiver, kind, reason, sequence, definition } = effect else { continue };
        parcels.push(Parcel {
            delivery_id: delivery_id(&incident.id, incident.generation, *sequence, receiver),
            correlation_key: correlation_key(&incident.id, incident.generation, receiver),
            receiver: receiver.clone(),
            kind: *kind,
            generation: incident.generation,
            sequence: *sequence,
            notification: Notification {
                kind: *kind,
                timestamp: now,
                reason: reason.clone(),
                data: Data { incident: incident.view(public_url) },
            },
            definition: definition.clone(),
        });
    }
    parcels
}

/// Names one notification to one receiver: 32 hexadecimal digits, the same on every retry.
pub fn delivery_id(incident: &str, generation: i64, sequence: i64, receiver: &str) -> String {
    hash(&[incident, &generation.to_string(), &sequence.to_string(), receiver])
}

/// Names an incident at one receiver: equal for trigger, acknowledge and resolve.
pub fn correlation_key(incident: &str, generation: i64, receiver: &str) -> String {
    hash(&[incident, &generation.to_string(), receiver])
}

fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::AlertState;
    use crate::domain::filter::{Filter, Match};
    use crate::domain::notification::Figures;
    use crate::domain::rule::{Field, Inhibit, ReceiverKind, Route};
    use crate::domain::time::Span;

    fn filter(pairs: &[(&str, &str)]) -> Filter {
        Filter(pairs.iter().map(|(k, v)| ((*k).into(), Match::parse(v).unwrap())).collect())
    }

    fn to(when: &[(&str, &str)], receiver: &str) -> Route {
        Route {
            place: Default::default(),
            when: filter(when),
            to: vec![receiver.into()],
            group_by: Some(vec!["service".into()]),
            group_wait: None,
            group_interval: None,
            repeat: None,
            escalate: vec![],
            fallthrough: false,
            active: vec![],
            mute: vec![],
            routes: vec![],
        }
    }

    fn rules() -> RuleSet {
        let receiver = |name: &str| Receiver {
            name: name.into(),
            place: Default::default(),
            timeout: Span::seconds(5),
            send_resolved: true,
            kind: ReceiverKind::Teams { url: Field::Plain(String::new()) },
        };
        RuleSet {
            receivers: vec![receiver("pager"), receiver("tickets")],
            routes: vec![to(&[("severity", "page")], "pager"), to(&[], "tickets")],
            inhibits: vec![Inhibit {
                place: Default::default(),
                source: filter(&[("severity", "page")]),
                target: filter(&[("severity", "ticket")]),
                equal: vec!["service".into()],
            }],
            ..RuleSet::default()
        }
    }

    fn event(slo: &str, change: AlertChange) -> AlertEvent {
        AlertEvent {
            at: Timestamp(1_000_000),
            rule: slo.into(),
            group: String::new(),
            labels: [("slo", slo), ("service", "shop")].map(|(k, v)| (k.into(), v.into())).into(),
            change: Some(change),
            tiers: vec![],
            figures: Figures::default(),
            summary: format!("{slo} burns"),
            reason: "no tier holds any more".into(),
            state: AlertState::default(),
        }
    }

    fn told(outcome: &Outcome) -> Vec<String> {
        parcels(outcome, Timestamp(0), "http://x").iter().map(|p| format!("{} {}", p.receiver, p.kind.name())).collect()
    }

    #[test]
    fn alerts_with_equal_grouping_labels_are_one_incident_and_pages_hold_tickets_back() {
        let desk = Desk::new(Arc::new(rules()));
        let mut ids = 0;
        let mut new_id = |_: &str, _: Timestamp| {
            ids += 1;
            format!("i{ids}")
        };
        let mut book = Book { desk: &desk, now: Timestamp(1_000_000), silences: &[], open: BTreeMap::new(), new_id: &mut new_id };
        let first = book.alert(&event("api", AlertChange::Opened { severity: Severity::Page }), None, Findings::default()).unwrap();
        assert!(first.new);
        assert_eq!(first.incident.key, r#"{service="shop"}"#);
        assert_eq!(told(&first), ["pager incident.opened"]);
        let second = book.alert(&event("lcp", AlertChange::Opened { severity: Severity::Ticket }), None, Findings::default()).unwrap();
        assert!(!second.new);
        assert_eq!(told(&second), [""; 0], "the ticket is inhibited by the page of the same service");
        let ended = book.alert(&event("api", AlertChange::Ended), Some("i1"), Findings::default()).unwrap();
        assert_eq!(told(&ended), ["pager incident.resolved"]);
        let ticked = book.tick();
        assert_eq!(told(&ticked[0]), ["tickets incident.opened"]);
        assert!(book.tick().is_empty());
    }

    #[test]
    fn keys_do_not_change_and_tell_triggers_from_retries() {
        let id = delivery_id("i", 7, 1, "pager");
        assert_eq!(id, delivery_id("i", 7, 1, "pager"));
        assert_ne!(id, delivery_id("i", 7, 2, "pager"));
        assert_ne!(id, delivery_id("i7", 1, 1, "pager"));
        assert_eq!(correlation_key("i", 7, "pager").len(), 32);
    }
}
