//! The state of alerts.

use burnwatch::store::{Store, alerts};

use super::at;

on_both! {
    async fn alerts_are_one_row_for_each_rule_and_group(store: Store) {
        let mut tx = store.write().await.unwrap();
        alerts::save(&mut tx, "b", "{}", "1", at(1)).await.unwrap();
        alerts::save(&mut tx, "a", r#"{"region":"de"}"#, "1", at(1)).await.unwrap();
        alerts::save(&mut tx, "b", "{}", "2", at(2)).await.unwrap();
        let states = |rows: Vec<alerts::AlertRow>| rows.into_iter().map(|row| (row.rule, row.state, row.updated_at)).collect::<Vec<_>>();
        assert_eq!(states(alerts::load_all(&mut tx).await.unwrap()), [("a".into(), "1".into(), at(1)), ("b".into(), "2".into(), at(2))]);
        alerts::delete(&mut tx, "b", "{}").await.unwrap();
        alerts::delete(&mut tx, "b", "{}").await.unwrap();
        assert_eq!(alerts::load_all(&mut tx).await.unwrap().len(), 1);
    }
}
