//! Progress of jobs, and values that are made once.

use burnwatch::store::{Store, meta, progress};

use super::at;

on_both! {
    async fn progress_and_meta_keep_the_last_value(store: Store) {
        let mut tx = store.write().await.unwrap();
        assert_eq!(progress::get(&mut tx, "compact").await.unwrap(), None);
        progress::set(&mut tx, "compact", at(1), "{}").await.unwrap();
        progress::set(&mut tx, "compact", at(2), r#"{"n":1}"#).await.unwrap();
        let expected = progress::Progress { at: at(2), data: r#"{"n":1}"#.into() };
        assert_eq!(progress::get(&mut tx, "compact").await.unwrap(), Some(expected));
        assert_eq!(meta::get(&mut tx, "install").await.unwrap(), None);
        assert_eq!(meta::get_or_set(&mut tx, "install", "one").await.unwrap(), "one");
        assert_eq!(meta::get_or_set(&mut tx, "install", "two").await.unwrap(), "one");
        meta::set(&mut tx, "install", "three").await.unwrap();
        assert_eq!(meta::get(&mut tx, "install").await.unwrap().as_deref(), Some("three"));
    }
}
