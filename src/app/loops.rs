//! The loops that are more than one job on a timer: flush, evaluation, and what is done to stored history.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::known::user_keys;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::jobs::compact;
use crate::jobs::flush::Flush;
use crate::jobs::follow::Follow as Others;
use crate::jobs::watch::Watch;
use crate::sink::Sink;
use crate::store::Store;

/// How often what came in is stored: what a SIGKILL can lose at most.
const FLUSH: Duration = Duration::from_secs(1);
/// How often the evaluator looks at what was stored.
const WATCH: Duration = Duration::from_millis(500);
const COMPACT: Duration = Duration::from_secs(60);
const PRUNE: Duration = Duration::from_secs(3600);

/// Stores what came in, and takes in what other processes have seen.
pub async fn flush_job(mut flush: Flush, mut others: Others, clock: SharedClock, nudge: Arc<Notify>, stop: CancellationToken) {
    let mut timer = tokio::time::interval(FLUSH);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = stop.cancelled() => break,
        }
        match flush.run(clock.now()).await {
            Ok(()) => nudge.notify_one(),
            Err(error) => error!(error = %chain(&error), "a flush failed and is tried again"),
        }
        if let Err(error) = others.run(flush.writer(), clock.now()).await {
            warn!(error = %chain(&error), "what other processes have seen could not be read and is read again");
        }
    }
    // Connections may still be finishing: what they bring in the next moment is stored as well.
    tokio::time::sleep(Duration::from_millis(300)).await;
    if let Err(error) = flush.finish(clock.now()).await {
        error!(error = %chain(&error), "the last flush failed");
    }
}

/// Evaluates what closed; `pulse` beats when there is something new to show.
pub async fn watch_job(mut watch: Watch, clock: SharedClock, nudge: Arc<Notify>, pulse: watch::Sender<u64>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match watch.run(clock.now()).await {
            Ok(report) => {
                if report.evaluated > 0 || report.queued > 0 {
                    pulse.send_modify(|n| *n = n.wrapping_add(1));
                }
                if report.more {
                    continue;
                }
            }
            Err(error) => {
                error!(error = %chain(&error), "an evaluation failed and is made up for");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH) => {}
            () = nudge.notified() => {}
            () = stop.cancelled() => {}
        }
    }
    if let Err(error) = watch.finish().await {
        warn!(error = %chain(&error), "the right to evaluate was not given back; it ends by itself");
    }
}

/// Rotates keys, packs what is stored, and forgets what is too old.
pub async fn compact_job(store: Store, config: Arc<Config>, sink: Arc<Sink>, clock: SharedClock, stop: CancellationToken) {
    let mut pruned: Option<tokio::time::Instant> = None;
    loop {
        match user_keys(&config, &store, clock.now()).await {
            Ok(keys) => sink.with(|aggregator| aggregator.set_user_keys(keys)),
            Err(error) => error!(error = %chain(&error), "the keys of user hashes could not be brought up to date and are tried again"),
        }
        if let Err(error) = compact::compact(&store, config.aggregation.bucket, clock.now()).await {
            error!(error = %chain(&error), "compaction failed and is tried again");
        }
        if pruned.is_none_or(|at| at.elapsed() >= PRUNE) {
            pruned = Some(tokio::time::Instant::now());
            if let Err(error) = compact::prune(&store, &config.aggregation, &config.retention, clock.now()).await {
                error!(error = %chain(&error), "retention failed and is tried again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(COMPACT) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// An error with all its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
