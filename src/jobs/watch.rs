//! Watch: follows what was stored, evaluates each closed bucket, and commits what that changes.
//!
//! The evaluator's memory is rebuilt from the store whenever it is in doubt: at a start, with a new
//! rule set, after a failed commit, after losing the lease. Alert states, incidents, history and
//! outbox rows of one evaluation are one transaction, fenced by the lease.

mod standing;

pub use standing::group_labels;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::domain::alert::{AlertChange, AlertState};
use crate::domain::desk::{Book, Desk, Findings, Outcome};
use crate::domain::evaluate::{AlertEvent, Evaluator, Settings};
use crate::domain::incident::{Footing, Incident};
use crate::domain::rule::{Labels, RuleSet};
use crate::domain::segment;
use crate::domain::series::SeriesId;
use crate::domain::snapshot::{SloStatus, Snapshot};
use crate::domain::time::{Span, Timestamp};
use crate::store::{self, Store, StoreError, Tx, archive, incidents, transition};

use super::explain::Explainer;
use super::failing::Health;
use super::flush::Flushed;
use super::known::Known;
use super::operator::{self, Trouble};
use super::posted::{self, End, Look, Looked};
use super::rebuild::Plan;
use super::tick::{self, Ticking, Ticks};
use super::uptime::Uptime;
use standing::{alert_status, newest};

/// Missed evaluations are made up for at most this far back (SEMANTICS 4).
const CATCH_UP_MAX: Span = Span::HOUR;
/// How long the right to evaluate lasts without renewal.
const LEASE: Span = Span::seconds(15);
const LEASE_NAME: &str = "evaluate";
/// Under this name the store keeps up to when everything was evaluated.
pub(super) const PROGRESS: &str = "evaluated";
/// Under this name the store keeps which free-form rules were ever asked, as a list.
const ASKED: &str = "asked";
/// So long at a time alerts that others post are taken into incidents one lot after the other; all else can wait for a moment.
const SETTLING: Duration = Duration::from_millis(250);

/// What the job is set up with.
#[derive(Clone)]
pub struct Setup {
    pub store: Store,
    pub bucket: Span,
    pub settle: Span,
    pub delays: BTreeMap<String, Span>,
    pub public_url: String,
    /// The rule set in force; a new one is noticed by its pointer.
    pub desk: Arc<ArcSwap<Desk>>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Wakes the delivery job after a commit with notifications.
    pub deliver: Arc<Notify>,
    pub holder: String,
    pub new_id: fn() -> String,
    pub explainer: Explainer,
    pub flushed: Arc<Flushed>,
    /// Alerts from `/api/v2/alerts`.
    pub posted: posted::Shared,
}

/// The state of the job; all of it can be thrown away.
pub struct Watch {
    setup: Setup,
    running: Option<Running>,
    token: Option<i64>,
    lease_until: Timestamp,
    /// The evaluation after which open incidents were last looked at.
    last_refresh: Timestamp,
    /// When each open incident was last explained.
    explained: HashMap<String, Timestamp>,
    looked: Looked,
    ticks: Ticks,
    known: Known,
    /// What was told last about rules that fail.
    health: Health,
}

struct Running {
    /// Shared with the questions of free-form rules, which only read.
    evaluator: Arc<RwLock<Evaluator>>,
    desk: Arc<Desk>,
    cursors: HashMap<String, i64>,
    last_series: Option<SeriesId>,
    /// Alerts that are not idle, by rule and group.
    alerts: BTreeMap<(String, String), AlertState>,
    /// Free-form rules of this set that were asked, now or in an earlier life.
    asked: Arc<BTreeSet<String>>,
}

/// Buckets that have closed since the last evaluation: from the start of the first to the end of the last.
struct Due {
    from: Timestamp,
    to: Timestamp,
    uptime: Uptime,
}

impl Due {
    /// The starts of the buckets.
    fn buckets(&self, bucket: Span) -> impl Iterator<Item = Timestamp> + use<> {
        let (from, to) = (self.from, self.to);
        std::iter::successors(Some(from), move |at| Some(*at + bucket)).take_while(move |at| *at + bucket <= to)
    }
}

/// What of an evaluation is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// There is more to come.
    First,
    /// All of it, or the rest.
    Last,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Buckets that were evaluated.
    pub evaluated: usize,
    /// Notifications that were queued.
    pub queued: usize,
    /// There is more to do at once.
    pub more: bool,
}

