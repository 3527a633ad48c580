//! How many events and requests a second `/v1/rum`, `/v1/logs` (OTLP in JSON) and `/collect` (Faro) take on one core, through HTTP
//! and into packed segments.
//!
//! `cargo bench --bench intake`. The server runs on a runtime with one thread that is held to one core
//! (`taskset`, where there is one); the clients run in a process of their own on the other cores.
//! Every body differs, so that none is a repeat.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use burnwatch::clock::SystemClock;
use burnwatch::config::OptOut;
use burnwatch::domain::aggregate::{Aggregator, Settings as Folding};
use burnwatch::domain::keyed::KeyedHash;
use burnwatch::domain::redact::Redactor;
use burnwatch::domain::route_template::Templates;
use burnwatch::domain::rows::Reader;
use burnwatch::domain::segment;
use burnwatch::domain::series::SeriesId;
use burnwatch::domain::time::Span;
use burnwatch::intake::{Intake, Settings, serve};
use burnwatch::sink::Sink;

const RUN: Duration = Duration::from_secs(4);
const DIMENSIONS: [&str; 10] = ["app", "environment", "route", "region", "device", "browser", "os", "release", "cohort", "sdk"];

fn main() {
    if let Some(at) = std::env::var_os("INTAKE_BENCH_CLIENT") {
        return client(at.to_str().unwrap().parse().unwrap());
    }
    rows();
    if std::env::args().any(|argument| argument == "rows") {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let sink = Arc::new(Sink::new(Aggregator::new(Folding {
        bucket: Span::MINUTE,
        settle: Span::seconds(30),
        dimensions: DIMENSIONS.map(str::to_owned).to_vec(),
        series_max: 50_000,
        remember: Span::days(8),
    })));
    let settings = Settings {
        keys: Default::default(),
        allowed_origins: vec!["*".into()],
        body_bytes_max: 1 << 20,
        otlp_bytes_max: 8 << 20,
        sample_rates: Default::default(),
        sample_rate_min: 0.001,
        rate_per_source: 1000,
        influence_per_source: 0,
        trusted_proxies: Vec::new(),
        geo: None,
        consent: OptOut::Anonymous,
        browser_signal: OptOut::Anonymous,
        remember: Span::days(8),
        hash: KeyedHash::new([1; 16]),
        redactor: Redactor::default(),
        templates: Templates::default(),
        cohort_flags: vec!["new_checkout".into()],
        telemetry: true,
    };
    std::thread::spawn(move || {
        pin_to_first_core();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let flusher = sink.clone();
        runtime.spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            loop {
                tick.tick().await;
                let (flush, drained) = flusher.drain();
                let mut writer = segment::Writer::default();
                let mut cells: Vec<_> = drained.cells.iter().collect();
                cells.sort_by_key(|(series, slice, _)| (*series, *slice));
                for (series, slice, cell) in cells {
                    writer.push(SeriesId(series.0), *slice, cell);
                }
                std::hint::black_box(writer.finish());
                flusher.committed(flush);
            }
        });
        let intake = Arc::new(Intake::new(settings, sink, Arc::new(SystemClock)));
        runtime.block_on(async move { serve(tokio::net::TcpListener::from_std(listener).unwrap(), intake, std::future::pending()).await });
    });
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.env("INTAKE_BENCH_CLIENT", at.to_string()).status().unwrap();
}

fn pin_to_first_core() {
    // By the thread's own id, which Linux shows here.
    let Ok(link) = std::fs::read_link("/proc/thread-self") else { return };
    let id = link.file_name().unwrap().to_string_lossy().into_owned();
    let _ = std::process::Command::new("taskset").args(["-pc", "0", &id]).stdout(std::process::Stdio::null()).status();
}

/// A protocol, as the clients speak it.
#[derive(Clone, Copy)]
struct Protocol {
    path: &'static str,
    content_type: &'static str,
    /// How its answer begins when all is well.
    fine: &'static str,
    /// A body of so many events.
    body: fn(usize, u64) -> String,
}

const RUM: Protocol = Protocol { path: "/v1/rum", content_type: "text/plain;charset=UTF-8", fine: "HTTP/1.1 202", body };
const FARO: Protocol = Protocol { path: "/collect", content_type: "application/json", fine: "HTTP/1.1 202", body: faro_body };
const OTLP: Protocol = Protocol { path: "/v1/logs", content_type: "application/json", fine: "HTTP/1.1 200", body: otlp_body };

