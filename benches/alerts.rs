//! Alerts of others and notifications, side by side: `cargo bench --bench alerts` measures burnwatch, `-- beside` the same on
//! Debian's Alertmanager in the same run (apt-get install --no-install-recommends prometheus-alertmanager).
//!
//! Three parts, each on a fresh process: 100,000 alerts in batches of 64 over eight connections, then all of them again as
//! Prometheus does each minute, then lists of them; 20,000 alerts that are a group each, told to a local sink. Whatever is
//! claimed is checked: all alerts are listed, every notification has arrived and, with burnwatch, stands in its outbox as delivered.
//! CPU is that of the process under test, so that a busy machine says the same.

use std::path::Path;
use std::time::{Duration, Instant};

use burnwatch::clock::{Clock, SystemClock};
use burnwatch::domain::time::{Span, Timestamp};

#[path = "shared/daemon.rs"]
mod daemon;
#[path = "shared/peer.rs"]
mod peer;
#[path = "shared/sink.rs"]
mod sink;

use peer::{Peer, batches, connect, get, post_all};
use sink::Sink;

const ALERTS: usize = 100_000;
const NOTIFIED: usize = 20_000;
/// How long a part may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(300);
const CONFIG: &str =
    "[server]\nlisten = \"127.0.0.1:0\"\n[intake]\nlisten = \"127.0.0.1:0\"\n[delivery]\nallow_private = [\"127.0.0.0/8\"]\n";

#[derive(Clone, Copy, PartialEq)]
enum Subject {
    Burnwatch,
    Alertmanager,
}

impl Subject {
    /// A process that puts alerts into groups of `group_by` and tells `sink` of them, if there is one.
    fn start(self, folder: &Path, group_by: &str, sink: Option<&Sink>) -> Peer {
        let hook = sink.map_or("http://127.0.0.1:9/".to_owned(), |sink| format!("http://{}/", sink.address));
        match self {
            Subject::Burnwatch => {
                let rules = format!(
                    "receiver(\"team\", webhook(#{{ url: \"{hook}\" }}));\n\
                     route(#{{ when: #{{ severity: \"critical\" }}, to: [\"team\"], group_by: [\"alertname\", \"cluster\"] }});\n\
                     route(#{{ to: [\"team\"], group_by: [{group_by}], group_wait: \"0s\" }});\n"
                );
                let (process, url) = daemon::start(folder, &rules, CONFIG);
                Peer::new("burnwatch", process, &url)
            }
            Subject::Alertmanager => {
                let receiver = if sink.is_some() { format!("webhook_configs: [{{url: '{hook}'}}]") } else { String::new() };
                let text =
                    format!("route: {{receiver: team, group_by: [{group_by}], group_wait: 0s}}\nreceivers: [{{name: team, {receiver}}}]\n");
                peer::alertmanager(folder, &text)
            }
        }
    }
}

#[tokio::main]
async fn main() {
    let beside = std::env::args().any(|arg| arg == "beside");
    let subjects = if beside { vec![Subject::Burnwatch, Subject::Alertmanager] } else { vec![Subject::Burnwatch] };
    for subject in subjects {
        taken_and_listed(subject).await;
        notified(subject).await;
    }
}

