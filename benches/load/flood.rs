//! A flood, and what it does to those who mean it: how long a new connection waits for the answer to its first beacon, whether
//! evaluations and pages are on time, and how the daemon's memory grows.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::{Client, Daemon, quantile, webhooks};

/// How long it lasts, and how long before that it is quiet.
const FLOOD: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_secs(10);
/// Connections that send without a pause, requests that they send at once, and threads that only open ever new connections.
const CONNECTIONS: usize = 48;
const PIPELINED: usize = 16;
const OPENERS: usize = 4;
/// Each 10 ms somebody new sends a beacon: so many take turns, that one who waits holds up nobody.
const PROBERS: u64 = 16;
const EACH: Duration = Duration::from_millis(10);
/// SLOs that begin to fail during the flood, one every two seconds.
const FAILING: usize = 25;

/// The environment variable by which a process knows that it is the flood: where to, and for how many seconds.
pub const ROLE: &str = "LOAD_BENCH_FLOOD";

pub fn run() {
    let (arrived, arrivals) = mpsc::channel();
    let sink = webhooks(arrived);
    let mut rules = format!(
        "receiver(\"hook\", webhook(#{{ url: \"http://{sink}/\" }}));\nroute(#{{ to: [\"hook\"], group_wait: \"0s\", group_by: [\"slo\"] }});\n"
    );
    for n in 0..FAILING {
        rules.push_str(&format!(
            "slo(\"s{n}\", #{{ objective: 99.0, window: \"1d\", service: \"s{n}\", sli: good(\"request\", #{{ app: \"probe\", route: \"/api/r{n}x\" }}),\n    \
             alert: [ page(#{{ long: \"2s\", short: \"2s\", factor: 10.0 }}) ] }});\n"
        ));
    }
    let daemon = Daemon::start("bucket = \"1s\"\nsettle = \"500ms\"", &rules);
    let (over, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let probes: Arc<Mutex<Vec<(Duration, Duration)>>> = Arc::default();
    let probers: Vec<_> = (0..PROBERS)
        .map(|turn| {
            let (over, probes, to) = (over.clone(), probes.clone(), daemon.intake);
            std::thread::spawn(move || probe(to, turn, began, &over, &probes))
        })
        .collect();
    std::thread::sleep(QUIET);
    let (cpu, memory) = (daemon.cpu(), daemon.memory());
    // A flood comes from other machines: its processor time is not taken from the daemon's.
    let mut flood = std::process::Command::new("nice")
        .arg("-n15")
        .arg(std::env::current_exe().expect("a program knows where it is"))
        .env(ROLE, format!("{} {}", daemon.intake, FLOOD.as_secs()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts again");
    let (mut lag, mut outbox, mut most) = (0.0_f64, 0.0_f64, memory);
    let (mut first_bad, mut paged): (HashMap<usize, Instant>, HashMap<usize, f64>) = (HashMap::new(), HashMap::new());
    let mut client = Client::new(daemon.intake);
    let from = Instant::now();
    while from.elapsed() < FLOOD {
        // One more begins to fail every two seconds, after five.
        let failing = (from.elapsed().as_secs().saturating_sub(5) / 2) as usize;
        for slo in 0..FAILING {
            let status = if slo < failing { 500 } else { 200 };
            let body = format!(
                r#"{{"app":"probe","id":"{slo}-{:?}","events":[{{"kind":"request","path":"/api/r{slo}x","status":{status}}}]}}"#,
                from.elapsed()
            );
            if status == 500 {
                first_bad.entry(slo).or_insert_with(Instant::now);
            }
            assert_eq!(client.post("/v1/rum", &body), 202);
        }
        while let Ok((slo, at)) = arrivals.try_recv() {
            let since = first_bad.get(&slo).expect("nothing pages before it fails");
            paged.entry(slo).or_insert_with(|| at.duration_since(*since).as_secs_f64());
        }
        most = most.max(daemon.memory());
        lag = lag.max(metric(&daemon, "burnwatch_evaluation_lag_seconds"));
        outbox = outbox.max(metric(&daemon, "burnwatch_outbox_oldest_seconds"));
        std::thread::sleep(Duration::from_millis(200));
    }
    let cpu = daemon.cpu() - cpu;
    let mut said = String::new();
    flood.stdout.take().expect("a pipe").read_to_string(&mut said).expect("text");
    // It ends by itself.
    flood.wait().expect("a child");
    over.store(true, Ordering::Relaxed);
    probers.into_iter().for_each(|prober| prober.join().expect("no prober failed"));
    let probes = probes.lock().expect("nobody panics with it");
    let of = |from: Duration, to: Duration| {
        let mut took: Vec<f64> =
            probes.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, took)| took.as_secs_f64() * 1e3).collect();
        took.sort_by(f64::total_cmp);
        took
    };
    for (when, took) in
        [("before the flood", of(Duration::ZERO, QUIET)), ("during the flood", of(QUIET + Duration::from_secs(1), QUIET + FLOOD))]
    {
        println!(
            "first beacon of a new connection, {when}: {} answered, median {:.2} ms, p99 {:.2} ms, slowest {:.1} ms",
            took.len(),
            quantile(&took, 0.5),
            quantile(&took, 0.99),
            quantile(&took, 1.0)
        );
    }
    let mut pages: Vec<f64> = paged.values().copied().collect();
    pages.sort_by(f64::total_cmp);
    println!(
        "{said}   the daemon used {:.2} cores; memory {memory:.0} MiB before, {most:.0} MiB at most ({:+.0})",
        cpu / FLOOD.as_secs_f64(),
        most - memory
    );
    println!(
        "   evaluation at most {lag:.1} s behind, outbox at most {outbox:.1} s; beacon to page, buckets of 1 s settling for half a second, {} of {}: median {:.1} s, slowest {:.1} s",
        pages.len(),
        first_bad.len(),
        quantile(&pages, 0.5),
        quantile(&pages, 1.0)
    );
}

/// Somebody new every now and then: connects, sends one beacon, waits for the answer.
fn probe(to: SocketAddr, turn: u64, began: Instant, over: &AtomicBool, probes: &Mutex<Vec<(Duration, Duration)>>) {
    let mut due = EACH * turn as u32;
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let at = began.elapsed();
        let body = format!(r#"{{"app":"probe","id":"{turn}-{at:?}","events":[{{"kind":"page_view","page":"/"}}]}}"#);
        let (status, _) = post_once(to, "", &body).expect("an answer");
        assert_eq!(status, 202);
        let took = began.elapsed() - at;
        probes.lock().expect("nobody panics with it").push((at, took));
        due = (due + EACH * PROBERS as u32).max(began.elapsed());
    }
}

fn post_once(to: SocketAddr, headers: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_nodelay(true).ok()?;
    let request = format!("POST /v1/rum HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some((answer.split(' ').nth(1)?.parse().ok()?, answer))
}

fn metric(daemon: &Daemon, name: &str) -> f64 {
    let mut client = Client::new(daemon.admin);
    client.get("/metrics");
    let text = String::from_utf8_lossy(&client.body);
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(f64::NAN)
}

/// The flood itself, in a process of its own: what it sent and what it was told.
pub fn flood(role: &str) {
    let (to, seconds) = role.split_once(' ').expect("an address and a time");
    let (to, seconds): (SocketAddr, u64) = (to.parse().expect("an address"), seconds.parse().expect("seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let [sent, limited, refused] = [0; 3].map(|_| Arc::new(AtomicU64::new(0)));
    let mut threads = Vec::new();
    for thread in 0..CONNECTIONS {
        let (sent, limited) = (sent.clone(), limited.clone());
        threads.push(std::thread::spawn(move || pipeline(to, thread, end, &sent, &limited)));
    }
    for thread in 0..OPENERS {
        let (sent, refused) = (sent.clone(), refused.clone());
        threads.push(std::thread::spawn(move || {
            let mut n = 0;
            while Instant::now() < end {
                n += 1;
                match post_once(to, &from(1_000 + thread, n), &beacon(1_000 + thread, n)) {
                    Some(_) => sent.fetch_add(1, Ordering::Relaxed),
                    None => refused.fetch_add(1, Ordering::Relaxed),
                };
            }
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().expect("no thread failed"));
    let [sent, limited, refused] = [&sent, &limited, &refused].map(|count| count.load(Ordering::Relaxed));
    println!(
        "   the flood sent {:.0} requests/s of five events each, {limited} were answered 429, {refused} connections came to nothing",
        sent as f64 / seconds as f64
    );
}

fn pipeline(to: SocketAddr, thread: usize, end: Instant, sent: &AtomicU64, limited: &AtomicU64) {
    let mut n = 0;
    while Instant::now() < end {
        let Ok(mut stream) = TcpStream::connect(to) else { continue };
        let mut answer = vec![0; 64 << 10];
        while Instant::now() < end {
            let mut out = Vec::new();
            for _ in 0..PIPELINED {
                n += 1;
                let body = beacon(thread, n);
                write!(out, "POST /v1/rum HTTP/1.1\r\nhost: x\r\n{}content-length: {}\r\n\r\n{body}", from(thread, n), body.len())
                    .expect("memory");
            }
            if stream.write_all(&out).is_err() {
                break;
            }
            let mut answered = 0;
            while answered < PIPELINED {
                let Ok(read @ 1..) = stream.read(&mut answer) else { break };
                let lines = |start: &[u8]| answer[..read].windows(start.len()).filter(|window| *window == start).count();
                answered += lines(b"HTTP/1.1 ");
                limited.fetch_add(lines(b"HTTP/1.1 429") as u64, Ordering::Relaxed);
            }
            if answered < PIPELINED {
                break;
            }
            sent.fetch_add(PIPELINED as u64, Ordering::Relaxed);
        }
    }
}

/// Behind a proxy on this machine a source is what that says: three in four are ever new ones, one sends far more than it may.
fn from(thread: usize, n: u64) -> String {
    let n = n.wrapping_mul(2_654_435_761).wrapping_add(thread as u64 * 97);
    match thread % 4 {
        0 => "x-forwarded-for: 203.0.113.7\r\n".to_owned(),
        _ => format!("x-forwarded-for: 198.{}.{}.{}\r\n", n >> 16 & 255, n >> 8 & 255, n & 255),
    }
}

fn beacon(thread: usize, n: u64) -> String {
    let mut body = format!(r#"{{"app":"flood","id":"{thread}-{n}","session":"{thread}-{}","release":"{}","events":["#, n / 3, n % 5_000);
    for event in 0..5 {
        let comma = if event == 0 { "" } else { "," };
        body.push_str(&format!(r#"{comma}{{"kind":"page_view","page":"/p{}/made-up-{n}-{event}","ok":{}}}"#, n % 50, n.is_multiple_of(2)));
    }
    body.push_str("]}");
    body
}