fn client(at: SocketAddr) {
    for (protocol, per_request) in [(RUM, 1), (RUM, 20), (OTLP, 4), (OTLP, 20), (FARO, 4), (FARO, 20)] {
        let requests = Arc::new(AtomicU64::new(0));
        let end = Instant::now() + RUN;
        let threads: Vec<_> = (0..16_u64)
            .map(|thread| {
                let requests = requests.clone();
                std::thread::spawn(move || drive(at, protocol, thread, per_request, end, &requests))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let each = requests.load(Ordering::Relaxed) as f64 / RUN.as_secs_f64();
        let path = protocol.path;
        println!("{path}, {per_request:>3} events a request: {each:>9.0} requests/s, {:>9.0} events/s", each * per_request as f64);
    }
}

/// Sends requests in batches of pipelined ones, so that the clients cost less than the server.
fn drive(at: SocketAddr, protocol: Protocol, thread: u64, per_request: usize, end: Instant, requests: &AtomicU64) {
    const BATCH: u64 = 8;
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = vec![0; 64 << 10];
    let mut sent = 0_u64;
    // Built once; each request only gets a new session and id, in place.
    let bodies: Vec<String> = (0..BATCH).map(|n| (protocol.body)(per_request, thread * BATCH + n)).collect();
    let Protocol { path, content_type, fine, .. } = protocol;
    let mut out = Vec::new();
    while Instant::now() < end {
        out.clear();
        for body in &bodies {
            sent += 1;
            let body = body.replace("SESSION0000000000", &format!("{:017}", thread << 40 | sent));
            write!(out, "POST {path} HTTP/1.1\r\nhost: x\r\nuser-agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\norigin: https://shop.example.com\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
        stream.write_all(&out).unwrap();
        let mut done = 0;
        while done < BATCH {
            let read = stream.read(&mut answer).unwrap();
            assert!(read > 0, "the server closed the connection");
            done += answer[..read].windows(12).filter(|window| *window == fine.as_bytes()).count() as u64;
        }
        requests.fetch_add(BATCH, Ordering::Relaxed);
    }
}

fn body(events: usize, seed: u64) -> String {
    let routes = ["/", "/checkout", "/product/157", "/cart", "/search?q=shoes"];
    let event = |n: usize| {
        let (page, ts) = (routes[(n + seed as usize) % routes.len()], 1_795_362_051_974_u64 + n as u64);
        match n % 4 {
            0 => format!(r#"{{"ts":{ts},"page":"{page}","kind":"web_vital","name":"LCP","value":{}.5,"rating":"good"}}"#, 900 + 37 * n),
            1 => format!(
                r#"{{"ts":{ts},"page":"{page}","kind":"request","host":"api.example.com","path":"/api/items/{n}","method":"GET","status":200,"success":true,"value":{n}.25}}"#
            ),
            2 => format!(r#"{{"ts":{ts},"page":"{page}","kind":"page_view","nav":"hard","referrer":""}}"#),
            _ => {
                format!(r#"{{"ts":{ts},"page":"{page}","kind":"web_vital","name":"INP","value":{},"id":"SESSION0000000000-{n}"}}"#, 16 * n)
            }
        }
    };
    let events: Vec<String> = (0..events).map(event).collect();
    format!(
        r#"{{"v":1,"app":"shop","release":"1.4.{}","environment":"production","session":"SESSION0000000000","user":"user-{seed}","flags":{{"new_checkout":"on"}},"sample_rate":1,"region":"{}","sent_at":1795362054424,"events":[{}]}}"#,
        seed % 3,
        ["de", "fr", "us"][seed as usize % 3],
        events.join(",")
    )
}

/// As browser-instrumentation writes it, with the attributes that a processor of the user's own stamps on every record.
fn otlp_body(events: usize, seed: u64) -> String {
    let pages = ["/", "/checkout", "/product/157", "/cart", "/search"];
    let attribute = |key: &str, kind: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"{kind}":{value}}}}}"#);
    let text = |key: &str, value: &str| attribute(key, "stringValue", &format!("\"{value}\""));
    let vital = |name: &str, kind: &str, value: &str, n: usize| {
        let id = text("browser.web_vital.id", &format!("v5-SESSION0000000000-{n}"));
        let parts = [
            text("browser.web_vital.name", name),
            attribute("browser.web_vital.value", kind, value),
            attribute("browser.web_vital.delta", kind, value),
            text("browser.web_vital.rating", "good"),
            id,
            text("browser.web_vital.navigation_type", "navigate"),
        ];
        ("browser.web_vital", parts.join(","))
    };
    let record = |n: usize| {
        let page = pages[(n + seed as usize) % pages.len()];
        let (name, own) = match n % 4 {
            0 => {
                let parts = [
                    text("url.full", &format!("https://shop.example.com{page}?v=1")),
                    attribute("browser.navigation.same_document", "boolValue", "false"),
                    attribute("browser.navigation.hash_change", "boolValue", "false"),
                ];
                ("browser.navigation", parts.join(","))
            }
            1 => vital("lcp", "doubleValue", &format!("{}.5", 900 + 37 * n), n),
            2 => vital("inp", "intValue", &format!("{}", 16 * n), n),
            _ => ("browser.user_action.click", [text("browser.tag_name", "BUTTON"), text("browser.css_selector", "#buy")].join(",")),
        };
        let at = 1_795_362_359_984_000_000_u64 + n as u64 * 1_000_000;
        let stamped = [
            text("session.id", "SESSION0000000000"),
            text("user.id", &format!("user-{seed}")),
            text("url.path", page),
            text("feature_flag.new_checkout", "on"),
        ];
        format!(
            r#"{{"timeUnixNano":"{at}","observedTimeUnixNano":"{at}","severityNumber":9,"body":{{}},"eventName":"{name}","attributes":[{own},{}],"droppedAttributesCount":0}}"#,
            stamped.join(",")
        )
    };
    let records: Vec<String> = (0..events).map(record).collect();
    let resource = [
        text("service.name", "shop"),
        text("service.version", &format!("1.4.{}", seed % 3)),
        text("deployment.environment.name", "production"),
        text("session.id", "SESSION0000000000"),
        attribute("browser.mobile", "boolValue", "false"),
    ];
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{}],"droppedAttributesCount":0}},"scopeLogs":[{{"scope":{{"name":"@opentelemetry/browser-instrumentation/web-vitals","version":"0.6.0"}},"logRecords":[{}]}}]}}]}}"#,
        resource.join(","),
        records.join(",")
    )
}

