//! How fast alerts are taken: `cargo bench --bench alerts`, or `-- URL` against whatever speaks Alertmanager's API v2 there.
//!
//! Posts 100,000 alerts in batches of 64 over eight connections, then all of them again as Prometheus
//! does each minute, then asks for one and for all. Against a daemon of its own it also tells what memory
//! they took. `benches/alerts-side-by-side` runs it against Debian's Alertmanager as well.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burnwatch::clock::{Clock, SystemClock};
use burnwatch::domain::time::{Span, Timestamp};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

#[path = "shared/daemon.rs"]
mod daemon;

use daemon::Process;

const ALERTS: usize = 100_000;
const BATCH: usize = 64;
const CONNECTIONS: usize = 8;

#[tokio::main]
async fn main() {
    let url = std::env::args().skip(1).find(|arg| arg.starts_with("http://"));
    let folder = tempfile::tempdir().expect("a folder");
    let (daemon, url) = match url {
        Some(url) => (None, url),
        None => {
            let (child, url) = start(folder.path());
            (Some(child), url)
        }
    };
    let target = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let pid = daemon.as_ref().map(|daemon| daemon.0.id());
    let before = pid.map(memory);
    let first = post_all(&target, 0).await;
    println!("{ALERTS} new alerts in batches of {BATCH}: {:.0} alerts/s", ALERTS as f64 / first.as_secs_f64());
    let again = post_all(&target, 1).await;
    println!("the same again: {:.0} alerts/s", ALERTS as f64 / again.as_secs_f64());
    // What was taken is also taken into incidents.
    tokio::time::sleep(Duration::from_secs(3)).await;
    if let (Some(pid), Some(before)) = (pid, before) {
        let after = memory(pid);
        println!("resident memory: {} MiB before, {} MiB with {ALERTS} active alerts", before / 1024, after / 1024);
    }
    for (what, query) in [("one of them", "?filter=instance%3D%22host-777%22"), ("all of them", "")] {
        let output = Command::new("curl")
            .args([
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{time_total} s, %{size_download} bytes",
                &format!("http://{target}/api/v2/alerts{query}"),
            ])
            .output()
            .expect("curl is there");
        println!("a list of {what}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// A daemon with the rules of a small installation, and its address.
fn start(folder: &Path) -> (Process, String) {
    let rules = r#"receiver("team", webhook(#{ url: "http://127.0.0.1:9/" }));
route(#{ when: #{ severity: "critical" }, to: ["team"], group_by: ["alertname", "cluster"] });
route(#{ to: ["team"] });
"#;
    let config = "[server]\nlisten = \"127.0.0.1:0\"\n[intake]\nlisten = \"127.0.0.1:0\"\n[delivery]\nallow_private = [\"127.0.0.0/8\"]\n";
    daemon::start(folder, rules, config)
}

/// Kibibytes of resident memory.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux says it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn post_all(target: &str, round: usize) -> Duration {
    let next = Arc::new(AtomicUsize::new(0));
    let ends = SystemClock.now() + Span::minutes(30 + round as i64);
    let began = Instant::now();
    let mut workers = Vec::new();
    for _ in 0..CONNECTIONS {
        let (next, target) = (next.clone(), target.to_owned());
        workers.push(tokio::spawn(async move {
            let mut stream = BufReader::new(TcpStream::connect(&target).await.expect("it listens"));
            loop {
                let from = next.fetch_add(BATCH, Ordering::Relaxed);
                if from >= ALERTS {
                    return;
                }
                let alerts: Vec<_> = (from..ALERTS.min(from + BATCH)).map(|n| alert(n, ends)).collect();
                send(&mut stream, &target, &serde_json::Value::from(alerts).to_string()).await;
            }
        }));
    }
    for worker in workers {
        worker.await.expect("every batch is taken");
    }
    began.elapsed()
}

fn alert(n: usize, ends: Timestamp) -> serde_json::Value {
    serde_json::json!({
        "labels": {
            "alertname": "HighErrorRate", "cluster": format!("eu-{}", n % 10), "instance": format!("host-{n}"), "job": "node",
            "severity": "warning", "namespace": format!("team-{}", n % 100),
        },
        "annotations": { "summary": "the rate of errors is high", "runbook_url": "https://runbooks.example.com/HighErrorRate" },
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": ends,
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=rate",
    })
}

async fn send(stream: &mut BufReader<TcpStream>, target: &str, body: &str) {
    let head = format!(
        "POST /api/v2/alerts HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.expect("it reads");
    let mut length = 0;
    let mut status = String::new();
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).await.expect("it answers") > 0, "it hung up");
        if status.is_empty() {
            status.clone_from(&line);
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a whole answer");
    assert!(status.contains(" 200 "), "{status}{}", String::from_utf8_lossy(&body));
}
