//! The daemon is killed again and again while incidents open and close: every one of them is opened and closed
//! at its receiver, each under one delivery id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::daemon::{Daemon, Got, Receiver, get, post};

const RULES: &str = r#"
    for region in ["de", "fr", "us"] {
        slo("api-" + region, #{ objective: 99.0, window: "1d", service: region,
            sli: good("request", #{ region: region }),
            alert: [ page(#{ long: "4s", short: "2s", factor: 10.0 }) ] });
    }
    receiver("hook", webhook(#{ url: "http://RECEIVER/" }));
    route(#{ to: ["hook"], group_wait: "0s" });
"#;

/// Sends beacons of three regions until told to stop; which of them fail is a bit each.
fn traffic(intake: std::net::SocketAddr, failing: Arc<std::sync::atomic::AtomicU8>, over: Arc<AtomicBool>) {
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        for (bit, region) in ["de", "fr", "us"].into_iter().enumerate() {
            n += 1;
            let status = if failing.load(Ordering::Relaxed) >> bit & 1 == 1 { 500 } else { 200 };
            let event = format!(r#"{{"kind":"request","path":"/api","status":{status}}}"#);
            let events = vec![event; 8].join(",");
            // While it is down nobody answers, as in life.
            _ = post(intake, "/v1/rum", &format!(r#"{{"app":"shop","id":"{n}","region":"{region}","events":[{events}]}}"#));
        }
        std::thread::sleep(Duration::from_millis(60));
    }
}

#[test]
fn a_second_daemon_on_the_same_database_says_so() {
    let mut daemon = Daemon::new("", "");
    daemon.start();
    let output = daemon.run_beside();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another burnwatch uses the database"), "{said}");
}

#[test]
fn a_kill_at_any_instant_loses_no_page_and_closes_every_one() {
    let receiver = Receiver::start();
    let mut daemon =
        Daemon::new("[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n", &RULES.replace("RECEIVER", &receiver.address.to_string()));
    daemon.start();
    let failing = Arc::new(std::sync::atomic::AtomicU8::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let sender = {
        let (failing, over, intake) = (failing.clone(), over.clone(), daemon.intake);
        std::thread::spawn(move || traffic(intake, failing, over))
    };
    std::thread::sleep(Duration::from_secs(5));
    for round in 0..8u64 {
        // One region after another fails, so that something opens and something closes all the time.
        failing.store([1, 1, 3, 2, 2, 6, 4, 4][round as usize], Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2_700 + 313 * round));
        daemon.kill();
        daemon.start();
    }
    failing.store(0, Ordering::Relaxed);
    let began = Instant::now();
    while open_incidents(&daemon) > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "still open:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    // What was committed last is still on its way.
    std::thread::sleep(Duration::from_secs(2));
    over.store(true, Ordering::Relaxed);
    sender.join().expect("nobody panicked");

    let mut by_incident: BTreeMap<String, Vec<Got>> = BTreeMap::new();
    for got in receiver.got() {
        by_incident.entry(got.incident().to_owned()).or_default().push(got);
    }
    let known = incidents(&daemon);
    assert!(known.len() >= 3, "all three regions failed: {known:?}");
    for incident in &known {
        let told = by_incident.get(incident).unwrap_or_else(|| panic!("nobody was told of {incident}:\n{}", daemon.log()));
        let ids = |kind: &str| {
            let ids: BTreeSet<&str> = told.iter().filter(|got| got.kind() == kind).map(|got| got.id.as_str()).collect();
            ids.len()
        };
        // Whatever was sent again came under the same id: one for each time that it opened, and one for each close.
        assert_eq!(ids("incident.opened"), 1, "{told:#?}");
        assert_eq!(ids("incident.resolved"), 1 + ids("incident.reopened"), "{told:#?}");
        let last = told.last().expect("it was told");
        assert_eq!(last.kind(), "incident.resolved", "the close comes last");
    }
    let unknown: Vec<&String> = by_incident.keys().filter(|id| !known.contains(id)).collect();
    assert!(unknown.is_empty(), "told of what is not stored: {unknown:?}");
}

fn list(daemon: &Daemon, path: &str) -> Vec<serde_json::Value> {
    let (status, body) = get(daemon.admin, path).expect("it answers");
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    body["items"].as_array().expect("a list").clone()
}

fn incidents(daemon: &Daemon) -> Vec<String> {
    list(daemon, "/v1/incidents?limit=200").iter().map(|incident| incident["id"].as_str().expect("an id").to_owned()).collect()
}

fn open_incidents(daemon: &Daemon) -> usize {
    list(daemon, "/v1/incidents?limit=200").iter().filter(|incident| incident["status"] != "resolved").count()
}
