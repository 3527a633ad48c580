//! Reaching PostgreSQL: limits on everything that waits.

use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::StoreError;

/// How many connections one process holds at most.
const CONNECTIONS_MAX: u32 = 16;
/// How long to wait for a connection, be it a free one or a new one.
const ACQUIRE: Duration = Duration::from_secs(10);

/// How a reading transaction begins: one state of the database throughout.
pub(super) const READ: &str = "begin isolation level repeatable read read only; set local statement_timeout = '20s'; \
     set local lock_timeout = '10s'; set local idle_in_transaction_session_timeout = '60s'";
/// How a writing transaction begins. One whose process is gone, stopped or cut off holds its locks no longer than a lease lasts, so
/// that it keeps nobody from taking over; and by the time at which we give a call up, the server has given it up as well.
pub(super) const WRITE: &str = "begin isolation level read committed; set local statement_timeout = '20s'; \
     set local lock_timeout = '10s'; set local idle_in_transaction_session_timeout = '15s'";

/// Opens a pool and makes sure that the server answers. The second value is how to call the database in messages.
pub(super) async fn connect(url: &str) -> Result<(PgPool, String), StoreError> {
    let place = place(url)?;
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Url { url: place.clone(), why: "write it like postgres://user:password@host:5432/database" })?
        .application_name("burnwatch")
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(Duration::from_secs(300))
        .max_lifetime(Duration::from_secs(1800))
        .connect_with(options)
        .await
        .map_err(|source| StoreError::Unreachable { place: place.clone(), source })?;
    Ok((pool, place))
}

/// The URL without its password and parameters (which may hold one).
fn place(url: &str) -> Result<String, StoreError> {
    let known = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let Ok(mut parsed) = url::Url::parse(url) else {
        // A text that cannot be taken apart may hold a password anywhere, so none of it is shown.
        return Err(StoreError::Url { url: "…".into(), why: "it is no URL; write sqlite://path/to/file.db or postgres://host/database" });
    };
    let _ = parsed.set_password(None);
    parsed.set_query(None);
    parsed.set_fragment(None);
    if !known {
        return Err(StoreError::Url { url: parsed.into(), why: "only sqlite:// and postgres:// are known" });
    }
    Ok(parsed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_never_shows_a_password() {
        assert_eq!(place("postgres://bw:hunter2@db:5432/burn?password=hunter3&sslmode=require").unwrap(), "postgres://bw@db:5432/burn");
        for bad in ["mysql://bw:hunter2@db/burn", "hunter2", "postgres:///x y:hunter2@"] {
            if let Err(error) = place(bad) {
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
        }
    }
}
