//! Tick: lets time pass for open incidents: group waits, reminders, escalations, ended mutes, removed rules.
//!
//! Most of the time nothing is due. Then a tick is two short reads: while no incident, no silence, no rule and no
//! hours have changed, the last look still says when the next one is worth it, and at which incidents. What this
//! process itself did to incidents in between is [noted](Ticks::note), so that a look is at those, however many
//! others are open. Nothing is written, and nobody is kept from writing, before a look has found something to do.

mod agenda;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::domain::alert::AlertState;
use crate::domain::desk::{Book, Desk, Outcome, Silence};
use crate::domain::incident::{Incident, Input, RULE_REMOVED};
use crate::domain::notification::Status;
use crate::domain::rule::RuleSet;
use crate::domain::time::{Span, Timestamp};
use crate::store::{self, Store, StoreError, Tx, incidents, transition};

use self::agenda::Agenda;
use super::known::Known;

/// What is remembered from one tick to the next.
#[derive(Default)]
pub struct Ticks {
    still: Option<Still>,
    /// How often incidents were looked at, and how many of them.
    #[cfg(test)]
    looks: usize,
    #[cfg(test)]
    looked_at: usize,
}

/// What held when the last look was made, and what that found.
struct Still {
    at: Timestamp,
    desk: Arc<Desk>,
    seen: Seen,
    agenda: Agenda,
}

/// What a look depends on, beside the rules and time.
#[derive(PartialEq)]
struct Seen {
    /// The store's count of changes of incidents.
    incidents: String,
    silences: Vec<Silence>,
    hours: Vec<bool>,
}

/// Which incidents a look is at.
#[derive(Clone)]
enum Scope {
    All,
    /// Those of these keys.
    Some(BTreeSet<String>),
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
    scope: Scope,
    outcomes: Vec<Outcome>,
    /// Alerts whose rule is gone.
    removed: Vec<(String, String)>,
    /// When each incident that was looked at is worth another look, if there is nothing to do.
    next: Vec<(String, Option<Timestamp>)>,
    /// Whether each incident that something is done to stands alone.
    alone: bool,
    /// The open incidents as they are after it.
    open: Open,
    /// Those that were looked at, as they were before it; of a look at all of them `None`.
    before: Option<Vec<Incident>>,
}

impl Due {
    fn is_nothing(&self) -> bool {
        self.outcomes.is_empty() && self.removed.is_empty()
    }

    /// The open incidents as they were before it, if that is known.
    fn undone(mut self) -> Option<Open> {
        self.open.extend(self.before?.into_iter().map(|incident| (incident.key.clone(), incident)));
        Some(self.open)
    }
}

/// Open incidents by key.
type Open = BTreeMap<String, Incident>;

type Alerts = BTreeMap<(String, String), AlertState>;

impl Ticks {
    /// This process changed these incidents in one transaction, which found the store's count of changes at `before` and left it
    /// at `after`. `alone`: each of them [stands alone](Book::stands_alone).
    pub fn note(&mut self, before: &str, after: &str, outcomes: &[Outcome], alone: bool) {
        if outcomes.is_empty() {
            return;
        }
        let Some(still) = self.still.as_mut().filter(|still| alone && still.seen.incidents == before) else {
            // Everything is looked at anew.
            return self.still = None;
        };
        after.clone_into(&mut still.seen.incidents);
        outcomes.iter().for_each(|outcome| still.agenda.touch(&outcome.incident.key));
    }

    /// What is to be looked at; `None`: nothing.
    fn scope(&self, ticking: &Ticking<'_>, seen: &Seen) -> Option<Scope> {
        let now = ticking.now;
        let Some(still) = self.still.as_ref().filter(|still| still.holds(ticking, seen)) else { return Some(Scope::All) };
        still.agenda.is_ready(now).then(|| Scope::Some(still.agenda.ready(now)))
    }

    /// Takes down what a look found when it found nothing to do.
    fn settle(&mut self, ticking: &Ticking<'_>, seen: Seen, scope: &Scope, next: Vec<(String, Option<Timestamp>)>) {
        let mut agenda = match (scope, self.still.take()) {
            (Scope::Some(_), Some(still)) => still.agenda,
            _ => Agenda::default(),
        };
        if let Scope::Some(keys) = scope {
            keys.iter().for_each(|key| agenda.forget(key));
        }
        next.into_iter().for_each(|(key, until)| agenda.wait(key, until));
        self.still = Some(Still { at: ticking.now, desk: ticking.desk.clone(), seen, agenda });
    }

    #[cfg(test)]
    fn count(&mut self, found: &Due) {
        self.looks += 1;
        self.looked_at += match &found.scope {
            Scope::All => found.open.len(),
            Scope::Some(keys) => keys.len(),
        };
    }
}

