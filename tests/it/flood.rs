//! Everything at once that the internet sends: bombs, deep documents, made-up addresses, connections that say nothing, bad
//! news from one source. Whoever means it is answered, counts stay exact, pages go out, and memory stays where it was.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burnwatch::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::daemon::{Daemon, Receiver, get, post, post_with};

const RULES: &str = r#"
    slo("api", #{ objective: 99.0, window: "1d", sli: good("request", #{ app: "good" }),
        alert: [ page(#{ long: "4s", short: "2s", factor: 10.0 }) ] });
    slo("calm", #{ objective: 99.0, window: "1d", sli: good("page_view", #{ app: "calm" }),
        alert: [ page(#{ long: "4s", short: "2s", factor: 30.0 }) ] });
    receiver("hook", webhook(#{ url: "http://RECEIVER/" }));
    route(#{ to: ["hook"], group_wait: "0s", group_by: ["slo"] });
"#;

/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(10);
/// How long anybody who means it may have to wait: not a measurement, but not for ever.
const PATIENCE: Duration = Duration::from_secs(8);
const SERIES_MAX: usize = 2_000;
const URLS: usize = 50_000;
/// More than what the daemon may grow by, in KiB.
const GROWTH_MAX: u64 = 64 << 10;

/// A word that no rule takes for an id.
fn word(mut n: usize) -> String {
    let mut word = String::from("w");
    for _ in 0..5 {
        word.push(char::from(b'a' + (n % 26) as u8));
        n /= 26;
    }
    word
}

/// Fifty thousand pages that do not exist, a hundred a beacon; half of them below one that does.
fn made_up_pages(to: SocketAddr) {
    for chunk in 0..URLS / 100 {
        let views: Vec<Value> = (0..100)
            .map(|n| json!({ "kind": "page_view", "page": format!("{}/{}", ["", "/made"][n % 2], word(chunk * 100 + n)) }))
            .collect();
        let body = json!({ "app": "urls", "id": chunk.to_string(), "events": views }).to_string();
        let (status, answer) = post(to, "/v1/rum", &body).expect("an answer");
        assert_eq!((status, answer.contains("\"accepted\":100")), (202, true), "chunk {chunk}: {answer}");
    }
}

/// Two megabytes that become two hundred, and documents of brackets, until it is over.
fn bombs(to: SocketAddr, over: &AtomicBool) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..100 {
        encoder.write_all(&zeros).expect("memory");
    }
    let bomb = encoder.finish().expect("memory");
    let deep = "[".repeat(200_000);
    let attributes = format!(r#"{{"app":"deep","events":{}}}"#, r#"{"a":"#.repeat(50_000));
    while !over.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(to).expect("it listens");
        let head = format!("POST /v1/rum HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
        // It may hang up before it has read everything.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bomb));
        for body in [&deep, &attributes] {
            if let Some((status, _)) = post(to, "/v1/rum", body) {
                assert_eq!(status, 400);
            }
        }
    }
}

/// Records with as many attributes, flags and tags as fit, each as long as it may be.
fn huge_labels(to: SocketAddr, over: &AtomicBool) {
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        let text = format!("{n}{}", "x".repeat(400));
        let pairs: Vec<Value> = (0..1_500).map(|at| json!({ "key": format!("k{n}-{at}"), "value": { "stringValue": text } })).collect();
        let named = json!({ "key": "service.name", "value": { "stringValue": "labels" } });
        let record = json!({ "eventName": "browser.navigation", "attributes": pairs });
        let otlp = json!({ "resourceLogs": [{ "resource": { "attributes": [named] }, "scopeLogs": [{ "logRecords": [record] }] }] });
        let many: serde_json::Map<String, Value> = (0..600).map(|at| (format!("k{n}-{at}"), text.clone().into())).collect();
        let rum =
            json!({ "app": "labels", "release": text, "region": text, "flags": many, "events": [{ "kind": "interaction", "name": text }] });
        let faro = json!({ "meta": { "app": { "name": "labels" }, "session": { "id": text, "attributes": many } },
            "events": [{ "name": format!("e{n}"), "attributes": many }], "measurements": [{ "type": format!("m{n}"), "values": many }] });
        for (path, body) in [("/v1/logs", &otlp), ("/v1/rum", &rum), ("/collect", &faro)] {
            if let Some((status, answer)) = post(to, path, &body.to_string()) {
                assert!([200, 202, 503].contains(&status), "{path} {status} {answer}");
            }
        }
        // It is memory that these are after; without a pause a slow machine does nothing else.
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Connections that send a byte now and then and never finish.
fn slow_ones(to: SocketAddr, over: &AtomicBool) {
    let mut streams: Vec<TcpStream> = (0..300).filter_map(|_| TcpStream::connect(to).ok()).collect();
    while !over.load(Ordering::Relaxed) {
        for stream in &mut streams {
            let _ = stream.write_all(b"P");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Bad news from one network, with another address and session each time.
fn one_source(to: SocketAddr, over: &AtomicBool) {
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        let events = vec![json!({ "kind": "page_view", "ok": false }); 50];
        let body = json!({ "app": "calm", "id": format!("bad{n}"), "session": format!("s{n}"), "events": events }).to_string();
        if let Some((status, _)) = post_with(to, "/v1/rum", &format!("x-forwarded-for: 203.0.113.{}\r\n", n % 250), &body) {
            assert!(status == 202 || status == 429, "{status}");
        }
    }
}

/// Beacons from ever new sources, of apps that nobody knows.
fn many_sources(to: SocketAddr, over: &AtomicBool) {
    let mut n = 0_u32;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        let [a, b, c, _] = n.to_be_bytes();
        let body = json!({ "app": format!("app{n}"), "release": n.to_string(), "session": n.to_string(),
            "events": [{ "kind": "custom", "name": format!("m{n}"), "value": 1 }] });
        let headers = format!("x-forwarded-for: 10{}.{b}.{c}.{}\r\n", a % 10, n % 250);
        if let Some((status, _)) = post_with(to, "/v1/rum", &headers, &body.to_string()) {
            assert!(status == 202 || status == 429, "{status}");
        }
    }
}

/// Somebody who means it: every beacon on a connection of its own, from another network each time.
fn good_client(to: SocketAddr, over: &AtomicBool, sent: &AtomicUsize) {
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        let began = Instant::now();
        let request = json!({ "app": "good", "id": format!("r{n}"), "events": [{ "kind": "request", "path": "/api", "status": 500 }] });
        let calm = json!({ "app": "calm", "id": format!("c{n}"), "events": vec![json!({ "kind": "page_view" }); 20] });
        for body in [request, calm] {
            let from = format!("x-forwarded-for: 198.{}.{}.1\r\n", n / 250 % 250, n % 250);
            let (status, answer) = post_with(to, "/v1/rum", &from, &body.to_string()).expect("an answer");
            assert_eq!((status, answer.contains("\"rejected\":[]")), (202, true), "{answer}");
        }
        assert!(began.elapsed() < PATIENCE, "an answer took {:?}", began.elapsed());
        sent.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The total of a metric of an app over the last hour.
fn total(daemon: &Daemon, metric: &str, app: &str) -> f64 {
    let now = SystemClock.now().millis();
    let body = json!({ "metric": metric, "where": { "app": app }, "from": now - 3_600_000, "to": now + 60_000 }).to_string();
    let (status, answer) = post(daemon.admin, "/v1/query", &body).expect("an answer");
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let points = answer["series"].as_array().expect("a list").iter().flat_map(|line| line["points"].as_array().expect("a list"));
    points.map(|point| point["total"].as_f64().expect("a number")).sum()
}

#[test]
fn a_flood_reaches_nobody_who_means_it() {
    let receiver = Receiver::start();
    let more = format!("influence_per_source = 20\n[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\nseries_max = {SERIES_MAX}\n");
    let mut daemon = Daemon::new(&more, &RULES.replace("RECEIVER", &receiver.address.to_string()));
    daemon.start();
    // What it takes for its work anyway is not growth.
    assert_eq!(post(daemon.intake, "/v1/rum", r#"{"app":"warm","events":[{"kind":"page_view"}]}"#).expect("an answer").0, 202);
    std::thread::sleep(Duration::from_secs(2));
    let before = daemon.memory();
    let (over, sent, mut most) = (AtomicBool::new(false), AtomicUsize::new(0), before);
    let (to, over) = (daemon.intake, &over);
    std::thread::scope(|scope| {
        // Whatever fails in here ends the flood, so that the others end too.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = End(over);
        let good = scope.spawn(|| good_client(to, over, &sent));
        // Bad news is held against what there is: before anybody came, one event is all.
        std::thread::sleep(Duration::from_secs(5));
        let pages = scope.spawn(move || made_up_pages(to));
        scope.spawn(move || bombs(to, over));
        scope.spawn(move || slow_ones(to, over));
        scope.spawn(move || huge_labels(to, over));
        scope.spawn(move || one_source(to, over));
        scope.spawn(move || many_sources(to, over));
        let began = Instant::now();
        let opened = || receiver.got().iter().any(|got| got.kind() == "incident.opened");
        while began.elapsed() < FLOOD || !pages.is_finished() || !opened() {
            assert!(began.elapsed() < FLOOD * 12, "no page during the flood, or no answers: {:?}\n{}", receiver.got(), daemon.log());
            assert!(!good.is_finished(), "somebody who meant it was not answered\n{}", daemon.log());
            most = most.max(daemon.memory());
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(end);
        for (name, sender) in [("who meant it", good), ("made-up pages", pages)] {
            // In the end, where whoever reads a long log looks first.
            let Err(why) = sender.join() else { continue };
            let why = why.downcast_ref::<String>().map_or("it panicked", String::as_str);
            let (log, told) = (daemon.log(), |line: &&str| line.contains("WARN") || line.contains("ERROR"));
            panic!("{}\n{name}: {why}", log.lines().filter(told).collect::<Vec<_>>().join("\n"));
        }
    });
    assert!(most - before < GROWTH_MAX, "grew from {before} to {most} KiB");
    // Stored within a flush.
    std::thread::sleep(Duration::from_secs(3));
    let sent = sent.load(Ordering::Relaxed) as f64;
    assert_eq!(total(&daemon, "page_view", "urls"), URLS as f64);
    assert!(daemon.log().contains("`/made/:slug`"), "what is below one page is one route:\n{}", daemon.log());
    assert_eq!(total(&daemon, "request", "good"), sent);
    let calm = total(&daemon, "page_view", "calm");
    assert!(calm >= sent * 20.0 && calm < sent * 20.0 + 20.0 * 15.0, "{calm} of {sent} times 20");
    let (_, metrics) = get(daemon.admin, "/metrics").expect("an answer");
    let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    // An app is never folded: each that is taken in may have a folded series of its own beyond the limit.
    let apps = burnwatch::domain::aggregate::APPS_MAX;
    assert!(value("burnwatch_series ").expect("it is there") <= (SERIES_MAX + apps) as f64, "{metrics}");
    assert!(value("burnwatch_series_folded_total ").expect("it is there") > 0.0);
    assert!(metrics.contains("burnwatch_intake_rejected_total{reason=\"source_share\"}"), "{metrics}");
    let told: Vec<String> = receiver.got().iter().map(|got| got.payload["data"]["incident"]["labels"]["slo"].to_string()).collect();
    assert!(told.iter().all(|slo| slo == "\"api\""), "one source alone opened a page: {told:?}");
}
