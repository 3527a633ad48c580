//! SQLite's log, folded back into the file beside the writer while many write: the writer does so itself after a commit where
//! the log has become long, and everybody waits for that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::debug;

/// So many transactions within so long are many. A daemon at rest has one or two a second, and folds when its log is long.
const MANY: u32 = 8;
const WITHIN: Duration = Duration::from_millis(300);
/// How long the log is left alone after it was folded.
const REST: Duration = Duration::from_millis(200);

/// Folds the log of one database while it is kept.
#[derive(Debug)]
pub(super) struct Folding {
    counted: Mutex<(Instant, u32)>,
    many: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Folding {
    /// With a connection of its own, which is made when it is first needed.
    pub fn start(options: SqliteConnectOptions) -> Folding {
        let many = Arc::new(Notify::new());
        let task = tokio::spawn(run(options, many.clone()));
        Folding { counted: Mutex::new((Instant::now(), 0)), many, task }
    }

    /// Somebody is about to write.
    pub fn note(&self) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0.elapsed() > WITHIN {
            *counted = (Instant::now(), 0);
        }
        counted.1 += 1;
        if counted.1 == MANY {
            self.many.notify_one();
        }
    }

    /// Lets go of the file.
    pub async fn stop(&self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(options: SqliteConnectOptions, many: Arc<Notify>) {
    let mut connection = None;
    loop {
        many.notified().await;
        if let Err(error) = fold(&mut connection, &options).await {
            // Whoever writes will come to know; the log is long then, and no worse.
            debug!(error = %error, "the log was not folded");
            connection = None;
        }
        tokio::time::sleep(REST).await;
    }
}

async fn fold(connection: &mut Option<SqliteConnection>, options: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(options.connect().await?),
    };
    // It waits for nobody and keeps nobody waiting.
    sqlx::query("pragma wal_checkpoint(passive)").execute(connection).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::store::{Store, meta};

    #[tokio::test]
    async fn what_many_write_reaches_the_file_at_once_and_what_few_write_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("burnwatch.db");
        let store = Store::open(&format!("sqlite://{}", file.display()), Timestamp(0)).await.unwrap();
        let holds = |text: &str| std::fs::read(&file).unwrap().windows(text.len()).any(|part| part == text.as_bytes());
        let write = async |text: &str| {
            let mut tx = store.write().await.unwrap();
            meta::set(&mut tx, "what", text).await.unwrap();
            tx.commit().await.unwrap();
        };
        write("written by few").await;
        tokio::time::sleep(REST * 2).await;
        assert!(!holds("written by few"), "it is in the log");
        for n in 0..MANY + 1 {
            write(&format!("written by many {n}")).await;
        }
        for _ in 0..100 {
            if holds("written by many") {
                return store.close().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the log was not folded");
    }
}
