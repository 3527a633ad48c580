//! Opening an SQLite file: who may read it, how it is written, and whether it is whole.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};

use super::StoreError;
use super::log::Folding;
use super::meta::COPIED_AT;
use crate::domain::time::Timestamp;

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_secs(10);
/// How long to wait for our own writer, or for a free reader.
const ACQUIRE: Duration = Duration::from_secs(15);
const READERS_MAX: u32 = 8;
/// Files up to this size are checked whole when they are opened (about a second a gigabyte); of larger
/// ones only the header and the schema.
const CHECK_BYTES_MAX: u64 = 256 << 20;

/// Whether a URL means a file of SQLite.
pub(super) fn is_meant(url: &str) -> bool {
    url.starts_with("sqlite:")
}

/// The file that a URL names: `sqlite://a/b.db`, `sqlite:a/b.db` and `sqlite:///a/b.db` (absolute).
fn path(url: &str) -> Result<PathBuf, StoreError> {
    let bad = |why| StoreError::Url { url: url.to_owned(), why };
    let rest = url.strip_prefix("sqlite:").ok_or_else(|| bad("it must begin with sqlite:"))?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    if rest == ":memory:" {
        return Err(bad("a database in memory loses incidents and deliveries at every restart; name a file"));
    }
    if rest.is_empty() || rest.ends_with('/') || rest.contains('\0') {
        return Err(bad("name a file, like sqlite://burnwatch-data/burnwatch.db"));
    }
    if rest.contains('?') {
        return Err(bad("parameters after ? are not known here"));
    }
    Ok(PathBuf::from(rest))
}

/// Opens the file: the pool of its one writer, the pool of its readers, what folds its log, and its path.
pub(super) async fn connect(url: &str, create: bool) -> Result<(SqlitePool, SqlitePool, Folding, PathBuf), StoreError> {
    let path = path(url)?;
    if create {
        make(&path)?;
    } else if !path.exists() {
        return Err(StoreError::Missing { place: path.display().to_string() });
    }
    may_write(&path)?;
    let options = SqliteConnectOptions::new().filename(&path).foreign_keys(false).busy_timeout(BUSY).disable_statement_logging();
    let writing = options
        .clone()
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        // What a statement with many rows would have to undo: not in a file.
        .pragma("temp_store", "memory")
        // In pages of 4 KiB: what is written again and again reaches the database once in 32 MiB of log.
        .pragma("wal_autocheckpoint", "8192")
        // What a burst left behind in the log is given back to the disk.
        .pragma("journal_size_limit", "67108864");
    let pool = SqlitePoolOptions::new().acquire_timeout(ACQUIRE).idle_timeout(None).max_lifetime(None).test_before_acquire(false);
    let fresh = pool.clone().before_acquire(|connection, _| Box::pin(is_free(connection)));
    let writer = fresh.max_connections(1).connect_with(writing).await.map_err(|error| explain(error, &path))?;
    check(&writer, &path).await?;
    let folding = Folding::start(options.clone().create_if_missing(false).pragma("cache_size", "-64"));
    // In KiB. The system's cache holds what is read often; ours would hold it once more for each connection.
    let reading = options.read_only(true).pragma("cache_size", "-512");
    let readers = pool.max_connections(READERS_MAX).connect_with(reading).await.map_err(|error| explain(error, &path))?;
    Ok((writer, readers, folding, path))
}

/// Whether a connection is in no transaction. One whose commit failed (disk full, input/output error) never leaves its own again:
/// SQLite has rolled that back, and the driver, which wants to do so itself, cannot. Such a connection is replaced.
async fn is_free(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A transaction that was dropped may be about to be rolled back; this waits for it.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// Makes the folder (0700) and the file (0600). SQLite gives the log and the shared memory beside it the
/// mode of the file. What exists keeps its mode.
fn make(path: &Path) -> Result<(), StoreError> {
    let unwritable = |source: std::io::Error| StoreError::Unwritable { path: path.to_owned(), source: source.into() };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unwritable)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(unwritable(error)),
    }
}

/// SQLite opens a file that it may only read, and says so at the first write; we want to know now.
fn may_write(path: &Path) -> Result<(), StoreError> {
    let opened = OpenOptions::new().read(true).append(true).open(path);
    opened.map(|_| ()).map_err(|source| StoreError::Unwritable { path: path.to_owned(), source: source.into() })
}

/// Cheap checks: header, schema, and for files of moderate size every page.
async fn check(writer: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let corrupt = |what: String| StoreError::Corrupt { place: path.display().to_string(), what };
    let tables: i64 =
        sqlx::query_scalar("select count(*) from sqlite_master").fetch_one(writer).await.map_err(|error| explain(error, path))?;
    let bytes = std::fs::metadata(path).map_or(u64::MAX, |meta| meta.len());
    if tables > 0 && bytes <= CHECK_BYTES_MAX {
        let verdict: String = sqlx::query_scalar("pragma quick_check(1)").fetch_one(writer).await.map_err(|error| explain(error, path))?;
        if verdict != "ok" {
            return Err(corrupt(verdict.replace(['\n', '\r'], " ")));
        }
    }
    Ok(())
}

/// What opening failed for, with the path in it.
fn explain(error: sqlx::Error, path: &Path) -> StoreError {
    // 8 read-only, 10 input/output, 14 cannot open: the low byte of SQLite's code.
    let code = error.as_database_error().and_then(|db| db.code()?.parse::<i64>().ok()).map(|code| code & 0xff);
    if matches!(code, Some(8 | 10 | 14)) {
        return StoreError::Unwritable { path: path.to_owned(), source: error.into() };
    }
    StoreError::from(error).at(&path.display().to_string())
}

/// Copies a running database into a file that does not exist yet (0600).
pub(super) async fn backup(readers: &SqlitePool, file: &Path, now: Timestamp) -> Result<(), StoreError> {
    let failed = |why: String| StoreError::Backup { path: file.to_owned(), why };
    // SQLite takes an empty file as its target, and this one has the right mode from the start.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(failed("it exists already, name a new file".into())),
        Err(error) => return Err(failed(error.to_string())),
    }
    let target = file.to_str().ok_or_else(|| failed("its name is not UTF-8".into()))?;
    let copied = async {
        sqlx::query("vacuum into $1").bind(target).execute(readers).await?;
        // A copy says that it is one.
        let mut copy = SqliteConnectOptions::new().filename(file).connect().await?;
        let sql = "insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value";
        sqlx::query(sql).bind(COPIED_AT).bind(now.to_string()).execute(&mut copy).await?;
        copy.close().await
    };
    if let Err(error) = copied.await {
        // Half a backup is worse than none. If it cannot be removed either, the error says enough.
        let _ = std::fs::remove_file(file);
        return Err(failed(error.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_unless_they_begin_with_a_slash() {
        for (url, expected) in
            [("sqlite://a/b.db", "a/b.db"), ("sqlite:b.db", "b.db"), ("sqlite:///a/b.db", "/a/b.db"), ("sqlite:/b.db", "/b.db")]
        {
            assert_eq!(path(url).unwrap(), Path::new(expected), "{url}");
        }
        for bad in ["sqlite::memory:", "sqlite://:memory:", "sqlite://", "sqlite:", "sqlite://a/", "sqlite://a.db?mode=ro"] {
            assert!(matches!(path(bad), Err(StoreError::Url { .. })), "{bad}");
        }
    }
}
