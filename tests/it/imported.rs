//! `import alertmanager` against the judge: for files of all forms and some hundred alerts, Debian's
//! `amtool config routes test` on the source and `burnwatch route test` on what was made of it name the same receivers in
//! the same order.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use super::daemon::{Daemon, post};

/// What the alerts of a file are made of: each label absent or one of these.
type Grid = &'static [(&'static str, &'static [&'static str])];

const USUAL: Grid = &[
    ("severity", &["", "critical", "page", "info"]),
    ("team", &["", "db", "web", "frontend", "dba"]),
    ("service", &["", "mysql", "cassandra", "inhouse", "shop", "shopping"]),
];

const FILES: [(&str, Grid); 6] = [
    ("usual", USUAL),
    ("old", USUAL),
    (
        "negative",
        &[
            ("severity", &["", "critical", "page", "warning"]),
            ("team", &["", "db", "web", "ops"]),
            ("service", &["", "shop", "shops", "x"]),
            ("cluster", &["", "eu-1"]),
        ],
    ),
    (
        "quiet",
        &[
            ("alertname", &["", "Watchdog"]),
            ("severity", &["", "critical", "page", "info"]),
            ("team", &["", "db", "web"]),
            ("service", &["", "shop"]),
        ],
    ),
    (
        "strict",
        &[
            ("severity", &["", "critical", "page"]),
            ("team", &["", "db", "web", "frontend"]),
            ("service", &["", "mysql", "shop", "shops", "shopx", "shoop", "sh"]),
        ],
    ),
    (
        "odd",
        &[
            ("service", &["", "/x/", "x", "x*", "xy", "!x"]),
            ("team", &["", "odd", "say \"hi\", all", "a.b", "aXb", "c+", "cc", "mañana – später"]),
        ],
    ),
];

/// All alerts of a grid, as `label=value`.
fn alerts(grid: Grid) -> Vec<Vec<String>> {
    let mut alerts = vec![Vec::new()];
    for (label, values) in grid {
        alerts = alerts
            .iter()
            .flat_map(|alert: &Vec<String>| {
                values.iter().map(|value| match *value {
                    "" => alert.clone(),
                    value => [alert.clone(), vec![format!("{label}={value}")]].concat(),
                })
            })
            .collect();
    }
    alerts.retain(|alert| !alert.is_empty());
    alerts
}

/// The receivers that amtool names.
fn judge(file: &Path, alert: &[String]) -> Vec<String> {
    // amtool reads its arguments as matchers, so the values are quoted for it.
    let quoted = alert.iter().map(|pair| {
        let (label, value) = pair.split_once('=').expect("it is a pair");
        format!("{label}={}", serde_json::to_string(value).expect("a text"))
    });
    let output = Command::new("amtool")
        .args(["config", "routes", "test", "--config.file"])
        .arg(file)
        .args(quoted)
        .output()
        .expect("amtool is missing: apt-get install --no-install-recommends prometheus-alertmanager");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.trim().split(',').map(str::to_owned).collect()
}

fn burnwatch(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burnwatch"));
    command.args(args);
    command
}

/// The answer of `route test --json`, which is the API's.
fn asked(daemon: &Daemon, alert: &[String]) -> String {
    let output = burnwatch(&["route", "test", "--json"])
        .args(alert)
        .env("BURNWATCH_SERVER__PUBLIC_URL", format!("http://{}", daemon.admin))
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The receivers that our routes name; `nobody` for a route that is always muted. Hours are nothing that amtool looks at.
fn ours(daemon: &Daemon, alert: &[String]) -> Vec<String> {
    let labels: Map<String, Value> =
        alert.iter().map(|pair| pair.split_once('=').expect("a pair")).map(|(k, v)| (k.into(), v.into())).collect();
    let (status, text) = post(daemon.admin, "/v1/routes/test", &json!({ "labels": labels }).to_string()).expect("it answers");
    assert_eq!(status, 200, "{text}");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    let told = |route: &Value| match route["muted"].as_str() {
        Some(why) if why.contains("imported-always") => vec!["nobody".to_owned()],
        Some(_) | None => {
            route["receivers"].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
        }
    };
    body["items"].as_array().expect("a list").iter().flat_map(told).collect()
}

#[test]
fn the_same_alerts_reach_the_same_receivers_in_the_same_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut compared = 0;
    for (name, grid) in FILES {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/alertmanager_yml/{name}.yml"));
        let out = folder.path().join(name);
        let output = burnwatch(&["import", "alertmanager", "--strict"]).arg(&file).arg("--out").arg(&out).output().expect("it runs");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name} is not taken over whole:\n{report}{}", String::from_utf8_lossy(&output.stderr));
        let rules = std::fs::read_to_string(out.join(format!("{name}.rhai"))).expect("it was written");
        let mut daemon = Daemon::new("", &rules);
        daemon.start();
        let alerts = alerts(grid);
        let by_command: Value = serde_json::from_str(&asked(&daemon, &alerts[0])).expect("JSON");
        let first = judge(&file, &alerts[0]).remove(0);
        assert!(by_command["items"][0]["receivers"][0] == first.as_str() || first == "nobody", "{by_command}");
        for alert in &alerts {
            assert_eq!(ours(&daemon, alert), judge(&file, alert), "{name}: {alert:?}\n{rules}");
        }
        compared += alerts.len();
    }
    assert!(compared > 480, "only {compared} alerts were compared");
}
