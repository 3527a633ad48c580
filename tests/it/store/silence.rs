//! Silences.

use burnwatch::store::{Store, StoreError, silences};

use super::at;

on_both! {
    async fn silences_act_between_start_and_end(store: Store) {
        let mut tx = store.write().await.unwrap();
        let mut row = silences::SilenceRow {
            id: "s".into(), matchers: r#"["service=shop"]"#.into(), starts_at: at(10), ends_at: at(20), author: "ada".into(),
            comment: "known".into(), created_at: at(1), updated_at: at(1), expired_at: None,
        };
        silences::insert(&mut tx, &row).await.unwrap();
        for (secs, count) in [(9, 0), (10, 1), (19, 1), (20, 0)] {
            assert_eq!(silences::active(&mut tx, at(secs)).await.unwrap().len(), count, "{secs}");
        }
        (row.expired_at, row.updated_at) = (Some(at(15)), at(15));
        silences::update(&mut tx, &row).await.unwrap();
        assert_eq!(silences::active(&mut tx, at(14)).await.unwrap().len(), 1);
        assert!(silences::active(&mut tx, at(15)).await.unwrap().is_empty());
        assert_eq!(silences::get(&mut tx, "s").await.unwrap(), Some(row.clone()));
        assert_eq!(silences::list(&mut tx).await.unwrap(), std::slice::from_ref(&row));
        row.id = "t".into();
        assert!(matches!(silences::update(&mut tx, &row).await, Err(StoreError::NotOne { what: "silence", .. })));
    }
}
