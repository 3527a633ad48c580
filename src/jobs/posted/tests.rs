//! Alerts that come while a look is under way.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::domain::desk::fixtures;
use crate::domain::rule::{Labels, Route, RuleSet};
use crate::domain::time::Span;
use crate::jobs::known::Known;
use crate::jobs::tick::Ticks;
use crate::store::{incidents, outbox};

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const SOON: Duration = Duration::from_millis(100);

fn alert(name: &str, summary: &str) -> Posted {
    let labels: Labels = [("alertname".to_owned(), name.to_owned())].into();
    Posted {
        labels: posted::Packed::new(&labels),
        annotations: format!(r#"{{"summary":"{summary}"}}"#).into(),
        generator: "".into(),
        starts: NOW,
        ends: NOW + Span::HOUR,
        timed: false,
        updated: NOW,
    }
}

fn summaries(shared: &Shared) -> Vec<String> {
    let mut all: Vec<String> = shared.read().entries().map(|(_, entry)| entry.alert.summary()).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_a_look_is_at_waits_for_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("b.db").display());
    let store = Store::open(&url, NOW).await.unwrap();
    let (shared, stop) = (Shared::default(), CancellationToken::new());
    let desk = Arc::new(arc_swap::ArcSwap::from_pointee(Desk::new(Arc::new(RuleSet::default()))));
    let (receiver, post) = Receiver::new(store, shared.clone(), desk, Arc::default());
    let running = tokio::spawn(receiver.run(stop.clone()));
    post.post(vec![alert("a", "a fails")], NOW).await.unwrap();

    let gate = shared.gate().await;
    let (work, _) = shared.begin_look(NOW, 10);
    assert_eq!(work.fresh.len(), 1);
    timeout(Duration::from_secs(10), post.post(vec![alert("b", "b fails")], NOW)).await.expect("nobody is at it").unwrap();
    assert_eq!(summaries(&shared), ["a fails", "b fails"]);
    let mut changing = std::pin::pin!(post.post(vec![alert("a", "a fails more")], NOW));
    timeout(SOON, &mut changing).await.expect_err("the look is at it");
    assert_eq!(summaries(&shared), ["a fails", "b fails"]);
    // The look takes it into an incident; that it has changed since is news for the next one.
    shared.end_look(|board| board.stand(work.fresh[0], posted::Standing::Joined { incident: "i".into() }));
    drop(gate);
    changing.await.unwrap();
    assert_eq!(summaries(&shared), ["a fails more", "b fails"]);
    let (work, _) = shared.begin_look(NOW, 10);
    assert_eq!((work.fresh.len(), work.changed.len()), (1, 1));
    stop.cancel();
    running.await.unwrap();
}

fn desk() -> Desk {
    let route = Route { group_by: Some(vec!["alertname".into()]), group_wait: Some(Span::ZERO), ..fixtures::route(&[], &["pager"]) };
    Desk::new(Arc::new(RuleSet { receivers: vec![fixtures::receiver("pager")], routes: vec![route], ..RuleSet::default() }))
}

/// What settles alerts, as often as it is asked to.
struct Settler {
    store: Store,
    shared: Shared,
    desk: Arc<Desk>,
    looked: Looked,
    known: Known,
    ticks: Ticks,
    new_id: fn() -> String,
}

impl Settler {
    async fn settle(&mut self) -> Result<usize, StoreError> {
        let Settler { store, shared, desk, looked, known, ticks, new_id } = self;
        let look = Look {
            store,
            desk,
            token: None,
            lease: "evaluate",
            public_url: "http://x",
            new_id: *new_id,
            now: NOW,
            known,
            ticks,
            deliver: &Arc::default(),
        };
        let mut queued = 0;
        let end = settle(shared, looked, look, |report| {
            queued += report.queued;
            true
        });
        assert_eq!(end.await?, End::Done);
        Ok(queued)
    }
}

/// Alerts on the board that no incident has, and that one has.
fn standings(shared: &Shared) -> (usize, usize) {
    let board = shared.read();
    let joined = board.entries().filter(|(_, entry)| matches!(entry.standing, posted::Standing::Joined { .. })).count();
    (board.len() - joined, joined)
}

