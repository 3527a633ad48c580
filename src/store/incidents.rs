//! Incidents: what people are told about. At most one with the same key is not resolved.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use crate::domain::time::Timestamp;

use super::tx::{Tx, on, run};
use super::values::{Place, contains, digest, lots, page, row, text};
use super::{StoreError, meta};

row! {
    /// An incident, with the columns that lists filter by; the rest is in `data`.
    pub struct IncidentRow {
        pub id: String,
        /// Canonical text of the grouping labels.
        pub key: String,
        /// `open`, `acknowledged` or `resolved`.
        pub status: String,
        /// `page`, `ticket` or `info`.
        pub severity: String,
        pub service: String,
        pub owner: String,
        pub title: String,
        pub signature: String,
        /// Distinct users that were hit, for ranking.
        pub users: i64,
        pub opened_at: Timestamp,
        pub acknowledged_at: Option<Timestamp>,
        pub resolved_at: Option<Timestamp>,
        pub generation: i64,
        /// Number of the last notification.
        pub sequence: i64,
        /// The whole incident, as JSON.
        pub data: String,
        /// The rules whose alerts it holds, as [`rule_names`] writes them.
        pub rules: String,
    }
}

macro_rules! columns {
    () => {
        "id, key, status, severity, service, owner, title, signature, users, opened_at, acknowledged_at, resolved_at, \
         generation, sequence, data, rules"
    };
}

macro_rules! bind {
    ($query:expr, $row:expr) => {
        $query
            .bind(digest(&[&$row.key]))
            .bind(text(&$row.id))
            .bind(text(&$row.key))
            .bind(text(&$row.status))
            .bind(text(&$row.severity))
            .bind(text(&$row.service))
            .bind(text(&$row.owner))
            .bind(text(&$row.title))
            .bind(text(&$row.signature))
            .bind($row.users)
            .bind($row.opened_at)
            .bind($row.acknowledged_at)
            .bind($row.resolved_at)
            .bind($row.generation)
            .bind($row.sequence)
            .bind(text(&$row.data))
            .bind(text(&$row.rules))
    };
}

/// Under this name the changes of incidents are counted.
const CHANGES: &str = "incident changes";

/// Which incidents a list shows; empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these.
    pub status: Vec<String>,
    pub severity: Vec<String>,
    pub service: Option<String>,
    /// Opened at this time or later.
    pub from: Option<Timestamp>,
    /// Opened before this time.
    pub to: Option<Timestamp>,
    /// Stands somewhere in the key, the title or the name of a rule, upper or lower case.
    pub q: Option<String>,
    /// Holds an alert of the rule of this name.
    pub rule: Option<String>,
}

/// Names of rules as they stand in [`IncidentRow::rules`]: each between two line ends, which no name has in it.
pub fn rule_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    if names.is_empty() { String::new() } else { format!("\n{}\n", names.into_iter().collect::<Vec<_>>().join("\n")) }
}

/// Stores a new incident. `Taken`: an incident with this id, or one with this key that is not resolved, exists.
pub async fn insert(tx: &mut Tx, row: &IncidentRow) -> Result<(), StoreError> {
    insert_all(tx, std::slice::from_ref(row)).await
}

/// Stores new incidents, all or none of them.
pub async fn insert_all(tx: &mut Tx, rows: &[IncidentRow]) -> Result<(), StoreError> {
    for batch in lots(rows) {
        let sql = format!("insert into incident (key_digest, {}) values {}", columns!(), tx.marks().tuples(batch.len(), 17, 1));
        run!(tx, conn => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in batch {
                query = bind!(query, row);
            }
            query.execute(conn)
        })?;
    }
    Ok(())
}

/// Writes an incident that exists, all of it.
pub async fn update(tx: &mut Tx, row: &IncidentRow) -> Result<(), StoreError> {
    let sql = "update incident set key_digest = $1, key = $3, status = $4, severity = $5, service = $6, owner = $7, title = $8, \
               signature = $9, users = $10, opened_at = $11, acknowledged_at = $12, resolved_at = $13, generation = $14, \
               sequence = $15, data = $16, rules = $17 where id = $2";
    let done = run!(tx, conn => bind!(sqlx::query(sql), row).execute(conn))?;
    if done == 1 { Ok(()) } else { Err(StoreError::NotOne { what: "incident", id: row.id.clone() }) }
}

/// One incident.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<IncidentRow>, StoreError> {
    let sql = concat!("select ", columns!(), " from incident where id = $1");
    on!(tx, conn => sqlx::query_as(sql).bind(text(id)).fetch_optional(conn))
}

/// One incident that is about to be changed: another transaction that wants to change it waits until this one ends.
pub async fn get_for_update(tx: &mut Tx, id: &str) -> Result<Option<IncidentRow>, StoreError> {
    // Touching the row locks it on PostgreSQL; SQLite has one writer anyway.
    let sql = concat!("update incident set id = id where id = $1 returning ", columns!());
    on!(tx, conn => sqlx::query_as(sql).bind(text(id)).fetch_optional(conn))
}

/// Those with this key that opened before a time, newest first.
pub async fn earlier_by_key(tx: &mut Tx, key: &str, before: Timestamp, limit: usize) -> Result<Vec<IncidentRow>, StoreError> {
    let sql =
        concat!("select ", columns!(), " from incident where key_digest = $1 and opened_at < $2 order by opened_at desc, id desc limit $3");
    on!(tx, conn => sqlx::query_as(sql).bind(digest(&[key])).bind(before).bind(limit as i64).fetch_all(conn))
}

