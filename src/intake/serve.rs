//! The listener's connections: how they are let in, served and ended.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use super::connections::{Activity, Connections, HEAD_MAX, Metered};
use super::{Intake, THINNING_MAX};

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
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = self.stopped.wait_for(|stopped| *stopped) => return,
                };
                match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer.ip().to_canonical()))) {
                    Ok((stream, peer)) => self.let_in(stream, peer),
                    // The peer is gone already.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        // Out of file descriptors. Others may be after them too: whoever is quiet makes room.
                        debug!(error = %error, "a connection could not be accepted");
                        self.intake.connections.let_some_go();
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        });
    }

    fn let_in(&self, stream: std::net::TcpStream, peer: IpAddr) {
        let Some(place) = Connections::enter(&self.intake.connections, peer, self.intake.is_proxy(peer)) else {
            return metrics::counter!("burnwatch_intake_rejected_total", "reason" => "connections").increment(1);
        };
        let (intake, stopped) = (self.intake.clone(), self.stopped.clone());
        let served = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => connection(stream, peer, place.activity.clone(), intake, stopped).await,
                Err(error) => debug!(error = %error, "a connection could not be served"),
            }
            drop(place);
        };
        self.tasks.spawn_on(served, &self.runtime);
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, activity: Arc<Activity>, intake: Arc<Intake>, mut stopped: watch::Receiver<bool>) {
    // Answers are small; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let patience = intake.patience;
    let service = {
        let activity = activity.clone();
        service_fn(move |request| {
            let (intake, activity) = (intake.clone(), activity.clone());
            async move {
                let answer = {
                    let _open = activity.open();
                    intake.answer(peer, request).await
                };
                // While it waits for its turn nothing is asked of us, so it may have to give way.
                if activity.took_its_turn() {
                    tokio::task::yield_now().await;
                }
                Ok::<_, Infallible>(answer)
            }
        })
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).pipeline_flush(true).header_read_timeout(patience).max_buf_size(HEAD_MAX).max_headers(100);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .max_header_list_size(HEAD_MAX as u32)
        .max_send_buf_size(64 << 10)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(Duration::from_secs(10));
    let mut served = pin!(builder.serve_connection(TokioIo::new(Metered::new(stream, activity.clone())), service));
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
            () = activity.has_to_go() => {
                debug!("a connection that was quiet for longest gave way to others");
                return metrics::counter!("burnwatch_intake_rejected_total", "reason" => "connections").increment(1);
            }
            // Neither the reading of the first bytes nor HTTP/2 has a time limit of its own in hyper.
            _ = look.tick() => if activity.is_stale(patience) { return },
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
