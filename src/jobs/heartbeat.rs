//! Heartbeat: tells an outside watcher that evaluation, storage and delivery all make progress.
//!
//! It falls silent when any of them stands still: silence is the alarm.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::SharedClock;
use crate::config::Heartbeat;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Span, Timestamp};
use crate::notify;
use crate::sink::Sink;
use crate::store::{self, Store};

/// A delivery that has been due for so long means that delivery stands still.
const OUTBOX_MAX: Span = Span::minutes(5);

/// What has to make progress.
#[derive(Clone)]
pub struct Health {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub store: Store,
    pub sink: Arc<Sink>,
    pub bucket: Span,
    pub settle: Span,
}

impl Health {
    /// What stands still, if anything does.
    pub async fn trouble(&self, now: Timestamp) -> Option<String> {
        let behind = Span(self.bucket.0 * 2) + self.settle + Span::seconds(15);
        match self.snapshot.load().evaluated_at {
            None => return Some("nothing was evaluated yet".into()),
            Some(at) if now - at > behind => return Some(format!("the last evaluation is of {at}")),
            Some(_) => {}
        }
        if self.sink.is_failing() {
            return Some("what comes in cannot be stored".into());
        }
        let counts = async {
            let mut tx = self.store.read().await?;
            store::outbox::counts(&mut tx).await
        };
        match counts.await {
            Err(error) => Some(format!("the database does not answer: {error}")),
            Ok(counts) => counts.due.filter(|due| now - *due > OUTBOX_MAX).map(|due| format!("a notification has been due since {due}")),
        }
    }
}

/// Beats until it is told to stop.
pub async fn run(beat: Heartbeat, health: Health, clock: SharedClock, stop: CancellationToken) {
    let client = match notify::plain_client() {
        Ok(client) => client,
        Err(error) => return warn!(error = %error, "the heartbeat cannot be set up"),
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(beat.every.to_std()) => {}
            () = stop.cancelled() => return,
        }
        if let Some(trouble) = health.trouble(clock.now()).await {
            warn!("no heartbeat: {trouble}");
            continue;
        }
        let sent = client.post(beat.url.expose()).timeout(Duration::from_secs(10)).send().await;
        if let Err(error) = sent.and_then(reqwest::Response::error_for_status) {
            warn!(error = %error.without_url(), "the heartbeat was not taken");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::aggregate::{Aggregator, Settings};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    async fn health(folder: &std::path::Path) -> Health {
        let store = Store::open(&format!("sqlite://{}/b.db", folder.display()), NOW).await.unwrap();
        let snapshot = Snapshot { evaluated_at: Some(NOW), ..Snapshot::default() };
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let (bucket, settle) = (Span::MINUTE, Span::seconds(5));
        let settings = Settings { bucket, settle, dimensions: Vec::new(), series_max: 10, remember: Span::DAY };
        let sink = Arc::new(Sink::new(Aggregator::new(settings)));
        Health { snapshot, store, sink, bucket, settle }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn evaluations_that_are_too_slow_end_it_and_so_does_none_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let health = health(folder.path()).await;
        // Two buckets, the grace, and a quarter of a minute.
        let limit = Span::seconds(140);
        assert_eq!(health.trouble(NOW + limit).await, None);
        assert_eq!(health.trouble(NOW + limit + Span(1)).await, Some(format!("the last evaluation is of {NOW}")));
        health.snapshot.store(Arc::new(Snapshot::default()));
        assert_eq!(health.trouble(NOW).await.as_deref(), Some("nothing was evaluated yet"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_cannot_be_stored_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let health = health(folder.path()).await;
        health.sink.failed();
        assert_eq!(health.trouble(NOW).await.as_deref(), Some("what comes in cannot be stored"));
        let (flush, _) = health.sink.drain();
        health.sink.committed(flush);
        assert_eq!(health.trouble(NOW).await, None);
    }
}
