//! An old copy of the database takes the place of the one that was lost: what was told and closed since is not told again.

use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::jobs::restored::{self, Held};
use burnwatch::store::{incidents, outbox};
use serde_json::{Value, json};

use super::scenarios::{START, Stage};

const RULES: &str = r#"
    for app in ["told", "waits"] {
        slo(app, #{ objective: 99, service: app, sli: good("request", #{ app: app }),
            alert: page(#{ long: "1m", short: "20s", factor: 5 }) });
    }
    receiver("pager", webhook(#{ url: "HOOK/pager" }));
    receiver("boss", webhook(#{ url: "HOOK/boss" }));
    route(#{ to: ["pager"], group_wait: "0s", repeat: "10m", escalate: [ #{ after: "5m", to: ["boss"] } ] });
"#;

fn requests(failing: [bool; 2]) -> Vec<Value> {
    let one = |(app, failing): (&str, bool)| {
        let request = || json!({ "kind": "request", "path": "/api", "status": if failing { 500 } else { 200 } });
        json!({ "app": app, "events": (0..10).map(|_| request()).collect::<Vec<_>>() })
    };
    ["told", "waits"].into_iter().zip(failing).map(one).collect()
}

async fn hold(stage: &Stage, told: bool, now: Timestamp) -> Option<Held> {
    restored::hold(&stage.store, &stage.desk.load_full(), told, now, "http://burnwatch.example").await.unwrap()
}

/// A database in which one incident was told and another is about to be, and a copy of it.
async fn copied(folder: &std::path::Path, name: &str) -> (String, Timestamp) {
    let mut stage = Stage::new(RULES).await;
    stage.play(Span::minutes(1), |_| requests([false, false])).await;
    stage.play(Span::seconds(20), |_| requests([true, false])).await;
    assert_eq!(stage.types("/pager"), ["incident.opened"]);
    for _ in 0..2 {
        let now = stage.send(|_| requests([true, true])).await;
        stage.flush.run(now).await.unwrap();
        stage.watch.run(now).await.unwrap();
    }
    let file = folder.join(name);
    stage.store.backup(&file, stage.now).await.unwrap();
    assert_eq!(hold(&stage, false, stage.now + Span::days(1)).await, None, "a database is no copy of itself");
    // Here it goes on, and both are told and closed.
    stage.play(Span::minutes(3), |_| requests([false, false])).await;
    assert_eq!(stage.types("/pager").iter().filter(|kind| *kind == "incident.resolved").count(), 2);
    (format!("sqlite://{}", file.display()), stage.now)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_copy_pages_nobody_for_what_was_open_or_waited_then() {
    let folder = tempfile::tempdir().unwrap();
    let (url, lost_at) = copied(folder.path(), "monday.db").await;
    let mut stage = Stage::on(Some(&url), RULES).await;
    stage.now = lost_at + Span::hours(2);
    let held = hold(&stage, false, stage.now).await.expect("a copy says that it is one");
    assert!(held.copied_at.is_some_and(|at| at > START && at < lost_at), "{held:?}");
    assert_eq!((held.notifications, held.incidents), (1, 2));
    assert_eq!(hold(&stage, false, stage.now + Span::hours(9)).await, None, "it says so once");

    // As in a process that starts now.
    stage.clock.set(stage.now);
    stage.play(Span::minutes(20), |_| requests([false, false])).await;
    assert_eq!(stage.types("/pager"), ["incident.resolved"; 2], "they are over, which wakes nobody");
    assert!(stage.types("/boss").is_empty(), "nobody has acknowledged them in two hours, and nobody has to");
    let mut tx = stage.store.read().await.unwrap();
    let filter = outbox::Filter { state: vec!["suppressed".into()], ..outbox::Filter::default() };
    let (rows, _) = outbox::list(&mut tx, &filter, None, 10).await.unwrap();
    assert!(rows.len() == 1 && rows[0].last_error.starts_with("the database was restored from "), "{rows:?}");
    drop(tx);

    // What breaks from now on is told, as an incident of its own.
    stage.play(Span::minutes(1), |_| requests([true, false])).await;
    assert_eq!(stage.types("/pager").last().map(String::as_str), Some("incident.opened"));
    let mut tx = stage.store.read().await.unwrap();
    let all = incidents::between(&mut tx, START, stage.now, 10).await.unwrap();
    let (new, old) = all.iter().partition::<Vec<_>, _>(|row| row.status == "open");
    assert!(new.len() == 1 && old.len() == 2, "{all:?}");
    assert!(old.iter().all(|row| row.generation < new[0].generation && row.id != new[0].id), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_copy_goes_on_and_a_person_may_say_that_any_database_is_an_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let (url, lost_at) = copied(folder.path(), "moved.db").await;
    let mut stage = Stage::on(Some(&url), RULES).await;
    stage.now = lost_at;
    assert_eq!(hold(&stage, false, stage.now).await, None, "it is a few minutes old: it was moved");
    assert_eq!(hold(&stage, true, stage.now).await, Some(Held { copied_at: None, notifications: 1, incidents: 2 }));
    stage.clock.set(stage.now);
    stage.play(Span::minutes(3), |_| requests([false, false])).await;
    assert_eq!(stage.types("/pager"), ["incident.resolved"; 2]);
}
