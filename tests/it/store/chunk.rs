//! Chunks: compacted history.

use burnwatch::store::{Store, chunk};

on_both! {
    async fn chunks_are_written_over_and_read_in_order(store: Store) {
        let chunk = |start, grp, data: &[u8]| chunk::Chunk { start, grp, data: data.to_vec() };
        let mut tx = store.write().await.unwrap();
        // More than one statement and more than one page of them.
        let many: Vec<_> = (0..90_i64).flat_map(|start| (0..5_i64).map(move |grp| chunk(start * 60, grp - 2, &start.to_be_bytes()))).rev().collect();
        chunk::put(&mut tx, 1, &many).await.unwrap();
        chunk::put(&mut tx, 1, &[chunk(60, 0, b"new")]).await.unwrap();
        chunk::put(&mut tx, 2, &[chunk(60, 0, b"other level")]).await.unwrap();
        chunk::put(&mut tx, 1, &[]).await.unwrap();
        assert_eq!(chunk::get(&mut tx, 1, 60, 0).await.unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(chunk::get(&mut tx, 3, 60, 0).await.unwrap(), None);

        let all = chunk::range(&mut tx, 1, 0, 90 * 60, None).await.unwrap();
        assert_eq!(all.len(), 450);
        assert!(all.is_sorted_by_key(|chunk| (chunk.start, chunk.grp)));
        let edges = chunk::range(&mut tx, 1, 60, 180, Some(&[2, -2, 2, 77])).await.unwrap();
        assert_eq!(edges.iter().map(|chunk| (chunk.start, chunk.grp)).collect::<Vec<_>>(), [(60, -2), (60, 2), (120, -2), (120, 2)]);
        assert!(chunk::range(&mut tx, 1, 0, 90 * 60, Some(&[])).await.unwrap().is_empty());
        // More groups than fit into a statement.
        let groups: Vec<i64> = (0..3_000).collect();
        assert_eq!(chunk::range(&mut tx, 1, 0, 90 * 60, Some(&groups)).await.unwrap().len(), 270);

        assert_eq!(chunk::delete_before(&mut tx, 1, 60).await.unwrap(), 5);
        assert_eq!(chunk::range(&mut tx, 1, i64::MIN, i64::MAX, None).await.unwrap().len(), 445);
        assert_eq!(chunk::range(&mut tx, 2, i64::MIN, i64::MAX, None).await.unwrap().len(), 1);
    }
}
