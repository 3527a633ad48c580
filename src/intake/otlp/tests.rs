mod broken;
mod encoder;
mod mutated;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::domain::aggregate::{self, Aggregator};
use crate::domain::event::Event;
use crate::domain::metric::Metric as Counted;
use crate::domain::time::{Span as Length, Timestamp};
use crate::intake::Settings;
use crate::intake::enrich::Enrichment;

const NOW: Timestamp = Timestamp(1_795_362_400_000);

const LOGS: [&str; 8] = [
    include_str!("../../../tests/it/captures/otlp-logs/002.json"),
    include_str!("../../../tests/it/captures/otlp-logs/003.json"),
    include_str!("../../../tests/it/captures/otlp-logs/004.json"),
    include_str!("../../../tests/it/captures/otlp-logs/005.json"),
    include_str!("../../../tests/it/captures/otlp-logs/006.json"),
    include_str!("../../../tests/it/captures/otlp-logs/007.json"),
    include_str!("../../../tests/it/captures/otlp-logs/008.json"),
    include_str!("../../../tests/it/captures/otlp-logs/009.json"),
];
const TRACES: [&str; 3] = [
    include_str!("../../../tests/it/captures/otlp-traces/002.json"),
    include_str!("../../../tests/it/captures/otlp-traces/003.json"),
    include_str!("../../../tests/it/captures/otlp-traces/004.json"),
];
const METRICS: [&str; 3] = [
    include_str!("../../../tests/it/captures/otlp-metrics/002.json"),
    include_str!("../../../tests/it/captures/otlp-metrics/003.json"),
    include_str!("../../../tests/it/captures/otlp-metrics/004.json"),
];
/// As Chromium sent it.
const PROTOBUF: &[u8] = include_bytes!("../../../tests/it/captures/otlp-traces/005.bin");

fn settings() -> Settings {
    Settings {
        body_bytes_max: 1 << 20,
        sample_rates: BTreeMap::from([("rated".to_owned(), 0.1)]),
        rate_per_source: 0,
        cohort_flags: vec!["new_checkout".into()],
        ..crate::intake::tests::settings()
    }
}

fn memory() -> &'static Memory {
    Box::leak(Box::new(Memory::new(NOW - Length::DAY)))
}

fn decode<'a>(
    signal: Signal,
    content_type: &str,
    body: &'a [u8],
    settings: &'a Settings,
    from: &'a Enrichment,
    otlp: &'a Memory,
    now: Timestamp,
) -> Result<Decoded<'a>, Refusal> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
    let memory = Box::leak(Box::new(crate::intake::memory::Memory::new()));
    super::decode(
        signal,
        &Post { settings, from, headers: Box::leak(Box::new(headers)), part: None, query: "", body, whole: 0, now, memory, otlp },
    )
}

/// A daemon's memory and sums.
struct Daemon {
    memory: &'static Memory,
    sums: Aggregator,
    series: BTreeMap<aggregate::LocalSeries, crate::domain::series::Series>,
}

impl Daemon {
    fn new() -> Daemon {
        let dimensions = ["app", "environment", "route", "device", "browser", "os", "release", "cohort", "sdk"].map(str::to_owned).to_vec();
        let settle = Length::seconds(30);
        let settings = aggregate::Settings { bucket: Length::MINUTE, settle, dimensions, series_max: 1000, remember: Length::days(8) };
        Daemon { memory: memory(), sums: Aggregator::new(settings), series: BTreeMap::new() }
    }

    /// Takes a body in; what was rejected.
    fn take(&mut self, signal: Signal, body: &[u8]) -> Vec<(usize, Reason)> {
        let (from, settings) = (Enrichment::default(), settings());
        let decoded = decode(signal, "", body, &settings, &from, self.memory, NOW).unwrap();
        for batch in &decoded.batches {
            self.sums.add(batch, NOW).unwrap();
        }
        for (_, row) in decoded.rows {
            self.sums.add_row(row, NOW).unwrap();
        }
        decoded.rejected
    }