/// Id and title of each of these that exists.
pub async fn titles(tx: &mut Tx, ids: &[String]) -> Result<Vec<(String, String)>, StoreError> {
    let mut found = Vec::new();
    for id in ids {
        let sql = "select id, title from incident where id = $1";
        found.extend(on!(tx, conn => sqlx::query_as::<_, (String, String)>(sql).bind(text(id)).fetch_optional(conn))?);
    }
    Ok(found)
}

/// All that are not resolved, oldest first.
pub async fn open(tx: &mut Tx) -> Result<Vec<IncidentRow>, StoreError> {
    let sql = concat!("select ", columns!(), " from incident where status <> 'resolved' order by opened_at, id");
    on!(tx, conn => sqlx::query_as(sql).fetch_all(conn))
}

/// Those that are not resolved and have this text in their data, oldest first.
pub async fn open_with(tx: &mut Tx, said: &str) -> Result<Vec<IncidentRow>, StoreError> {
    let sql =
        concat!("select ", columns!(), " from incident where status <> 'resolved' and data like $1 escape '\\' order by opened_at, id");
    let said = contains(said);
    on!(tx, conn => sqlx::query_as(sql).bind(&said).fetch_all(conn))
}

/// What was resolved at `from` or later, newest first.
pub async fn resolved_since(tx: &mut Tx, from: Timestamp, limit: usize) -> Result<Vec<IncidentRow>, StoreError> {
    let sql = concat!(
        "select ",
        columns!(),
        " from incident where status = 'resolved' and resolved_at >= $1 order by resolved_at desc, id desc limit $2"
    );
    on!(tx, conn => sqlx::query_as(sql).bind(from).bind(limit as i64).fetch_all(conn))
}

/// A page of incidents, newest first, and the cursor of the next page.
pub async fn list(
    tx: &mut Tx,
    filter: &Filter,
    cursor: Option<&str>,
    limit: usize,
) -> Result<(Vec<IncidentRow>, Option<String>), StoreError> {
    let place = Place::from_cursor(cursor)?;
    // An unused filter is '' in all its places; three are enough for the three values that there are.
    let sql = concat!(
        "select ",
        columns!(),
        " from incident where (opened_at < $1 or (opened_at = $1 and id < $2)) \
         and ($3 = '' or status in ($3, $4, $5)) and ($6 = '' or severity in ($6, $7, $8)) \
         and ($9 = '' or service = $9) \
         and ($10 = '' or lower(key) like $10 escape '\\' or lower(title) like $10 escape '\\' \
              or key like $11 escape '\\' or title like $11 escape '\\' \
              or lower(rules) like $10 escape '\\' or rules like $11 escape '\\') \
         and ($15 = '' or rules like $15 escape '\\') \
         and opened_at >= $12 and opened_at < $13 order by opened_at desc, id desc limit $14"
    );
    let [status, severity] = [&filter.status, &filter.severity].map(|any| three(any));
    let service = filter.service.clone().unwrap_or_default();
    let (from, to) = (filter.from.unwrap_or(Timestamp(i64::MIN)), filter.to.unwrap_or(Timestamp(i64::MAX)));
    // SQLite lowers ASCII only, so the text is also looked for as it was typed.
    let typed = filter.q.as_deref().map(contains).unwrap_or_default();
    let q = typed.to_lowercase();
    let rule = filter.rule.as_deref().map(|name| contains(&rule_names([name]))).unwrap_or_default();
    let rows: Vec<IncidentRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(sql).bind(place.at).bind(&place.id);
        for value in status.iter().chain(&severity) {
            query = query.bind(text(value));
        }
        query = query.bind(text(&service)).bind(&q).bind(&typed).bind(from).bind(to);
        query.bind(limit as i64 + 1).bind(&rule).fetch_all(conn)
    })?;
    Ok(page(rows, limit, |row| Place { at: row.opened_at, id: row.id.clone() }))
}

/// Those that opened in `[from, to)`, newest first, at most `limit`.
pub async fn between(tx: &mut Tx, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<IncidentRow>, StoreError> {
    let sql =
        concat!("select ", columns!(), " from incident where opened_at >= $1 and opened_at < $2 order by opened_at desc, id desc limit $3");
    on!(tx, conn => sqlx::query_as(sql).bind(from).bind(to).bind(limit as i64).fetch_all(conn))
}

/// Notes that incidents have changed; with whatever changed them, in one transaction.
pub async fn touch(tx: &mut Tx) -> Result<(), StoreError> {
    let sql = "insert into meta (name, value) values ($1, '1') \
               on conflict (name) do update set value = cast(cast(meta.value as bigint) + 1 as text)";
    run!(tx, conn => sqlx::query(sql).bind(CHANGES).execute(conn))?;
    Ok(())
}

/// A text that is another one after every change of an incident.
pub async fn changes(tx: &mut Tx) -> Result<String, StoreError> {
    Ok(meta::get(tx, CHANGES).await?.unwrap_or_default())
}

/// How many there are by severity that are not resolved. It reads those only, however long the archive is.
pub async fn open_counts(tx: &mut Tx) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "select severity, count(*) from incident where status <> 'resolved' group by severity order by severity";
    on!(tx, conn => sqlx::query_as(sql).fetch_all(conn))
}

/// How many incidents there are by status and severity.
pub async fn counts(tx: &mut Tx) -> Result<Vec<(String, String, i64)>, StoreError> {
    let sql = "select status, severity, count(*) from incident group by status, severity order by status, severity";
    on!(tx, conn => sqlx::query_as(sql).fetch_all(conn))
}

/// Up to three different values, padded with the first one; all blank for none.
fn three(values: &[String]) -> [String; 3] {
    let mut distinct: Vec<&String> = values.iter().collect();
    distinct.sort();
    distinct.dedup();
    let first = distinct.first().map(|value| value.to_string()).unwrap_or_default();
    std::array::from_fn(|at| distinct.get(at).map_or_else(|| first.clone(), |value| value.to_string()))
}
