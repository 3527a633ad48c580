//! The audit log.

use burnwatch::store::{Store, audit};

use super::at;

on_both! {
    async fn the_audit_log_is_listed_newest_first(store: Store) {
        let mut tx = store.write().await.unwrap();
        for n in 0..5 {
            let row = audit::AuditRow {
                id: format!("a{n}"), at: at(n / 2), who: "ada".into(), action: "ack".into(), thing: "i".into(), source: "api".into(), detail: "{}".into(),
            };
            audit::add(&mut tx, &row).await.unwrap();
        }
        let (first, next) = audit::list(&mut tx, None, 3, audit::Acts::All).await.unwrap();
        let (rest, end) = audit::list(&mut tx, next.as_deref(), 3, audit::Acts::Changes).await.unwrap();
        let order: Vec<String> = first.into_iter().chain(rest).map(|row| row.id).collect();
        assert_eq!((order.join(" ").as_str(), end), ("a4 a3 a2 a1 a0", None));
    }
}
