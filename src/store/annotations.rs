//! Annotations: deploys, flag flips and sampling changes that people and pipelines report.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};
use super::values::{row, text};

row! {
    /// Something that changed.
    pub struct AnnotationRow {
        pub id: String,
        /// `deploy`, `flag`, `sampling` or `other`.
        pub kind: String,
        pub at: Timestamp,
        /// Empty: all apps.
        pub app: String,
        pub release: String,
        pub text: String,
        pub url: String,
        pub created_at: Timestamp,
    }
}

/// How far a list was read: everything that was stored up to here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub at: Timestamp,
    pub id: String,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.at.millis(), self.id)
    }
}

impl std::str::FromStr for Seen {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Seen, Self::Err> {
        let (at, id) = text.split_once(':').unwrap_or((text, ""));
        Ok(Seen { at: Timestamp(at.parse()?), id: id.to_owned() })
    }
}

/// Those that were stored after `seen` and before `end`, in the order in which they were stored.
pub async fn after(tx: &mut Tx, seen: &Seen, end: Timestamp, limit: usize) -> Result<Vec<AnnotationRow>, StoreError> {
    let sql = "select id, kind, at, app, release, text, url, created_at from annotation \
               where (created_at > $1 or (created_at = $1 and id > $2)) and created_at < $3 order by created_at, id limit $4";
    on!(tx, conn => sqlx::query_as(sql).bind(seen.at).bind(text(&seen.id)).bind(end).bind(limit as i64).fetch_all(conn))
}

/// Stores one. `false`: one with this id exists already, and nothing was written.
pub async fn add(tx: &mut Tx, row: &AnnotationRow) -> Result<bool, StoreError> {
    let sql = "insert into annotation (id, kind, at, app, release, text, url, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8) \
               on conflict (id) do nothing";
    let written = run!(tx, conn => {
        let query = sqlx::query(sql).bind(text(&row.id)).bind(text(&row.kind)).bind(row.at).bind(text(&row.app)).bind(text(&row.release));
        query.bind(text(&row.text)).bind(text(&row.url)).bind(row.created_at).execute(conn)
    })?;
    Ok(written == 1)
}

/// Those in [from, to), in order; with an app, its own and those of all apps. At most 10,000, the newest ones.
pub async fn list(tx: &mut Tx, from: Timestamp, to: Timestamp, app: Option<&str>) -> Result<Vec<AnnotationRow>, StoreError> {
    let mut rows = newest(tx, (from, to), app, 10_000).await?;
    rows.reverse();
    Ok(rows)
}

/// The newest ones in [from, to), newest first; with an app, its own and those of all apps.
pub async fn newest(
    tx: &mut Tx,
    (from, to): (Timestamp, Timestamp),
    app: Option<&str>,
    limit: usize,
) -> Result<Vec<AnnotationRow>, StoreError> {
    let sql = "select id, kind, at, app, release, text, url, created_at from annotation \
               where at >= $1 and at < $2 and ($3 = '' or app = '' or app = $3) order by at desc, id desc limit $4";
    let app = text(app.unwrap_or_default());
    on!(tx, conn => sqlx::query_as(sql).bind(from).bind(to).bind(&app).bind(limit as i64).fetch_all(conn))
}
