//! The desk: from changed alerts to incidents, and from incidents to what is said to whom.
//!
//! Holds the rule set as routing sees it (routes, time intervals, maintenance, silences,
//! inhibition) and the incidents that are not closed. Pure: the daemon loads the incidents from its
//! store and commits what comes out; `backtest` and `test` keep them in memory.

mod family;
mod inhibition;
mod posted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::alert::AlertChange;
use super::evaluate::AlertEvent;
use super::incident::{Effect, Explained, Incident, Input, Kin, Lead, Member, REOPEN_WITHIN, Surroundings};
use super::matcher::Matcher;
use super::notification::{Change, Data, Impact, Kind, Notification, Status};
use super::route::{Routed, canonical, grouping, matches, route};
use super::rule::{CodeSilence, Labels, Maintenance, Receiver, RuleSet, Severity};
use super::schedule::Windows;
use super::time::Timestamp;

pub use self::inhibition::Sources;

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
}

/// Everything that is open, and what time it is.
pub struct Book<'a> {
    pub desk: &'a Desk,
    pub now: Timestamp,
    pub silences: &'a [Silence],
    /// Open incidents by key. To be read from outside: what fires in them is remembered.
    pub open: BTreeMap<String, Incident>,
    /// By key, those that were closed so lately that they may come back.
    pub recent: BTreeMap<String, Incident>,
    /// Makes an id for a new incident.
    new_id: &'a mut (dyn FnMut(&str, Timestamp) -> String + Send),
    /// What fires in `open`, once it was asked for.
    firing: Option<Sources>,
}

/// How an alert came to the incident of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    New,
    /// It was closed a short while ago.
    Reopened,
    /// It is open.
    Known,
}

/// What an incident begins with.
struct Opening<'a> {
    at: Timestamp,
    key: String,
    grouping: Labels,
    /// Of the alert that opens it.
    labels: &'a Labels,
    title: String,
    window_start: Timestamp,
    impact: Impact,
    explained: Explained,
    changes: Vec<Change>,
    runbook: Option<String>,
    dashboard: Option<String>,
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
    fn source_of(&self, labels: &Labels) -> Vec<(usize, Vec<String>)> {
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

    fn receiver(&self, name: &str) -> Option<Receiver> {
        self.rules.receiver(name).cloned()
    }
}

impl<'a> Book<'a> {
    /// A book of what is open and lately closed.
    pub fn new(
        desk: &'a Desk,
        now: Timestamp,
        silences: &'a [Silence],
        (open, recent): (BTreeMap<String, Incident>, BTreeMap<String, Incident>),
        new_id: &'a mut (dyn FnMut(&str, Timestamp) -> String + Send),
    ) -> Book<'a> {
        Book { desk, now, silences, open, recent, new_id, firing: None }
    }
}

