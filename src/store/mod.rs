//! All SQL: what burnwatch remembers, on SQLite or PostgreSQL.
//!
//! Functions are grouped by table and take a [`Tx`] first; whoever calls decides what commits together.
//! Each statement is one text for both databases. Times are bigint milliseconds, ids and JSON are text.
//! "Not found" is `Ok(None)`; an update that had to touch one row and did not is an error.
//!
//! A write transaction may have to be run again: when [`StoreError::is_retryable`] says so, start over from
//! [`Store::write`]. After [`StoreError::CommitUnknown`], read by key first.

pub mod alerts;
pub mod annotations;
pub mod archive;
pub mod attempts;
pub mod audit;
pub mod chunk;
pub mod events;
pub mod history;
pub mod incidents;
pub mod learnt_routes;
pub mod leases;
pub mod meta;
pub mod outbox;
pub mod partial;
pub mod posted;
pub mod progress;
pub mod receivers;
pub mod repeated;
pub mod retention;
pub mod rule_sets;
pub mod seen;
pub mod series;
pub mod silences;
pub mod trace;
pub mod transition;
pub mod user_keys;
pub mod writer;

mod error;
mod log;
mod migrations;
mod postgres;
mod sqlite;
mod tx;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::{PgPool, SqlitePool};

use crate::domain::time::Timestamp;

pub use error::StoreError;
pub use migrations::KNOWN as SCHEMA_KNOWN;
pub use tx::Tx;

use log::Folding;
use tx::{PgSide, Side};

/// The database of one burnwatch: open it once, clone it freely.
#[derive(Clone, Debug)]
pub struct Store {
    db: Db,
    /// How the database is called in messages: a path, or a URL without its password.
    place: Arc<str>,
    database_time: bool,
}

#[derive(Clone, Debug)]
enum Db {
    /// One connection writes, the others read: SQLite has one writer at a time anyway, and a queue
    /// in front of it is fairer than its busy handler.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        folding: Arc<Folding>,
        path: PathBuf,
    },
    Postgres(PgPool),
}

/// The mark of the process that uses an SQLite database; it ends with the process, however that ends.
#[derive(Debug)]
pub struct Claim {
    _file: std::fs::File,
}

impl Store {
    /// Opens the database, makes it if there is none, and brings it to the schema of this version.
    pub async fn open(url: &str, now: Timestamp) -> Result<Store, StoreError> {
        let store = Store::connect(url, true).await?;
        store.migrate(now).await?;
        Ok(store)
    }

    /// Opens a database that a daemon has made; never makes one.
    ///
    /// An older schema is brought up to date; the table of migrations says which versions survive that.
    pub async fn open_existing(url: &str, now: Timestamp) -> Result<Store, StoreError> {
        let store = Store::connect(url, false).await?;
        let mut tx = store.read().await?;
        if !migrations::is_prepared(&mut tx).await? {
            return Err(StoreError::Missing { place: store.place.to_string() });
        }
        let found = migrations::check(&mut tx, &store.place).await?;
        tx.commit().await?;
        if found < SCHEMA_KNOWN {
            store.migrate(now).await?;
        }
        Ok(store)
    }

    async fn connect(url: &str, create: bool) -> Result<Store, StoreError> {
        let (db, place) = if sqlite::is_meant(url) {
            let (writer, readers, folding, path) = sqlite::connect(url, create).await?;
            let place = path.display().to_string();
            (Db::Sqlite { writer, readers, folding: Arc::new(folding), path }, place)
        } else {
            let (pool, place) = postgres::connect(url).await?;
            (Db::Postgres(pool), place)
        };
        Ok(Store { db, place: place.into(), database_time: true })
    }

    async fn migrate(&self, now: Timestamp) -> Result<(), StoreError> {
        // Replicas that start together meet here; PostgreSQL then fails all but one of those that make the first table.
        let mut last = self.try_migrate(now).await;
        for _ in 0..5 {
            match &last {
                Err(StoreError::Taken(_) | StoreError::Sql(_)) => {}
                Err(error) if error.is_retryable() => {}
                Ok(()) | Err(_) => break,
            }
            last = self.try_migrate(now).await;
        }
        last
    }

    async fn try_migrate(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write_durable().await?;
        if !migrations::is_prepared(&mut tx).await? {
            migrations::prepare(&mut tx).await?;
        }
        migrations::migrate(&mut tx, &self.place, now).await?;
        tx.commit().await
    }

    /// The same store, but leases and claims follow the caller's clock also on PostgreSQL: for simulated time.
    pub fn with_caller_time(mut self) -> Store {
        self.database_time = false;
        self
    }