    /// Total and bad by metric and its first own dimension.
    fn totals(&mut self) -> BTreeMap<String, (i64, i64)> {
        let drained = self.sums.drain();
        self.series.extend(drained.new);
        let mut totals = BTreeMap::new();
        for (local, _, cell) in &drained.cells {
            let series = &self.series[local];
            let nav = series.dims().find(|(name, _)| *name == "nav").map_or(String::new(), |(_, nav)| format!(" {nav}"));
            let entry: &mut (i64, i64) = totals.entry(format!("{}{nav}", series.metric)).or_default();
            entry.0 += cell.counts.raw;
            entry.1 += cell.counts.raw_bad;
        }
        totals
    }
}

fn events(signal: Signal, body: &str) -> Vec<Event<'static>> {
    let (from, settings) = (Box::leak(Box::new(Enrichment::default())), Box::leak(Box::new(settings())));
    let body = body.to_owned().leak().as_bytes();
    let decoded = decode(signal, "application/json", body, settings, from, memory(), NOW).unwrap();
    assert_eq!(decoded.rejected, []);
    decoded.batches.into_iter().flat_map(|batch| batch.events).collect()
}

fn rejected(signal: Signal, body: &str) -> Vec<String> {
    let (from, settings) = (Enrichment::default(), settings());
    let decoded = decode(signal, "application/json", body.as_bytes(), &settings, &from, memory(), NOW).unwrap();
    decoded.rejected.iter().map(|(index, reason)| format!("{index}: {reason}")).collect()
}

fn line(event: &Event<'_>) -> String {
    let own: Vec<&str> = event.own.iter().map(|own| &**own).filter(|own| !own.is_empty()).collect();
    let (bad, value) = (if event.bad { " bad" } else { "" }, event.value.map_or(String::new(), |value| format!(" {value}")));
    format!("{} {} {}{value}{bad}", event.metric, own.join(" "), event.route)
}

/// Attributes in JSON.
fn attributes(pairs: &[(&str, Json)]) -> Json {
    let value = |value: &Json| match value {
        Json::String(text) => json!({ "stringValue": text }),
        Json::Bool(truth) => json!({ "boolValue": truth }),
        Json::Number(number) if number.is_i64() => json!({ "intValue": number.to_string() }),
        other => json!({ "doubleValue": other }),
    };
    pairs.iter().map(|(key, given)| json!({ "key": key, "value": value(given) })).collect()
}

fn logs(records: &[Json]) -> String {
    let resource = json!({ "attributes": attributes(&[("service.name", json!("shop"))]) });
    json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [{ "logRecords": records }] }] }).to_string()
}

fn log(name: &str, pairs: &[(&str, Json)]) -> Json {
    json!({ "eventName": name, "timeUnixNano": "1795362399000000000", "observedTimeUnixNano": "1795362400000000000", "attributes": attributes(pairs) })
}

fn spans(records: &[Json]) -> String {
    let resource = json!({ "attributes": attributes(&[("service.name", json!("shop"))]) });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": records }] }] }).to_string()
}

fn span(pairs: &[(&str, Json)], more: Json) -> Json {
    let mut span = json!({ "name": "GET", "kind": 3, "startTimeUnixNano": "1795362399000000000", "endTimeUnixNano": "1795362399250500000", "attributes": attributes(pairs) });
    span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    span
}

fn metrics(resource: &[(&str, Json)], metrics: &[Json]) -> String {
    let resource = json!({ "attributes": attributes(resource) });
    json!({ "resourceMetrics": [{ "resource": resource, "scopeMetrics": [{ "metrics": metrics }] }] }).to_string()
}

