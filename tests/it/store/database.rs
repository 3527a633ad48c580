//! Databases as a whole: how they are opened, refused, copied and lost.

use std::os::unix::fs::PermissionsExt;

use burnwatch::store::{Store, StoreError, alerts, meta, series};

use super::{T0, sqlite_url};
use crate::postgres;

#[tokio::test]
async fn a_new_sqlite_database_is_readable_by_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&sqlite_url(folder.path()), T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    meta::set(&mut tx, "a", "1").await.unwrap();
    tx.commit().await.unwrap();
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    for file in ["data/burnwatch.db", "data/burnwatch.db-wal", "data/burnwatch.db-shm"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert_eq!(store.path(), Some(folder.path().join("data/burnwatch.db").as_path()));
    store.close().await;
    assert!(!folder.path().join("data/burnwatch.db-wal").exists());
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(folder.path());
    let store = Store::open(&url, T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    for n in 0..200 {
        alerts::save(&mut tx, &format!("rule-{n}"), "{}", &"x".repeat(500), T0).await.unwrap();
    }
    tx.commit().await.unwrap();
    store.close().await;
    let file = folder.path().join("data/burnwatch.db");
    let whole = std::fs::read(&file).unwrap();

    let mut holes = whole.clone();
    let middle = holes.len() / 2;
    holes[middle..].fill(0xa5);
    let cut = whole[..middle].to_vec();
    let text = b"this is no database, but somebody's notes about one, long enough to fill a header of a hundred bytes or more".to_vec();
    for damaged in [holes, cut, text] {
        std::fs::write(&file, &damaged).unwrap();
        for opened in [Store::open(&url, T0).await, Store::open_existing(&url, T0).await] {
            let error = opened.expect_err("a damaged file is refused");
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
            assert!(error.to_string().contains("burnwatch.db"), "{error}");
        }
        assert!(std::fs::read(&file).unwrap() == damaged);
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_made_by_open_only() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(folder.path());
    assert!(matches!(Store::open_existing(&url, T0).await, Err(StoreError::Missing { .. })));
    assert!(!folder.path().join("data").exists());
    Store::open(&url, T0).await.unwrap().close().await;
    Store::open_existing(&url, T0).await.unwrap();

    let database = postgres::database().await;
    assert!(matches!(Store::open_existing(&database.url, T0).await, Err(StoreError::Missing { .. })));
    Store::open(&database.url, T0).await.unwrap();
    Store::open_existing(&database.url, T0).await.unwrap();
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for url in [format!("sqlite://{}/file/b.db", folder.path().display()), format!("sqlite://{}", folder.path().display())] {
        let error = Store::open(&url, T0).await.expect_err("it cannot be opened");
        assert!(matches!(error, StoreError::Unwritable { .. }), "{error:?}");
        assert!(error.to_string().contains(folder.path().to_str().unwrap()) && !error.to_string().contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn a_schema_is_refused_only_if_it_says_so() {
    let newer = |version: i64, works_with: i64| format!("insert into schema_version values ({version}, {works_with}, 0)");
    let database = postgres::database().await;
    Store::open(&database.url, T0).await.unwrap().close().await;
    // The next version expanded the schema in a way that this one survives, so that both can run while replicas are replaced.
    postgres::execute(&database.url, &newer(1_000, burnwatch::store::SCHEMA_KNOWN)).await;
    Store::open(&database.url, T0).await.unwrap().close().await;
    // The one after that contracted it.
    postgres::execute(&database.url, &newer(1_001, 1_000)).await;
    for opened in [Store::open(&database.url, T0).await, Store::open_existing(&database.url, T0).await] {
        let error = opened.expect_err("a newer schema is refused");
        assert!(matches!(error, StoreError::Newer { found: 1_001, .. }), "{error:?}");
    }

    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(folder.path());
    Store::open(&url, T0).await.unwrap().close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("data/burnwatch.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(newer(1_001, 1_000))).execute(&pool).await.unwrap();
    pool.close().await;
    assert!(matches!(Store::open(&url, T0).await, Err(StoreError::Newer { found: 1_001, .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_make_one_schema() {
    let database = postgres::database().await;
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let url = database.url.clone();
        tasks.push(tokio::spawn(async move { Store::open(&url, T0).await }));
    }
    for task in tasks {
        let store = task.await.unwrap().unwrap();
        let mut tx = store.read().await.unwrap();
        assert_eq!(series::count(&mut tx).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_sqlite_file_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(folder.path());
    let stores = [Store::open(&url, T0).await.unwrap(), Store::open_existing(&url, T0).await.unwrap()];
    let mut tasks = Vec::new();
    for (who, store) in stores.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            for n in 0..50 {
                let mut tx = store.write().await.unwrap();
                // Read, then write: what fails at once in a transaction that did not begin as a writer.
                alerts::load_all(&mut tx).await.unwrap();
                alerts::save(&mut tx, &format!("{who}"), &n.to_string(), "{}", T0).await.unwrap();
                tx.commit().await.unwrap();
            }
            store
        }));
    }
    for task in tasks {
        let store = task.await.unwrap();
        store.close().await;
    }
    let store = Store::open_existing(&url, T0).await.unwrap();
    assert_eq!(alerts::load_all(&mut store.read().await.unwrap()).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_backup_of_a_running_database_opens_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&sqlite_url(folder.path()), T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    meta::set(&mut tx, "a", "1").await.unwrap();
    tx.commit().await.unwrap();
    let file = folder.path().join("it's a backup.db");
    store.backup(&file, T0).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(store.backup(&file, T0).await, Err(StoreError::Backup { .. })));
    assert!(matches!(store.backup(&folder.path().join("no/folder.db"), T0).await, Err(StoreError::Backup { .. })));
    let copy = Store::open_existing(&format!("sqlite://{}", file.display()), T0).await.unwrap();
    assert_eq!(meta::get(&mut copy.read().await.unwrap(), "a").await.unwrap().as_deref(), Some("1"));

    let database = postgres::database().await;
    let error = Store::open(&database.url, T0).await.unwrap().backup(&folder.path().join("pg.db"), T0).await.unwrap_err();
    assert!(error.to_string().contains("pg_dump"), "{error}");
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_replaced() {
    let database = postgres::database().await;
    let store = Store::open(&database.url, T0).await.unwrap();
    let end =
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'burnwatch' and datname = current_database()";
    let mut tx = store.write().await.unwrap();
    meta::set(&mut tx, "a", "1").await.unwrap();
    postgres::execute(&database.url, end).await;
    let error = meta::set(&mut tx, "b", "1").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("burnwatch_test_"), "{error}");
    drop(tx);
    let mut tx = store.write().await.unwrap();
    assert_eq!(meta::get(&mut tx, "a").await.unwrap(), None);
    meta::set(&mut tx, "a", "2").await.unwrap();
    // The answer to a commit that never comes leaves open whether it happened.
    postgres::execute(&database.url, end).await;
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::CommitUnknown(_) | StoreError::Unreachable { .. }), "{error:?}");
    store.ping().await.unwrap();
}

#[tokio::test]
async fn urls_that_mean_nothing_are_a_configuration_error_without_secrets() {
    for url in ["", "burnwatch.db", "mysql://bw:hunter2@db/x", "sqlite::memory:", "postgres://bw:hunter2@[::bad"] {
        let error = Store::open(url, T0).await.expect_err("it cannot be opened");
        assert!(error.is_configuration(), "{url}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let error = Store::open("postgres://bw:hunter2@127.0.0.1:1/x", T0).await.expect_err("nobody listens there");
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
