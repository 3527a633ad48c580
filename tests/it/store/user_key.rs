//! The keys of user hashes, and their rotation.

use burnwatch::domain::time::Span;
use burnwatch::store::{Store, series, user_keys};

use super::{T0, at, page_views};

on_both! {
    async fn a_user_key_is_made_once_and_destroyed(store: Store) {
        let mut tx = store.write().await.unwrap();
        user_keys::add(&mut tx, 1, at(10), "b").await.unwrap();
        user_keys::add(&mut tx, 0, at(0), "a").await.unwrap();
        user_keys::add(&mut tx, 1, at(99), "of a replica that was slower").await.unwrap();
        let all = user_keys::all(&mut tx).await.unwrap();
        let found: Vec<_> = all.iter().map(|row| (row.number, row.since, row.key.as_str())).collect();
        assert_eq!(found, [(0, at(0), "a"), (1, at(10), "b")]);
        user_keys::remove(&mut tx, 0).await.unwrap();
        assert_eq!(user_keys::all(&mut tx).await.unwrap().len(), 1);
    }

    async fn user_keys_rotate_at_the_edge_for_every_replica_and_across_restarts(store: Store) {
        const MONTH: Span = Span::days(30);
        let edge = T0.ceil(MONTH);
        let keys = |now, seed: fn() -> [u8; 16]| burnwatch::jobs::rotate::rotate(&store, MONTH, Span::days(8), now, seed);
        let first = keys(T0, || [1; 16]).await.unwrap();
        let person = first.of(T0, 7);
        assert!(person.0 == 0 && person.1 != 7);
        // A restart, another replica: the same person, until the edge.
        assert_eq!(keys(T0, || [9; 16]).await.unwrap().of(edge - Span(1), 7), person);
        let ahead = keys(edge - Span::HOUR, || [2; 16]).await.unwrap();
        let other = keys(edge + Span::HOUR, || [9; 16]).await.unwrap();
        let anew = ahead.of(edge, 7);
        assert!(anew.0 == 1 && anew.1 != person.1);
        assert_eq!((other.of(edge, 7), other.of(edge - Span(1), 7)), (anew, person));
        // The old one is destroyed when nothing late can come.
        let rows = async || user_keys::all(&mut store.read().await.unwrap()).await.unwrap();
        assert_eq!(rows().await.len(), 2);
        keys(edge + Span::days(9), || [9; 16]).await.unwrap();
        assert_eq!(rows().await.len(), 1);
    }

    async fn users_that_were_counted_before_keys_rotated_stay_the_same_people(store: Store) {
        let mut tx = store.write().await.unwrap();
        series::intern(&mut tx, &[page_views(&[("app", "shop")])]).await.unwrap();
        tx.commit().await.unwrap();
        let keys = burnwatch::jobs::rotate::rotate(&store, Span::days(30), Span::days(8), T0, || [1; 16]).await.unwrap();
        assert_eq!(keys.of(T0, 7), (0, 7));
    }
}
