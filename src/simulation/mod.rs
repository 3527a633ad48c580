//! A run through history in simulated time: the evaluator, free-form rules, incidents and what would have been said
//! to whom, exactly as the daemon does it, with nothing sent and nothing stored.
//!
//! `backtest` runs over what was stored or read from a file, [`rehearsal`] over what a rule test makes up.

mod found;
mod free;
pub mod rehearsal;
mod timeline;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::domain::alert::{AlertChange, TierChange};
use crate::domain::archive::{MemoryArchive, Place};
use crate::domain::cell::Cell;
use crate::domain::desk::{Book, Desk, Findings, Outcome, Silence, parcels};
use crate::domain::evaluate::{AlertEvent, Evaluator, Settings};
use crate::domain::explain;
use crate::domain::findings::{self, Around, Case, explained};
use crate::domain::incident::{Effect, Incident, Input};
use crate::domain::lookup::{LeftOut, exclusions};
use crate::domain::notification::Status;
use crate::domain::rule::RuleSet;
use crate::domain::segment::Slice;
use crate::domain::series::{Series, SeriesId};
use crate::domain::time::{Span, Timestamp};
use crate::rules::Program;
use free::FreeRules;

pub use found::{Budget, Found, Move, Noted, Run, Said, Told};

/// What to run, over what, from when to when.
pub struct Plan<'a> {
    pub rules: Arc<RuleSet>,
    pub program: &'a Program,
    /// The one rule whose alerts count; others are there because it is made of them.
    pub only: Option<&'a str>,
    /// What was measured. It may hold more than is known yet: nothing is read beyond the time of an evaluation.
    pub archive: Arc<RwLock<MemoryArchive>>,
    pub bucket: Span,
    /// Evaluations at each t with `from < t <= to`.
    pub from: Timestamp,
    pub to: Timestamp,
    /// Where to begin to read, to warm the windows up.
    pub start: Timestamp,
    /// Whether the intake was up in the bucket that begins here; a file has only its rows.
    pub up: &'a dyn Fn(Timestamp) -> bool,
}

/// Runs a plan. `watch` is called after every evaluation.
pub fn run(plan: &Plan<'_>, watch: &mut dyn FnMut(Timestamp, &Evaluator)) -> Found {
    let mut simulation = Simulation::new(plan);
    while let Some(t) = simulation.step() {
        watch(t, &simulation.evaluator());
    }
    simulation.finish()
}

/// A run under way: between two evaluations people can act.
pub struct Simulation<'a> {
    plan: &'a Plan<'a>,
    desk: Arc<Desk>,
    /// The next slice to read.
    slice: Slice,
    evaluations: u64,
    evaluator: Arc<RwLock<Evaluator>>,
    place: Place,
    free: FreeRules,
    /// The incident that each firing alert belongs to.
    incident_of: HashMap<String, String>,
    open: BTreeMap<String, Incident>,
    /// Closed, the last one of each key.
    recent: BTreeMap<String, Incident>,
    /// Sums of open incidents, and when their findings were last made.
    cases: HashMap<String, (Option<Case>, Timestamp)>,
    left_out: Vec<LeftOut>,
    runs: Vec<Run>,
    /// Runs that are still on, by alert and tier.
    running: HashMap<(String, usize), usize>,
    incidents: Vec<Told>,
    said: Vec<Said>,
    moves: Vec<Move>,
    noted: Vec<Noted>,
    silences: Vec<Silence>,
    /// What is still on its way, by the time at which it arrives.
    late: BTreeMap<Timestamp, Vec<(Series, Slice, Cell)>>,
}

