//! Bringing a database to the schema of this version, forward only.
//!
//! A migration says which schema a program must know at least to work with the result, so that the
//! previous version keeps running next to the new one, and anything older is refused.

use crate::domain::time::Timestamp;

use super::StoreError;
use super::tx::{Tx, on, run};

/// One step of the schema.
struct Migration {
    version: i64,
    /// The oldest schema that a program may have been built for and still work after this step.
    works_with: i64,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 12] = [
    Migration { version: 1, works_with: 1, sql: include_str!("../../migrations/0001_init.sql") },
    Migration { version: 2, works_with: 1, sql: include_str!("../../migrations/0002_posted_alerts.sql") },
    Migration { version: 3, works_with: 1, sql: include_str!("../../migrations/0003_repeated_and_traces.sql") },
    Migration { version: 4, works_with: 1, sql: include_str!("../../migrations/0004_digests.sql") },
    Migration { version: 5, works_with: 1, sql: include_str!("../../migrations/0005_user_keys.sql") },
    Migration { version: 6, works_with: 1, sql: include_str!("../../migrations/0006_learnt_routes.sql") },
    Migration { version: 7, works_with: 1, sql: include_str!("../../migrations/0007_outbox_order.sql") },
    Migration { version: 8, works_with: 1, sql: include_str!("../../migrations/0008_outbox_by_receiver.sql") },
    Migration { version: 9, works_with: 1, sql: include_str!("../../migrations/0009_incident_rules.sql") },
    Migration { version: 10, works_with: 1, sql: include_str!("../../migrations/0010_seen_bodies.sql") },
    Migration { version: 11, works_with: 1, sql: include_str!("../../migrations/0011_fewer_index_entries.sql") },
    // Programs before it look for the payload beside the delivery.
    Migration { version: 12, works_with: 12, sql: include_str!("../../migrations/0012_outbox_payload.sql") },
];

/// The newest schema that this program knows.
pub const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

const TABLE: &str =
    "create table if not exists schema_version (version bigint primary key, works_with bigint not null, applied_at bigint not null)";

/// Makes the table that says what was applied. Apart from [`migrate`], because two replicas that start
/// together may both try, and PostgreSQL lets one of them fail: whoever fails runs it again.
pub(super) async fn prepare(tx: &mut Tx) -> Result<(), StoreError> {
    run!(tx, conn => sqlx::query(TABLE).execute(conn))?;
    Ok(())
}

/// Whether the database has a schema at all.
pub(super) async fn is_prepared(tx: &mut Tx) -> Result<bool, StoreError> {
    let found: i64 = match tx.is_postgres() {
        true => on!(tx, conn => sqlx::query_scalar("select cast(count(to_regclass('schema_version')) as bigint)").fetch_one(conn))?,
        false => on!(tx, conn => sqlx::query_scalar("select count(*) from sqlite_master where name = 'schema_version'").fetch_one(conn))?,
    };
    Ok(found > 0)
}

/// Applies what is missing, in one transaction; the row with version 0 is the lock that replicas queue at.
pub(super) async fn migrate(tx: &mut Tx, place: &str, now: Timestamp) -> Result<(), StoreError> {
    let insert = "insert into schema_version (version, works_with, applied_at) values ($1, $2, $3) on conflict (version) do nothing";
    run!(tx, conn => sqlx::query(insert).bind(0_i64).bind(0_i64).bind(now).execute(conn))?;
    run!(tx, conn => sqlx::query("update schema_version set applied_at = applied_at where version = 0").execute(conn))?;
    let found = check(tx, place).await?;
    for migration in &MIGRATIONS {
        if migration.version <= found {
            continue;
        }
        run!(tx, conn => sqlx::Executor::execute(conn, sqlx::raw_sql(migration.sql)))?;
        run!(tx, conn => sqlx::query(insert).bind(migration.version).bind(migration.works_with).bind(now).execute(conn))?;
    }
    Ok(())
}

/// The schema of the database; an error if this program is too old for it.
pub(super) async fn check(tx: &mut Tx, place: &str) -> Result<i64, StoreError> {
    let sql = "select coalesce(max(version), 0), coalesce(max(works_with), 0) from schema_version";
    let (found, works_with): (i64, i64) = on!(tx, conn => sqlx::query_as(sql).fetch_one(conn))?;
    if found > KNOWN && works_with > KNOWN {
        return Err(StoreError::Newer { place: place.to_owned(), found, known: KNOWN });
    }
    Ok(found)
}
