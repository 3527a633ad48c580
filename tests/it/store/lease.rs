//! Leases: who may do what only one may do.

use burnwatch::domain::time::Span;
use burnwatch::store::{Store, leases, meta, outbox};

use super::{T0, at, claim, delivery};
use crate::postgres;

on_both! {
    async fn a_lease_has_one_holder_and_a_growing_token(store: Store) {
        let mut tx = store.write().await.unwrap();
        assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(0), at(10)).await.unwrap(), Some(1));
        assert_eq!(leases::acquire(&mut tx, "shard-0", "b", at(9), at(19)).await.unwrap(), None);
        assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(9), at(19)).await.unwrap(), Some(1));
        assert!(leases::fence(&mut tx, "shard-0", 1).await.unwrap());
        assert_eq!(leases::acquire(&mut tx, "shard-0", "b", at(19), at(29)).await.unwrap(), Some(2));
        assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(20), at(30)).await.unwrap(), None);
        assert!(!leases::fence(&mut tx, "shard-0", 1).await.unwrap());
        leases::release(&mut tx, "shard-0", "a").await.unwrap();
        assert!(leases::fence(&mut tx, "shard-0", 2).await.unwrap());
        leases::release(&mut tx, "shard-0", "b").await.unwrap();
        assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(21), at(31)).await.unwrap(), Some(3));
        let held = leases::LeaseRow { name: "shard-0".into(), holder: "a".into(), token: 3, until_ms: at(31) };
        assert_eq!(leases::all(&mut tx).await.unwrap(), [held]);
        leases::release_all(&mut tx).await.unwrap();
        assert_eq!(leases::acquire(&mut tx, "shard-0", "b", at(22), at(32)).await.unwrap(), Some(4));
    }

    async fn a_lease_wanted_by_many_goes_to_one(store: Store) {
        for round in 1..=5 {
            let mut tasks = Vec::new();
            for replica in 0..8 {
                let store = store.clone();
                tasks.push(tokio::spawn(async move {
                    let mut tx = store.write().await.unwrap();
                    let now = round * 100;
                    let token = leases::acquire(&mut tx, "shard-0", &format!("{round}-{replica}"), at(now), at(now + 50)).await.unwrap();
                    tx.commit().await.unwrap();
                    token
                }));
            }
            let mut tokens = Vec::new();
            for task in tasks {
                tokens.extend(task.await.unwrap());
            }
            assert_eq!(tokens, [round]);
        }
    }
}

#[tokio::test]
async fn leases_on_postgres_follow_the_clock_of_the_database() {
    let database = postgres::database().await;
    let store = Store::open(&database.url, T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let hour = Span::HOUR;
    assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(0), at(60)).await.unwrap(), Some(1));
    // A replica whose clock is years ahead believes the lease to have ended long ago; the database knows better.
    let ahead = T0 + Span::days(3_650);
    assert_eq!(leases::acquire(&mut tx, "shard-0", "b", ahead, ahead + hour).await.unwrap(), None);
    outbox::insert(&mut tx, &delivery("d", "i", 1, "pager", 0)).await.unwrap();
    assert_eq!(outbox::claim(&mut tx, claim(0)).await.unwrap().len(), 1);
    let eager = outbox::Claim { now: ahead, until: ahead + hour, limit: 9, skip: &[] };
    assert!(outbox::claim(&mut tx, eager).await.unwrap().is_empty());
    let shared = tx.shared_now(T0).await.unwrap();
    assert_eq!(leases::all(&mut tx).await.unwrap()[0].until_ms.0 / 10_000, (shared + Span::MINUTE).0 / 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_cannot_change_hands_under_a_transaction_that_is_fenced() {
    let database = postgres::database().await;
    let store = Store::open(&database.url, T0).await.unwrap().with_caller_time();
    let mut tx = store.write().await.unwrap();
    leases::acquire(&mut tx, "shard-0", "a", at(0), at(10)).await.unwrap();
    tx.commit().await.unwrap();

    let mut holder = store.write().await.unwrap();
    assert!(leases::fence(&mut holder, "shard-0", 1).await.unwrap());
    let other = store.clone();
    let taking_over = tokio::spawn(async move {
        let mut tx = other.write().await.unwrap();
        let token = leases::acquire(&mut tx, "shard-0", "b", at(20), at(30)).await.unwrap();
        let seen = meta::get(&mut tx, "by").await.unwrap();
        tx.commit().await.unwrap();
        (token, seen)
    });
    // Whatever happens in between, what the old holder commits comes before what the new one sees.
    meta::set(&mut holder, "by", "a").await.unwrap();
    holder.commit().await.unwrap();
    let (token, seen) = taking_over.await.unwrap();
    assert_eq!(token, Some(2));
    assert_eq!(seen.as_deref(), Some("a"));
}
