//! A process that speaks Alertmanager's API v2, what it uses, and a client that costs little.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::daemon::Process;

const BATCH: usize = 64;
const CONNECTIONS: usize = 8;
/// What `/proc` counts CPU time in.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process under test.
pub struct Peer {
    pub name: &'static str,
    process: Process,
    /// Host and port.
    pub address: String,
}

impl Peer {
    pub fn new(name: &'static str, process: Process, url: &str) -> Peer {
        Peer { name, process, address: url.trim_start_matches("http://").trim_end_matches('/').to_owned() }
    }

    fn status(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("Linux says it");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
    }

    /// MiB of resident memory.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// MiB of resident memory at most so far.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// CPU time of all its threads.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
        Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
    }
}

/// Debian's Alertmanager with this configuration.
pub fn alertmanager(folder: &Path, config: &str) -> Peer {
    std::fs::write(folder.join("alertmanager.yml"), config).expect("a file");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let address = format!("127.0.0.1:{port}");
    let child = Command::new("prometheus-alertmanager")
        .current_dir(folder)
        .args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address=", "--log.level=error"])
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .spawn()
        .expect("apt-get install --no-install-recommends prometheus-alertmanager");
    let peer = Peer::new("alertmanager", Process(child), &address);
    for _ in 0..400 {
        if std::net::TcpStream::connect(&address).is_ok() {
            return peer;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("alertmanager did not start");
}

pub async fn connect(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    BufReader::new(stream)
}

/// The bodies of so many alerts.
pub fn batches(alerts: usize, alert: impl Fn(usize) -> serde_json::Value) -> Arc<Vec<String>> {
    let text = |from: usize| serde_json::Value::from((from..alerts.min(from + BATCH)).map(&alert).collect::<Vec<_>>()).to_string();
    Arc::new((0..alerts).step_by(BATCH).map(text).collect())
}

/// Posts them all; each has to be answered with 200.
pub async fn post_all(address: &str, batches: Arc<Vec<String>>) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for _ in 0..CONNECTIONS {
        let (next, batches, address) = (next.clone(), batches.clone(), address.to_owned());
        workers.push(tokio::spawn(async move {
            let mut stream = connect(&address).await;
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let head = format!(
                    "POST /api/v2/alerts HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    batch.len()
                );
                stream.get_mut().write_all(&[head.as_bytes(), batch.as_bytes()].concat()).await.expect("it reads");
                answer(&mut stream).await;
            }
        }));
    }
    for worker in workers {
        worker.await.expect("every batch is taken");
    }
}

/// The body of a page.
pub async fn get(stream: &mut BufReader<TcpStream>, address: &str, path: &str) -> Vec<u8> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes()).await.expect("it reads");
    answer(stream).await
}

async fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    assert!(stream.read_line(&mut line).await.expect("it answers") > 0, "it hung up");
    line
}

async fn answer(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let status = line(stream).await;
    let (mut length, mut chunked) = (0, false);
    loop {
        let line = line(stream).await.to_ascii_lowercase();
        match line.trim_end().split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse().expect("a number"),
            Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    while chunked {
        let size = usize::from_str_radix(line(stream).await.trim(), 16).expect("a size");
        let from = body.len();
        body.resize(from + size, 0);
        stream.read_exact(&mut body[from..]).await.expect("a whole chunk");
        line(stream).await;
        chunked = size > 0;
    }
    if length > 0 {
        body.resize(length, 0);
        stream.read_exact(&mut body).await.expect("a whole answer");
    }
    assert!(status.contains(" 200 "), "{status}{}", String::from_utf8_lossy(&body));
    body
}
