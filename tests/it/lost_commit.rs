//! The answer to a COMMIT is lost, or the COMMIT itself, or it arrives when nobody expects it any more: what is stored, told and
//! shown in the end is what it would have been, once.

use std::sync::Arc;

use burnwatch::domain::posted::{Packed, Posted};
use burnwatch::domain::rule::Labels;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::jobs::posted;
use burnwatch::store::{Store, StoreError, attempts, events, incidents, outbox};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::postgres;
use super::proxy::{Loss, Wire};
use super::scenarios::{START, STEP, Stage};

const RULES: &str = r#"
    slo("api", #{ objective: 99, service: "shop", sli: good("request", #{ app: "shop" }),
        alert: page(#{ long: "1m", short: "20s", factor: 5 }) });
    receiver("pager", webhook(#{ url: "HOOK/pager" }));
    receiver("flaky", webhook(#{ url: "HOOK/flaky" }));
    route(#{ to: ["pager", "flaky"], group_wait: "0s" });
"#;

fn requests(failing: bool) -> Vec<Value> {
    let request = |at: u64| json!({ "kind": "request", "path": "/api", "status": if failing && at < 5 { 500 } else { 200 } });
    vec![json!({ "app": "shop", "user": "u", "events": (0..20).map(request).collect::<Vec<_>>() })]
}

/// Everything that a run leaves behind, without the ids that are drawn anew each time.
#[derive(Debug, PartialEq)]
struct Traces {
    /// Total and bad events.
    counted: (f64, f64),
    /// What came where.
    told: Vec<(String, String)>,
    /// When, what and in which words, of each incident.
    histories: Vec<Vec<(Timestamp, String, String)>>,
    /// Receiver, kind, state, attempts, and the outcomes of these.
    deliveries: Vec<(String, String, String, i64, Vec<String>)>,
}

async fn traces(stage: &Stage, store: &Store) -> Traces {
    let mut tx = store.read().await.unwrap();
    let mut histories = Vec::new();
    let mut deliveries = Vec::new();
    for incident in incidents::between(&mut tx, START, stage.now, 100).await.unwrap() {
        let history = events::list(&mut tx, &incident.id).await.unwrap();
        histories.push(history.into_iter().map(|event| (event.at, event.kind, event.text)).collect());
        for row in outbox::for_incident(&mut tx, &incident.id).await.unwrap() {
            let outcomes = attempts::list(&mut tx, &row.id).await.unwrap().into_iter().map(|attempt| attempt.outcome).collect();
            deliveries.push((row.receiver, row.kind, row.state, row.attempts, outcomes));
        }
    }
    let told = stage.got.lock().unwrap();
    let mut told: Vec<(String, String)> =
        told.iter().map(|(path, body)| (path.clone(), body["type"].as_str().unwrap_or_default().to_owned())).collect();
    told.sort();
    let (total, bad, _) = stage.slo("api");
    Traces { counted: (total, bad), told, histories, deliveries }
}

/// Does something until it works; says how often it had to.
macro_rules! persist {
    ($wire:expr, $what:expr) => {{
        let mut tries = 1;
        while let Err(error) = $what {
            let lost = matches!(error, StoreError::CommitUnknown(_) | StoreError::Unreachable { .. });
            assert!(lost && tries < 4, "{error:?}");
            tries += 1;
        }
        if let Some(wire) = $wire {
            wire.spare();
        }
        tries
    }};
}

/// An incident from its first failures to its end. With a wire each job loses a COMMIT or the answer to one in each step.
async fn story(url: &str, wire: Option<&Wire>) -> Traces {
    let mut stage = Stage::on(Some(wire.map_or(url, |wire| wire.url.as_str())), RULES).await;
    let lose = |n: u64| {
        // Each job commits several times in some steps, and one after the other is lost.
        if let Some(wire) = wire {
            wire.lose((n % 3) as usize, if n % 5 == 4 { Loss::Commit } else { Loss::Answer });
        }
    };
    let mut n = 0;
    for (minutes, failing) in [(2, false), (2, true), (3, false)] {
        for _ in 0..minutes * 60_000 / STEP.0 {
            let now = stage.send(|_| requests(failing)).await;
            n += 1;
            if let Some(wire) = wire {
                wire.lose(0, if n % 2 == 0 { Loss::Commit } else { Loss::Answer });
            }
            let tries = persist!(wire, stage.flush.run(now).await);
            assert_eq!(tries, if wire.is_some() { 2 } else { 1 }, "each flush has one commit");
            lose(n);
            persist!(wire, stage.watch.run(now).await);
            lose(n / 3);
            persist!(wire, stage.deliver.step().await);
        }
    }
    // What is stored is read past the wire.
    let store = Store::open_existing(url, START).await.unwrap();
    traces(&stage, &store).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_commit_changes_nothing_that_is_stored_told_or_shown() {
    let (calm, rough) = (postgres::database().await, postgres::database().await);
    let expected = story(&calm.url, None).await;
    assert_eq!(expected.counted, (42.0 * 20.0, 12.0 * 5.0));
    let kinds = |path: &str| expected.told.iter().filter(|(at, _)| at == path).map(|(_, kind)| kind.as_str()).collect::<Vec<_>>();
    assert_eq!(kinds("/pager"), ["incident.opened", "incident.resolved"]);
    assert_eq!(kinds("/flaky"), ["incident.opened", "incident.opened", "incident.resolved"]);
    let wire = Wire::new(&rough.url);
    assert_eq!(story(&rough.url, Some(&wire)).await, expected);
    assert!(wire.lost() > 80, "only {} were lost", wire.lost());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_arrives_late_counts_once() {
    let database = postgres::database().await;
    let wire = Wire::new(&database.url);
    let mut stage = Stage::on(Some(&wire.url), RULES).await;
    let now = stage.send(|_| requests(false)).await;
    wire.lose(0, Loss::Late);
    assert!(matches!(stage.flush.run(now).await, Err(StoreError::CommitUnknown(_))));
    // Nobody can know yet what becomes of it, so the next try waits, and is given up.
    wire.lose(0, Loss::Commit);
    let waiting = async {
        let waits = "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while !postgres::is_true(&database.url, waits).await {
            tokio::task::yield_now().await;
        }
        wire.deliver();
    };
    let (retried, ()) = tokio::join!(stage.flush.run(now), waiting);
    assert!(matches!(retried, Err(StoreError::CommitUnknown(_))), "{retried:?}");
    stage.flush.run(now).await.unwrap();
    for _ in 0..2 {
        let now = stage.send(|_| Vec::new()).await;
        stage.flush.run(now).await.unwrap();
        stage.watch.run(now).await.unwrap();
    }
    assert_eq!(stage.slo("api").0, 20.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_of_others_whose_commit_is_lost_are_one_incident() {
    let database = postgres::database().await;
    let wire = Wire::new(&database.url);
    let mut stage = Stage::on(Some(&wire.url), RULES).await;
    let (receiver, post) = posted::Receiver::new(stage.store.clone(), stage.posted.clone(), stage.desk.clone(), Arc::default());
    let stop = CancellationToken::new();
    let running = tokio::spawn(receiver.run(stop.clone()));
    let alert = |ends: Timestamp, now: Timestamp| {
        let labels: Labels = [("alertname", "Down"), ("severity", "page")].map(|(name, value)| (name.into(), value.into())).into();
        let labels = Packed::new(&labels);
        vec![Posted { labels, annotations: "{}".into(), generator: "".into(), starts: START, ends, timed: false, updated: now }]
    };
    let later = START + Span::HOUR;
    for ends in [later, START + Span::minutes(1)] {
        let now = stage.now + Span::minutes(2);
        stage.clock.set(now);
        // Its sender is told that it went wrong, and sends it again, as Prometheus does.
        wire.lose(0, Loss::Answer);
        assert!(post.post(alert(ends, now), now).await.is_err());
        post.post(alert(ends, now), now).await.unwrap();
        stage.now = now;
        for _ in 0..2 {
            let now = stage.send(|_| Vec::new()).await;
            stage.flush.run(now).await.unwrap();
            wire.lose(usize::from(ends == later), Loss::Answer);
            persist!(Some(&wire), stage.watch.run(now).await);
            persist!(Some(&wire), stage.deliver.step().await);
        }
    }
    assert_eq!(stage.types("/pager"), ["incident.opened", "incident.resolved"]);
    let mut tx = stage.store.read().await.unwrap();
    assert_eq!(incidents::between(&mut tx, START, stage.now, 100).await.unwrap().len(), 1);
    drop(tx);
    stop.cancel();
    running.await.unwrap();
}
