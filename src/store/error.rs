//! What can go wrong between the program and its database, sorted by what a caller does about it.

use std::path::PathBuf;

/// A failure of the store. The cause is the source, never part of the text.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL in the configuration is not one that the store understands.
    #[error("database.url `{url}` cannot be used: {why}")]
    Url { url: String, why: &'static str },
    /// There is no database, and the caller did not ask for a new one.
    #[error("there is no burnwatch database at `{place}`; start `burnwatch run` once, or correct database.url")]
    Missing { place: String },
    /// The folder or file of an SQLite database cannot be created, read or written.
    #[error("cannot write the database `{}`; give the user that runs burnwatch write access to it and its folder", path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process runs on it.
    #[error("another burnwatch uses the database `{}`; stop it, or give this one a database of its own", path.display())]
    InUse { path: PathBuf },
    /// The file is no SQLite database, or a damaged one. It is left untouched.
    #[error("the database `{place}` is damaged ({what}); restore a backup or move the file away, burnwatch changes nothing in it")]
    Corrupt { place: String, what: String },
    /// A newer burnwatch has migrated this database to something that this version cannot work with.
    #[error("the database `{place}` has schema {found}, this burnwatch knows up to {known}; run the newer version or restore a backup")]
    Newer { place: String, found: i64, known: i64 },
    /// No connection to PostgreSQL.
    #[error("cannot reach the database `{place}`; check database.url, and that the server is up and accepts this user")]
    Unreachable {
        place: String,
        #[source]
        source: sqlx::Error,
    },
    /// Somebody else held the database for longer than we wait.
    #[error("the database was busy for too long; try again")]
    Busy(#[source] sqlx::Error),
    /// A deadline passed without an answer. Nothing is known to have happened, and nothing was committed.
    #[error("the database did not answer within {secs} s; try again")]
    Timeout { secs: u64 },
    /// PostgreSQL gave this transaction up for another one (40001, 40P01): run it again from its start.
    #[error("the database gave the transaction up for another one; run it again")]
    Again(#[source] sqlx::Error),
    /// The answer to COMMIT was lost: what was written may be there or not. Read by key before doing it again.
    #[error("the answer to a commit was lost; it may or may not have happened")]
    CommitUnknown(#[source] sqlx::Error),
    /// No space left for the database.
    #[error("the disk of the database is full; free some space, burnwatch goes on without a restart")]
    Full(#[source] sqlx::Error),
    /// A unique key is taken, for example by another open incident with the same grouping key.
    #[error("a row with the same key exists already")]
    Taken(#[source] sqlx::Error),
    /// An update that had to touch one row touched none.
    #[error("{what} `{id}` is not in the database, or no longer in the state that was expected")]
    NotOne { what: &'static str, id: String },
    /// A row holds what this version cannot read.
    #[error("{what} `{id}` in the database cannot be read")]
    Unreadable { what: &'static str, id: String },
    /// A cursor that no list gave out.
    #[error("this cursor was not given out by this list; start without one")]
    Cursor,
    /// A backup could not be made.
    #[error("cannot back up into `{}`: {why}", path.display())]
    Backup { path: PathBuf, why: String },
    /// Everything else that the database said.
    #[error("the database refused a statement")]
    Sql(#[source] sqlx::Error),
}

impl StoreError {
    /// The same error about this database, if it did not know which one it is about.
    pub(super) fn at(mut self, name: &str) -> StoreError {
        match &mut self {
            StoreError::Unreachable { place, .. } | StoreError::Corrupt { place, .. } if place.is_empty() => *place = name.to_owned(),
            _ => {}
        }
        self
    }

    /// Whether running the whole transaction again, from its start, may help.
    ///
    /// A lost answer to COMMIT is not among them: read by key first.
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Busy(_) | StoreError::Again(_) | StoreError::Timeout { .. } | StoreError::Unreachable { .. })
    }

    /// Whether the configuration is at fault, not the state of the world.
    pub fn is_configuration(&self) -> bool {
        matches!(self, StoreError::Url { .. })
    }

    /// Whether the disk of the database is full: intake answers 503 then.
    pub fn is_full(&self) -> bool {
        matches!(self, StoreError::Full(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        // Filled in by whoever knows which database it was: see `at`.
        let place = String::new();
        match &error {
            sqlx::Error::PoolTimedOut => return StoreError::Busy(error),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                return StoreError::Unreachable { place, source: error };
            }
            _ => {}
        }
        let Some(db) = error.as_database_error() else { return StoreError::Sql(error) };
        let code = db.code().unwrap_or_default().into_owned();
        if db.is_unique_violation() {
            return StoreError::Taken(error);
        }
        if db.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
            return match code.as_str() {
                "40001" | "40P01" => StoreError::Again(error),
                // lock_not_available, query_canceled (statement_timeout)
                "55P03" | "57014" => StoreError::Busy(error),
                "53100" => StoreError::Full(error),
                // Shutting down, starting up, too many connections, idle transaction ended, broken connection.
                "57P01" | "57P02" | "57P03" | "53300" | "25P03" => StoreError::Unreachable { place, source: error },
                code if code.starts_with("08") => StoreError::Unreachable { place, source: error },
                _ => StoreError::Sql(error),
            };
        }
        // SQLite: extended result codes in decimal; the low byte is the primary one.
        match code.parse::<i64>().map(|code| code & 0xff) {
            Ok(5 | 6) => StoreError::Busy(error),
            Ok(13) => StoreError::Full(error),
            Ok(11 | 26) => StoreError::Corrupt { place, what: db.message().to_owned() },
            _ => StoreError::Sql(error),
        }
    }
}