#[test]
fn captured_sessions_come_out_exactly() {
    let mut daemon = Daemon::new();
    for body in LOGS {
        assert_eq!(daemon.take(Signal::Logs, body.as_bytes()), []);
    }
    for body in TRACES {
        assert_eq!(daemon.take(Signal::Traces, body.as_bytes()), []);
    }
    let expected: &[(&str, (i64, i64))] = &[
        ("cls hard", (3, 0)),
        ("fcp hard", (3, 0)),
        ("inp hard", (1, 0)),
        ("interaction", (4, 0)),
        ("js_error", (2, 2)),
        ("lcp hard", (3, 0)),
        ("page_view hard", (3, 0)),
        ("page_view soft", (1, 0)),
        ("request", (5, 2)),
        ("session", (2, 0)),
        ("ttfb hard", (3, 0)),
    ];
    let totals = daemon.totals();
    assert_eq!(totals, expected.iter().map(|(name, counts)| ((*name).to_owned(), *counts)).collect());
    // All of it comes again, packed in another way.
    for (signal, body) in LOGS.map(|body| (Signal::Logs, body)).into_iter().chain(TRACES.map(|body| (Signal::Traces, body))) {
        daemon.take(signal, body.as_bytes());
    }
    let again = daemon.totals();
    for name in ["lcp hard", "inp hard", "cls hard", "session", "request"] {
        assert_eq!(again.get(name), None, "{name} counts once");
    }
}

#[test]
fn captured_web_vitals_come_out_to_the_millisecond() {
    let mut vitals: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for event in LOGS.into_iter().flat_map(|body| events(Signal::Logs, body)) {
        if let Counted::Vital(vital) = event.metric {
            vitals.entry(vital.name().to_owned()).or_default().push(event.value.unwrap());
        }
    }
    assert_eq!(vitals["lcp"], [3164.0, 624.0, 268.0]);
    assert_eq!(vitals["inp"], [80.0]);
    assert_eq!(vitals["fcp"], [552.0, 624.0, 136.0]);
    assert_eq!(vitals["ttfb"].iter().map(|value| (value * 10.0).round() / 10.0).collect::<Vec<_>>(), [47.3, 71.8, 15.3]);
    assert_eq!(vitals["cls"].iter().map(|value| (value * 1e5).round() / 1e5).collect::<Vec<_>>(), [0.0, 0.0, 0.08727]);
}

#[test]
fn captured_protobuf_is_read_as_the_same_page_would_be_in_json() {
    let mut daemon = Daemon::new();
    assert_eq!(daemon.take(Signal::Traces, PROTOBUF), []);
    // Nothing else was seen of this app, so its page view is the span.
    let expected: &[(&str, (i64, i64))] = &[("page_view hard", (1, 0)), ("request", (3, 2)), ("session", (1, 0))];
    assert_eq!(daemon.totals(), expected.iter().map(|(name, counts)| ((*name).to_owned(), *counts)).collect());
}

#[test]
fn both_encodings_give_the_same() {
    let bodies = LOGS.map(|body| (Signal::Logs, body)).into_iter();
    let bodies = bodies.chain(TRACES.map(|body| (Signal::Traces, body))).chain(METRICS.map(|body| (Signal::Metrics, body)));
    let (settings, from) = (settings(), Enrichment::default());
    for (signal, body) in bodies {
        let packed = encoder::request(&serde_json::from_str(body).unwrap());
        let plain = decode(signal, "application/json", body.as_bytes(), &settings, &from, memory(), NOW).unwrap();
        let packed = decode(signal, "application/x-protobuf", &packed, &settings, &from, memory(), NOW).unwrap();
        assert!(!plain.batches.is_empty());
        assert_eq!((&plain.batches, &plain.rows), (&packed.batches, &packed.rows));
        assert_eq!((plain.events, plain.rejected), (packed.events, packed.rejected));
    }
}

