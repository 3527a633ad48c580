//! The four scenarios of the domain, S1 to S4, from beacons through the real listener to what receivers get. Time is simulated:
//! every ten seconds beacons come, then each job takes one step.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use burnwatch::clock::FixedClock;
use burnwatch::config::{Config, Environment, Purpose};
use burnwatch::domain::desk::Desk;
use burnwatch::domain::keyed::KeyedHash;
use burnwatch::domain::snapshot::Snapshot;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::intake::{self, Intake};
use burnwatch::jobs::deliver::{Deliver, Parts};
use burnwatch::jobs::explain::Explainer;
use burnwatch::jobs::flush::Flush;
use burnwatch::jobs::posted;
use burnwatch::jobs::reload::{Live, Looked, Reload, Source, Surroundings};
use burnwatch::jobs::watch::{Setup, Watch};
use burnwatch::notify::{self, Sender};
use burnwatch::sink::Sink;
use burnwatch::store::history::History;
use burnwatch::store::{Store, annotations, transition};
use burnwatch::{app, chance};
use serde_json::{Value, json};

pub const STEP: Span = Span::seconds(10);
pub const START: Timestamp = Timestamp(1_800_000_000_000);

/// What receivers got: path and body.
pub type Got = Arc<Mutex<Vec<(String, Value)>>>;

/// All jobs of a daemon, without their timers.
pub struct Stage {
    pub clock: Arc<FixedClock>,
    pub now: Timestamp,
    pub store: Store,
    pub flush: Flush,
    pub watch: Watch,
    pub deliver: Deliver,
    pub desk: Arc<ArcSwap<Desk>>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Alerts of others.
    pub posted: posted::Shared,
    setup: Setup,
    intake: SocketAddr,
    client: reqwest::Client,
    pub got: Got,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// A daemon with these rules on SQLite; `HOOK` in them is where the receivers listen.
    pub async fn new(rules: &str) -> Stage {
        Stage::on(None, rules).await
    }

    /// The same on this database.
    pub async fn on(database: Option<&str>, rules: &str) -> Stage {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let got = Got::default();
        let hook = listen(got.clone()).await;
        let file = format!("sqlite://{}/data/burnwatch.db", folder.path().display());
        let text = format!(
            "[database]\nurl = \"{}\"\n[aggregation]\nbucket = \"10s\"\nsettle = \"1s\"\n\
             [delivery]\nallow_private = [\"127.0.0.0/8\"]\n",
            database.unwrap_or(&file)
        );
        let path = folder.path().join("burnwatch.toml");
        std::fs::write(&path, text).unwrap();
        let config = Config::load(Some(&path), &Environment::default(), Purpose::Tool).unwrap();
        let clock = Arc::new(FixedClock::new(START));
        let store = Store::open(&config.database.url, START).await.unwrap().with_caller_time();
        let sink = Arc::new(Sink::new(app::aggregator(&config, &store, START).await.unwrap()));
        let live = Live::new();
        let around = Surroundings { aggregation: config.aggregation.clone(), retention: config.retention, secrets: config.secrets.clone() };
        let reload = Reload::new(Source::Given, around, live.clone(), sink.clone());
        let files = BTreeMap::from([("rules.rhai".to_owned(), rules.replace("HOOK", &hook))]);
        let looked = reload.take(&files, None, &store, START).await.unwrap();
        assert!(matches!(looked, Looked::Taken { .. }), "{looked:?}");

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut settings = intake::Settings::new(&config, KeyedHash::new([7; 16]));
        settings.cohort_flags = vec!["fast_checkout".into()];
        let intake = Arc::new(Intake::new(settings, sink.clone(), clock.clone()));
        tokio::spawn(intake::serve(listener, intake, std::future::pending()));

        let history = History::new(store.clone(), config.aggregation.bucket, config.retention.bucket, config.retention.rollup_5m);
        let flush = Flush::new(store.clone(), sink, "intake", chance::id);
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let posted = posted::Shared::default();
        let setup = Setup {
            store: store.clone(),
            bucket: config.aggregation.bucket,
            settle: config.aggregation.settle,
            delays: BTreeMap::new(),
            public_url: "http://burnwatch.example".into(),
            desk: live.desk.clone(),
            snapshot: snapshot.clone(),
            deliver: Arc::default(),
            holder: chance::id(),
            new_id: chance::id,
            explainer: Explainer::new(history, config.aggregation.bucket, live.program.clone()),
            posted: posted.clone(),
            flushed: flush.flushed.clone(),
        };
        let watch = Watch::new(setup.clone());
        let desk = live.desk.clone();
        let deliver = Deliver::new(Parts {
            store: store.clone(),
            sender: Arc::new(Sender::new(notify::Settings::from(&config)).unwrap()),
            rules: live.rules.clone(),
            clock: clock.clone(),
            chance: Arc::new(|| 0.5),
            fallback: None,
            nudge: Arc::default(),
        });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Stage {
            clock,
            now: START,
            store,
            flush,
            watch,
            deliver,
            desk,
            snapshot,
            posted,
            setup,
            intake: address,
            client,
            got,
            _folder: folder,
        }
    }

