//! Tick: lets time pass for open incidents: group waits, reminders, escalations, ended mutes, removed rules.
//!
//! Most of the time nothing is due. Then a tick is two short reads: while no incident, no silence, no rule and no
//! hours have changed, the last look still says when the next one is worth it. Nothing is written, and nobody is
//! kept from writing, before a look has found something to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::alert::AlertState;
use crate::domain::desk::{Book, Desk, Outcome, Silence};
use crate::domain::incident::{Incident, Input, RULE_REMOVED};
use crate::domain::notification::Status;
use crate::domain::rule::RuleSet;
use crate::domain::time::{Span, Timestamp};
use crate::store::{self, Store, StoreError, Tx, incidents, transition};

use super::known::Known;

/// What is remembered from one tick to the next.
#[derive(Default)]
pub struct Ticks {
    still: Option<Still>,
    /// How often all open incidents were looked at.
    #[cfg(test)]
    looks: usize,
}

/// What held when a look found nothing to do.
struct Still {
    at: Timestamp,
    /// Nothing is due by itself before.
    until: Option<Timestamp>,
    desk: Arc<Desk>,
    seen: Seen,
}

/// What a look depends on, beside the rules and time.
#[derive(PartialEq)]
struct Seen {
    incidents: String,
    silences: Vec<Silence>,
    hours: Vec<bool>,
}

/// What a tick needs.
pub struct Ticking<'a> {
    pub store: &'a Store,
    pub desk: &'a Arc<Desk>,
    pub token: Option<i64>,
    pub lease: &'a str,
    pub public_url: &'a str,
    pub bucket: Span,
    pub now: Timestamp,
    pub known: &'a Known,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub queued: usize,
    pub outcomes: Vec<Outcome>,
}

/// What a look found to do.
struct Due {
    outcomes: Vec<Outcome>,
    /// Alerts whose rule is gone.
    removed: Vec<(String, String)>,
    next: Option<Timestamp>,
    /// The incidents as they are after it.
    open: BTreeMap<String, Incident>,
}

impl Due {
    fn is_nothing(&self) -> bool {
        self.outcomes.is_empty() && self.removed.is_empty()
    }
}

type Alerts = BTreeMap<(String, String), AlertState>;

/// Does what is due. `None`: another replica has the lease.
pub async fn tick(ticks: &mut Ticks, ticking: &Ticking<'_>, alerts: &mut Alerts) -> Result<Option<Report>, StoreError> {
    let now = ticking.now;
    let mut tx = ticking.store.read().await?;
    let seen = look_at(&mut tx, ticking).await?;
    if let Some(still) = &ticks.still
        && still.at <= now
        && still.until.is_none_or(|until| now < until)
        && Arc::ptr_eq(&still.desk, ticking.desk)
        && still.seen == seen
    {
        return Ok(Some(Report::default()));
    }
    #[cfg(test)]
    {
        ticks.looks += 1;
    }
    let due = due(&mut tx, ticking, &seen.silences, alerts).await?;
    drop(tx);
    if due.is_nothing() {
        ticking.known.keep(seen.incidents.clone(), due.open);
        ticks.still = Some(Still { at: now, until: due.next, desk: ticking.desk.clone(), seen });
        return Ok(Some(Report::default()));
    }
    ticks.still = None;
    // Somebody may have done something in between: what is written is found under the lock.
    let mut tx = ticking.store.write_durable().await?;
    if let Some(token) = ticking.token
        && !store::leases::fence(&mut tx, ticking.lease, token).await?
    {
        return Ok(None);
    }
    let silences = transition::load_silences(&mut tx, now).await?;
    let found = self::due(&mut tx, ticking, &silences, alerts).await?;
    for (rule, group) in &found.removed {
        store::alerts::delete(&mut tx, rule, group).await?;
    }
    let queued = transition::commit(&mut tx, &found.outcomes, now, ticking.public_url).await?;
    let changes = incidents::changes(&mut tx).await?;
    tx.commit().await?;
    ticking.known.keep(changes, found.open);
    found.removed.iter().for_each(|key| {
        alerts.remove(key);
    });
    Ok(Some(Report { queued, outcomes: found.outcomes }))
}

async fn look_at(tx: &mut Tx, ticking: &Ticking<'_>) -> Result<Seen, StoreError> {
    let incidents = incidents::changes(tx).await?;
    let silences = transition::load_silences(tx, ticking.now).await?;
    Ok(Seen { incidents, silences, hours: ticking.desk.hours(ticking.now) })
}