#[test]
fn a_source_is_what_record_span_and_resource_say_of_it() {
    let from = Enrichment { region: "de".into(), ..Enrichment::default() };
    let settings = settings();
    let decoded = decode(Signal::Logs, "", LOGS[0].as_bytes(), &settings, &from, memory(), NOW).unwrap();
    let source = &decoded.batches[0].source;
    assert_eq!((&*source.app, &*source.release, &*source.environment, &*source.region), ("shop", "1.4.0", "production", "de"));
    assert_eq!((&*source.device, &*source.browser, &*source.os), ("bot", "chrome", "linux"));
    assert_eq!((&*source.cohort, &*source.sdk), ("new_checkout=on", "@opentelemetry/browser-instrumentation/0.6.0"));
    assert_eq!(decoded.batches.len(), 1, "whatever a resource sends from one source is one batch");
    // The app that crashed is not the one that reports it.
    let crash = log("app.crash", &[("service.version", json!("1.3.9")), ("exception.type", json!("OOM")), ("os.name", json!("Android"))]);
    let body = logs(&[log("browser.navigation", &[]), crash]);
    let decoded = decode(Signal::Logs, "", body.as_bytes(), &settings, &from, memory(), NOW).unwrap();
    let sources: Vec<_> = decoded.batches.iter().map(|batch| (&*batch.source.release, &*batch.source.os, &*batch.source.device)).collect();
    assert_eq!(sources, [("", "", ""), ("1.3.9", "android", "phone")]);
}

#[test]
fn every_event_of_the_conventions_has_its_kind() {
    let vital = |body: Json| json!({ "eventName": "browser.web_vital", "body": body });
    let in_body = json!({ "kvlistValue": { "values": [
        { "key": "name", "value": { "stringValue": "LCP" } }, { "key": "value", "value": { "doubleValue": 1234.5 } }, { "key": "id", "value": { "stringValue": "v1" } } ] } });
    let records = [
        log(
            "browser.navigation",
            &[("url.full", json!("https://shop.test/product/157?token=x")), ("browser.navigation.same_document", json!(true))],
        ),
        log("", &[("event.name", json!("browser.navigation")), ("url.path", json!("/cart"))]),
        vital(in_body),
        log("browser.web_vital", &[("web_vital.name", json!("inp")), ("web_vital.value", json!("80"))]),
        log("browser.user_action.click", &[("browser.css_selector", json!("#buy"))]),
        log("app.widget.click", &[("app.widget.name", json!("pay"))]),
        log("", &[("exception.type", json!("E"))]),
        log("device.crash", &[("exception.message", json!("boom"))]),
        log("browser.navigation_timing", &[]),
        log("browser.resource_timing", &[]),
        log("session.start", &[("session.id", json!("s1"))]),
        json!({}),
    ];
    let lines: Vec<String> = events(Signal::Logs, &logs(&records)).iter().map(line).collect();
    assert_eq!(
        lines[..6],
        [
            "page_view soft /product/:id",
            "page_view hard /cart",
            "lcp hard  1234.5",
            "inp hard  80",
            "interaction click #buy ",
            "interaction click pay "
        ]
    );
    assert!(lines[6].starts_with("js_error ") && lines[6].ends_with(" bad"), "{}", lines[6]);
    assert!(lines[7].starts_with("crash ") && lines[7].ends_with(" bad"), "{}", lines[7]);
    assert_eq!(lines[8..], ["session  "]);
}

#[test]
fn a_crash_counts_once_and_makes_its_session_a_crashed_one() {
    let crash = log("app.crash", &[("session.id", json!("s1")), ("exception.type", json!("OOM"))]);
    let mut daemon = Daemon::new();
    daemon.take(Signal::Logs, logs(&[log("session.start", &[("session.id", json!("s1"))])]).as_bytes());
    for spaces in 0..3 {
        daemon.take(Signal::Logs, format!("{}{}", logs(std::slice::from_ref(&crash)), " ".repeat(spaces)).as_bytes());
    }
    assert_eq!(daemon.totals(), BTreeMap::from([("crash".to_owned(), (1, 1)), ("session".to_owned(), (1, 1))]));
}

