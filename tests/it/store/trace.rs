//! Example traces.

use burnwatch::store::{Store, trace};

use super::at;

on_both! {
    async fn example_traces_come_newest_first(store: Store) {
        let mut tx = store.write().await.unwrap();
        for (writer, n, secs) in [("w", 1, 10), ("w", 2, 20), ("v", 1, 15), ("v", 2, 30)] {
            trace::append(&mut tx, writer, n, at(secs), &[secs as u8]).await.unwrap();
        }
        trace::append(&mut tx, "w", 2, at(25), b"again").await.unwrap();
        assert_eq!(trace::between(&mut tx, at(10), at(20), 9).await.unwrap(), [[20], [15], [10]]);
        assert_eq!(trace::between(&mut tx, at(0), at(99), 2).await.unwrap(), [[30], [20]]);
        assert_eq!(trace::prune(&mut tx, at(15)).await.unwrap(), 1);
        assert_eq!(trace::between(&mut tx, at(0), at(99), 9).await.unwrap().len(), 3);
    }
}
