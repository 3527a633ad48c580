//! Two daemons on one PostgreSQL: one evaluates, both take beacons and show the same; when the one that evaluates is
//! killed, or only stopped for a while, the other goes on, and the receiver sees one incident opened and closed once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::daemon::{Daemon, Receiver, get, post};
use super::postgres;

const RULES: &str = r#"
    slo("api", #{ objective: 99.0, window: "1d", service: "shop", sli: good("request", #{ app: "shop" }),
        alert: [ page(#{ long: "6s", short: "2s", factor: 10.0 }) ] });
    receiver("hook", webhook(#{ url: "http://RECEIVER/" }));
    route(#{ to: ["hook"], group_wait: "0s" });
"#;

/// Posts to every replica in turn, until told to stop.
fn traffic(replicas: &[std::net::SocketAddr], failing: &AtomicBool, over: &AtomicBool) {
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        let status = if failing.load(Ordering::Relaxed) { 500 } else { 200 };
        let event = format!(r#"{{"kind":"request","path":"/api","status":{status}}}"#);
        let body = format!(r#"{{"app":"shop","id":"{n}","events":[{}]}}"#, vec![event; 5].join(","));
        // The one that was killed does not answer, and its share is lost, as a load balancer would have it for a moment.
        _ = post(replicas[n % replicas.len()], "/v1/rum", &body);
        std::thread::sleep(Duration::from_millis(40));
    }
}

fn slo(daemon: &Daemon) -> Option<Value> {
    let (status, body) = get(daemon.admin, "/v1/slos/api")?;
    (status == 200).then(|| serde_json::from_str(&body).expect("JSON"))
}

/// Waits until something holds of what a replica shows of the SLO.
fn until(daemon: &Daemon, what: &str, patience: u64, holds: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < Duration::from_secs(patience) {
        last = slo(daemon);
        if let Some(slo) = &last
            && holds(slo)
        {
            return slo.clone();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} did not come true within {patience} s; last seen {last:?}\n{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_is_replaced_and_nothing_is_told_twice() {
    let database = postgres::database().await;
    let receiver = Receiver::start();
    let url = database.url.clone();
    tokio::task::spawn_blocking(move || story(&url, &receiver)).await.expect("the story ends well");
    drop(database);
}

fn story(url: &str, receiver: &Receiver) {
    let configuration = format!("[database]\nurl = \"{url}\"\n[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n");
    let rules = RULES.replace("RECEIVER", &receiver.address.to_string());
    let mut first = Daemon::new(&configuration, &rules);
    first.start();
    let second = {
        let mut second = Daemon::new(&configuration, &rules);
        second.start();
        second
    };
    let (failing, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let sender = {
        let (failing, over, replicas) = (failing.clone(), over.clone(), [first.intake, second.intake]);
        std::thread::spawn(move || traffic(&replicas, &failing, &over))
    };
    let healthy = |slo: &Value| slo["state"] == "ok" && slo["total"].as_f64().is_some_and(|total| total > 50.0);
    until(&first, "health at the replica that evaluates", 30, healthy);
    until(&second, "health at the replica that only follows", 30, healthy);

    failing.store(true, Ordering::Relaxed);
    until(&first, "an alert", 30, |slo| slo["state"] == "firing");
    until(&second, "the alert at the replica that only follows", 10, |slo| slo["state"] == "firing");
    first.kill();
    failing.store(false, Ordering::Relaxed);
    // The lease and the life of the dead one end within 15 s each; then the other one evaluates what it missed.
    until(&second, "health after the other one took over", 60, |slo| slo["state"] == "ok");
    let began = Instant::now();
    while !receiver.got().iter().any(|got| got.kind() == "incident.resolved") {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody closed the pager:\n{}", second.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    over.store(true, Ordering::Relaxed);
    sender.join().expect("nobody panicked");

    let got = receiver.got();
    for kind in ["incident.opened", "incident.resolved"] {
        let ids: BTreeSet<&str> = got.iter().filter(|got| got.kind() == kind).map(|got| got.id.as_str()).collect();
        assert_eq!(ids.len(), 1, "{kind} under one delivery id: {got:#?}");
    }
    let incidents: BTreeSet<&str> = got.iter().map(super::daemon::Got::incident).collect();
    assert_eq!(incidents.len(), 1, "{got:#?}");
}
