//! Ticks: what is looked at when, and that it brings what a look at everything brings.

use super::*;
use crate::domain::alert::AlertChange;
use crate::domain::desk::{Findings, fixtures};
use crate::domain::evaluate::AlertEvent;
use crate::domain::filter::{Filter, Match};
use crate::domain::notification::Figures;
use crate::domain::rule::{CodeSilence, Route, Severity};
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
    let route = Route {
        group_by: Some(vec!["service".into()]),
        group_wait: Some(Span::seconds(10)),
        repeat: Some(Span::hours(1)),
        ..fixtures::route(&[], &["pager"])
    };
    RuleSet { receivers: vec![fixtures::receiver("pager")], routes: vec![route], ..RuleSet::default() }
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
    async fn change(&mut self, now: Timestamp, act: impl FnOnce(&mut Book<'_>) -> Option<Outcome>) -> (String, String, Vec<Outcome>, bool) {
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
