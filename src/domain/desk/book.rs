//! The book of what is open: every event goes through it to the incident that it belongs to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Desk, Findings, Outcome, Silence, Sources};
use crate::domain::alert::AlertChange;
use crate::domain::evaluate::AlertEvent;
use crate::domain::incident::{Effect, Explained, Footing, Incident, Input, Kin, Lead, Member, REOPEN_WITHIN, Surroundings};
use crate::domain::notification::{Change, Impact, Status};
use crate::domain::rule::{Labels, Severity};
use crate::domain::time::Timestamp;

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
    pub(super) firing: Option<Sources>,
}

/// How an alert came to the incident of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    New,
    /// It was closed a short while ago.
    Reopened,
    /// It is open.
    Known,
}

/// What an incident begins with.
pub(super) struct Opening<'a> {
    pub(super) at: Timestamp,
    pub(super) key: String,
    pub(super) grouping: Labels,
    /// Of the alert that opens it.
    pub(super) labels: &'a Labels,
    pub(super) title: String,
    pub(super) window_start: Timestamp,
    pub(super) impact: Impact,
    pub(super) explained: Explained,
    pub(super) changes: Vec<Change>,
    pub(super) runbook: Option<String>,
    pub(super) dashboard: Option<String>,
    pub(super) footing: Option<Footing>,
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
    pub(super) fn sources(&self) -> Sources {
        Sources::of(&self.desk.rules, self.open.values().flat_map(firing_in))
    }

    /// [`Book::sources`], kept from one step to the next while nobody else changes the incidents.
    pub(super) fn take_sources(&mut self) -> Sources {
        self.firing.take().unwrap_or_else(|| self.sources())
    }

    pub(super) fn step(&self, incident: &mut Incident, input: Input, firing: &Sources) -> Vec<Effect> {
        let kin = self.kin(incident);
        self.around(&kin, firing, |around| incident.step(input, around))
    }

    pub(super) fn around<T>(&self, kin: &(Option<Lead>, Vec<Kin>), firing: &Sources, act: impl FnOnce(&Surroundings<'_>) -> T) -> T {
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

    pub(super) fn open_alert(&mut self, event: &AlertEvent, severity: Severity, findings: Findings) -> Outcome {
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
            footing: findings.footing,
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
    pub(super) fn open_incident(&mut self, opening: Opening<'_>) -> Entry {
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
            footing: opening.footing,
        };
        self.open.insert(opening.key, incident);
        Entry::New
    }

    pub(super) fn apply(&mut self, key: String, input: Input, entry: Entry) -> Outcome {
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
    pub(super) fn put(&mut self, key: String, incident: &Incident) {
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
        let grouped = self.regroup();
        let keys = self.open.keys().cloned().collect();
        self.tick_each(keys, grouped).into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// [`Book::tick`] of the incidents of these keys, as far as they are open. The same as a whole one if nothing can have come
    /// up for the others, and all of these [stand alone](Book::stands_alone). Gives what changed, each as it was before too.
    pub fn tick_some(&mut self, keys: impl IntoIterator<Item = String>) -> Vec<(Incident, Outcome)> {
        let open = keys.into_iter().filter(|key| self.open.contains_key(key)).collect();
        self.tick_each(open, BTreeMap::new())
    }

    fn tick_each(&mut self, keys: Vec<String>, mut grouped: BTreeMap<String, Vec<Effect>>) -> Vec<(Incident, Outcome)> {
        // Time makes nothing fire, and ends nothing that fires.
        let firing = self.take_sources();
        let mut outcomes = Vec::new();
        // Whoever speaks for others comes first, so that they know what was said.
        let mut keys: Vec<(bool, String)> = keys.into_iter().map(|key| (self.open[&key].parent.is_some(), key)).collect();
        keys.sort();
        for (_, key) in keys {
            let mut incident = self.open.remove(&key).expect("the key was just listed");
            let before = incident.clone();
            let mut effects = grouped.remove(&incident.id).unwrap_or_default();
            effects.extend(self.step(&mut incident, Input::Tick, &firing));
            if effects.is_empty() && incident == before {
                self.open.insert(key, incident);
            } else {
                self.put(key, &incident);
                outcomes.push((before, Outcome { incident, new: false, effects }));
            }
        }
        self.firing = Some(firing);
        outcomes
    }

    /// Whether nothing that this incident does, or that happens to it, can matter to another open one, nor the other way round:
    /// nobody speaks for it, it speaks for nobody, it looks for no family, and nothing holds others back.
    pub fn stands_alone(&self, incident: &Incident) -> bool {
        self.desk.rules.inhibits.is_empty() && incident.parent.is_none() && incident.children.is_empty() && !self.seeks(incident)
    }

    /// When a tick of each of these open incidents could bring something again, if nothing but time passes after one that brought
    /// nothing, and [`Desk::hours`] stay as they are. `None`: not before something else happens.
    pub fn next_ticks(&mut self, keys: impl IntoIterator<Item = String>) -> Vec<(String, Option<Timestamp>)> {
        let firing = self.take_sources();
        let next = |key: String| {
            let incident = self.open.get(&key)?;
            let at = self.around(&self.kin(incident), &firing, |around| incident.next_tick(around));
            Some((key, at))
        };
        let all = keys.into_iter().filter_map(next).collect();
        self.firing = Some(firing);
        all
    }
}

/// The labels of what fires in an incident.
fn firing_in(incident: &Incident) -> impl Iterator<Item = Labels> + '_ {
    incident.members.iter().filter(|member| member.firing).map(|member| incident.labels_of(member))
}
