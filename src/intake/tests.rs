//! Through the real listener, with requests written by hand.

mod connected;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::clock::{Clock, FixedClock};
use crate::domain::aggregate::{self, Aggregator};
use crate::domain::cell::Counts;
use crate::domain::time::Timestamp;

struct Daemon {
    at: SocketAddr,
    sink: Arc<Sink>,
    clock: Arc<FixedClock>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }
}

fn sink() -> Arc<Sink> {
    let dimensions = ["app", "route", "region", "device"].map(str::to_owned).to_vec();
    Arc::new(Sink::new(Aggregator::new(aggregate::Settings {
        bucket: Span::MINUTE,
        settle: Span::seconds(30),
        dimensions,
        series_max: 1000,
        remember: Span::days(8),
    })))
}

pub(super) fn settings() -> Settings {
    Settings {
        keys: BTreeSet::new(),
        allowed_origins: vec!["*".into()],
        body_bytes_max: 10_000,
        otlp_bytes_max: 8 << 20,
        sample_rates: BTreeMap::new(),
        sample_rate_min: 0.001,
        rate_per_source: 10,
        influence_per_source: 0,
        trusted_proxies: Vec::new(),
        geo: None,
        consent: OptOut::Anonymous,
        browser_signal: OptOut::Anonymous,
        remember: Span::days(8),
        hash: KeyedHash::new([3; 16]),
        redactor: Redactor::default(),
        templates: Templates::default(),
        cohort_flags: Vec::new(),
        telemetry: false,
    }
}

async fn start(settings: Settings) -> Daemon {
    start_with(settings, PATIENCE).await
}

async fn start_with(settings: Settings, patience: Duration) -> Daemon {
    start_as(settings, |intake| Intake { patience, ..intake }).await
}

async fn start_as(settings: Settings, change: impl FnOnce(Intake) -> Intake) -> Daemon {
    let (sink, clock) = (sink(), Arc::new(FixedClock::new(Timestamp(1_800_000_000_000))));
    let intake = Arc::new(change(Intake::new(settings, sink.clone(), clock.clone())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, intake, async {
        let _ = stopped.await;
    }));
    Daemon { at, sink, clock, stop, served }
}

impl Daemon {
    async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        read_answer(&mut stream).await
    }

    async fn post(&self, body: &str) -> Answer {
        self.send("POST", "/v1/rum", "", body.as_bytes()).await
    }

    fn total(&self) -> Counts {
        let mut counts = Counts::ZERO;
        self.sink.drain().1.cells.iter().for_each(|(_, _, cell)| counts += cell.counts);
        counts
    }
}

async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

const VIEW: &str = r#"{"app":"shop","events":[{"kind":"page_view"}]}"#;

