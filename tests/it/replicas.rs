//! Two daemons on one PostgreSQL: one evaluates, both take beacons and show the same; when the one that evaluates is
//! killed, stopped for a while, or cut off from the database, the other goes on, and the receiver sees one incident opened and
//! closed once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::{Daemon, Receiver, get, post};
use super::postgres;
use super::proxy::Wire;

const RULES: &str = r#"
    slo("api", #{ objective: 99.0, window: "1d", service: "shop", sli: good("request", #{ app: "shop" }),
        alert: [ page(#{ long: "6s", short: "2s", factor: 10.0 }) ] });
    receiver("hook", webhook(#{ url: "http://RECEIVER/" }));
    route(#{ to: ["hook"], group_wait: "0s" });
"#;

/// Events in one beacon.
const EVENTS: u64 = 5;

/// Beacons to every replica in turn, until this value ends.
struct Traffic {
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    failing: AtomicBool,
    /// The first replica gets its share: a load balancer has not found out yet that it does not answer.
    to_first: AtomicBool,
    over: AtomicBool,
    /// Events that were answered with 202.
    accepted: AtomicU64,
}

impl Traffic {
    fn start(replicas: [SocketAddr; 2]) -> Traffic {
        let state = Arc::new(State { to_first: AtomicBool::new(true), ..State::default() });
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            let mut n = 0;
            while !shared.over.load(Ordering::Relaxed) {
                n += 1;
                let status = if shared.failing.load(Ordering::Relaxed) { 500 } else { 200 };
                let event = format!(r#"{{"kind":"request","path":"/api","status":{status}}}"#);
                let body = format!(r#"{{"app":"shop","id":"{n}","events":[{}]}}"#, vec![event; EVENTS as usize].join(","));
                let to = if shared.to_first.load(Ordering::Relaxed) { replicas[n % 2] } else { replicas[1] };
                // The one that was killed does not answer, and its share is lost, as a load balancer would have it for a moment.
                if post(to, "/v1/rum", &body).is_some_and(|(status, _)| status == 202) {
                    shared.accepted.fetch_add(EVENTS, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(40));
            }
        });
        Traffic { state, thread: Some(thread) }
    }

    fn fails(&self, failing: bool) {
        self.state.failing.store(failing, Ordering::Relaxed);
    }

    fn reaches_first(&self, reaches: bool) {
        self.state.to_first.store(reaches, Ordering::Relaxed);
    }

    /// Ends it, and says how many events were taken in.
    fn end(mut self) -> u64 {
        self.state.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("nobody panicked");
        self.state.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
    }
}

/// Two replicas, the first of which evaluates, both well.
struct Pair {
    first: Daemon,
    second: Daemon,
    receiver: Receiver,
    traffic: Traffic,
}

impl Pair {
    /// `urls` is the way of each to the one database.
    fn start(urls: [&str; 2]) -> Pair {
        let receiver = Receiver::start();
        let rules = RULES.replace("RECEIVER", &receiver.address.to_string());
        let [first, second] = urls.map(|url| {
            let configuration = format!("[database]\nurl = \"{url}\"\n[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n");
            let mut daemon = Daemon::new(&configuration, &rules);
            daemon.start();
            daemon
        });
        let traffic = Traffic::start([first.intake, second.intake]);
        let pair = Pair { first, second, receiver, traffic };
        let healthy = |slo: &Value| slo["state"] == "ok" && slo["total"].as_f64().is_some_and(|total| total > 50.0);
        until(&pair.first, "health at the replica that evaluates", 30, healthy);
        until(&pair.second, "health at the replica that only follows", 30, healthy);
        pair
    }

    /// Waits until the receiver got something of this kind.
    fn told(&self, kind: &str, patience: u64) {
        let began = Instant::now();
        while !self.receiver.got().iter().any(|got| got.kind() == kind) {
            assert!(began.elapsed() < Duration::from_secs(patience), "nobody was told {kind}:\n{}", self.second.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Everything that was taken in is counted, once, and each of both shows it; both are well.
    fn counts_all(self) -> [Daemon; 2] {
        let accepted = self.traffic.end() as f64;
        for daemon in [&self.first, &self.second] {
            until(daemon, "all that was taken in", 60, |slo| {
                let total = slo["total"].as_f64().unwrap_or_default();
                assert!(total <= accepted, "{total} of {accepted} were counted");
                total == accepted && slo["state"] == "ok"
            });
            let (status, said) = get(daemon.admin, "/readyz").expect("it answers");
            assert_eq!(status, 200, "{said}");
        }
        [self.first, self.second]
    }
}

/// Who may evaluate, and how often that has changed.
async fn lease(url: &str) -> (String, i64) {
    let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.expect("the server takes connections");
    let sql = "select holder, token from lease where name = 'evaluate'";
    sqlx::query_as(sql).fetch_one(&mut conn).await.expect("somebody evaluates")
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
    let url = database.url.clone();
    tokio::task::spawn_blocking(move || killed(&url)).await.expect("the story ends well");
}

fn killed(url: &str) {
    let mut pair = Pair::start([url, url]);
    pair.traffic.fails(true);
    until(&pair.first, "an alert", 30, |slo| slo["state"] == "firing");
    until(&pair.second, "the alert at the replica that only follows", 10, |slo| slo["state"] == "firing");
    pair.first.kill();
    pair.traffic.fails(false);
    // The lease and the life of the dead one end within 15 s each; then the other one evaluates what it missed.
    until(&pair.second, "health after the other one took over", 60, |slo| slo["state"] == "ok");
    pair.told("incident.resolved", 20);
    pair.traffic.end();

    let got = pair.receiver.got();
    for kind in ["incident.opened", "incident.resolved"] {
        let ids: BTreeSet<&str> = got.iter().filter(|got| got.kind() == kind).map(|got| got.id.as_str()).collect();
        assert_eq!(ids.len(), 1, "{kind} under one delivery id: {got:#?}");
    }
    let incidents: BTreeSet<&str> = got.iter().map(super::daemon::Got::incident).collect();
    assert_eq!(incidents.len(), 1, "{got:#?}");
}

/// One incident, opened and closed, and nothing came a second time.
fn told_once(receiver: &Receiver) {
    let got = receiver.got();
    let kinds: Vec<&str> = got.iter().map(super::daemon::Got::kind).collect();
    assert_eq!(kinds, ["incident.opened", "incident.resolved"], "{got:#?}");
    assert_eq!(got[0].incident(), got[1].incident());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_sleeps_through_its_lease_is_fenced_when_it_wakes() {
    let database = postgres::database().await;
    let runtime = tokio::runtime::Handle::current();
    let url = database.url.clone();
    tokio::task::spawn_blocking(move || slept(&runtime, &url)).await.expect("the story ends well");
}

fn slept(runtime: &tokio::runtime::Handle, url: &str) {
    let pair = Pair::start([url, url]);
    let before = runtime.block_on(lease(url));
    // It is stopped in the middle of whatever it does, with beacons that it has answered and not stored yet.
    pair.first.signal("STOP");
    pair.traffic.reaches_first(false);
    pair.traffic.fails(true);
    pair.told("incident.opened", 60);
    let taken = runtime.block_on(lease(url));
    assert!(taken.0 != before.0 && taken.1 == before.1 + 1, "{before:?} {taken:?}");

    pair.first.signal("CONT");
    until(&pair.first, "what the other one decided", 30, |slo| slo["state"] == "firing");
    pair.traffic.reaches_first(true);
    pair.traffic.fails(false);
    pair.told("incident.resolved", 30);
    let receiver = Receiver::clone(&pair.receiver);
    let _both = pair.counts_all();
    told_once(&receiver);
    assert_eq!(runtime.block_on(lease(url)), taken, "whoever took over has kept it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_cut_off_is_replaced_and_works_again_without_a_restart() {
    let database = postgres::database().await;
    let url = database.url.clone();
    tokio::task::spawn_blocking(move || cut_off(&url)).await.expect("the story ends well");
}

fn cut_off(url: &str) {
    let wire = Wire::new(url);
    let pair = Pair::start([&wire.url, url]);
    // Nothing is refused and nothing is closed: whoever waits for an answer waits.
    wire.cut();
    pair.traffic.fails(true);
    pair.told("incident.opened", 60);
    let (status, _) = get(pair.first.admin, "/healthz").expect("it answers");
    assert_eq!(status, 200, "the process is well");
    wire.mend();
    pair.traffic.fails(false);
    pair.told("incident.resolved", 60);
    let receiver = Receiver::clone(&pair.receiver);
    let [first, _second] = pair.counts_all();
    told_once(&receiver);
    let (_, incidents) = get(first.admin, "/v1/incidents").expect("it answers");
    let incidents: Value = serde_json::from_str(&incidents).expect("JSON");
    assert_eq!(incidents["items"].as_array().map(|items| items.iter().map(|one| &one["status"]).collect()), Some(vec![&json!("resolved")]));
}
