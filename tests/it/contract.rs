//! What CONTRACT.md promises to whoever stands outside and has only curl.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::{Daemon, Receiver, get, post};

const SECONDS: &str = "[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n";

fn rules(hook: &Receiver) -> String {
    format!(
        r#"{}
receiver("hook", webhook(#{{ url: "http://{}/" }}));
route(#{{ to: ["hook"] }});"#,
        SLOS, hook.address
    )
}

const SLOS: &str = r#"slo("api", #{ objective: 99.9, service: "shop", owner: "web", sli: good("request", #{ app: "shop" }), by: ["region"],
    alert: [page(#{ long: "1m", short: "5s", factor: 14.4 })] });
slo("silent", #{ objective: 99.0, sli: good("request", #{ app: "nobody" }), alert: [ticket(#{ long: "1m", short: "5s", factor: 2.0 })] });
alert("free", #{ every: "1m", severity: "info", owner: "web", when: |q| false });"#;

fn json_of(daemon: &Daemon, path: &str) -> Value {
    let (status, body) = get(daemon.admin, path).expect("it answers");
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Asks again and again until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{what} did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_metrics_are_there_before_anything_has_happened() {
    let hook = Receiver::start();
    let mut daemon = Daemon::new(SECONDS, &rules(&hook));
    daemon.start();
    let (_, text) = get(daemon.admin, "/metrics").expect("it answers");
    let has = |start: &str| assert!(text.lines().any(|line| line.starts_with(start)), "no {start} in\n{text}");
    for name in [
        "burnwatch_evaluations_total ",
        "burnwatch_evaluation_duration_seconds_count ",
        "burnwatch_evaluation_lag_seconds ",
        "burnwatch_series ",
        "burnwatch_series_folded_total 0",
        "burnwatch_outbox_pending 0",
        "burnwatch_outbox_oldest_seconds 0",
        "burnwatch_deadletters 0",
        "burnwatch_rules_last_load_success 1",
        "burnwatch_intake_rejected_total{reason=\"not_json\"} 0",
        "burnwatch_notifications_total{receiver=\"hook\",outcome=\"delivered\"} 0",
        "burnwatch_incidents{status=\"open\",severity=\"page\"} 0",
        "burnwatch_incidents{status=\"acknowledged\",severity=\"ticket\"} 0",
    ] {
        has(name);
    }
    for protocol in ["rum", "faro", "otlp", "sentry", "reports"] {
        for outcome in ["accepted", "duplicate", "rejected", "sampled", "limited"] {
            has(&format!("burnwatch_intake_events_total{{protocol=\"{protocol}\",outcome=\"{outcome}\"}} 0"));
        }
    }
    assert_eq!(text.lines().filter(|line| line.starts_with("burnwatch_rules_revision_info{")).count(), 1, "one rule set is in force");
    let types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(types.len(), types.iter().collect::<BTreeSet<_>>().len(), "each metric is told once: {types:?}");
}

#[test]
fn alerts_are_listed_with_figures_and_a_removed_rule_ends_them_by_name() {
    let hook = Receiver::start();
    let mut daemon = Daemon::new(SECONDS, &rules(&hook));
    daemon.start();
    let alert = |daemon: &Daemon, rule: &str| {
        let list = json_of(daemon, "/v1/alerts");
        list["items"].as_array().expect("a list").iter().find(|alert| alert["rule"] == rule).cloned()
    };
    // Whoever asks before the first evaluation sees no alert at all.
    let silent = until("the first evaluation", || alert(&daemon, "silent"));
    assert_eq!((&silent["state"], &silent["values"]["burn_long"]), (&json!("unknown"), &Value::Null), "what was not measured is not ok");
    assert_eq!(alert(&daemon, "free").expect("it is listed")["labels"], json!({ "rule": "free", "owner": "web" }));
    assert_eq!(alert(&daemon, "api"), None, "an SLO with groups has no alert of its own");

    let mut n = 0;
    let firing = until("the alert", || {
        n += 1;
        let event = json!({ "kind": "request", "path": "/api", "status": 500, "value": n });
        let beacon = json!({ "app": "shop", "region": "de", "session": format!("s{n}"), "events": vec![event; 20] });
        assert_eq!(post(daemon.intake, "/v1/rum", &beacon.to_string()).expect("it answers").0, 202);
        alert(&daemon, "api").filter(|alert| alert["state"] == "firing")
    });
    assert_eq!(firing["labels"], json!({ "slo": "api", "service": "shop", "owner": "web", "severity": "page", "region": "de" }));
    let values = &firing["values"];
    assert_eq!((&values["long"], &values["short"], &values["factor"]), (&json!("1m"), &json!("5s"), &json!(14.4)));
    assert_eq!((values["burn_long"].as_f64(), values["error_ratio"].as_f64()), (Some(1000.0), Some(1.0)));
    let (_, text) = get(daemon.admin, "/metrics").expect("it answers");
    assert!(text.contains("burnwatch_incidents{status=\"open\",severity=\"page\"} 1\n"), "{text}");

    daemon.set_rules(&rules(&hook).replace("slo(\"api\"", "slo(\"renamed\""));
    let closed = until("the close", || hook.got().into_iter().find(|got| got.kind() == "incident.resolved"));
    assert_eq!(closed.payload["reason"], "rule removed");
    let ended = closed.payload["data"]["incident"]["resolved_at"].as_str().expect("a time").to_owned();
    assert!(!ended.contains('.'), "{ended} is the start of a bucket");
}

#[test]
fn a_free_form_rule_is_unknown_until_it_was_asked_also_across_a_restart() {
    let rules = r#"slo("silent", #{ objective: 99.0, sli: good("request", #{ app: "nobody" }), alert: burn_rate() });
alert("yearly", #{ every: "0 0 1 1 *", severity: "info", when: |q| false });
alert("often", #{ every: "10s", severity: "info", when: |q| q.changes("1h").len() > 100 });"#;
    let mut daemon = Daemon::new(SECONDS, rules);
    daemon.start();
    let states = |daemon: &Daemon| {
        let list = json_of(daemon, "/v1/alerts");
        let of = |rule: &str| list["items"].as_array()?.iter().find(|alert| alert["rule"] == rule).cloned();
        // Before the first evaluation nothing is known of SLOs either.
        of("silent")?;
        Some(["yearly", "often"].map(|rule| of(rule).map(|alert| (alert["state"].clone(), alert["reason"].clone())).expect("it is listed")))
    };
    let never = (json!("unknown"), json!("it has not been asked yet"));
    let fine = (json!("ok"), json!(""));
    until("the first answer", || states(&daemon).filter(|[_, often]| *often == fine));
    assert_eq!(states(&daemon), Some([never.clone(), fine.clone()]));
    let unknown = json_of(&daemon, "/v1/alerts?state=unknown");
    assert!(unknown["items"].as_array().expect("a list").iter().any(|alert| alert["rule"] == "yearly"), "{unknown}");
    daemon.kill();
    daemon.start();
    assert_eq!(until("the restart", || states(&daemon)), [never, fine]);
}

#[test]
fn a_session_that_beacons_name_is_counted_once_and_in_no_answer() {
    let hook = Receiver::start();
    let mut daemon = Daemon::new(SECONDS, &rules(&hook));
    daemon.start();
    for (n, session) in ["a", "a", "b", "a"].iter().enumerate() {
        let beacon = json!({ "app": "shop", "session": session, "events": [{ "kind": "page_view", "page": format!("/{n}") }] });
        let (_, answer) = post(daemon.intake, "/v1/rum?ack=durable", &beacon.to_string()).expect("it answers");
        assert_eq!(answer, r#"{"accepted":1,"rejected":[]}"#);
    }
    let crash = json!({ "app": "shop", "session": "b", "events": [{ "kind": "crash", "message": "gone" }] });
    post(daemon.intake, "/v1/rum?ack=durable", &crash.to_string()).expect("it answers");
    let ask = json!({ "metric": "session", "where": { "app": "shop" } });
    let (_, answer) = post(daemon.admin, "/v1/query", &ask.to_string()).expect("it answers");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let points = answer["series"].as_array().into_iter().flatten().flat_map(|series| series["points"].as_array().into_iter().flatten());
    let sums = points.fold((0.0, 0.0), |(total, bad), point| {
        (total + point["total"].as_f64().unwrap_or(0.0), bad + point["bad"].as_f64().unwrap_or(0.0))
    });
    assert_eq!(sums, (2.0, 1.0));
}

#[test]
fn rows_are_loaded_from_lines_and_from_a_json_array() {
    let daemon = Daemon::new("", "");
    let row = |region: &str, bad: u64| {
        let dims = json!({ "app": "shop", "region": region });
        json!({ "bucket": "2026-01-01T00:00:00Z", "metric": "request", "dims": dims, "total": 10, "bad": bad })
    };
    let rows = [row("de", 1), row("us", 11), row("at", 0)];
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    for (name, text) in [("rows.ndjson", lines), ("rows.json", json!(rows).to_string()), ("pretty.json", format!("\n{:#}\n", json!(rows)))]
    {
        daemon.write(name, &text);
        let output = daemon.output(&["aggregates", "load", name, "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(answer["accepted"], 2, "{name}: {answer}");
        assert_eq!(answer["rejected"], json!([{ "line": 2, "reason": "`bad` is more than `total`" }]), "{name}");
        assert_eq!(output.status.code(), Some(1), "{name}: a row was refused");
    }
    daemon.write("half.json", "[{\"bucket\": 0},");
    let output = daemon.output(&["aggregates", "load", "half.json"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_was_stored_is_in_the_list_also_without_a_span() {
    let mut daemon = Daemon::new("", "");
    daemon.start();
    for body in
        [json!({ "kind": "deploy", "app": "shop", "release": "1", "at": "2025-01-01T00:00:00Z" }), json!({ "kind": "flag", "app": "shop" })]
    {
        assert_eq!(post(daemon.admin, "/v1/annotations", &body.to_string()).expect("it answers").0, 201);
    }
    let list = json_of(&daemon, "/v1/annotations");
    let kinds: Vec<&Value> = list["items"].as_array().expect("a list").iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["flag", "deploy"]);
    // Decades ahead, and two conditions on one label: as /api/v2/silences and rules take them.
    let silence =
        json!({ "matchers": ["region=~eu.*", "region!=eu-1"], "ends": "2099-01-01T00:00:00Z", "author": "ada", "comment": "moved" });
    assert_eq!(post(daemon.admin, "/v1/silences", &silence.to_string()).expect("it answers").0, 201);
    let listed = json_of(&daemon, "/v1/silences");
    assert_eq!(listed["items"][0]["matchers"], silence["matchers"]);
}