impl Watch {
    /// A job that has not looked at anything yet.
    pub fn new(setup: Setup) -> Watch {
        Watch {
            setup,
            running: None,
            token: None,
            lease_until: Timestamp(0),
            last_refresh: Timestamp(0),
            explained: HashMap::new(),
            looked: Looked::default(),
            ticks: Ticks::default(),
            known: Known::default(),
            health: Health::Unknown,
        }
    }

    /// Follows, evaluates what closed before `now`, lets time pass for open incidents.
    pub async fn run(&mut self, now: Timestamp) -> Result<Report, StoreError> {
        let result = self.go(now).await;
        if result.is_err() {
            // What is in memory may be ahead of what is stored: the store is right.
            self.running = None;
        }
        result
    }

    async fn go(&mut self, now: Timestamp) -> Result<Report, StoreError> {
        let decides = self.hold_lease(now).await?;
        let desk = self.setup.desk.load_full();
        if self.running.as_ref().is_none_or(|running| !Arc::ptr_eq(&running.desk, &desk)) {
            let began = tokio::time::Instant::now();
            let running = self.build(desk, now).await?;
            let at = read(&running.evaluator).evaluated_to();
            self.running = Some(running);
            // What was known before the restart is shown at once, not when the next bucket closes.
            self.publish(at, now, Span::from(began.elapsed()));
        }
        if !decides {
            self.shadow(now).await?;
            return Ok(Report::default());
        }
        let mut report = self.follow_and_evaluate(now).await?;
        self.send(report.queued);
        let told = self.tell_of_failing(now).await?;
        self.send(told);
        report.queued += told;
        let (settled, more) = self.settle_posted(now).await?;
        report.queued += settled;
        report.more = more;
        let passed = self.pass_time(now).await?;
        self.send(passed);
        report.queued += passed;
        self.refresh(now).await?;
        Ok(report)
    }

    /// What is queued goes out now, not when all else is done.
    fn send(&self, queued: usize) {
        if queued > 0 {
            self.setup.deliver.notify_one();
        }
    }

    async fn hold_lease(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        if self.token.is_some() && now < self.lease_until - Span(LEASE.0 / 2) && now >= self.lease_until - LEASE {
            return Ok(true);
        }
        let mut tx = self.setup.store.write().await?;
        let token = store::leases::acquire(&mut tx, LEASE_NAME, &self.setup.holder, now, now + LEASE).await?;
        tx.commit().await?;
        if token != self.token {
            self.running = None;
            // Another replica may have told of something else since.
            self.health = Health::Unknown;
        }
        self.token = token;
        self.lease_until = now + LEASE;
        Ok(token.is_some())
    }