/// A store, a board with so many alerts that none of them is looked at with all others, and what settles them.
async fn storm(alerts: usize) -> (tempfile::TempDir, Settler) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("b.db").display());
    let store = Store::open(&url, NOW).await.unwrap();
    let (shared, stop) = (Shared::default(), CancellationToken::new());
    let (receiver, post) = Receiver::new(store.clone(), shared.clone(), Arc::new(arc_swap::ArcSwap::from_pointee(desk())), Arc::default());
    let running = tokio::spawn(receiver.run(stop.clone()));
    post.post((0..alerts).map(|n| alert(&format!("a{n}"), "it fails")).collect(), NOW).await.unwrap();
    stop.cancel();
    running.await.unwrap();
    let desk = Arc::new(desk());
    let (looked, known, ticks) = (Looked::default(), Known::default(), Ticks::default());
    let settler = Settler { store, shared, desk, looked, known, ticks, new_id: crate::chance::id };
    (folder, settler)
}

/// Incidents that are open, deliveries of them, and alerts of the table that an incident has.
async fn stored(store: &Store) -> (usize, usize, usize) {
    let mut tx = store.read().await.unwrap();
    let open = incidents::open(&mut tx).await.unwrap();
    let (queued, _) = outbox::list(&mut tx, &Default::default(), None, 100_000).await.unwrap();
    let rows = store::posted::after(&mut tx, 0).await.unwrap();
    let joined = rows.iter().filter(|row| open.iter().any(|incident| incident.id == row.incident)).count();
    (open.len(), queued.len(), joined)
}

const STORM: usize = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_are_made_ahead_hold_or_are_made_again() {
    // Another process changes an incident after two looks were planned and before the first of them is written.
    let (_folder, mut settler) = storm(STORM).await;
    let (store, shared) = (settler.store.clone(), settler.shared.clone());
    let mut tx = store.write().await.unwrap();
    let settling = tokio::spawn(async move { (settler.settle().await, settler) });
    while standings(&shared) != (0, STORM) {
        tokio::task::yield_now().await;
    }
    incidents::touch(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let (queued, mut settler) = settling.await.unwrap();
    assert_eq!(queued.unwrap(), STORM);
    assert_eq!(stored(&store).await, (STORM, STORM, STORM));
    assert_eq!(standings(&shared), (0, STORM));
    assert_eq!(settler.settle().await.unwrap(), 0, "nobody is told twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_cannot_be_written_leaves_alerts_as_they_were() {
    let (_folder, mut settler) = storm(STORM).await;
    let (store, shared) = (settler.store.clone(), settler.shared.clone());
    // No two incidents may have one id.
    settler.new_id = || "i".into();
    settler.settle().await.unwrap_err();
    assert_eq!(stored(&store).await, (0, 0, 0));
    assert_eq!(standings(&shared), (STORM, 0));
    settler.new_id = crate::chance::id;
    assert_eq!(settler.settle().await.unwrap(), STORM);
    assert_eq!((stored(&store).await, standings(&shared)), ((STORM, STORM, STORM), (0, STORM)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_come_while_one_waits_for_the_writer_are_stored_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("b.db").display());
    let store = Store::open(&url, NOW).await.unwrap();
    let stop = CancellationToken::new();
    let desk = Arc::new(arc_swap::ArcSwap::from_pointee(desk()));
    let (receiver, post) = Receiver::new(store.clone(), Shared::default(), desk, Arc::default());
    let running = tokio::spawn(receiver.run(stop.clone()));
    let writer = store.write().await.unwrap();
    let posts = ["a", "b", "c"].map(|name| {
        let post = post.clone();
        tokio::spawn(async move { post.post(vec![alert(name, "it fails")], NOW).await })
    });
    // One of them waits for the writer.
    while post.0.capacity() != QUEUE - 2 {
        tokio::task::yield_now().await;
    }
    drop(writer);
    for post in posts {
        post.await.unwrap().unwrap();
    }
    let rows = store::posted::after(&mut store.read().await.unwrap(), 0).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1; 3], "one transaction");
    stop.cancel();
    running.await.unwrap();
}