#[tokio::test]
async fn beacons_are_counted_whatever_their_content_type() {
    let daemon = start(settings()).await;
    let body = r#"{"app":"shop","events":[{"kind":"page_view"},{"kind":"?"},{"kind":"page_view","ok":false}]}"#;
    let answer = daemon.send("POST", "/v1/rum", "content-type: text/plain;charset=UTF-8\r\n", body.as_bytes()).await;
    assert_eq!((answer.status, answer.header("content-type")), (202, Some("application/json")));
    assert_eq!(answer.body, r#"{"accepted":2,"rejected":[{"index":1,"reason":"`kind` is missing or unknown"}]}"#);
    assert_eq!(daemon.total(), Counts::plain(2, 1));
}

#[tokio::test]
async fn a_body_counts_once_by_its_bytes_or_by_its_id() {
    let daemon = start(settings()).await;
    assert_eq!(daemon.post(VIEW).await.body, r#"{"accepted":1,"rejected":[]}"#);
    assert_eq!(daemon.post(VIEW).await.body, r#"{"accepted":0,"rejected":[],"duplicate":1}"#);
    for spaces in 0..3 {
        daemon.post(&format!(r#"{{"app":"shop","id":"b1","events":[{{"kind":"page_view"}}]{}}}"#, " ".repeat(spaces))).await;
    }
    assert_eq!(daemon.total(), Counts::plain(2, 0));
    daemon.clock.advance(Span::minutes(11));
    assert_eq!(daemon.post(VIEW).await.body, r#"{"accepted":1,"rejected":[]}"#);
}

#[tokio::test]
async fn what_a_repeated_body_says_of_its_telemetry_counts_once() {
    for id in ["", r#""id":"b1","#] {
        let daemon = start(Settings { telemetry: true, ..settings() }).await;
        let body = format!(r#"{{"app":"shop",{id}"events":[{{"kind":"page_view","page":"/a?mail=eve@example.com"}}]}}"#);
        daemon.post(&body).await;
        let once = daemon.total();
        assert!(once.total > Counts::plain(1, 0).total, "telemetry is counted beside the page view");
        daemon.post(&body).await;
        assert_eq!(daemon.total(), Counts::default(), "{id}");
    }
}

#[tokio::test]
async fn what_comes_with_an_event_that_was_seen_counts_by_its_body() {
    let daemon = start(Settings { telemetry: true, ..settings() }).await;
    let id = "ab".repeat(16);
    let event = format!(
        "{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\"}}\n{{\"event_id\":\"{id}\",\"exception\":{{\"values\":[{{\"type\":\"E\",\"value\":\"boom\"}}]}}}}\n"
    );
    let report =
        "{\"type\":\"client_report\"}\n{\"discarded_events\":[{\"reason\":\"network_error\",\"category\":\"error\",\"quantity\":5}]}\n";
    daemon.send("POST", "/api/1/envelope/", "", event.as_bytes()).await;
    assert_ne!(daemon.total(), Counts::ZERO);
    // Sent again in a new envelope, with word of what was lost meanwhile.
    let more = format!("{event}{report}");
    daemon.send("POST", "/api/1/envelope/", "", more.as_bytes()).await;
    assert_ne!(daemon.total(), Counts::ZERO, "the report is new");
    daemon.send("POST", "/api/1/envelope/", "", more.as_bytes()).await;
    assert_eq!(daemon.total(), Counts::ZERO);
}

#[tokio::test]
async fn browsers_get_their_concrete_origin() {
    let daemon = start(Settings { allowed_origins: vec!["https://shop.example.com".into()], ..settings() }).await;
    let preflight =
        daemon.send("OPTIONS", "/v1/rum/key", "origin: https://shop.example.com\r\naccess-control-request-method: POST\r\n", b"").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://shop.example.com"));
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(preflight.header("vary"), Some("Origin"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("idempotency-key"));
    assert!(preflight.header("access-control-max-age").is_some());
    let post = daemon.send("POST", "/v1/rum", "origin: https://shop.example.com\r\n", VIEW.as_bytes()).await;
    assert_eq!((post.status, post.header("access-control-allow-origin")), (202, Some("https://shop.example.com")));
    let stranger = daemon.send("POST", "/v1/rum", "origin: https://evil.test\r\n", VIEW.as_bytes()).await;
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin")), (403, None));
    assert_eq!(daemon.send("OPTIONS", "/v1/rum", "origin: https://evil.test\r\n", b"").await.status, 403);
}

#[tokio::test]
async fn refusals_have_the_statuses_of_the_contract() {
    let daemon = start(Settings { keys: BTreeSet::from(["k1".to_owned()]), ..settings() }).await;
    let big = " ".repeat(10_001);
    let gzip = [0x1f, 0x8b, 8, 0, 0];
    for (method, path, headers, body, status) in [
        ("POST", "/v1/rum/k1", "", VIEW.as_bytes(), 202),
        ("POST", "/v1/rum?key=k1", "", VIEW.as_bytes(), 202),
        ("POST", "/v1/rum", "x-api-key: k1\r\n", VIEW.as_bytes(), 202),
        ("POST", "/v1/rum", "", VIEW.as_bytes(), 401),
        ("POST", "/v1/rum/wrong", "", VIEW.as_bytes(), 401),
        ("POST", "/v1/rum/k1", "", b"nonsense", 400),
        ("POST", "/v1/rum/k1", "", b"{}", 400),
        ("POST", "/v1/rum/k1", "", b"", 400),
        ("POST", "/v1/rum/k1", "", big.as_bytes(), 413),
        ("POST", "/v1/rum/k1", "content-encoding: zstd\r\n", VIEW.as_bytes(), 415),
        ("POST", "/v1/rum/k1", "content-encoding: gzip, br\r\n", VIEW.as_bytes(), 415),
        ("POST", "/v1/rum/k1", "content-encoding: gzip\r\n", &gzip, 400),
        ("GET", "/v1/rum/k1", "", b"", 405),
        ("DELETE", "/v1/rum", "", b"", 405),
        ("GET", "/", "", b"", 404),
        ("POST", "/v1/rum/a/b", "", VIEW.as_bytes(), 404),
        ("POST", "/v1/rumx", "", VIEW.as_bytes(), 404),
        ("GET", "/metrics", "", b"", 404),
        ("POST", "/v1/aggregates", "", b"", 404),
    ] {
        let answer = daemon.send(method, path, headers, body).await;
        assert_eq!(answer.status, status, "{method} {path} {headers}: {}", answer.body);
        if status == 405 {
            assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
        }
        if status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
    }
    // A megabyte that is refused is read, so that the sender sees the answer and no reset.
    assert_eq!(daemon.send("POST", "/v1/rum/k1", "", &vec![b'x'; 3 << 20]).await.status, 413);
}

#[tokio::test]
async fn a_source_over_its_rate_is_told_when_to_come_back() {
    let daemon = start(settings()).await;
    let events = vec![r#"{"kind":"page_view"}"#; 25].join(",");
    let body = format!(r#"{{"app":"shop","events":[{events}]}}"#);
    let behind_proxy = "x-forwarded-for: 10.0.0.1, 203.0.113.9\r\n";
    assert_eq!(daemon.send("POST", "/v1/rum", behind_proxy, body.as_bytes()).await.status, 202);
    let limited = daemon.send("POST", "/v1/rum", behind_proxy, VIEW.as_bytes()).await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("2")));
    assert_eq!(daemon.send("POST", "/v1/rum", "x-forwarded-for: 203.0.113.10\r\n", VIEW.as_bytes()).await.status, 202);
    for n in 0..30 {
        let body = format!(r#"{{"app":"shop","id":{n},"events":[{{"kind":"page_view"}}]}}"#);
        assert_eq!(daemon.post(&body).await.status, 202, "loopback is spared");
    }
}

#[test]
fn only_proxies_that_are_trusted_say_for_whom_they_speak() {
    let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let intake = Intake::new(Settings { trusted_proxies, ..settings() }, sink(), Arc::new(FixedClock::new(Timestamp(0))));
    for (peer, said, source) in [
        ("127.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
        ("10.1.2.3", &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
        // Two of ours, one behind the other; what stands before the client is the client's own invention.
        ("10.1.2.3", &["127.0.0.1, 203.0.113.9", "10.9.9.9"], "203.0.113.9"),
        ("10.1.2.3", &[], "10.1.2.3"),
        ("10.1.2.3", &["unknown, 10.4.4.4"], "10.4.4.4"),
        ("192.0.2.1", &["203.0.113.9"], "192.0.2.1"),
    ] {
        let headers = said.iter().map(|said| ("x-forwarded-for".parse().unwrap(), said.parse().unwrap()));
        let headers = headers.fold(HeaderMap::new(), |mut all, (name, value): (http::HeaderName, _)| {
            all.append(name, value);
            all
        });
        assert_eq!(intake.source_of(peer.parse().unwrap(), &headers), Source::of(source.parse().unwrap()), "{peer} {said:?}");
    }
}

#[tokio::test]
async fn a_durable_answer_waits_for_the_commit() {
    let daemon = start(settings()).await;
    let flush = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (flush, drained) = daemon.sink.drain();
        assert_eq!(drained.cells.len(), 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = Instant::now();
        daemon.sink.committed(flush);
        before
    };
    let request = async { (daemon.send("POST", "/v1/rum?ack=durable", "", VIEW.as_bytes()).await, Instant::now()) };
    let (committed_at, (answer, answered_at)) = tokio::join!(flush, request);
    assert_eq!(answer.status, 202);
    assert!(answered_at >= committed_at);
}

#[tokio::test]
async fn while_nothing_can_be_stored_clients_keep_their_data() {
    let daemon = start(settings()).await;
    daemon.sink.failed();
    let answer = daemon.post(VIEW).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    daemon.sink.committed(1);
    assert_eq!(daemon.post(VIEW).await.status, 202);
}

#[tokio::test]
async fn an_overloaded_daemon_keeps_one_in_so_many_with_its_weight() {
    let (sink, clock) = (sink(), Arc::new(FixedClock::new(Timestamp(1_800_000_000_000))));
    let intake = Intake::new(settings(), sink.clone(), clock.clone() as Arc<dyn Clock>);
    intake.thinning.store(4, Ordering::Relaxed);
    let mut accepted = 0;
    for n in 0..2000 {
        let body = format!(r#"{{"app":"shop","id":{n},"events":[{{"kind":"page_view"}}]}}"#);
        let request = Request::post("/v1/rum").body(Full::new(Bytes::from(body))).unwrap();
        accepted += usize::from(intake.answer(IpAddr::from([127, 0, 0, 1]), request).await.status() == 202);
    }
    let cell = &sink.drain().1.cells[0].2;
    assert_eq!(accepted, 2000);
    assert!((400..600).contains(&cell.counts.raw), "{}", cell.counts.raw);
    assert_eq!(cell.counts.total, cell.counts.raw * 4_000_000);
}

const LOG: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeLogs":[{"logRecords":[{"eventName":"browser.navigation"},{"eventName":"browser.web_vital"}]}]}]}"#;

#[tokio::test]
async fn otlp_is_answered_in_its_own_words_and_encoding() {
    let daemon = start(Settings { rate_per_source: 0, otlp_bytes_max: 20_000, ..settings() }).await;
    let json = "content-type: application/json\r\n";
    let protobuf = "content-type: application/x-protobuf\r\n";
    let answer = daemon.send("POST", "/v1/logs", json, LOG.as_bytes()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.body, r#"{"partialSuccess":{"errorMessage":"1: `browser.web_vital.name` is missing","rejectedLogRecords":"1"}}"#);
    let empty = daemon.send("POST", "/v1/traces", json, b"{}").await;
    assert_eq!((empty.status, empty.body.as_str()), (200, "{}"));
    // The sum of a metric without an owner, in protobuf: rejected_data_points = 1 and a message within partial_success.
    let metric: &[u8] =
        b"\x0a9\x0a\x18\x0a\x16\x0a\x0cservice.name\x12\x06\x0a\x04shop\x12\x1d\x12\x1b\x0a\x01n:\x16\x0a\x12\x19\x01\x00\x00\x00\x00\x00\x00\x001\x03\x00\x00\x00\x00\x00\x00\x00\x10\x02";
    let answer = daemon.send("POST", "/v1/metrics", protobuf, metric).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-protobuf")));
    assert!(answer.body.starts_with("\n") && answer.body.as_bytes()[2..5] == [8, 1, 0x12], "{:?}", answer.body);
    let broken = daemon.send("POST", "/v1/metrics", protobuf, b"\x0a\x7f").await;
    assert_eq!((broken.status, broken.body.as_str()), (400, "\u{8}\u{3}\u{12}\u{1b}the body is no OTLP request"));
    let broken = daemon.send("POST", "/v1/logs", json, b"nonsense").await;
    assert_eq!(broken.status, 400);
    assert!(broken.body.starts_with(r#"{"code":3,"message":"the body is no JSON"#), "{}", broken.body);
    assert_eq!(daemon.send("POST", "/v1/logs", json, &vec![b' '; 15_000]).await.status, 400, "more than a beacon may have");
    assert_eq!(daemon.send("POST", "/v1/logs", json, &vec![b' '; 20_001]).await.status, 413);
    assert_eq!(daemon.total(), Counts::plain(1, 0));
    daemon.sink.failed();
    let unavailable = daemon.send("POST", "/v1/logs", json, LOG.as_bytes()).await;
    assert_eq!((unavailable.status, unavailable.header("retry-after")), (503, Some("5")));
    assert!(unavailable.body.starts_with(r#"{"code":14,"#), "{}", unavailable.body);
}

#[tokio::test]
async fn otlp_sums_count_once_however_often_they_come() {
    let daemon = start(settings()).await;
    let body = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeMetrics":[{"metrics":[{"name":"clicks","sum":{"aggregationTemporality":1,"dataPoints":[{"asInt":"3"},{"asDouble":-1}]}}]}]}]}"#;
    for _ in 0..3 {
        let answer = daemon.send("POST", "/v1/metrics", "", body.as_bytes()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(r#""rejectedDataPoints":"1""#), "{}", answer.body);
    }
    assert_eq!(daemon.total(), Counts::plain(3, 0));
}

#[tokio::test]
async fn an_overloaded_daemon_sends_otlp_away_for_a_second() {
    let (sink, clock) = (sink(), Arc::new(FixedClock::new(Timestamp(1_800_000_000_000))));
    let intake = Intake::new(settings(), sink.clone(), clock as Arc<dyn Clock>);
    intake.thinning.store(4, Ordering::Relaxed);
    let request = Request::post("/v1/logs").body(Full::new(Bytes::from_static(LOG.as_bytes()))).unwrap();
    let answer = intake.answer(IpAddr::from([127, 0, 0, 1]), request).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after").unwrap().to_str().unwrap()), (503, "1"));
    assert!(sink.drain().1.is_empty());
}

#[tokio::test]
async fn connections_are_kept_alive_and_chunks_and_compression_are_read() {
    let daemon = start(settings()).await;
    let mut stream = TcpStream::connect(daemon.at).await.unwrap();
    let gzipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, br#"{"app":"zip","events":[{"kind":"page_view"}]}"#).unwrap();
        encoder.finish().unwrap()
    };
    for round in 0..3 {
        let last = if round == 2 { "connection: close\r\n" } else { "" };
        let head = format!("POST /v1/rum HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        for piece in gzipped.chunks(10) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
            stream.write_all(piece).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text.matches("HTTP/1.1 202").count(), 3, "{text}");
    assert_eq!(daemon.total(), Counts::plain(1, 0));
}

#[tokio::test]
async fn http2_is_understood() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let daemon = start(settings()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let answer = client.post(format!("http://{}/v1/rum", daemon.at)).body(VIEW).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (202, http::Version::HTTP_2));
}

#[tokio::test]
async fn broken_requests_never_give_a_server_error() {
    let daemon = start(settings()).await;
    for request in [
        "POST /v1/rum HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "POST /v1/rum HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/rum HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/rum HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "NONSENSE\r\n\r\n",
        "POST /v1/rum HTTP/9.9\r\n\r\n",
        "\0\0\0\0",
    ] {
        let mut stream = TcpStream::connect(daemon.at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        assert!(!text.starts_with("HTTP/1.1 5") && !text.starts_with("HTTP/1.1 202"), "{request:?}: {text}");
    }
    assert_eq!(daemon.post(VIEW).await.status, 202);
}

#[tokio::test]
async fn one_source_alone_makes_no_bad_news() {
    let daemon = start(Settings { rate_per_source: 0, influence_per_source: 20, ..settings() }).await;
    let beacon = |kind: &str, count: usize, n: usize| {
        let events = vec![kind; count].join(",");
        format!(r#"{{"app":"shop","id":"{n}","events":[{events}]}}"#)
    };
    let from = |address: String| format!("x-forwarded-for: {address}\r\n");
    for n in 0..100_usize {
        let good = beacon(r#"{"kind":"page_view"}"#, 15, n);
        assert_eq!(daemon.send("POST", "/v1/rum", &from(format!("198.51.{n}.1")), good.as_bytes()).await.status, 202);
    }
    // Other addresses of one network are one source, and a new session each time changes nothing.
    let (mut accepted, mut reason) = (0, String::new());
    for n in 0..50_usize {
        let bad = beacon(r#"{"kind":"page_view","ok":false}"#, 100, 1_000 + n).replacen('{', &format!(r#"{{"session":"s{n}","#), 1);
        let answer = daemon.send("POST", "/v1/rum", &from(format!("203.0.113.{n}")), bad.as_bytes()).await;
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        accepted += body["accepted"].as_u64().unwrap();
        reason = body["rejected"][0]["reason"].as_str().unwrap_or("").to_owned();
    }
    // Twenty a minute, but of bad news no more than a 200th of what came: 1,500 events of a hundred networks.
    assert_eq!((accepted, reason.starts_with("this source has added all")), (7, true), "{reason}");
    // Of an objective of 99.9 % that is no burn of 14.4; the flood as it came would be one of 769.
    let drained = daemon.sink.drain().1;
    let of = |metric: Metric| {
        let is = |id| drained.new.iter().any(|(known, series)| *known == id && series.metric == metric);
        let mut counts = Counts::ZERO;
        drained.cells.iter().filter(|(id, _, _)| is(*id)).for_each(|(_, _, cell)| counts += cell.counts);
        counts
    };
    let total = of(Metric::PageView);
    assert_eq!((total.raw, total.raw_bad), (1_507, 7));
    // Of fifty sessions that it made up only the one counts of which something counts.
    assert_eq!(of(Metric::Session).raw, 1);
    assert!(crate::domain::burn::burn(total, 1_000).unwrap() < 14.4);
    // What others reported is forgotten by then.
    daemon.clock.advance(Span::hours(2));
    let bad = beacon(r#"{"kind":"page_view","ok":false}"#, 5, 5_000);
    assert!(daemon.send("POST", "/v1/rum", &from("203.0.113.1".into()), bad.as_bytes()).await.body.contains(r#""accepted":5"#));
}

#[tokio::test]
async fn the_region_comes_from_a_file_where_no_header_tells_it_and_the_address_stays_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let geo = Some(geo::Geo::open(&geo::tests::file(folder.path())).unwrap());
    let daemon = start(Settings { geo, rate_per_source: 0, ..settings() }).await;
    for (n, headers) in
        ["x-forwarded-for: 203.0.113.7\r\n", "x-forwarded-for: 203.0.113.7\r\ncf-ipcountry: FR\r\n", ""].into_iter().enumerate()
    {
        let body = VIEW.replacen('{', &format!(r#"{{"id":"{n}","#), 1);
        assert_eq!(daemon.send("POST", "/v1/rum", headers, body.as_bytes()).await.status, 202);
    }
    let drained = daemon.sink.drain().1;
    let regions: BTreeSet<String> = drained.new.iter().map(|(_, series)| series.get("region").to_owned()).collect();
    assert_eq!(regions, ["", "de", "fr"].map(str::to_owned).into());
    assert!(!format!("{drained:?}").contains("203.0"));
}
