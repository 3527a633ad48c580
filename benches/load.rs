//! The whole daemon under load, from outside: `cargo bench --bench load`, or one part of it: `-- intake`, `-- page`, `-- flood`.
//!
//! Each part starts the program that was built (or the one that `BURNWATCH_BIN` names), in a throwaway folder with an SQLite database.
//!
//! - *intake*: beacons over HTTP for some seconds, at one event and at twenty a request. The daemon is held to one core
//!   (`taskset`, where there is one), the clients to the others. Prints what was accepted per second of the wall and per
//!   second of CPU that the daemon used (parsing, redaction, folding, flush to SQLite and evaluation together), how its
//!   memory grew, and whether the stored total equals what was accepted.
//! - *page*: a hundred SLOs with buckets of 10 s and two seconds of settling; each begins to fail at another moment.
//!   Prints how long it takes from the first failing beacon to the webhook.
//! - *flood*: a minute of a flood from many connections and made-up sources. Prints how long a new connection waits for the answer to
//!   its first beacon, whether evaluations and pages are on time, and how memory grows.

#[path = "load/flood.rs"]
mod flood;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use burnwatch::clock::{Clock, SystemClock};
use serde_json::{Value, json};

const RUN: Duration = Duration::from_secs(10);
const CLIENTS: usize = 32;
/// Requests that a client has under way at once, so that the clients cost less than the daemon.
const PIPELINED: u64 = 8;
const SLOS: usize = 100;

fn main() {
    if let Ok(role) = std::env::var(flood::ROLE) {
        return flood::flood(&role);
    }
    let part = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wanted("intake") {
        let last = std::thread::available_parallelism().map_or(1, |cores| cores.get()) - 1;
        hold(std::process::id(), &format!("{}-{last}", last.min(1)));
        for events in [1, 20] {
            intake(events);
        }
        hold(std::process::id(), &format!("0-{last}"));
    }
    if wanted("page") {
        page();
    }
    if wanted("flood") {
        flood::run();
    }
}

/// A running daemon, ended when this is dropped.
struct Daemon {
    process: Child,
    admin: SocketAddr,
    intake: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Daemon {
    fn start(aggregation: &str, rules: &str) -> Daemon {
        let folder = tempfile::tempdir().expect("a folder");
        let (admin, intake) = (free_port(), free_port());
        let configuration = format!(
            "[server]\nlisten = \"{admin}\"\n[intake]\nlisten = \"{intake}\"\n[aggregation]\n{aggregation}\n\
             [delivery]\nallow_private = [\"127.0.0.0/8\"]\n"
        );
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("the folder can be written");
        write("burnwatch.toml", &configuration);
        std::fs::create_dir(folder.path().join("rules")).expect("a folder");
        write("rules/load.rhai", rules);
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let process = Command::new(std::env::var_os("BURNWATCH_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_burnwatch").into()))
            .arg("run")
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let daemon = Daemon { process, admin, intake, _folder: folder };
        let began = Instant::now();
        while !ready(admin) {
            assert!(began.elapsed() < Duration::from_secs(30), "not ready:\n{}", read(&daemon._folder.path().join("log")));
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    /// Seconds of CPU so far, all threads together (`/proc/PID/stat`, fields 14 and 15, in ticks of 10 ms).
    fn cpu(&self) -> f64 {
        let stat = read(Path::new(&format!("/proc/{}/stat", self.process.id())));
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Resident memory in MiB.
    fn memory(&self) -> f64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.process.id())));
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
        line.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone is as good.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn ready(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin) else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

/// A connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
    to: SocketAddr,
    line: String,
    body: Vec<u8>,
}

impl Client {
    fn new(to: SocketAddr) -> Client {
        let stream = TcpStream::connect(to).expect("a connection");
        stream.set_nodelay(true).expect("an option of every TCP socket");
        Client { stream: BufReader::new(stream), to, line: String::new(), body: Vec::new() }
    }

    /// Posts a body; the status and, in `self.body`, what was answered.
    fn post(&mut self, path: &str, body: &str) -> u16 {
        self.send(path, [body]);
        self.answer()
    }

