//! Every function of the store, on both databases: a file for each table.

/// Makes two tests of each function: one on SQLite, one on PostgreSQL. Time is the caller's on both.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($store:ident: Store) $body:block)*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                async fn run($store: Store) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    let folder = tempfile::tempdir().unwrap();
                    run(Store::open(&crate::store::sqlite_url(folder.path()), crate::store::T0).await.unwrap()).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    let database = crate::postgres::database().await;
                    run(Store::open(&database.url, crate::store::T0).await.unwrap().with_caller_time()).await;
                }
            }
        )*
    };
}

mod alert;
mod annotation;
mod archive;
mod audit;
mod chunk;
mod database;
mod digest;
mod incident;
mod learnt_route;
mod lease;
mod outbox;
mod partial;
mod posted;
mod progress;
mod retention;
mod rule_set;
mod seen;
mod series;
mod silence;
mod trace;
mod transaction;
mod user_key;
mod writer;

use std::sync::Arc;

use burnwatch::domain::metric::Metric;
use burnwatch::domain::series::Series;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::store::incidents::IncidentRow;
use burnwatch::store::outbox::{Claim, OutboxRow};

const T0: Timestamp = Timestamp(1_790_000_000_000);

fn at(secs: i64) -> Timestamp {
    T0 + Span::seconds(secs)
}

fn sqlite_url(folder: &std::path::Path) -> String {
    format!("sqlite://{}/data/burnwatch.db", folder.display())
}

fn page_views(dims: &[(&str, &str)]) -> Series {
    Series::new(Metric::PageView, dims.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))))
}

fn incident(id: &str, key: &str, opened: i64) -> IncidentRow {
    IncidentRow {
        id: id.into(),
        key: key.into(),
        status: "open".into(),
        severity: "page".into(),
        service: "shop".into(),
        owner: "team-checkout".into(),
        title: format!("Checkout burns in {key}"),
        signature: String::new(),
        users: 812,
        opened_at: at(opened),
        acknowledged_at: None,
        resolved_at: None,
        generation: T0.0,
        sequence: 1,
        data: "{}".into(),
        rules: String::new(),
    }
}

fn delivery(id: &str, incident: &str, sequence: i64, receiver: &str, due: i64) -> OutboxRow {
    OutboxRow {
        id: id.into(),
        incident: incident.into(),
        generation: 7,
        sequence,
        receiver: receiver.into(),
        correlation: format!("{incident}-{receiver}"),
        kind: "opened".into(),
        payload: r#"{"type":"incident.opened"}"#.into(),
        state: "pending".into(),
        due_at: at(due),
        created_at: at(due),
        finished_at: None,
        attempts: 0,
        claimed_until: Timestamp(0),
        last_error: String::new(),
        reply: String::new(),
    }
}

fn claim(now: i64) -> Claim<'static> {
    Claim { now: at(now), until: at(now + 60), limit: 100, skip: &[] }
}

fn ids(rows: &[OutboxRow]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}
