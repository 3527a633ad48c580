//! The listener's connections: how many there may be, how long they may idle, how they end.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ahash::AHashMap;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use super::{Intake, THINNING_MAX};

/// How long a connection may be quiet between two requests.
const IDLE: Duration = Duration::from_secs(60);
/// Connections in total and from one address (proxies, which speak for many, are spared).
const CONNECTIONS_MAX: usize = 8_192;
const CONNECTIONS_PER_ADDRESS: u32 = 256;
/// After so many requests a connection lets others have their turn. One that sends many at once would else be answered until it
/// has no more, and all others wait.
const TURN: u32 = 4;
/// How long open requests may take to finish at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves until `stop` is done, then lets open requests finish.
///
/// Connections are accepted on a thread of their own. In a flood the runtime's threads have a long line of connections to
/// serve, and somebody new who had to be taken notice of from within that line would wait for all of it.
pub async fn serve(listener: TcpListener, intake: Arc<Intake>, stop: impl Future<Output = ()>) {
    let tasks = TaskTracker::new();
    let (stopping, stopped) = watch::channel(false);
    let door = Door { intake: intake.clone(), runtime: Handle::current(), tasks: tasks.clone(), stopped };
    let (closed, gone) = oneshot::channel();
    let opened = listener.into_std().and_then(|listener| {
        std::thread::Builder::new().name("intake-door".into()).spawn(move || {
            door.keep(listener);
            // Whoever waits for it may be gone.
            let _ = closed.send(());
        })
    });
    if let Err(error) = opened {
        error!(error = %error, "no beacons can be taken: there is no thread to accept connections on");
    }
    tokio::select! {
        () = stop => {}
        () = watch_pressure(&intake) => unreachable!("it never ends"),
    }
    // There is no receiver left only when there is no connection either.
    let _ = stopping.send(true);
    // The door is shut when its end of the channel is gone, however that came.
    let _ = gone.await;
    tasks.close();
    if tokio::time::timeout(FAREWELL, tasks.wait()).await.is_err() {
        warn!("intake connections were cut after {} s", FAREWELL.as_secs());
    }
}

/// Where connections come in.
struct Door {
    intake: Arc<Intake>,
    /// Where they are served.
    runtime: Handle,
    tasks: TaskTracker,
    stopped: watch::Receiver<bool>,
}

impl Door {
    /// Lets in who comes, until told to stop.
    fn keep(mut self, listener: std::net::TcpListener) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return error!(error = %error, "no beacons can be taken: connections cannot be waited for"),
        };
        runtime.block_on(async {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return error!(error = %error, "no beacons can be taken: the listener cannot be waited for"),
            };
            let connections = Arc::new(Connections::default());
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = self.stopped.wait_for(|stopped| *stopped) => return,
                };
                match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer.ip().to_canonical()))) {
                    Ok((stream, peer)) => self.let_in(&connections, stream, peer),
                    Err(error) => {
                        // Out of file descriptors, or the peer is gone already: neither ends the listener.
                        debug!(error = %error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        });
    }

    fn let_in(&self, connections: &Arc<Connections>, stream: std::net::TcpStream, peer: IpAddr) {
        let Some(place) = Connections::enter(connections, peer, self.intake.is_proxy(peer)) else {
            return metrics::counter!("burnwatch_intake_rejected_total", "reason" => "connections").increment(1);
        };
        let (intake, stopped) = (self.intake.clone(), self.stopped.clone());
        let served = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => connection(stream, peer, intake, stopped).await,
                Err(error) => debug!(error = %error, "a connection could not be served"),
            }
            drop(place);
        };
        self.tasks.spawn_on(served, &self.runtime);
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, intake: Arc<Intake>, mut stopped: watch::Receiver<bool>) {
    // Answers are small; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let patience = intake.patience;
    let activity = Arc::new(Activity::new());
    let service = {
        let activity = activity.clone();
        service_fn(move |request| {
            let (intake, activity) = (intake.clone(), activity.clone());
            async move {
                let _open = activity.open();
                let answer = intake.answer(peer, request).await;
                if activity.took_its_turn() {
                    tokio::task::yield_now().await;
                }
                Ok::<_, Infallible>(answer)
            }
        })
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).pipeline_flush(true).header_read_timeout(patience).max_buf_size(64 << 10).max_headers(100);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .max_header_list_size(32 << 10)
        .max_send_buf_size(64 << 10)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(Duration::from_secs(10));
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut look = tokio::time::interval(patience / 4);
    let mut ending = false;
    loop {
        tokio::select! {
            result = served.as_mut() => {
                if let Err(error) = result {
                    debug!(error = %error, "a connection ended early");
                }
                return;
            }
            // Also when the sender is gone: then the program is ending.
            _ = stopped.wait_for(|stopped| *stopped), if !ending => {
                ending = true;
                served.as_mut().graceful_shutdown();
            }
            // Neither the reading of the first bytes nor HTTP/2 has a time limit of its own in hyper.
            _ = look.tick() => if activity.is_stale(patience) { return },
        }
    }
}