    /// The evaluation of another replica on the same database.
    pub fn other_watch(&self) -> Watch {
        Watch::new(Setup { holder: chance::id(), snapshot: Arc::default(), posted: Default::default(), ..self.setup.clone() })
    }

    /// Time passes; in each step `beacons` says what users send, given a number that counts up.
    pub async fn play(&mut self, span: Span, mut beacons: impl FnMut(u64) -> Vec<Value>) {
        for _ in 0..span.0 / STEP.0 {
            let now = self.send(&mut beacons).await;
            self.flush.run(now).await.unwrap();
            self.watch.run(now).await.unwrap();
            self.deliver.step().await.unwrap();
        }
    }

    /// Beacons of one step; gives the time at which the jobs are due.
    pub async fn send(&mut self, mut beacons: impl FnMut(u64) -> Vec<Value>) -> Timestamp {
        let number = ((self.now - START).0 / STEP.0) as u64;
        let sent = beacons(number);
        let events: usize = sent.iter().map(|beacon| beacon["events"].as_array().map_or(0, Vec::len)).sum();
        // A whole body that comes twice counts once, so each has a number.
        let body: Vec<Value> = sent
            .into_iter()
            .enumerate()
            .map(|(at, mut beacon)| {
                beacon["id"] = format!("{number}-{at}").into();
                beacon
            })
            .collect();
        self.clock.set(self.now + Span::seconds(5));
        let url = format!("http://{}/v1/rum", self.intake);
        let body = serde_json::to_vec(&body).unwrap();
        let answer = self.client.post(url).header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer["accepted"], events, "{answer}");
        self.now += STEP;
        let now = self.now + Span::seconds(1);
        self.clock.set(now);
        now
    }

    async fn deploy(&self, release: &str) {
        let mut tx = self.store.write().await.unwrap();
        let row = annotations::AnnotationRow {
            id: format!("deploy-{release}"),
            kind: "deploy".into(),
            at: self.now,
            app: "shop".into(),
            release: release.into(),
            text: String::new(),
            url: String::new(),
            created_at: self.now,
        };
        annotations::add(&mut tx, &row).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// What came at one path, as its type and its incident.
    pub fn at(&self, path: &str) -> Vec<(String, Value)> {
        let got = self.got.lock().unwrap();
        let got = got.iter().filter(|(have, _)| have == path);
        got.map(|(_, body)| (body["type"].as_str().unwrap_or("").to_owned(), body["data"]["incident"].clone())).collect()
    }

    pub fn types(&self, path: &str) -> Vec<String> {
        self.at(path).into_iter().map(|(kind, _)| kind).collect()
    }

    /// Total, bad and the rest of the budget of an SLO.
    pub fn slo(&self, name: &str) -> (f64, f64, f64) {
        let snapshot = self.snapshot.load();
        let status = snapshot.slos.iter().find(|status| status.slo == name && status.group.is_empty()).unwrap();
        (status.total, status.bad, status.budget_remaining.unwrap())
    }
}

