//! One transaction on either database, and the macro that runs one SQL text on both.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Executor, PgPool, Postgres, Sqlite};

use crate::domain::time::Timestamp;

use super::StoreError;
use super::values::Marks;

/// How long one call to PostgreSQL may take before we give its connection up. Longer than the server's own
/// `statement_timeout`, so it only acts when nothing comes back at all.
pub(super) const CALL_SECS: u64 = 30;

/// A transaction. What is dropped without [`Tx::commit`] never happened.
///
/// Do not hold one across a network call: on SQLite there is one writer for the whole process.
pub struct Tx {
    pub(super) side: Side,
    /// Whether leases and claims are measured with PostgreSQL's clock, the one clock all replicas share.
    pub(super) database_time: bool,
    /// How the database is called in messages.
    pub(super) place: Arc<str>,
}

/// The database under a transaction.
pub(super) enum Side {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(PgSide),
}

/// A PostgreSQL transaction that is begun and ended by hand, because a connection that stopped
/// answering must be thrown away: handed back to the pool, it would keep its place there for as long as TCP hopes.
pub(super) struct PgSide {
    conn: Option<PoolConnection<Postgres>>,
    /// Set while a call is under way: a call that was given up (deadline, cancelled future) leaves it set.
    pub(super) busy: bool,
}

/// Runs a statement on whichever database it is. The body is an expression that makes a future out of
/// the connection; both databases get the same text.
macro_rules! on {
    ($tx:expr, $conn:ident => $future:expr) => {{
        let answer = match &mut $tx.side {
            $crate::store::tx::Side::Sqlite(transaction) => {
                let $conn = &mut **transaction;
                $future.await.map_err($crate::store::StoreError::from)
            }
            $crate::store::tx::Side::Postgres(side) => {
                side.busy = true;
                let $conn = side.connection();
                let answer = $crate::store::tx::deadline($future).await;
                side.busy = matches!(answer, Err($crate::store::StoreError::Timeout { .. }));
                answer
            }
        };
        answer.map_err(|error| error.at(&$tx.place))
    }};
}
pub(super) use on;

/// Like `on!`, for statements that return no rows: how many rows they touched.
macro_rules! run {
    ($tx:expr, $conn:ident => $future:expr) => {
        $crate::store::tx::on!($tx, $conn => async { $future.await.map(|done| done.rows_affected()) })
    };
}
pub(super) use run;

/// Waits for a call to PostgreSQL, but not for ever.
pub(super) async fn deadline<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(Duration::from_secs(CALL_SECS), call).await {
        Ok(answer) => answer.map_err(StoreError::from),
        Err(_) => Err(StoreError::Timeout { secs: CALL_SECS }),
    }
}

impl Tx {
    /// Makes what was written durable and visible.
    ///
    /// `CommitUnknown` says that the answer was lost: read by key before writing again.
    pub async fn commit(self) -> Result<(), StoreError> {
        let answer = match self.side {
            Side::Sqlite(transaction) => transaction.commit().await.map_err(StoreError::from),
            Side::Postgres(mut side) => side.commit().await,
        };
        answer.map_err(|error| error.at(&self.place))
    }

    /// Whether this is PostgreSQL; the few texts that differ ask here.
    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.side, Side::Postgres(_))
    }

    /// How statements with long lists name their parameters.
    pub(super) fn marks(&self) -> Marks {
        if self.is_postgres() { Marks::Numbered } else { Marks::Nameless }
    }

    /// The time by which leases and claims are measured: PostgreSQL's own clock, which all replicas
    /// share; on SQLite (one replica) the caller's.
    pub async fn shared_now(&mut self, now: Timestamp) -> Result<Timestamp, StoreError> {
        if !self.is_postgres() || !self.database_time {
            return Ok(now);
        }
        let sql = "select cast(floor(extract(epoch from clock_timestamp()) * 1000) as bigint)";
        on!(self, conn => sqlx::query_scalar(sql).fetch_one(conn))
    }
}

impl PgSide {
    /// Begins on a connection from the pool.
    pub async fn begin(pool: &PgPool, statement: &'static str) -> Result<PgSide, StoreError> {
        let mut side = PgSide { conn: Some(pool.acquire().await?), busy: true };
        // Several statements in one text: a single round trip, and limits that hold for this transaction
        // only, so that they also work behind a pooler that shares sessions.
        deadline(async { side.connection().execute(sqlx::raw_sql(statement)).await.map(|_| ()) }).await?;
        side.busy = false;
        Ok(side)
    }

    pub fn connection(&mut self) -> &mut sqlx::PgConnection {
        self.conn.as_mut().expect("only commit and drop take the connection, and both end the transaction")
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.busy = true;
        let answer =
            tokio::time::timeout(Duration::from_secs(CALL_SECS), async { self.connection().execute(sqlx::raw_sql("commit")).await }).await;
        match answer {
            Ok(Ok(_)) => {
                self.busy = false;
                // Back to the pool: there is nothing left to roll back.
                drop(self.conn.take());
                Ok(())
            }
            // The server said no, so nothing was committed.
            Ok(Err(error)) if error.as_database_error().is_some() => Err(error.into()),
            Ok(Err(error)) => Err(StoreError::CommitUnknown(error)),
            Err(_) => Err(StoreError::CommitUnknown(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
        }
    }
}

impl Drop for PgSide {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        let runtime = tokio::runtime::Handle::try_current();
        match runtime {
            Ok(runtime) if !self.busy => {
                runtime.spawn(async move {
                    let rollback = async { conn.execute(sqlx::raw_sql("rollback")).await };
                    if !matches!(tokio::time::timeout(Duration::from_secs(5), rollback).await, Ok(Ok(_))) {
                        conn.close_on_drop();
                    }
                });
            }
            // Something is still under way on it, so nobody else may get it.
            Ok(_) => conn.close_on_drop(),
            // The runtime is gone and with it the process's use of the pool; the server sees the socket close.
            Err(_) => drop(conn.leak()),
        }
    }
}