    /// Posts bodies without waiting for answers in between.
    fn send(&mut self, path: &str, bodies: impl IntoIterator<Item = impl AsRef<str>>) {
        let mut out = String::new();
        for body in bodies {
            let body = body.as_ref();
            out.push_str(&format!("POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}", self.to, body.len()));
        }
        self.stream.get_mut().write_all(out.as_bytes()).expect("the daemon reads");
    }

    fn get(&mut self, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.to);
        self.stream.get_mut().write_all(request.as_bytes()).expect("the daemon reads");
        self.answer()
    }

    /// Reads the next answer.
    fn answer(&mut self) -> u16 {
        let mut status = 0;
        let mut length = 0;
        loop {
            self.line.clear();
            self.stream.read_line(&mut self.line).expect("the daemon answers");
            let line = self.line.trim_end();
            if status == 0 {
                status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
            } else if line.is_empty() {
                break;
            } else if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length");
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).expect("the whole answer");
        status
    }
}

/// Holds a process and all its threads to some cores; without `taskset` it stays where it is, which is said.
fn hold(process: u32, cores: &str) {
    let done = Command::new("taskset").args(["-apc", cores, &process.to_string()]).stdout(Stdio::null()).status();
    if !done.is_ok_and(|status| status.success()) {
        println!("(not held to cores {cores}: taskset failed)");
    }
}