async fn taken_and_listed(subject: Subject) {
    let folder = tempfile::tempdir().expect("a folder");
    let peer = subject.start(folder.path(), "\"alertname\", \"cluster\"", None);
    let (name, empty) = (peer.name, peer.memory());
    for (what, round) in [("new", 0), ("the same again", 1), ("once more", 2)] {
        let ends = SystemClock.now() + Span::minutes(30 + round);
        let alerts = batches(ALERTS, |n| alert(n, ends));
        let (began, cpu) = (Instant::now(), peer.cpu());
        post_all(&peer.address, alerts).await;
        let took = began.elapsed();
        println!(
            "{name}: {ALERTS} alerts, {what}: {:.0}/s, {:.1} us of CPU each",
            ALERTS as f64 / took.as_secs_f64(),
            (peer.cpu() - cpu).as_secs_f64() * 1e6 / ALERTS as f64
        );
    }
    // What was taken is also taken into incidents.
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("{name}: {empty} MiB resident before, {} MiB with {ALERTS} active alerts", peer.memory());
    let mut stream = connect(&peer.address).await;
    let (mut times, mut cpus) = (Vec::new(), Vec::new());
    for n in 0..21 {
        let (began, cpu) = (Instant::now(), peer.cpu());
        let body = get(&mut stream, &peer.address, &format!("/api/v2/alerts?filter=instance%3D%22host-{}%22", n * 777)).await;
        times.push(began.elapsed());
        cpus.push(peer.cpu() - cpu);
        let list: Vec<serde_json::Value> = serde_json::from_slice(&body).expect("a list");
        assert_eq!(list.len(), 1, "one alert has this instance");
    }
    times.sort_unstable();
    let cpu: Duration = cpus.iter().sum();
    println!(
        "{name}: a list of one of them: median {:.1} ms, slowest {:.1} ms, CPU {:.1} ms",
        ms(times[10]),
        ms(times[20]),
        ms(cpu) / 21.0
    );
    for path in ["/api/v2/alerts", "/api/v2/alerts/groups"] {
        let (began, before) = (Instant::now(), peer.memory());
        let body = get(&mut stream, &peer.address, path).await;
        let took = began.elapsed();
        let found = String::from_utf8_lossy(&body).matches("\"fingerprint\":").count();
        assert!(found >= ALERTS, "{path} lists {found} alerts");
        println!(
            "{name}: {path} of {found} alerts: {:.2} s, {:.1} MB; resident {before} MiB before, {} MiB after, {} MiB at most so far",
            took.as_secs_f64(),
            body.len() as f64 / 1e6,
            peer.memory(),
            peer.peak()
        );
    }
}

async fn notified(subject: Subject) {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Sink::start().await;
    let group_by = if subject == Subject::Burnwatch { "\"...\"" } else { "'...'" };
    let peer = subject.start(folder.path(), group_by, Some(&sink));
    let name = peer.name;
    let ends = SystemClock.now() + Span::minutes(30);
    let alerts = batches(NOTIFIED, |n| alert(n, ends));
    let (began, cpu) = (Instant::now(), peer.cpu());
    post_all(&peer.address, alerts).await;
    let posted = began.elapsed();
    while sink.count() < NOTIFIED {
        assert!(began.elapsed() < PATIENCE, "only {} of {NOTIFIED} notifications came", sink.count());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = sink.last() - began;
    println!(
        "{name}: {NOTIFIED} notifications: {:.0}/s from the first alert to the last notification ({:.2} s to post, {:.2} s until all had come), {:.0} us of CPU each",
        NOTIFIED as f64 / took.as_secs_f64(),
        posted.as_secs_f64(),
        took.as_secs_f64(),
        (peer.cpu() - cpu).as_secs_f64() * 1e6 / NOTIFIED as f64
    );
    if subject == Subject::Burnwatch {
        recorded(&peer).await;
    }
    assert_eq!(sink.count(), NOTIFIED, "each is told once");
}

/// Waits until every notification is noted as delivered.
async fn recorded(peer: &Peer) {
    let began = Instant::now();
    let mut stream = connect(&peer.address).await;
    loop {
        let text = String::from_utf8(get(&mut stream, &peer.address, "/metrics").await).expect("text");
        let line = text.lines().find(|line| line.starts_with("burnwatch_notifications_total{") && line.contains("\"delivered\""));
        let count: f64 = line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default();
        if count >= NOTIFIED as f64 {
            println!("{}: all {NOTIFIED} noted as delivered", peer.name);
            return;
        }
        assert!(began.elapsed() < PATIENCE, "only {count} of {NOTIFIED} are noted as delivered");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
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
