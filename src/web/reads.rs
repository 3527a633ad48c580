//! Who read what: pages and answers of the API, in the audit beside what was done (P, U6).
//!
//! A read must not write, so reads are noted in memory and stored a minute later, those of one visitor and thing as one row with a
//! count. Bounded: what is one too many within a minute is noted as `(others)` of its visitor, and visitors beyond that as one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::api::note_by;
use super::state::State;
use crate::domain::time::Timestamp;
use crate::store::Store;

/// How often they are stored.
const STORE: Duration = Duration::from_secs(60);
/// How many rows that makes at most.
const ROWS_MAX: usize = 1_000;
/// The longest thing that is named.
const THING_MAX: usize = 200;
const OTHERS: &str = "(others)";

/// What was read, and by whom, since it was stored last.
#[derive(Debug, Default)]
pub struct Reads(Mutex<BTreeMap<Read, Times>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Read {
    who: String,
    source: String,
    thing: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Reads {
    /// Notes that somebody has read something.
    pub fn note(&self, who: &str, source: &str, path: &str, now: Timestamp) {
        let thing = path[..path.floor_char_boundary(THING_MAX)].to_owned();
        let mut read = Read { who: who.to_owned(), source: source.to_owned(), thing };
        // One change of one entry; a panic elsewhere leaves the map whole.
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.len() >= ROWS_MAX && !reads.contains_key(&read) {
            read.thing = OTHERS.to_owned();
            if reads.len() >= 2 * ROWS_MAX && !reads.contains_key(&read) {
                (read.who, read.source) = (OTHERS.to_owned(), String::new());
            }
        }
        let times = reads.entry(read).or_insert(Times { count: 0, first: now, last: now });
        times.count += 1;
        times.last = times.last.max(now);
    }

    /// Stores what was noted. What cannot be stored is noted again.
    pub async fn store(&self, store: &Store) {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.is_empty() {
            return;
        }
        if let Err(problem) = write(store, &taken).await {
            tracing::warn!("who read what could not be stored and is stored later: {}", problem.detail());
            let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (read, times) in taken {
                let known = reads.entry(read).or_insert(Times { count: 0, ..times });
                (known.count, known.first) = (known.count + times.count, known.first.min(times.first));
            }
        }
    }
}

async fn write(store: &Store, reads: &BTreeMap<Read, Times>) -> Result<(), super::problem::Problem> {
    let mut tx = store.write().await?;
    for (read, times) in reads {
        let detail = json!({ "times": times.count, "since": times.first });
        note_by(&mut tx, &read.who, &read.source, times.last, crate::store::audit::READ, &read.thing, detail).await?;
    }
    Ok(tx.commit().await?)
}

/// Stores what was read once a minute, and what is left at the end.
pub async fn keep(state: std::sync::Arc<State>) {
    let stop: CancellationToken = state.stop.clone();
    while !stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(STORE) => {}
            () = stop.cancelled() => {}
        }
        state.reads.store(&state.store).await;
    }
}

/// Whether a request that reads reads data: not the look of a page, nor how the daemon itself is.
pub fn is_data(method: &Method, path: &str) -> bool {
    let looks = matches!(*method, Method::GET | Method::HEAD) || path == "/v1/query";
    let other = ["/assets/", "/act/", "/hooks/", "/inbox/", "/-/", "/events"];
    let own = ["/metrics", "/healthz", "/readyz", "/openapi.json", "/sign-in", "/me", "/favicon.ico", "/api/v2/status"];
    looks && !other.iter().any(|start| path.starts_with(start)) && !own.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::audit;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[tokio::test]
    async fn reads_of_one_thing_are_one_row_with_a_count() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/b.db", folder.path().display()), NOW).await.unwrap();
        let reads = Reads::default();
        for (who, path, second) in [("ada", "/incidents/7", 1), ("ada", "/incidents/7", 9), ("bob", "/v1/query", 2)] {
            reads.note(who, "192.0.2.1", path, NOW + crate::domain::time::Span::seconds(second));
        }
        reads.store(&store).await;
        reads.store(&store).await;
        let rows = audit::list(&mut store.read().await.unwrap(), None, 10, audit::Acts::All).await.unwrap().0;
        let lines: Vec<String> =
            rows.iter().map(|row| format!("{} {} {} {} {}", row.who, row.action, row.thing, row.source, row.detail)).collect();
        assert_eq!(
            lines,
            [
                r#"ada read /incidents/7 192.0.2.1 {"since":"2027-01-15T08:00:01Z","times":2}"#,
                r#"bob read /v1/query 192.0.2.1 {"since":"2027-01-15T08:00:02Z","times":1}"#
            ]
        );
        let changes = audit::list(&mut store.read().await.unwrap(), None, 10, audit::Acts::Changes).await.unwrap().0;
        assert_eq!(changes, []);
    }

    #[test]
    fn memory_is_bounded_whoever_reads_whatever() {
        let reads = Reads::default();
        for n in 0..10_000 {
            reads.note(&format!("token{n}"), "192.0.2.1", &format!("/incidents/{n}{}", "é".repeat(500)), NOW);
        }
        let known = reads.0.lock().unwrap();
        assert!(known.len() <= 2 * ROWS_MAX + 1 && known.keys().all(|read| read.thing.len() <= THING_MAX), "{}", known.len());
        assert_eq!(known.values().map(|times| times.count).sum::<u64>(), 10_000);
    }

    #[test]
    fn what_reads_data_is_told_from_what_does_not() {
        for (method, path, data) in [
            (Method::GET, "/", true),
            (Method::GET, "/incidents/7", true),
            (Method::GET, "/v1/slos", true),
            (Method::POST, "/v1/query", true),
            (Method::POST, "/v1/incidents/7/ack", false),
            (Method::GET, "/assets/style.css", false),
            (Method::GET, "/metrics", false),
            (Method::GET, "/events", false),
        ] {
            assert_eq!(is_data(&method, path), data, "{method} {path}");
        }
    }
}
