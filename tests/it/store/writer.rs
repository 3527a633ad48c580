//! Writers: one for each life of a process.

use burnwatch::store::{Store, StoreError, partial, writer};

use super::at;

on_both! {
    async fn a_writer_moves_only_forward_and_closes_for_good(store: Store) {
        let mut tx = store.write().await.unwrap();
        writer::open(&mut tx, "w", "intake", at(0)).await.unwrap();
        writer::touch(&mut tx, "w", at(10), at(40)).await.unwrap();
        writer::touch(&mut tx, "w", at(5), at(30)).await.unwrap();
        writer::set_compacted(&mut tx, "w", 3).await.unwrap();
        writer::set_compacted(&mut tx, "w", 2).await.unwrap();
        let expected = writer::WriterRow {
            id: "w".into(), kind: "intake".into(), started_at: at(0), flushed_to: at(10), last_n: 0, compacted_n: 3, live: 1, lease_until: at(40),
        };
        assert_eq!(writer::all(&mut tx).await.unwrap(), [expected]);
        writer::close(&mut tx, "w").await.unwrap();
        writer::close(&mut tx, "w").await.unwrap();
        assert!(matches!(writer::touch(&mut tx, "w", at(20), at(50)).await, Err(StoreError::NotOne { what: "writer", .. })));
        assert_eq!(writer::all(&mut tx).await.unwrap()[0].live, 0);
        for (id, kind) in [("left", "intake"), ("loader", "rows")] {
            writer::open(&mut tx, id, kind, at(1)).await.unwrap();
        }
        // Whoever does not know whether it was begun goes on as it, in either case.
        assert_eq!(writer::resume(&mut tx, "left", "intake", at(9)).await.unwrap(), 0);
        assert_eq!(writer::resume(&mut tx, "never", "intake", at(9)).await.unwrap(), 0);
        partial::append(&mut tx, "never", 1, at(10), &[]).await.unwrap();
        assert_eq!(writer::resume(&mut tx, "never", "intake", at(11)).await.unwrap(), 1);
        let began = writer::all(&mut tx).await.unwrap().into_iter().map(|row| (row.id, row.started_at)).collect::<Vec<_>>();
        assert!(began.contains(&("left".into(), at(1))) && began.contains(&("never".into(), at(9))), "{began:?}");
        writer::close_intakes(&mut tx).await.unwrap();
        let live: Vec<(String, i64)> = writer::all(&mut tx).await.unwrap().into_iter().map(|row| (row.id, row.live)).collect();
        assert_eq!(live, [("w".into(), 0), ("left".into(), 0), ("loader".into(), 1), ("never".into(), 0)]);
        assert!(matches!(writer::set_compacted(&mut tx, "nobody", 1).await, Err(StoreError::NotOne { .. })));
    }
}