#[test]
fn an_event_belongs_to_its_own_time_by_the_distance_to_the_newest() {
    let at =
        |nanos: &str, observed: &str| json!({ "eventName": "browser.navigation", "timeUnixNano": nanos, "observedTimeUnixNano": observed });
    // The client's clock is years behind; only distances count.
    let records = [at("1000000000000", "1000000000000"), at("970000000000", "999000000000"), at("2000000000000", "990000000000")];
    let times: Vec<i64> = events(Signal::Logs, &logs(&records)).iter().map(|event| (NOW - event.at).millis()).collect();
    assert_eq!(times, [0, 30_000, 0]);
}

#[test]
fn a_request_fails_by_status_zero_four_hundred_or_its_spans_word() {
    let get = ("http.request.method", json!("GET"));
    let url = ("url.full", json!("https://API.shop.test/items/42?k=v"));
    let status = |status: i64| ("http.response.status_code", json!(status));
    for (pairs, more, expected) in [
        (vec![get.clone(), url.clone(), status(200)], json!({}), "request api.shop.test GET 2xx /items/:id 250.5"),
        (vec![get.clone(), url.clone(), status(0)], json!({}), "request api.shop.test GET 0 /items/:id 250.5 bad"),
        (vec![get.clone(), url.clone(), status(404)], json!({}), "request api.shop.test GET 4xx /items/:id 250.5 bad"),
        (
            vec![get.clone(), url.clone(), status(200)],
            json!({ "status": { "code": "STATUS_CODE_ERROR" } }),
            "request api.shop.test GET 2xx /items/:id 250.5 bad",
        ),
        (vec![get.clone(), url.clone()], json!({}), "request api.shop.test GET 0 /items/:id 250.5 bad"),
        (vec![get.clone(), url.clone()], json!({ "status": { "code": 1 } }), "request api.shop.test GET /items/:id 250.5"),
        (
            vec![get.clone(), url.clone(), status(304), ("url.template", json!("/items/:sku"))],
            json!({ "kind": "SPAN_KIND_CLIENT" }),
            "request api.shop.test GET 3xx /items/:sku 250.5",
        ),
        (
            vec![("http.method", json!("post")), ("http.url", json!("http://old.test/x")), ("http.status_code", json!(500))],
            json!({ "events": [{ "name": "exception", "attributes": attributes(&[("exception.type", json!("TypeError"))]) }] }),
            "request old.test POST 5xx /x 250.5 bad",
        ),
    ] {
        let lines: Vec<String> = events(Signal::Traces, &spans(&[span(&pairs, more)])).iter().map(line).collect();
        assert_eq!(lines, [expected]);
    }
    // A server's own span, and one of a database, are nobody's request.
    let lines = events(Signal::Traces, &spans(&[span(&[get, url], json!({ "kind": 2 })), span(&[("db.system", json!("pg"))], json!({}))]));
    assert_eq!(lines, []);
}

#[test]
fn ids_come_in_hex_and_base64_and_name_the_same_span() {
    let pairs = [("http.request.method", json!("GET")), ("url.full", json!("/x")), ("http.response.status_code", json!(500))];
    let hex = json!({ "traceId": "6ffefa06b064a218d027dc2c8f0b02b6", "spanId": "dcaf96301dc308e4" });
    let base64 = json!({ "traceId": "b/76BrBkohjQJ9wsjwsCtg==", "spanId": "3K+WMB3DCOQ=" });
    let none = json!({ "traceId": "", "spanId": "zz" });
    let read = events(Signal::Traces, &spans(&[span(&pairs, hex), span(&pairs, base64), span(&pairs, none)]));
    assert_eq!(read[0].trace.as_deref(), Some("6ffefa06b064a218d027dc2c8f0b02b6"));
    assert_eq!((&read[0].trace, read[0].repeat), (&read[1].trace, read[1].repeat));
    assert!(read[0].repeat.is_some() && read[2].repeat.is_none() && read[2].trace.is_none());
}

