//! What happens in the demo: every quarter of an hour a release goes out that breaks the checkout in one region, and is rolled back.
//!
//! burnwatch is told what a deployment pipeline would tell it, that a release went out, and nothing else.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shop::Rollout;
use super::tell::Voice;
use super::world::{APP, REGIONS, STABLE};
use crate::cli::client::Client;

/// Quiet before the first release.
pub const FIRST: Duration = Duration::from_secs(45);
/// How long the bad release is out.
pub const OUT: Duration = Duration::from_secs(150);
/// From one bad release to the next.
pub const ROUND: Duration = Duration::from_secs(15 * 60);
/// Share of the users who have it at once.
const SHARE: f64 = 0.7;

/// The n-th bad release.
fn rollout(n: usize) -> Rollout {
    Rollout { release: format!("2.3.{}", n + 1), share: SHARE, breaks_in: REGIONS[n % REGIONS.len()].country }
}

/// Plays until told to stop.
pub async fn play(client: &Client, rollouts: watch::Sender<Option<Rollout>>, voice: Voice, stop: CancellationToken) {
    let began = Instant::now();
    for n in 0.. {
        let start = began + FIRST + ROUND * n as u32;
        if !wait(start, &stop).await {
            return;
        }
        let next = rollout(n);
        deploy(client, &voice, &next.release, "all regions").await;
        voice.say(&format!("release {} goes out to all regions (in `{}`, it breaks the checkout)", next.release, next.breaks_in));
        rollouts.send_replace(Some(next));
        if !wait(start + OUT, &stop).await {
            return;
        }
        rollouts.send_replace(None);
        deploy(client, &voice, STABLE, "rollback").await;
        voice.say(&format!("rolled back to {STABLE}"));
    }
}

async fn wait(until: Instant, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep_until(until) => true,
        () = stop.cancelled() => false,
    }
}

/// What `burnwatch annotate deploy` does at the end of a deployment.
async fn deploy(client: &Client, voice: &Voice, release: &str, text: &str) {
    let body = json!({ "kind": "deploy", "app": APP, "release": release, "text": text });
    if let Err(failure) = client.post(&["v1", "annotations"], &body).await {
        voice.trouble("burnwatch could not be told of the deploy", &failure);
    }
}
