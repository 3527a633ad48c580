//! Rule sets.

use burnwatch::store::{Store, rule_sets};

use super::at;

on_both! {
    async fn the_last_good_rule_set_survives_bad_ones(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        assert_eq!(rule_sets::last_good(&mut tx).await.unwrap(), None);
        rule_sets::save(&mut tx, "r1", r#"{"a.rhai":""}"#, at(1), true).await.unwrap();
        rule_sets::save(&mut tx, "r2", "{}", at(2), true).await.unwrap();
        rule_sets::save(&mut tx, "r3", "{}", at(3), false).await.unwrap();
        assert_eq!(rule_sets::last_good(&mut tx).await.unwrap().unwrap().revision, "r2");
        // Going back to an earlier revision makes it the last one.
        rule_sets::save(&mut tx, "r1", r#"{"a.rhai":""}"#, at(4), true).await.unwrap();
        let expected = rule_sets::RuleSetRow { revision: "r1".into(), files: r#"{"a.rhai":""}"#.into(), loaded_at: at(4), good: 1 };
        assert_eq!(rule_sets::last_good(&mut tx).await.unwrap(), Some(expected.clone()));
        assert_eq!(rule_sets::get(&mut tx, "r1").await.unwrap(), Some(expected));
        let revisions: Vec<String> = rule_sets::list(&mut tx, 2).await.unwrap().into_iter().map(|row| row.revision).collect();
        assert_eq!(revisions, ["r1", "r3"]);
    }
}
