//! What is reported again after a SIGKILL corrects what was counted before it.

use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::{Daemon, post};

const RULES: &str = r#"slo("lcp", #{ objective: 75.0, window: "1d", sli: within("lcp", 2500.0, #{ app: "shop" }) });"#;

/// Received and bad things of a metric within the last hour, and the median of each bucket that has one.
fn counted(daemon: &Daemon, metric: &str) -> (f64, f64, Vec<f64>) {
    let ask = json!({ "metric": metric, "where": { "app": "shop" }, "quantiles": [0.5] });
    let (status, body) = post(daemon.admin, "/v1/query", &ask.to_string()).expect("it answers");
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let points: Vec<&Value> =
        answer["series"].as_array().into_iter().flatten().flat_map(|series| series["points"].as_array().into_iter().flatten()).collect();
    let sum = |what: &str| points.iter().filter_map(|point| point[what].as_f64()).sum();
    let median = |point: &&Value| point["quantiles"].as_object().and_then(|all| all.values().next()?.as_f64());
    (sum("raw"), sum("bad"), points.iter().filter_map(median).collect())
}

/// A span as OpenTelemetry's SDKs export it, in a batch that differs by `n`.
fn span(n: u32) -> String {
    let attribute = |key: &str, value: Value| json!({ "key": key, "value": value });
    let failed = json!([
        attribute("http.request.method", json!({ "stringValue": "GET" })),
        attribute("url.full", json!({ "stringValue": "https://api.example.com/cart" })),
        attribute("http.response.status_code", json!({ "intValue": 500 })),
    ]);
    let one = |trace: &str, id: &str| {
        json!({ "traceId": trace, "spanId": id, "kind": 3, "name": "GET", "startTimeUnixNano": "1790000000000000000",
            "endTimeUnixNano": "1790000000100000000", "attributes": failed, "status": { "code": 2 } })
    };
    let known = one("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let fresh = one("4bf92f3577b34da6a3ce929d0e0e4737", &format!("{n:016x}"));
    json!({ "resourceSpans": [{ "resource": { "attributes": [attribute("service.name", json!({ "stringValue": "shop" }))] },
        "scopeSpans": [{ "scope": { "name": "fetch" }, "spans": [known, fresh] }] }] })
    .to_string()
}

#[test]
fn what_is_reported_again_after_a_kill_counts_once() {
    let mut daemon = Daemon::new("[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n", RULES);
    daemon.start();
    let send = |daemon: &Daemon, path: &str, body: &str| {
        let (status, answer) = post(daemon.intake, &format!("{path}?ack=durable"), body).expect("it answers");
        assert!(status == 200 || status == 202, "{status} {answer}");
    };
    let beacon = |lcp: u32, crashed: bool, ts: u32| {
        json!({ "app": "shop", "session": "s-1", "sent_at": ts, "events": [
            { "kind": "web_vital", "name": "LCP", "id": "v1-1", "value": lcp, "page": "/", "ts": ts },
            { "kind": "session", "crashed": crashed, "ts": ts },
        ] })
        .to_string()
    };
    let sessions = |daemon: &Daemon| {
        let (raw, bad, _) = counted(daemon, "session");
        (raw, bad)
    };
    send(&daemon, "/v1/rum", &beacon(9_000, false, 1_000));
    send(&daemon, "/v1/traces", &span(1));
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(counted(&daemon, "lcp").0, 1.0);
    for life in 1..4_u32 {
        daemon.kill();
        daemon.start();
        send(&daemon, "/v1/rum", &beacon(1_000 * life, life > 1, 1_000 + life));
        send(&daemon, "/v1/traces", &span(1 + life));
        std::thread::sleep(Duration::from_millis(1_500));
        let (raw, _, medians) = counted(&daemon, "lcp");
        assert_eq!(raw, 1.0, "life {life}");
        let [median] = medians[..] else { panic!("one bucket holds it: {medians:?}") };
        let newest = f64::from(1_000 * life);
        assert!((median - newest).abs() < newest * 0.05, "{median} in life {life}");
        assert_eq!(sessions(&daemon), (1.0, f64::from(u8::from(life > 1))), "life {life}");
        assert_eq!(counted(&daemon, "request").0, f64::from(2 + life), "each life brought one new request");
    }
}