impl Still {
    fn holds(&self, ticking: &Ticking<'_>, seen: &Seen) -> bool {
        self.at <= ticking.now && Arc::ptr_eq(&self.desk, ticking.desk) && self.seen == *seen
    }
}

/// Does what is due. `None`: another replica has the lease.
pub async fn tick(ticks: &mut Ticks, ticking: &Ticking<'_>, alerts: &mut Alerts) -> Result<Option<Report>, StoreError> {
    let now = ticking.now;
    let mut tx = ticking.store.read().await?;
    let seen = look_at(&mut tx, ticking).await?;
    let Some(scope) = ticks.scope(ticking, &seen) else { return Ok(Some(Report::default())) };
    let due = due(&mut tx, ticking, &seen.silences, alerts, scope).await?;
    drop(tx);
    #[cfg(test)]
    ticks.count(&due);
    if due.is_nothing() {
        ticking.known.keep(seen.incidents.clone(), due.open);
        ticks.settle(ticking, seen, &due.scope, due.next);
        return Ok(Some(Report::default()));
    }
    if let Some(open) = due.undone() {
        ticking.known.keep(seen.incidents, open);
    }
    // Somebody may have done something in between: what is written is found under the lock.
    let mut tx = ticking.store.write_durable().await?;
    if let Some(token) = ticking.token
        && !store::leases::fence(&mut tx, ticking.lease, token).await?
    {
        return Ok(None);
    }
    let found_now = look_at(&mut tx, ticking).await?;
    let scope = ticks.scope(ticking, &found_now).unwrap_or(Scope::All);
    let found = self::due(&mut tx, ticking, &found_now.silences, alerts, scope).await?;
    for (rule, group) in &found.removed {
        store::alerts::delete(&mut tx, rule, group).await?;
    }
    let queued = transition::commit(&mut tx, &found.outcomes, now, ticking.public_url).await?;
    let changes = incidents::changes(&mut tx).await?;
    tx.commit().await?;
    ticks.note(&found_now.incidents, &changes, &found.outcomes, found.alone);
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

async fn due(tx: &mut Tx, ticking: &Ticking<'_>, silences: &[Silence], alerts: &Alerts, scope: Scope) -> Result<Due, StoreError> {
    let mut no_new = |_: &str, _: Timestamp| String::new();
    // An alert ends at the start of a bucket, whatever ends it.
    let at = ticking.now.floor(ticking.bucket);
    let open = ticking.known.open(tx).await?;
    let mut book = Book::new(ticking.desk, at, silences, (open, BTreeMap::new()), &mut no_new);
    let alone = |key: &String| book.open.get(key).is_none_or(|incident| book.stands_alone(incident));
    let scope = match scope {
        Scope::Some(keys) if keys.iter().all(alone) => Scope::Some(keys),
        // Families and inhibition reach from one incident to another.
        Scope::Some(_) | Scope::All => Scope::All,
    };
    let mut outcomes = Vec::new();
    let (mut removed, mut before) = (Vec::new(), None);
    match &scope {
        Scope::Some(keys) => {
            before = Some(keys.iter().filter_map(|key| book.open.get(key).cloned()).collect());
            book.now = ticking.now;
            outcomes.extend(book.tick_some(keys.iter().cloned()));
        }
        Scope::All => {
            // A rule goes with its rule set, and other rules are a reason to look at everything.
            let enabled = enabled(ticking.desk.rules());
            for (incident, alert) in orphans(&book.open, &enabled) {
                outcomes.extend(book.input(&incident, Input::AlertEnded { alert, reason: RULE_REMOVED.into() }));
            }
            book.now = ticking.now;
            outcomes.extend(book.tick());
            removed = alerts.keys().filter(|(rule, _)| !enabled.contains(rule.as_str())).cloned().collect();
        }
    }
    let next = match &scope {
        _ if !outcomes.is_empty() => Vec::new(),
        Scope::Some(keys) => book.next_ticks(keys.iter().cloned()),
        Scope::All => book.next_ticks(book.open.keys().cloned().collect::<Vec<_>>()),
    };
    let alone = outcomes.iter().all(|outcome| book.stands_alone(&outcome.incident));
    Ok(Due { outcomes, removed, next, alone, before, open: book.open, scope })
}

/// Firing alerts of open incidents whose rule is gone: incident and alert.
fn orphans(open: &Open, enabled: &HashSet<&str>) -> Vec<(String, String)> {
    let mut gone = Vec::new();
    for incident in open.values().filter(|incident| incident.status != Status::Resolved) {
        for member in incident.members.iter().filter(|member| member.firing && !enabled.contains(member.rule.as_str())) {
            // What came from outside has no rule here, and ends by itself.
            if !member.is_operator() && !member.is_posted() {
                gone.push((incident.id.clone(), member.alert.clone()));
            }
        }
    }
    gone
}

/// The names of the rules that are evaluated.
fn enabled(rules: &RuleSet) -> HashSet<&str> {
    let slos = rules.slos.iter().filter(|slo| slo.enabled).map(|slo| slo.name.as_str());
    slos.chain(rules.alerts.iter().filter(|rule| rule.enabled).map(|rule| rule.name.as_str())).collect()
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

    /// An alert about burnwatch itself, which needs no rule.
    fn opens(service: &str, at: Timestamp) -> AlertEvent {
        let labels = [("service", service), ("kind", "operator")].map(|(k, v)| (k.into(), v.into())).into();
        AlertEvent {
            at,
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
        }
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
            let event = opens(service, T0);
            let now = event.at;
            self.change(now, |book| book.alert(&event, None, Findings::default())).await;
        }

        /// Something happens to an incident in another process. Gives the counts of changes before and after, and what came of it.
        async fn change(
            &mut self,
            now: Timestamp,
            act: impl FnOnce(&mut Book<'_>) -> Option<Outcome>,
        ) -> (String, String, Vec<Outcome>, bool) {
            let mut tx = self.store.write().await.unwrap();
            let before = incidents::changes(&mut tx).await.unwrap();
            let open = transition::load_open(&mut tx).await.unwrap();
            let (outcomes, alone) = {
                let mut new_id = |key: &str, _: Timestamp| format!("i-{key}");
                let mut book = Book::new(&self.desk, now, &[], (open, BTreeMap::new()), &mut new_id);
                let outcomes: Vec<Outcome> = act(&mut book).into_iter().collect();
                let alone = outcomes.iter().all(|outcome| book.stands_alone(&outcome.incident));
                (outcomes, alone)
            };
            transition::commit(&mut tx, &outcomes, now, "http://x").await.unwrap();
            let after = incidents::changes(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
            (before, after, outcomes, alone)
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

    /// A night of forty incidents, looked at each second: what was queued, when and for which, and how many incidents were looked at.
    async fn night(noting: bool) -> (Vec<(Timestamp, String, String)>, usize) {
        let mut bench = Bench::new().await;
        for secs in 0..200 {
            let services: Vec<String> = (0..40).map(|n| format!("s{n:02}")).collect();
            // One opens every four seconds; one in five is acknowledged, one in seven ends and one in three is snoozed.
            let act = |book: &mut Book<'_>| {
                let n = (secs / 4) as usize;
                let service = services.get(n % 40)?;
                let id = book.open.values().find(|incident| incident.service == *service).map(|incident| incident.id.clone());
                match (secs % 4, id) {
                    (0, None) if n < 40 => book.alert(&opens(service, at(secs)), None, Findings::default()),
                    (1, Some(id)) if n.is_multiple_of(5) => book.input(&id, Input::Acknowledge { by: "ada".into() }),
                    (2, Some(id)) if n.is_multiple_of(7) => book.input(&id, Input::Resolve { by: "ada".into(), why: "over".into() }),
                    (3, Some(id)) if n.is_multiple_of(3) => book.input(&id, Input::Snooze { by: "ada".into(), until: at(secs + 20) }),
                    _ => None,
                }
            };
            let (before, after, outcomes, alone) = bench.change(at(secs), act).await;
            if noting {
                bench.ticks.note(&before, &after, &outcomes, alone);
            }
            bench.tick(secs).await;
        }
        let mut tx = bench.store.read().await.unwrap();
        let filter = crate::store::outbox::Filter::default();
        let (rows, _) = crate::store::outbox::list(&mut tx, &filter, None, 1_000).await.unwrap();
        let mut told: Vec<_> = rows.into_iter().map(|row| (row.created_at, row.incident, row.kind)).collect();
        told.sort();
        (told, bench.ticks.looked_at)
    }

    #[tokio::test]
    async fn a_look_at_those_that_something_happened_to_brings_what_a_look_at_all_brings() {
        let (noted, few) = night(true).await;
        let (whole, all) = night(false).await;
        assert!(whole.len() > 40, "{whole:?}");
        assert_eq!(noted, whole);
        assert!(few * 5 < all, "{few} against {all} looks at an incident");
    }

    #[tokio::test]
    async fn an_alert_whose_rule_is_gone_ends_once() {
        let mut bench = Bench::new().await;
        bench.alerts.insert(("gone".into(), String::new()), AlertState::default());
        assert!(bench.tick(1).await.1);
        assert!(bench.alerts.is_empty());
    }
}