/// What happens on one connection.
struct Activity {
    since: Instant,
    open: AtomicU32,
    /// Milliseconds after `since` at which the last request ended; 0 before the first.
    last: AtomicU64,
    answered: AtomicU32,
}

impl Activity {
    fn new() -> Activity {
        Activity { since: Instant::now(), open: AtomicU32::new(0), last: AtomicU64::new(0), answered: AtomicU32::new(0) }
    }

    fn open(&self) -> Open<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    /// Whether it is time to let other connections have theirs.
    fn took_its_turn(&self) -> bool {
        self.answered.fetch_add(1, Ordering::Relaxed) % TURN == TURN - 1
    }

    fn is_stale(&self, patience: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let quiet = self.since.elapsed().saturating_sub(Duration::from_millis(last));
        self.open.load(Ordering::Relaxed) == 0 && quiet > if last == 0 { patience } else { IDLE }
    }
}

struct Open<'a>(&'a Activity);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.last.store((self.0.since.elapsed().as_millis() as u64).max(1), Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who is connected.
#[derive(Default)]
struct Connections(Mutex<(usize, AHashMap<IpAddr, u32>)>);

struct Place {
    connections: Arc<Connections>,
    peer: IpAddr,
}

impl Connections {
    fn enter(this: &Arc<Connections>, peer: IpAddr, is_proxy: bool) -> Option<Place> {
        let mut guard = this.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, by_address) = &mut *guard;
        let here = by_address.get(&peer).copied().unwrap_or(0);
        if *total >= CONNECTIONS_MAX || (here >= CONNECTIONS_PER_ADDRESS && !is_proxy) {
            return None;
        }
        *total += 1;
        by_address.insert(peer, here + 1);
        Some(Place { connections: this.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guard = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, by_address) = &mut *guard;
        *total -= 1;
        if let Some(here) = by_address.get_mut(&self.peer) {
            *here -= 1;
            if *here == 0 {
                by_address.remove(&self.peer);
            }
        }
    }
}

/// Watches how late this task itself is woken: a runtime that cannot keep up for seconds thins out
/// beacons, with weights, until it can (CONTRACT 5).
async fn watch_pressure(intake: &Intake) {
    const STEP: Duration = Duration::from_millis(200);
    const LATE: Duration = Duration::from_secs(1);
    let mut late_before = false;
    loop {
        let due = Instant::now() + STEP;
        tokio::time::sleep_until(due).await;
        // One stall is a busy machine; two in a row are too much work.
        let late = due.elapsed() > LATE;
        let now = intake.thinning.load(Ordering::Relaxed);
        let next = match (late_before, late) {
            (true, true) => (now * 2).min(THINNING_MAX),
            (false, false) => (now / 2).max(1),
            (true, false) | (false, true) => now,
        };
        late_before = late;
        if next != now {
            intake.thinning.store(next, Ordering::Relaxed);
            metrics::gauge!("burnwatch_intake_thinning").set(next as f64);
        }
    }
}
