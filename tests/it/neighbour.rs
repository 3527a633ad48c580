//! `/api/v2` with its real peers: Debian's amtool and Debian's Prometheus, unmodified, against the daemon.
//! Without these programs the tests fail; they are never skipped.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use burnwatch::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The daemon in a folder of its own, and the webhook that it tells.
struct Daemon {
    process: Process,
    admin: String,
    intake: String,
    folder: TempDir,
    told: mpsc::UnboundedReceiver<Value>,
}

async fn sink() -> (SocketAddr, mpsc::UnboundedReceiver<Value>) {
    let (sender, told) = mpsc::unbounded_channel();
    let take = post(async move |axum::Json(body): axum::Json<Value>| sender.send(body).map_err(|_| "the test is over"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", take)).await });
    (address, told)
}

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
[intake]
listen = "127.0.0.1:0"
[aggregation]
bucket = "1s"
settle = "1s"
[delivery]
allow_private = ["127.0.0.0/8"]
"#;

/// The process, and the addresses of its two sides.
fn run(folder: &Path) -> (Process, String, String) {
    let log = folder.join("log");
    let file = std::fs::File::create(&log).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_burnwatch"))
        .arg("run")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let process = Process(child);
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if let Some((_, rest)) = text.split_once("pages and API on ") {
            let (admin, rest) = rest.split_once(", intake on ").unwrap();
            return (process, admin.to_owned(), rest.split(". ").next().unwrap().to_owned());
        }
        assert!(began.elapsed() < PATIENCE, "the daemon did not start:\n{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Daemon {
    async fn start(routes: &str) -> Daemon {
        let (address, told) = sink().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        let receiver = |name: &str| format!("receiver(\"{name}\", webhook(#{{ url: \"http://{address}/\" }}));\n");
        let rules = format!("{}{}{routes}", receiver("pager"), receiver("team"));
        std::fs::write(folder.path().join("rules/rules.rhai"), rules).unwrap();
        std::fs::write(folder.path().join("burnwatch.toml"), CONFIG).unwrap();
        let (process, admin, intake) = run(folder.path());
        Daemon { process, admin, intake, folder, told }
    }

    /// Kills it without a warning and starts it again.
    fn crash(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
        let (process, admin, intake) = run(self.folder.path());
        self.process = process;
        (self.admin, self.intake) = (admin, intake);
    }

    /// Waits until the daemon has noted what its webhook answered: what it had claimed and not noted waits for the
    /// end of that claim after a crash.
    async fn noted(&self) {
        let began = Instant::now();
        loop {
            let url = format!("{}/v1/notifications", self.admin);
            let output = tokio::process::Command::new("curl").args(["-s", &url]).output().await.expect("curl is there");
            let text = String::from_utf8(output.stdout).unwrap();
            if text.contains("\"items\"") && !text.contains("\"pending\"") {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{text}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The next thing that the webhook is told, all of it.
    async fn heard(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("somebody is told").unwrap()
    }

    /// The kind and the incident of it.
    async fn told(&mut self) -> (String, Value) {
        let body = self.heard().await;
        (body["type"].as_str().unwrap().to_owned(), body["data"]["incident"].clone())
    }

    /// What a page of the API says.
    fn get(&self, path: &str) -> Value {
        let output = Command::new("curl").args(["-s", &format!("{}{path}", self.admin)]).output().expect("curl is there");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    async fn post(&self, body: &Value) -> (u16, String) {
        self.post_raw(&body.to_string(), "application/json").await
    }

    async fn post_raw(&self, body: &str, kind: &str) -> (u16, String) {
        let output = tokio::process::Command::new("curl")
            .args(["-s", "-w", "\n%{http_code}", "-H", &format!("content-type: {kind}"), "--data-binary", body])
            .arg(format!("{}/api/v2/alerts", self.admin))
            .output()
            .await
            .expect("curl is missing: apt-get install curl");
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Runs amtool: its exit code and what it printed.
    fn amtool(&self, args: &[&str]) -> (i32, String) {
        let output = Command::new("amtool")
            .arg(format!("--alertmanager.url={}", self.admin))
            .args(args)
            .output()
            .expect("amtool is missing: apt-get install --no-install-recommends prometheus-alertmanager");
        let mut text = String::from_utf8(output.stdout).unwrap();
        text.push_str(&String::from_utf8(output.stderr).unwrap());
        (output.status.code().unwrap(), text)
    }

    fn query(&self, args: &[&str]) -> Vec<Value> {
        let (code, text) = self.amtool(&[&["-o", "json", "alert", "query"], args].concat());
        assert_eq!(code, 0, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

const ROUTES: &str = r#"
route(#{ when: #{ severity: ["page", "critical"] }, to: ["pager", "team"], group_by: ["alertname"] });
route(#{ when: #{ team: "db*" }, to: ["team"] });
inhibit(#{ source: #{ severity: "critical" }, target: #{ severity: "warning" }, equal: ["cluster"] });
alerts_in(#{ resolve_timeout: "4s" });
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_adds_and_finds_alerts() {
    let mut daemon = Daemon::start(ROUTES).await;
    assert_eq!(daemon.amtool(&["alert", "add", "DiskFull", "team=db1", "cluster=a", "--annotation=summary=it is full"]).0, 0);
    assert_eq!(daemon.amtool(&["alert", "add", "Slow", "severity=warning", "cluster=b"]).0, 0);
    let found = daemon.query(&[]);
    assert_eq!(found.len(), 2);
    let disk = daemon.query(&["DiskFull", "team=~db.*"]);
    assert_eq!(disk.len(), 1);
    assert_eq!(disk[0]["receivers"], json!([{ "name": "team" }]));
    assert_eq!(disk[0]["annotations"], json!({ "summary": "it is full" }));
    assert_eq!(disk[0]["status"], json!({ "inhibitedBy": [], "silencedBy": [], "state": "active" }));
    assert_eq!(daemon.query(&["--receiver=team"]).len(), 1);
    assert_eq!(daemon.query(&["team!~db.*"]).len(), 1);

    let (kind, incident) = daemon.told().await;
    assert_eq!(kind, "incident.opened");
    assert_eq!(incident["title"], "it is full");
    assert_eq!(incident["key"], r#"{alertname="DiskFull"}"#);
    assert_eq!(incident["severity"], "ticket");
    // Nobody says that it is over, so it ends by itself.
    let (kind, incident) = daemon.told().await;
    assert_eq!((kind.as_str(), &incident["alerts"][0]["state"]), ("incident.resolved", &json!("resolved")));
    assert_eq!(daemon.query(&[]).len(), 0);

    let (code, text) = daemon.amtool(&["alert", "add", "x", "--start=2026-01-02T00:00:00Z", "--end=2026-01-01T00:00:00Z"]);
    assert!(code != 0 && text.contains("start time must be before end time"), "{code} {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_silences_and_inhibitions_show() {
    let daemon = Daemon::start(ROUTES).await;
    let lasts = "2099-01-01T00:00:00Z";
    let alert =
        |name: &str, severity: &str| json!({ "labels": { "alertname": name, "severity": severity, "cluster": "a" }, "endsAt": lasts });
    let (status, text) = daemon.post(&json!([alert("Down", "critical"), alert("Slow", "warning")])).await;
    assert_eq!((status, text.as_str()), (200, ""));
    let held = daemon.query(&["--inhibited"]);
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0]["labels"]["alertname"], "Slow");
    assert_eq!(held[0]["status"]["inhibitedBy"].as_array().unwrap().len(), 1);

    let (code, id) =
        daemon.amtool(&["silence", "add", "alertname=Down", "cluster=~a|b", "cluster!=c", "-a", "ada", "-c", "known", "-d", "1h"]);
    assert_eq!(code, 0, "{id}");
    let id = id.trim();
    let (_, listed) = daemon.amtool(&["silence", "query", "-q"]);
    assert_eq!(listed.trim(), id);
    let (_, listed) = daemon.amtool(&["silence", "query", "alertname=Down"]);
    assert!(listed.contains("cluster=~\"a|b\"") && listed.contains("cluster!=\"c\"") && listed.contains("ada"), "{listed}");
    assert_eq!(daemon.query(&["--silenced"])[0]["status"]["silencedBy"], json!([id]));
    assert_eq!(daemon.query(&[]).len(), 0);
    let (code, text) = daemon.amtool(&["silence", "update", "-d", "2h", "-c", "longer", id]);
    assert!(code == 0 && text.contains("longer") && text.contains(id), "{text}");
    assert_eq!(daemon.amtool(&["silence", "expire", id]).0, 0);
    assert_eq!(daemon.amtool(&["silence", "query", "-q"]).1.trim(), "");
    assert_eq!(daemon.amtool(&["silence", "query", "-q", "--expired"]).1.trim(), id);
    assert_eq!(daemon.query(&[]).len(), 1);
    assert_ne!(daemon.amtool(&["silence", "expire", "nothing"]).0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_reads_our_routes() {
    let daemon = Daemon::start(ROUTES).await;
    let told = |labels: &[&str]| daemon.amtool(&[&["config", "routes", "test"], labels].concat()).1.trim().to_owned();
    assert_eq!(told(&["severity=critical", "team=db1"]), "pager,team");
    assert_eq!(told(&["team=db1"]), "team");
    assert_eq!(told(&["team=web"]), "nobody");
    let (code, text) = daemon.amtool(&["config", "routes", "test", "--verify.receivers=pager,team", "severity=page"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = daemon.amtool(&["config", "show"]);
    assert_eq!(code, 0);
    let file = daemon.folder.path().join("alertmanager.yml");
    std::fs::write(&file, text).unwrap();
    let checked = Command::new("amtool").arg("check-config").arg(&file).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let (code, text) = daemon.amtool(&["cluster", "show"]);
    assert!(code == 0 && text.contains("disabled"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_moves_silences_from_one_daemon_to_another() {
    let (from, to) = (Daemon::start(ROUTES).await, Daemon::start(ROUTES).await);
    for (matcher, lasts) in [("alertname=Down", "1h"), ("cluster=~\"a|b\"", "5h")] {
        let (code, text) = from.amtool(&["silence", "add", matcher, "-a", "ada", "-c", "known \"well\"", "-d", lasts]);
        assert_eq!(code, 0, "{text}");
    }
    let (_, text) = from.amtool(&["-o", "json", "silence", "query"]);
    let file = to.folder.path().join("silences.json");
    std::fs::write(&file, &text).unwrap();
    // Their ids are not known there, so amtool sends them again without.
    let (code, said) = to.amtool(&["silence", "import", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let silences = |daemon: &Daemon, args: &[&str]| -> Vec<Value> {
        let (_, text) = daemon.amtool(&[&["-o", "json", "silence", "query"], args].concat());
        let mut list: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        list.iter_mut().for_each(|one| *one = json!([one["matchers"], one["createdBy"], one["comment"], one["endsAt"]]));
        list.sort_by_key(Value::to_string);
        list
    };
    assert_eq!(silences(&from, &[]).len(), 2);
    assert_eq!(silences(&to, &[]), silences(&from, &[]));
    assert_eq!(silences(&to, &["--within", "2h"]).len(), 1, "by when they end");
    assert_eq!(silences(&to, &["cluster=\"a|b\""]).len() + silences(&to, &["alertname=Down"]).len(), 2);
    // The whole tree of routes, as amtool draws it from our configuration.
    let (code, tree) = to.amtool(&["config", "routes"]);
    assert_eq!(code, 0, "{tree}");
    for part in ["receiver: nobody", "receiver: pager,team", "{severity=~\"page|critical\"}", "receiver: team"] {
        assert!(tree.contains(part), "{part} is missing in\n{tree}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_crash_and_is_told_once() {
    let mut daemon = Daemon::start(ROUTES).await;
    let lasts = "2099-01-01T00:00:00Z";
    let alerts: Vec<Value> =
        (0..64).map(|n| json!({ "labels": { "alertname": "Down", "severity": "page", "n": n.to_string() }, "endsAt": lasts })).collect();
    assert_eq!(daemon.post(&json!(alerts)).await.0, 200);
    daemon.crash();
    assert_eq!(daemon.query(&[]).len(), 64);
    let mut told = Vec::new();
    let mut id = Value::Null;
    for _ in 0..2 {
        let (kind, incident) = daemon.told().await;
        id = incident["id"].clone();
        told.push((kind, incident["alerts"].as_array().unwrap().len()));
    }
    assert_eq!(told, [("incident.opened".to_owned(), 64), ("incident.opened".to_owned(), 64)], "the pager and the team, once each");
    daemon.noted().await;
    daemon.crash();
    assert_eq!(daemon.query(&[]).len(), 64);
    let over: Vec<Value> = alerts.iter().map(|alert| json!({ "labels": alert["labels"], "endsAt": SystemClock.now() })).collect();
    assert_eq!(daemon.post(&json!(over)).await.0, 200);
    // What was sent and not yet noted when it was killed is sent again, but no other incident opens.
    let mut resolved = 0;
    while resolved < 2 {
        let (kind, incident) = daemon.told().await;
        assert_eq!(incident["id"], id);
        match kind.as_str() {
            "incident.resolved" => resolved += 1,
            kind => assert_eq!((kind, resolved), ("incident.opened", 0)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_alertmanagers_shapes_and_the_good_ones_count() {
    let daemon = Daemon::start(ROUTES).await;
    assert_eq!(daemon.post(&json!([])).await, (200, String::new()));
    assert_eq!(daemon.post_raw("[]", "text/plain").await.0, 415);
    assert_eq!(daemon.post_raw("[]", "application/json; charset=utf-8").await.0, 200);
    let (status, text) = daemon.post_raw("{", "application/json").await;
    assert_eq!((status, serde_json::from_str::<Value>(&text).unwrap()["code"].clone()), (400, json!(400)));
    assert_eq!(daemon.post(&json!({})).await.0, 400);
    let (status, text) = daemon.post(&json!([{}])).await;
    assert_eq!((status, serde_json::from_str::<Value>(&text).unwrap()["code"].clone()), (422, json!(602)));
    let (status, text) = daemon.post(&json!([{ "labels": { "alertname": "good" } }, { "labels": {} }])).await;
    assert_eq!((status, text.as_str()), (400, "\"at least one label pair required\""));
    assert_eq!(daemon.query(&["good"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_tells_us_and_we_tell_the_webhook() {
    let mut daemon = Daemon::start(ROUTES).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let rule = |expr: &str| {
        format!(
            "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: CheckoutDown\n    expr: {expr}\n    labels: {{severity: critical}}\n    \
             annotations: {{summary: 'checkout is down, {{{{ $value }}}}'}}\n"
        )
    };
    let target = daemon.admin.trim_start_matches("http://").to_owned();
    write("rules.yml", rule("vector(1)"));
    write(
        "prometheus.yml",
        format!(
            "global: {{evaluation_interval: 1s, external_labels: {{cluster: eu}}}}\nrule_files: [rules.yml]\nalerting:\n  alertmanagers:\n  \
             - static_configs: [{{targets: ['{target}']}}]\n"
        ),
    );
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let prometheus = Command::new("prometheus")
        .current_dir(folder.path())
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--rules.alert.resend-delay=1s"])
        .args(["--web.listen-address=127.0.0.1:0", "--log.level=info"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("prometheus is missing: apt-get install --no-install-recommends prometheus");
    let prometheus = Process(prometheus);
    for _ in 0..2 {
        let (kind, incident) = daemon.told().await;
        assert_eq!((kind.as_str(), &incident["severity"]), ("incident.opened", &json!("page")));
        assert_eq!(incident["title"], "checkout is down, 1");
        assert_eq!(incident["alerts"][0]["labels"], json!({ "alertname": "CheckoutDown", "cluster": "eu", "severity": "critical" }));
    }
    assert_eq!(daemon.query(&["cluster=eu"]).len(), 1);
    write("rules.yml", rule("vector(1) > 1"));
    let hup = Command::new("kill").args(["-HUP", &prometheus.0.id().to_string()]).status().unwrap();
    assert!(hup.success());
    for _ in 0..2 {
        let (kind, incident) = daemon.told().await;
        assert_eq!((kind.as_str(), &incident["status"]), ("incident.resolved", &json!("resolved")));
    }
    assert_eq!(daemon.query(&[]).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_mute_ends_what_still_fires_is_told_with_that_reason() {
    // Not the reminder about the silences that end while something fires, which is another incident.
    let routes = r#"route(#{ when: #{ alertname: ["Muted", "Brief"] }, to: ["pager"], group_by: ["alertname"] });"#;
    let mut daemon = Daemon::start(routes).await;
    let silence = |daemon: &Daemon, name: &str| {
        let (code, id) = daemon.amtool(&["silence", "add", name, "-a", "ada", "-c", "at work", "-d", "4s"]);
        assert_eq!(code, 0, "{id}");
        id.trim().to_owned()
    };
    let alert = |name: &str| json!([{ "labels": { "alertname": name }, "endsAt": "2099-01-01T00:00:00Z" }]);

    // Muted from the beginning: nobody hears of it, then the opening says why it comes late.
    let id = silence(&daemon, "Muted");
    let began = Instant::now();
    assert_eq!(daemon.post(&alert("Muted")).await.0, 200);
    let heard = daemon.heard().await;
    assert!(began.elapsed() > Duration::from_secs(3), "{heard}");
    assert_eq!(heard["type"], "incident.opened");
    assert_eq!(heard["reason"], format!("still firing after it was held back: silence {id}"));
    let told = heard["data"]["incident"]["id"].as_str().unwrap().to_owned();
    let history = daemon.get(&format!("/v1/incidents/{told}"))["history"].to_string();
    assert!(history.contains(&format!("pager was not told: silence {id}")), "{history}");

    // Muted after it was told: it is told once more, and its end comes through in any case.
    let id = silence(&daemon, "Muted");
    let heard = daemon.heard().await;
    assert_eq!(heard["type"], "incident.reminder", "{heard}");
    assert_eq!(heard["reason"], format!("still firing after the end of: silence {id}"));
    silence(&daemon, "Muted");
    let over = json!([{ "labels": { "alertname": "Muted" }, "endsAt": SystemClock.now() }]);
    assert_eq!(daemon.post(&over).await.0, 200);
    let heard = daemon.heard().await;
    assert_eq!((&heard["type"], &heard["data"]["incident"]["id"]), (&json!("incident.resolved"), &json!(told)));

    // What ended while it was muted is told to nobody.
    silence(&daemon, "Brief");
    assert_eq!(daemon.post(&alert("Brief")).await.0, 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let over = json!([{ "labels": { "alertname": "Brief" }, "endsAt": SystemClock.now() }]);
    assert_eq!(daemon.post(&over).await.0, 200);
    if let Ok(heard) = tokio::time::timeout(Duration::from_secs(6), daemon.told.recv()).await {
        panic!("nobody should have been told: {heard:?}");
    }
}

/// Sends one page view every tenth of a second, all of which fail, until it is dropped.
struct Failing(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Failing {
    fn start(intake: String) -> Failing {
        let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = over.clone();
        std::thread::spawn(move || {
            let mut n = 0;
            while !seen.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                let events = vec![r#"{"kind":"page_view","page":"/","ok":false}"#; 20].join(",");
                let body = format!(r#"{{"app":"shop","id":"{n}","events":[{events}]}}"#);
                let url = format!("{intake}/v1/rum");
                _ = Command::new("curl").args(["-s", "-o", "/dev/null", "--data-binary", &body, &url]).status();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Failing(over)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_alerts_and_those_of_others_are_listed_on_both_sides() {
    let rules = r#"
slo("views", #{ objective: 99.0, window: "1d", service: "shop", sli: good("page_view", #{ app: "shop" }),
    alert: [ page(#{ long: "4s", short: "2s", factor: 10.0 }) ] });
route(#{ to: ["pager"] });
"#;
    let mut daemon = Daemon::start(rules).await;
    let _failing = Failing::start(daemon.intake.clone());
    let (kind, incident) = daemon.told().await;
    assert_eq!((kind.as_str(), &incident["alerts"][0]["rule"]), ("incident.opened", &json!("views")));
    let alert = json!([{ "labels": { "alertname": "DiskFull", "severity": "warning" }, "endsAt": "2099-01-01T00:00:00Z" }]);
    assert_eq!(daemon.post(&alert).await.0, 200);
    let (_, posted) = daemon.told().await;

    // Alertmanager's side: ours has the name of its SLO as alertname, also for a filter and for a silence.
    let names = |list: &[Value]| {
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned();
        let mut names: Vec<String> = list.iter().map(name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&daemon.query(&[])), ["DiskFull", "views"]);
    let ours = daemon.query(&["alertname=views"]);
    assert_eq!((ours.len(), &ours[0]["labels"]["slo"], &ours[0]["receivers"]), (1, &json!("views"), &json!([{ "name": "pager" }])));
    assert_eq!(names(&daemon.query(&["severity=warning"])), ["DiskFull"]);
    // Ours.
    let list = daemon.get("/v1/alerts");
    let states: std::collections::BTreeMap<&str, &str> =
        list["items"].as_array().unwrap().iter().map(|alert| (alert["rule"].as_str().unwrap(), alert["state"].as_str().unwrap())).collect();
    assert_eq!(states, [("DiskFull", "firing"), ("views", "firing")].into(), "{list}");
    assert_eq!(daemon.get("/v1/incidents?status=open")["items"].as_array().unwrap().len(), 2);
    assert_ne!(posted["id"], incident["id"]);
}
