//! Annotations.

use burnwatch::store::{Store, annotations};

use super::at;

on_both! {
    async fn annotations_are_listed_by_time_and_app(store: Store) {
        let mut tx = store.write().await.unwrap();
        let row = |id: &str, secs, app: &str| annotations::AnnotationRow {
            id: id.into(), kind: "deploy".into(), at: at(secs), app: app.into(), release: "2.3.1".into(),
            text: String::new(), url: String::new(), created_at: at(99),
        };
        for (id, secs, app) in [("b", 20, "shop"), ("a", 10, "shop"), ("c", 15, ""), ("d", 12, "blog"), ("e", 30, "shop")] {
            assert!(annotations::add(&mut tx, &row(id, secs, app)).await.unwrap());
        }
        assert!(!annotations::add(&mut tx, &row("a", 11, "shop")).await.unwrap());
        let shop = annotations::list(&mut tx, at(10), at(30), Some("shop")).await.unwrap();
        assert_eq!(shop, [row("a", 10, "shop"), row("c", 15, ""), row("b", 20, "shop")]);
        assert_eq!(annotations::list(&mut tx, at(0), at(99), None).await.unwrap().len(), 5);
        let newest = annotations::newest(&mut tx, (at(10), at(30)), Some("shop"), 1).await.unwrap();
        assert_eq!(newest.len(), 1);
        assert_eq!(newest.first(), shop.last(), "the newest, and no more than asked for");
    }

    async fn annotations_are_read_on_from_where_one_was(store: Store) {
        let mut tx = store.write().await.unwrap();
        for (id, stored) in [("b", 20), ("a", 20), ("c", 10), ("d", 30)] {
            let row = annotations::AnnotationRow {
                id: id.into(), kind: "deploy".into(), at: at(1), app: String::new(), release: String::new(),
                text: String::new(), url: String::new(), created_at: at(stored),
            };
            annotations::add(&mut tx, &row).await.unwrap();
        }
        let mut seen: annotations::Seen = "0:".parse().unwrap();
        let mut order = Vec::new();
        while let Some(row) = annotations::after(&mut tx, &seen, at(30), 1).await.unwrap().pop() {
            seen = annotations::Seen { at: row.created_at, id: row.id.clone() }.to_string().parse().unwrap();
            order.push(row.id);
        }
        assert_eq!(order, ["c", "a", "b"]);
        assert_eq!(annotations::after(&mut tx, &seen, at(31), 9).await.unwrap().len(), 1);
    }
}
