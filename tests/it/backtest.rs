//! `burnwatch backtest --data` through the real command: worked numbers, rules of arithmetic, and what it prints.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A Sunday.
pub const EPOCH: i64 = 1_767_225_600_000 + 3 * 86_400_000;
pub const M: i64 = 60_000;

/// A folder with rules and rows.
pub struct Bench {
    folder: TempDir,
    pub rows: String,
}

impl Bench {
    pub fn new(rules: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        std::fs::write(folder.path().join("rules/rules.rhai"), rules).unwrap();
        Bench { folder, rows: String::new() }
    }

    fn row(&mut self, minute: i64, metric: &str, dims: Value, total: i64, bad: i64) {
        let row = json!({ "bucket": EPOCH + minute * M, "metric": metric, "dims": dims, "total": total, "bad": bad });
        let _ = writeln!(self.rows, "{row}");
    }

    fn requests(&mut self, minute: i64, app: &str, total: i64, bad: i64) {
        self.row(minute, "request", json!({ "app": app }), total, bad);
    }

    fn command(&self, args: &[&str]) -> Output {
        std::fs::write(self.folder.path().join("rows.ndjson"), &self.rows).unwrap();
        run(self.folder.path(), args)
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.command(&[&["--json"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burnwatch"))
        .current_dir(folder)
        .args(["backtest", "rules", "--data", "rows.ndjson"])
        .args(args)
        .env_remove("BURNWATCH_TOKEN")
        .output()
        .unwrap()
}

/// Minutes since the epoch of these tests.
pub fn minute(time: &Value) -> i64 {
    let time: burnwatch::domain::time::Timestamp = time.as_str().unwrap().parse().unwrap();
    (time.0 - EPOCH) / M
}

fn at(minute: i64) -> String {
    burnwatch::domain::time::Timestamp(EPOCH + minute * M).to_string()
}

/// Alerts as (rule, tier, pending, started, ended), in minutes.
fn alerts(found: &Value) -> Vec<(String, i64, i64, i64, Option<i64>)> {
    let alert = |alert: &Value| {
        let ended = (!alert["ended_at"].is_null()).then(|| minute(&alert["ended_at"]));
        let rule = alert["rule"].as_str().unwrap().to_owned();
        (rule, alert["tier"].as_i64().unwrap_or(-1), minute(&alert["pending_at"]), minute(&alert["started_at"]), ended)
    };
    found["alerts"].as_array().unwrap().iter().map(alert).collect()
}

const TIER: &str = r#"slo("NAME", #{ objective: 99.9, service: "s", sli: good("request", #{ app: "NAME" }), alert: [ ALERT ] });"#;

fn slo(name: &str, alert: &str) -> String {
    TIER.replace("NAME", name).replace("ALERT", alert)
}

#[test]
fn the_workbooks_table_of_detection_reset_and_budget() {
    let fast = r#"page(#{ long: "1h", short: "5m", factor: 14.4 })"#;
    let slow = r#"page(#{ long: "6h", short: "30m", factor: 6 })"#;
    let day = r#"ticket(#{ long: "24h", short: "2h", factor: 3 })"#;
    let days = r#"ticket(#{ long: "3d", short: "6h", factor: 1 })"#;
    // Name, tier, minutes of health that count, bad of 10,000, its length, detection, reset, budget spent in per cent.
    let cases = [
        ("all", fast, 60, 10_000, 1, Some((1, 5, 2.31))),
        ("sixth", fast, 60, 1_500, 6, Some((6, 5, 2.08))),
        ("fiftieth", fast, 60, 200, 44, Some((44, 2, 2.04))),
        ("limit", fast, 60, 144, 300, None),
        ("slow", slow, 360, 100, 217, Some((217, 12, 5.02))),
        ("day", day, 1440, 10_000, 5, Some((5, 120, 11.57))),
        ("days", days, 4320, 20, 2161, Some((2161, 180, 10.005))),
    ];
    let start = 31 * 1440;
    for (app, tier, healthy, bad, lasts, expected) in cases {
        let mut bench = Bench::new(&slo(app, tier));
        // What lies before the windows only fills the budget: an hour's traffic in one row.
        for hour in 0..(start - healthy) / 60 {
            bench.requests(hour * 60, app, 600_000, 0);
        }
        for minute in start - healthy..start + lasts + 200 {
            let fault = (start..start + lasts).contains(&minute);
            bench.requests(minute, app, 10_000, if fault { bad } else { 0 });
        }
        let healthy = at(start - 60);
        let fired = alerts(&bench.json(&["--from", &healthy]));
        let Some((detection, reset, spent)) = expected else {
            assert!(fired.is_empty(), "{app}: {fired:?}");
            continue;
        };
        let (_, _, _, started, ended) = fired[0];
        assert_eq!((started - start, ended.map(|ended| ended - start - lasts)), (detection, Some(reset)), "{app}");
        let then = bench.json(&["--from", &healthy, "--to", &at(started)]);
        let remaining = then["slos"][0]["budget_remaining"].as_f64().unwrap();
        assert!(((1.0 - remaining) * 100.0 - spent).abs() < 0.006, "{app}: {remaining}");
    }
}

#[test]
fn an_incident_of_a_composite_says_since_when_where_and_what_it_costs() {
    let member = |name: &str| {
        format!(r#"slo("{name}", #{{ objective: 99, window: "2d", service: "s", sli: good("request", #{{ app: "{name}" }}) }});"#)
    };
    let tier = r#"page(#{ long: "15m", short: "5m", factor: 3 })"#;
    let worst = format!(r#"slo("both", #{{ objective: 99, window: "2d", sli: composite(["a", "b"]), alert: [ {tier} ] }});"#);
    let mean =
        format!(r#"slo("mean", #{{ objective: 99, window: "2d", sli: composite(["a", "b"], "weighted", [1, 3]), alert: [ {tier} ] }});"#);
    let mut bench = Bench::new(&[member("a"), member("b"), worst, mean].join("\n"));
    for minute in 0..2020 {
        for region in ["de", "us"] {
            // From minute 2000 on half of what region de asks of `a` fails; `b` stays well.
            let bad = if minute >= 2000 && region == "de" { 50 } else { 0 };
            bench.row(minute, "request", json!({ "app": "a", "region": region }), 100, bad);
            bench.row(minute, "request", json!({ "app": "b", "region": region }), 100, 0);
        }
    }
    // At the end 20 minutes of 50 are bad, of 404,000 requests, of which 1 % may be: a quarter of the budget.
    let spent = 1_000.0 / 4_040.0;
    let found = bench.json(&["--from", &at(1900)]);
    for (slo, share) in [("both", 1.0), ("mean", 0.25)] {
        let incident = found["incidents"].as_array().unwrap().iter().find(|incident| incident["key"].as_str().unwrap().contains(slo));
        let incident = incident.unwrap_or_else(|| panic!("{found}"));
        let impact = |key: &str| incident["impact"][key].as_f64().unwrap();
        let counted = impact("bad_events") / 50.0;
        assert!(counted > 15.0 && counted <= 20.0, "only since it burns: {incident}");
        assert!((impact("budget_consumed") - counted / 20.0 * spent * share).abs() < 0.003, "{incident}");
        assert!((impact("budget_remaining") - 1.0 + counted / 20.0 * spent * share).abs() < 0.003, "{incident}");
        assert_eq!((&incident["verdict"], &incident["suspects"][0]["where"]["region"]), (&json!("segment"), &json!("de")), "{incident}");
    }
}

#[test]
fn what_is_printed_has_the_shape_of_the_contract() {
    let mut bench = Bench::new(
        r#"
        slo("api", #{ objective: 99.9, service: "shop", owner: "team", sli: good("request", #{ app: "api" }),
                      alert: [ page(#{ long: "1h", factor: 14.4 }), page(#{ long: "6h", factor: 6 }), ticket(#{ long: "1d", factor: 3 }) ],
                      labels: #{ area: "x" } });
        receiver("pager", webhook(#{ url: "https://pager.example.com/" }));
        receiver("tickets", webhook(#{ url: "https://tickets.example.com/" }));
        route(#{ when: #{ severity: "page" }, to: ["pager"], group_by: ["service"] });
        route(#{ to: ["tickets"], group_by: ["service"] });
        "#,
    );
    for minute in 0..3000 {
        let fault = (2000..2030).contains(&minute);
        for (region, release) in [("de", "1"), ("us", "1"), ("de", "2")] {
            let bad = if fault && release == "2" { 60 } else { 0 };
            bench.row(minute, "request", json!({ "app": "api", "region": region, "release": release }), 100, bad);
        }
    }
    let found = bench.json(&[]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&found), ["alerts", "evaluations", "from", "incidents", "notifications", "slos", "to"]);
    assert_eq!((found["from"].as_str(), found["to"].as_str()), (Some(&*at(0)), Some(&*at(3000))));
    assert_eq!(found["evaluations"], 3000);
    let alert = &found["alerts"][0];
    assert_eq!(keys(alert), ["ended_at", "labels", "pending_at", "rule", "severity", "started_at", "tier", "values"]);
    assert_eq!(alert["labels"], json!({ "slo": "api", "service": "shop", "owner": "team", "area": "x", "severity": "page" }));
    assert_eq!((alert["tier"].as_i64(), alert["severity"].as_str()), (Some(0), Some("page")));
    // 60 of 300 a minute; the hour passes 1.44 % with the fifth minute.
    assert_eq!(minute(&alert["started_at"]), 2005);
    assert_eq!(
        (&alert["values"]["long"], &alert["values"]["short"], &alert["values"]["factor"]),
        (&json!("1h"), &json!("5m"), &json!(14.4))
    );
    assert!((alert["values"]["burn_long"].as_f64().unwrap() - 300.0 / 18_000.0 / 0.001).abs() < 1e-9);
    let tiers: Vec<i64> = alerts(&found).iter().map(|alert| alert.1).collect();
    assert_eq!(tiers, [0, 1, 2], "lower tiers are recorded as well: {found}");

    let incident = &found["incidents"][0];
    assert_eq!(found["incidents"].as_array().unwrap().len(), 1);
    assert_eq!(keys(incident), ["alerts", "impact", "key", "opened_at", "resolved_at", "severity", "signature", "suspects", "verdict"]);
    assert_eq!((incident["key"].as_str(), incident["severity"].as_str()), (Some(r#"{service="shop"}"#), Some("page")));
    assert_eq!((incident["verdict"].as_str(), incident["signature"].as_str()), (Some("segment"), Some("release:api/2")));
    assert_eq!(incident["suspects"][0]["where"], json!({ "release": "2" }));
    assert_eq!(incident["impact"]["bad_events"], 1800.0);
    assert_eq!(incident["opened_at"], alert["started_at"]);

    // The pager is told that it is over when only the ticket's tier still holds.
    let told: Vec<(&str, &str)> =
        found["notifications"].as_array().unwrap().iter().map(|n| (n["receiver"].as_str().unwrap(), n["type"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [("pager", "incident.opened"), ("pager", "incident.resolved"), ("tickets", "incident.opened"), ("tickets", "incident.resolved")]
    );
    assert!(found["notifications"].as_array().unwrap().iter().all(|n| n["incident"] == incident["key"]));

    let budget = &found["slos"][0];
    assert_eq!(keys(budget), ["bad", "budget_remaining", "countdown_s", "labels", "objective", "pace_s", "slo", "total"]);
    assert_eq!((&budget["total"], &budget["bad"], &budget["objective"]), (&json!(900_000), &json!(1800), &json!(99.9)));
    assert_eq!((budget["budget_remaining"].as_f64(), budget["countdown_s"].as_f64()), (Some(-1.0), Some(0.0)));
    assert!((budget["pace_s"].as_f64().unwrap() - 15.0 * 86_400.0).abs() < 1e-3);
    assert_eq!(budget["labels"], json!({}));
}

#[test]
fn a_ratio_exactly_at_the_limit_fires_only_with_at_least() {
    let slo = |name: &str, op: &str| {
        format!(
            r#"slo("{name}", #{{ objective: 90, window: "7d", sli: good("request", #{{ app: "a" }}),
                alert: [ page(#{{ long: "10m", short: "5m", factor: 6{op} }}) ] }});"#
        )
    };
    let mut bench = Bench::new(&(slo("above", "") + &*slo("least", r#", op: ">=""#)));
    for minute in 0..60 {
        bench.requests(minute, "a", 10, 6);
    }
    let fired = alerts(&bench.json(&[]));
    // Nine of ten minutes measured are enough for the plain comparison.
    assert_eq!(fired, [("least".to_owned(), 0, 9, 9, None)]);
}

#[test]
fn a_gap_freezes_an_alert() {
    let mut bench = Bench::new(&slo("a", r#"page(#{ long: "1h", short: "5m", factor: 14.4 })"#));
    for minute in (0..110).chain(140..300) {
        bench.requests(minute, "a", 100, if (100..110).contains(&minute) { 50 } else { 0 });
    }
    let fired = alerts(&bench.json(&[]));
    let (_, _, _, started, ended) = &fired[0];
    assert_eq!((fired.len(), *started), (1, 102));
    // The short window is measured to nine tenths five minutes after the return; the long one holds 50 of 60 minutes at most
    // until 194, and by then counts what is missing as good.
    assert!(ended.is_some_and(|ended| ended >= 145), "{fired:?}");
}

#[test]
fn the_order_of_rows_does_not_matter_and_equal_buckets_add_up() {
    let rules = slo("a", r#"page(#{ long: "1h", short: "5m", factor: 14.4 })"#);
    let (mut whole, mut parts) = (Bench::new(&rules), Bench::new(&rules));
    for minute in 0..200 {
        whole.requests(minute, "a", 100, i64::from(minute > 150) * 30);
    }
    for minute in (0..200).rev() {
        parts.requests(minute, "a", 60, 0);
    }
    // What comes late lands in its own bucket.
    for minute in 0..200 {
        parts.requests(minute, "a", 40, i64::from(minute > 150) * 30);
    }
    let (whole, parts) = (whole.json(&[]), parts.json(&[]));
    assert_eq!(whole, parts);
    assert_eq!(alerts(&whole).len(), 1);
}

#[test]
fn every_group_has_its_own_alerts_and_budget() {
    let mut bench = Bench::new(
        r#"slo("a", #{ objective: 99, window: "7d", sli: good("request", #{ app: "a" }), by: ["region"],
                       alert: [ page(#{ long: "1h", short: "5m", factor: 14.4 }) ] });"#,
    );
    for minute in 0..200 {
        for region in ["us", "de"] {
            let bad = if region == "de" && minute >= 100 { 100 } else { 0 };
            bench.row(minute, "request", json!({ "app": "a", "region": region }), 100, bad);
        }
    }
    let found = bench.json(&[]);
    assert_eq!(found["alerts"].as_array().unwrap().len(), 1);
    assert_eq!((&found["alerts"][0]["labels"]["region"], minute(&found["alerts"][0]["started_at"])), (&json!("de"), 109));
    let slos: Vec<_> = found["slos"].as_array().unwrap().iter().map(|slo| (slo["labels"].clone(), slo["bad"].clone())).collect();
    assert_eq!(slos, [(json!({ "region": "de" }), json!(10_000)), (json!({ "region": "us" }), json!(0))]);
    assert_eq!(found["slos"][1]["pace_s"], Value::Null);
    assert_eq!(found["incidents"][0]["key"], json!(r#"{region="de",slo="a"}"#));
}

#[test]
fn a_ratio_counts_good_over_total() {
    let mut bench = Bench::new(
        r#"slo("funnel", #{ objective: 50, window: "7d",
               sli: ratio(count("step", #{ app: "a", step: "paid" }), count("step", #{ app: "a", step: "cart" })),
               alert: [ ticket(#{ long: "1h", short: "5m", factor: 1.5 }) ] });"#,
    );
    for minute in 0..300 {
        bench.row(minute, "step", json!({ "app": "a", "funnel": "f", "step": "cart" }), 100, 0);
        // More paid than came in for a while, then nearly nothing.
        let paid = if minute < 100 { 110 } else { 10 };
        bench.row(minute, "step", json!({ "app": "a", "funnel": "f", "step": "paid" }), paid, 0);
    }
    let found = bench.json(&[]);
    // In the hour to t, n minutes with 10 of 100: (6000 - 110 (60 - n) - 10 n) / 6000 > 0.75 from n = 52 on.
    assert_eq!(alerts(&found), [("funnel".to_owned(), 0, 152, 152, None)]);
    let bad: i64 = 300 * 100 - 100 * 110 - 200 * 10;
    assert_eq!((&found["slos"][0]["total"], &found["slos"][0]["bad"]), (&json!(30_000), &json!(bad)));
}

#[test]
fn evaluations_lie_after_from_and_up_to_to() {
    let mut bench = Bench::new(&slo("a", r#"page(#{ long: "1h", short: "5m", factor: 14.4, pending: "3m" })"#));
    for minute in 0..300 {
        bench.requests(minute, "a", 100, if minute < 200 { 50 } else { 0 });
    }
    // Data before `from` warms the windows up: the first evaluation already holds.
    let found = bench.json(&["--from", &at(100), "--to", &at(150)]);
    assert_eq!((found["evaluations"].as_i64(), alerts(&found)), (Some(50), vec![("a".to_owned(), 0, 101, 104, None)]));
    assert_eq!(found["slos"][0]["total"], json!(15_000));
    let found = bench.json(&["--from=-50m"]);
    assert_eq!((found["evaluations"].as_i64(), found["from"].as_str()), (Some(50), Some(&*at(250))));
}

#[test]
fn free_form_rules_are_asked_on_their_schedule() {
    let mut bench = Bench::new(
        r#"alert("errors", #{ every: "5m", severity: "ticket", pending: "5m", by: ["region"],
               when: |q| q.count("request", #{ app: "a" }, "10m").bad > 100.0, summary: "many errors" });"#,
    );
    for minute in 0..100 {
        for region in ["de", "us"] {
            let bad = if region == "us" && (31..61).contains(&minute) { 20 } else { 0 };
            bench.row(minute, "request", json!({ "app": "a", "region": region }), 100, bad);
        }
    }
    let found = bench.json(&[]);
    // Six bad minutes make 120: by 37, so asked at 40. At 65, four are left: 80.
    assert_eq!(alerts(&found), [("errors".to_owned(), -1, 40, 45, Some(70))]);
    assert_eq!(found["alerts"][0]["labels"], json!({ "rule": "errors", "region": "us", "severity": "ticket" }));
    assert_eq!(found["alerts"][0]["tier"], Value::Null);
}

#[test]
fn refused_rows_are_named_and_the_rest_is_used() {
    let mut bench = Bench::new(&slo("a", "burn_rate()").replace("[ burn_rate() ]", "burn_rate()"));
    bench.requests(0, "a", 100, 0);
    bench.rows += "{\"bucket\": 1, \"metric\": \"request\", \"dims\": {\"app\": \"a\"}, \"total\": 1}\nnonsense\n";
    bench.requests(1, "a", 100, 0);
    let output = bench.command(&["--json"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("rows.ndjson:2: row refused: `bucket` is not aligned"), "{errors}");
    assert!(errors.contains("rows.ndjson:3: row refused") && errors.contains("2 rows were refused, 2 were used"), "{errors}");
    bench.rows = "nonsense\n".into();
    let output = bench.command(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no usable rows"));
}

#[test]
fn what_cannot_be_run_says_why() {
    let mut bench = Bench::new("slo(\"a\", #{ objctive: 99 });");
    bench.requests(0, "a", 1, 0);
    let code = |bench: &Bench, args: &[&str], word: &str| {
        let output = bench.command(args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(word), "{errors}");
        output.status.code()
    };
    assert_eq!(code(&bench, &[], "rules.rhai:1:"), Some(1));
    std::fs::write(bench.folder.path().join("rules/rules.rhai"), slo("a", r#"page(#{ long: "1h", factor: 14.4 })"#)).unwrap();
    assert_eq!(code(&bench, &["--slo", "b"], "no SLO `b`"), Some(1));
    assert_eq!(code(&bench, &["--from", &at(5), "--to", &at(5)], "nothing to evaluate"), Some(2));
    assert_eq!(code(&bench, &["--from", "yesterday"], "write a time like"), Some(2));
    let none = Command::new(env!("CARGO_BIN_EXE_burnwatch"))
        .current_dir(bench.folder.path())
        .args(["backtest", "rules", "--data", "none.ndjson"])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(3));
}

#[test]
fn a_person_gets_tables_and_a_picture() {
    let mut bench = Bench::new(&slo("a", r#"page(#{ long: "1h", short: "5m", factor: 14.4 })"#));
    for minute in 0..200 {
        bench.requests(minute, "a", 100, if (100..120).contains(&minute) { 50 } else { 0 });
    }
    let output = bench.command(&["--plot", "picture.svg"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Incidents: 1") && text.contains("45 % of requests of a fail"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where nobody looks");
    let picture = std::fs::read_to_string(bench.folder.path().join("picture.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("class=\"page\"") && picture.contains("<polyline"), "{picture}");
}

#[test]
fn two_revisions_of_the_rules_are_compared() {
    let mut bench = Bench::new(&slo("a", r#"page(#{ long: "1h", short: "5m", factor: 14.4 })"#));
    for minute in 0..200 {
        bench.requests(minute, "a", 100, if (100..110).contains(&minute) { 20 } else { 0 });
    }
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(bench.folder.path()).args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(args);
        command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
        assert!(command.output().unwrap().status.success(), "{args:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "rules"]);
    git(&["commit", "-q", "-m", "first"]);
    std::fs::write(bench.folder.path().join("rules/rules.rhai"), slo("a", r#"page(#{ long: "1h", short: "5m", factor: 50 })"#)).unwrap();
    let found = bench.json(&["--against", "HEAD"]);
    assert_eq!((alerts(&found).len(), alerts(&found["against"]).len()), (0, 1));
    assert_eq!(found["against"]["revision"].as_str().map(str::len), Some(40));
    let text = String::from_utf8(bench.command(&["--against", "HEAD"]).stdout).unwrap();
    assert!(text.contains("gone"), "{text}");
    let none = bench.command(&["--against=--output=x"]);
    assert_eq!(none.status.code(), Some(1), "{}", String::from_utf8_lossy(&none.stderr));
}

#[test]
fn labelled_outages_give_precision_recall_and_time_to_detection() {
    let mut bench = Bench::new(
        r#"slo("api", #{ objective: 99.0, window: "1d", sli: good("request", #{ app: "shop" }),
            alert: [page(#{ long: "10m", short: "5m", factor: 10.0 })] });
        slo("other", #{ objective: 99.0, window: "1d", sli: good("request", #{ app: "blog" }),
            alert: [page(#{ long: "10m", short: "5m", factor: 10.0 })] });"#,
    );
    for at in 0..240 {
        // Two outages of the shop; the second one is labelled, and so is a third that shows nowhere.
        let bad = if (60..80).contains(&at) || (150..170).contains(&at) { 1_000 } else { 0 };
        bench.requests(at, "shop", 1_000, bad);
        bench.requests(at, "blog", 1_000, 0);
    }
    let stamp = |at: i64| burnwatch::domain::time::Timestamp(EPOCH + at * M).to_string();
    let lines = format!(
        "{{\"from\":\"{}\",\"to\":\"{}\",\"name\":\"second\",\"rules\":[\"api\"]}}\n{{\"from\":\"{}\",\"to\":\"{}\",\"name\":\"unseen\",\"rules\":[\"api\"]}}\n",
        stamp(150),
        stamp(170),
        stamp(200),
        stamp(210)
    );
    std::fs::write(bench.folder.path().join("outages.ndjson"), lines).unwrap();
    let found = bench.json(&["--outages", "outages.ndjson"]);
    let rows = found["outages"].as_array().unwrap();
    let api = rows.iter().find(|row| row["rule"] == "api").unwrap();
    assert_eq!((&api["alerts"], &api["true_alerts"], &api["precision"]), (&json!(2), &json!(1), &json!(0.5)));
    assert_eq!((&api["outages"], &api["detected"], &api["recall"]), (&json!(2), &json!(1), &json!(0.5)));
    // One minute of failures is 10 % of ten minutes, 10x, which is not over 10x; the second one is.
    assert_eq!((&api["detection_median_s"], &api["detection_slowest_s"]), (&json!(120.0), &json!(120.0)));
    let other = rows.iter().find(|row| row["rule"] == "other").unwrap();
    assert_eq!((&other["precision"], &other["recall"], &other["outages"]), (&Value::Null, &Value::Null, &json!(0)));

    let shown = bench.command(&["--outages", "outages.ndjson"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("Noticed by no rule") && shown.contains("unseen"), "{shown}");
    std::fs::write(bench.folder.path().join("outages.ndjson"), "{\"from\":1}").unwrap();
    let refused = bench.command(&["--outages", "outages.ndjson"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("outages.ndjson:1:"));
}

#[test]
fn a_budget_holds_the_first_minute_also_where_nothing_was_measured_for_a_month_before() {
    let mut bench = Bench::new(&slo("a", r#"page(#{ long: "1h", short: "5m", factor: 14.4 })"#));
    for minute in 0..120 {
        bench.requests(minute, "a", 100, if minute == 0 { 9 } else { 0 });
    }
    for to in [59, 60, 61, 120] {
        let found = bench.json(&["--from", &at(-31 * 1440), "--to", &at(to)]);
        assert_eq!((&found["slos"][0]["total"], &found["slos"][0]["bad"]), (&json!(100 * to), &json!(9)), "{to}");
    }
}