#[test]
fn exceptions_of_spans_count_and_page_loads_only_where_no_navigation_does() {
    let thrown = json!({ "kind": 1, "name": "click", "events": [{ "name": "exception", "attributes": attributes(&[("exception.message", json!("no"))]) }, { "name": "other" }] });
    let load = json!({ "kind": 1, "name": "documentLoad", "spanId": "dcaf96301dc308e4" });
    let body = spans(&[span(&[], thrown), span(&[("url.full", json!("https://shop.test/cart?x"))], load)]);
    let mut daemon = Daemon::new();
    daemon.take(Signal::Traces, body.as_bytes());
    assert_eq!(daemon.totals(), BTreeMap::from([("js_error".to_owned(), (1, 1)), ("page_view hard".to_owned(), (1, 0))]));
    let mut daemon = Daemon::new();
    daemon.take(Signal::Logs, logs(&[log("browser.navigation", &[])]).as_bytes());
    daemon.take(Signal::Traces, body.as_bytes());
    assert_eq!(daemon.totals()["page_view hard"], (1, 0));
}

#[test]
fn a_page_load_that_overtakes_its_navigation_counts_once() {
    let load = |id: &str| {
        let load = json!({ "kind": 1, "name": "documentLoad", "spanId": id });
        spans(&[span(&[("url.full", json!("https://shop.test/cart?x"))], load)])
    };
    let navigation = |n: u32, path: &str, same: bool| {
        let url = format!("https://shop.test{path}?visit={n}");
        logs(&[log("browser.navigation", &[("url.full", json!(url)), ("browser.navigation.same_document", json!(same))])])
    };
    let views = |hard: i64, soft: i64| {
        let views = [("page_view hard".to_owned(), (hard, 0)), ("page_view soft".to_owned(), (soft, 0))];
        views.into_iter().filter(|(_, (count, _))| *count > 0).collect::<BTreeMap<_, _>>()
    };
    let mut daemon = Daemon::new();
    // The second delivery of the first one says nothing new.
    for id in ["dcaf96301dc308e4", "dcaf96301dc308e4", "aaaf96301dc308e4"] {
        daemon.take(Signal::Traces, load(id).as_bytes());
    }
    assert_eq!(daemon.totals(), views(2, 0));
    daemon.take(Signal::Logs, navigation(1, "/cart", true).as_bytes());
    daemon.take(Signal::Logs, navigation(2, "/", false).as_bytes());
    assert_eq!(daemon.totals(), views(1, 1), "other navigations");
    for n in 3..6 {
        daemon.take(Signal::Logs, navigation(n, "/cart", false).as_bytes());
    }
    assert_eq!(daemon.totals(), views(1, 0), "two of three were counted when they loaded");
    daemon.take(Signal::Traces, load("bbaf96301dc308e4").as_bytes());
    assert_eq!(daemon.totals(), views(0, 0), "by now it is known that navigations come");
}

#[test]
fn cumulative_metrics_count_by_their_growth_and_only_of_somebody() {
    let mut daemon = Daemon::new();
    for _ in 0..2 {
        for body in METRICS {
            assert_eq!(daemon.take(Signal::Metrics, body.as_bytes()), []);
        }
    }
    let expected: &[(&str, (i64, i64))] = &[
        ("custom:browser.js_errors", (1, 0)),
        ("custom:browser.page_views", (3, 0)),
        ("inp hard", (3, 0)),
        ("lcp hard", (3, 0)),
        ("session", (2, 0)),
    ];
    assert_eq!(daemon.totals(), expected.iter().map(|(name, counts)| ((*name).to_owned(), *counts)).collect());
    let sum = |temporality: Json| json!({ "name": "n", "sum": { "aggregationTemporality": temporality, "dataPoints": [{ "asInt": "5", "timeUnixNano": "1795362399000000000" }] } });
    let shop = [("service.name", json!("shop"))];
    let told = rejected(Signal::Metrics, &metrics(&shop, &[sum(json!(2)), sum(json!("AGGREGATION_TEMPORALITY_DELTA")), sum(json!(0))]));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("0: what is cumulative cannot be added up without a `session.id`"), "{told:?}");
    assert!(told[1].starts_with("2: a point that without a temporality"), "{told:?}");
}

