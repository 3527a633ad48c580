//! Partials: what one flush stored.

use burnwatch::store::{Store, StoreError, partial, writer};

use super::at;

on_both! {
    async fn a_flush_that_is_repeated_counts_once(store: Store) {
        let mut tx = store.write().await.unwrap();
        writer::open(&mut tx, "w", "intake", at(0)).await.unwrap();
        writer::open(&mut tx, "v", "rows", at(0)).await.unwrap();
        for n in 1..=4 {
            assert!(partial::append(&mut tx, "w", n, at(n), &[n as u8; 3]).await.unwrap());
        }
        assert!(partial::append(&mut tx, "v", 1, at(2), &[]).await.unwrap());
        assert!(!partial::append(&mut tx, "w", 2, at(9), b"other").await.unwrap());
        assert!(matches!(partial::append(&mut tx, "nobody", 1, at(1), b"").await, Err(StoreError::NotOne { .. })));
        tx.commit().await.unwrap();

        let mut tx = store.write().await.unwrap();
        let writers = writer::all(&mut tx).await.unwrap();
        let w = writers.iter().find(|writer| writer.id == "w").unwrap();
        assert_eq!((w.last_n, w.flushed_to), (4, at(4)));
        let next = partial::after(&mut tx, "w", 1).await.unwrap();
        assert_eq!(next, [2_u8, 3, 4].map(|n| partial::Partial { n: n.into(), at: at(n.into()), data: vec![n; 3] }));
        for (limit, bytes, found) in [(10, 100, 3), (2, 100, 2), (10, 3, 2), (10, 5, 2), (10, 2, 1)] {
            let old: Vec<(String, i64)> =
                partial::before(&mut tx, at(3), limit, bytes).await.unwrap().into_iter().map(|row| (row.writer, row.n)).collect();
            assert_eq!(old, [("w".to_owned(), 1), ("v".to_owned(), 1), ("w".to_owned(), 2)][..found], "{limit} {bytes}");
        }
        assert!(partial::before(&mut tx, at(1), 10, 100).await.unwrap().is_empty());
        assert_eq!(partial::delete_to(&mut tx, "w", 3).await.unwrap(), 3);
        assert_eq!(partial::after(&mut tx, "w", 0).await.unwrap().len(), 1);
        // Compacted and gone, yet still known to have been stored.
        assert!(!partial::append(&mut tx, "w", 3, at(9), b"late answer").await.unwrap());
        assert_eq!(partial::after(&mut tx, "v", 0).await.unwrap().len(), 1);
    }

    async fn a_partial_may_be_megabytes(store: Store) {
        let large: Vec<u8> = (0..8_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut tx = store.write().await.unwrap();
        writer::open(&mut tx, "w", "intake", at(0)).await.unwrap();
        partial::append(&mut tx, "w", 1, at(1), &large).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.read().await.unwrap();
        assert!(partial::after(&mut tx, "w", 0).await.unwrap()[0].data == large);
    }
}
