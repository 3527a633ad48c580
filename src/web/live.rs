//! `GET /events`: says over server-sent events that there is something new to show.
//!
//! An event carries no figures, only that they changed: `rules`, `slo` (a state), `incident`, and `tick` (any figure). The
//! script fetches the page that it is on, and nothing is shown that the page itself would not show. Each event has an id, and so has each page. Who connects says
//! which one was the last (`seen`); if anything happened since, the first event says so at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State as Take;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio_util::io::ReaderStream;

use super::api::Params;
use super::problem::Problem;
use super::state::State;
use crate::domain::rule::Severity;
use crate::domain::snapshot::AlertPhase;
use crate::store::incidents;

/// Silence longer than this is broken by a comment, so that dead connections are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A reader that takes nothing for so long is let go.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The event that stands for all until now. Another start of the daemon has other ids, also where it has come as far.
pub fn last_event(state: &State) -> String {
    id_of(state, *state.pulse.borrow())
}

fn id_of(state: &State, pulse: u64) -> String {
    format!("{}-{pulse}", state.started_at.millis())
}

/// The last event that the reader knows of: of the connection that broke, else of the page that it reads.
fn seen(headers: &HeaderMap, query: &Params) -> Option<String> {
    let again = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    again.or_else(|| query.get("after")).filter(|id| !id.is_empty()).map(str::to_owned)
}

pub async fn events(Take(state): Take<Arc<State>>, query: Params, headers: HeaderMap) -> Response {
    let seen = seen(&headers, &query);
    let Ok(permit) = state.live.clone().try_acquire_owned() else {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many live connections; the page works without")
            .with(header::RETRY_AFTER, HeaderValue::from_static("30"))
            .into_response();
    };
    let (mut ours, theirs) = tokio::io::duplex(4_096);
    tokio::spawn(async move {
        // The writing end is dropped when the reader is gone or the daemon stops; either ends the stream.
        let _permit = permit;
        follow(&state, seen, &mut ours).await;
    });
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    ([kind], Body::from_stream(ReaderStream::new(theirs))).into_response()
}

async fn follow(state: &State, seen: Option<String>, to: &mut DuplexStream) {
    let mut pulse = state.pulse.subscribe();
    if !send(to, "retry: 3000\n\n").await {
        return;
    }
    let id = id_of(state, *pulse.borrow_and_update());
    let mut known = Known::of(state).await;
    // Nobody can say what of it changed meanwhile, so that whoever missed something is told of everything.
    if seen.is_some_and(|seen| seen != id) && !send(to, &written(state, &id, &KINDS)).await {
        return;
    }
    loop {
        let text = tokio::select! {
            () = state.stop.cancelled() => return,
            changed = pulse.changed() => {
                if changed.is_err() {
                    return;
                }
                let id = id_of(state, *pulse.borrow_and_update());
                let now = Known::of(state).await;
                let kinds = now.since(&known);
                known = now;
                written(state, &id, &kinds)
            }
            () = tokio::time::sleep(KEEP_ALIVE) => ": still here\n\n".to_owned(),
        };
        if !send(to, &text).await {
            return;
        }
    }
}

/// Everything that may have changed, the tick last.
const KINDS: [&str; 4] = ["rules", "slo", "incident", "tick"];

/// What a reader was last told of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    revision: String,
    /// Of every objective and group: where it is in its life, and how loud.
    states: Vec<(AlertPhase, Option<Severity>)>,
    /// Is another one after every change of an incident; `None`: the store did not answer.
    incidents: Option<String>,
}

impl Known {
    async fn of(state: &State) -> Known {
        let snapshot = state.snapshot.load_full();
        let incidents = async { incidents::changes(&mut state.store.read().await?).await };
        Known {
            revision: snapshot.rules.revision.clone(),
            states: snapshot.slos.iter().map(|status| (status.state, status.severity)).collect(),
            incidents: incidents.await.ok(),
        }
    }

    /// What happened between `before` and this. Figures always may have.
    fn since(&self, before: &Known) -> Vec<&'static str> {
        let changed = [
            self.revision != before.revision,
            self.states != before.states,
            self.incidents != before.incidents || self.incidents.is_none(),
            true,
        ];
        KINDS.into_iter().zip(changed).filter(|(_, changed)| *changed).map(|(kind, _)| kind).collect()
    }
}