async fn due(tx: &mut Tx, ticking: &Ticking<'_>, silences: &[Silence], alerts: &Alerts) -> Result<Due, StoreError> {
    let rules = ticking.desk.rules();
    let open = ticking.known.open(tx).await?;
    let gone = orphans(&open, rules);
    let mut no_new = |_: &str, _: Timestamp| String::new();
    // An alert ends at the start of a bucket, whatever ends it.
    let at = ticking.now.floor(ticking.bucket);
    let mut book = Book::new(ticking.desk, at, silences, (open, BTreeMap::new()), &mut no_new);
    let mut outcomes = Vec::new();
    for (incident, alert) in gone {
        outcomes.extend(book.input(&incident, Input::AlertEnded { alert, reason: RULE_REMOVED.into() }));
    }
    book.now = ticking.now;
    outcomes.extend(book.tick());
    let next = if outcomes.is_empty() { book.next_tick() } else { None };
    let removed = alerts.keys().filter(|(rule, _)| !has_rule(rules, rule)).cloned().collect();
    Ok(Due { outcomes, removed, next, open: book.open })
}

/// Firing alerts of open incidents whose rule is gone: incident and alert.
fn orphans(open: &BTreeMap<String, Incident>, rules: &RuleSet) -> Vec<(String, String)> {
    let mut gone = Vec::new();
    for incident in open.values().filter(|incident| incident.status != Status::Resolved) {
        for member in incident.members.iter().filter(|member| member.firing && !has_rule(rules, &member.rule)) {
            // What came from outside has no rule here, and ends by itself.
            if !member.is_operator() && !member.is_posted() {
                gone.push((incident.id.clone(), member.alert.clone()));
            }
        }
    }
    gone
}