async fn listen(got: Got) -> String {
    async fn take(State(got): State<Got>, uri: Uri, body: Bytes) -> StatusCode {
        let mut got = got.lock().unwrap();
        let first = got.iter().all(|(path, _)| path != uri.path());
        got.push((uri.path().to_owned(), serde_json::from_slice(&body).unwrap()));
        // One receiver fails when it is asked for the first time.
        if first && uri.path() == "/flaky" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(take).with_state(got)).await.unwrap() });
    format!("http://{address}")
}

fn after(stage: &Stage, incident: &Value, since: Timestamp) -> Span {
    let opened: Timestamp = incident["opened_at"].as_str().unwrap().parse().unwrap();
    assert!(opened <= stage.now);
    opened - since
}

/// A rule that fails is neither true nor false; somebody has to hear of it, with the line, until it answers again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_fails_is_an_operator_incident_until_it_answers() {
    let mut stage = Stage::new(
        r#"receiver("pager", webhook(#{ url: "HOOK/pager" }));
        route(#{ to: ["pager"] });
        alert("odd", #{ every: "10s", severity: "ticket",
            when: |q| { let n = q.count("request", #{ app: "shop" }, "10s"); n.total == 7.0 && [1][7] == 1 } });"#,
    )
    .await;
    let requests = |how_many: usize| -> Vec<Value> {
        vec![
            json!({ "app": "shop", "events": (0..how_many).map(|_| json!({ "kind": "request", "path": "/a", "status": 200 })).collect::<Vec<_>>() }),
        ]
    };
    stage.play(Span::minutes(1), |_| requests(5)).await;
    assert!(stage.types("/pager").is_empty());
    stage.play(Span::minutes(1), |_| requests(7)).await;
    let pages = stage.at("/pager");
    assert_eq!(pages.len(), 1, "{pages:?}");
    let (kind, incident) = &pages[0];
    assert_eq!((kind.as_str(), incident["severity"].as_str()), ("incident.opened", Some("page")));
    assert!(incident["labels"]["rule"] == "burnwatch-rule-fails" && incident["alerts"][0]["labels"]["kind"] == "operator", "{incident}");
    let title = incident["title"].as_str().unwrap();
    assert!(title.contains("`odd` fails") && title.contains("rules.rhai:4:"), "{title}");
    stage.play(Span::minutes(1), |_| requests(5)).await;
    assert_eq!(stage.types("/pager"), ["incident.opened", "incident.resolved"]);
}

/// Free-form rules take their time, up to a second each; what an objective has found is stored, and on its way, before they are asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_an_objective_does_not_wait_for_slow_rules() {
    let mut stage = Stage::new(
        r#"receiver("pager", webhook(#{ url: "HOOK/pager" }));
        route(#{ to: ["pager"] });
        slo("api", #{ objective: 99, sli: good("request", #{ app: "shop" }), alert: page(#{ long: "1m", short: "10s", factor: 5 }) });
        alert("slow", #{ every: "5m", severity: "page",
            when: |q| { if q.count("request", #{ app: "shop" }, "10s").total == 7.0 { loop {} } false } });"#,
    )
    .await;
    let requests = |how_many: usize, status: u16| -> Vec<Value> {
        vec![
            json!({ "app": "shop", "events": (0..how_many).map(|_| json!({ "kind": "request", "path": "/a", "status": status })).collect::<Vec<_>>() }),
        ]
    };
    // The last bucket of the five minutes is the one that fails, and that the rule takes a second for.
    stage.play(Span::minutes(5) - STEP, |_| requests(5, 200)).await;
    let explainer = stage.setup.explainer.clone();
    let asked = || explainer.newly_asked(&BTreeSet::new());
    assert!(asked().is_empty());
    let now = stage.send(|_| requests(7, 500)).await;
    stage.flush.run(now).await.unwrap();
    let store = stage.store.clone();
    let stored = async {
        while transition::load_open(&mut store.read().await.unwrap()).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let mut run = std::pin::pin!(stage.watch.run(now));
    tokio::select! {
        done = &mut run => panic!("nothing was found: {done:?}"),
        () = stored => {}
    }
    assert!(asked().is_empty(), "the slow rule was waited for");
    assert_eq!(run.await.unwrap().queued, 1);
    assert_eq!(asked(), ["slow"]);
}

/// S1: a single-page shop behind a delivery network. A deployment slows checkout down; it is found within minutes, and the flag is
/// rolled back by a webhook, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_deployment_that_slows_checkout_is_found_in_minutes_and_its_flag_rolled_back() {
    let mut stage = Stage::new(
        r#"slo("checkout-lcp", #{ objective: 90, service: "shop", owner: "team-checkout",
            sli: within("lcp", 2500, #{ app: "shop", route: "/checkout" }),
            alert: page(#{ long: "10m", short: "1m", factor: 3 }), min_events: 50 });
        receiver("pager", webhook(#{ url: "HOOK/pager" }));
        receiver("rollback", action(#{ url: "HOOK/rollback", label: "fast_checkout off" }));
        route(#{ when: #{ severity: "page" }, to: ["pager", "rollback"] });"#,
    )
    .await;
    // Of ten visitors six have the new checkout; `slow` makes theirs late.
    let visits = |number: u64, slow: bool, on: bool| -> Vec<Value> {
        (0..10)
            .map(|at| {
                let new = on && at < 6;
                let value = if new && slow { 6_000 } else { 1_200 };
                json!({ "app": "shop", "user": format!("u{number}-{at}"), "page": "https://shop.example/checkout", "region": "de",
                    "flags": { "fast_checkout": if new { "on" } else { "off" } }, "release": "2.3.1",
                    "events": [{ "kind": "web_vital", "name": "LCP", "value": value }] })
            })
            .collect()
    };
    stage.play(Span::minutes(12), |number| visits(number, false, true)).await;
    assert!(stage.types("/pager").is_empty());
    let deployed = stage.now;
    stage.deploy("2.3.1").await;
    stage.play(Span::minutes(6), |number| visits(number, true, true)).await;
    let pages = stage.at("/pager");
    let (kind, incident) = &pages[0];
    assert_eq!(kind, "incident.opened");
    // 30 % of ten minutes with 60 % slow: just over five minutes.
    assert_eq!(after(&stage, incident, deployed), Span::seconds(310));
    assert_eq!(incident["changes"][0]["release"], "2.3.1", "{incident}");
    assert!(incident["impact"]["affected_users"].as_f64().unwrap() > 150.0, "{incident}");
    assert_eq!(stage.types("/rollback"), ["action"]);
    // The flag is off: everybody has the old checkout again.
    stage.play(Span::minutes(3), |number| visits(number, false, false)).await;
    assert_eq!(stage.types("/pager"), ["incident.opened", "incident.resolved"]);
    assert_eq!(stage.types("/rollback"), ["action"], "it runs once in the life of an incident");
}

/// S2: a mobile app on serverless functions. Cold starts make some regions slow, and one version crashes: two incidents, each naming its cause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_cold_starts_in_a_region_and_crashes_of_a_version_are_told_apart() {
    let mut stage = Stage::new(
        r#"slo("api-fast", #{ objective: 90, service: "mobile", sli: within("request", 1000, #{ app: "mobile" }), by: ["region"],
            alert: page(#{ long: "10m", short: "1m", factor: 3 }), min_events: 50 });
        slo("crash-free", #{ objective: 99, service: "mobile", sli: good("session", #{ app: "mobile" }), by: ["release"],
            alert: page(#{ long: "10m", short: "1m", factor: 10 }), min_events: 50 });
        receiver("pager", webhook(#{ url: "HOOK/pager" }));
        route(#{ to: ["pager"] });"#,
    )
    .await;
    let sessions = |number: u64, cold: bool, broken: bool| -> Vec<Value> {
        (0..12)
            .map(|at| {
                let region = ["de", "in", "br"][at % 3];
                let release = if at < 6 { "5.0.0" } else { "5.1.0" };
                let slow = cold && region == "in" && !(number + at as u64).is_multiple_of(3);
                let crashed = broken && release == "5.1.0" && (number + at as u64).is_multiple_of(4);
                json!({ "app": "mobile", "session": format!("s{number}-{at}"), "region": region, "release": release, "os": "Android",
                    "events": [
                        { "kind": "request", "path": "/api/feed", "status": 200, "value": if slow { 3_000 } else { 200 } },
                        { "kind": "session", "crashed": crashed },
                    ] })
            })
            .collect()
    };
    stage.play(Span::minutes(12), |number| sessions(number, false, false)).await;
    stage.play(Span::minutes(6), |number| sessions(number, true, false)).await;
    let cold = stage.at("/pager");
    assert_eq!(cold.len(), 1, "{cold:?}");
    assert_eq!(cold[0].1["labels"], json!({ "slo": "api-fast", "region": "in" }));
    stage.play(Span::minutes(3), |number| sessions(number, false, false)).await;
    let broke = stage.now;
    stage.play(Span::minutes(6), |number| sessions(number, false, true)).await;
    let all = stage.at("/pager");
    let kinds: Vec<&str> = all.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["incident.opened", "incident.resolved", "incident.opened"]);
    let crash = &all[2].1;
    assert_eq!(crash["labels"], json!({ "slo": "crash-free", "release": "5.1.0" }));
    // A quarter of the sessions crash, a tenth of ten minutes is what it takes: four minutes and a bucket.
    assert!(after(&stage, crash, broke) <= Span::seconds(260), "{crash}");
    assert!(crash["impact"]["affected_users"].as_f64().unwrap() >= 30.0, "{crash}");
}

/// S3: errors spike after a deploy. The page says how many users, in which region and browser, and which deploy; after the rollback it
/// resolves, and the incident has all that a postmortem needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_errors_after_a_deploy_name_users_region_browser_and_deploy() {
    let mut stage = Stage::new(
        r#"slo("api", #{ objective: 99, service: "shop", owner: "team-shop", sli: good("request", #{ app: "shop" }),
            alert: page(#{ long: "10m", short: "1m", factor: 5 }), min_events: 50, runbook: "https://runbooks.example/api" });
        receiver("pager", webhook(#{ url: "HOOK/pager" }));
        receiver("team", webhook(#{ url: "HOOK/team" }));
        route(#{ when: #{ severity: "page" }, to: ["pager"], escalate: [ #{ after: "2m", to: ["team"] } ] });"#,
    )
    .await;
    let requests = |number: u64, new: bool| -> Vec<Value> {
        (0..20)
            .map(|at| {
                let region = if at < 8 { "de" } else { "us" };
                let browser = if at % 2 == 0 { "Safari" } else { "Chrome" };
                let release = if new { "9.1" } else { "9.0" };
                let failed = new && region == "de" && browser == "Safari";
                json!({ "app": "shop", "user": format!("u{}", (number * 20 + at) % 5_000), "region": region, "browser": browser, "release": release,
                    "page": "/cart", "events": [{ "kind": "request", "path": "/api/cart", "method": "POST", "status": if failed { 500 } else { 200 },
                    "trace": format!("{:032x}", number * 20 + at + 1) }] })
            })
            .collect()
    };
    stage.play(Span::minutes(12), |number| requests(number, false)).await;
    let deployed = stage.now;
    stage.deploy("9.1").await;
    stage.play(Span::minutes(6), |number| requests(number, true)).await;
    let pages = stage.at("/pager");
    let (kind, incident) = &pages[0];
    assert_eq!(kind, "incident.opened");
    // A fifth fails; 5 % of ten minutes are passed after two and a half.
    assert_eq!(after(&stage, incident, deployed), Span::seconds(160));
    let suspect = &incident["suspects"][0];
    assert_eq!(incident["verdict"], "segment", "{incident}");
    assert_eq!((&suspect["where"]["region"], &suspect["where"]["browser"]), (&json!("de"), &json!("Safari")), "{incident}");
    assert_eq!(
        incident["changes"][0],
        json!({ "id": "deploy-9.1", "kind": "deploy", "at": deployed.to_string(), "app": "shop", "release": "9.1" })
    );
    assert!((60.0..=70.0).contains(&incident["impact"]["affected_users"].as_f64().unwrap()), "{incident}");
    assert_eq!(incident["links"]["runbook"], "https://runbooks.example/api");
    // Each example is one of the failing ones: Safari in Germany.
    let traces = incident["alerts"][0]["traces"].as_array().expect("a list");
    assert!((1..=5).contains(&traces.len()), "{incident}");
    for trace in traces {
        let number = u64::from_str_radix(trace.as_str().unwrap(), 16).unwrap() - 1;
        assert!(number % 20 < 8 && number % 2 == 0, "{trace} did not fail");
    }
    assert_eq!(stage.types("/team"), ["incident.escalated"], "nobody acknowledged");
    stage.play(Span::minutes(4), |number| requests(number, false)).await;
    let pages = stage.at("/pager");
    let (kind, closed) = pages.last().unwrap();
    assert_eq!((kind.as_str(), closed["status"].as_str()), ("incident.resolved", Some("resolved")));
    assert_eq!(closed["id"], incident["id"]);
    assert_eq!(stage.types("/team"), ["incident.escalated", "incident.resolved"]);
}

/// S4: sampling is turned down at peak. Ratios, budgets and user-visible totals stay what they were, and nobody is woken; a real fault is
/// found as well in the sampled traffic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_less_sampling_changes_no_budget_and_hides_no_fault() {
    let mut stage = Stage::new(
        r#"slo("api", #{ objective: 98, service: "shop", sli: good("request", #{ app: "shop" }),
            alert: page(#{ long: "10m", short: "1m", factor: 5 }) });
        receiver("pager", webhook(#{ url: "HOOK/pager" }));
        route(#{ to: ["pager"] });"#,
    )
    .await;
    // A hundred requests every ten seconds, one of them bad. At a tenth, ten beacons stand for them; errors are always kept.
    let beacon = |user: u64, rate: f64, failed: bool| {
        json!({ "app": "shop", "user": format!("u{user}"), "sample_rate": rate,
            "events": [{ "kind": "request", "path": "/api", "status": if failed { 503 } else { 200 } }] })
    };
    let full = |number: u64| -> Vec<Value> { (0..100).map(|at| beacon(number * 100 + at, 1.0, at == 0)).collect() };
    let thin = |number: u64, failed: u64| -> Vec<Value> {
        let healthy = (0..10 - failed / 10).map(|at| beacon(number * 100 + at, 0.1, false));
        healthy.chain((0..failed).map(|at| beacon(number * 100 + 50 + at, 1.0, true))).collect()
    };
    stage.play(Span::minutes(12), full).await;
    let (total, bad, left) = stage.slo("api");
    // 72 steps; the last one is settled with the next.
    assert_eq!((total, bad), (7_200.0, 72.0));
    stage.play(Span::minutes(12), |number| thin(number, 1)).await;
    let (total, bad, still_left) = stage.slo("api");
    assert_eq!((total, bad), (7_200.0 + 72.0 * 101.0, 144.0));
    assert!((left - still_left).abs() < 0.01, "{left} {still_left}");
    assert!(stage.types("/pager").is_empty());
    let broke = stage.now;
    stage.play(Span::minutes(5), |number| thin(number, 40)).await;
    let pages = stage.at("/pager");
    assert_eq!(pages[0].0, "incident.opened");
    // 40 of 100 fail: 10 % of ten minutes are passed after two and a half.
    assert!(after(&stage, &pages[0].1, broke) <= Span::seconds(170), "{pages:?}");
}