    /// Gives the right to evaluate back, at the end of a life.
    pub async fn finish(&mut self) -> Result<(), StoreError> {
        if self.token.take().is_some() {
            let mut tx = self.setup.store.write().await?;
            store::leases::release(&mut tx, LEASE_NAME, &self.setup.holder).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Fills a fresh evaluator from rollups, chunks and partials, as of the last evaluation.
    async fn build(&self, desk: Arc<Desk>, now: Timestamp) -> Result<Running, StoreError> {
        let began = tokio::time::Instant::now();
        let bucket = self.setup.bucket;
        let mut tx = self.setup.store.read().await?;
        let writers = store::writer::all(&mut tx).await?;
        let uptime = Uptime::new(&writers, Span::seconds(2));
        let target = self.watermark(&writers, now);
        let done = store::progress::get(&mut tx, PROGRESS).await?.map(|progress| progress.at.floor(bucket));
        let resume = done.map_or(target, |done| done.max(target - CATCH_UP_MAX)).min(target);
        let settings = || Settings { bucket, delays: self.setup.delays.clone() };
        let probe = Evaluator::new(desk.rules().clone(), settings(), resume, resume);
        let start = (resume - probe.fine_span()).floor(Span::HOUR);
        let past = (resume - probe.reach()).floor(Span::HOUR).min(start);
        drop(probe);
        let mut evaluator = Evaluator::new(desk.rules().clone(), settings(), start, past);
        evaluator.aim_at(resume);
        let series = store::series::all(&mut tx).await?;
        let last_series = series.last().map(|(id, _)| *id);
        for (id, series) in &series {
            evaluator.add_series(*id, series);
        }
        let uptime = Arc::new(uptime);
        // For half an hour partials may still add to what is compacted.
        let settled = (resume - Span::minutes(30)).floor(bucket);
        let plan = Plan { bucket, start, levels: archive::levels(bucket), past, settled, uptime: uptime.clone() };
        let evaluator = plan.read(&mut tx, evaluator).await?;
        let evaluator = Arc::new(RwLock::new(evaluator));
        let mut cursors = HashMap::new();
        for writer in &writers {
            let last = feed(&mut tx, &evaluator, &writer.id, writer.compacted_n).await?;
            cursors.insert(writer.id.clone(), last);
        }
        let stored = store::alerts::load_all(&mut tx).await?;
        let asked = Arc::new(load_asked(&mut tx, desk.rules()).await?);
        let mut held = write(&evaluator);
        held.replay_to(resume, |from| uptime.covers(from, bucket));
        held.end_of_replay();
        let mut alerts = BTreeMap::new();
        for row in stored {
            let Ok(state) = serde_json::from_str::<AlertState>(&row.state) else { continue };
            held.add_group(&row.rule, &group_labels(&row.grp));
            alerts.insert((row.rule.clone(), row.grp.clone()), state.clone());
            held.restore(&row.rule, &row.grp, state);
        }
        let (bytes, groups) = held.window_bytes();
        drop(held);
        info!(groups, bytes, series = series.len(), took_ms = began.elapsed().as_millis() as u64, resume = %resume, "windows are ready");
        Ok(Running { evaluator, desk, cursors, last_series, alerts, asked })
    }

    /// Up to when every live writer has stored what it took in, less the grace (DESIGN 4).
    fn watermark(&self, writers: &[store::writer::WriterRow], now: Timestamp) -> Timestamp {
        let waited_for = writers.iter().filter(|row| row.kind == "intake" && row.live == 1 && row.lease_until > now);
        let flushed = waited_for.map(|row| row.flushed_to).min().unwrap_or(now);
        (flushed.min(now) - self.setup.settle).floor(self.setup.bucket)
    }

    /// What a replica does that may not evaluate: it follows, so that its pages and its API show the
    /// same numbers, and decides nothing.
    async fn shadow(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Some(due) = self.follow(now).await? else { return Ok(()) };
        let began = tokio::time::Instant::now();
        let Some(running) = &mut self.running else { return Ok(()) };
        for at in due.buckets(self.setup.bucket) {
            write(&running.evaluator).advance(due.uptime.covers(at, self.setup.bucket));
        }
        let mut tx = self.setup.store.read().await?;
        running.alerts.clear();
        for row in store::alerts::load_all(&mut tx).await? {
            let Ok(state) = serde_json::from_str::<AlertState>(&row.state) else { continue };
            write(&running.evaluator).restore(&row.rule, &row.grp, state.clone());
            running.alerts.insert((row.rule, row.grp), state);
        }
        running.asked = Arc::new(load_asked(&mut tx, running.desk.rules()).await?);
        drop(tx);
        self.publish(due.to, now, Span::from(began.elapsed()));
        Ok(())
    }

    /// Takes in what was stored since the last time; says which buckets have closed.
    async fn follow(&mut self, now: Timestamp) -> Result<Option<Due>, StoreError> {
        let bucket = self.setup.bucket;
        let mut tx = self.setup.store.read().await?;
        let writers = store::writer::all(&mut tx).await?;
        let to = self.watermark(&writers, now);
        let Some(running) = &mut self.running else { return Ok(None) };
        let new = match running.last_series {
            Some(last) => store::series::after(&mut tx, last).await?,
            None => store::series::all(&mut tx).await?,
        };
        for (id, series) in new {
            write(&running.evaluator).add_series(id, &series);
            running.last_series = Some(id);
        }
        for writer in &writers {
            let cursor = running.cursors.entry(writer.id.clone()).or_insert(0);
            if *cursor < writer.compacted_n {
                // Too far behind: what was compacted can no longer be followed one by one.
                warn!(writer = %writer.id, "fell behind compaction, reading history again");
                self.running = None;
                return Ok(None);
            }
            if *cursor < writer.last_n {
                *cursor = feed(&mut tx, &running.evaluator, &writer.id, *cursor).await?;
            }
        }
        drop(tx);
        let from = read(&running.evaluator).evaluated_to();
        Ok((from + bucket <= to).then(|| Due { from, to, uptime: Uptime::new(&writers, Span::seconds(2)) }))
    }

    async fn follow_and_evaluate(&mut self, now: Timestamp) -> Result<Report, StoreError> {
        let bucket = self.setup.bucket;
        let Some(due) = self.follow(now).await? else { return Ok(Report::default()) };
        let Some(running) = &mut self.running else { return Ok(Report::default()) };
        let began = tokio::time::Instant::now();
        let mut events: Vec<AlertEvent> = Vec::new();
        let mut evaluated = 0;
        for at in due.buckets(bucket) {
            events.extend(write(&running.evaluator).advance(due.uptime.covers(at, bucket)));
            evaluated += 1;
        }
        let (from, at) = (due.from, due.to);
        let took = began.elapsed();
        metrics::counter!("burnwatch_evaluations_total").increment(evaluated);
        metrics::histogram!("burnwatch_evaluation_duration_seconds").record(took.as_secs_f64());
        metrics::gauge!("burnwatch_evaluation_lag_seconds").set((now - at).as_secs_f64());
        // Several at once were not on time; only the newest of them notifies.
        metrics::counter!("burnwatch_evaluations_skipped_total").increment(evaluated - 1);
        let mut events = if evaluated > 1 { newest(events, &running.alerts) } else { events };
        let mut queued = 0;
        let news = events.iter().any(|event| event.change.is_some());
        if news && self.setup.explainer.has_questions(running.desk.rules(), from, at) {
            // Free-form rules take their time; what objectives have found is told before.
            queued = self.commit(at, now, std::mem::take(&mut events), Part::First).await?;
            if queued > 0 {
                self.setup.deliver.notify_one();
            }
        }
        let Some(running) = &mut self.running else { return Ok(Report::default()) };
        let free = self.setup.explainer.ask_rules(&running.evaluator, &running.desk, &running.alerts, from, at).await;
        events.extend(free);
        queued += self.commit(at, now, events, Part::Last).await?;
        self.publish(at, now, Span::from(took));
        Ok(Report { evaluated: evaluated as usize, queued, more: false })
    }

    /// One evaluation's changes as one transaction, or the first part of them: whoever is killed after that evaluates it again, which
    /// finds the alerts as they stand.
    async fn commit(&mut self, at: Timestamp, now: Timestamp, events: Vec<AlertEvent>, part: Part) -> Result<usize, StoreError> {
        let Some(running) = &mut self.running else { return Ok(0) };
        let mut findings: Vec<Findings> = Vec::with_capacity(events.len());
        for event in &events {
            let opens = matches!(event.change, Some(AlertChange::Opened { .. }));
            findings.push(match opens {
                true => {
                    let found = self.setup.explainer.findings(&running.evaluator, &running.desk, event).await;
                    Findings { footing: Some(footing(&running.evaluator, &self.setup.flushed)), ..found }
                }
                false => Findings::default(),
            });
        }
        let durable = events.iter().any(|event| event.change.is_some());
        let mut tx = if durable { self.setup.store.write_durable().await? } else { self.setup.store.write().await? };
        if let Some(token) = self.token
            && !store::leases::fence(&mut tx, LEASE_NAME, token).await?
        {
            warn!("another replica took over evaluating");
            self.token = None;
            self.running = None;
            return Ok(0);
        }
        let (mut queued, mut opened) = (0, None);
        if durable {
            let silences = transition::load_silences(&mut tx, now).await?;
            let open = self.known.open(&mut tx).await?;
            let recent = transition::load_recent(&mut tx, at).await?;
            let make = self.setup.new_id;
            let mut outcomes: Vec<Outcome> = Vec::new();
            let mut states: Vec<((String, String), AlertState)> = Vec::new();
            let open = {
                let mut new_id = |_: &str, _: Timestamp| make();
                let mut book = Book::new(&running.desk, at, &silences, (open, recent), &mut new_id);
                for (event, found) in events.iter().zip(findings) {
                    let key = (event.rule.clone(), event.group.clone());
                    let known = running.alerts.get(&key).and_then(|state| state.incident.clone());
                    let mut state = event.state.clone();
                    state.incident.clone_from(&known);
                    if let Some(outcome) = book.alert(event, known.as_deref(), found) {
                        state.incident = Some(outcome.incident.id.clone());
                        outcomes.push(outcome);
                    }
                    if state.severity.is_none() {
                        state.incident = None;
                    }
                    states.push((key, state));
                }
                book.open
            };
            for (key, state) in states {
                remember(&mut tx, running, key, state, at).await?;
            }
            queued = transition::commit(&mut tx, &outcomes, at, &self.setup.public_url).await?;
            opened = Some((incidents::changes(&mut tx).await?, open));
            for outcome in &outcomes {
                log(&outcome.incident);
            }
        } else {
            for event in &events {
                let key = (event.rule.clone(), event.group.clone());
                let mut state = event.state.clone();
                state.incident = running.alerts.get(&key).and_then(|state| state.incident.clone());
                remember(&mut tx, running, key, state, at).await?;
            }
        }
        if part == Part::Last {
            store::progress::set(&mut tx, PROGRESS, at, "{}").await?;
        }
        let newly = self.setup.explainer.newly_asked(&running.asked);
        if !newly.is_empty() {
            Arc::make_mut(&mut running.asked).extend(newly);
            let names = serde_json::to_string(&*running.asked).expect("a list of texts always serialises");
            store::progress::set(&mut tx, ASKED, at, &names).await?;
        }
        tx.commit().await?;
        if let Some((changes, open)) = opened {
            self.known.keep(changes, open);
        }
        Ok(queued)
    }

    /// Opens, words anew or closes the incident about free-form rules that fail.
    async fn tell_of_failing(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let Some(running) = &self.running else { return Ok(0) };
        let health = self.setup.explainer.health(running.desk.rules());
        if health == self.health {
            return Ok(0);
        }
        let summary = match &health {
            Health::Unknown => return Ok(0),
            Health::Fine => None,
            Health::Failing(summary) => Some(summary.clone()),
        };
        let Setup { store, public_url, new_id, .. } = &self.setup;
        let queued = operator::report(store, &running.desk, Trouble::RuleFails, summary, now, public_url, *new_id).await?;
        self.health = health;
        Ok(queued)
    }

    /// Takes alerts from `/api/v2/alerts` into incidents. Says how many notifications were queued, and whether there may be more.
    async fn settle_posted(&mut self, now: Timestamp) -> Result<(usize, bool), StoreError> {
        let Some(running) = &self.running else { return Ok((0, false)) };
        let look = Look {
            store: &self.setup.store,
            desk: &running.desk,
            token: self.token,
            lease: LEASE_NAME,
            public_url: &self.setup.public_url,
            new_id: self.setup.new_id,
            now,
            known: &self.known,
            ticks: &mut self.ticks,
            deliver: &self.setup.deliver,
        };
        let (mut queued, began) = (0, tokio::time::Instant::now());
        let go_on = |report: &posted::Report| {
            report.outcomes.iter().for_each(|outcome| log(&outcome.incident));
            queued += report.queued;
            began.elapsed() < SETTLING
        };
        match posted::settle(&self.setup.posted, &mut self.looked, look, go_on).await? {
            End::Done => Ok((queued, false)),
            End::Stopped => Ok((queued, true)),
            End::Lost => {
                warn!("another replica took over evaluating");
                self.token = None;
                self.running = None;
                Ok((queued, false))
            }
        }
    }

    /// Lets time pass for open incidents.
    async fn pass_time(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let Some(running) = &mut self.running else { return Ok(0) };
        let ticking = Ticking {
            store: &self.setup.store,
            desk: &running.desk,
            token: self.token,
            lease: LEASE_NAME,
            public_url: &self.setup.public_url,
            bucket: self.setup.bucket,
            now,
            known: &self.known,
        };
        let Some(report) = tick::tick(&mut self.ticks, &ticking, &mut running.alerts).await? else {
            warn!("another replica took over evaluating");
            self.token = None;
            self.running = None;
            return Ok(0);
        };
        report.outcomes.iter().for_each(|outcome| log(&outcome.incident));
        Ok(report.queued)
    }

    /// Looks again at who is hit and why, while an incident lives (EXPLAIN 6).
    async fn refresh(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let at = read(&running.evaluator).evaluated_to();
        if at <= self.last_refresh {
            return Ok(());
        }
        self.last_refresh = at;
        let mut tx = self.setup.store.read().await?;
        let changes = incidents::changes(&mut tx).await?;
        let open = self.known.open(&mut tx).await?;
        drop(tx);
        let ids: HashSet<&str> = open.values().map(|incident| incident.id.as_str()).collect();
        self.explained.retain(|id, _| ids.contains(id.as_str()));
        let mut due = Vec::new();
        for incident in open.values() {
            let last = self.explained.entry(incident.id.clone()).or_insert(incident.opened_at);
            if crate::domain::explain::due(incident.opened_at, *last, at) {
                *last = at;
                due.push(incident.clone());
            }
        }
        self.known.keep(changes, open);
        for incident in due {
            let Some(input) = self.setup.explainer.refresh(&running.evaluator, &running.desk, &incident, at).await else { continue };
            let mut tx = self.setup.store.write().await?;
            if let Some(token) = self.token
                && !store::leases::fence(&mut tx, LEASE_NAME, token).await?
            {
                warn!("another replica took over evaluating");
                self.token = None;
                self.running = None;
                return Ok(());
            }
            transition::apply(&mut tx, &running.desk, &incident.id, input, now, &self.setup.public_url).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    fn publish(&mut self, at: Timestamp, now: Timestamp, took: Span) {
        let Some(running) = &mut self.running else { return };
        let slos = write(&running.evaluator).statuses();
        let rules = running.desk.rules();
        let standing: HashMap<(&str, &Labels), &SloStatus> =
            slos.iter().map(|status| ((status.slo.as_str(), &status.group), &**status)).collect();
        let alerts = running.alerts.iter().map(|((rule, group), state)| Arc::new(alert_status(rules, &standing, (rule, group), state)));
        let before = self.setup.snapshot.load();
        let snapshot = Snapshot {
            evaluated_at: Some(at),
            watermark: Some(at),
            lag: now - at,
            took,
            rules: rules.clone(),
            alerts: alerts.collect(),
            slos,
            asked: running.asked.clone(),
            silent_apps: read(&running.evaluator).silent_streams(5),
            events_late: self.setup.flushed.late(),
            series: self.setup.flushed.series.load(Ordering::Relaxed),
            folded: self.setup.flushed.folded.load(Ordering::Relaxed),
            ..Snapshot::clone(&before)
        };
        self.setup.snapshot.store(Arc::new(snapshot));
    }
}

/// How the telemetry stands, for what opens now.
fn footing(evaluator: &RwLock<Evaluator>, flushed: &Flushed) -> Footing {
    Footing::new(flushed.late(), read(evaluator).silent_streams(5), flushed.folded.load(Ordering::Relaxed))
}

// A panic inside one of these locks ends the process's evaluations anyway: the memory is rebuilt.
fn write(evaluator: &RwLock<Evaluator>) -> RwLockWriteGuard<'_, Evaluator> {
    evaluator.write().unwrap_or_else(PoisonError::into_inner)
}

fn read(evaluator: &RwLock<Evaluator>) -> RwLockReadGuard<'_, Evaluator> {
    evaluator.read().unwrap_or_else(PoisonError::into_inner)
}

/// Feeds a writer's partials after `last` into the evaluator; gives the number of the newest one.
async fn feed(tx: &mut Tx, evaluator: &RwLock<Evaluator>, writer: &str, mut last: i64) -> Result<i64, StoreError> {
    loop {
        let page = store::partial::after(tx, writer, last).await?;
        if page.is_empty() {
            return Ok(last);
        }
        let mut evaluator = write(evaluator);
        for row in &page {
            last = row.n;
            let fed = segment::read_runs(&row.data, |id, run| evaluator.add_run(id, run));
            if fed.is_err() {
                error!(writer, n = row.n, "a stored flush is damaged and was left out");
            }
        }
    }
}

/// The free-form rules of a set that were ever asked.
async fn load_asked(tx: &mut Tx, rules: &RuleSet) -> Result<BTreeSet<String>, StoreError> {
    let stored = store::progress::get(tx, ASKED).await?;
    let names: BTreeSet<String> = stored.and_then(|stored| serde_json::from_str(&stored.data).ok()).unwrap_or_default();
    Ok(rules.alerts.iter().filter(|rule| names.contains(&rule.name)).map(|rule| rule.name.clone()).collect())
}

/// Stores the state of an alert, or forgets it when nothing is left to know.
async fn remember(tx: &mut Tx, running: &mut Running, key: (String, String), state: AlertState, at: Timestamp) -> Result<(), StoreError> {
    write(&running.evaluator).set_incident(&key.0, &key.1, state.incident.clone());
    if state.is_idle() {
        store::alerts::delete(tx, &key.0, &key.1).await?;
        running.alerts.remove(&key);
    } else {
        let json = serde_json::to_string(&state).expect("plain data always serialises");
        store::alerts::save(tx, &key.0, &key.1, &json, at).await?;
        running.alerts.insert(key, state);
    }
    Ok(())
}

fn log(incident: &Incident) {
    info!(
        incident.id = %incident.id,
        status = incident.status.name(),
        severity = incident.severity.name(),
        service = %incident.service,
        users = incident.impact.affected_users,
        "incident `{}` is {}",
        incident.key,
        incident.status.name()
    );
}