/// One event of each kind. Only the last one has the id that stands for all of them: who loses the connection between
/// two of them is told anew.
fn written(state: &State, id: &str, kinds: &[&str]) -> String {
    let snapshot = state.snapshot.load();
    let data = json!({ "watermark": snapshot.watermark, "evaluated_at": snapshot.evaluated_at });
    let mut out = String::new();
    for (n, kind) in kinds.iter().enumerate() {
        let part = if n + 1 == kinds.len() { String::new() } else { format!(".{n}") };
        out.push_str(&format!("id: {id}{part}\nevent: {kind}\ndata: {data}\n\n"));
    }
    out
}

async fn send(to: &mut DuplexStream, text: &str) -> bool {
    matches!(tokio::time::timeout(WRITE_TIMEOUT, to.write_all(text.as_bytes())).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::house::{House, request};
    use axum::http::Method;
    use http_body_util::BodyExt as _;

    /// What a reader gets within a moment of connecting.
    async fn first(house: &House, path: &str, last: Option<&str>) -> String {
        let headers: Vec<(&str, &str)> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        let response = house.send(request(Method::GET, path, &headers, "")).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body();
        let mut text = String::new();
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(Duration::from_millis(300), body.frame()).await {
            text.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data, not trailers")));
        }
        text
    }

    #[tokio::test]
    async fn who_missed_an_event_gets_one_at_once_and_who_missed_none_waits() {
        let house = House::new(false, false).await;
        let (_, _, page) = house.get("/me").await;
        let (_, rest) = page.split_once("data-event=\"").expect("a page names the last event");
        let known = rest.split('"').next().expect("it ends").to_owned();
        let fresh = first(&house, &format!("/events?after={known}"), None).await;
        assert!(fresh.contains("retry:") && !fresh.contains("event:"), "nothing happened since the page was made: {fresh}");

        house.state.changed();
        house.state.changed();
        let missed = first(&house, &format!("/events?after={known}"), None).await;
        assert_eq!(missed.matches("event: tick").count(), 1, "what came between page and connection is told, once: {missed}");
        let missed = first(&house, "/events", Some(&known)).await;
        let ids: Vec<&str> = missed.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        let last = (*ids.last().expect("what came between two connections is told")).to_owned();
        let half = first(&house, &format!("/events?after={known}"), Some(ids[1])).await;
        assert!(half.contains("event: incident"), "who got a part of what happened is told all of it again: {half}");
        assert_ne!(last, known);
        // The page's own id is older than that of the connection that broke.
        let again = first(&house, &format!("/events?after={known}"), Some(&last)).await;
        assert!(!again.contains("event:"), "{again}");
        let restarted = first(&house, "/events", Some("1700000000000-2")).await;
        assert!(restarted.contains("event: tick"), "an id of an earlier start says nothing about this one: {restarted}");
        assert!(!first(&house, "/events", None).await.contains("event:"), "who knows of nothing has missed nothing");
    }

    #[tokio::test]
    async fn an_event_says_what_changed() {
        let house = House::new(false, false).await;
        let kinds = |before: &Known, after: &Known| after.since(before);
        let before = Known::of(&house.state).await;
        assert_eq!(kinds(&before, &before), ["tick"]);
        let mut tx = house.store.write().await.expect("a transaction");
        incidents::touch(&mut tx).await.expect("it is noted");
        tx.commit().await.expect("it is stored");
        let touched = Known::of(&house.state).await;
        assert_eq!(kinds(&before, &touched), ["incident", "tick"]);
        let mut snapshot = (*house.state.snapshot.load_full()).clone();
        let mut slos = snapshot.slos.clone();
        slos[0] = Arc::new(crate::domain::snapshot::SloStatus { state: AlertPhase::Ok, severity: None, ..(*slos[0]).clone() });
        snapshot.slos = slos;
        house.state.snapshot.store(Arc::new(snapshot));
        assert_eq!(kinds(&touched, &Known::of(&house.state).await), ["slo", "tick"]);
        let other = Known { revision: "other".into(), ..touched.clone() };
        assert_eq!(kinds(&touched, &other), ["rules", "tick"]);
        assert_eq!(kinds(&touched, &Known { incidents: None, ..touched.clone() }), ["incident", "tick"], "unknown is not unchanged");
    }
}
