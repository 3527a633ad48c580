//! A disk without room: writes fail, reads do not. Beacons are turned away until there is room again, what was answered is stored
//! all the same, and nobody has to start anything anew.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::{Daemon, Receiver, get, post, post_with};

/// Waits until an outside watcher has heard from it again.
fn beats(watcher: &Receiver, daemon: &Daemon) {
    let (before, began) = (watcher.got().len(), Instant::now());
    while watcher.got().len() == before {
        assert!(began.elapsed() < Duration::from_secs(30), "no heartbeat:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_full_disk_turns_beacons_away_and_loses_nothing_once_there_is_room() {
    let watcher = Receiver::start();
    let heartbeat = format!("heartbeat = {{ url = \"http://{}/\", every = \"1s\" }}\n", watcher.address);
    let mut daemon = Daemon::delivering(&heartbeat, "[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n", "");
    daemon.start_with_room();
    let pid = daemon.pid();
    let mut accepted = 0;
    let mut n = 0;
    let mut send = |daemon: &Daemon| {
        n += 1;
        let event = json!({ "kind": "request", "path": "/api", "status": 200, "value": n });
        let beacon = json!({ "app": "shop", "id": n.to_string(), "session": format!("s{n}"), "events": [event] });
        let (status, _) = post(daemon.intake, "/v1/rum", &beacon.to_string()).expect("it answers");
        accepted += u64::from(status == 202);
        status
    };
    assert_eq!(send(&daemon), 202);
    beats(&watcher, &daemon);
    daemon.limit_files(Some(1));
    let began = Instant::now();
    while send(&daemon) != 503 {
        assert!(began.elapsed() < Duration::from_secs(30), "it goes on as if it could store anything");
        std::thread::sleep(Duration::from_millis(100));
    }
    // The one that was on its way arrives; then there is silence, which is the alarm.
    std::thread::sleep(Duration::from_millis(1_200));
    let last = watcher.got().len();
    std::thread::sleep(Duration::from_millis(3_300));
    assert_eq!(watcher.got().len(), last, "it goes on as if all were well");
    let (status, answer) =
        post_with(daemon.intake, "/v1/rum", "", r#"{"app":"shop","events":[{"kind":"page_view"}]}"#).expect("it answers");
    assert_eq!(status, 503, "{answer}");
    assert_eq!(get(daemon.admin, "/healthz").expect("it answers").0, 200, "the process is well");
    assert_eq!(get(daemon.admin, "/v1/incidents").expect("it answers").0, 200, "what is stored can be read");
    daemon.limit_files(None);
    let began = Instant::now();
    while send(&daemon) != 202 {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not notice that there is room again");
        std::thread::sleep(Duration::from_millis(100));
    }
    // Every beacon that was answered counts, once, whether there was room when it came or not.
    let began = Instant::now();
    loop {
        let ask = json!({ "metric": "request", "where": { "app": "shop" } });
        let (_, answer) = post(daemon.admin, "/v1/query", &ask.to_string()).expect("it answers");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let points = answer["series"].as_array().into_iter().flatten().flat_map(|series| series["points"].as_array().into_iter().flatten());
        let total: f64 = points.map(|point| point["total"].as_f64().unwrap_or(0.0)).sum();
        if total == accepted as f64 {
            break;
        }
        assert!(total <= accepted as f64 && began.elapsed() < Duration::from_secs(20), "{total} of {accepted}");
        std::thread::sleep(Duration::from_millis(200));
    }
    beats(&watcher, &daemon);
    assert_eq!(daemon.pid(), pid);
    assert!(daemon.output(&["backup", "copy.db"]).status.success(), "the database is sound");
}