/// As the web SDK writes it with its tracing, with all that comes with each item.
fn faro_body(events: usize, seed: u64) -> String {
    let pages = ["/", "/checkout", "/product/157", "/cart", "/search?q=shoes"];
    let page = format!("https://shop.example.com{}", pages[seed as usize % pages.len()]);
    let at = |n: usize| format!("2026-11-22T15:00:{:02}.{:03}Z", n / 4 % 60, n % 1_000);
    let (mut pushed, mut measured) = (Vec::new(), Vec::new());
    for n in 0..events {
        let at = at(n);
        match n % 4 {
            0 => pushed.push(format!(
                r#"{{"name":"faro.performance.navigation","domain":"browser","attributes":{{"faroNavigationId":"n{seed}-{n}","name":"{page}","initiatorType":"navigation","protocol":"h2","duration":"{}","ttfb":"31","responseStatus":"200","type":"navigate"}},"timestamp":"{at}"}}"#,
                300 + n
            )),
            1 => measured.push(format!(
                r#"{{"type":"web-vitals","values":{{"lcp":{}.5,"delta":{}.5,"element_render_delay":12.5,"time_to_first_byte":31}},"timestamp":"{at}","context":{{"id":"v5-SESSION0000000000-{n}","rating":"good","navigation_type":"navigate","navigation_entry_id":"n{seed}-{}","element":"body>h1"}}}}"#,
                900 + 37 * n,
                900 + 37 * n,
                n - 1
            )),
            2 => pushed.push(format!(
                r#"{{"name":"faro.tracing.fetch","domain":"browser","attributes":{{"session.id":"SESSION0000000000","http.request.method":"GET","url.full":"https://api.example.com/api/items/{n}","http.response.status_code":"200","duration_ns":"{}000000"}},"timestamp":"{at}","trace":{{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7"}}}}"#,
                20 + n
            )),
            _ => pushed.push(format!(
                r#"{{"name":"faro.user.action","domain":"browser","attributes":{{"userActionName":"buy","userActionDuration":"{}","userActionTrigger":"click","userActionSeverity":"normal"}},"timestamp":"{at}","action":{{"name":"buy","id":"a{n}"}}}}"#,
                16 * n
            )),
        }
    }
    format!(
        r#"{{"meta":{{"browser":{{"name":"Chrome","version":"130.0.0.0","os":"Windows 10","userAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36","language":"en-US","mobile":false,"brands":[{{"brand":"Chromium","version":"130"}}],"viewportWidth":"1280","viewportHeight":"720"}},"sdk":{{"name":"faro-web","version":"2.12.1"}},"app":{{"name":"shop","version":"1.4.{}","environment":"production"}},"session":{{"id":"SESSION0000000000","attributes":{{"new_checkout":"on"}}}},"user":{{"id":"user-{seed}"}},"page":{{"url":"{page}"}},"view":{{"name":"default"}}}},"events":[{}],"measurements":[{}]}}"#,
        seed % 3,
        pushed.join(","),
        measured.join(",")
    )
}

/// How fast a file of aggregate rows is read.
fn rows() {
    let reader = Reader::new(Span::MINUTE, &DIMENSIONS.map(str::to_owned), KeyedHash::new([1; 16]), Redactor::default());
    let mut text = String::new();
    for n in 0..200_000_u64 {
        let minute = n % 1440;
        text.push_str(&format!(
            "{{\"bucket\":\"2026-11-22T{:02}:{:02}:00Z\",\"metric\":\"lcp\",\"dims\":{{\"app\":\"shop\",\"route\":\"/checkout\",\"region\":\"r{}\"}},\"total\":{},\"raw\":600,\"histogram\":[[1000,400],[2500,150],[4000,40],[null,10]]}}\n",
            minute / 60, minute % 60, n % 100, 600 + n % 3
        ));
    }
    let start = Instant::now();
    let mut good = 0;
    reader.read(text.as_bytes(), |_, row| good += u64::from(row.is_ok())).unwrap();
    println!(
        "rows: {good} in {:.0} ms, {:.2} million a second",
        start.elapsed().as_secs_f64() * 1e3,
        good as f64 / start.elapsed().as_secs_f64() / 1e6
    );
}
