//! `GET /events`: says over server-sent events that there is something new to show.
//!
//! An event carries no figures, only that they changed: the script fetches the page that it is on.
//! So a reconnect misses nothing, and nothing is shown that the page itself would not show.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State as Take;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio_util::io::ReaderStream;

use super::problem::Problem;
use super::state::State;

/// Silence longer than this is broken by a comment, so that dead connections are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A reader that takes nothing for so long is let go.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

pub async fn events(Take(state): Take<Arc<State>>) -> Response {
    let Ok(permit) = state.live.clone().try_acquire_owned() else {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many live connections; the page works without")
            .with(header::RETRY_AFTER, HeaderValue::from_static("30"))
            .into_response();
    };
    let (mut ours, theirs) = tokio::io::duplex(4_096);
    tokio::spawn(async move {
        // The writing end is dropped when the reader is gone or the daemon stops; either ends the stream.
        let _permit = permit;
        follow(&state, &mut ours).await;
    });
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    ([kind], Body::from_stream(ReaderStream::new(theirs))).into_response()
}

async fn follow(state: &State, to: &mut DuplexStream) {
    let mut pulse = state.pulse.subscribe();
    if !send(to, "retry: 3000\n\n").await {
        return;
    }
    loop {
        let text = tokio::select! {
            () = state.stop.cancelled() => return,
            changed = pulse.changed() => {
                if changed.is_err() {
                    return;
                }
                let id = *pulse.borrow_and_update();
                let snapshot = state.snapshot.load();
                format!("id: {id}\nevent: tick\ndata: {}\n\n", json!({ "watermark": snapshot.watermark, "evaluated_at": snapshot.evaluated_at }))
            }
            () = tokio::time::sleep(KEEP_ALIVE) => ": still here\n\n".to_owned(),
        };
        if !send(to, &text).await {
            return;
        }
    }
}

async fn send(to: &mut DuplexStream, text: &str) -> bool {
    matches!(tokio::time::timeout(WRITE_TIMEOUT, to.write_all(text.as_bytes())).await, Ok(Ok(())))
}
