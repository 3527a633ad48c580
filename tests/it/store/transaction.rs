//! What transactions promise on both databases.

use burnwatch::store::{Store, StoreError, events, incidents, meta, outbox, partial, writer};

use super::{T0, at, delivery, incident, sqlite_url};
use crate::postgres;

on_both! {
    async fn what_is_dropped_without_a_commit_never_happened(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        writer::open(&mut tx, "w", "intake", at(0)).await.unwrap();
        partial::append(&mut tx, "w", 1, at(1), b"x").await.unwrap();
        incidents::insert(&mut tx, &incident("i", "k", 0)).await.unwrap();
        events::append(&mut tx, "i", at(0), "opened", "", "", "{}").await.unwrap();
        outbox::insert(&mut tx, &delivery("d", "i", 1, "pager", 0)).await.unwrap();
        drop(tx);
        let mut tx = store.read().await.unwrap();
        assert!(writer::all(&mut tx).await.unwrap().is_empty());
        assert!(partial::after(&mut tx, "w", 0).await.unwrap().is_empty());
        assert_eq!(incidents::get(&mut tx, "i").await.unwrap(), None);
        assert_eq!(outbox::get(&mut tx, "d").await.unwrap(), None);
        drop(tx);
        // And the database takes the next one, many times over.
        for n in 0..40 {
            let mut tx = store.write().await.unwrap();
            meta::set(&mut tx, "n", &n.to_string()).await.unwrap();
            if n % 2 == 0 { tx.commit().await.unwrap() }
        }
        let mut tx = store.read().await.unwrap();
        assert_eq!(meta::get(&mut tx, "n").await.unwrap().as_deref(), Some("38"));
    }

    async fn a_reader_sees_one_state_while_others_write(store: Store) {
        let mut tx = store.write().await.unwrap();
        meta::set(&mut tx, "a", "1").await.unwrap();
        tx.commit().await.unwrap();
        let mut reader = store.read().await.unwrap();
        assert_eq!(meta::get(&mut reader, "a").await.unwrap().as_deref(), Some("1"));
        let mut tx = store.write().await.unwrap();
        meta::set(&mut tx, "a", "2").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(meta::get(&mut reader, "a").await.unwrap().as_deref(), Some("1"));
        reader.commit().await.unwrap();
        let mut reader = store.read().await.unwrap();
        assert_eq!(meta::get(&mut reader, "a").await.unwrap().as_deref(), Some("2"));
    }

    async fn a_reader_cannot_write(store: Store) {
        let mut tx = store.read().await.unwrap();
        assert!(meta::set(&mut tx, "a", "1").await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_asks_for_the_transaction_to_be_run_again() {
    let database = postgres::database().await;
    let store = Store::open(&database.url, T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    for name in ["x", "y"] {
        meta::set(&mut tx, name, "0").await.unwrap();
    }
    tx.commit().await.unwrap();
    let (mut one, mut two) = (store.write().await.unwrap(), store.write().await.unwrap());
    meta::set(&mut one, "x", "1").await.unwrap();
    meta::set(&mut two, "y", "2").await.unwrap();
    let (first, second) = tokio::join!(meta::set(&mut one, "y", "1"), meta::set(&mut two, "x", "2"));
    let error = first.err().or(second.err()).expect("one of them is given up");
    assert!(matches!(error, StoreError::Again(_)) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_call_that_was_given_up_half_way_spoils_nothing() {
    let database = postgres::database().await;
    let folder = tempfile::tempdir().unwrap();
    for url in [database.url.clone(), sqlite_url(folder.path())] {
        let store = Store::open(&url, T0).await.unwrap();
        for _ in 0..30 {
            let mut tx = store.write().await.unwrap();
            let large = "x".repeat(200_000);
            let call = meta::set(&mut tx, "half", &large);
            let _ = tokio::time::timeout(std::time::Duration::from_micros(50), call).await;
        }
        let mut tx = store.write().await.unwrap();
        assert_eq!(meta::get(&mut tx, "half").await.unwrap(), None);
        meta::set(&mut tx, "whole", "1").await.unwrap();
        tx.commit().await.unwrap();
    }
}
