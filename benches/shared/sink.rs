//! A receiver of webhooks that takes whatever comes, counts it, and costs little.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The receiver.
pub struct Sink {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

struct Seen {
    count: AtomicUsize,
    last: Mutex<Instant>,
}

impl Sink {
    pub async fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen { count: AtomicUsize::new(0), last: Mutex::new(Instant::now()) });
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = shared.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while take(&mut stream, &seen).await.is_some() {}
                });
            }
        });
        Sink { address, seen }
    }

    /// How many have come.
    pub fn count(&self) -> usize {
        self.seen.count.load(Ordering::Relaxed)
    }

    /// When the last one came.
    pub fn last(&self) -> Instant {
        *self.seen.last.lock().expect("nobody panics with it")
    }
}

async fn take(stream: &mut BufReader<TcpStream>, seen: &Seen) -> Option<()> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(':') {
            None if line.trim_end().is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            None | Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    seen.count.fetch_add(1, Ordering::Relaxed);
    *seen.last.lock().expect("nobody panics with it") = Instant::now();
    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok()
}
