//! How soon pages are answered, and how heavy they are: `cargo bench --bench pages`, or `-- 50` for fewer requests of each.
//!
//! A daemon with 1,000 SLOs, one of them in 50 groups, and 200 open incidents. Limits: 95 of 100 answers within
//! 20 ms, and less than 100 KB with style and script, before compression.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use burnwatch::clock::{Clock, SystemClock};
use burnwatch::domain::time::Span;

#[path = "shared/daemon.rs"]
mod daemon;

use daemon::Process;

const SLOS: usize = 1_000;
const BURNING: usize = 200;
const GROUPS: usize = 50;
const BUCKET: Span = Span::seconds(10);
const BUCKETS: i64 = 40;
const P95_MAX: Duration = Duration::from_millis(20);
const BYTES_MAX: usize = 100 * 1024;

fn main() {
    let times = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(200);
    let folder = tempfile::tempdir().expect("a folder");
    let (_daemon, target) = start(folder.path());
    let incident = fill(&target);
    let home = get(&target, "/").1;
    let assets: usize = home.split('"').filter(|part| part.starts_with("/assets/")).map(|path| get(&target, path).1.len()).sum();
    println!("{SLOS} SLOs, {BURNING} open incidents, {times} requests each; style and script {assets} bytes\n");
    println!("{:<34} {:>9} {:>9} {:>9}", "page", "median", "p95", "KB");
    let mut over = 0;
    let pages = [
        "/",
        "/overview",
        "/incidents",
        "/slos",
        "/slos/s0",
        "/slos/grouped",
        "/silences",
        "/silences/new?m=slo%3Ds0",
        "/rules",
        "/rules/s0",
    ];
    let more = ["/health", "/changes", "/query", "/notifications", "/deadletters", "/receivers", "/audit", "/me"];
    let reviews = ["/reports/week", "/reports/month", "/reports/quarter"].map(|period| format!("{period}/{}", today()));
    let of_incident = ["", "/timeline", "/segments", "/snooze", "/assign", "/resolve"].map(|below| format!("/incidents/{incident}{below}"));
    for page in pages.iter().chain(&more).map(|page| (*page).to_owned()).chain(of_incident).chain(reviews) {
        let mut took = Vec::with_capacity(times);
        let mut bytes = 0;
        for _ in 0..times {
            let began = Instant::now();
            let (status, body) = get(&target, &page);
            took.push(began.elapsed());
            assert_eq!(status, 200, "{page}");
            bytes = body.len() + assets;
        }
        took.sort();
        let (median, p95) = (took[times / 2], took[(times * 95 / 100).min(times - 1)]);
        let bad = p95 > P95_MAX || bytes > BYTES_MAX;
        over += usize::from(bad);
        let shown = page.replace(&incident, "…");
        println!(
            "{shown:<34} {:>6.1} ms {:>6.1} ms {:>9.1}{}",
            millis(median),
            millis(p95),
            bytes as f64 / 1024.0,
            if bad { "  over the limit" } else { "" }
        );
    }
    println!("\n{over} over the limit");
}

/// The day that it is in UTC.
fn today() -> String {
    SystemClock.now().to_string().chars().take(10).collect()
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

fn rules() -> String {
    let mut text = String::from(
        "receiver(\"nobody\", webhook(#{ url: \"http://127.0.0.1:9/\" }));\nroute(#{ to: [\"nobody\"], group_by: [\"slo\"] });\n",
    );
    let tiers = "[page(#{ long: \"5m\", short: \"1m\", factor: 14.4 }), ticket(#{ long: \"1h\", short: \"5m\", factor: 6.0 })]";
    for n in 0..SLOS - 1 {
        let _ = writeln!(
            text,
            "slo(\"s{n}\", #{{ description: \"Requests of service {n} succeed\", service: \"service-{}\", owner: \"team-{}\", objective: 99.9, window: \"30d\", sli: good(\"request\", #{{ app: \"shop\", route: \"/api/{n}\" }}), alert: {tiers} }});",
            n % 40,
            n % 10
        );
    }
    let _ = writeln!(
        text,
        "slo(\"grouped\", #{{ service: \"shop\", objective: 99.9, window: \"30d\", by: [\"region\"], sli: good(\"page_view\", #{{ app: \"shop\" }}), alert: {tiers} }});"
    );
    text
}

fn start(folder: &Path) -> (Process, String) {
    let config =
        "[server]\nlisten = \"127.0.0.1:0\"\n[intake]\nlisten = \"127.0.0.1:0\"\n[aggregation]\nbucket = \"10s\"\nsettle = \"1s\"\n";
    let (child, url) = daemon::start(folder, &rules(), config);
    (child, url.trim_start_matches("http://").to_owned())
}

/// Seven minutes of traffic, in which the first SLOs fail, until all their incidents are open; the id of one.
fn fill(target: &str) -> String {
    let now = SystemClock.now().floor(BUCKET);
    for back in (1..=BUCKETS).rev() {
        let at = (now - Span(BUCKET.millis() * back)).millis();
        let mut rows = String::new();
        for n in 0..SLOS - 1 {
            let bad = if n < BURNING { 30 } else { 0 };
            let _ = writeln!(
                rows,
                "{{\"bucket\":{at},\"metric\":\"request\",\"dims\":{{\"app\":\"shop\",\"route\":\"/api/{n}\",\"release\":\"1.{}\",\"region\":\"r{}\"}},\"total\":100,\"bad\":{bad}}}",
                n % 3,
                n % 5
            );
        }
        for n in 0..GROUPS {
            let _ = writeln!(
                rows,
                "{{\"bucket\":{at},\"metric\":\"page_view\",\"dims\":{{\"app\":\"shop\",\"region\":\"r{n}\"}},\"total\":100,\"bad\":0}}"
            );
        }
        let (status, answer) = send(target, "POST", "/v1/aggregates", &rows);
        assert_eq!(status, 200, "{answer}");
    }
    for _ in 0..600 {
        let (_, listed) = get(target, "/v1/incidents?status=open&limit=1000");
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap_or_default();
        let open = listed["items"].as_array().map_or(0, Vec::len);
        if open >= BURNING {
            return listed["items"][0]["id"].as_str().expect("an id").to_owned();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("the incidents did not open");
}

fn get(target: &str, path: &str) -> (u16, String) {
    send(target, "GET", path, "")
}

fn send(target: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(target).expect("it listens");
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {target}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), body.to_owned())
}