impl<'a> Simulation<'a> {
    /// Before the first slice is read.
    pub fn new(plan: &'a Plan<'a>) -> Simulation<'a> {
        let settings = Settings { bucket: plan.bucket, delays: BTreeMap::new() };
        let start = plan.start.min(plan.from).floor(plan.bucket);
        let evaluator = Evaluator::new(plan.rules.clone(), settings, start, start);
        Simulation {
            plan,
            desk: Arc::new(Desk::new(plan.rules.clone())),
            slice: start.0.div_euclid(plan.bucket.0),
            evaluations: 0,
            evaluator: Arc::new(RwLock::new(evaluator)),
            place: Place::default(),
            free: FreeRules::new(plan),
            incident_of: HashMap::new(),
            open: BTreeMap::new(),
            recent: BTreeMap::new(),
            cases: HashMap::new(),
            left_out: exclusions(&plan.rules, start - Span::days(29), plan.to),
            runs: Vec::new(),
            running: HashMap::new(),
            incidents: Vec::new(),
            said: Vec::new(),
            moves: Vec::new(),
            noted: Vec::new(),
            silences: Vec::new(),
            late: BTreeMap::new(),
        }
    }

    /// Reads on to the next evaluation and makes it; gives its time, or `None` at the end of the plan.
    pub fn step(&mut self) -> Option<Timestamp> {
        let bucket = self.plan.bucket;
        loop {
            let begins = Timestamp(self.slice * bucket.0);
            let t = begins + bucket;
            if t > self.plan.to {
                return None;
            }
            self.feed(self.slice);
            self.feed_late(t);
            self.slice += 1;
            let up = (self.plan.up)(begins);
            if t <= self.plan.from {
                self.write().replay(up);
                continue;
            }
            self.evaluations += 1;
            self.evaluate(t, up);
            return Some(t);
        }
    }

    /// The evaluator as the last evaluation left it.
    pub fn evaluator(&self) -> RwLockReadGuard<'_, Evaluator> {
        self.read()
    }

    /// Cells that become known at `at` only, whatever slice they belong to.
    pub fn expect_late(&mut self, at: Timestamp, series: Series, slice: Slice, cell: Cell) {
        self.late.entry(at).or_default().push((series, slice, cell));
    }

    /// A person acknowledges everything that is open; gives how many incidents that were.
    pub fn acknowledge(&mut self, by: &str, now: Timestamp) -> usize {
        let open: Vec<String> =
            self.open.values().filter(|incident| incident.status == Status::Open).map(|incident| incident.id.clone()).collect();
        for id in &open {
            let outcome = self.book(now, |book| book.input(id, Input::Acknowledge { by: by.to_owned() }));
            outcome.iter().for_each(|outcome| self.keep(outcome, now));
        }
        open.len()
    }

    /// A person sets a silence.
    pub fn silence(&mut self, silence: Silence) {
        self.silences.push(silence);
    }

    fn read(&self) -> RwLockReadGuard<'_, Evaluator> {
        self.evaluator.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Evaluator> {
        self.evaluator.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the evaluator the cells of one slice.
    fn feed(&mut self, slice: i64) {
        let archive = self.plan.archive.read().unwrap_or_else(PoisonError::into_inner);
        let mut evaluator = self.evaluator.write().unwrap_or_else(PoisonError::into_inner);
        let free = &mut self.free;
        archive.slice(&mut self.place, slice, |id: SeriesId, brief| {
            if !evaluator.knows(id) {
                let series = &archive.series()[id.0 as usize];
                evaluator.add_series(id, series);
                free.meet(series);
            }
            evaluator.add(id, slice, brief);
        });
    }

    /// Gives the evaluator, and the archive, what arrived late and by `t`.
    fn feed_late(&mut self, t: Timestamp) {
        let later = self.late.split_off(&(t + Span(1)));
        let arrived = std::mem::replace(&mut self.late, later);
        if arrived.is_empty() {
            return;
        }
        let mut archive = self.plan.archive.write().unwrap_or_else(PoisonError::into_inner);
        let mut evaluator = self.evaluator.write().unwrap_or_else(PoisonError::into_inner);
        for (series, slice, cell) in arrived.into_values().flatten() {
            let id = archive.intern(&series);
            if !evaluator.knows(id) {
                evaluator.add_series(id, &series);
                self.free.meet(&series);
            }
            evaluator.add_with(id, slice, cell.counts, cell.pushed, |limit| cell.against(limit));
            archive.add(id, slice, &cell);
        }
        archive.seal();
        // Sealing moved the cells of the hour that is being read.
        self.place = Place::default();
    }

    fn evaluate(&mut self, t: Timestamp, up: bool) {
        let mut events = self.write().advance(up);
        events.extend(self.free.ask(self.plan, &self.evaluator, &self.left_out, t));
        events.retain(|event| self.plan.only.is_none_or(|only| event.rule == only));
        for event in &events {
            self.record_runs(event);
        }
        for event in &events {
            self.take(event, t);
        }
        let outcomes = self.book(t, |book| book.tick());
        outcomes.iter().for_each(|outcome| self.keep(outcome, t));
        self.refresh(t);
    }

    fn record_runs(&mut self, event: &AlertEvent) {
        for tier in &event.tiers {
            let key = (event.alert(), tier.tier);
            match tier.change {
                TierChange::Started { pending_at } => {
                    let mut labels = event.labels.clone();
                    labels.insert("severity".into(), tier.severity.name().into());
                    self.running.insert(key, self.runs.len());
                    self.runs.push(Run {
                        rule: event.rule.clone(),
                        tier: self.plan.rules.slo(&event.rule).filter(|slo| tier.tier < slo.tiers.len()).map(|_| tier.tier),
                        labels,
                        severity: tier.severity,
                        pending_at,
                        started_at: event.at,
                        ended_at: None,
                        values: tier.figures,
                    });
                }
                TierChange::Ended { .. } => {
                    if let Some(at) = self.running.remove(&key) {
                        self.runs[at].ended_at = Some(event.at);
                    }
                }
            }
        }
    }

    /// Something with the open incidents on the desk.
    fn book<T>(&mut self, t: Timestamp, act: impl FnOnce(&mut Book<'_>) -> T) -> T {
        let known = self.incidents.len();
        let mut new_id = |_: &str, _: Timestamp| format!("bt-{}", known + 1);
        let (open, recent) = (std::mem::take(&mut self.open), std::mem::take(&mut self.recent));
        let desk = self.desk.clone();
        let mut book = Book::new(&desk, t, &self.silences, (open, recent), &mut new_id);
        let done = act(&mut book);
        (self.open, self.recent) = (book.open, book.recent);
        done
    }

    fn take(&mut self, event: &AlertEvent, t: Timestamp) {
        let Some(change) = event.change else { return };
        let alert = event.alert();
        let incident = self.incident_of.get(&alert).cloned();
        let found = match (event.change, &incident) {
            (Some(AlertChange::Opened { .. } | AlertChange::Raised { .. }), None) if self.would_open(event, t) => self.findings(event, t),
            _ => (Findings::default(), None),
        };
        let outcome = self.book(t, |book| book.alert(event, incident.as_deref(), found.0));
        self.moves.push(Move {
            at: t,
            alert: alert.clone(),
            rule: event.rule.clone(),
            labels: event.labels.clone(),
            change,
            incident: outcome.as_ref().map(|outcome| outcome.incident.id.clone()),
        });
        match (&outcome, event.change) {
            (_, Some(AlertChange::Ended)) => {
                self.incident_of.remove(&alert);
            }
            (Some(outcome), _) => {
                self.incident_of.insert(alert, outcome.incident.id.clone());
            }
            (None, _) => {}
        }
        if let Some(outcome) = outcome {
            if outcome.new {
                self.cases.insert(outcome.incident.id.clone(), (found.1, t));
            }
            self.keep(&outcome, t);
        }
    }

    /// Whether no open incident has the key that this alert leads to.
    fn would_open(&self, event: &AlertEvent, t: Timestamp) -> bool {
        let mut labels = event.labels.clone();
        if let Some(severity) = event.state.severity {
            labels.insert("severity".into(), severity.name().into());
        }
        let rules = &self.plan.rules;
        let by = rules.slo(&event.rule).map(|slo| &slo.by);
        let by = by.or_else(|| rules.alerts.iter().find(|rule| rule.name == event.rule).map(|rule| &rule.by));
        let (_, key) = self.desk.group(&labels, by.map_or(&[], Vec::as_slice), t);
        !self.open.contains_key(&key)
    }

    fn findings(&self, event: &AlertEvent, t: Timestamp) -> (Findings, Option<Case>) {
        let evaluator = self.read();
        let around = self.around(&evaluator, t);
        // An archive in memory always answers.
        let mut case = Case::of_alert(event, &around);
        let found = match &mut case {
            Some(case) => case.read(&around).and_then(|()| case.findings(&around, &Default::default())),
            None => findings::findings(event, &around),
        };
        (found.unwrap_or_default(), case)
    }

    fn around<'e>(&'e self, evaluator: &'e Evaluator, now: Timestamp) -> Around<'e> {
        Around { rules: &self.plan.rules, evaluator, archive: &*self.plan.archive, bucket: self.plan.bucket, now, left_out: &self.left_out }
    }

    /// Looks again at who is hit and why, while incidents live (EXPLAIN 6).
    fn refresh(&mut self, t: Timestamp) {
        let open: Vec<(String, String)> = self.open.iter().map(|(key, incident)| (key.clone(), incident.id.clone())).collect();
        for (key, id) in open {
            let (case, last) = self.cases.remove(&id).unwrap_or((None, Timestamp(i64::MIN / 2)));
            let incident = &self.open[&key];
            if !explain::due(incident.opened_at, last, t) {
                self.cases.insert(id, (case, last));
                continue;
            }
            let (input, case) = {
                let evaluator = self.read();
                let around = self.around(&evaluator, t);
                let mut case = case.filter(|case| case.is_of(incident, &around)).or_else(|| Case::of_incident(incident, &around));
                let found =
                    case.as_mut().and_then(|case| case.read(&around).and_then(|()| case.findings(&around, &incident.explained)).ok());
                (found.map(|found| explained(incident, found)), case)
            };
            if let Some(input) = input {
                let outcome = self.book(t, |book| book.input(&id, input));
                outcome.iter().for_each(|outcome| self.keep(outcome, t));
            }
            self.cases.insert(id, (case, t));
        }
    }

    /// Keeps what became of an incident, and what was said.
    fn keep(&mut self, outcome: &Outcome, t: Timestamp) {
        let incident = &outcome.incident;
        for parcel in parcels(outcome, t, "") {
            let (incident, reason) = (incident.key.clone(), parcel.notification.reason);
            self.said.push(Said { at: t, receiver: parcel.receiver, kind: parcel.kind, incident, reason });
        }
        for effect in &outcome.effects {
            if let Effect::History { kind, text, .. } = effect {
                self.noted.push(Noted { at: t, incident: incident.key.clone(), kind, text: text.clone() });
            }
        }
        if outcome.new {
            self.incidents.push(Told { incident: incident.clone(), severity: incident.severity, severities: BTreeMap::new() });
        }
        let Some(told) = self.incidents.iter_mut().rev().find(|told| told.incident.id == incident.id) else { return };
        told.severity = told.severity.max(incident.severity);
        for member in &incident.members {
            let severity = told.severities.entry(member.alert.clone()).or_insert(member.severity);
            *severity = (*severity).max(member.severity);
        }
        told.incident = incident.clone();
        if incident.status == Status::Resolved {
            self.cases.remove(&incident.id);
            self.left_out.extend(findings::past(&self.plan.rules, incident));
        }
    }

    /// Everything that was found.
    pub fn finish(self) -> Found {
        let mut budgets = Vec::new();
        self.read().budgets(|slo, labels, counts, state| {
            if self.plan.only.is_some_and(|only| slo.name != only) {
                return;
            }
            budgets.push(Budget { slo: slo.name.clone(), labels: labels.clone(), objective: slo.objective_percent(), counts, state });
        });
        // Groups come in the order in which their series were met.
        budgets.sort_by(|a, b| (&a.slo, &a.labels).cmp(&(&b.slo, &b.labels)));
        let Simulation { plan, evaluations, runs, incidents, said, moves, noted, free, .. } = self;
        Found { from: plan.from, to: plan.to, evaluations, runs, incidents, said, moves, noted, budgets, failures: free.failures }
    }
}