#[test]
fn sums_belong_to_their_own_time_by_the_distance_to_the_newest() {
    let point = |seconds: u64| json!({ "asInt": 1, "timeUnixNano": seconds * 1_000_000_000 });
    let sum = json!({ "name": "n", "sum": { "aggregationTemporality": 1, "dataPoints": [point(100), point(110), point(120)] } });
    let body = metrics(&[("service.name", json!("shop"))], &[sum]);
    let (from, settings) = (Enrichment::default(), settings());
    let decoded = decode(Signal::Metrics, "", body.as_bytes(), &settings, &from, memory(), NOW).unwrap();
    assert_eq!(decoded.rows.iter().map(|(_, row)| (NOW - row.at).millis()).collect::<Vec<_>>(), [20_000, 10_000, 0]);
}

#[test]
fn delta_histograms_become_the_counts_of_their_buckets() {
    let point = json!({ "count": 10, "sum": 4.5, "bucketCounts": ["4", "5", "1"], "explicitBounds": [0.25, 2.5], "timeUnixNano": "1795362399000000000",
        "attributes": attributes(&[("http.request.method", json!("GET")), ("server.address", json!("API.test")), ("http.response.status_code", json!(503))]) });
    let histogram =
        json!({ "name": "http.client.request.duration", "unit": "s", "histogram": { "aggregationTemporality": 1, "dataPoints": [point] } });
    let body = metrics(&[("service.name", json!("shop"))], &[histogram]);
    let (from, settings) = (Enrichment::default(), settings());
    let decoded = decode(Signal::Metrics, "", body.as_bytes(), &settings, &from, memory(), NOW).unwrap();
    let row = &decoded.rows[0].1;
    let dims: Vec<_> = row.dims().collect();
    assert_eq!(dims, [("app", "shop"), ("host", "api.test"), ("method", "GET"), ("status", "5xx")]);
    assert_eq!((row.metric.clone(), row.cell.counts), (Counted::Request, crate::domain::cell::Counts::plain(10, 10)));
    let over: Vec<_> = row.cell.over.iter().map(|over| (over.limit.value, over.raw_over)).collect();
    assert_eq!((over, row.cell.sum), (vec![(250.0, 6), (2500.0, 1)], 4500.0));
    assert!(!row.cell.pushed, "a browser's sums do not say that the bucket was measured");
    // The same with bounds that are powers of two: 3 in (1, 2], 1 in (2, 4], 2 zeros.
    let point = json!({ "count": "6", "scale": 0, "zeroCount": 2, "positive": { "offset": 0, "bucketCounts": [3, "1"] } });
    let powers = json!({ "name": "browser.web_vital.cls", "exponentialHistogram": { "aggregationTemporality": 1, "dataPoints": [point] } });
    let body = metrics(&[("service.name", json!("shop"))], &[powers]);
    let decoded = decode(Signal::Metrics, "", body.as_bytes(), &settings, &from, memory(), NOW).unwrap();
    let over: Vec<_> = decoded.rows[0].1.cell.over.iter().map(|over| (over.limit.value, over.raw_over)).collect();
    assert_eq!(over, [(0.0, 4), (1.0, 4), (2.0, 1), (4.0, 0)]);
}

#[test]
fn consent_and_rates_hold_here_too() {
    let person = [("session.id", json!("s")), ("user.id", json!("u"))];
    let with = |more: (&str, Json)| log("browser.navigation", &[&person[..], &[more]].concat());
    let read = events(Signal::Logs, &logs(&[with(("consent", json!("none"))), with(("sample_rate", json!(0.5))), with(("x", json!(1)))]));
    let seen: Vec<_> = read.iter().map(|event| (event.metric.to_string(), event.user.is_some(), event.weight)).collect();
    let event = |metric: &str, user, weight| (metric.to_owned(), user, weight);
    assert_eq!(
        seen,
        [
            event("page_view", false, 1_000_000),
            event("session", true, 2_000_000),
            event("page_view", true, 2_000_000),
            event("page_view", true, 1_000_000)
        ]
    );
}