impl Book<'_> {
    /// What fires in the open incidents, as far as it can hold others back.
    fn sources(&self) -> Sources {
        Sources::of(&self.desk.rules, self.open.values().flat_map(firing_in))
    }

    /// [`Book::sources`], kept from one step to the next while nobody else changes the incidents.
    fn take_sources(&mut self) -> Sources {
        self.firing.take().unwrap_or_else(|| self.sources())
    }

    fn step(&self, incident: &mut Incident, input: Input, firing: &Sources) -> Vec<Effect> {
        let kin = self.kin(incident);
        self.around(&kin, firing, |around| incident.step(input, around))
    }

    fn around<T>(&self, kin: &(Option<Lead>, Vec<Kin>), firing: &Sources, act: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        act(&Surroundings {
            now: self.now,
            route: &|labels| self.desk.route(labels, self.now),
            muted: &|labels| self.desk.muted(labels, self.now, self.silences, firing),
            receiver: &|name| self.desk.receiver(name),
            lead: kin.0.as_ref(),
            family: &kin.1,
        })
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
        Some(self.apply(key, input, Entry::Known))
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
            subject: event.subject.clone(),
        };
        let title = if findings.title.is_empty() { event.summary.clone() } else { findings.title };
        let new = self.open_incident(Opening {
            at: event.at,
            key: key.clone(),
            grouping,
            labels: &labels,
            title,
            window_start: findings.window_start.unwrap_or(event.at),
            impact: findings.impact,
            explained: findings.explained,
            changes: findings.changes,
            runbook: slo.and_then(|slo| slo.runbook.clone()).or_else(|| rule.and_then(|rule| rule.runbook.clone())),
            dashboard: slo.and_then(|slo| slo.dashboard.clone()).or_else(|| rule.and_then(|rule| rule.dashboard.clone())),
        });
        let joined = match new {
            Entry::New | Entry::Reopened => self.join_family(&key, &member),
            Entry::Known => None,
        };
        let mut outcome = self.apply(key, Input::AlertOpened(Box::new(member)), new);
        outcome.effects.extend(joined);
        outcome
    }

    /// Makes the incident of a key unless it is open, or takes the one that was closed a short while ago.
    fn open_incident(&mut self, opening: Opening<'_>) -> Entry {
        if self.open.contains_key(&opening.key) {
            return Entry::Known;
        }
        let lately = |closed: &Incident| closed.resolved_at.is_some_and(|at| self.now - at <= REOPEN_WITHIN);
        if let Some(closed) = self.recent.remove(&opening.key).filter(lately) {
            self.open.insert(opening.key, Incident { parent: None, ..closed });
            return Entry::Reopened;
        }
        let text = |name: &str| opening.labels.get(name).cloned().unwrap_or_default();
        let incident = Incident {
            id: (self.new_id)(&opening.key, opening.at),
            key: opening.key.clone(),
            grouping: opening.grouping.clone(),
            generation: opening.at.seconds(),
            sequence: 0,
            status: Status::Open,
            severity: Severity::Info,
            title: opening.title,
            service: text("service"),
            owner: text("owner"),
            labels: opening.grouping,
            opened_at: opening.at,
            acknowledged_at: None,
            acknowledged_by: None,
            resolved_at: None,
            snoozed_until: None,
            window_start: opening.window_start,
            members: Vec::new(),
            told: BTreeMap::new(),
            loud_since: opening.at,
            impact: opening.impact,
            explained: opening.explained,
            changes: opening.changes,
            revision: self.desk.rules.revision.clone(),
            runbook: opening.runbook,
            dashboard: opening.dashboard,
            parent: None,
            children: BTreeSet::new(),
            reopened: vec![],
            known: BTreeSet::new(),
            held_until: None,
            closed_because: None,
            by_hand: Default::default(),
        };
        self.open.insert(opening.key, incident);
        Entry::New
    }

    fn apply(&mut self, key: String, input: Input, entry: Entry) -> Outcome {
        let mut firing = self.take_sources();
        let mut incident = self.open.remove(&key).expect("the caller looked the key up");
        let before: Vec<Labels> = if self.desk.rules.inhibits.is_empty() { Vec::new() } else { firing_in(&incident).collect() };
        let mut effects = match entry {
            Entry::New => {
                let text = format!("opened: {}", incident.title);
                vec![Effect::History { kind: "opened", who: String::new(), text }]
            }
            Entry::Reopened => vec![incident.reopen(self.now)],
            Entry::Known => Vec::new(),
        };
        effects.extend(self.step(&mut incident, input, &firing));
        if !self.desk.rules.inhibits.is_empty() {
            before.iter().for_each(|labels| firing.remove(&self.desk.rules, labels));
            firing_in(&incident).for_each(|labels| firing.add(&self.desk.rules, &labels));
        }
        self.firing = Some(firing);
        self.put(key, &incident);
        Outcome { incident, new: entry == Entry::New, effects }
    }

    /// Back on the desk, as open or as lately closed.
    fn put(&mut self, key: String, incident: &Incident) {
        match incident.status {
            Status::Open | Status::Acknowledged => self.open.insert(key, incident.clone()),
            Status::Resolved => self.recent.insert(key, incident.clone()),
        };
    }

    /// Something happens to one open incident, by its id. `None`: it is not open.
    pub fn input(&mut self, id: &str, input: Input) -> Option<Outcome> {
        let key = self.open.iter().find(|(_, incident)| incident.id == id).map(|(key, _)| key.clone())?;
        Some(self.apply(key, input, Entry::Known))
    }

    /// Time passed: what waits, reminds, escalates or comes out of a mute. Only what changed.
    pub fn tick(&mut self) -> Vec<Outcome> {
        let mut grouped = self.regroup();
        // Time makes nothing fire, and ends nothing that fires.
        let firing = self.take_sources();
        let mut outcomes = Vec::new();
        // Whoever speaks for others comes first, so that they know what was said.
        let mut keys: Vec<(bool, String)> = self.open.iter().map(|(key, incident)| (incident.parent.is_some(), key.clone())).collect();
        keys.sort();
        for (_, key) in keys {
            let mut incident = self.open.remove(&key).expect("the key was just listed");
            let before = incident.clone();
            let mut effects = grouped.remove(&incident.id).unwrap_or_default();
            effects.extend(self.step(&mut incident, Input::Tick, &firing));
            self.put(key, &incident);
            if !effects.is_empty() || incident != before {
                outcomes.push(Outcome { incident, new: false, effects });
            }
        }
        self.firing = Some(firing);
        outcomes
    }

    /// When a tick could bring something again, if nothing but time passes after one that brought nothing, and
    /// [`Desk::hours`] stay as they are. `None`: not before something else happens.
    pub fn next_tick(&self) -> Option<Timestamp> {
        let firing = self.sources();
        let next = |incident: &Incident| self.around(&self.kin(incident), &firing, |around| incident.next_tick(around));
        self.open.values().filter_map(next).min()
    }
}

/// The labels of what fires in an incident.
fn firing_in(incident: &Incident) -> impl Iterator<Item = Labels> + '_ {
    incident.members.iter().filter(|member| member.firing).map(|member| incident.labels_of(member))
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
            callback_secret: None,
            template: None,
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
            subject: None,
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
        let mut book = Book::new(&desk, Timestamp(1_000_000), &[], Default::default(), &mut new_id);
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