fn has_rule(rules: &RuleSet, name: &str) -> bool {
    rules.slos.iter().any(|slo| slo.name == name && slo.enabled) || rules.alerts.iter().any(|rule| rule.name == name && rule.enabled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::AlertChange;
    use crate::domain::desk::Findings;
    use crate::domain::evaluate::AlertEvent;
    use crate::domain::filter::{Filter, Match};
    use crate::domain::notification::Figures;
    use crate::domain::rule::{CodeSilence, Field, Receiver, ReceiverKind, Route, Severity};
    use crate::store::silences::{self, SilenceRow};

    const T0: Timestamp = Timestamp(1_790_000_000_000);

    fn at(secs: i64) -> Timestamp {
        T0 + Span::seconds(secs)
    }

    struct Bench {
        store: Store,
        desk: Arc<Desk>,
        ticks: Ticks,
        alerts: Alerts,
        known: Known,
        _folder: tempfile::TempDir,
    }

    fn filter(label: &str, value: &str) -> Filter {
        Filter([(label.to_owned(), Match::parse(value).unwrap())].into())
    }

    fn rules() -> RuleSet {
        let pager = Receiver {
            name: "pager".into(),
            place: Default::default(),
            timeout: Span::seconds(5),
            send_resolved: true,
            callback_secret: None,
            template: None,
            kind: ReceiverKind::Teams { url: Field::Plain(String::new()) },
        };
        let route = Route {
            place: Default::default(),
            when: Filter::default(),
            to: vec!["pager".into()],
            group_by: Some(vec!["service".into()]),
            group_wait: Some(Span::seconds(10)),
            group_interval: None,
            repeat: Some(Span::hours(1)),
            escalate: vec![],
            fallthrough: false,
            active: vec![],
            mute: vec![],
            takes_off: Default::default(),
            routes: vec![],
        };
        RuleSet { receivers: vec![pager], routes: vec![route], ..RuleSet::default() }
    }

    impl Bench {
        /// With an alert about burnwatch itself, which needs no rule, opened at [`T0`].
        async fn new() -> Bench {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", folder.path().join("data/burnwatch.db").display());
            let store = Store::open(&url, T0).await.unwrap();
            let desk = Arc::new(Desk::new(Arc::new(rules())));
            let mut bench = Bench { store, desk, ticks: Ticks::default(), alerts: Alerts::new(), known: Known::default(), _folder: folder };
            bench.open("shop").await;
            bench
        }

        async fn open(&mut self, service: &str) {
            let labels = [("service", service), ("kind", "operator")].map(|(k, v)| (k.into(), v.into())).into();
            let event = AlertEvent {
                at: T0,
                rule: "stale".into(),
                group: service.into(),
                labels,
                change: Some(AlertChange::Opened { severity: Severity::Page }),
                tiers: vec![],
                figures: Figures::default(),
                summary: "it burns".into(),
                reason: String::new(),
                subject: None,
                state: AlertState::default(),
            };
            let mut tx = self.store.write().await.unwrap();
            let outcome = {
                let mut new_id = |_: &str, _: Timestamp| format!("i-{service}");
                let mut book = Book::new(&self.desk, T0, &[], Default::default(), &mut new_id);
                book.alert(&event, None, Findings::default()).unwrap()
            };
            transition::commit(&mut tx, &[outcome], T0, "http://x").await.unwrap();
            tx.commit().await.unwrap();
        }

        /// How many notifications a tick queued, and whether it looked at the incidents for that.
        async fn tick(&mut self, secs: i64) -> (usize, bool) {
            let before = self.ticks.looks;
            let ticking = Ticking {
                store: &self.store,
                desk: &self.desk,
                token: None,
                lease: "evaluate",
                public_url: "http://x",
                bucket: Span::MINUTE,
                now: at(secs),
                known: &self.known,
            };
            let report = tick(&mut self.ticks, &ticking, &mut self.alerts).await.unwrap().unwrap();
            (report.queued, self.ticks.looks > before)
        }
    }

    #[tokio::test]
    async fn while_nothing_is_due_nothing_is_looked_at_or_written() {
        let mut bench = Bench::new().await;
        assert_eq!(bench.tick(1).await, (0, true));
        // A writer who is at work keeps no idle tick waiting.
        let busy = bench.store.write().await.unwrap();
        for secs in [2, 5, 9] {
            let tick = tokio::time::timeout(std::time::Duration::from_secs(2), bench.tick(secs));
            assert_eq!(tick.await.expect("it needs no lock"), (0, false));
        }
        drop(busy);
        assert_eq!(bench.tick(10).await, (1, true), "the group wait is over");
        assert_eq!(bench.tick(11).await, (0, true));
        assert_eq!(bench.tick(12).await, (0, false));
        assert_eq!(bench.tick(3_609).await.0, 0);
        assert_eq!(bench.tick(3_610).await, (1, true), "the reminder");
    }

    #[tokio::test]
    async fn what_changes_in_between_is_seen_by_the_next_tick() {
        let mut bench = Bench::new().await;
        bench.tick(10).await;
        bench.tick(11).await;
        assert_eq!(bench.tick(12).await, (0, false));
        // Another process opens an incident.
        bench.open("pay").await;
        assert_eq!(bench.tick(13).await, (1, true));
        bench.tick(14).await;
        assert_eq!(bench.tick(15).await, (0, false));
        // Somebody silences, and the silence ends.
        let silence = SilenceRow {
            id: "s".into(),
            matchers: r#"["service=shop"]"#.into(),
            starts_at: at(20),
            ends_at: at(30),
            author: "ada".into(),
            comment: String::new(),
            created_at: T0,
            updated_at: T0,
            expired_at: None,
        };
        let mut tx = bench.store.write().await.unwrap();
        silences::insert(&mut tx, &silence).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(bench.tick(16).await, (0, false));
        assert_eq!(bench.tick(20).await, (0, true));
        bench.tick(21).await;
        assert_eq!(bench.tick(22).await, (0, false));
        assert_eq!(bench.tick(30).await, (1, true), "it still fires when the silence ends");
        bench.tick(31).await;
        // The hours of the rules, and then other rules.
        let quiet = CodeSilence {
            name: "quiet".into(),
            place: Default::default(),
            when: filter("service", "pay"),
            starts: Some(at(50)),
            ends: at(60),
            author: "ada".into(),
            comment: String::new(),
        };
        bench.desk = Arc::new(Desk::new(Arc::new(RuleSet { silences: vec![quiet], ..rules() })));
        assert_eq!(bench.tick(40).await, (0, true), "other rules");
        assert_eq!(bench.tick(41).await, (0, false));
        assert_eq!(bench.tick(50).await, (0, true));
        bench.tick(51).await;
        assert_eq!(bench.tick(59).await, (0, false));
        assert_eq!(bench.tick(60).await, (1, true));
        // A clock that goes back is no reason to trust what was known.
        bench.tick(61).await;
        assert!(bench.tick(55).await.1);
    }

    #[tokio::test]
    async fn an_alert_whose_rule_is_gone_ends_once() {
        let mut bench = Bench::new().await;
        bench.alerts.insert(("gone".into(), String::new()), AlertState::default());
        assert!(bench.tick(1).await.1);
        assert!(bench.alerts.is_empty());
    }
}
