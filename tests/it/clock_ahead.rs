//! The wall clock goes two hours ahead, from one moment to the next: nothing was measured in between, so nothing opens and nothing
//! closes because of it, and whoever holds a lease still holds it.

use std::sync::Arc;

use burnwatch::domain::posted::{Packed, Posted};
use burnwatch::domain::rule::Labels;
use burnwatch::domain::snapshot::{AlertPhase, AlertStatus};
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::jobs::posted;
use burnwatch::store::leases;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::scenarios::Stage;

const RULES: &str = r#"
    for app in ["broken", "well", "gone"] {
        slo(app, #{ objective: 99, service: app, sli: good("request", #{ app: app }),
            alert: page(#{ long: "2m", short: "20s", factor: 5, keep_firing: "1m" }) });
    }
    receiver("pager", webhook(#{ url: "HOOK/pager" }));
    route(#{ to: ["pager"], group_wait: "0s" });
"#;

/// Requests of these apps; those that are marked fail.
fn requests(apps: &[(&str, bool)]) -> Vec<Value> {
    let request = |failing: bool| json!({ "kind": "request", "path": "/api", "status": if failing { 500 } else { 200 } });
    apps.iter().map(|(app, failing)| json!({ "app": app, "events": (0..10).map(|_| request(*failing)).collect::<Vec<_>>() })).collect()
}

/// An alert of somebody who says every now and then that it goes on.
fn alert(now: Timestamp) -> Vec<Posted> {
    let labels: Labels = [("alertname", "Down"), ("severity", "page")].map(|(name, value)| (name.into(), value.into())).into();
    let (labels, ends) = (Packed::new(&labels), now + Span::minutes(4));
    vec![Posted { labels, annotations: "{}".into(), generator: "".into(), starts: now, ends, timed: false, updated: now }]
}

fn standing(stage: &Stage, rule: &str) -> Option<AlertStatus> {
    let snapshot = stage.snapshot.load();
    snapshot.alerts.iter().find(|status| status.rule == rule).map(|status| AlertStatus::clone(status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_two_hours_ahead_opens_and_closes_nothing() {
    let mut stage = Stage::new(RULES).await;
    let (receiver, post) = posted::Receiver::new(stage.store.clone(), stage.posted.clone(), stage.desk.clone(), Arc::default());
    let stop = CancellationToken::new();
    let running = tokio::spawn(receiver.run(stop.clone()));
    let before = |failing: bool| move |_| requests(&[("broken", failing), ("well", false), ("gone", failing)]);
    stage.play(Span::minutes(3), before(false)).await;
    post.post(alert(stage.now), stage.now).await.unwrap();
    stage.play(Span::minutes(1), before(true)).await;
    let told = stage.types("/pager");
    assert_eq!(told, ["incident.opened"; 3]);
    let lease = |rows: Vec<leases::LeaseRow>| rows.into_iter().map(|row| (row.name, row.holder, row.token)).collect::<Vec<_>>();
    let held = lease(leases::all(&mut stage.store.read().await.unwrap()).await.unwrap());

    stage.now += Span::hours(2);
    // Of what was not measured nothing is known: it is neither good nor bad.
    stage.play(Span::seconds(10), |_| Vec::new()).await;
    for rule in ["broken", "gone"] {
        let status = standing(&stage, rule).expect("it fires");
        assert_eq!(status.phase, AlertPhase::Firing, "{status:?}");
        assert!(status.reason.starts_with("unconfirmed: it has not been measured for "), "{status:?}");
    }
    // Which is said once, as always when nothing was measured for more than an hour.
    let told = [told, vec!["incident.updated".to_owned(); 2]].concat();
    assert_eq!(stage.types("/pager"), told);
    assert!(standing(&stage, "well").is_none_or(|status| status.phase != AlertPhase::Firing));
    assert_eq!(stage.slo("well").0, 240.0, "what was counted counts, and nothing beside it");
    // Then it goes on as before, for one of them without anybody who could be hurt.
    stage.play(Span::minutes(1), |_| requests(&[("broken", true), ("well", false)])).await;
    assert_eq!(stage.types("/pager"), told, "nothing opened, closed or was told again");
    post.post(alert(stage.now), stage.now).await.unwrap();
    stage.play(Span::minutes(3), |_| requests(&[("broken", true), ("well", false)])).await;
    assert_eq!(stage.types("/pager"), told, "the alert of others goes on, as they say");
    let still = lease(leases::all(&mut stage.store.read().await.unwrap()).await.unwrap());
    assert_eq!(still, held, "no lease changed hands");

    // Each ends for a reason of its own: it is well again, or nobody says any more that it is not.
    stage.play(Span::minutes(4), |_| requests(&[("broken", false), ("well", false), ("gone", false)])).await;
    let ended = stage.types("/pager");
    assert_eq!(ended[told.len()..], ["incident.resolved"; 3], "{ended:?}");
    stop.cancel();
    running.await.unwrap();
}
