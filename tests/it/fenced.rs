//! A replica that slept between finding its lease good and writing: another one has taken over meanwhile, and what the sleeper decided
//! is nobody's decision any more.

use burnwatch::domain::posted::{Packed, Posted};
use burnwatch::domain::rule::Labels;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::jobs::watch::Report;
use burnwatch::store::{incidents, leases, outbox, posted, progress};
use serde_json::{Value, json};

use super::postgres;
use super::scenarios::Stage;

const RULES: &str = r#"
    slo("api", #{ objective: 99, service: "shop", sli: good("request", #{ app: "shop" }),
        alert: page(#{ long: "1m", short: "20s", factor: 40 }) });
    receiver("pager", webhook(#{ url: "HOOK/pager" }));
    receiver("boss", webhook(#{ url: "HOOK/boss" }));
    route(#{ to: ["pager"], group_wait: "0s", escalate: [ #{ after: "62s", to: ["boss"] } ] });
"#;

/// What is there to be decided when the sleeper wakes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    /// A bucket has closed, and with it an alert fires.
    Bucket,
    /// An alert of others is to be taken in.
    Posted,
    /// An incident is to be escalated.
    Escalation,
}

fn requests(failing: bool) -> Vec<Value> {
    let request = |_| json!({ "kind": "request", "path": "/api", "status": if failing { 500 } else { 200 } });
    vec![json!({ "app": "shop", "events": (0..20).map(request).collect::<Vec<_>>() })]
}

/// All that a decision could have changed.
async fn stored(stage: &Stage) -> String {
    let mut tx = stage.store.read().await.unwrap();
    let deliveries = outbox::list(&mut tx, &outbox::Filter::default(), None, 100).await.unwrap().0;
    let changes = incidents::changes(&mut tx).await.unwrap();
    let evaluated = progress::get(&mut tx, "evaluated").await.unwrap();
    let alerts = posted::after(&mut tx, -1).await.unwrap().into_iter().map(|row| row.incident).collect::<Vec<_>>();
    format!("{changes} {evaluated:?} {alerts:?} {deliveries:#?}")
}

/// Brings a replica to just before its decision, lets another one take over or not, and has it decide. Gives what it reports, and
/// whether it changed anything.
async fn decide(work: Work, taken_over: bool) -> (Report, bool) {
    // Replicas share PostgreSQL; time is simulated all the same.
    let database = postgres::database().await;
    let mut stage = Stage::on(Some(&database.url), RULES).await;
    let mut watch = stage.other_watch();
    // Three failing buckets of the minute's six are what it takes; a minute and a bit later somebody else is to be told.
    let steps = match work {
        Work::Posted => 8,
        Work::Bucket => 9,
        Work::Escalation => 15,
    };
    let mut now = stage.now;
    for n in 1..=steps {
        now = stage.send(|_| requests(n > 6)).await;
        stage.flush.run(now).await.unwrap();
        if n < steps {
            // Not at the end of its bucket: the right to evaluate is good for 15 s, and asked for again after half of that.
            watch.run(now + Span::seconds(5)).await.unwrap();
        }
    }
    let awake = match work {
        Work::Bucket => now,
        Work::Posted => {
            watch.run(now + Span::seconds(1)).await.unwrap();
            let labels: Labels = [("alertname".to_owned(), "Down".to_owned())].into();
            let (starts, ends) = (now, now + Span::HOUR);
            let alert = Posted {
                labels: Packed::new(&labels),
                annotations: "{}".into(),
                generator: "".into(),
                starts,
                ends,
                timed: false,
                updated: now,
            };
            let mut tx = stage.store.write().await.unwrap();
            posted::save(&mut tx, &[(alert.labels.key(), &alert)]).await.unwrap();
            tx.commit().await.unwrap();
            now + Span::seconds(2)
        }
        Work::Escalation => {
            watch.run(now).await.unwrap();
            now + Span::seconds(2)
        }
    };
    if taken_over {
        // It has not come to anything yet: all is still there to be decided twice.
        let later: Timestamp = awake + Span::seconds(20);
        let mut tx = stage.store.write().await.unwrap();
        let token = leases::acquire(&mut tx, "evaluate", "another", later, later + Span::seconds(15)).await.unwrap();
        assert!(token.is_some(), "the lease is over by then");
        tx.commit().await.unwrap();
    }
    let before = stored(&stage).await;
    let report = watch.run(awake).await.unwrap();
    (report, stored(&stage).await != before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sleeps_through_its_lease_writes_nothing_of_what_it_decided() {
    for work in [Work::Bucket, Work::Posted, Work::Escalation] {
        let (report, changed) = decide(work, false).await;
        assert!(report.queued > 0 && changed, "{work:?}: {report:?}");
        let (report, changed) = decide(work, true).await;
        assert!(report.queued == 0 && !changed, "{work:?}: {report:?}");
    }
}