fn intake(events: usize) {
    let daemon = Daemon::start("bucket = \"1m\"", "");
    hold(daemon.process.id(), "0");
    let next = Arc::new(AtomicU64::new(0));
    let accepted = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let (cpu, memory, began) = (daemon.cpu(), daemon.memory(), Instant::now());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (next, accepted, over, to) = (next.clone(), accepted.clone(), over.clone(), daemon.intake);
            std::thread::spawn(move || {
                let mut client = Client::new(to);
                while !over.load(Ordering::Relaxed) {
                    let first = next.fetch_add(PIPELINED, Ordering::Relaxed);
                    let bodies = (first..first + PIPELINED).map(|n| beacon(n, events));
                    client.send("/v1/rum", bodies);
                    let taken = (0..PIPELINED).filter(|_| client.answer() == 202).count();
                    accepted.fetch_add((taken * events) as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    std::thread::sleep(RUN);
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no client failed");
    }
    let took = began.elapsed().as_secs_f64();
    // The last flush is part of the work.
    std::thread::sleep(Duration::from_millis(1_500));
    let (cpu, grown) = (daemon.cpu() - cpu, daemon.memory() - memory);
    let accepted = accepted.load(Ordering::Relaxed);
    println!(
        "{events:>2} events a request: {:.0} events/s, {:.0} requests/s on the wall; {:.0} events and {:.0} requests per second of CPU; {grown:+.0} MiB",
        accepted as f64 / took,
        (accepted / events as u64) as f64 / took,
        accepted as f64 / cpu,
        (accepted / events as u64) as f64 / cpu,
    );
    let stored = stored(&daemon);
    println!("   accepted {accepted}, stored {stored:.0}: {}", if stored == accepted as f64 { "equal" } else { "DIFFERENT" });
}

/// Every body is another one, of one of 20 routes, 6 regions, 3 releases and 100,000 users.
fn beacon(n: u64, events: usize) -> String {
    let mut body = format!(
        r#"{{"app":"shop","release":"2.3.{}","region":"r{}","user":"u{}","session":"s{n}","page":"/p{}","events":["#,
        n % 3,
        n / 3 % 6,
        n % 100_000,
        n / 18 % 20
    );
    for event in 0..events as u64 {
        let comma = if event == 0 { "" } else { "," };
        let text = match event % 4 {
            0 => {
                format!(r#"{{"kind":"request","path":"/api/p{}?token=abc","method":"POST","status":200,"value":{}}}"#, n % 20, 20 + n % 400)
            }
            1 => format!(r#"{{"kind":"web_vital","name":"LCP","value":{},"id":"v{n}-{event}"}}"#, 900 + (n * 7 + event) % 3_000),
            2 => r#"{"kind":"page_view"}"#.to_owned(),
            _ => format!(r#"{{"kind":"interaction","name":"buy","value":{}}}"#, 10 + n % 300),
        };
        body.push_str(comma);
        body.push_str(&text);
    }
    body.push_str("]}");
    body
}

/// What `/v1/query` finds of the last hour, over all metrics that were sent.
fn stored(daemon: &Daemon) -> f64 {
    let mut client = Client::new(daemon.admin);
    let now = SystemClock.now().millis();
    let mut sum = 0.0;
    for metric in ["request", "lcp", "page_view", "interaction"] {
        let question = json!({ "metric": metric, "where": { "app": "shop" }, "from": now - 3_600_000, "to": now + 120_000 });
        let status = client.post("/v1/query", &question.to_string());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&client.body));
        let answer: Value = serde_json::from_slice(&client.body).expect("JSON");
        let points = answer["series"].as_array().into_iter().flatten().flat_map(|series| series["points"].as_array().into_iter().flatten());
        sum += points.filter_map(|point| point["total"].as_f64()).sum::<f64>();
    }
    sum
}

fn page() {
    let (arrived, arrivals) = mpsc::channel();
    let sink = webhooks(arrived);
    let mut rules =
        format!("receiver(\"hook\", webhook(#{{ url: \"http://{sink}/\" }}));\nroute(#{{ to: [\"hook\"], group_wait: \"0s\" }});\n");
    for n in 0..SLOS {
        rules.push_str(&format!(
            "slo(\"s{n}\", #{{ objective: 99.0, window: \"1d\", service: \"s{n}\", sli: good(\"request\", #{{ route: \"/api/r{n}x\" }}),\n    \
             alert: [ page(#{{ long: \"10s\", short: \"10s\", factor: 10.0 }}) ] }});\n"
        ));
    }
    let daemon = Daemon::start("bucket = \"10s\"\nsettle = \"2s\"", &rules);
    let began = Instant::now();
    let mut client = Client::new(daemon.intake);
    let mut first_bad: HashMap<usize, Instant> = HashMap::new();
    let mut took: Vec<f64> = Vec::new();
    let mut n = 0u64;
    // A minute of health, then one SLO after another, spread over 40 s, so that every phase of a bucket occurs.
    while took.len() < SLOS && began.elapsed() < Duration::from_secs(150) {
        for slo in 0..SLOS {
            n += 1;
            let turn = Duration::from_secs(30) + Duration::from_millis(397) * slo as u32;
            let failing = began.elapsed() > turn;
            let status = if failing { 500 } else { 200 };
            let events: Vec<String> = (0..5).map(|_| format!(r#"{{"kind":"request","path":"/api/r{slo}x","status":{status}}}"#)).collect();
            let body = format!(r#"{{"app":"shop","id":"{n}","events":[{}]}}"#, events.join(","));
            if failing {
                first_bad.entry(slo).or_insert_with(Instant::now);
            }
            assert_eq!(client.post("/v1/rum", &body), 202);
        }
        while let Ok((slo, at)) = arrivals.try_recv() {
            let since = first_bad.get(&slo).expect("nothing pages before it fails");
            took.push(at.duration_since(*since).as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    took.sort_by(f64::total_cmp);
    let quantile = |q| quantile(&took, q);
    println!(
        "beacon to page, buckets of 10 s settling for 2 s, {} of {SLOS}: median {:.1} s, p99 {:.1} s, slowest {:.1} s",
        took.len(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
}

/// Of values in order.
fn quantile(values: &[f64], q: f64) -> f64 {
    values.get(((values.len() as f64 * q).ceil() as usize).saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// A server that takes webhooks and says which SLO's incident was opened, and when.
fn webhooks(arrived: mpsc::Sender<(usize, Instant)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let arrived = arrived.clone();
            std::thread::spawn(move || take(stream, &arrived));
        }
    });
    address
}

fn take(stream: TcpStream, arrived: &mpsc::Sender<(usize, Instant)>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let at = Instant::now();
        let payload: Value = serde_json::from_slice(&body).unwrap_or_default();
        let service = payload["data"]["incident"]["service"].as_str().unwrap_or("");
        if payload["type"] == "incident.opened"
            && let Some(slo) = service.strip_prefix('s').and_then(|n| n.parse().ok())
        {
            // Nobody listens any more at the end.
            _ = arrived.send((slo, at));
        }
        if stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}