    /// Begins reading one consistent state of the database. Committing it just ends it.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let side = match &self.db {
            Db::Sqlite { readers, .. } => readers.begin_with("begin").await.map(Side::Sqlite).map_err(StoreError::from),
            Db::Postgres(pool) => PgSide::begin(pool, postgres::READ).await.map(Side::Postgres),
        };
        self.begun(side)
    }

    /// Begins writing. A power failure may take the last second of it on SQLite (a crash of the process
    /// may not): right for what intake sends, which is lost in the same way while still in memory.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        self.begin_write("pragma synchronous = normal; pragma cache_size = -8192; begin immediate").await
    }

    /// The same for what intake sends, which is much in a flood, written once and not read again: SQLite keeps little of it.
    pub async fn write_bulk(&self) -> Result<Tx, StoreError> {
        self.begin_write("pragma synchronous = normal; pragma cache_size = -4096; begin immediate").await
    }

    /// Begins writing what must survive a power failure from the moment it is committed: transitions,
    /// the outbox, and `ack=durable`.
    pub async fn write_durable(&self) -> Result<Tx, StoreError> {
        self.begin_write("pragma synchronous = full; pragma cache_size = -8192; begin immediate").await
    }

    async fn begin_write(&self, sqlite: &'static str) -> Result<Tx, StoreError> {
        let side = match &self.db {
            // The level cannot change inside a transaction, and every writer states its own, so a
            // transaction that was dropped leaves nothing to put back. The cache is in KiB: a storm of incidents
            // touches many pages, and what has no room there is written twice.
            Db::Sqlite { writer, folding, .. } => {
                folding.note();
                writer.begin_with(sqlite).await.map(Side::Sqlite).map_err(StoreError::from)
            }
            Db::Postgres(pool) => PgSide::begin(pool, postgres::WRITE).await.map(Side::Postgres),
        };
        self.begun(side)
    }

    fn begun(&self, side: Result<Side, StoreError>) -> Result<Tx, StoreError> {
        let side = side.map_err(|error| error.at(&self.place))?;
        Ok(Tx { side, database_time: self.database_time, place: self.place.clone() })
    }

    /// The file of an SQLite database; `None` on PostgreSQL.
    pub fn path(&self) -> Option<&Path> {
        match &self.db {
            Db::Sqlite { path, .. } => Some(path),
            Db::Postgres(_) => None,
        }
    }

    /// Marks the database as used by this process, for as long as the answer is kept; an error says that it cannot
    /// be marked or that another process has. `None` on PostgreSQL, which replicas share.
    pub fn claim(&self) -> Result<Option<Claim>, StoreError> {
        let Some(path) = self.path() else { return Ok(None) };
        // A file beside the database: SQLite's own locks on the database would end when any of its handles is closed.
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        let failed = |source: std::io::Error| StoreError::Unwritable { path: PathBuf::from(&beside), source: source.into() };
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&beside).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Claim { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// How to call this database in messages: a path, or a URL without its password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether several replicas can share this database.
    pub fn is_shared(&self) -> bool {
        matches!(self.db, Db::Postgres(_))
    }

    /// Whether the database answers and can be written.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        tx::on!(tx, conn => sqlx::query_scalar::<_, i32>("select 1").fetch_one(conn))?;
        tx.commit().await
    }

    /// Writes a copy of a running SQLite database into a new file.
    pub async fn backup(&self, file: &Path, now: Timestamp) -> Result<(), StoreError> {
        match &self.db {
            Db::Sqlite { readers, .. } => sqlite::backup(readers, file, now).await,
            Db::Postgres(_) => {
                let why = String::from("this is a PostgreSQL database, use pg_dump");
                Err(StoreError::Backup { path: file.to_owned(), why })
            }
        }
    }

    /// Lets go of the database: on SQLite the log is folded back into the file.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite { writer, readers, folding, .. } => {
                folding.stop().await;
                readers.close().await;
                writer.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn synchronous(mut tx: Tx) -> i64 {
        let level = tx::on!(tx, conn => sqlx::query_scalar("pragma synchronous").fetch_one(conn));
        level.expect("sqlite answers its own pragma")
    }

    #[tokio::test]
    async fn only_durable_transactions_wait_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/burnwatch.db", folder.path().display());
        let store = Store::open(&url, Timestamp(0)).await.unwrap();
        assert_eq!(synchronous(store.write().await.unwrap()).await, 1);
        // Dropped, not committed: the next writer still gets the level that it asked for.
        assert_eq!(synchronous(store.write_durable().await.unwrap()).await, 2);
        assert_eq!(synchronous(store.write().await.unwrap()).await, 1);
    }
}
